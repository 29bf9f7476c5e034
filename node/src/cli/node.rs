//! A node of one's own: its key, its configuration, and running it.

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

/// Run a node until it is told to stop.
///
/// It needs no configuration: a key is made, and peers that were met before are met again. With
/// `dmsg` in the configuration, or --discovery, it reaches peers over DMSG's servers, else over
/// TCP. The first SIGINT, SIGTERM, SIGQUIT or SIGHUP, or `POST /shutdown`, ends it cleanly; a second
/// signal, a second or more later, immediately. SIGUSR1 and SIGUSR2 are ignored.
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
    /// What peers are told to dial: auto, none, or IP:PORT [default: auto].
    #[arg(long, value_name = "WHAT", help_heading = "Peers")]
    pub(crate) advertise: Option<String>,
    /// A peer to start from, besides those configured; may be repeated. Over DMSG its key is enough.
    #[arg(long, value_name = "PK[@HOST:PORT]", help_heading = "Peers")]
    pub(crate) bootstrap: Vec<StartPeer>,
    /// The file with the secret key [default: node.key in the state directory].
    #[arg(long, value_name = "FILE", help_heading = "What it is and keeps")]
    pub(crate) key_file: Option<PathBuf>,
    /// Store every item, whatever its distance.
    #[arg(long, help_heading = "What it is and keeps")]
    pub(crate) full_node: bool,
    /// Where items are kept: file, none, or the URL of a Redis [default: file].
    ///
    /// Others on the machine can see an option: a URL with a password belongs into the configuration,
    /// or into SKYDHT_STORAGE.
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
    /// Record the first SIZE of each run: a journal replays from its node's start only.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = LIMIT, requires = "journal", help_heading = "Recording")]
    pub(crate) journal_limit: u64,
}

/// Make, check or show the configuration.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  skydht config init --full-node
  skydht config check
  skydht config show --effective
  skydht config set full_node true
  skydht config keys")]
pub(crate) enum ConfigCommand {
    /// Write a configuration file and a key, and say what comes next.
    #[command(after_help = "\
Examples:
  skydht config init
  skydht config init --full-node --bootstrap 02ab…c1@192.0.2.7:7470 --config ./skydht.json")]
    Init {
        /// Store every item, whatever its distance.
        #[arg(long)]
        full_node: bool,
        /// A peer to start from; may be repeated.
        #[arg(long, value_name = "PK@HOST:PORT")]
        bootstrap: Vec<PeerAddress>,
    },
    /// Read the configuration as `run` would, and say what is wrong with it.
    #[command(after_help = "\
Examples:
  skydht config check
  skydht config check --config ./skydht.json && systemctl restart skydht")]
    Check,
    /// Show what is set, or everything that is in force.
    #[command(after_help = "\
Examples:
  skydht config show
  skydht config show --effective
  skydht config show --effective --json | jq '.settings[] | select(.source != \"default\")'")]
    Show {
        /// Defaults too.
        #[arg(long)]
        effective: bool,
    },
    /// Show one key as it is in force.
    #[command(after_help = "\
Examples:
  skydht config get listen
  skydht config get limits.streams --json")]
    Get {
        /// Its name; `skydht config keys` lists them.
        key: String,
    },
    /// Set one key in the configuration file; everything else in it stays as it is.
    #[command(after_help = "\
Examples:
  skydht config set full_node true
  skydht config set item_ttl 4h
  skydht config set bootstrap 02ab…c1@192.0.2.7:7470,03cd…e2@192.0.2.8:7470
  skydht config set limits.streams 4096 --config ./skydht.json

The file is made if it is not there. A running node takes the change at its next start.")]
    Set {
        /// Its name; `skydht config keys` lists them.
        key: String,
        /// Its value; lists have commas.
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Take one key out of the configuration file: its default is in force again.
    #[command(after_help = "\
Examples:
  skydht config unset full_node
  skydht config unset limits.streams --config ./skydht.json

A running node takes the change at its next start. A key that is not set there stays unset.")]
    Unset {
        /// Its name; `skydht config keys` lists them.
        key: String,
    },
    /// List every key, its variable and what it means.
    #[command(after_help = "\
Examples:
  skydht config keys
  skydht config keys --json | jq -r '.keys[].variable'")]
    Keys,
}
