//! What a visor registers: transports, services and its address.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_discovery::record::{Service, Transport, VisorAddress};

use crate::failure::{Code, Failure, Result};
use crate::registering::NewRecords;

/// Replaces what this visor registers. An absent member changes nothing; an empty list or text
/// withdraws what was registered.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RegisterBody {
    /// Transports, in the format of upstream's transport discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transports: Option<Vec<Transport>>,
    /// Services, in the format of upstream's service discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) services: Option<Vec<Service>>,
    /// Address at which the visor accepts TCP connections, `IP:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

impl RegisterBody {
    /// Validates the body: all of it must belong to the visor with the key `own`.
    pub(crate) fn read(self, own: &PublicKey) -> Result<NewRecords> {
        let wrong = |what: &str, index: usize, why: &dyn fmt::Display| {
            Failure::new(Code::Usage, format_args!("{what} {index}: {why}"))
        };
        for (index, transport) in self.transports.iter().flatten().enumerate() {
            transport
                .validate()
                .map_err(|error| wrong("transport", index, &error))?;
            if !transport.edges.contains(own) {
                return Err(wrong("transport", index, &"this node is not an edge of it"));
            }
        }
        for (index, service) in self.services.iter().flatten().enumerate() {
            let owner = service.validate();
            let owner = owner.map_err(|error| wrong("service", index, &error))?;
            if owner != *own {
                return Err(wrong("service", index, &"its address has another key"));
            }
        }
        Ok(NewRecords {
            transports: self.transports,
            services: self.services,
            address: self.address.as_deref().map(address).transpose()?,
        })
    }
}

fn address(text: &str) -> Result<Option<VisorAddress>> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse::<SocketAddr>().map_err(|_| {
        let text = format!("address {text:?}: expected IP:PORT");
        Failure::new(Code::Usage, text)
    })?;
    Ok(Some(VisorAddress {
        remote_addr: address.to_string(),
        is_local: false,
        port: address.port().to_string(),
        addresses: vec![address.ip().to_string()],
    }))
}
