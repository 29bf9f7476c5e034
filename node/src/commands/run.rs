//! `skydht run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::Event;
use skydht_driver::journal::Written;
use skydht_driver::{Dht, EventStream, Recorder};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::config::ConfigReport;
use crate::access::about;
use crate::api::auth::Guard;
use crate::api::{Server, Shared, bind};
use crate::cli::{Common, Run};
use crate::config::{Loaded, PeerAddress, Settings};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::local::Local;
use crate::state_dir::StateDir;
use crate::{descriptors, journal, keys, known_peers, logging, output, start};

/// Peers are remembered at most this often.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// Stopping may take this long.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Open files for everything but connections to peers.
const OTHER_FILES: u64 = 256;

/// What a node says of itself when it is up.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    key: PublicKey,
    full_node: bool,
    listen: String,
    advertise: String,
    api: Option<String>,
    token_file: Option<PathBuf>,
    config: Option<&'a PathBuf>,
    state_dir: &'a PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<&'a PathBuf>,
    bootstrap: usize,
    remembered: usize,
    next: Vec<String>,
}

/// Runs a node until it is told to stop.
pub(crate) async fn run(common: &Common, args: Run) -> Result<Exit> {
    let (journal, journal_limit) = (args.journal.clone(), args.journal_limit);
    let loaded = load(common, args)?;
    let settings = &loaded.settings;
    logging::start(&settings.log).map_err(|error| Failure::new(Code::Config, error))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::new()?;
    let state = StateDir::new(&settings.state_dir);
    let running = state.take()?;
    let secret = secret(settings)?;

    let (mut bootstrap, warnings) = start::resolve(&settings.bootstrap).await;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let configured = bootstrap.len();
    let remembered = known_peers::load(&state.peers_file()).unwrap_or_else(|failure| {
        tracing::warn!("remembered peers are ignored: {failure}");
        Vec::new()
    });
    let own = secret.public();
    let remembered: Vec<_> = remembered
        .into_iter()
        .filter(|peer| peer.key != own)
        .collect();
    let remembered_count = remembered.len();
    known_peers::merge(&mut bootstrap, remembered);

    // The API's port first: if it is taken, nobody has heard of this node yet.
    let api = match settings.api_listen {
        Some(addr) => Some(bind(addr).await?),
        None => None,
    };
    let mut config = settings.node.clone();
    config.bootstrap = bootstrap;
    let listening = start::Listening {
        addr: settings.listen,
        advertising: settings.advertise,
        max_connections: connections(settings.max_connections, descriptors::raise()),
    };
    let recording = match &journal {
        Some(path) => journal::begin(path, journal_limit)?,
        None => None,
    };
    let (recorder, written) = recording.unzip();
    let recorder = recorder.map(|recorder| Box::new(recorder) as Box<dyn Recorder>);
    let dht = start::start(config.clone(), secret, Some(listening), recorder).await?;
    let events = dht.events();
    let listen = dht.local_addr().unwrap_or(settings.listen).to_string();
    let shared = Arc::new(Shared {
        local: Local::new(dht.clone(), about(&config, listen.clone())),
        config: ConfigReport::new(&loaded),
        stop: Notify::new(),
    });
    let server = match api {
        Some(listener) => Some(serve(listener, &shared, &state, settings)?),
        None => None,
    };
    let report = Report {
        schema: "skydht.run/1",
        key: own,
        full_node: config.full_node,
        listen,
        advertise: settings.advertise.to_string(),
        api: server
            .as_ref()
            .map(|server| format!("http://{}", server.addr())),
        token_file: server.as_ref().map(|_| state.token_file()),
        config: loaded.path.as_ref(),
        state_dir: &settings.state_dir,
        journal: journal.as_ref().filter(|_| written.is_some()),
        bootstrap: configured,
        remembered: remembered_count,
        next: next_commands(common),
    };
    announce(&report, common.json)?;

    let remember = tokio::spawn(remember(dht.clone(), events, state.clone()));
    tokio::select! {
        () = signals.next() => tracing::info!("stopping because of a signal; a second one stops at once"),
        () = shared.stop.notified() => tracing::info!("stopping as asked over the control API"),
        () = stopped(&dht) => {
            // Of all runs, this one should be readable.
            let _ = timeout(STOP_TIMEOUT, recorded(written)).await;
            return Err(Failure::new(Code::Local, "the node stopped by itself"));
        }
    }
    let stop = async {
        stop(&dht, server, &state, remember).await;
        recorded(written).await;
    };
    tokio::select! {
        stopped = timeout(STOP_TIMEOUT, stop) => if stopped.is_err() {
            tracing::warn!("not every connection was closed in time");
        },
        () = signals.next() => return Err(Failure::new(Code::Local, "stopped at once by a second signal")),
    }
    drop(running);
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// As many connections as wanted, or as there is room for.
fn connections(wanted: usize, files: u64) -> usize {
    let room = usize::try_from(files.saturating_sub(OTHER_FILES))
        .unwrap_or(usize::MAX)
        .max(1);
    if room < wanted {
        tracing::warn!(
            "max_connections is {wanted}, but there is room for {room}: this process may have {files} open files; see `ulimit -n`"
        );
    }
    wanted.min(room)
}

fn load(common: &Common, args: Run) -> Result<Loaded> {
    let mut flags: Vec<(&'static str, &'static str, Value)> = Vec::new();
    if let Some(addr) = args.listen {
        flags.push(("--listen", "listen", json!(addr.to_string())));
    }
    if let Some(what) = args.advertise {
        flags.push(("--advertise", "advertise", json!(what)));
    }
    if let Some(file) = args.key_file {
        flags.push(("--key-file", "key_file", json!(file)));
    }
    if args.full_node {
        flags.push(("--full-node", "full_node", json!(true)));
    }
    if let Some(addr) = args.api_listen {
        flags.push(("--api-listen", "api_listen", json!(addr)));
    }
    if !args.bootstrap.is_empty() {
        // Besides those configured, which must be known first.
        let configured = super::configuration(common, flags.clone())?
            .settings
            .bootstrap;
        let all: Vec<String> = configured
            .iter()
            .chain(&args.bootstrap)
            .map(PeerAddress::to_string)
            .collect();
        flags.push(("--bootstrap", "bootstrap", json!(all)));
    }
    super::configuration(common, flags)
}

fn secret(settings: &Settings) -> Result<SecretKey> {
    if let Some(secret) = keys::from_environment()? {
        return Ok(secret);
    }
    let file = settings.key_file();
    // A key file that was named must be there; our own is made at the first start.
    if settings.key_file.is_none() && !file.exists() {
        tracing::info!("a key is made in {}", file.display());
        return keys::create(&file);
    }
    keys::load(&file)
}

fn serve(
    listener: tokio::net::TcpListener,
    shared: &Arc<Shared>,
    state: &StateDir,
    settings: &Settings,
) -> Result<Server> {
    let token = state.make_token()?;
    let addr = listener
        .local_addr()
        .map_err(|error| Failure::new(Code::Local, error))?;
    if !addr.ip().is_loopback() {
        tracing::warn!(%addr, "the control API is not on loopback: its token crosses the network in the clear");
    }
    let guard = Guard::new(token, addr, &settings.api_hosts);
    let server = Server::start(listener, Arc::clone(shared), guard)?;
    state.write_endpoint(server.addr(), shared.local.key())?;
    Ok(server)
}

fn next_commands(common: &Common) -> Vec<String> {
    let mut place = String::new();
    if let Some(config) = &common.config {
        place.push_str(&format!(" --config {}", config.display()));
    }
    if let Some(dir) = &common.state_dir {
        place.push_str(&format!(" --state-dir {}", dir.display()));
    }
    vec![
        format!("skydht{place} status"),
        format!("skydht{place} put 'hello' --salt greeting"),
        format!("skydht{place} get self --salt greeting"),
    ]
}

fn announce(report: &Report<'_>, json: bool) -> Result<()> {
    if json {
        return output::json(report);
    }
    let role = if report.full_node {
        "full node"
    } else {
        "node"
    };
    let api = match (&report.api, &report.token_file) {
        (Some(url), Some(file)) => format!("{url} (token in {})", file.display()),
        _ => "off".into(),
    };
    let config = report.config.map_or_else(
        || "none, all defaults".into(),
        |path| path.display().to_string(),
    );
    let journal = report.journal.map_or_else(String::new, |path| {
        format!("\njournal    {}", path.display())
    });
    output::line(format_args!(
        "skydht {} {role}\nkey        {}\nlistening  {} (tcp, advertised: {})\napi        {api}\npeers      {} configured, {} remembered\nconfig     {config}\nstate      {}{journal}\nnext       {}",
        env!("CARGO_PKG_VERSION"),
        report.key,
        report.listen,
        report.advertise,
        report.bootstrap,
        report.remembered,
        report.state_dir.display(),
        report.next.join("\n           "),
    ))
}

/// Writes down the peers now and then, and logs what happens. Ends with the node.
async fn remember(dht: Dht, mut events: EventStream, state: StateDir) {
    let mut known = None;
    let mut changed = false;
    let mut next_save = Instant::now();
    loop {
        known = log_peers(&dht, known).await;
        let event = if changed {
            match tokio::time::timeout_at(next_save, events.next()).await {
                Ok(event) => event,
                Err(_) => {
                    save(&dht, &state).await;
                    changed = false;
                    next_save = Instant::now() + SAVE_INTERVAL;
                    continue;
                }
            }
        } else {
            events.next().await
        };
        match event {
            None => return,
            Some(Ok(event)) => changed |= log(&event),
            Some(Err(lagged)) => {
                tracing::debug!("{lagged}");
                changed = true;
            }
        }
    }
}

/// Logs how many peers there are, if that is news.
async fn log_peers(dht: &Dht, known: Option<usize>) -> Option<usize> {
    let now = dht.snapshot().await.ok()?.peers;
    if known != Some(now) {
        tracing::debug!(now, "peers");
    }
    Some(now)
}

/// Logs an event. Says whether the peers changed.
fn log(event: &Event) -> bool {
    match event {
        Event::Ready { peers } => tracing::info!(peers, "ready"),
        Event::PeerAdded { peer } => tracing::debug!(%peer, "peer added"),
        Event::PeerRemoved { id } => tracing::debug!(%id, "peer removed"),
        Event::RenewalFailed { target, seq } => {
            tracing::warn!(%target, %seq, "an item of this node could not be renewed at any peer");
        }
        Event::ClockJumped => tracing::warn!("the clock jumped; starting over with the peers"),
        _ => {}
    }
    matches!(
        event,
        Event::Ready { .. } | Event::PeerAdded { .. } | Event::PeerRemoved { .. }
    )
}

async fn save(dht: &Dht, state: &StateDir) {
    let Ok(peers) = dht.peers().await else { return };
    let path = state.peers_file();
    let saved = tokio::task::spawn_blocking(move || known_peers::save(&path, &peers)).await;
    match saved {
        Ok(Ok(count)) => tracing::debug!(count, "peers remembered"),
        Ok(Err(failure)) => tracing::warn!("peers cannot be remembered: {failure}"),
        Err(error) => tracing::warn!(%error, "peers cannot be remembered"),
    }
}

async fn stop(
    dht: &Dht,
    server: Option<Server>,
    state: &StateDir,
    remember: tokio::task::JoinHandle<()>,
) {
    state.remove_endpoint();
    remember.abort();
    save(dht, state).await;
    let api = async {
        if let Some(server) = server {
            server.stop().await;
        }
    };
    // Together: the node's end is the answer to requests that wait for it.
    tokio::join!(api, dht.shutdown());
}

/// Waits until the journal is on disk. What became of it was logged by then.
async fn recorded(written: Option<Written>) {
    if let Some(written) = written {
        match tokio::task::spawn_blocking(|| written.wait()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!("the journal may be incomplete: {error}"),
            Err(error) => tracing::warn!("the journal may be incomplete: {error}"),
        }
    }
}

/// Completes when the node has stopped without being told.
async fn stopped(dht: &Dht) {
    let mut events = dht.events();
    while events.next().await.is_some() {}
}

/// SIGINT and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on, these signals no longer end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(
                    Code::Local,
                    format_args!("cannot listen for signals: {error}"),
                )
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
