//! HTTP/1.1 client and server with bounds on time and memory.

mod body;
mod client;
mod connection_slots;
mod over_dmsg;
mod rate_limit;
mod server;
mod stream;
mod tls;
mod write_timeout;

pub(crate) use body::{BodyError, read_body};
pub(crate) use client::{Exchanger, send};
pub(crate) use connection_slots::ConnectionSlots;
pub(crate) use over_dmsg::ServiceDialer;
pub(crate) use server::{Limits, RemoteIp, Server, Trusted, converse};
pub(crate) use stream::HttpStream;
pub(crate) use tls::{CertificateError, acceptor};
