//! `skydht run`, and the part of it that `skydht dmsg-server`, `gateway` and `mirror` share.

mod announce;
mod options;
mod remember;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, Config};
use skydht_driver::journal::Written;
use skydht_driver::{Dht, Recorder, StartOptions};
use tokio::time::timeout;

use announce::{Report, announce, next_commands};
pub(super) use options::flags;
use remember::{remember, save};

use super::config::ConfigReport;
use crate::access::about;
use crate::api::auth::Guard;
use crate::api::{ApiState, Server, bind};
use crate::bootstrap::{self, Bootstrap};
use crate::cli::{Common, Run};
use crate::clock::Clock;
use crate::condition::Condition;
use crate::config::{Loaded, Settings};
use crate::dmsg::{Carrier, Directory, DiscoveryService, KnownServers};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::http::Exchanger;
use crate::lapsed::Lapsed;
use crate::local::Local;
use crate::mirror::{self, Mirror};
use crate::registering::Registering;
use crate::report::FilesReport;
use crate::signals::Signals;
use crate::state_dir::StateDir;
use crate::supervisor::Supervisor;
use crate::tasks::Tasks;
use crate::watch;
use crate::{descriptors, dmsg, journal, keys, known_peers, logging, resume, start};

/// Time after which the start-up message is printed even if the node is still starting.
const BANNER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time for a clean stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Kind of process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// A node, with or without DMSG.
    Node,
    /// A DMSG server with a full node.
    DmsgServer,
}

/// Where the run is recorded, and how many bytes of it.
pub(super) struct Journal {
    pub(super) path: Option<PathBuf>,
    pub(super) limit: u64,
}

/// A running node.
struct Started {
    dht: Dht,
    listen: String,
    /// Dropping it stops the DMSG server.
    _server: Option<dmsg::Server>,
}

/// Runs a node until a signal or a request stops it.
pub(crate) async fn run(common: &Common, args: Run) -> Result<Exit> {
    let journal = Journal {
        path: args.journal.clone(),
        limit: args.journal_limit,
    };
    let loaded = super::configuration(common, flags(common, args)?)?;
    operate(common, &loaded, Service::Node, journal, None).await
}

/// Runs a service until a signal or a request stops it.
pub(super) async fn operate(
    common: &Common,
    loaded: &Loaded,
    service: Service,
    journal: Journal,
    mut gateway: Option<DiscoveryService>,
) -> Result<Exit> {
    let settings = &loaded.settings;
    logging::start(&settings.log).map_err(|error| Failure::new(Code::Config, error))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::new()?;
    let supervisor = Supervisor::from_environment();
    let state = settings.state()?;
    let running = state.take()?;
    let secret = secret(settings)?;
    let own = secret.public();
    let gateway_key = gateway.as_ref().and_then(DiscoveryService::dmsg_key);
    if gateway_key == Some(own) {
        let text = "the gateway's key on DMSG is the node's own key";
        return Err(Failure::new(Code::Config, text)
            .hint("make another one for --dmsg-key-file: skydht keygen FILE"));
    }
    let is_dmsg = service == Service::DmsgServer || settings.dmsg.is_on();
    if is_dmsg && service == Service::Node {
        warn_of_unused(loaded);
    }

    let mut config = settings.node.clone();
    let (bootstrap, warnings) = Bootstrap::new(settings, &own);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut remembered = remembered(&state, &own);
    if is_dmsg {
        // DMSG finds peers by their keys.
        for peer in &mut remembered {
            peer.addrs.clear();
        }
    } else {
        remembered.retain(|peer| !peer.addrs.is_empty());
        bootstrap.add_to(&mut config.bootstrap);
    }
    let remembered_count = remembered.len();
    known_peers::merge(&mut config.bootstrap, remembered);
    let lapsed = Lapsed::of(state.own_items_file(), config.item_ttl);
    if let Some(items) = lapsed.report() {
        tracing::warn!(
            "items of an earlier run are not renewed yet ({items}): those in storage will be, when peers answer"
        );
    }
    let tasks = Tasks::of(state.tasks_file());
    let carrier = is_dmsg.then(Carrier::default);
    let clock = Clock::default();
    let condition = Condition::new(
        bootstrap,
        carrier.clone(),
        clock.clone(),
        lapsed,
        tasks.clone(),
    );
    let is_mirror = settings.mirror.is_on() || gateway.is_some();
    let mirror = is_mirror.then(|| Mirror::new(&settings.mirror));
    if let Some(mirror) = &mirror {
        condition.mirrors(mirror.clone());
        mirror::prepare(&mut config, own);
    }
    // The API's port is bound first: if that fails, no peer knows of this node yet.
    let api = match settings.api_listen {
        Some(addr) => Some(bind(addr).await?),
        None => None,
    };
    let recording = match &journal.path {
        Some(path) => journal::begin(path, journal.limit)?,
        None => None,
    };
    let (recorder, written) = recording.unzip();
    let recorder = recorder.map(|recorder| Box::new(recorder) as Box<dyn Recorder>);
    // From here on the API answers, even while the node is starting.
    let listen = match is_dmsg {
        true => dmsg::dht_address(&own),
        false => settings.listen.to_string(),
    };
    let about = about(&config, own, listen);
    let local = Local::starting(about, condition.clone());
    let registering = Registering::new(secret.clone(), &settings.register);
    let mut shared = ApiState::new(local, ConfigReport::new(loaded));
    shared.registering = Some(registering.clone());
    let shared = Arc::new(shared);
    let server = match api {
        Some(listener) => Some(serve(listener, &shared, &state, settings)?),
        None => None,
    };
    let local = &shared.local;
    let watch = tokio::spawn(watch::run(local.clone()));

    let around = StartContext {
        directory: carrier.as_ref().map(|_| {
            let servers = KnownServers::of(state.servers_file());
            Directory::with(&settings.dmsg, servers, clock)
        }),
        condition: &condition,
    };
    let options = StartOptions {
        recorder,
        storage: crate::storage::open(settings, &state, &secret)?,
        ..StartOptions::default()
    };
    let starting = start_service(service, settings, config.clone(), secret, options, around);
    let mut starting = std::pin::pin!(starting);
    // Usually the node is running within this time, and the message can contain more.
    let moment = timeout(BANNER_PATIENCE, async {
        tokio::select! {
            started = starting.as_mut() => StartResult::Up(started),
            name = signals.next() => StartResult::Stopped(name),
            () = shared.stop.notified() => StartResult::Stopped("the control API"),
        }
    });
    let mut begun = moment.await.ok();
    if let Some(StartResult::Up(Ok(started))) = &begun {
        local.is_up(started.dht.clone(), started.listen.clone());
    }
    // Nothing is announced before this point, so that a failed start leaves nothing behind.
    let mut announced = None;
    if !matches!(
        begun,
        Some(StartResult::Up(Err(_)) | StartResult::Stopped(_))
    ) {
        announced = server
            .as_ref()
            .map(|server| state.announce(server.addr(), own));
        let status = local.status().await?;
        let discovery = settings.dmsg.discovery.as_ref().map(ToString::to_string);
        let at = |addr: String| settings.dmsg.public_address.clone().unwrap_or(addr);
        let relay = carrier.as_ref().and_then(Carrier::relay_addr).map(at);
        let report = Report {
            schema: match service {
                Service::Node => "skydht.run/1",
                Service::DmsgServer => "skydht.dmsg-server/1",
            },
            key: own,
            full_node: config.full_node,
            transport: if is_dmsg { "dmsg" } else { "tcp" },
            listen: status.listen,
            waits_for: status.waits_for,
            advertise: (!is_dmsg).then(|| settings.advertise.to_string()),
            api: server
                .as_ref()
                .map(|server| format!("http://{}", server.addr())),
            token_file: server.as_ref().map(|_| state.token_file()),
            config: loaded.path.clone(),
            state_dir: state.path(),
            journal: journal.path.filter(|_| written.is_some()),
            bootstrap: condition.bootstrap().len(),
            remembered: remembered_count,
            next: next_commands(common, relay.as_ref().and(discovery.as_deref())),
            discovery,
            gateway: gateway.as_ref().map(DiscoveryService::url),
            gateway_on_dmsg: gateway.as_ref().and_then(DiscoveryService::dmsg_url),
            dmsg_server: relay,
        };
        announce(&report, common.json)?;
        supervisor.ready(&local.status().await?.in_a_line()).await;
    }
    let local_for_supervisor = local.clone();
    let kept = tokio::spawn(supervisor.clone().keep(move || {
        let local = local_for_supervisor.clone();
        async move { local.status().await.ok().map(|status| status.in_a_line()) }
    }));
    if begun.is_none() {
        let up = tokio::select! {
            started = starting.as_mut() => StartResult::Up(started),
            name = signals.next() => StartResult::Stopped(name),
            () = shared.stop.notified() => StartResult::Stopped("the control API"),
        };
        if let StartResult::Up(Ok(started)) = &up {
            local.is_up(started.dht.clone(), started.listen.clone());
            tracing::info!("the node is up");
        }
        begun = Some(up);
    }
    let started = match begun {
        Some(StartResult::Up(Ok(started))) => started,
        other => {
            watch.abort();
            kept.abort();
            supervisor.stopping().await;
            drop(announced);
            if let Some(server) = server {
                signals.unless_again(server.stop()).await?;
            }
            return match other {
                Some(StartResult::Up(Err(failure))) => Err(failure),
                Some(StartResult::Stopped(name)) => {
                    tracing::info!("stopped by {name} before the node was up");
                    Ok(Exit::Ok)
                }
                _ => Ok(Exit::Ok),
            };
        }
    };
    let dht = started.dht.clone();
    let events = dht.events();
    let names = condition.bootstrap().clone();
    let names = tokio::spawn(names.keep(dht.clone(), bootstrap::System));
    let resume = tokio::spawn(resume::run(dht.clone(), own, condition.lapsed().clone()));
    let remember = tokio::spawn(remember(dht.clone(), events, state.clone(), tasks.clone()));
    let exchanger = || {
        let dialer = carrier.as_ref().and_then(Carrier::dialer);
        Exchanger {
            clock: condition.clock().clone(),
            dialer: dialer.unwrap_or_default(),
        }
    };
    let registering = tokio::spawn(registering.run(dht.clone(), exchanger()));
    let mirror = mirror.map(|mirror| {
        if let Some(gateway) = &mut gateway {
            gateway.start_gateway(&dht, mirror.publishing());
        }
        tokio::spawn(mirror.run(dht.clone(), exchanger()))
    });
    tokio::select! {
        name = signals.next() => tracing::info!("stopping because of {name}; a second signal stops immediately"),
        () = shared.stop.notified() => tracing::info!("stopping as asked over the control API"),
        () = stopped(&dht) => {
            // The journal of a run that failed is the one that is needed.
            let _ = timeout(STOP_TIMEOUT, recorded(written)).await;
            kept.abort();
            return Err(Failure::new(Code::Local, "the node stopped by itself"));
        }
    }
    kept.abort();
    supervisor.stopping().await;
    watch.abort();
    names.abort();
    resume.abort();
    registering.abort();
    if let Some(mirror) = mirror {
        mirror.abort();
    }
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    let stop = async {
        condition.lapsed().save().await;
        drop(announced);
        stop(&dht, server, &state, &tasks, remember).await;
        recorded(written).await;
    };
    let stopped = signals.unless_again(timeout(STOP_TIMEOUT, stop)).await?;
    if stopped.is_err() {
        tracing::warn!("not every connection was closed in time");
    }
    drop(started);
    drop(running);
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// How the start ended.
enum StartResult {
    Up(Result<Started>),
    /// What stopped it: a signal or the control API.
    Stopped(&'static str),
}

/// What the node needs besides its settings.
struct StartContext<'a> {
    /// `None` on direct TCP.
    directory: Option<Directory>,
    condition: &'a Condition,
}

/// Warns of settings for direct TCP when DMSG is used instead.
fn warn_of_unused(loaded: &Loaded) {
    let unused = ["listen", "advertise", "max_connections"];
    for setting in &loaded.effective {
        if unused.contains(&setting.key.as_str()) && setting.source != "default" {
            tracing::warn!(
                "{} (set by {}) is not used: peers are reached over DMSG",
                setting.key,
                setting.source
            );
        }
    }
}

/// Loads the peers that an earlier run stored.
fn remembered(state: &StateDir, own: &PublicKey) -> Vec<BootstrapPeer> {
    let mut remembered = known_peers::load(&state.peers_file()).unwrap_or_else(|failure| {
        tracing::warn!("remembered peers are ignored: {failure}");
        Vec::new()
    });
    remembered.retain(|peer| peer.key != *own);
    remembered
}

async fn start_service(
    service: Service,
    settings: &Settings,
    config: Config,
    secret: SecretKey,
    options: StartOptions,
    around: StartContext<'_>,
) -> Result<Started> {
    let condition = around.condition;
    let (Some(directory), Some(carrier)) = (around.directory, condition.carrier()) else {
        return start_on_tcp(settings, config, secret, options, condition).await;
    };
    let listen = dmsg::dht_address(&secret.public());
    let node = dmsg::Node {
        config,
        secret,
        from: condition.bootstrap().keys().collect(),
        seed: None,
        options,
        close_sessions: true,
        stays: true,
        directory,
        carrier: carrier.clone(),
    };
    let mut how = settings.dmsg.clone();
    let (server, dht) = match service {
        Service::Node => (None, dmsg::start_client(&how, node).await?),
        Service::DmsgServer => {
            let files = descriptors::raise();
            how.max_sessions = connections("dmsg.max_sessions", how.max_sessions, files, condition);
            let (server, dht) = dmsg::start_server(&how, settings.listen, node).await?;
            (Some(server), dht)
        }
    };
    Ok(Started {
        dht,
        listen,
        _server: server,
    })
}

async fn start_on_tcp(
    settings: &Settings,
    config: Config,
    secret: SecretKey,
    options: StartOptions,
    condition: &Condition,
) -> Result<Started> {
    let files = descriptors::raise();
    let handshakes = descriptors::handshakes(files);
    let listening = start::Listening {
        addr: settings.listen,
        advertising: settings.advertise,
        max_connections: connections(
            "max_connections",
            settings.max_connections,
            files,
            condition,
        ),
        max_handshakes: handshakes,
    };
    let dht = start::start(config, secret, Some(listening), options).await?;
    let listen = dht.local_addr().unwrap_or(settings.listen).to_string();
    Ok(Started {
        dht,
        listen,
        _server: None,
    })
}

/// Returns the number of connections: `wanted`, or what the limit of open files leaves besides
/// handshakes and other files.
fn connections(key: &str, wanted: usize, files: u64, condition: &Condition) -> usize {
    let room = descriptors::room_for_connections(files);
    if room < wanted {
        tracing::warn!(
            "{key} is {wanted}, but there is room for {room}: this process may have {files} open files; see `ulimit -n`"
        );
        condition.lacks_files(FilesReport {
            key: key.into(),
            wanted,
            room,
            open_files: files,
        });
    }
    wanted.min(room)
}

fn secret(settings: &Settings) -> Result<SecretKey> {
    if let Some(secret) = keys::from_environment()? {
        return Ok(secret);
    }
    let file = settings.key_file()?;
    // A configured key file must exist; the default one is created at the first start.
    if settings.key_file.is_some() {
        return keys::load(&file);
    }
    let (secret, made) = keys::load_or_create(&file)?;
    if made {
        tracing::info!("a key was made in {}", file.display());
    }
    Ok(secret)
}

fn serve(
    listener: tokio::net::TcpListener,
    shared: &Arc<ApiState>,
    state: &StateDir,
    settings: &Settings,
) -> Result<Server> {
    let token = state.token_for_node()?;
    let addr = listener
        .local_addr()
        .map_err(|error| Failure::new(Code::Local, error))?;
    if !addr.ip().is_loopback() {
        tracing::warn!(%addr, "the control API is not on loopback: its token crosses the network in the clear");
    }
    let guard = Guard::new(token, addr, &settings.api_hosts, shared.sessions.clone());
    Server::start(listener, Arc::clone(shared), guard)
}

async fn stop(
    dht: &Dht,
    server: Option<Server>,
    state: &StateDir,
    tasks: &Tasks,
    remember: tokio::task::JoinHandle<()>,
) {
    remember.abort();
    save(dht, state, tasks).await;
    let api = async {
        if let Some(server) = server {
            server.stop().await;
        }
    };
    // Concurrently, because some API requests are only answered when the node stops.
    tokio::join!(api, dht.shutdown());
}

/// Waits until the journal is on disk, and warns if it may be incomplete.
async fn recorded(written: Option<Written>) {
    if let Some(written) = written {
        match tokio::task::spawn_blocking(|| written.wait()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!("the journal may be incomplete: {error}"),
            Err(error) => tracing::warn!("the journal may be incomplete: {error}"),
        }
    }
}

/// Completes when the node has stopped by itself.
async fn stopped(dht: &Dht) {
    let mut events = dht.events();
    while events.next().await.is_some() {}
}
