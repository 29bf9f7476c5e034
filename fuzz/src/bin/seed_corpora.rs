//! Writes a first corpus for every target into a directory. The inputs come from the golden vectors
//! (`tests/vectors`) and from runs of our own: `cargo run --no-default-features --bin seed_corpora
//! DIR`.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use k256::sha2::{Digest as _, Sha256};
use serde_json::Value;
use skydht_core::wire::Method;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let into = std::env::args_os().nth(1).ok_or("which directory?")?;
    let seeds = Seeds(into.into());
    let frames = vectors("frames.json")?;
    frames_and_messages(&seeds, &frames)?;
    items_and_signatures(&seeds)?;
    stored_records(&seeds)?;
    node(&seeds)?;
    noise_frames(&seeds)?;
    dmsg_objects(&seeds)?;
    dmsg_streams(&seeds)?;
    discovery(&seeds)?;
    journals(&seeds)
}

fn vectors(file: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")).join(file);
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Maximum size of a seed. Larger ones add nothing to smaller ones.
const LARGEST: usize = 4_096;

struct Seeds(PathBuf);

impl Seeds {
    fn write(&self, target: &str, parts: &[&[u8]]) -> Outcome {
        let seed = parts.concat();
        if seed.len() > LARGEST {
            return Ok(());
        }
        let directory = self.0.join(target);
        fs::create_dir_all(&directory)?;
        let number = fs::read_dir(&directory)?.count();
        Ok(fs::write(
            directory.join(format!("seed-{number:04}")),
            seed,
        )?)
    }
}

/// The bytes of a field's hexadecimal text.
fn hex(case: &Value, field: &str) -> Vec<u8> {
    let text = case[field].as_str().unwrap_or_default();
    HEXLOWER.decode(text.as_bytes()).unwrap_or_default()
}

fn all<'a>(file: &'a Value, section: &str) -> impl Iterator<Item = &'a Value> {
    file[section].as_array().into_iter().flatten()
}

fn frames_and_messages(seeds: &Seeds, file: &Value) -> Outcome {
    for case in all(file, "frames") {
        let (frame, answer) = (hex(case, "frame"), case["kind"] != "request");
        seeds.write("frames", &[&[u8::from(answer)], &frame])?;
        message(seeds, &frame, answer)?;
    }
    for case in all(&vectors("own/extensions.json")?, "messages") {
        message(seeds, &hex(case, "frame"), case["side"] != "request")?;
    }
    for case in all(file, "handler") {
        let (sent, answer) = (hex(case, "bytes_sent"), hex(case, "response"));
        seeds.write("frames", &[&[2], &sent])?;
        seeds.write("frames", &[&[3], &sent, &answer])?;
        message(seeds, &sent, false)?;
        message(seeds, &answer, true)?;
    }
    for case in all(file, "decoding") {
        let text = case["json"].as_str().unwrap_or_default();
        let (method, answer, body) = match case["type"].as_str() {
            Some("find_node_request") => (Method::FindNode, false, text.to_string()),
            Some("put_value_request") => (Method::PutValue, false, text.to_string()),
            Some("find_node_response") => (Method::FindNode, true, text.to_string()),
            Some("peer") => (Method::FindNode, true, format!("{{\"closest\":[{text}]}}")),
            _ => (Method::GetValue, true, format!("{{\"item\":{text}}}")),
        };
        let which = [which(method, answer)];
        seeds.write("messages", &[&which, body.as_bytes()])?;
        seeds.write("items_and_signatures", &[&[0], text.as_bytes()])?;
    }
    Ok(())
}

fn which(method: Method, answer: bool) -> u8 {
    let index = Method::ALL.iter().position(|known| *known == method);
    (index.unwrap_or_default() as u8) << 1 | u8::from(answer)
}

fn message(seeds: &Seeds, frame: &[u8], answer: bool) -> Outcome {
    let Some(method) = frame.get(4).copied().and_then(Method::from_byte) else {
        return Ok(());
    };
    seeds.write("messages", &[&[which(method, answer)], &frame[5..]])
}

fn dmsg_objects(seeds: &Seeds) -> Outcome {
    const TARGET: &str = "dmsg_objects";
    let gob = vectors("gob.json")?;
    for process in ["request_first", "response_first"] {
        let process = &gob[process];
        for case in all(process, "requests") {
            seeds.write(TARGET, &[&[0, 0, 0], &hex(case, "gob")])?;
        }
        for case in all(process, "responses") {
            seeds.write(TARGET, &[&[1, 0, 0], &hex(case, "gob")])?;
        }
        // Complete objects verify; without one byte they do not.
        for case in all(process, "request_verification") {
            let object = hex(case, "signed_object");
            let cut = object.len().saturating_sub(1);
            seeds.write(TARGET, &[&[2], &object[..cut]])?;
        }
    }
    let later = vectors("dmsg_2026.json")?;
    for case in all(&later, "stream_requests") {
        seeds.write(TARGET, &[&[0, 1, 0], &hex(case, "gob")])?;
    }
    for case in all(&later, "stream_responses") {
        seeds.write(TARGET, &[&[1, 1, 0], &hex(case, "gob")])?;
    }
    let entries = vectors("disc_entry.json")?;
    let entries = [
        (&later, "disc_entries"),
        (&entries, "entries"),
        (&entries, "signature_checks"),
    ];
    for (file, section) in entries {
        for case in all(file, section) {
            let text = case["entry_json"].as_str().unwrap_or_default();
            seeds.write(TARGET, &[&[4], text.as_bytes()])?;
        }
    }
    for at in [0u16, 1, 63, 64, 65, 66, 200, 400] {
        let [high, low] = at.to_be_bytes();
        seeds.write(TARGET, &[&[3, high, low, 1]])?;
    }
    Ok(())
}

/// Each request of the vectors alone, then scripts of our own.
fn dmsg_streams(seeds: &Seeds) -> Outcome {
    const TARGET: &str = "dmsg_streams";
    // Each kind of request, correct and with each change that a script may make.
    for bits in (0..5).flat_map(|to| [0, 8, 16, 32, 64, 128].map(|change| to | change)) {
        seeds.write(TARGET, &[&[0, bits], &[0, 7, 3, 1, 2, 3, 0, 0, 0, 1, 20]])?;
    }
    // Damaged, as raw bytes, repeated, and cut at both ends.
    for at in [0, 40, 70, 200] {
        seeds.write(TARGET, &[&[1, 0, 0, at, 1, at & 1, 5]])?;
    }
    seeds.write(TARGET, &[&[2, 80], &[9; 80], &[5, 4, 10], &[1; 10], &[5]])?;
    seeds.write(TARGET, &[&[0, 0, 50, 3, 50, 3, 0]])?;
    seeds.write(
        TARGET,
        &[&[5, 2, 0xff, 0xff, 9, 4, 3, 1, 2, 3, 9, 7, 9, 6, 9]],
    )?;
    seeds.write(TARGET, &[&[0, 0, 200, 4, 40], &[3; 40], &[200, 7, 9, 6, 9]])?;
    // Every kind of answer of Mallory to Alice's requests.
    for how in 0..4 {
        seeds.write(TARGET, &[&[8, how, 70], &[4; 70], &[0, 99, 3, 1, 9]])?;
        seeds.write(
            TARGET,
            &[&[8, how, 0, 0, 9, 4, 5], &[2; 5], &[9, 8, 50, 0, 0]],
        )?;
    }
    Ok(())
}

fn discovery(seeds: &Seeds) -> Outcome {
    const TARGET: &str = "discovery";
    const ROOM: [u8; 4] = [7, 3, 255, 1];
    for case in all(&vectors("disc_entry.json")?, "discovery_http") {
        let text = |field: &str| case[field].as_str().unwrap_or_default().as_bytes();
        let method: u8 = match text("method") {
            b"POST" => 1,
            b"DELETE" => 2,
            _ => 0,
        };
        let (path, body) = (text("path"), text("request_body"));
        let (Ok(path_len), Ok(body_len)) = (path.len().try_into(), body.len().try_into()) else {
            continue;
        };
        let script = [&[0, method, path_len], path, &[body_len], body];
        seeds.write(TARGET, &[&ROOM, &script.concat()])?;
    }
    let client = |key: u8, sequence: u8| vec![1, key, sequence, key, 0];
    let server = |key: u8, sequence: u8, sessions: u8| {
        let address = b"\x0c127.0.0.1:80";
        [&[2, key, sequence, 0, sessions], &address[..]].concat()
    };
    let later = |seconds: u16| {
        let [high, low] = seconds.to_be_bytes();
        vec![4, high, low]
    };
    let raw = |path: &str| [&[0, 0, path.len() as u8], path.as_bytes(), &[0]].concat();
    let scripts = [
        vec![client(0, 0), client(0, 1), client(0, 1), vec![3, 0, 0, 0]],
        vec![server(1, 0, 5), later(119), server(1, 1, 0), later(120)],
        vec![server(1, 0, 5), client(1, 1), later(1), server(1, 2, 255)],
        (0..8).map(|key| client(key, 0)).collect(),
        (0..8).map(|key| server(key, 0, key)).collect(),
        vec![
            client(2, 5),
            vec![5, 2, 6, 0, 1, 2, 1],
            later(901),
            client(3, 0),
        ],
        vec![
            server(4, 0, 9),
            raw("/dmsg-discovery/available_servers"),
            raw("/dmsg-discovery/all_servers"),
            raw("/dmsg-discovery/entries"),
            raw("/dmsg-discovery/visorEntries"),
            raw("/health"),
        ],
    ];
    for script in &scripts {
        let script = script.concat();
        for room in [ROOM, [1, 1, 3, 1], [3, 0, 255, 0]] {
            seeds.write(TARGET, &[&room, &script])?;
        }
    }
    Ok(())
}

fn items_and_signatures(seeds: &Seeds) -> Outcome {
    const TARGET: &str = "items_and_signatures";
    for case in all(&vectors("items.json")?, "items") {
        let text = case["json"].as_str().unwrap_or_default();
        seeds.write(TARGET, &[&[0], text.as_bytes()])?;
    }
    for case in all(&vectors("signatures.json")?, "cases") {
        let digest = Sha256::digest(hex(case, "payload"));
        seeds.write(
            TARGET,
            &[&[1], &hex(case, "pk"), &digest, &hex(case, "sig")],
        )?;
    }
    for at in [0u16, 31, 32, 64, 65, 70, 97, 98, 99, 200] {
        let script = [
            [2, 7].as_slice(),
            &at.to_be_bytes(),
            &[1],
            &[0; 8],
            b"\x04dmsgvalue",
        ];
        seeds.write(TARGET, &script)?;
    }
    let keys = vectors("keys.json")?;
    for case in all(&keys, "public_key_checks") {
        seeds.write(TARGET, &[&[3], &[9; 64], &hex(case, "pk")])?;
    }
    for case in all(&keys, "text_decoding") {
        let text = case["text"].as_str().unwrap_or_default();
        seeds.write(TARGET, &[&[3], &[9; 64], text.as_bytes()])?;
    }
    Ok(())
}

fn stored_records(seeds: &Seeds) -> Outcome {
    use skydht_core::item::{Item, Salt, Seq, Value};
    use skydht_core::key::SecretKey;
    use skydht_core::record::StoredRecord;
    use skydht_core::time::Unix;
    let secret = SecretKey::from_entropy(&[1; 32]);
    let seq = Seq(1_790_000_000_000_000_000);
    let values = [Value::null(), Value::new(b""), Value::new(b"hello")];
    for n in 0..12 {
        let (flags, value) = (n / 3, values[n % 3].clone());
        let item = Item::sign(&secret, seq, value, Salt::from("dmsg"));
        let record = StoredRecord {
            target: item.target(),
            vouched: Unix(1_790_000_000_000_000_000),
            expires: (flags & 1 != 0).then_some(Unix(1_790_007_200_000_000_000)),
            bound: (flags & 2 != 0).then(|| secret.sign(&item.bind_digest(&item.target()))),
            item,
        };
        let bytes = record.encode();
        seeds.write("stored_records", &[&bytes])?;
        seeds.write("stored_records", &[&bytes[..bytes.len() / 2]])?;
    }
    Ok(())
}

/// Scripts of 150 steps with fixed pseudo-random bytes. Half of them are biased towards success.
fn node(seeds: &Seeds) -> Outcome {
    const ALL_IS_WELL: u8 = 24;
    for n in 0..48u64 {
        let mut state = n;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let mut script: Vec<u8> = (0..8).map(|_| draw()).collect();
        script[0] |= 0x10; // a peer to start from
        for _ in 0..150 {
            script.extend((0..4).map(|_| draw()));
            if n % 2 == 0 {
                // Peers answer with nearly all peers and keep their streams.
                script.extend([ALL_IS_WELL, 0, 0x0f, 0xff, 1, 3]);
            }
        }
        seeds.write("node", &[&script])?;
    }
    Ok(())
}

fn noise_frames(seeds: &Seeds) -> Outcome {
    use skydht_core::key::SecretKey;
    use skydht_dmsg::handshake::{Ephemeral, Handshake};
    const TARGET: &str = "noise_frames";
    // The target's own keys: a first message that its responder accepts.
    let [initiator, responder] = [1, 2].map(|n| SecretKey::from_entropy(&[n; 32]));
    let ephemeral = Ephemeral::from_entropy(&[4; 32]);
    let mut side = Handshake::xk_initiator(&initiator, &responder.public(), ephemeral)?;
    let mut message = vec![0, 0, 0, 49];
    side.write_message(&mut message)?;
    seeds.write(TARGET, &[&message, &[0, 65], &[7; 65]])?;
    for n in 0..6 {
        seeds.write(TARGET, &[&[1, n & 1, n, n * 9, n]])?;
        seeds.write(TARGET, &[&[1, n & 1 | 0x20, n, n * 9, 0], b"more"])?;
    }
    let seal = [0, 3, 1, 2, 3];
    seeds.write(
        TARGET,
        &[
            &[2],
            &seal,
            &[1],
            &seal,
            &seal,
            &[9, 5, 1, 6, 0, 9, 1, 3, 2, 0, 0],
        ],
    )?;
    for damage in 0..2 {
        seeds.write(
            TARGET,
            &[
                &[3, 40, damage, 0, 30, 1, 2, 1, 1, 200],
                &[200; 200],
                &[1, 7, 0],
            ],
        )?;
        seeds.write(TARGET, &[&[3, 255, damage, 2, 30, 1, 2, 255, 255, 0]])?;
    }
    Ok(())
}

/// A run of a few steps.
fn journals(seeds: &Seeds) -> Outcome {
    use skydht_core::item::{Salt, Value};
    use skydht_core::journal::{Header, Recorder};
    use skydht_core::key::SecretKey;
    use skydht_core::node::{
        Command, Config, Identity, Input, OperationId, Path, PutOptions, Reach, StreamEnd, StreamId,
    };
    use skydht_core::time::{Mono, Time, Unix};
    use skydht_core::{Node, Seed};
    let secret = SecretKey::from_entropy(&[1; 32]);
    let peer = SecretKey::from_entropy(&[2; 32]).public();
    let now = Time {
        mono: Mono(1_000_000_000),
        unix: Unix(1_790_000_000_000_000_000),
    };
    let (config, seed) = (Config::default(), Seed([7; 32]));
    let header = Header::new(config.clone(), secret.public(), seed, now);
    let mut journal = serde_json::to_vec(&header)?;
    let mut node = Node::new(config, Identity::Keyed(secret), seed, now)?;
    let mut recorder = Recorder::new(&mut node);
    let (stream, op) = (StreamId(1), OperationId(1));
    let path = Path {
        reach: Reach::Relayed,
        remote: None,
    };
    let ping = b"\0\0\0\x03\x01{}".as_slice();
    let put = Command::Put {
        salt: Salt::from("s"),
        value: Value::new(b"v"),
        options: PutOptions {
            local_only: true,
            ..PutOptions::default()
        },
    };
    let inputs = [
        Input::StreamAccepted { stream, peer, path },
        Input::Bytes {
            stream,
            bytes: ping.into(),
        },
        Input::Sent { stream },
        Input::Command { op, command: put },
        Input::TimerFired,
        Input::StreamClosed {
            stream,
            end: StreamEnd::Finished,
        },
        Input::Command {
            op: OperationId(2),
            command: Command::Shutdown,
        },
    ];
    let begin = journal.len() + 1;
    for input in inputs {
        node.handle(now, input.clone())?;
        while let Some(output) = node.poll_output() {
            recorder.output(&output);
        }
        journal.push(b'\n');
        journal.extend(serde_json::to_vec(&recorder.step(&mut node, now, input))?);
        seeds.write("journals", &[&journal])?;
    }
    journal_files(seeds, &journal[begin..])
}

/// Complete files, and files with each kind of damage in each part.
fn journal_files(seeds: &Seeds, steps: &[u8]) -> Outcome {
    const TARGET: &str = "journal_files";
    for closed in [0, 1] {
        seeds.write(TARGET, &[&[1, 0, 0, 0, 0, closed], steps])?;
        seeds.write(TARGET, &[&[1, 0, 0, 0, 0, closed], b"{}\n", steps])?;
    }
    for place in [0u16, 9, 12, 16, 18, 21, 40, 1_800, 2_100, 2_600] {
        let [high, low] = place.to_be_bytes();
        for how in 1..5 {
            seeds.write(TARGET, &[&[1, how, high, low, 1, 1], steps])?;
        }
    }
    for begin in [
        &b"SKYDHTJ\n"[..],
        b"SKYDHTJ\n\x01\0\0\0",
        b"SKYDHTJ\n\x02\0\0\0",
        b"{",
    ] {
        seeds.write(TARGET, &[&[0], begin, &[9; 20]])?;
    }
    Ok(())
}
