//! Opaque `Debug` for public types whose content is long or secret.

use core::fmt;

use crate::journal::{Recorder, Replay, RunDigest};
use crate::node::Node;
use crate::store::SyncView;
use crate::sync::Session;
use crate::wire::{BatchDecoder, PageEncoder};

macro_rules! opaque {
    ($($name:ident $(<$life:lifetime>)?),* $(,)?) => { $(
        impl fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )* };
}

opaque!(
    BatchDecoder,
    Node,
    PageEncoder,
    Recorder,
    Replay,
    RunDigest,
    Session,
    SyncView<'_>,
);
