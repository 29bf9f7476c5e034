//! HTTP/1.1 with bounds, for everything of this program that speaks it.

mod body;
mod client;
mod server;
mod stream;

pub(crate) use body::{BodyError, read_body};
pub(crate) use client::{Exchanger, send};
pub(crate) use server::{Server, converse};
pub(crate) use stream::HttpStream;
