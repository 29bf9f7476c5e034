//! The fuzz targets: one function for each, which turns bytes into checks.
//!
//! `cargo fuzz` searches with them (`fuzz_targets/`, one line each), and the tests of the main
//! workspace run them over the committed corpora (`tests/tests/fuzz_corpora.rs`), so a bug that was
//! found cannot return unnoticed. See `README.md`.

mod cursor;
mod discovery;
mod dmsg_objects;
mod dmsg_streams;
mod frames;
mod host;
mod items_and_signatures;
mod journal_files;
mod journals;
mod messages;
mod node;
mod noise_frames;
mod reconcile;
mod records;
mod redis;
mod reference;
mod services;
mod stored_records;

pub use discovery::discovery;
pub use dmsg_objects::dmsg_objects;
pub use dmsg_streams::dmsg_streams;
pub use frames::frames;
pub use host::host;
pub use items_and_signatures::items_and_signatures;
pub use journal_files::journal_files;
pub use journals::journals;
pub use messages::messages;
pub use node::node;
pub use noise_frames::noise_frames;
pub use reconcile::reconcile;
pub use records::records;
pub use redis::redis;
pub use services::services;
pub use stored_records::stored_records;

/// A target. It panics when the input violates a property.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("discovery", discovery),
    ("dmsg_objects", dmsg_objects),
    ("dmsg_streams", dmsg_streams),
    ("frames", frames),
    ("items_and_signatures", items_and_signatures),
    ("journal_files", journal_files),
    ("journals", journals),
    ("messages", messages),
    ("node", node),
    ("noise_frames", noise_frames),
    ("reconcile", reconcile),
    ("records", records),
    ("redis", redis),
    ("services", services),
    ("host", host),
    ("stored_records", stored_records),
];
