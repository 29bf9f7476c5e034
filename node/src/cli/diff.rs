//! Comparing a discovery service with the DHT.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skydht_discovery::BaseUrl;

use super::own::Running;
use crate::config::parse_timeout;

/// Kind of records to compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DiffSalt {
    /// DMSG entries, of a DMSG discovery.
    Dmsg,
    /// Lists of transports, of a transport discovery that has a list of all.
    Tp,
    /// Services, of a service discovery.
    Svc,
}

/// Compare what a discovery service has with what the DHT has, record by record.
///
/// Each record of the service is read in the DHT through a running node. Records that only the DHT
/// has are found among the items that the node stores, which are all of them on a full node. Exit
/// status 0 means that both have the same records, 5 that they differ.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht diff --http http://127.0.0.1:9090 --salt dmsg
  skydht diff --http https://tpd.example --salt tp --json | jq '.differences[] | select(.what == \"older_here\")'")]
pub(crate) struct DiffArgs {
    /// URL of the service.
    #[arg(long, value_name = "URL")]
    pub(crate) http: BaseUrl,
    /// Kind of the records.
    #[arg(long, value_enum, value_name = "SALT", default_value = "dmsg")]
    pub(crate) salt: DiffSalt,
    /// Longest wait for the service's records [default: 60s].
    #[arg(long, value_name = "WAIT", value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) running: Running,
}
