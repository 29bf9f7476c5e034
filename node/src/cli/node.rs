//! The node: its key, its configuration, and running it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;

use crate::config::{PeerAddress, StartPeer};
use crate::journal::LIMIT;
use crate::journal::parse_size;

/// Make a key and print its public half.
///
/// The secret half goes to a new file with mode 0600 and nowhere else. An existing file is
/// never overwritten.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht keygen                      the key that `skydht run` will use
  skydht keygen alice.key            another one
  skydht get --key-file alice.key self --salt greeting")]
pub(crate) struct Keygen {
    /// Where to write the secret key [default: node.key in the state directory].
    pub(crate) file: Option<PathBuf>,
}

/// Run a node until a signal or a request stops it.
///
/// It needs no configuration: a key is created, and known peers are remembered for the next start.
/// With `dmsg` in the configuration, or --discovery, it reaches peers over DMSG's servers, else
/// over TCP. The first SIGINT, SIGTERM, SIGQUIT or SIGHUP, or `POST /shutdown`, ends it cleanly; a
/// second signal, a second or more later, immediately. SIGUSR1 and SIGUSR2 are ignored.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht run
  skydht run --listen 127.0.0.1:0 --api-listen 127.0.0.1:0 --state-dir /tmp/a
  skydht run --bootstrap 02ab…c1@192.0.2.7:7470 --full-node
  skydht run --discovery http://127.0.0.1:9090
  skydht run --full-node --storage redis://127.0.0.1:6379
  skydht run --journal run.journal --journal-limit 1GiB
  skydht --config /etc/skydht.json run --log info,skydht=debug")]
pub(crate) struct Run {
    /// The address that peers dial, IP:PORT; port 0 takes any free one [default: 0.0.0.0:7470].
    #[arg(long, value_name = "IP:PORT", help_heading = "Peers")]
    pub(crate) listen: Option<SocketAddr>,
    /// Reach peers over DMSG, with servers from the discovery at this URL; nothing listens on TCP.
    #[arg(long, value_name = "URL", conflicts_with_all = ["listen", "advertise"], help_heading = "Peers")]
    pub(crate) discovery: Option<String>,
    /// The address that peers are asked to dial: auto, none, or IP:PORT [default: auto].
    #[arg(long, value_name = "WHAT", help_heading = "Peers")]
    pub(crate) advertise: Option<String>,
    /// A bootstrap peer, besides those configured; may be repeated. Over DMSG its key is enough.
    #[arg(long, value_name = "PK[@HOST:PORT]", help_heading = "Peers")]
    pub(crate) bootstrap: Vec<StartPeer>,
    /// The file with the secret key [default: node.key in the state directory].
    #[arg(long, value_name = "FILE", help_heading = "What it is and keeps")]
    pub(crate) key_file: Option<PathBuf>,
    /// Store every item, whatever its distance.
    #[arg(long, help_heading = "What it is and keeps")]
    pub(crate) full_node: bool,
    /// Storage of items: file, none, or the URL of a Redis [default: file].
    ///
    /// Other users of the machine can see options: put a URL with a password into the
    /// configuration, or into SKYDHT_STORAGE.
    #[arg(long, value_name = "WHERE", help_heading = "What it is and keeps")]
    pub(crate) storage: Option<String>,
    /// The control API's address, or "off" [default: 127.0.0.1:7471].
    #[arg(long, value_name = "IP:PORT", help_heading = "Control")]
    pub(crate) api_listen: Option<String>,
    /// Record everything that happens to the node, for `skydht replay`.
    ///
    /// The file holds no secret key, but all that peers sent and all addresses. The two runs
    /// before this one are kept as FILE.1 and FILE.2.
    #[arg(long, value_name = "FILE", help_heading = "Recording")]
    pub(crate) journal: Option<PathBuf>,
    /// Maximum size of the recording, which always starts with the run: a journal replays from its
    /// beginning only.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = LIMIT, requires = "journal", help_heading = "Recording")]
    pub(crate) journal_limit: u64,
}

/// Create, check, show or change the configuration.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  skydht config init --full-node
  skydht config check
  skydht config show --effective
  skydht config set full_node true
  skydht config keys")]
pub(crate) enum ConfigCommand {
    /// Create a configuration file and a key, and show the next steps.
    #[command(after_help = "\
Examples:
  skydht config init
  skydht config init --full-node --bootstrap 02ab…c1@192.0.2.7:7470 --config ./skydht.json")]
    Init {
        /// Store every item, whatever its distance.
        #[arg(long)]
        full_node: bool,
        /// A bootstrap peer; may be repeated.
        #[arg(long, value_name = "PK@HOST:PORT")]
        bootstrap: Vec<PeerAddress>,
    },
    /// Validate the configuration as `run` would.
    #[command(after_help = "\
Examples:
  skydht config check
  skydht config check --config ./skydht.json && systemctl restart skydht")]
    Check,
    /// Show the configured values, or all effective ones.
    #[command(after_help = "\
Examples:
  skydht config show
  skydht config show --effective
  skydht config show --effective --json | jq '.settings[] | select(.source != \"default\")'")]
    Show {
        /// Include defaults.
        #[arg(long)]
        effective: bool,
    },
    /// Show the effective value of one key.
    #[command(after_help = "\
Examples:
  skydht config get listen
  skydht config get limits.streams --json")]
    Get {
        /// Name of the key; `skydht config keys` lists them.
        key: String,
    },
    /// Set one key in the configuration file, and preserve the rest.
    #[command(after_help = "\
Examples:
  skydht config set full_node true
  skydht config set item_ttl 4h
  skydht config set bootstrap 02ab…c1@192.0.2.7:7470,03cd…e2@192.0.2.8:7470
  skydht config set limits.streams 4096 --config ./skydht.json

The file is made if it is not there. A running node takes the change at its next start.")]
    Set {
        /// Name of the key; `skydht config keys` lists them.
        key: String,
        /// Value of the key; lists are separated by commas.
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Remove one key from the configuration file, which restores its default.
    #[command(after_help = "\
Examples:
  skydht config unset full_node
  skydht config unset limits.streams --config ./skydht.json

A running node takes the change at its next start. A key that is not set there stays unset.")]
    Unset {
        /// Name of the key; `skydht config keys` lists them.
        key: String,
    },
    /// List every key with its variable and its description.
    #[command(after_help = "\
Examples:
  skydht config keys
  skydht config keys --json | jq -r '.keys[].variable'")]
    Keys,
}
