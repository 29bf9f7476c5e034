//! Comparing a discovery service with the DHT.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skydht_discovery::BaseUrl;

use super::own::Running;
use crate::config::parse_timeout;

/// Which records.
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
/// Each record of the service is read in the DHT through a running node. Those that only the DHT has are
/// found among what the node holds: all of them on a full node. Exit status 0 means that both say the
/// same, 5 that they do not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht diff --http http://127.0.0.1:9090 --salt dmsg
  skydht diff --http https://tpd.example --salt tp --json | jq '.differences[] | select(.what == \"older_here\")'")]
pub(crate) struct DiffArgs {
    /// The service.
    #[arg(long, value_name = "URL")]
    pub(crate) http: BaseUrl,
    /// Which records.
    #[arg(long, value_enum, value_name = "SALT", default_value = "dmsg")]
    pub(crate) salt: DiffSalt,
    /// How long the service may take to say what it has [default: 60s].
    #[arg(long, value_name = "WAIT", value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) running: Running,
}
