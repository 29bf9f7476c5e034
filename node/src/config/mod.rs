//! Loads the configuration, for `run` and `config check` alike.
//!
//! Later sources override earlier ones: defaults, the file, the environment (`SKYDHT_<KEY>`), the
//! command line.

mod default_paths;
mod duration;
mod edit;
mod file;
mod load;
mod read;
mod schema;
mod settings;
mod suggest;
mod unknown;
mod unsupported;

pub(crate) use default_paths::no_path;
pub(crate) use duration::parse_timeout;
pub(crate) use edit::{with_key, without_key};
pub(crate) use file::SyntaxError;
pub(crate) use load::{Loaded, Setting, SourceValue, Sources, canonical, load, variable_of};
pub(crate) use schema::{KEYS, Kind, LIMITS, value_of_text};
pub(crate) use settings::{
    Advertising, DmsgSettings, MirrorSettings, PeerAddress, RegisterSettings, Settings, StartPeer,
    StorageLocation,
};
pub(crate) use suggest::nearest;
pub(crate) use unknown::kind_of;
pub(crate) use unsupported::UNSUPPORTED;
