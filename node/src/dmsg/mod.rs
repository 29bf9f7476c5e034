//! The DHT over DMSG: from settings to a client or a server with a node on it.

mod directory;
mod start;
mod web;

pub(crate) use start::{Server, start_client, start_server};
