//! Services and transports that a full node derived from the records that it holds.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_discovery::index::{Claim, Standing};
use skydht_discovery::record::{Service, Transport};

use crate::printable::printable_name;

/// Services.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ServicesReport {
    pub(crate) schema: String,
    /// The full node that was asked; none: this node.
    pub(crate) from: Option<PublicKey>,
    /// Whether all services of the network are expected among them: a regular node holds only
    /// records that are near it, and a record that cannot be read may have some.
    pub(crate) complete: bool,
    /// In upstream's words.
    pub(crate) services: Vec<Service>,
}

impl ServicesReport {
    /// Name and version of this shape.
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

/// A transport, and what says that it is there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct FoundTransport {
    #[serde(flatten)]
    pub(crate) transport: Transport,
    /// `one_side`, `both_sides` or `signed`.
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

/// Transports.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct TransportsReport {
    pub(crate) schema: String,
    /// Whether all transports asked for are expected among them.
    pub(crate) complete: bool,
    pub(crate) transports: Vec<FoundTransport>,
}

impl TransportsReport {
    /// Name and version of this shape.
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
