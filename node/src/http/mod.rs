//! HTTP/1.1 with bounds, for everything of this program that speaks it.

mod body;
mod client;
mod over_dmsg;
mod pace;
mod patient;
mod places;
mod server;
mod stream;
mod tls;

pub(crate) use body::{BodyError, read_body};
pub(crate) use client::{Exchanger, send};
pub(crate) use over_dmsg::ServiceDialer;
pub(crate) use places::Places;
pub(crate) use server::{Limits, RemoteIp, Server, Trusted, converse};
pub(crate) use stream::HttpStream;
pub(crate) use tls::{CertificateError, acceptor};
