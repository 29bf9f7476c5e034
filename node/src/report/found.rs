//! Reports of services and of transports (links between two visors) found in stored records.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_discovery::index::{Claim, Standing};
use skydht_discovery::record::{Service, Transport};

use crate::printable::printable_name;

/// Report of a search for services.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ServicesReport {
    pub(crate) schema: String,
    /// The full node that answered; `None`: this node.
    pub(crate) from: Option<PublicKey>,
    /// Whether all services of the network are included. A regular node stores only records close
    /// to its id, and an unreadable record may contain services.
    pub(crate) complete: bool,
    /// The services, in upstream's format.
    pub(crate) services: Vec<Service>,
}

impl ServicesReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.services/1";
}

impl Display for ServicesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, service) in self.services.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            let country = service.geo.as_ref().map_or("", |geo| geo.country.as_str());
            write!(
                f,
                "{end}{} {} {} {}",
                service.address,
                printable_name(service.kind().as_str().as_bytes()),
                printable_name(if country.is_empty() {
                    b"-"
                } else {
                    country.as_bytes()
                }),
                printable_name(service.version.as_bytes()),
            )?;
        }
        Ok(())
    }
}

/// A transport, with the evidence for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct FoundTransport {
    #[serde(flatten)]
    pub(crate) transport: Transport,
    /// `one_side`, `both_sides` or `signed`, see [`Standing`].
    pub(crate) standing: String,
}

impl From<&Claim> for FoundTransport {
    fn from(claim: &Claim) -> Self {
        Self {
            transport: claim.transport().clone(),
            standing: match claim.standing() {
                Standing::OneSided => "one_side",
                Standing::BothEdges => "both_sides",
                Standing::Signed => "signed",
            }
            .into(),
        }
    }
}

/// Report of a search for transports.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct TransportsReport {
    pub(crate) schema: String,
    /// Whether all matching transports of the network are included.
    pub(crate) complete: bool,
    pub(crate) transports: Vec<FoundTransport>,
}

impl TransportsReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.transports/1";
}

impl Display for TransportsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, found) in self.transports.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            let Transport {
                id, edges, kind, ..
            } = &found.transport;
            let [first, second] = edges;
            let kind = printable_name(kind.as_bytes());
            write!(f, "{end}{id} {first} {second} {kind} {}", found.standing)?;
        }
        Ok(())
    }
}
