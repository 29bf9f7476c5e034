//! `skydht bench gateway`: visors that register repeatedly at a gateway, most of them unchanged.
//!
//! The gateway and three nodes that store its items run in processes of their own; the visors are
//! in this one. Each registration is a signed request on a new connection, as old visors send it.
//! Its latency counts from when it was due, so that a gateway that stalls is noticed.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_discovery::auth::{SignedCall, Step};
use skydht_discovery::record::Transport;
use skydht_discovery::transport::Call;
use skydht_discovery::{BaseUrl, Exchange as _, web};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::process::{Processors, Running};
use super::provenance::Provenance;
use super::usage::{cpu_of, resident_mib};
use crate::api::client::Client;
use crate::cli::{BenchGateway, Common};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::http::Exchanger;
use crate::output;
use crate::report::{StatusReport, ms};
use crate::state_dir::StateDir;
use crate::temporary_dir::TemporaryDir;

/// Number of nodes beside the gateway.
const NODES: usize = 3;
/// Number of transports per visor: one with each of the next visors.
const LINKS: usize = 4;
/// Maximum number of concurrent registrations.
const IN_FLIGHT: usize = 256;
/// Longest wait for the answer to a registration.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the first registrations to be published in the DHT.
const PUBLISHED: Duration = Duration::from_secs(300);

/// The report.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    visors: usize,
    registrations: u32,
    seconds: f64,
    changed_percent: u8,
    /// Registrations that were accepted.
    ok: u32,
    failed: u32,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Processor time of the gateway's process during the load.
    cpu_s: f64,
    /// Resident memory of the gateway's process at the end.
    rss_mib: f64,
    /// Records published during the load; `waiting`: records still to be published at its end.
    published: u64,
    waiting: usize,
    #[serde(flatten)]
    provenance: Provenance,
}

struct Visor {
    secret: SecretKey,
    next: Option<u64>,
    links: Vec<PublicKey>,
}

impl Visor {
    /// Returns the transports; a `version` above 0 changes the first one.
    fn list(&self, version: u32) -> Vec<Transport> {
        let own = self.secret.public();
        let links = self.links.iter().enumerate();
        let kind = |n: usize| match (n, version) {
            (0, 1..) => format!("stcpr{version}"),
            _ => "stcpr".to_owned(),
        };
        links
            .map(|(n, other)| Transport::new(own, *other, &kind(n), "automatic"))
            .collect()
    }
}

/// Runs the benchmark and prints the report.
pub(super) async fn run(common: &Common, args: &BenchGateway) -> Result<Exit> {
    let provenance = Provenance::new(common, args.seed)?;
    let dir = TemporaryDir::new("bench-gateway")?;
    let path = dir.path();
    let all = Processors::default();
    let words = [
        "gateway",
        "--addr",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
    ];
    let gateway = Running::start(&subdir(path, "gateway")?, &words, &all).await?;
    let config = path.join("node.json");
    let text = json!({ "mirror_pks": [gateway.about.key] }).to_string();
    std::fs::write(&config, text).map_err(|error| Failure::new(Code::Local, error))?;
    let config = config.to_string_lossy().into_owned();
    let peer = format!("{}@{}", gateway.about.key, gateway.about.listen);
    let mut nodes = Vec::new();
    for n in 0..NODES {
        let words = ["run", "--config", &config, "--listen", "127.0.0.1:0"];
        let words = [&words[..], &["--bootstrap", &peer]].concat();
        nodes.push(Running::start(&subdir(path, &format!("node{n}"))?, &words, &all).await?);
    }
    let url = gateway.about.gateway.as_deref().unwrap_or_default();
    let base: BaseUrl = url
        .parse()
        .map_err(|error| Failure::new(Code::Local, error))?;
    let api = gateway.about.api.as_deref().unwrap_or_default();
    let state = StateDir::new(&path.join("gateway"));
    let client = Client::new(api, || state.token())?;

    let visors = visors(args);
    output::talk(format_args!(
        "{} visors register for the first time",
        visors.len()
    ));
    let exchanger = Arc::new(Exchanger {
        clock: crate::clock::Clock::default(),
        dialer: crate::http::ServiceDialer::default(),
    });
    let visors = register_first(&exchanger, &base, visors).await?;
    let before = wait_until_published(&client).await?;
    output::talk(format_args!(
        "{} registrations in {} s",
        args.registrations, args.seconds
    ));
    let cpu = cpu_of(gateway.process.id());
    let begun = Instant::now();
    let mut times = load(args, &exchanger, &base, visors).await;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_of(gateway.process.id()) - cpu;
    let status: StatusReport = client.get("/status").await?;
    let mirror = status.mirror.as_ref();
    times.sort_unstable();
    let failed = args.registrations - u32::try_from(times.len()).unwrap_or(u32::MAX);
    let quantile = |q: usize| times.get(times.len().saturating_sub(1) * q / 100).copied();
    let report = Report {
        schema: "skydht.bench-gateway/1",
        visors: usize::from(args.visors),
        registrations: args.registrations,
        seconds,
        changed_percent: args.changed,
        ok: args.registrations - failed,
        failed,
        p50_ms: ms(quantile(50).unwrap_or_default()),
        p99_ms: ms(quantile(99).unwrap_or_default()),
        max_ms: ms(quantile(100).unwrap_or_default()),
        cpu_s: cpu.as_secs_f64(),
        rss_mib: resident_mib(gateway.process.id()),
        published: mirror.map_or(0, |it| it.published) - before,
        waiting: mirror.map_or(0, |it| it.waiting),
        provenance,
    };
    drop(nodes);
    if common.json {
        output::json(&report)?;
    } else {
        output::line(&report)?;
    }
    Ok(match report.failed {
        0 => Exit::Ok,
        _ => Exit::Partial,
    })
}

fn subdir(path: &std::path::Path, name: &str) -> Result<std::path::PathBuf> {
    let path = path.join(name);
    crate::private_file::create_dir(&path)?;
    Ok(path)
}

fn visors(args: &BenchGateway) -> Vec<Visor> {
    let secret = |n: usize| {
        let mut entropy = [7; 32];
        entropy[..8].copy_from_slice(&args.seed.to_be_bytes());
        entropy[8..16].copy_from_slice(&(n as u64).to_be_bytes());
        SecretKey::from_entropy(&entropy)
    };
    let count = usize::from(args.visors);
    let secrets: Vec<SecretKey> = (0..count).map(secret).collect();
    let keys: Vec<PublicKey> = secrets.iter().map(SecretKey::public).collect();
    let visor = |(n, secret)| Visor {
        secret,
        next: None,
        links: (1..=LINKS).map(|by| keys[(n + by) % count]).collect(),
    };
    secrets.into_iter().enumerate().map(visor).collect()
}

/// Registers a visor. Returns its next nonce; `None` if it was not accepted in time.
async fn register(
    exchanger: &Exchanger,
    base: &BaseUrl,
    secret: SecretKey,
    next: Option<u64>,
    list: Vec<Transport>,
) -> Option<u64> {
    let call = Call::RegisterBare(list);
    let send = async |mut request: web::Request| {
        *request.uri_mut() = base.join(request.uri()).ok()?;
        exchanger.exchange(request).await.ok()
    };
    let whole = async {
        let (mut steps, mut request) = SignedCall::start(call.write(), secret, next);
        loop {
            match steps.handle(send(request).await?) {
                Step::Send(next) => request = next,
                Step::Done(response) => {
                    let is_registered = response.status() == StatusCode::CREATED;
                    return steps.next().filter(|_| is_registered);
                }
            }
        }
    };
    timeout(TIMEOUT, whole).await.ok().flatten()
}

/// Registers each visor for the first time, which includes asking for its nonce.
async fn register_first(
    exchanger: &Arc<Exchanger>,
    base: &BaseUrl,
    visors: Vec<Visor>,
) -> Result<Vec<Visor>> {
    let room = Arc::new(Semaphore::new(IN_FLIGHT / 8));
    let mut registering = JoinSet::new();
    for mut visor in visors {
        let (exchanger, base, room) = (Arc::clone(exchanger), base.clone(), Arc::clone(&room));
        registering.spawn(async move {
            let _permit = room.acquire_owned().await;
            let list = visor.list(0);
            let next = register(&exchanger, &base, visor.secret.clone(), None, list);
            visor.next = next.await;
            visor
        });
    }
    let visors = registering.join_all().await;
    match visors.iter().filter(|visor| visor.next.is_none()).count() {
        0 => Ok(visors),
        n => Err(Failure::new(
            Code::Local,
            format_args!("{n} visors could not register for the first time"),
        )),
    }
}

/// Waits until all records are published, and returns their number.
async fn wait_until_published(client: &Client) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let status: StatusReport = client.get("/status").await?;
        if let Some(mirror) = &status.mirror
            && mirror.waiting == 0
            && mirror.published > 0
        {
            return Ok(mirror.published);
        }
        if begun.elapsed() > PUBLISHED {
            let text = "the first registrations were not all published in time";
            return Err(Failure::new(Code::Timeout, text));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Registers visors at a fixed rate. Returns the durations of the successful registrations.
async fn load(
    args: &BenchGateway,
    exchanger: &Arc<Exchanger>,
    base: &BaseUrl,
    visors: Vec<Visor>,
) -> Vec<Duration> {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut registering = JoinSet::new();
    let begun = Instant::now();
    let mut times = Vec::new();
    for n in 0..args.registrations {
        let share = f64::from(n) / f64::from(args.registrations);
        let due = begun + Duration::from_secs_f64(f64::from(args.seconds) * share);
        sleep_until(due).await;
        while let Some(Ok(time)) = registering.try_join_next() {
            times.extend(time);
        }
        let visor = &visors[n as usize % visors.len()];
        let round = n / u32::try_from(visors.len()).unwrap_or(u32::MAX);
        // The configured share of registrations changes a transport.
        let is_changed = n % 100 < u32::from(args.changed);
        let list = visor.list(if is_changed { round + 1 } else { 0 });
        let (secret, next) = (visor.secret.clone(), visor.next);
        let (exchanger, base, room) = (Arc::clone(exchanger), base.clone(), Arc::clone(&room));
        registering.spawn(async move {
            let _permit = room.acquire_owned().await;
            let done = register(&exchanger, &base, secret, next, list).await;
            done.map(|_| due.elapsed())
        });
    }
    times.extend(registering.join_all().await.into_iter().flatten());
    times
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} registrations of {} visors in {:.1} s, {} % of them changed: {} ok, {} failed",
            self.registrations,
            self.visors,
            self.seconds,
            self.changed_percent,
            self.ok,
            self.failed
        )?;
        writeln!(
            f,
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; the gateway took {:.1} s of processor time and {:.0} MiB",
            self.p50_ms, self.p99_ms, self.max_ms, self.cpu_s, self.rss_mib
        )?;
        writeln!(
            f,
            "{} records published meanwhile, {} waited at the end",
            self.published, self.waiting
        )?;
        write!(f, "{}", self.provenance)
    }
}
