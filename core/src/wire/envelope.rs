//! The fields that every request has, and that both decoders read in the same way.

use crate::id::{ID_LEN, NodeId, Target};
use crate::key::PublicKey;
use crate::wire::extension::RequestExt;
use crate::wire::json::{Reader, Result};
use crate::wire::message::{Request, RequestMessage, Sender};

/// The fields that every request has.
#[derive(Default)]
pub(super) struct Envelope {
    pub(super) sender: Sender,
    pub(super) ext: Option<RequestExt>,
}

impl Envelope {
    pub(super) fn with(self, request: Request) -> RequestMessage {
        RequestMessage {
            sender: self.sender,
            ext: self.ext,
            request,
        }
    }
}

#[derive(Default)]
pub(super) struct SenderParts {
    pub(super) id: [u8; ID_LEN],
    pub(super) key: Option<PublicKey>,
}

impl From<SenderParts> for Sender {
    fn from(parts: SenderParts) -> Self {
        Self {
            id: NodeId::from_bytes(parts.id),
            key: parts.key,
        }
    }
}

pub(super) fn target(reader: &mut Reader<'_>) -> Result<Target> {
    let mut bytes = [0; ID_LEN];
    reader.array32(&mut bytes)?;
    Ok(Target::from_bytes(bytes))
}
