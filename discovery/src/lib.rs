//! Skywire's discovery services: what they answer over HTTP, and how to ask them.
//!
//! The DMSG discovery ([`dmsg`]) and the service discovery ([`service`]); of what keys publish under
//! these services' salts in the DHT, the records ([`record`]). There are no sockets and no clock in here: a service is
//! a value that turns a [`web::Request`] and the time into a [`web::Response`], and a client asks
//! through an [`Exchange`] that the caller has. [`HttpDiscovery`] makes of one a
//! [`skydht_dmsg::discovery::Discovery`].
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

// A length or number that is cut where addresses have 32 bits is an error here, too.
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
mod pace;
pub mod publish;
pub mod record;
pub mod register;
pub mod resolver;
pub mod service;
pub mod transport;
pub mod web;

pub use base_url::{BaseUrl, BaseUrlError, Carrier, DMSG_PORT};
pub use client::{Exchange, ExchangeError, HttpDiscovery};
pub use host::{Host, MAX_REQUEST};
