//! Large records and lists, over anything that puts and reads items: see [`skydht_core::large`].
//!
//! At most [`CONCURRENT`] chunks are transferred concurrently, so that a record of 16 MiB takes
//! half a megabyte of memory.

use std::fmt;
use std::io;

use futures::stream::{self, FuturesUnordered, StreamExt as _};
use skydht_core::item::{Salt, Seq, Value};
use skydht_core::key::PublicKey;
use skydht_core::large::list::{
    JoinError, Joiner, ListError, MAX_LIST_CHUNKS, chunk_salt, chunk_seq, split,
};
use skydht_core::large::{Draft, MAX_LARGE_SALT, Manifest, ManifestError, TooLarge};
use skydht_core::node::{Expected, GetError, GetRequest, PutError, PutOptions, ReadPolicy};

use crate::Dht;

/// Maximum number of chunks that are put or read concurrently.
pub const CONCURRENT: usize = 8;
/// A record or list that is replaced while being read is read one time less than this.
const ATTEMPTS: usize = 4;

/// Puts and reads items: a node's handle, or a connection to a node.
#[allow(
    async_fn_in_trait,
    reason = "who awaits knows whether it has to be Send"
)]
pub trait Items {
    /// Why an item was not put or read.
    type Error: fmt::Display;

    /// Publishes an item of the node's own key. Returns its sequence.
    async fn put(&self, salt: Salt, value: Value, options: PutOptions) -> Result<Seq, Self::Error>;

    /// Reads an item; `None` if no peer has it, or its owner deleted it.
    async fn get(
        &self,
        owner: PublicKey,
        salt: Salt,
        policy: ReadPolicy,
    ) -> Result<Option<(Seq, Value)>, Self::Error>;
}

/// The handle of a running node.
impl Items for Dht {
    type Error = ItemsError;

    async fn put(&self, salt: Salt, value: Value, options: PutOptions) -> Result<Seq, ItemsError> {
        Ok(Self::put(self, salt, value, options).await?.seq)
    }

    async fn get(
        &self,
        owner: PublicKey,
        salt: Salt,
        policy: ReadPolicy,
    ) -> Result<Option<(Seq, Value)>, ItemsError> {
        match Self::get(self, GetRequest::of(owner, salt, policy)).await {
            Ok(found) => Ok(Some((found.item.seq, found.item.value.clone()))),
            Err(GetError::NotFound { .. } | GetError::Deleted { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a node did not put or read an item.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemsError {
    /// The item was not put.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The item was not read.
    #[error(transparent)]
    Get(#[from] GetError),
}

/// Why a large record or a list was not put. Readers of a large record still see the previous
/// version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError<E: fmt::Display> {
    /// The value has too many bytes.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The salt leaves no room for the chunk numbers.
    #[error("the salt of a large record has at most {MAX_LARGE_SALT} bytes")]
    SaltTooLong,
    /// The value is not a list that can be put.
    #[error(transparent)]
    List(#[from] ListError),
    /// Reading the value from its source failed.
    #[error("cannot read the value: {0}")]
    Source(#[from] io::Error),
    /// A chunk was not put.
    #[error("chunk {n} was not put: {error}; nothing has been replaced")]
    Chunk {
        /// Number of the chunk.
        n: u16,
        /// Error of its put.
        error: E,
    },
    /// The item that makes the new version visible was not put, or the existing one was not read.
    #[error("{0}")]
    Item(E),
}

/// A version of a large record that was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The number of the version; a list's sequence.
    pub generation: u64,
    /// The length of the value, in bytes.
    pub length: u64,
    /// The number of chunks.
    pub chunks: u16,
    /// The sequence of the manifest, or of a list's first chunk.
    pub seq: Seq,
}

/// An item that was deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deleted {
    /// The sequence of the tombstone.
    pub seq: Seq,
    /// The salts of the chunks, if it was a large record.
    pub chunks: Vec<Salt>,
    /// How many chunks were not deleted. They are not renewed, and expire.
    pub left: usize,
}

/// Why a large record or a list was not read completely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError<E: fmt::Display> {
    /// The manifest is invalid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No peer that was asked has these chunks.
    #[error("{} of {of} chunks are lost: {}", .chunks.len(), Numbers(.chunks))]
    Lost {
        /// Numbers of the chunks.
        chunks: Vec<u16>,
        /// Number of all chunks.
        of: u16,
        /// Error of the last read that failed; `None` if the chunks were just not found.
        error: Option<E>,
    },
    /// A newer version replaced it after a part had been passed to the sink.
    #[error("it was replaced while it was read: read it again")]
    Replaced,
    /// The chunks of a list do not belong together.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Writing the value to the sink failed.
    #[error("cannot write the value: {0}")]
    Sink(#[from] io::Error),
    /// An item could not be read.
    #[error("{0}")]
    Item(E),
}

/// Displays the first ten of many numbers.
struct Numbers<'a>(&'a [u16]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        for (n, number) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{number}", if n > 0 { ", " } else { "" })?;
        }
        if self.0.len() > SHOWN {
            f.write_str(", …")?;
        }
        Ok(())
    }
}

/// Publishes the chunks that `source` returns, of at most 65,536 bytes each and ended by an empty
/// one, in place of what `own` has under `salt`. Readers see the previous version until the
/// manifest is put.
///
/// # Errors
/// [`WriteError`].
pub async fn write<I: Items>(
    items: &I,
    own: PublicKey,
    salt: &Salt,
    options: &PutOptions,
    mut source: impl AsyncFnMut() -> io::Result<Vec<u8>>,
) -> Result<Written, WriteError<I::Error>> {
    if salt.as_bytes().len() > MAX_LARGE_SALT {
        return Err(WriteError::SaltTooLong);
    }
    let current = items.get(own, salt.clone(), ReadPolicy::Freshest).await;
    let current = current.map_err(WriteError::Item)?;
    let manifest = current
        .as_ref()
        .and_then(|(_, value)| Manifest::decode(value.as_bytes()).ok().flatten());
    let mut draft = Draft::after(manifest.as_ref());
    let of_chunk = PutOptions {
        seq: None,
        expect: None,
        force: false,
        ..options.clone()
    };
    let put = async |n, salt, chunk: Value| {
        for last in [false, true] {
            match items
                .put(Salt::clone(&salt), chunk.clone(), of_chunk.clone())
                .await
            {
                Err(error) if last => return Err(WriteError::Chunk { n, error }),
                Err(_) => {}
                Ok(_) => break,
            }
        }
        Ok(())
    };
    let mut puts = FuturesUnordered::new();
    loop {
        let chunk = source().await?;
        if chunk.is_empty() {
            break;
        }
        let n = draft.push(&chunk)?;
        puts.push(put(n, draft.salt(salt, n), Value::from(chunk)));
        if puts.len() >= CONCURRENT
            && let Some(done) = puts.next().await
        {
            done?;
        }
    }
    while let Some(done) = puts.next().await {
        done?;
    }
    let (manifest, left) = draft.finish(salt);
    let switch = PutOptions {
        // Fails if another writer with the same key has put a version meanwhile.
        expect: options
            .expect
            .or(current.map(|(seq, _)| Expected::Version(seq))),
        ..options.clone()
    };
    let value = Value::from(manifest.encode());
    let seq = items.put(salt.clone(), value, switch).await;
    let seq = seq.map_err(WriteError::Item)?;
    delete_chunks(items, &left, options).await;
    Ok(Written {
        generation: manifest.generation(),
        length: manifest.length(),
        chunks: manifest.chunks(),
        seq,
    })
}

/// Deletes an item, and its chunks if it is a large record.
///
/// # Errors
/// The error of the put, if the item was not deleted.
pub async fn delete<I: Items>(
    items: &I,
    own: PublicKey,
    salt: &Salt,
    options: &PutOptions,
) -> Result<Deleted, I::Error> {
    let chunks = chunks_of(items, own, salt).await;
    let seq = items
        .put(salt.clone(), Value::new(&[]), options.clone())
        .await?;
    let left = delete_chunks(items, &chunks, options).await;
    Ok(Deleted { seq, chunks, left })
}

/// Returns the salts of all chunks of the large record under `salt`, including those of the version
/// before. Empty if it is not a large record or cannot be read.
pub async fn chunks_of<I: Items>(items: &I, own: PublicKey, salt: &Salt) -> Vec<Salt> {
    // Most records were put by this node, which then has the manifest itself.
    for policy in [ReadPolicy::Local, ReadPolicy::Freshest] {
        let there = items.get(own, salt.clone(), policy).await;
        if let Ok(Some((_, value))) = there {
            let manifest = Manifest::decode(value.as_bytes()).ok().flatten();
            return manifest.map_or_else(Vec::new, |manifest| manifest.salts(salt).collect());
        }
    }
    Vec::new()
}

/// Deletes chunks that no manifest refers to any more, [`CONCURRENT`] at a time. Returns how many
/// were not deleted; these expire.
pub async fn delete_chunks<I: Items>(items: &I, chunks: &[Salt], options: &PutOptions) -> usize {
    let of_chunk = PutOptions {
        seq: None,
        expect: None,
        force: false,
        ..options.clone()
    };
    stream::iter(chunks.to_vec())
        .map(|salt| items.put(salt, Value::new(&[]), of_chunk.clone()))
        .buffer_unordered(CONCURRENT)
        .filter(|put| std::future::ready(put.is_err()))
        .count()
        .await
}

/// Reads a large record whose manifest was read before, and passes it to `sink` in order. Returns
/// the manifest of the version that was read.
///
/// # Errors
/// [`ReadError`]; a part may have been passed to `sink`.
pub async fn read<I: Items>(
    items: &I,
    owner: PublicKey,
    salt: &Salt,
    mut manifest: Manifest,
    mut sink: impl AsyncFnMut(&[u8]) -> io::Result<()>,
) -> Result<Manifest, ReadError<I::Error>> {
    for _ in 1..ATTEMPTS {
        let (given, lost) = read_version(items, owner, salt, &manifest, &mut sink).await?;
        if lost.chunks.is_empty() {
            return Ok(manifest);
        }
        let now = items.get(owner, salt.clone(), ReadPolicy::Freshest).await;
        let now = match now {
            Ok(Some((_, value))) => Manifest::decode(value.as_bytes())?,
            _ => None,
        };
        match now.filter(|now| now.generation() != manifest.generation()) {
            Some(_) if given > 0 => return Err(ReadError::Replaced),
            Some(now) => manifest = now,
            None => {
                return Err(ReadError::Lost {
                    chunks: lost.chunks,
                    of: manifest.chunks(),
                    error: lost.error,
                });
            }
        }
    }
    Err(ReadError::Replaced)
}

struct LostChunks<E> {
    chunks: Vec<u16>,
    error: Option<E>,
}

/// Reads one version. Returns how many chunks were passed to `sink`, and which were not found.
async fn read_version<I: Items>(
    items: &I,
    owner: PublicKey,
    salt: &Salt,
    manifest: &Manifest,
    sink: &mut impl AsyncFnMut(&[u8]) -> io::Result<()>,
) -> Result<(u16, LostChunks<I::Error>), ReadError<I::Error>> {
    let fetch = async |n| {
        let salt = manifest.salt(salt, n);
        let mut failed = None;
        for policy in [ReadPolicy::FirstValid, ReadPolicy::Freshest] {
            match items.get(owner, Salt::clone(&salt), policy).await {
                Ok(Some((_, value))) if manifest.is_chunk(n, value.as_bytes()) => {
                    return (n, Ok(value));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        (n, Err(failed))
    };
    let mut chunks = Box::pin(
        stream::iter(0..manifest.chunks())
            .map(fetch)
            .buffered(CONCURRENT),
    );
    let (mut given, mut lost) = (
        0,
        LostChunks {
            chunks: Vec::new(),
            error: None,
        },
    );
    while let Some((n, chunk)) = chunks.next().await {
        match chunk {
            Ok(value) if lost.chunks.is_empty() => {
                sink(value.as_bytes()).await?;
                given += 1;
            }
            Ok(_) => {}
            Err(error) => {
                lost.chunks.push(n);
                lost.error = error.or(lost.error);
            }
        }
    }
    Ok((given, lost))
}

/// Publishes a JSON array in upstream's format for lists, and empties the surplus chunks of a
/// longer list that any writer with the key has put there before.
///
/// # Errors
/// [`WriteError`]; the list may then be replaced in part.
pub async fn write_list<I: Items>(
    items: &I,
    own: PublicKey,
    salt: &Salt,
    options: &PutOptions,
    array: &[u8],
) -> Result<Written, WriteError<I::Error>> {
    if salt.as_bytes().len() > MAX_LARGE_SALT {
        return Err(WriteError::SaltTooLong);
    }
    let chunks = split(array)?;
    let (mut base, mut n) = (None, 0);
    let count = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
    for chunk in chunks {
        let options = PutOptions {
            seq: base.map_or(options.seq, |base| Some(chunk_seq(base, n))),
            expect: options.expect.filter(|_| n == 0),
            ..options.clone()
        };
        let put = items.put(chunk_salt(salt, n), Value::from(chunk), options);
        let seq = put.await.map_err(|error| WriteError::Chunk { n, error })?;
        base.get_or_insert(seq);
        n += 1;
    }
    let seq = base.unwrap_or_default();
    for n in count..MAX_LIST_CHUNKS {
        let salt = chunk_salt(salt, n);
        let there = items.get(own, salt.clone(), ReadPolicy::Freshest).await;
        match there {
            Ok(Some((_, value))) if value.as_bytes() != b"[]" => {}
            _ => break,
        }
        let options = PutOptions {
            seq: Some(chunk_seq(seq, n)),
            expect: None,
            ..options.clone()
        };
        // Go's readers stop at an empty list; a tombstone would be an error for them.
        let put = items.put(salt, Value::new(b"[]"), options).await;
        put.map_err(|error| WriteError::Chunk { n, error })?;
    }
    Ok(Written {
        generation: seq.0,
        length: array.len() as u64,
        chunks: count,
        seq,
    })
}

/// Reads a list in upstream's format; `None` if there is none. A list that is being replaced is
/// read again a few times.
///
/// # Errors
/// [`ReadError`].
pub async fn read_list<I: Items>(
    items: &I,
    owner: PublicKey,
    salt: &Salt,
) -> Result<Option<Vec<u8>>, ReadError<I::Error>> {
    let fetch = async |n| {
        let salt = chunk_salt(salt, n);
        items.get(owner, salt, ReadPolicy::Freshest).await
    };
    let mut fault = None;
    for _ in 1..ATTEMPTS {
        let mut joiner = Joiner::default();
        let mut chunks = Box::pin(
            stream::iter(0..MAX_LIST_CHUNKS)
                .map(fetch)
                .buffered(CONCURRENT),
        );
        let whole = loop {
            let Some(chunk) = chunks.next().await else {
                break Ok(());
            };
            let chunk = chunk.map_err(ReadError::Item)?;
            let chunk = chunk.as_ref().map(|(seq, value)| (*seq, value.as_bytes()));
            match joiner.push(chunk) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match whole {
            Ok(()) => return Ok(joiner.finish()),
            Err(error) => fault = Some(error),
        }
    }
    fault.map_or(Ok(None), |error| Err(error.into()))
}

#[cfg(test)]
mod tests;
