//! `skydht demo`: runs a network in this process, and checks its operations.

mod stay;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use skydht_core::item::{Salt, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{Config, GetError, GetRequest, PutOptions, ReadPolicy};
use skydht_driver::Dht;

use crate::cli::{Common, Demo, DemoTransport};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::measure::{Latency, each, rank};
use crate::network::Network;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{logging, output, path_text};

/// Maximum number of concurrent operations.
const CONCURRENCY: usize = 8;
/// Number of DMSG servers; one of them is killed.
const SERVERS: usize = 2;
/// Seed of the keys, so that demos are comparable.
const SEED: u64 = 1;

/// Result of one operation.
struct Sample {
    elapsed: Duration,
    /// Number of referrals; for gets only.
    hops: Option<u16>,
    /// The error, if the operation failed.
    failure: Option<String>,
}

/// One step of the demo.
#[derive(Clone, Debug, Serialize)]
struct Phase {
    name: &'static str,
    operations: usize,
    failures: usize,
    #[serde(rename = "latency_ms")]
    latency: Latency,
    hops_p50: Option<u16>,
    /// The first failures, as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    examples: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    nodes: usize,
    transport: &'static str,
    /// Number of DMSG servers, besides the nodes.
    servers: usize,
    servers_killed: usize,
    items: usize,
    stopped: usize,
    puts: usize,
    gets: usize,
    failures: usize,
    hops_p50: u16,
    get_p50_ms: f64,
    get_p99_ms: f64,
    put_p50_ms: f64,
    put_p99_ms: f64,
    up_s: f64,
    seconds: f64,
    phases: Vec<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stay: Option<Stay>,
}

/// How to reach a network that is kept running.
#[derive(Serialize)]
struct Stay {
    api: String,
    #[serde(serialize_with = "path_text::serialize")]
    token_file: PathBuf,
    next: Vec<String>,
}

/// Expected content of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Value(Vec<u8>),
    Deleted,
}

/// An item of the demo.
#[derive(Clone, Debug)]
struct Entry {
    publisher: usize,
    owner: PublicKey,
    salt: Salt,
    expected: Expected,
}

/// State of a running demo.
struct DemoRun {
    network: Network,
    config: Config,
    entries: Vec<Entry>,
    progress: Progress,
    puts: Vec<Sample>,
    gets: Vec<Sample>,
    phases: Vec<Phase>,
}

/// Runs the demo and prints its report.
pub(crate) async fn run(common: &Common, args: Demo) -> Result<Exit> {
    let filter = common.log.as_deref().unwrap_or("warn");
    logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
    let mut signals = Signals::new()?;
    let demo = demo(&args);
    let (show, report) = tokio::select! {
        result = demo => result?,
        name = signals.next() => {
            output::talk(format_args!("stopped by {name}"));
            return Ok(Exit::Partial);
        }
    };
    let exit = if report.failures == 0 {
        Exit::Ok
    } else {
        Exit::Partial
    };
    if args.stay {
        stay::stay(common, &args, show, report, &mut signals).await?;
    } else {
        print(common, &report)?;
        signals.unless_again(show.network.stop_all()).await?;
    }
    Ok(exit)
}

async fn demo(args: &Demo) -> Result<(DemoRun, Report)> {
    let begun = Instant::now();
    let count = usize::from(args.nodes);
    let config = Config::default();
    let progress = Progress::new();
    let ready = |ready| progress.at(ready);
    let (network, servers, transport) = match args.transport {
        DemoTransport::Tcp => {
            progress.begin("start nodes on TCP", count);
            let network = Network::start(count, SEED, &config, ready).await?;
            (network, 0, "tcp")
        }
        DemoTransport::Dmsg => {
            progress.begin("start nodes over DMSG", count);
            let starting = Network::start_over_dmsg(SERVERS, count, SEED, &config, ready);
            (starting.await?, SERVERS, "dmsg")
        }
    };
    let carried = match args.transport {
        DemoTransport::Tcp => String::new(),
        DemoTransport::Dmsg => format!(" over a discovery and {SERVERS} DMSG servers"),
    };
    progress.end(&format!(
        "{count} nodes are up{carried} after {:.1} s",
        network.up.as_secs_f64()
    ));
    let mut show = DemoRun {
        entries: entries(&network, usize::from(args.items)),
        network,
        config,
        progress,
        puts: Vec::new(),
        gets: Vec::new(),
        phases: Vec::new(),
    };
    let all: Vec<usize> = (0..show.entries.len()).collect();
    let (updated, deleted) = (every(&all, 2, 0), every(&all, 4, 1));

    show.put("publish", &all).await;
    show.get("read where it is not held", &all).await;
    for index in &updated {
        let publisher = show.entries[*index].publisher;
        show.entries[*index].expected = Expected::Value(value(publisher, *index, 2));
    }
    show.put("update half", &updated).await;
    for index in &deleted {
        show.entries[*index].expected = Expected::Deleted;
    }
    show.put("delete a quarter", &deleted).await;
    show.get("read again", &all).await;
    let (stopped, servers_killed) = match args.transport {
        DemoTransport::Tcp => (show.stop_a_quarter().await, 0),
        DemoTransport::Dmsg => (0, show.kill_a_server().await),
    };
    show.get("read after the loss", &all).await;
    show.progress.clear();

    let hops = {
        let mut hops: Vec<u16> = show.gets.iter().filter_map(|get| get.hops).collect();
        hops.sort_unstable();
        rank(&hops, 50).copied().unwrap_or(0)
    };
    let (puts, gets) = (latency(&show.puts), latency(&show.gets));
    let report = Report {
        schema: "skydht.demo/1",
        nodes: count,
        transport,
        servers,
        servers_killed,
        items: show.entries.len(),
        stopped,
        puts: show.puts.len(),
        gets: show.gets.len(),
        failures: show.phases.iter().map(|phase| phase.failures).sum(),
        hops_p50: hops,
        get_p50_ms: gets.p50,
        get_p99_ms: gets.p99,
        put_p50_ms: puts.p50,
        put_p99_ms: puts.p99,
        up_s: show.network.up.as_secs_f64(),
        seconds: begun.elapsed().as_secs_f64(),
        phases: show.phases.clone(),
        stay: None,
    };
    Ok((show, report))
}

impl DemoRun {
    /// Publishes the expected values of these items, each from its owner.
    async fn put(&mut self, name: &'static str, which: &[usize]) {
        self.progress.begin(name, which.len());
        let jobs: Vec<(Dht, Entry)> = which
            .iter()
            .map(|index| {
                let entry = self.entries[*index].clone();
                (self.network.nodes[entry.publisher].clone(), entry)
            })
            .collect();
        let bar = self.progress.clone();
        let samples = each(jobs.len(), CONCURRENCY, move |index| {
            let ((dht, entry), bar) = (jobs[index].clone(), bar.clone());
            async move {
                let sample = put(&dht, &entry).await;
                bar.step();
                sample
            }
        })
        .await;
        self.finish(name, &samples);
        self.puts.extend(samples);
    }

    /// Reads these items, each from a node that neither published nor stores it, if there is one.
    async fn get(&mut self, name: &'static str, which: &[usize]) {
        self.progress.begin(name, which.len());
        let jobs: Vec<(Dht, Entry)> = which
            .iter()
            .map(|index| (self.reader(*index), self.entries[*index].clone()))
            .collect();
        let bar = self.progress.clone();
        let samples = each(jobs.len(), CONCURRENCY, move |index| {
            let ((dht, entry), bar) = (jobs[index].clone(), bar.clone());
            async move {
                let sample = get(&dht, &entry).await;
                bar.step();
                sample
            }
        })
        .await;
        self.finish(name, &samples);
        self.gets.extend(samples);
    }

    fn reader(&self, index: usize) -> Dht {
        let entry = &self.entries[index];
        let request = GetRequest::of(entry.owner, entry.salt.clone(), ReadPolicy::Freshest);
        let holders: BTreeSet<PublicKey> = self
            .network
            .nearest(&request.target, self.config.k)
            .into_iter()
            .collect();
        let nodes = &self.network.nodes;
        let turn = |offset: usize| &nodes[(index * 7 + offset) % nodes.len()];
        let fits = |dht: &&Dht| dht.key() != entry.owner && !holders.contains(&dht.key());
        let other = |dht: &&Dht| dht.key() != entry.owner;
        let found = (0..nodes.len()).map(turn).find(fits);
        found
            .or_else(|| (0..nodes.len()).map(turn).find(other))
            .unwrap_or(&nodes[0])
            .clone()
    }

    /// Stops every fourth node, whether it published or stores items.
    async fn stop_a_quarter(&mut self) -> usize {
        let nodes = std::mem::take(&mut self.network.nodes);
        let (mut stop, mut keep) = (Vec::new(), Vec::new());
        for (index, dht) in nodes.into_iter().enumerate() {
            if index % 4 == 3 {
                stop.push(dht)
            } else {
                keep.push(dht)
            }
        }
        let count = stop.len();
        self.network.nodes = keep;
        self.progress.begin("stop a quarter of the nodes", count);
        Network::stop(stop).await;
        self.progress.end(&format!("{count} nodes stopped"));
        count
    }

    /// Kills one of the DMSG servers. Every node loses a session, and one full node's store is
    /// lost.
    async fn kill_a_server(&mut self) -> usize {
        self.progress.begin("kill a DMSG server", 1);
        if let Some(relays) = &mut self.network.relays {
            relays.kill_one().await;
        }
        self.progress
            .end(&format!("1 of {SERVERS} DMSG servers killed"));
        1
    }

    fn finish(&mut self, name: &'static str, samples: &[Sample]) {
        let mut hops: Vec<u16> = samples.iter().filter_map(|sample| sample.hops).collect();
        hops.sort_unstable();
        let failures: Vec<&String> = samples
            .iter()
            .filter_map(|sample| sample.failure.as_ref())
            .collect();
        let phase = Phase {
            name,
            operations: samples.len(),
            failures: failures.len(),
            latency: latency(samples),
            hops_p50: rank(&hops, 50).copied(),
            examples: failures
                .iter()
                .take(3)
                .map(|text| (*text).clone())
                .collect(),
        };
        let failed = phase.failures;
        self.progress.end(&format!(
            "{name}: {} operations, {failed} failed, p50 {:.1} ms",
            phase.operations, phase.latency.p50
        ));
        self.phases.push(phase);
    }
}

async fn put(dht: &Dht, entry: &Entry) -> Sample {
    let bytes: &[u8] = match &entry.expected {
        Expected::Value(bytes) => bytes,
        Expected::Deleted => &[],
    };
    let begun = Instant::now();
    let result = dht
        .put(entry.salt.clone(), Value::new(bytes), PutOptions::default())
        .await;
    Sample {
        elapsed: begun.elapsed(),
        hops: None,
        failure: result.err().map(|error| error.to_string()),
    }
}

async fn get(dht: &Dht, entry: &Entry) -> Sample {
    let request = GetRequest::of(entry.owner, entry.salt.clone(), ReadPolicy::Freshest);
    let begun = Instant::now();
    let result = dht.get(request).await;
    let elapsed = begun.elapsed();
    let (hops, failure) = match (&result, &entry.expected) {
        (Ok(found), Expected::Value(bytes)) if found.item.value.as_bytes() == bytes => {
            (Some(found.stats.hops), None)
        }
        (Ok(found), _) => (
            Some(found.stats.hops),
            Some(format!(
                "another value than published: sequence {}",
                found.item.seq
            )),
        ),
        (Err(GetError::Deleted { stats, .. }), Expected::Deleted) => (Some(stats.hops), None),
        (Err(error), _) => (None, Some(error.to_string())),
    };
    Sample {
        elapsed,
        hops,
        failure,
    }
}

fn latency(samples: &[Sample]) -> Latency {
    Latency::of(samples.iter().map(|sample| sample.elapsed).collect())
}

fn entries(network: &Network, count: usize) -> Vec<Entry> {
    (0..count)
        .map(|index| {
            let publisher = index % network.nodes.len();
            Entry {
                publisher,
                owner: network.nodes[publisher].key(),
                salt: Salt::from(format!("demo-{index}").as_str()),
                expected: Expected::Value(value(publisher, index, 1)),
            }
        })
        .collect()
}

fn value(publisher: usize, index: usize, version: u32) -> Vec<u8> {
    format!("item {index} of node {publisher}, version {version}").into_bytes()
}

fn every(all: &[usize], step: usize, offset: usize) -> Vec<usize> {
    all.iter().copied().skip(offset).step_by(step).collect()
}

fn print(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return output::json(report);
    }
    let rows: Vec<Vec<String>> = report
        .phases
        .iter()
        .map(|phase| {
            vec![
                phase.name.into(),
                phase.operations.to_string(),
                phase.failures.to_string(),
                format!("{:.1}", phase.latency.p50),
                format!("{:.1}", phase.latency.p99),
                phase.hops_p50.map_or("-".into(), |hops| hops.to_string()),
            ]
        })
        .collect();
    let head = ["STEP", "OPERATIONS", "FAILED", "P50 MS", "P99 MS", "HOPS"];
    output::line(output::table(&head, &rows))?;
    for phase in &report.phases {
        for example in &phase.examples {
            output::talk(format_args!("{}: {example}", phase.name));
        }
    }
    let Report {
        nodes,
        servers,
        servers_killed,
        stopped,
        puts,
        gets,
        failures,
        seconds,
        ..
    } = report;
    let verdict = match failures {
        0 => "nothing was lost".into(),
        n => format!("{n} operations FAILED"),
    };
    let network = match report.transport {
        "tcp" => format!("{nodes} nodes on TCP, {stopped} of them stopped"),
        _ => format!("{nodes} nodes over {servers} DMSG servers, {servers_killed} of them killed"),
    };
    output::line(format_args!(
        "{network}; {puts} puts, {gets} gets: {verdict} ({seconds:.1} s)"
    ))
}
