//! Values above the size of an item, and lists: `put` and `get` in chunks.

use std::cell::Cell;
use std::io::{self, Read};

use serde::Serialize;
use skydht_core::item::{MAX_VALUE_LEN, Salt, Seq, Value};
use skydht_core::key::PublicKey;
use skydht_core::large::{MAX_LARGE, Manifest};
use skydht_core::node::{PutOptions, ReadPolicy};
use skydht_driver::large::{self, Items, ReadError, WriteError, Written};

use crate::access::Access;
use crate::api::schema::{GetBody, PutRequest};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output;
use crate::progress::Progress;

/// A value of which only the beginning has been read.
pub(super) struct Source {
    pub(super) head: Vec<u8>,
    pub(super) rest: Box<dyn Read + Send>,
    /// Total length in bytes, if known.
    pub(super) length: Option<u64>,
}

/// Report of a put in chunks.
#[derive(Serialize)]
struct LargeReport {
    schema: &'static str,
    /// Sequence number of the manifest, or of a list's first chunk.
    seq: String,
    /// Total length in bytes.
    length: u64,
    chunks: u16,
    /// Smallest number of peers that acknowledged one of its items.
    acknowledged: u16,
    /// Whether the node renews all of its items.
    renewed: bool,
}

/// Puts and reads the items that make up one large value.
struct Chunks<'a> {
    access: &'a Access,
    request: &'a PutRequest,
    fewest: Cell<u16>,
    renewed: Cell<bool>,
}

impl<'a> Chunks<'a> {
    const fn new(access: &'a Access, request: &'a PutRequest) -> Self {
        Self {
            access,
            request,
            fewest: Cell::new(u16::MAX),
            renewed: Cell::new(true),
        }
    }
}

/// Reads a list in upstream's chunks; `None` if there is none.
pub(super) async fn list_if_any(
    access: &Access,
    owner: PublicKey,
    salt: &Salt,
) -> Result<Option<Vec<u8>>> {
    let request = PutRequest::default();
    let read = large::read_list(&Chunks::new(access, &request), owner, salt).await;
    read.map_err(|error| Failure::new(Code::Partial, error))
}

fn text_of(salt: &Salt) -> String {
    String::from_utf8_lossy(salt.as_bytes()).into_owned()
}

impl Items for Chunks<'_> {
    type Error = Box<Failure>;

    async fn put(&self, salt: Salt, value: Value, options: PutOptions) -> Result<Seq> {
        let delete = value.as_bytes().is_empty();
        let mut request = match delete {
            true => PutRequest::default(),
            false => PutRequest::of(value.as_bytes()),
        };
        request.delete = delete;
        request.salt = text_of(&salt);
        request.seq = options.seq;
        request.expect = options.expect;
        request.min_replicas = options.min_replicas;
        request.force = options.force;
        request.once = options.once;
        request.timeout_ms = self.request.timeout_ms;
        let report = self.access.put(&request).await?;
        if !delete {
            self.fewest.set(self.fewest.get().min(report.acknowledged));
            self.renewed.set(self.renewed.get() && report.renewed);
        }
        Ok(report.seq)
    }

    async fn get(
        &self,
        owner: PublicKey,
        salt: Salt,
        policy: ReadPolicy,
    ) -> Result<Option<(Seq, Value)>> {
        let policy = match policy {
            ReadPolicy::FirstValid => "first",
            _ => "freshest",
        };
        let body = GetBody {
            owner: owner.to_string(),
            salt: text_of(&salt),
            policy: Some(policy.into()),
            unknown_mirrors: false,
            timeout_ms: self.request.timeout_ms,
            trace: false,
        };
        match self.access.get(body).await {
            Ok(report) => Ok(Some((report.seq, Value::from(report.bytes())))),
            Err(failure) if matches!(failure.code, Code::NotFound | Code::Deleted) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// Publishes a large value, replacing what is stored under its salt.
pub(super) async fn put(
    access: &Access,
    json: bool,
    request: &PutRequest,
    source: Source,
) -> Result<Exit> {
    let own = access.own_key().await?;
    let items = Chunks::new(access, request);
    let progress = Progress::new();
    let chunks = source.length.unwrap_or(MAX_LARGE as u64);
    let chunks = usize::try_from(chunks.div_ceil(MAX_VALUE_LEN as u64)).unwrap_or(usize::MAX);
    progress.begin("chunks put", chunks);
    let mut state = Some((source.head, source.rest));
    let mut n = 0;
    let next = async || {
        progress.at(n);
        n += 1;
        let Some((head, mut rest)) = state.take() else {
            return Ok(Vec::new());
        };
        let reading = tokio::task::spawn_blocking(move || {
            let mut chunk = head;
            let left = chunk.split_off(chunk.len().min(MAX_VALUE_LEN));
            let room = MAX_VALUE_LEN - chunk.len();
            rest.by_ref().take(room as u64).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((chunk, left, rest))
        });
        let (chunk, left, rest) = reading.await.map_err(io::Error::other)??;
        state = Some((left, rest));
        Ok(chunk)
    };
    let salt = Salt::from(request.salt.as_str());
    let written = large::write(&items, own, &salt, &options(request), next).await;
    progress.clear();
    show(json, request, &items, &written.map_err(not_written)?)
}

/// Publishes a list in upstream's chunks.
pub(super) async fn put_list(
    access: &Access,
    json: bool,
    request: &PutRequest,
    array: &[u8],
) -> Result<Exit> {
    let own = access.own_key().await?;
    let items = Chunks::new(access, request);
    let salt = Salt::from(request.salt.as_str());
    let written = large::write_list(&items, own, &salt, &options(request), array).await;
    show(json, request, &items, &written.map_err(not_written)?)
}

fn options(request: &PutRequest) -> PutOptions {
    PutOptions {
        mirror_of: None,
        seq: request.seq,
        expect: request.expect,
        min_replicas: request.min_replicas,
        force: request.force,
        local_only: false,
        once: request.once,
        timeout: None,
    }
}

fn show(json: bool, request: &PutRequest, items: &Chunks<'_>, written: &Written) -> Result<Exit> {
    let report = LargeReport {
        schema: "skydht.put-large/1",
        seq: written.seq.to_string(),
        length: written.length,
        chunks: written.chunks,
        acknowledged: items.fewest.get(),
        renewed: items.renewed.get() && request.wants_renewal(),
    };
    if json {
        output::json(&report)?;
    } else {
        output::line(format_args!(
            "seq {} · {} bytes in {} chunks, each acknowledged by {} peers at least",
            report.seq,
            output::count(report.length),
            report.chunks,
            report.acknowledged
        ))?;
    }
    if report.renewed || !request.wants_renewal() {
        return Ok(Exit::Ok);
    }
    output::warn(
        "nothing will renew all of it: it dies when its life ends
  raise limits.own_items with `skydht config set limits.own_items N`, or say --once",
    );
    Ok(Exit::Partial)
}

fn not_written(error: WriteError<Box<Failure>>) -> Box<Failure> {
    let text = error.to_string();
    match error {
        WriteError::Item(failure) => failure,
        WriteError::Chunk { error, .. } => {
            let mut failure = error;
            failure.message = text;
            failure
        }
        WriteError::TooLarge(_) | WriteError::SaltTooLong => Failure::new(Code::TooLarge, text),
        WriteError::List(_) => Failure::new(Code::Usage, text),
        _ => Failure::new(Code::Local, text),
    }
}

/// Reads the chunks of the value that `manifest` describes.
pub(super) async fn read(
    access: &Access,
    (owner, salt): (PublicKey, &str),
    timeout_ms: Option<u64>,
    manifest: Manifest,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Manifest> {
    let request = PutRequest {
        timeout_ms,
        ..PutRequest::default()
    };
    let items = Chunks::new(access, &request);
    let progress = Progress::new();
    progress.begin("chunks read", manifest.chunks().into());
    let mut n = 0;
    let give = async |bytes: &[u8]| {
        n += 1;
        progress.at(n);
        sink(bytes)
    };
    let salt = Salt::from(salt);
    let result = large::read(&items, owner, &salt, manifest, give).await;
    progress.clear();
    result.map_err(not_read)
}

/// Reads a list in upstream's chunks.
pub(super) async fn read_list(
    access: &Access,
    (owner, salt): (PublicKey, &str),
    timeout_ms: Option<u64>,
) -> Result<Vec<u8>> {
    let request = PutRequest {
        timeout_ms,
        ..PutRequest::default()
    };
    let items = Chunks::new(access, &request);
    let salt = Salt::from(salt);
    let list = large::read_list(&items, owner, &salt).await;
    list.map_err(not_read)?
        .ok_or_else(|| Failure::new(Code::NotFound, "no peer asked has the list's first chunk"))
}

fn not_read(error: ReadError<Box<Failure>>) -> Box<Failure> {
    let text = error.to_string();
    match error {
        ReadError::Item(failure) => failure,
        ReadError::Lost { error, .. } => {
            let failure = Failure::new(Code::Partial, text);
            match error {
                Some(error) => failure.hint(error.message),
                None => failure.hint("read it again later, or have its owner put it again"),
            }
        }
        ReadError::Replaced => Failure::new(Code::Conflict, text),
        ReadError::Join(_) | ReadError::Manifest(_) => Failure::new(Code::Partial, text),
        _ => Failure::new(Code::Local, text),
    }
}
