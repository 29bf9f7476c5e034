//! Report of a visor's own records, and where they are registered.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_discovery::register::{DeskReport, Registry};

use crate::printable::printable;

/// State of the registration at one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RegistryReport {
    /// `transport_discovery`, `service_discovery` or `address_resolver`.
    pub(crate) name: String,
    pub(crate) url: String,
    /// Requests that the service accepted.
    pub(crate) taken: u64,
    pub(crate) failed: u64,
    /// Why the last request failed, if it did.
    pub(crate) error: Option<String>,
}

impl RegistryReport {
    pub(crate) fn new(at: Registry, url: String, report: DeskReport) -> Self {
        Self {
            name: match at {
                Registry::Transports => "transport_discovery",
                Registry::Services => "service_discovery",
                Registry::Addresses => "address_resolver",
            }
            .into(),
            url,
            taken: report.taken,
            failed: report.failed,
            error: report.error,
        }
    }
}

/// Report of a visor's own records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RegistriesReport {
    pub(crate) schema: String,
    pub(crate) transports: usize,
    pub(crate) services: usize,
    pub(crate) address: Option<String>,
    /// Records whose latest content is not published in the DHT yet.
    pub(crate) waiting: usize,
    /// Services where the records are registered, too.
    pub(crate) at: Vec<RegistryReport>,
}

impl RegistriesReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.register/1";
}

impl Display for RegistriesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transports, {} services, address {}; {} records wait to be published",
            self.transports,
            self.services,
            self.address.as_deref().unwrap_or("none"),
            self.waiting
        )?;
        for registry in &self.at {
            let RegistryReport {
                name, url, taken, ..
            } = registry;
            write!(f, "\n{name} {url}: {taken} calls taken")?;
            if let Some(error) = &registry.error {
                write!(f, ", the last one not: {}", printable(error.as_bytes()))?;
            }
        }
        Ok(())
    }
}
