//! Skywire's discovery services: their HTTP servers and clients, without I/O.
//!
//! There are the DMSG discovery ([`dmsg`]), the service discovery ([`service`]), the transport
//! discovery ([`transport`]) and the address resolver ([`resolver`]), and the records that keys
//! publish in the DHT under these services' salts ([`record`]). This crate contains no sockets and
//! no clock: a service is a value that turns a [`web::Request`] and the time into a
//! [`web::Response`], and a client sends its requests through an [`Exchange`], which the caller
//! implements. [`HttpDiscovery`] implements [`skydht_dmsg::discovery::Discovery`] with one.
//!
//! ```
//! use http::Method;
//! use skydht_core::time::{Mono, Time, Unix};
//! use skydht_discovery::dmsg::{DmsgDiscovery, Rules};
//! use skydht_discovery::web;
//!
//! let now = Time { mono: Mono(0), unix: Unix(1_777_000_000_000_000_000) };
//! let mut discovery = DmsgDiscovery::new(Rules::default(), now);
//! let request = web::request(Method::GET, "/dmsg-discovery/entries", Vec::new());
//! let response = discovery.handle(now, &request);
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.body(), b"[]");
//! ```

// Truncation of a length or number on targets with 32-bit addresses is an error here, too.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]
#![warn(missing_debug_implementations)]

pub mod auth;
mod base_url;
mod client;
pub mod dmsg;
pub mod gateway;
pub mod health;
mod host;
pub mod hybrid;
pub mod index;
pub mod mirror;
pub mod publish;
mod rate_limit;
pub mod record;
pub mod register;
pub mod resolver;
pub mod service;
pub mod transport;
pub mod web;

pub use base_url::{BaseUrl, BaseUrlError, Carrier, DMSG_PORT};
pub use client::{Exchange, ExchangeError, HttpDiscovery};
pub use host::{Host, MAX_REQUEST};
