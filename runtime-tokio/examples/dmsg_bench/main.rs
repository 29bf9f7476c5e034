//! Measures a DMSG relay on loopback, with source, relay and sink in separate processes.
//!
//! `cargo run --release -p skydht-tokio --example dmsg_bench -- throughput|streams|sessions|puts`
//!
//! `throughput` compares with a relay that copies between two plain yamux connections: the same
//! processes, but neither encryption nor handshakes.

mod plain;
mod process;
mod roles;

use std::io;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_runtime::Connection;
use skydht_tokio::dmsg::client::Client;
use skydht_tokio::dmsg::object::Address;
use skydht_tokio::{BootstrapPeer, Cap, Dht, DmsgNode, GetRequest, PutOptions, ReadPolicy};
use skydht_tokio::{Salt, Start as _, TokioRuntime, Value, Via};

use process::Process;
use roles::PORT;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Bytes of one measurement.
const VOLUME: u64 = 512 << 20;
/// Runs of each kind, in turn; the median is reported.
const RUNS: usize = 5;
/// Bytes of one write.
const WRITE: usize = 64 << 10;
/// Round trips of one latency measurement.
const TRIPS: usize = 5_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let role = args.first().map_or("", String::as_str);
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build()?.block_on(async {
        match (role, rest.as_slice()) {
            ("throughput", []) => throughput().await,
            ("streams", []) => streams(2_000).await,
            ("sessions", []) => sessions(10_000).await,
            ("puts", []) => puts(3).await,
            // Roles of the processes that the measurements start.
            ("relay", []) => roles::relay().await,
            ("sink", [key, addr]) => roles::sink(key, addr).await,
            ("crowd", [key, addr, n]) => roles::crowd(key, addr, n.parse()?).await,
            ("plain-relay", []) => plain::relay().await,
            ("plain-sink", [addr]) => plain::sink(addr).await,
            _ => Err("throughput, streams, sessions, or puts".into()),
        }
    })
}

/// A relay, a sink connected to it, and a client in this process.
struct RelaySetup {
    relay: Process,
    _sink: Process,
    client: Client<TokioRuntime>,
    to: Address,
}

impl RelaySetup {
    async fn start() -> Result<Self> {
        let (relay, key, addr) = Process::relay()?;
        let (sink, line) = Process::start(&["sink", &key, &addr])?;
        let client = roles::client(&key, &addr)?;
        client.ready().await;
        let to = Address {
            key: roles::key(&line)?,
            port: PORT,
        };
        Ok(Self {
            relay,
            _sink: sink,
            client,
            to,
        })
    }
}

/// Sends `VOLUME` bytes over the streams concurrently. Returns how many bytes per second arrived.
async fn send<S: Connection>(streams: Vec<S>) -> Result<f64> {
    let each = VOLUME / streams.len() as u64;
    let begun = Instant::now();
    let sending = streams.into_iter().map(|mut stream| async move {
        stream.write_all(&[roles::SWALLOW]).await?;
        let chunk = vec![7; WRITE];
        for _ in 0..each / WRITE as u64 {
            stream.write_all(&chunk).await?;
        }
        stream.close().await?;
        let mut count = [0; 8];
        stream.read_exact(&mut count).await?;
        io::Result::Ok(u64::from_be_bytes(count))
    });
    let mut arrived = 0;
    for sent in join_all(sending.map(tokio::spawn)).await {
        arrived += sent??;
    }
    Ok(arrived as f64 / begun.elapsed().as_secs_f64())
}

/// Returns the median and the 99th percentile of a small round trip, in microseconds.
async fn latency<S: Connection>(mut stream: S) -> Result<(f64, f64)> {
    stream.write_all(&[roles::ECHO]).await?;
    let mut trips = Vec::with_capacity(TRIPS);
    let mut message = [1; 64];
    for _ in 0..TRIPS {
        let begun = Instant::now();
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut message).await?;
        trips.push(begun.elapsed());
    }
    Ok(percentiles(trips))
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    (at(50), at(99))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn throughput() -> Result<()> {
    let dmsg = RelaySetup::start().await?;
    let plain = plain::RelaySetup::start().await?;
    println!("streams    plain MiB/s     DMSG MiB/s      DMSG / plain");
    for n in [1, 4, 16] {
        let (mut plains, mut dmsgs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let mut streams = Vec::new();
            for _ in 0..n {
                streams.push(plain.open().await?);
            }
            plains.push(send(streams).await?);
            let mut streams = Vec::new();
            for _ in 0..n {
                streams.push(dmsg.client.dial(dmsg.to).await?);
            }
            dmsgs.push(send(streams).await?);
        }
        let mib = f64::from(1 << 20);
        let (plain, dmsg) = (median(plains) / mib, median(dmsgs) / mib);
        println!("{n:>7} {plain:>14.0} {dmsg:>14.0} {:>16.2}", dmsg / plain);
    }
    let (p50, p99) = latency(plain.open().await?).await?;
    println!("64 bytes there and back, plain: p50 {p50:.0} us, p99 {p99:.0} us");
    let (p50, p99) = latency(dmsg.client.dial(dmsg.to).await?).await?;
    println!("64 bytes there and back, DMSG:  p50 {p50:.0} us, p99 {p99:.0} us");
    let mut dials = Vec::with_capacity(TRIPS / 5);
    for _ in 0..TRIPS / 5 {
        let begun = Instant::now();
        let stream = dmsg.client.dial(dmsg.to).await?;
        dials.push(begun.elapsed());
        drop(stream);
    }
    let (p50, p99) = percentiles(dials);
    println!("a stream dialled through the relay: p50 {p50:.0} us, p99 {p99:.0} us");
    Ok(())
}

/// Opens many streams concurrently, and echoes data on each before and after all are open.
async fn streams(n: usize) -> Result<()> {
    let dmsg = RelaySetup::start().await?;
    let before = dmsg.relay.resident()?;
    let begun = Instant::now();
    let dials = (0..n).map(|i| {
        let (client, to) = (dmsg.client.clone(), dmsg.to);
        tokio::spawn(async move {
            let mut stream = client.dial(to).await?;
            stream.write_all(&[roles::ECHO]).await?;
            echo(&mut stream, i as u8).await?;
            Result::Ok(stream)
        })
    });
    let mut open = Vec::with_capacity(n);
    for stream in join_all(dials).await {
        open.push(stream??);
    }
    let opened = begun.elapsed();
    let echoes = open.iter_mut().map(|stream| echo(stream, 9));
    for echoed in join_all(echoes).await {
        echoed?;
    }
    let all = begun.elapsed() - opened;
    let after = dmsg.relay.resident()?;
    println!(
        "{n} concurrent streams through one relay: {:.2} s to dial them ({:.0}/s), \
         1 KiB echoed on each in {:.2} s; relay {before:.1} MiB before, {after:.1} MiB with them",
        opened.as_secs_f64(),
        n as f64 / opened.as_secs_f64(),
        all.as_secs_f64(),
    );
    Ok(())
}

async fn echo<S: Connection>(stream: &mut S, byte: u8) -> Result<()> {
    let request = [byte; 1024];
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut answer = [0; 1024];
    stream.read_exact(&mut answer).await?;
    if answer != request {
        return Err("another echo".into());
    }
    Ok(())
}

/// Measures idle sessions that are kept alive.
async fn sessions(n: usize) -> Result<()> {
    let (relay, key, addr) = Process::relay()?;
    let empty = relay.resident()?;
    let begun = Instant::now();
    let (_crowd, line) = Process::start(&["crowd", &key, &addr, &n.to_string()])?;
    let took = begun.elapsed().as_secs_f64();
    let made = line.trim();
    println!("{made} sessions in {took:.1} s ({:.0}/s)", n as f64 / took);
    println!(
        "relay: {empty:.1} MiB empty, {:.1} MiB with them",
        relay.resident()?
    );
    let client = roles::client(&key, &addr)?;
    client.ready().await;
    let begun = Instant::now();
    let own = Address {
        key: roles::key(&key)?,
        port: PORT,
    };
    let stream = client.dial(own).await?;
    println!(
        "a stream through it all: {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
    drop(stream);
    // After the first keepalive of every session.
    tokio::time::sleep(Duration::from_secs(45)).await;
    println!(
        "relay after 45 s idle: {:.1} MiB, {} open files",
        relay.resident()?,
        relay.open_files()?
    );
    Ok(())
}

/// Measures nodes over DMSG in this process, with the relay in another.
async fn puts(n: usize) -> Result<()> {
    const OPERATIONS: usize = 3_000;
    let (_relay, key, addr) = Process::relay()?;
    let mut nodes: Vec<Dht> = Vec::new();
    for _ in 0..n {
        let (secret, client) = roles::fresh_client(&key, &addr)?;
        let mut node = DmsgNode::new(secret, Via::Client(client));
        let limits = &mut node.config.limits;
        limits.items_per_publisher = Cap::UNLIMITED;
        limits.items_per_peer = Cap::UNLIMITED;
        limits.public_items = Cap::UNLIMITED;
        let first = nodes.first().map(Dht::key);
        node.config.bootstrap = first
            .map(|key| BootstrapPeer {
                key,
                addrs: Vec::new(),
            })
            .into_iter()
            .collect();
        nodes.push(node.start().await?);
    }
    for node in &nodes {
        node.ready().await?;
        // The last node may not be in the routing tables of all others yet.
        while node.peers().await?.len() < n - 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    println!("{n} nodes over one relay, {OPERATIONS} operations, values of 500 bytes");
    for concurrency in [1, 16] {
        for what in ["put", "get"] {
            let begun = Instant::now();
            let workers = (0..concurrency).map(|worker| {
                let nodes = nodes.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    for i in (worker..OPERATIONS).step_by(concurrency) {
                        let salt = Salt::from(format!("{concurrency} {i}").as_str());
                        let begun = Instant::now();
                        operation(&nodes, what, i, salt).await?;
                        times.push(begun.elapsed());
                    }
                    Result::Ok(times)
                })
            });
            let mut times = Vec::new();
            for worker in join_all(workers).await {
                times.extend(worker??);
            }
            let rate = OPERATIONS as f64 / begun.elapsed().as_secs_f64();
            let (p50, p99) = percentiles(times);
            let (p50, p99) = (p50 / 1e3, p99 / 1e3);
            println!(
                "{what}s, {concurrency:>2} workers: {rate:>6.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms"
            );
        }
    }
    Ok(())
}

async fn operation(nodes: &[Dht], what: &str, i: usize, salt: Salt) -> Result<()> {
    let owner = &nodes[i % nodes.len()];
    if what == "get" {
        let reader = &nodes[(i + 1) % nodes.len()];
        let request = GetRequest::of(owner.key(), salt, ReadPolicy::Freshest);
        reader.get(request).await?;
        return Ok(());
    }
    let put = owner.put(salt, Value::new(&[i as u8; 500]), PutOptions::default());
    if put.await?.replicas.stored as usize != nodes.len() - 1 {
        return Err("not at all others".into());
    }
    Ok(())
}
