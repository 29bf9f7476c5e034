use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures::executor::block_on;
use skydht_core::item::MAX_VALUE_LEN;
use skydht_core::key::SecretKey;
use skydht_core::large::MAX_LARGE;

use super::*;

/// A network that stores items, may lose some, and may stop accepting any.
#[derive(Default)]
struct TestNetwork {
    items: RefCell<BTreeMap<Vec<u8>, (Seq, Value)>>,
    clock: Cell<u64>,
    /// Number of puts until no more is accepted; `None` is no limit.
    left: Cell<Option<u32>>,
    under_way: Cell<usize>,
    most_under_way: Cell<usize>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
struct Refused(&'static str);

fn own() -> PublicKey {
    SecretKey::from_entropy(&[1; 32]).public()
}

/// Lets the other tasks run once.
async fn turn() {
    let mut first = true;
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::take(&mut first) {
            true => std::task::Poll::Pending,
            false => std::task::Poll::Ready(()),
        }
    })
    .await;
}

impl Items for TestNetwork {
    type Error = Refused;

    async fn put(&self, salt: Salt, value: Value, options: PutOptions) -> Result<Seq, Refused> {
        self.under_way.set(self.under_way.get() + 1);
        let most = self.most_under_way.get().max(self.under_way.get());
        self.most_under_way.set(most);
        turn().await;
        self.under_way.set(self.under_way.get() - 1);
        if let Some(left) = self.left.get() {
            let left = left.checked_sub(1).ok_or(Refused("not accepted"))?;
            self.left.set(Some(left));
        }
        let mut items = self.items.borrow_mut();
        let stored = items.get(salt.as_bytes()).map(|(seq, _)| *seq);
        if options
            .expect
            .is_some_and(|expected| stored != expected.version())
        {
            return Err(Refused("another was here"));
        }
        self.clock.set(self.clock.get() + 1_000);
        let seq = options.seq.unwrap_or(Seq(self.clock.get()));
        items.insert(salt.as_bytes().to_vec(), (seq, value));
        Ok(seq)
    }

    async fn get(
        &self,
        _: PublicKey,
        salt: Salt,
        _: ReadPolicy,
    ) -> Result<Option<(Seq, Value)>, Refused> {
        turn().await;
        let found = self.items.borrow().get(salt.as_bytes()).cloned();
        Ok(found.filter(|(_, value)| !value.as_bytes().is_empty()))
    }
}

impl TestNetwork {
    fn put_large(&self, bytes: &[u8]) -> Result<Written, WriteError<Refused>> {
        let mut chunks = bytes.chunks(MAX_VALUE_LEN);
        let source = async || Ok(chunks.next().unwrap_or_default().to_vec());
        let salt = Salt::from("film");
        block_on(write(self, own(), &salt, &PutOptions::default(), source))
    }

    fn manifest(&self) -> Option<Manifest> {
        let items = self.items.borrow();
        let (_, value) = items.get(&b"film"[..])?;
        Manifest::decode(value.as_bytes()).unwrap()
    }

    fn read_from(&self, manifest: Manifest) -> Result<Vec<u8>, ReadError<Refused>> {
        let mut whole = Vec::new();
        let sink = async |bytes: &[u8]| {
            whole.extend_from_slice(bytes);
            Ok(())
        };
        block_on(read(self, own(), &Salt::from("film"), manifest, sink))?;
        Ok(whole)
    }

    fn read_large(&self) -> Result<Vec<u8>, ReadError<Refused>> {
        self.read_from(self.manifest().unwrap())
    }

    fn lose(&self, salt: &str) {
        self.items.borrow_mut().remove(salt.as_bytes()).unwrap();
    }
}

fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| seed ^ ((n * 31) >> 3).to_le_bytes()[0])
        .collect()
}

#[test]
fn sixteen_mebibytes_are_put_and_read_eight_chunks_at_a_time() {
    let network = TestNetwork::default();
    let whole = bytes(1, MAX_LARGE);
    let written = network.put_large(&whole).unwrap();
    assert_eq!((written.chunks, written.generation), (256, 1));
    assert_eq!(network.most_under_way.get(), CONCURRENT);
    assert!(network.read_large().unwrap() == whole);
    let more = bytes(1, MAX_LARGE + 1);
    assert!(matches!(
        network.put_large(&more),
        Err(WriteError::TooLarge(_))
    ));
    assert!(
        network.read_large().unwrap() == whole,
        "what was there stays"
    );
}

/// Wherever the writer stops, a reader gets one version or the other, complete.
#[test]
fn a_replacement_that_ends_anywhere_leaves_one_version_whole() {
    let (old, new) = (bytes(1, 5 * MAX_VALUE_LEN + 7), bytes(2, 3 * MAX_VALUE_LEN));
    let (mut before, mut after) = (0, 0);
    for left in 0..8 {
        let network = TestNetwork::default();
        network.put_large(&bytes(0, 7 * MAX_VALUE_LEN)).unwrap();
        network.put_large(&old).unwrap();
        network.left.set(Some(left));
        let written = network.put_large(&new);
        let found = network.read_large().unwrap();
        match written {
            Ok(_) => after += u32::from(found == new),
            Err(_) => before += u32::from(found == old),
        }
        // Later the replacement succeeds, and leaves nothing of the first version behind.
        network.left.set(None);
        network.put_large(&new).unwrap();
        assert!(network.read_large().unwrap() == new);
    }
    assert_eq!((before, after), (4, 4));
}

/// The deletion may be done by a process that did not write the record.
#[test]
fn a_deleted_record_leaves_no_chunk_and_what_is_no_record_is_deleted_alone() {
    let (network, options) = (TestNetwork::default(), PutOptions::default());
    network.put_large(&bytes(1, 12 * MAX_VALUE_LEN)).unwrap();
    network.put_large(&bytes(2, 2 * MAX_VALUE_LEN)).unwrap();
    let film = Salt::from("film");
    for salt in ["film/1/9", "poster"] {
        let put = network.put(Salt::from(salt), Value::new(b"another's"), options.clone());
        block_on(put).unwrap();
    }
    let living = || -> Vec<Vec<u8>> {
        let items = network.items.borrow();
        let living = items
            .iter()
            .filter(|(_, (_, value))| !value.as_bytes().is_empty());
        living.map(|(salt, _)| salt.clone()).collect()
    };
    assert_eq!(living().len(), 1 + 12 + 2 + 2);
    network.most_under_way.set(0);
    let deleted = block_on(delete(&network, own(), &film, &options)).unwrap();
    assert_eq!((deleted.chunks.len(), deleted.left), (14, 0));
    assert_eq!(network.most_under_way.get(), CONCURRENT);
    assert_eq!(living(), [&b"film/1/9"[..], b"poster"]);
    for salt in ["poster", "film"] {
        let deleted = block_on(delete(&network, own(), &Salt::from(salt), &options)).unwrap();
        assert_eq!(deleted.chunks, [], "{salt}");
    }
    assert_eq!(living(), [&b"film/1/9"[..]]);
    // Chunks that cannot be deleted are counted; a record that cannot be deleted keeps its chunks.
    network.put_large(&bytes(1, 3 * MAX_VALUE_LEN)).unwrap();
    for (left, chunks) in [(2, Some(2)), (0, None)] {
        network.left.set(Some(left));
        let deleted = block_on(delete(&network, own(), &film, &options)).ok();
        assert_eq!(deleted.map(|deleted| deleted.left), chunks);
        network.left.set(None);
        network.put_large(&bytes(1, 3 * MAX_VALUE_LEN)).unwrap();
    }
}

#[test]
fn a_reader_whose_version_was_replaced_twice_starts_over_or_says_so() {
    let network = TestNetwork::default();
    let versions = [1, 2, 3].map(|seed| bytes(seed, 3 * MAX_VALUE_LEN));
    network.put_large(&versions[0]).unwrap();
    let first = network.manifest().unwrap();
    network.put_large(&versions[1]).unwrap();
    // The previous version still exists.
    assert!(network.read_from(first.clone()).unwrap() == versions[0]);
    network.put_large(&versions[2]).unwrap();
    assert!(network.read_from(first.clone()).unwrap() == versions[2]);
    // A part had been passed to the sink.
    let mut same = versions[2].clone();
    same[..MAX_VALUE_LEN].copy_from_slice(&versions[0][..MAX_VALUE_LEN]);
    let network = TestNetwork::default();
    for version in [&versions[0], &versions[1], &same] {
        network.put_large(version).unwrap();
    }
    assert!(matches!(network.read_from(first), Err(ReadError::Replaced)));
}

#[test]
fn lost_chunks_are_named() {
    let network = TestNetwork::default();
    network.put_large(&bytes(1, 6 * MAX_VALUE_LEN)).unwrap();
    network.lose("film/0/2");
    network.lose("film/0/5");
    let error = network.read_large().unwrap_err();
    assert_eq!(error.to_string(), "2 of 6 chunks are lost: 2, 5");
}

#[test]
fn another_writer_with_the_same_key_is_noticed() {
    let network = TestNetwork::default();
    network.put_large(&bytes(1, 10)).unwrap();
    let mut first = true;
    let source = async || {
        if !std::mem::take(&mut first) {
            return Ok(Vec::new());
        }
        let late = network.put(
            Salt::from("film"),
            Value::new(b"late"),
            PutOptions::default(),
        );
        late.await.unwrap();
        Ok(vec![1])
    };
    let salt = Salt::from("film");
    let written = block_on(write(
        &network,
        own(),
        &salt,
        &PutOptions::default(),
        source,
    ));
    assert!(matches!(
        written,
        Err(WriteError::Item(Refused("another was here")))
    ));
}

fn list(n: usize) -> Vec<u8> {
    let elements: Vec<String> = (0..n).map(|n| format!("{{\"t_id\":{n}}}")).collect();
    format!("[{}]", elements.join(",")).into_bytes()
}

/// Upstream's writer remembers what it has written only while it runs.
#[test]
fn a_list_is_read_as_it_was_put_and_one_that_shrinks_leaves_no_ghosts() {
    let (network, salt) = (TestNetwork::default(), Salt::from("tp"));
    let options = PutOptions::default();
    for n in [2_000, 10, 0, 450] {
        let written = block_on(write_list(&network, own(), &salt, &options, &list(n))).unwrap();
        let chunks = n.div_ceil(200).max(1);
        assert_eq!(usize::from(written.chunks), chunks);
        let found = block_on(read_list(&network, own(), &salt)).unwrap();
        assert!(found == Some(list(n)), "{n}");
        // Read as upstream does: until a chunk is missing or has no elements.
        let items = network.items.borrow();
        let after = chunk_salt(&salt, written.chunks);
        let there = items.get(after.as_bytes());
        assert!(
            there.is_none_or(|(_, value)| value.as_bytes() == b"[]"),
            "{n}"
        );
    }
    assert!(
        block_on(read_list(&network, own(), &Salt::from("none")))
            .unwrap()
            .is_none()
    );
    // A replacement that ended halfway is reported as an error.
    network.left.set(Some(1));
    assert!(block_on(write_list(&network, own(), &salt, &options, &list(451))).is_err());
    let found = block_on(read_list(&network, own(), &salt));
    assert!(matches!(found, Err(ReadError::Join(JoinError::Mixed(1)))));
}
