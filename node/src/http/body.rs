//! Reads request bodies, with bounds on length and time.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;

/// Longest part of an oversized body that is read and discarded, in bytes.
const MOST_DROPPED: usize = 4 << 20;
/// Longest wait for a body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It was incomplete after the timeout.
    Late,
    /// The connection failed.
    Broken(axum::Error),
    /// It is longer than allowed.
    TooLong,
}

/// Reads a body of at most `longest` bytes.
pub(crate) async fn read_body(body: Body, longest: usize) -> Result<Vec<u8>, BodyError> {
    let read = tokio::time::timeout(TIMEOUT, bytes(body, longest));
    read.await.unwrap_or(Err(BodyError::Late))
}

async fn bytes(mut body: Body, longest: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(BodyError::Broken)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        length += data.len();
        // The excess is read and discarded, because a client that is still sending would not read
        // the response.
        if length > MOST_DROPPED {
            break;
        }
        if length <= longest {
            bytes.extend_from_slice(data);
        }
    }
    if length > longest {
        return Err(BodyError::TooLong);
    }
    Ok(bytes)
}
