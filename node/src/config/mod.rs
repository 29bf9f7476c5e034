//! The one loader of the configuration: what `config check` says is what `run` says.
//!
//! Later sources win: defaults, the file, the environment (`SKYDHT_<KEY>`), the command line.

mod duration;
mod edit;
mod file;
mod load;
mod place;
mod read;
mod schema;
mod settings;
mod suggest;
mod unknown;
mod unsupported;

pub(crate) use duration::parse_timeout;
pub(crate) use edit::{with_key, without_key};
pub(crate) use file::SyntaxError;
pub(crate) use load::{Given, Loaded, Setting, Sources, canonical, load, variable_of};
pub(crate) use place::no_path;
pub(crate) use schema::{KEYS, Kind, LIMITS, value_of_text};
pub(crate) use settings::{
    Advertising, DmsgSettings, MirrorSettings, PeerAddress, RegisterSettings, Settings, StartPeer,
    StoragePlace,
};
pub(crate) use suggest::nearest;
pub(crate) use unknown::kind_of;
pub(crate) use unsupported::UNSUPPORTED;
