//! Go nodes from the time when they ran the DHT over DMSG: the model of upstream in a loop of its
//! own. A peer that called such a node stays in its table for ever and occurs in its answers.

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
    /// Randomness for the keys of handshakes.
    entropy: [u8; 32],
    /// `None` before the node starts and after it ends.
    client: Option<Client<VirtualRuntime>>,
}

/// All Go nodes.
pub(super) struct GoNodes {
    nodes: Vec<GoNode>,
    config: Arc<UpstreamConfig>,
}

impl GoNodes {
    /// The number of nodes that the scenario sets, all stopped.
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

    /// Bootstrap peers for our nodes.
    pub(super) fn bootstrap(&self) -> impl Iterator<Item = BootstrapPeer> {
        let peer = |key| BootstrapPeer {
            key,
            addrs: Vec::new(),
        };
        self.keys().map(peer)
    }

    /// Number of sessions and of dials in progress.
    pub(super) fn sessions(&self) -> (usize, usize) {
        let clients = self.nodes.iter().filter_map(|node| node.client.as_ref());
        clients.fold((0, 0), |(sessions, underway), client| {
            let it = client.stats();
            (sessions + it.sessions, underway + it.connecting)
        })
    }

    /// Starts all nodes.
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

    /// Ends all nodes and their loops.
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

/// An event for the loop.
enum LoopEvent {
    Accepted(Box<DmsgStream>),
    Opened(StreamId, Result<Box<DmsgStream>, OpenFailure>),
    Bytes(StreamId, Vec<u8>),
    Ended(StreamId, StreamEnd),
    /// The listener has ended because the client closes.
    Closed,
}

/// A message to the writer of a stream. If the sender is dropped, the writer resets the stream.
enum WriterMessage {
    Write(Arc<[u8]>),
    Finish,
}

/// One node and its streams.
struct Loop {
    runtime: VirtualRuntime,
    client: Client<VirtualRuntime>,
    model: UpstreamNode,
    events: UnboundedReceiver<LoopEvent>,
    event_sender: UnboundedSender<LoopEvent>,
    writers: BTreeMap<StreamId, UnboundedSender<WriterMessage>>,
    /// Streams being opened that are still needed.
    opening: BTreeMap<StreamId, UnboundedSender<()>>,
    accepted: u64,
}

impl Loop {
    fn new(runtime: VirtualRuntime, client: Client<VirtualRuntime>, model: UpstreamNode) -> Self {
        let (event_sender, events) = unbounded();
        Self {
            runtime,
            client,
            model,
            events,
            event_sender,
            writers: BTreeMap::new(),
            opening: BTreeMap::new(),
            accepted: 0,
        }
    }

    async fn run(mut self) {
        let Ok(mut listener) = self.client.listen(PORT) else {
            return;
        };
        let event_sender = self.event_sender.clone();
        self.runtime.spawn(Box::pin(async move {
            while let Some(stream) = listener.accept().await {
                let _ = event_sender.unbounded_send(LoopEvent::Accepted(Box::new(stream)));
            }
            let _ = event_sender.unbounded_send(LoopEvent::Closed);
        }));
        self.client.ready().await;
        loop {
            let due = self.model.next_deadline();
            let wait = due.map(|at| at.since(now(&self.runtime).mono));
            let event = match wait {
                None => self.events.next().await,
                Some(wait) => match select(self.events.next(), self.runtime.sleep(wait)).await {
                    Either::Left((event, _)) => event,
                    Either::Right(_) => {
                        self.handle(Input::TimerFired);
                        continue;
                    }
                },
            };
            match event {
                None | Some(LoopEvent::Closed) => return,
                Some(event) => self.handle_event(event),
            }
        }
    }

    fn handle_event(&mut self, event: LoopEvent) {
        match event {
            LoopEvent::Accepted(stream) => {
                let id = StreamId(self.accepted * 2 + 1);
                self.accepted += 1;
                let peer = stream.remote().key;
                self.attach(id, *stream);
                let (stream, path) = (id, PATH);
                self.handle(Input::StreamAccepted { stream, peer, path });
            }
            LoopEvent::Opened(stream, opened) => {
                if self.opening.remove(&stream).is_none() {
                    return; // no longer needed
                }
                match opened {
                    Ok(open) => {
                        self.attach(stream, *open);
                        self.handle(Input::StreamOpened { stream, path: PATH });
                    }
                    Err(reason) => self.handle(Input::StreamFailed { stream, reason }),
                }
            }
            LoopEvent::Bytes(stream, bytes) => {
                let bytes = bytes.into();
                self.handle(Input::Bytes { stream, bytes });
            }
            LoopEvent::Ended(stream, end) => {
                self.writers.remove(&stream);
                self.handle(Input::StreamClosed { stream, end });
            }
            LoopEvent::Closed => {}
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
                    let _ = writer.unbounded_send(WriterMessage::Write(bytes));
                }
            }
            Output::CloseStream { stream, reason } => {
                self.opening.remove(&stream);
                if let Some(writer) = self.writers.remove(&stream)
                    && reason.is_graceful()
                {
                    let _ = writer.unbounded_send(WriterMessage::Finish);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, stream: StreamId, peer: PublicKey) {
        let (wanted, mut unwanted) = unbounded::<()>();
        self.opening.insert(stream, wanted);
        let (client, event_sender) = (self.client.clone(), self.event_sender.clone());
        let remote = Address {
            key: peer,
            port: PORT,
        };
        self.runtime.spawn(Box::pin(async move {
            let dialling = Box::pin(client.dial(remote));
            if let Either::Left((dialled, _)) = select(dialling, unwanted.next()).await {
                let opened = dialled.map(Box::new).map_err(|_| OpenFailure::Unreachable);
                let _ = event_sender.unbounded_send(LoopEvent::Opened(stream, opened));
            }
        }));
    }

    /// Starts reading and writing a stream.
    fn attach(&mut self, id: StreamId, stream: DmsgStream) {
        let (reader, writer) = stream.split();
        let (message_sender, messages) = unbounded();
        self.writers.insert(id, message_sender);
        let event_sender = self.event_sender.clone();
        self.runtime.spawn(Box::pin(async move {
            let ended = {
                let reading = read(reader, id, event_sender.clone()).fuse();
                let writing = write(writer, messages).fuse();
                futures::pin_mut!(reading, writing);
                match select(reading, writing).await {
                    // The peer has finished; remaining data is still written.
                    Either::Left((StreamEnd::Finished, writing)) => {
                        let _ =
                            event_sender.unbounded_send(LoopEvent::Ended(id, StreamEnd::Finished));
                        let _ = writing.await;
                        return;
                    }
                    Either::Left((end, _)) => Some(end),
                    Either::Right(_) => None,
                }
            };
            if let Some(end) = ended {
                let _ = event_sender.unbounded_send(LoopEvent::Ended(id, end));
            }
        }));
    }
}

async fn read(
    mut reader: ReadHalf<DmsgStream>,
    id: StreamId,
    event_sender: UnboundedSender<LoopEvent>,
) -> StreamEnd {
    let mut buffer = [0; 4_096];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return StreamEnd::Finished,
            Ok(n) => {
                let _ = event_sender.unbounded_send(LoopEvent::Bytes(id, buffer[..n].to_vec()));
            }
            Err(_) => return StreamEnd::Reset,
        }
    }
}

async fn write(
    mut writer: WriteHalf<DmsgStream>,
    mut messages: UnboundedReceiver<WriterMessage>,
) -> io::Result<()> {
    while let Some(message) = messages.next().await {
        match message {
            WriterMessage::Write(bytes) => {
                writer.write_all(&bytes).await?;
                writer.flush().await?;
            }
            WriterMessage::Finish => return writer.close().await,
        }
    }
    Ok(())
}
