//! Go nodes of the DHT's days over DMSG: upstream's model in a loop of its own. A peer that called
//! one is in its table for ever, and named in its answers.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{Either, select};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use futures::{FutureExt as _, StreamExt as _};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    BootstrapPeer, Identity, Input, OpenFailure, Output, Path, Reach, StreamEnd, StreamId,
};
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_driver::dmsg::client::{Client, ClientConfig};
use skydht_driver::dmsg::endpoint::DmsgStream;
use skydht_driver::dmsg::object::Address;
use skydht_driver::transport::dmsg::PORT;
use skydht_runtime::Runtime as _;
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};

use super::directory::Directory;
use crate::host::Host as _;
use crate::scenario::Program;
use crate::scenario::draw::secret;
use crate::upstream::{UpstreamConfig, UpstreamNode};

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

struct GoNode {
    ip: IpAddr,
    secret: SecretKey,
    /// Its randomness, for keys of handshakes.
    entropy: [u8; 32],
    /// None before it starts and after it ended.
    client: Option<Client<VirtualRuntime>>,
}

/// All of them.
pub(super) struct GoNodes {
    nodes: Vec<GoNode>,
    config: Arc<UpstreamConfig>,
}

impl GoNodes {
    /// As many as the scenario says; none runs.
    pub(super) fn new(program: &Program, mut random: ChaCha8Rng) -> Self {
        let node = |n| {
            let secret = secret(&mut random);
            let mut entropy = [0; 32];
            random.fill_bytes(&mut entropy);
            GoNode {
                ip: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 220, 0, 1)) + n).into(),
                secret,
                entropy,
                client: None,
            }
        };
        let nodes: Vec<GoNode> = (0..program.go_nodes).map(node).collect();
        let config = UpstreamConfig {
            bootstrap: nodes.iter().map(|node| node.secret.public()).collect(),
            republish: None,
            ..UpstreamConfig::default()
        };
        Self {
            nodes,
            config: Arc::new(config),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.nodes.iter().map(|node| node.secret.public())
    }

    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.nodes.iter().map(|node| node.ip)
    }

    /// What our nodes may start from.
    pub(super) fn bootstrap(&self) -> impl Iterator<Item = BootstrapPeer> {
        let peer = |key| BootstrapPeer {
            key,
            addrs: Vec::new(),
        };
        self.keys().map(peer)
    }

    /// Sessions that they have, and dials of such under way.
    pub(super) fn sessions(&self) -> (usize, usize) {
        let clients = self.nodes.iter().filter_map(|node| node.client.as_ref());
        clients.fold((0, 0), |(sessions, underway), client| {
            let it = client.stats();
            (sessions + it.sessions, underway + it.connecting)
        })
    }

    /// Starts all.
    pub(super) fn start(&mut self, world: &VirtualTime, program: &Program, discovery: &Directory) {
        for node in &mut self.nodes {
            let runtime = world.host(node.ip);
            let mut config = ClientConfig::default();
            config.client_type = "test".to_owned();
            config.min_sessions = program.relay_sessions as usize;
            config.keepalive = program.keepalive;
            let secret = node.secret.clone();
            let client = Client::start(
                runtime.clone(),
                secret,
                node.entropy,
                discovery.clone(),
                config,
            );
            node.client = Some(client.clone());
            let identity = Identity::Keyed(node.secret.clone());
            let model = UpstreamNode::new(Arc::clone(&self.config), identity, now(&runtime));
            let run = Loop::new(runtime.clone(), client, model);
            runtime.spawn(Box::pin(run.run()));
        }
    }

    /// Ends all, and their loops with them.
    pub(super) async fn close(&mut self) {
        for node in &mut self.nodes {
            if let Some(client) = node.client.take() {
                client.close().await;
            }
        }
    }
}

fn now(runtime: &VirtualRuntime) -> Time {
    let clocks = runtime.clocks();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

/// What reaches the loop.
enum Heard {
    Accepted(Box<DmsgStream>),
    Opened(StreamId, Result<Box<DmsgStream>, OpenFailure>),
    Bytes(StreamId, Vec<u8>),
    Ended(StreamId, StreamEnd),
    /// The listener has ended: the client closes.
    Closed,
}

/// What a stream's writer is told; without a word it resets.
enum Tell {
    Write(Arc<[u8]>),
    Finish,
}

/// One node and its streams.
struct Loop {
    runtime: VirtualRuntime,
    client: Client<VirtualRuntime>,
    model: UpstreamNode,
    heard: UnboundedReceiver<Heard>,
    tell: UnboundedSender<Heard>,
    writers: BTreeMap<StreamId, UnboundedSender<Tell>>,
    /// Streams being opened that are still wanted.
    opening: BTreeMap<StreamId, UnboundedSender<()>>,
    accepted: u64,
}

impl Loop {
    fn new(runtime: VirtualRuntime, client: Client<VirtualRuntime>, model: UpstreamNode) -> Self {
        let (tell, heard) = unbounded();
        Self {
            runtime,
            client,
            model,
            heard,
            tell,
            writers: BTreeMap::new(),
            opening: BTreeMap::new(),
            accepted: 0,
        }
    }

    async fn run(mut self) {
        let Ok(mut listener) = self.client.listen(PORT) else {
            return;
        };
        let tell = self.tell.clone();
        self.runtime.spawn(Box::pin(async move {
            while let Some(stream) = listener.accept().await {
                let _ = tell.unbounded_send(Heard::Accepted(Box::new(stream)));
            }
            let _ = tell.unbounded_send(Heard::Closed);
        }));
        self.client.ready().await;
        loop {
            let due = self.model.next_deadline();
            let wait = due.map(|at| at.since(now(&self.runtime).mono));
            let heard = match wait {
                None => self.heard.next().await,
                Some(wait) => match select(self.heard.next(), self.runtime.sleep(wait)).await {
                    Either::Left((heard, _)) => heard,
                    Either::Right(_) => {
                        self.handle(Input::TimerFired);
                        continue;
                    }
                },
            };
            match heard {
                None | Some(Heard::Closed) => return,
                Some(heard) => self.hear(heard),
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Accepted(stream) => {
                let id = StreamId(self.accepted * 2 + 1);
                self.accepted += 1;
                let peer = stream.remote().key;
                self.attach(id, *stream);
                let (stream, path) = (id, PATH);
                self.handle(Input::StreamAccepted { stream, peer, path });
            }
            Heard::Opened(stream, opened) => {
                if self.opening.remove(&stream).is_none() {
                    return; // not wanted any more
                }
                match opened {
                    Ok(open) => {
                        self.attach(stream, *open);
                        self.handle(Input::StreamOpened { stream, path: PATH });
                    }
                    Err(reason) => self.handle(Input::StreamFailed { stream, reason }),
                }
            }
            Heard::Bytes(stream, bytes) => {
                let bytes = bytes.into();
                self.handle(Input::Bytes { stream, bytes });
            }
            Heard::Ended(stream, end) => {
                self.writers.remove(&stream);
                self.handle(Input::StreamClosed { stream, end });
            }
            Heard::Closed => {}
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.model.handle(now(&self.runtime), input);
        while let Some(output) = self.model.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::OpenStream { stream, peer, .. } => self.open(stream, peer),
            Output::Send { stream, bytes } => {
                if let Some(writer) = self.writers.get(&stream) {
                    let _ = writer.unbounded_send(Tell::Write(bytes));
                }
            }
            Output::CloseStream { stream, reason } => {
                self.opening.remove(&stream);
                if let Some(writer) = self.writers.remove(&stream)
                    && reason.is_graceful()
                {
                    let _ = writer.unbounded_send(Tell::Finish);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, stream: StreamId, peer: PublicKey) {
        let (wanted, mut unwanted) = unbounded::<()>();
        self.opening.insert(stream, wanted);
        let (client, tell) = (self.client.clone(), self.tell.clone());
        let remote = Address {
            key: peer,
            port: PORT,
        };
        self.runtime.spawn(Box::pin(async move {
            let dialling = Box::pin(client.dial(remote));
            if let Either::Left((dialled, _)) = select(dialling, unwanted.next()).await {
                let opened = dialled.map(Box::new).map_err(|_| OpenFailure::Unreachable);
                let _ = tell.unbounded_send(Heard::Opened(stream, opened));
            }
        }));
    }

    /// Reads and writes a stream from now on.
    fn attach(&mut self, id: StreamId, stream: DmsgStream) {
        let (reader, writer) = stream.split();
        let (tell, told) = unbounded();
        self.writers.insert(id, tell);
        let heard = self.tell.clone();
        self.runtime.spawn(Box::pin(async move {
            let ended = {
                let reading = read(reader, id, heard.clone()).fuse();
                let writing = write(writer, told).fuse();
                futures::pin_mut!(reading, writing);
                match select(reading, writing).await {
                    // The peer is done; what is to be written still goes out.
                    Either::Left((StreamEnd::Finished, writing)) => {
                        let _ = heard.unbounded_send(Heard::Ended(id, StreamEnd::Finished));
                        let _ = writing.await;
                        return;
                    }
                    Either::Left((end, _)) => Some(end),
                    Either::Right(_) => None,
                }
            };
            if let Some(end) = ended {
                let _ = heard.unbounded_send(Heard::Ended(id, end));
            }
        }));
    }
}

async fn read(
    mut reader: ReadHalf<DmsgStream>,
    id: StreamId,
    heard: UnboundedSender<Heard>,
) -> StreamEnd {
    let mut buffer = [0; 4_096];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return StreamEnd::Finished,
            Ok(n) => {
                let _ = heard.unbounded_send(Heard::Bytes(id, buffer[..n].to_vec()));
            }
            Err(_) => return StreamEnd::Reset,
        }
    }
}

async fn write(
    mut writer: WriteHalf<DmsgStream>,
    mut told: UnboundedReceiver<Tell>,
) -> io::Result<()> {
    while let Some(tell) = told.next().await {
        match tell {
            Tell::Write(bytes) => {
                writer.write_all(&bytes).await?;
                writer.flush().await?;
            }
            Tell::Finish => return writer.close().await,
        }
    }
    Ok(())
}
