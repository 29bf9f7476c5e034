//! The hot paths, each in a separate function, so that callgrind can count its instructions.
//!
//! `core/instruction-counts` runs it under valgrind and compares with
//! `core/instruction-counts.txt`. Run alone, it only checks that every path produces the right
//! result. Nothing is random or timed, and no signature is made or checked on a counted path.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use skydht_core::cap::Cap;
use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::node::{
    BootstrapPeer, Command, Config, GetRequest, Identity, Input, OperationId, Outcome, Output,
    Path, PutOptions, Reach, ReadPolicy, StreamId,
};
use skydht_core::store::{Candidate, Store, StoreConfig, Via};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::wire::{
    Frame, FrameDecoder, Method, Request, RequestExt, RequestMessage, Response, ResponseExt,
    ResponseMessage, Sender, Side, Timestamp, WirePeer, decode_request, decode_response,
    encode_request, encode_response,
};
use skydht_core::{Node, Seed};

/// Repetitions of each path; the script divides by this.
const ROUNDS: usize = 200;
/// Number of peers that the node knows.
const PEERS: u8 = 60;
/// Number of items in the store that is measured alone.
const HELD: u64 = 10_000;
const VALUE_BYTES: usize = 500;
const START: Time = Time {
    mono: Mono(1_000_000_000),
    unix: Unix(1_790_000_000_000_000_000),
};

type Checked = Result<(), Box<dyn Error>>;

/// Makes each path a function that is neither inlined nor merged with another, and lists these
/// functions.
macro_rules! paths {
    ($list:ident: $(fn $name:ident($world:ident) $body:block)*) => {
        $(#[inline(never)]
        fn $name(world: &mut World) -> Checked {
            fn path($world: &mut World) -> Checked $body
            black_box(stringify!($name));
            black_box(path(world))
        })*

        const $list: &[(&str, fn(&mut World) -> Checked)] = &[$((stringify!($name), $name),)*];
    };
}

/// The same for the codec of each message, by index.
macro_rules! codec {
    ($($index:literal $encode_asked:ident $decode_asked:ident $encode_answer:ident $decode_answer:ident;)*) => {
        paths! { CODEC:
            $(fn $encode_asked(world) {
                for _ in 0..ROUNDS {
                    black_box(encode_request(black_box(&world.requests[$index].0))?);
                }
                Ok(())
            }
            fn $decode_asked(world) {
                for _ in 0..ROUNDS {
                    black_box(decode_request(black_box(&world.requests[$index].1))?);
                }
                Ok(())
            }
            fn $encode_answer(world) {
                for _ in 0..ROUNDS {
                    black_box(encode_response(black_box(&world.responses[$index].0))?);
                }
                Ok(())
            }
            fn $decode_answer(world) {
                for _ in 0..ROUNDS {
                    black_box(decode_response(black_box(&world.responses[$index].1))?);
                }
                Ok(())
            })*
        }
    };
}

codec! {
    0 encode_ping decode_ping encode_ping_answer decode_ping_answer;
    1 encode_find_node decode_find_node encode_find_node_answer decode_find_node_answer;
    2 encode_get_value decode_get_value encode_get_value_answer decode_get_value_answer;
    3 encode_put_value decode_put_value encode_put_value_answer decode_put_value_answer;
    4 encode_get_items decode_get_items encode_get_items_answer decode_get_items_answer;
    5 encode_put_batch decode_put_batch encode_put_batch_answer decode_put_batch_answer;
    6 encode_renew decode_renew encode_renew_answer decode_renew_answer;
}

paths! { PATHS:
    fn serve_ping(world) {
        world.driven.serve(&world.asked.ping, |_| true)
    }
    fn serve_find_node(world) {
        world.driven.serve(&world.asked.find_node, |response| {
            matches!(response, Response::FindNode { closest } if closest.peers.len() == 20)
        })
    }
    fn serve_put_value_new(world) {
        world.driven.serve(&world.asked.put, stored)
    }
    fn serve_put_value_renewed(world) {
        world.driven.serve(&world.asked.put, stored)
    }
    fn serve_renew(world) {
        world.driven.serve(&world.asked.renew, stored)
    }
    fn serve_get_value(world) {
        world.driven.serve(&world.asked.get, |response| {
            matches!(response, Response::GetValue { item: Some(_), .. })
        })
    }
    fn serve_get_value_absent(world) {
        world.driven.serve(&world.asked.get_absent, |response| {
            matches!(response, Response::GetValue { item: None, closest } if closest.peers.len() == 20)
        })
    }
    fn get_freshest(world) {
        for command in std::mem::take(&mut world.gets) {
            let outcome = world.driven.operation(command)?;
            if !matches!(outcome, Outcome::Get(Ok(_))) {
                return Err(format!("{outcome:?}").into());
            }
        }
        Ok(())
    }
    fn put_signed(world) {
        for command in std::mem::take(&mut world.puts) {
            let outcome = world.driven.operation(command)?;
            if !matches!(outcome, Outcome::Put(Ok(_))) {
                return Err(format!("{outcome:?}").into());
            }
        }
        Ok(())
    }
    fn store_put_new(world) {
        for candidate in std::mem::take(&mut world.fresh) {
            world.store.admit(START, candidate, 0)?;
        }
        Ok(())
    }
    fn store_put_update(world) {
        for candidate in std::mem::take(&mut world.newer) {
            world.store.admit(START, candidate, 0)?;
        }
        Ok(())
    }
    fn store_get(world) {
        for target in &world.targets {
            black_box(world.store.get(START, black_box(target))).ok_or("it is held")?;
        }
        Ok(())
    }
    fn closest_20(world) {
        for target in &world.targets {
            let found = world.driven.node.table().closest(black_box(target), 20);
            black_box(found.count());
        }
        Ok(())
    }
}

fn main() -> Checked {
    let mut world = World::new()?;
    for (name, path) in PATHS.iter().chain(CODEC) {
        path(&mut world).map_err(|error| format!("{name}: {error}"))?;
        println!("{name}");
    }
    println!("{ROUNDS} rounds each");
    Ok(())
}

/// The data that the paths work on, created before anything is counted.
struct World {
    driven: Driven,
    asked: Asked,
    gets: Vec<Command>,
    puts: Vec<Command>,
    store: Store,
    fresh: Vec<Candidate>,
    newer: Vec<Candidate>,
    /// Targets of items in the store.
    targets: Vec<Target>,
    requests: Vec<(RequestMessage, Frame)>,
    responses: Vec<(ResponseMessage, Frame)>,
}

/// Frames that the caller sends.
struct Asked {
    ping: Vec<Vec<u8>>,
    find_node: Vec<Vec<u8>>,
    put: Vec<Vec<u8>>,
    renew: Vec<Vec<u8>>,
    get: Vec<Vec<u8>>,
    get_absent: Vec<Vec<u8>>,
}

impl Asked {
    fn by(caller: PublicKey) -> Result<Self, Box<dyn Error>> {
        let each = |make: &dyn Fn(u64) -> Request| {
            numbers()
                .map(|n| Ok(encode_request(&message(&caller, make(n)))?))
                .collect::<Result<_, Box<dyn Error>>>()
        };
        let held = |n| item(caller, n).target();
        Ok(Self {
            ping: each(&|_| Request::Ping)?,
            find_node: each(&|n| Request::FindNode { target: target(n) })?,
            put: each(&|n| Request::PutValue {
                item: item(caller, n).into(),
                mirror_target: None,
            })?,
            renew: each(&|n| renew(&item(caller, n)))?,
            get: each(&|n| Request::GetValue { target: held(n) })?,
            get_absent: each(&|n| Request::GetValue { target: target(n) })?,
        })
    }
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        let everywhere = Arc::new(item(public(201), 0));
        let caller = public(202);
        let driven = Driven::new(caller, &everywhere)?;
        let mut store = empty_store();
        for candidate in candidates(0..HELD, 1) {
            store.admit(START, candidate, 0)?;
        }
        let requests = requests(caller).into_iter().map(|request| {
            let message = message(&caller, request);
            let bytes = encode_request(&message)?;
            Ok((message, whole(Side::Request, &bytes)?))
        });
        let responses = responses(&everywhere).into_iter().map(|response| {
            let ext = Some(ResponseExt::default());
            let message = ResponseMessage { ext, response };
            let bytes = encode_response(&message)?;
            Ok((message, whole(Side::Response, &bytes)?))
        });
        let get = GetRequest::of(
            everywhere.key,
            everywhere.salt.clone(),
            ReadPolicy::Freshest,
        );
        let owner = public(203);
        let put = |n| Command::PutSigned {
            item: Box::new(item(owner, n)),
            options: PutOptions::default(),
        };
        let rounds = ROUNDS as u64;
        Ok(Self {
            driven,
            asked: Asked::by(caller)?,
            gets: vec![Command::Get(get); ROUNDS],
            puts: numbers().map(put).collect(),
            fresh: candidates(HELD..HELD + rounds, 1).collect(),
            newer: candidates(0..rounds, 2).collect(),
            targets: candidates(0..rounds, 1).map(|it| it.target).collect(),
            store,
            requests: requests.collect::<Result<_, Box<dyn Error>>>()?,
            responses: responses.collect::<Result<_, Box<dyn Error>>>()?,
        })
    }
}

/// A node whose peers answer immediately, with prepared bytes.
struct Driven {
    node: Node,
    now: Time,
    /// The peer of each stream that the node opened.
    opened: Vec<(StreamId, PublicKey)>,
    /// The answers of peers, by method.
    answers: [Arc<[u8]>; 4],
    pongs: Vec<(PublicKey, Arc<[u8]>)>,
    /// The stream of the caller.
    stream: StreamId,
    answer: Option<Arc<[u8]>>,
    operations: u64,
    finished: Option<Outcome>,
}

impl Driven {
    fn new(caller: PublicKey, everywhere: &Arc<Item>) -> Result<Self, Box<dyn Error>> {
        let peers: Vec<PublicKey> = (1..=PEERS).map(public).collect();
        let mut config = Config::default();
        config.bootstrap = peers
            .iter()
            .map(|key| BootstrapPeer {
                key: *key,
                addrs: vec![([192, 0, 2, 1], 1_000).into()],
            })
            .collect();
        config.limits.items_per_publisher = Cap::UNLIMITED;
        config.limits.items_per_peer = Cap::UNLIMITED;
        let identity = Identity::Keyed(SecretKey::from_entropy(&[200; 32]));
        let answer = |response| -> Result<Arc<[u8]>, Box<dyn Error>> {
            let ext = Some(ResponseExt {
                keep: true,
                ..ResponseExt::default()
            });
            Ok(encode_response(&ResponseMessage { ext, response })?.into())
        };
        let pong = |key: &PublicKey| {
            let responder = Sender::of(key);
            Ok((*key, answer(Response::Ping { responder })?))
        };
        let none = Vec::<WirePeer>::new;
        let mut driven = Self {
            node: Node::new(config, identity, Seed::from_number(1), START)?,
            now: START,
            opened: Vec::new(),
            answers: [
                answer(Response::FindNode {
                    closest: none().into(),
                })?,
                answer(Response::GetValue {
                    item: Some(Arc::clone(everywhere).into()),
                    closest: none().into(),
                })?,
                answer(Response::PutValue {
                    stored: true,
                    error: String::new(),
                })?,
                answer(Response::Renew {
                    stored: true,
                    error: String::new(),
                })?,
            ],
            pongs: peers
                .iter()
                .map(pong)
                .collect::<Result<_, Box<dyn Error>>>()?,
            stream: StreamId(1),
            answer: None,
            operations: 0,
            finished: None,
        };
        driven.input(Input::TimerFired)?;
        let path = Path {
            reach: Reach::Accepted,
            remote: None,
        };
        driven.input(Input::StreamAccepted {
            stream: driven.stream,
            peer: caller,
            path,
        })?;
        let known = driven.node.table().len();
        if known < usize::from(PEERS) / 2 {
            return Err(format!("only {known} of {PEERS} peers are in the table").into());
        }
        Ok(driven)
    }

    /// Sends requests one after another and checks the last answer.
    fn serve(&mut self, frames: &[Vec<u8>], wanted: impl Fn(&Response) -> bool) -> Checked {
        let stream = self.stream;
        for frame in frames {
            self.answer = None;
            let bytes = frame.as_slice().into();
            self.input(Input::Bytes { stream, bytes })?;
        }
        let answer = self.answer.take().ok_or("no answer")?;
        let answer = decode_response(&whole(Side::Response, &answer)?)?.response;
        if wanted(&answer) {
            Ok(())
        } else {
            Err(format!("{answer:?}").into())
        }
    }

    /// Runs an operation to its end.
    fn operation(&mut self, command: Command) -> Result<Outcome, Box<dyn Error>> {
        self.operations += 1;
        let op = OperationId(self.operations);
        self.input(Input::Command { op, command })?;
        self.finished.take().ok_or_else(|| "not finished".into())
    }

    /// Handles an input, then drains and carries out the outputs, until none is left.
    fn input(&mut self, input: Input<'_>) -> Checked {
        let mut next = vec![input.into_owned()];
        while !next.is_empty() {
            for input in std::mem::take(&mut next) {
                self.now.mono.0 += 1_000;
                self.now.unix.0 += 1_000;
                self.node.handle(self.now, input)?;
                while let Some(output) = self.node.poll_output() {
                    self.carry_out(output, &mut next)?;
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output, next: &mut Vec<Input<'static>>) -> Checked {
        match output {
            Output::OpenStream { stream, peer, .. } => {
                self.opened.push((stream, peer));
                let path = Path {
                    reach: Reach::Dialled,
                    remote: None,
                };
                next.push(Input::StreamOpened { stream, path });
            }
            Output::Send { stream, bytes } => {
                next.push(Input::Sent { stream });
                if stream == self.stream {
                    self.answer = Some(bytes);
                    return Ok(());
                }
                let method = bytes.get(4).copied().and_then(Method::from_byte);
                let answer = match method.ok_or("a frame has a method")? {
                    Method::FindNode => &self.answers[0],
                    Method::GetValue => &self.answers[1],
                    Method::PutValue => &self.answers[2],
                    Method::Renew => &self.answers[3],
                    _ => {
                        let mut opened = self.opened.iter();
                        let peer = opened.find(|(id, _)| *id == stream).ok_or("it is open")?.1;
                        let mut pongs = self.pongs.iter();
                        &pongs.find(|(key, _)| *key == peer).ok_or("a peer")?.1
                    }
                };
                let bytes = answer.to_vec().into();
                next.push(Input::Bytes { stream, bytes });
            }
            Output::CloseStream { stream, .. } => self.opened.retain(|(id, _)| *id != stream),
            Output::Verify { job, .. } => {
                let verdict = Ok(());
                next.push(Input::Verified { job, verdict });
            }
            Output::Finished { outcome, .. } => self.finished = Some(outcome),
            Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
            Output::Persist { .. } | Output::PersistMark { .. } | Output::LoadTarget { .. } => {}
            Output::Probe { .. } | Output::Event(_) => {}
        }
        Ok(())
    }
}

fn public(number: u8) -> PublicKey {
    SecretKey::from_entropy(&[number; 32]).public()
}

/// A key without an owner: only its tag is ever examined.
fn fixed_key(x: &[u8; 32]) -> PublicKey {
    let mut key = [2; 33];
    key[1..].copy_from_slice(x);
    PublicKey::from_bytes(&key).expect("the tag is 2")
}

fn target(number: u64) -> Target {
    Target::of(&fixed_key(&[7; 32]), &number.to_be_bytes())
}

/// An item without a signature: no counted path examines it.
fn item(key: PublicKey, number: u64) -> Item {
    Item {
        key,
        seq: Seq(START.unix.0),
        signature: Signature::default(),
        value: Value::new(&[number as u8; VALUE_BYTES]),
        salt: Salt::from(format!("item-{number}").as_str()),
    }
}

fn message(caller: &PublicKey, request: Request) -> RequestMessage {
    RequestMessage {
        sender: Sender::of(caller),
        ext: Some(RequestExt::default()),
        request,
    }
}

fn renew(item: &Item) -> Request {
    Request::Renew {
        target: item.target(),
        seq: item.seq,
        signature: item.signature,
        content_hash: item.content_hash(),
    }
}

fn numbers() -> std::ops::Range<u64> {
    0..ROUNDS as u64
}

fn stored(response: &Response) -> bool {
    matches!(
        response,
        Response::PutValue { stored: true, .. } | Response::Renew { stored: true, .. }
    )
}

fn whole(side: Side, bytes: &[u8]) -> Result<Frame, Box<dyn Error>> {
    let frame = FrameDecoder::new(side).push(&mut &*bytes)?;
    frame.ok_or_else(|| "half a frame".into())
}

fn requests(caller: PublicKey) -> Vec<Request> {
    let item = item(caller, 7);
    let (target, seq) = (item.target(), item.seq);
    vec![
        Request::Ping,
        Request::FindNode { target },
        Request::GetValue { target },
        Request::PutValue {
            item: item.clone().into(),
            mirror_target: None,
        },
        Request::GetItems {
            salt: "dmsg".into(),
            since_seq: seq,
            limit: 100,
        },
        Request::PutBatch {
            items: vec![item.clone().into(); 10],
            targets: vec![target; 10],
        },
        renew(&item),
    ]
}

fn responses(item: &Arc<Item>) -> Vec<Response> {
    let seen = Timestamp::from(START.unix);
    let peers: Vec<WirePeer> = (1..=20)
        .map(|n| WirePeer::new(&public(n), seen, None))
        .collect();
    let (stored, error) = (true, String::new());
    vec![
        Response::Ping {
            responder: Sender::of(&item.key),
        },
        Response::FindNode {
            closest: peers.clone().into(),
        },
        Response::GetValue {
            item: Some(Arc::clone(item).into()),
            closest: peers.into(),
        },
        Response::PutValue {
            stored,
            error: error.clone(),
        },
        Response::GetItems {
            items: vec![Arc::clone(item).into(); 10],
            targets: vec![item.target(); 10],
            has_more: true,
        },
        Response::PutBatch {
            stored: vec![true; 10],
            errors: Vec::new(),
        },
        Response::Renew { stored, error },
    ]
}

/// A full node's store.
fn empty_store() -> Store {
    Store::new(StoreConfig {
        full_node: true,
        items_per_publisher: Cap::new(50),
        deletion_marks: Cap::new(10_000),
        ..StoreConfig::unlimited(public(200).id(), std::time::Duration::from_secs(7_200))
    })
}

/// Items of as many publishers, each sent over a stream of its own.
fn candidates(numbers: std::ops::Range<u64>, seq: u64) -> impl Iterator<Item = Candidate> {
    numbers.map(move |number| {
        let key = fixed_key(target(number).as_bytes());
        let item = Item {
            key,
            seq: Seq(seq),
            signature: Signature::default(),
            value: Value::new(&[7; VALUE_BYTES]),
            salt: Salt::from("bench"),
        };
        Candidate::of_owner(Arc::new(item), Via::Signer(key))
    })
}
