//! A DMSG discovery under requests of any kind in any order.

use std::sync::LazyLock;
use std::time::Duration;

use http::{Method, Request};
use skydht_core::key::SecretKey;
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_discovery::dmsg::{Answer, Call, Caller, DmsgDiscovery, Rules};
use skydht_discovery::health::Health;
use skydht_discovery::web::{self, Response};
use skydht_dmsg::discovery::Limits;
use skydht_dmsg::entry::{ClientFields, Entry, ServerFields, SignedEntry};

use crate::cursor::Cursor;

/// Maximum number of steps. Longer scripts show nothing more.
const MOST_STEPS: usize = 64;
const START: u64 = 1_777_000_000_000_000_000;

static SECRETS: LazyLock<[SecretKey; 8]> =
    LazyLock::new(|| std::array::from_fn(|n| SecretKey::from_entropy(&[n as u8 + 1; 32])));

/// Input: limits, then steps: raw requests; entries that eight keys sign as clients, servers or
/// both; damaged entries; removals; queries for several keys; and passing time.
///
/// - Every request gets an answer with one of the known statuses, and every client can read it.
/// - Only its owner can write an entry, whatever byte is changed.
/// - The discovery holds exactly what the eight keys wrote: its counts of entries, servers and
///   bytes are right and within its limits.
/// - The sequence number of a key's entry never decreases while an entry is held.
pub fn discovery(data: &[u8]) {
    let mut input = Cursor::new(data);
    let limits = Limits {
        entries: 1 + usize::from(input.byte() % 8),
        servers: usize::from(input.byte() % 4),
        bytes: 300 * usize::from(input.byte()),
    };
    let mut world = World {
        discovery: DmsgDiscovery::with(
            Rules {
                allow_loopback: input.byte() & 1 != 0,
                passphrase: String::new(),
            },
            limits,
            Health::default(),
        ),
        limits,
        passed: Duration::ZERO,
        sequences: [None; 8],
    };
    for _ in 0..MOST_STEPS {
        let Some(step) = input.next() else {
            return;
        };
        world.step(step, &mut input);
        world.check();
    }
}

struct World {
    discovery: DmsgDiscovery,
    limits: Limits,
    passed: Duration,
    /// For each key, the sequence number held at the last check.
    sequences: [Option<u64>; 8],
}

impl World {
    fn now(&self) -> Time {
        let passed = nanos(self.passed);
        Time {
            mono: Mono(passed),
            unix: Unix(START + passed),
        }
    }

    fn step(&mut self, step: u8, input: &mut Cursor<'_>) {
        match step {
            240..=247 => return self.both(input),
            248.. => return self.many(input),
            _ => {}
        }
        match step % 6 {
            0 => self.raw(input),
            1 => {
                let entry = self.client(input);
                let expiring = input.byte() & 1 != 0;
                self.call(&Call::Publish { entry, expiring });
            }
            2 => {
                let entry = self.server(input);
                let expiring = false;
                self.call(&Call::Publish { entry, expiring });
            }
            3 => {
                let entry = self.client(input);
                let which = entry.entry().key;
                self.call(&Call::Remove(entry));
                let keys = SECRETS.iter().map(SecretKey::public);
                let at = keys.zip(&mut self.sequences).find(|(key, _)| *key == which);
                if let Some((_, sequence)) = at {
                    *sequence = None;
                }
            }
            4 => self.passed += Duration::from_secs(input.u16().into()),
            _ => self.damaged(input),
        }
    }

    fn raw(&mut self, input: &mut Cursor<'_>) {
        let methods = [Method::GET, Method::POST, Method::DELETE, Method::PUT];
        let method = methods[usize::from(input.byte() % 4)].clone();
        let (path, body) = (input.short(), input.short());
        let request = Request::builder().method(method).uri(path);
        if let Ok(request) = request.body(body.to_vec()) {
            let response = self.discovery.handle(self.now(), &request);
            self.readable(&response);
            if let Ok(call) = Call::read(&request) {
                let again = Call::read(&call.write());
                assert_eq!(again, Ok(call), "a call is read as it is written");
            }
        }
    }

    /// A client and a server with the same key.
    fn both(&mut self, input: &mut Cursor<'_>) {
        let (client, server) = (self.client(input), self.server(input));
        let mut entry = client.entry().clone();
        entry.server.clone_from(&server.entry().server);
        let owner = SECRETS.iter().find(|it| it.public() == entry.key);
        let entry = entry.sign(owner.expect("one of the eight"));
        let expiring = false;
        self.call(&Call::Publish { entry, expiring });
    }

    /// A query for several keys gives the same as a query for each of them, and only what is held.
    fn many(&mut self, input: &mut Cursor<'_>) {
        let which = input.byte();
        let keys = SECRETS.iter().enumerate();
        let keys = keys.filter(|(n, _)| which >> n & 1 != 0);
        let keys: Vec<_> = keys.map(|(_, secret)| secret.public()).collect();
        let call = Call::Batch(keys.clone());
        let response = self.call(&call);
        let Ok(Answer::Entries(entries)) = Answer::read(&call, &response) else {
            panic!("no entries");
        };
        for key in keys {
            let call = Call::Entry(key);
            let one = Answer::read(&call, &self.call(&call));
            let one = match one {
                Ok(Answer::Entry(entry)) => Some(entry),
                _ => None,
            };
            assert_eq!(entries.get(&key), one.as_ref());
        }
        let caller = Caller::Key(SECRETS[usize::from(input.byte() % 8)].public());
        let now = self.now();
        let response = self.discovery.handle_from(now, caller, &call.write());
        self.readable(&response);
        let all = self.call(&Call::ClientsByServer);
        let Ok(Answer::ClientsByServer(all)) = Answer::read(&Call::ClientsByServer, &all) else {
            panic!("no clients");
        };
        for secret in &*SECRETS {
            let call = Call::ClientsOf(secret.public());
            let response = self.call(&call);
            let clients = all.get(&secret.public()).cloned().unwrap_or_default();
            let told = Answer::read(&call, &response);
            assert_eq!(told, Ok(Answer::ClientsOf(clients)));
        }
    }

    fn damaged(&mut self, input: &mut Cursor<'_>) {
        let honest = self.client(input);
        let mut body = honest.json().to_vec();
        let at = usize::from(input.u16()) % body.len();
        body[at] ^= input.byte();
        let request = web::request(Method::POST, "/dmsg-discovery/entry/", body.clone());
        let response = self.discovery.handle(self.now(), &request);
        self.readable(&response);
        if response.status() == 200 {
            // The same content written in another way, such as with a capital digit.
            let taken = SignedEntry::from_json(&body).expect("it was read");
            let (taken, honest) = (taken.entry(), honest.entry());
            let same = taken.key == honest.key
                && (taken.sequence, taken.timestamp) == (honest.sequence, honest.timestamp)
                && taken.client == honest.client
                && taken.server == honest.server;
            assert!(same, "a forged entry was taken");
        }
    }

    fn call(&mut self, call: &Call) -> Response {
        assert_eq!(Call::read(&call.write()).as_ref(), Ok(call));
        let response = self.discovery.handle(self.now(), &call.write());
        self.readable(&response);
        response
    }

    /// Whatever the request was, every client, whether it expects this answer or another, can read
    /// or refuse it.
    fn readable(&self, response: &Response) {
        let known = [200, 400, 401, 403, 404, 405, 413, 422, 429, 500, 503];
        let status = response.status().as_u16();
        assert!(known.contains(&status), "status {status}");
        let key = SECRETS[0].public();
        for call in [
            Call::Entry(key),
            Call::Clients,
            Call::AllServers,
            Call::Batch(vec![key]),
            Call::ClientsByServer,
            Call::ClientsOf(key),
            Call::Health,
        ] {
            if let Ok(answer) = Answer::read(&call, response) {
                let again = Answer::read(&call, &answer.write());
                assert_eq!(again, Ok(answer), "an answer is read as it is written");
            }
        }
    }

    /// Counts the held entries independently.
    fn check(&mut self) {
        let (mut entries, mut servers, mut bytes) = (0, 0, 0);
        for (n, secret) in SECRETS.iter().enumerate() {
            let call = Call::Entry(secret.public());
            let response = self.discovery.handle(self.now(), &call.write());
            let held = match Answer::read(&call, &response) {
                Ok(Answer::Entry(entry)) => entry,
                _ => {
                    self.sequences[n] = None;
                    continue;
                }
            };
            entries += 1;
            bytes += held.json().len();
            servers += usize::from(held.entry().server.is_some());
            let sequence = held.entry().sequence;
            assert!(self.sequences[n] <= Some(sequence), "a sequence fell");
            self.sequences[n] = Some(sequence);
            assert_eq!(held.verify_stored(), Ok(()));
        }
        let stats = self.discovery.stats();
        assert_eq!(
            (stats.entries, stats.servers, stats.bytes),
            (entries, servers, bytes)
        );
        assert!(entries <= self.limits.entries && servers <= self.limits.servers);
        assert!(bytes <= self.limits.bytes);
    }

    fn client(&self, input: &mut Cursor<'_>) -> SignedEntry {
        let secret = &SECRETS[usize::from(input.byte() % 8)];
        let mut entry = Entry::new(secret.public(), input.byte().into(), 1);
        let servers = usize::from(input.byte() % 4);
        let servers = SECRETS[..servers].iter().map(SecretKey::public);
        entry.client = Some(ClientFields {
            delegated_servers: Some(servers.collect()),
        });
        entry.sign(secret)
    }

    fn server(&self, input: &mut Cursor<'_>) -> SignedEntry {
        let secret = &SECRETS[usize::from(input.byte() % 8)];
        let sequence = input.byte().into();
        let ahead = i64::from(input.byte() as i8) * 1_000_000_000;
        let timestamp = self.now().unix.0 as i64 + ahead;
        let mut entry = Entry::new(secret.public(), sequence, timestamp);
        entry.server = Some(ServerFields {
            available_sessions: i64::from(input.byte() as i8),
            address: String::from_utf8_lossy(input.short()).into_owned(),
            ..ServerFields::default()
        });
        entry.sign(secret)
    }
}
