//! Reading a request's body, within bounds of length and time.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;

/// Of bodies that are too long, this much is read.
const MOST_DROPPED: usize = 4 << 20;
/// A body must be there after this.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It did not come in time.
    Late,
    /// It broke off.
    Broken(axum::Error),
    /// It is too long.
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
        // A little more is read and dropped: who is still sending would not see the answer.
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
