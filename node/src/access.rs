//! How a command reaches the network: through a running node's control API, or by starting a node
//! in this process for the length of one operation.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, Config, OpenFailure, PingError};
use skydht_driver::{Dht, StartOptions};

use crate::api::client::{Client, NO_NODE_HINT};
use crate::api::register::RegisterBody;
use crate::api::schema::{
    FullNodeBody, GetBody, ListBody, PingBody, PutRequest, ServicesBody, SyncBody, TransportsBody,
    VerifyBody, WatchBody,
};
use crate::bootstrap::Bootstrap;
use crate::cli::{Common, Reach};
use crate::clock::Clock;
use crate::commands::configuration;
use crate::condition::Condition;
use crate::config::Settings;
use crate::dmsg::{Carrier, Directory, KnownServers};
use crate::failure::{Code, Failure, Result};
use crate::lapsed::Lapsed;
use crate::local::Local;
use crate::report::{
    FullNodeReport, GetReport, ItemsReport, ListReport, PeersReport, PingReport, PutReport,
    RegistriesReport, ServicesReport, StatusReport, SyncReport, SyncsReport, TransportsReport,
    VerifyReport, VersionReport,
};
use crate::state_dir::{Endpoint, Running, StateDir, read_token};
use crate::status::About;
use crate::tasks::Tasks;
use crate::{dmsg, keys, logging, output, private_file, start};

/// Longest wait for a temporary node's shutdown.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the bootstrap of commands that only read the node's state.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between two checks of whether a stopping node still listens.
const GONE_POLL: Duration = Duration::from_millis(50);
/// Longest wait for one bootstrap peer when explaining why none was reached.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of bootstrap peers whose failure is explained.
const MOST_EXPLAINED: usize = 8;

/// What a command needs the node for; decides which key a temporary node uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Publishes under the configured key.
    Sign,
    /// Reads. A temporary node uses a new key, so that it does not take a running node's
    /// connections.
    Read,
    /// Reads the node's own state, which is only meaningful after bootstrap.
    Look,
}

/// Answer to `POST /ui/code`: a path that opens the status page once.
#[derive(Deserialize)]
struct UiCode {
    path: String,
    expires_in_ms: u64,
}

/// A link that opens the status page once.
pub(crate) struct UiLink {
    pub(crate) url: String,
    pub(crate) expires_in_ms: u64,
}

/// Access to a node.
pub(crate) enum Access {
    /// A running node's control API.
    Api(Client),
    /// A node in this process.
    Joined(Box<Joined>),
}

/// A node that exists for the duration of one command.
pub(crate) struct Joined {
    local: Local,
    settings: Settings,
    /// Bootstrap peers that it dials over TCP; used to explain a failure.
    asked: Vec<BootstrapPeer>,
    /// Lock on the state directory; `None` if its key is not used.
    _running: Option<Running>,
}

impl Access {
    /// Opens the access that the command line asks for.
    pub(crate) async fn open(common: &Common, reach: &Reach, purpose: Purpose) -> Result<Self> {
        let key_file = reach
            .key_file
            .iter()
            .map(|file| ("--key-file", "key_file", file.clone().into()));
        let discovery = reach
            .discovery
            .iter()
            .map(|url| ("--discovery", "dmsg.discovery", json!(url).into()));
        let flags = key_file.chain(discovery);
        let loaded = configuration(common, flags)?;
        for warning in &loaded.warnings {
            output::warn(warning);
        }
        let settings = loaded.settings;
        // Without `--log`, only warnings: a short command's log is rarely read.
        let filter = common.log.as_deref().unwrap_or("warn");
        logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
        if !reach.bootstrap.is_empty() || reach.discovery.is_some() {
            return Ok(Self::Joined(Box::new(
                join(settings, reach, purpose).await?,
            )));
        }
        if reach.key_file.is_some() {
            return Err(Failure::new(
                Code::Usage,
                "--key-file needs --bootstrap or --discovery: a running node signs with its own key",
            ));
        }
        let url = match &reach.api {
            Some(url) => url.clone(),
            None => endpoint(&settings.state()?)?.url,
        };
        let token = || match &reach.token_file {
            Some(file) => read_token(file),
            None => settings.state()?.token(),
        };
        Client::new(&url, token).map(Self::Api)
    }

    /// Signs an item and publishes it.
    pub(crate) async fn put(&self, request: &PutRequest) -> Result<PutReport> {
        match self {
            Self::Api(client) => client.post("/put", request).await,
            Self::Joined(joined) => joined.explain(joined.local.put(request).await).await,
        }
    }

    /// Whether the node outlives the command, and so can renew what it published.
    pub(crate) fn stays(&self) -> bool {
        matches!(self, Self::Api(_))
    }

    /// Returns the key that `self` means as an owner.
    pub(crate) async fn own_key(&self) -> Result<PublicKey> {
        match self {
            Self::Api(_) => self.key().await,
            Self::Joined(joined) => own_key(&joined.settings),
        }
    }

    /// Returns the node's key.
    pub(crate) async fn key(&self) -> Result<PublicKey> {
        match self {
            Self::Api(_) => Ok(self.status().await?.key),
            Self::Joined(joined) => Ok(joined.local.key()),
        }
    }

    /// Lists the items that the node renews.
    pub(crate) async fn items(&self) -> Result<ItemsReport> {
        match self {
            Self::Api(client) => client.get("/items").await,
            Self::Joined(joined) => joined.local.items().await,
        }
    }

    /// Reads the node's own items back from their holders.
    pub(crate) async fn verify(&self, body: &VerifyBody) -> Result<VerifyReport> {
        match self {
            Self::Api(client) => client.post("/verify", body).await,
            Self::Joined(joined) => joined.local.verify(body).await,
        }
    }

    /// Requests a link that opens the status page once.
    pub(crate) async fn ui_link(&self) -> Result<UiLink> {
        match self {
            Self::Api(client) => {
                let code: UiCode = client.post("/ui/code", &json!({})).await?;
                Ok(UiLink {
                    url: client.url(&code.path),
                    expires_in_ms: code.expires_in_ms,
                })
            }
            Self::Joined(_) => Err(Failure::new(Code::Usage, "only a running node has a page")),
        }
    }

    /// Reports whether the node is a full node.
    pub(crate) async fn full_node(&self) -> Result<FullNodeReport> {
        match self {
            Self::Api(client) => client.get("/full-node").await,
            Self::Joined(joined) => joined.local.full_node().await,
        }
    }

    /// Switches full-node mode on or off.
    pub(crate) async fn set_full_node(&self, full_node: bool) -> Result<FullNodeReport> {
        let body = FullNodeBody { full_node };
        match self {
            Self::Api(client) => client.post("/full-node", &body).await,
            Self::Joined(joined) => joined.local.set_full_node(body).await,
        }
    }

    /// Lists the reconciliations in progress.
    pub(crate) async fn syncs(&self) -> Result<SyncsReport> {
        match self {
            Self::Api(client) => client.get("/sync").await,
            Self::Joined(joined) => joined.local.syncs().await,
        }
    }

    /// Reconciles with other full nodes.
    pub(crate) async fn sync(&self, body: &SyncBody) -> Result<SyncReport> {
        match self {
            Self::Api(client) => client.post("/sync", body).await,
            Self::Joined(joined) => joined.local.sync(body).await,
        }
    }

    /// Returns one page of the items that the node stores.
    pub(crate) async fn list(&self, body: &ListBody) -> Result<ListReport> {
        match self {
            Self::Api(client) => client.post("/list", body).await,
            Self::Joined(joined) => joined.local.list(body).await,
        }
    }

    /// Replaces what this visor registers.
    pub(crate) async fn register(&self, body: &RegisterBody) -> Result<RegistriesReport> {
        self.running()?.post("/register", body).await
    }

    /// Returns what this visor has registered.
    pub(crate) async fn registered(&self) -> Result<RegistriesReport> {
        self.running()?.get("/register").await
    }

    fn running(&self) -> Result<&Client> {
        match self {
            Self::Api(client) => Ok(client),
            Self::Joined(_) => {
                let text = "only a node that goes on running keeps records registered";
                Err(Failure::new(Code::Usage, text))
            }
        }
    }

    /// Lists the services known to the node.
    pub(crate) async fn services(&self, body: &ServicesBody) -> Result<ServicesReport> {
        match self {
            Self::Api(client) => client.post("/services", body).await,
            Self::Joined(joined) => joined.local.services(body).await,
        }
    }

    /// Lists the transports known to the node.
    pub(crate) async fn transports(&self, body: &TransportsBody) -> Result<TransportsReport> {
        match self {
            Self::Api(client) => client.post("/transports", body).await,
            Self::Joined(joined) => joined.local.transports(body).await,
        }
    }

    /// Asks a running node to stop.
    pub(crate) async fn shut_down(&self) -> Result<()> {
        match self {
            Self::Api(client) => {
                let _: serde_json::Value = client.post("/shutdown", &json!({})).await?;
                Ok(())
            }
            Self::Joined(joined) => {
                if let Some(dht) = joined.local.dht_now() {
                    dht.shutdown().await;
                }
                Ok(())
            }
        }
    }

    /// Waits until a stopping node no longer listens.
    pub(crate) async fn gone(&self) {
        if let Self::Api(client) = self {
            while client.is_there().await {
                tokio::time::sleep(GONE_POLL).await;
            }
        }
    }

    /// Reads an item.
    pub(crate) async fn get(&self, mut body: GetBody) -> Result<GetReport> {
        match self {
            Self::Api(client) => client.post("/get", &body).await,
            Self::Joined(joined) => {
                if body.owner == "self" {
                    body.owner = own_key(&joined.settings)?.to_string();
                }
                joined.explain(joined.local.get(&body).await).await
            }
        }
    }

    /// Waits for the next version of an item.
    pub(crate) async fn watch(&self, body: &WatchBody) -> Result<VersionReport> {
        match self {
            Self::Api(client) => client.post("/watch", body).await,
            Self::Joined(joined) => {
                let mut body = body.clone();
                if body.owner == "self" {
                    body.owner = own_key(&joined.settings)?.to_string();
                }
                joined.explain(joined.local.watch(&body).await).await
            }
        }
    }

    /// Pings a peer.
    pub(crate) async fn ping(&self, body: &PingBody) -> Result<PingReport> {
        match self {
            Self::Api(client) => client.post("/ping", body).await,
            Self::Joined(joined) => joined.explain(joined.local.ping(body).await).await,
        }
    }

    /// Returns the node's status.
    pub(crate) async fn status(&self) -> Result<StatusReport> {
        match self {
            Self::Api(client) => client.get("/status").await,
            Self::Joined(joined) => joined.local.status().await,
        }
    }

    /// Returns the node's metrics in Prometheus' text format.
    pub(crate) async fn metrics(&self) -> Result<String> {
        match self {
            Self::Api(client) => client.text("/metrics").await,
            Self::Joined(joined) => joined.local.metrics().await,
        }
    }

    /// Lists the peers in the node's routing table.
    pub(crate) async fn peers(&self) -> Result<PeersReport> {
        match self {
            Self::Api(client) => client.get("/peers").await,
            Self::Joined(joined) => joined.local.peers().await,
        }
    }

    /// Shuts the node down, if this command started it.
    pub(crate) async fn close(self) {
        if let Self::Joined(joined) = self {
            // After the timeout the node is abandoned: the process ends anyway.
            let Some(dht) = joined.local.dht_now() else {
                return;
            };
            let _ = tokio::time::timeout(LEAVE_TIMEOUT, dht.shutdown()).await;
        }
    }
}

fn endpoint(state: &StateDir) -> Result<Endpoint> {
    state.endpoint()?.ok_or_else(|| {
        let dir = state.path().display();
        let failure = |text| Failure::new(Code::Unreachable, text);
        if state.is_taken() {
            return failure(format!(
                "a node runs on {dir}, but no control API is to be found there"
            ))
            .hint("it has just been started, or runs with --api-listen off; --api URL names one");
        }
        failure(format!("no node runs on {dir}")).hint(NO_NODE_HINT)
    })
}

impl Joined {
    /// Adds the cause for each bootstrap peer to a [`Code::NoPeers`] failure.
    async fn explain<T>(&self, result: Result<T>) -> Result<T> {
        let mut failure = match result {
            Err(failure) if failure.code == Code::NoPeers && !self.asked.is_empty() => failure,
            other => return other,
        };
        let Some(dht) = self.local.dht_now() else {
            return Err(failure);
        };
        let mut wrong = 0;
        let mut lines = vec!["no bootstrap peer answers".to_owned()];
        for BootstrapPeer { key, addrs } in &self.asked {
            // All addresses of a key are tried together, and fail together.
            let ping = dht.ping(*key, addrs.first().copied());
            let at: Vec<String> = addrs.iter().map(ToString::to_string).collect();
            let answer = tokio::time::timeout(EXPLAIN_TIMEOUT, ping).await;
            // The transport's own error is more precise than the ping's.
            let seen = dht.dial_failures().into_iter().filter(|it| it.peer == *key);
            let seen: Vec<String> = seen
                .map(|it| match it.addr.filter(|_| addrs.len() > 1) {
                    Some(addr) => format!("{addr}: {}", it.cause),
                    None => it.cause,
                })
                .collect();
            let why = match answer {
                Ok(Ok(_)) => "it answers now: try again".into(),
                Ok(Err(PingError::Open(OpenFailure::Handshake))) => {
                    wrong += 1;
                    "something answers there, but not with this key".into()
                }
                Ok(Err(PingError::Open(_))) | Err(_) if !seen.is_empty() => seen.join("; "),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".into(),
            };
            lines.push(format!("  {key}@{}: {why}", at.join(", ")));
        }
        failure.message = lines.join("\n");
        if wrong == self.asked.len() {
            return Err(Failure::new(Code::WrongPeer, failure.message).hint(
                "check the keys after --bootstrap: `skydht status` at each peer shows its own",
            ));
        }
        Err(failure.hint("check keys and addresses after --bootstrap, and that the peers run"))
    }
}

async fn join(settings: Settings, reach: &Reach, purpose: Purpose) -> Result<Joined> {
    let (secret, running) = match purpose {
        Purpose::Sign => own_secret(&settings)?,
        Purpose::Read | Purpose::Look => {
            if reach.key_file.is_some() {
                // A key file that is named must exist, even if only `self` refers to it.
                own_key(&settings)?;
            }
            (keys::generate()?, None)
        }
    };
    let mut config = settings.node.clone();
    config.serve = false;
    let about = about(&config, secret.public(), String::new());
    let mut condition = Condition::default();
    let mut asked = Vec::new();
    let dht = if reach.discovery.is_some() {
        let carrier = Carrier::default();
        let clock = Clock::default();
        condition = Condition::new(
            Bootstrap::default(),
            Some(carrier.clone()),
            clock.clone(),
            Lapsed::default(),
            Tasks::default(),
        );
        over_dmsg(&settings, config, secret, carrier, clock).await?
    } else {
        config.bootstrap = bootstrap(reach).await?;
        let peers = config.bootstrap.iter();
        asked = peers.take(MOST_EXPLAINED).cloned().collect();
        start::start(config, secret, None, StartOptions::default()).await?
    };
    let local = Local::new(dht, about, condition);
    if purpose == Purpose::Look {
        // Without an answer in time, the command shows what is known so far.
        let ready = async {
            if let Some(dht) = local.dht_now() {
                let _ = dht.ready().await;
            }
        };
        let _ = tokio::time::timeout(JOIN_TIMEOUT, ready).await;
    }
    Ok(Joined {
        local,
        settings,
        asked,
        _running: running,
    })
}

async fn bootstrap(reach: &Reach) -> Result<Vec<BootstrapPeer>> {
    let (bootstrap, warnings) = start::resolve(&reach.bootstrap).await;
    for warning in &warnings {
        output::warn(warning);
    }
    if bootstrap.is_empty() {
        return Err(
            Failure::new(Code::NoPeers, "no bootstrap peer has an address")
                .hint("check the host names after --bootstrap"),
        );
    }
    Ok(bootstrap)
}

async fn over_dmsg(
    settings: &Settings,
    config: Config,
    secret: SecretKey,
    carrier: Carrier,
    clock: Clock,
) -> Result<Dht> {
    let unreachable = |why: &str| {
        Failure::new(
            Code::Unreachable,
            format_args!("no DMSG server is reached: {why}"),
        )
        .hint("check the URL after --discovery; `skydht config check` tries all servers")
    };
    let directory = Directory::with(&settings.dmsg, KnownServers::default(), clock);
    if let Some(why) = directory.no_server().await {
        return Err(unreachable(&why));
    }
    let node = dmsg::Node {
        config,
        secret,
        from: settings.bootstrap_pks.clone(),
        seed: None,
        options: StartOptions::default(),
        close_sessions: true,
        stays: false,
        directory,
        carrier: carrier.clone(),
    };
    let starting = dmsg::start_client(&settings.dmsg, node);
    let started = tokio::time::timeout(JOIN_TIMEOUT, starting).await;
    started.unwrap_or_else(|_| {
        let waits_for = carrier.report().waiting();
        let text = format!("after {JOIN_TIMEOUT:?} it still waits for {waits_for}");
        Err(unreachable(&text))
    })
}

/// Returns the parts of reports that the configuration determines.
pub(crate) fn about(config: &Config, key: PublicKey, listen: String) -> About {
    About {
        key,
        full_node: config.full_node,
        k: config.k,
        listen,
    }
}

fn own_key(settings: &Settings) -> Result<PublicKey> {
    if let Some(secret) = keys::from_environment()? {
        return Ok(secret.public());
    }
    Ok(configured_key(settings)?.public())
}

/// Reads the key from the configured file.
fn configured_key(settings: &Settings) -> Result<SecretKey> {
    let file = settings.key_file()?;
    match settings.key_file {
        None if !file.exists() => keys::load(&file).map_err(|failure| {
            // `keygen` creates the directory, too.
            let dir = settings.state_dir.as_deref().unwrap_or(&file);
            failure.hint(format_args!(
                "run: skydht keygen --state-dir {}",
                private_file::quoted(dir)
            ))
        }),
        _ => keys::load(&file),
    }
}

/// Returns the configured key for a temporary node. It locks the state directory, because two nodes
/// with one key would take each other's connections.
fn own_secret(settings: &Settings) -> Result<(SecretKey, Option<Running>)> {
    if let Some(secret) = keys::from_environment()? {
        return Ok((secret, None));
    }
    let secret = configured_key(settings)?;
    if settings.key_file.is_some() {
        return Ok((secret, None));
    }
    let running = settings.state()?.take().map_err(|failure| {
        if failure.code == Code::Exists {
            Failure::new(Code::Refused, "a node with this key is running")
                .hint("leave --bootstrap away to use it, or name another key with --key-file")
        } else {
            failure
        }
    })?;
    Ok((secret, Some(running)))
}
