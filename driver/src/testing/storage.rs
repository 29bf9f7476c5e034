//! Conformance tests of storages.

use std::collections::BTreeMap;

use skydht_core::id::Target;
use skydht_core::item::{Item, Origin, Salt, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::time::Unix;

use crate::storage::{Page, Storage};

/// Number of targets that are written.
const TARGETS: u64 = 50;

fn secret() -> SecretKey {
    SecretKey::from_entropy(&[7; 32])
}

/// Returns the `n`-th of a sequence of valid records of a test key, all different.
#[must_use]
pub fn record(n: u64) -> StoredRecord {
    let salt = Salt::from(format!("record-{n}").as_str());
    let value = Value::from(format!("value {n}").into_bytes());
    let item = Item::sign(&secret(), Seq(1 + n), value, salt);
    StoredRecord {
        target: item.target(),
        vouched: Unix(1_790_000_000_000_000_000 + n),
        expires: (!n.is_multiple_of(3)).then_some(Unix(4_000_000_000_000_000_000 + n)),
        item,
        bound: None,
    }
}

/// Tests whether storages fulfil the contract of [`Storage`]. Each storage that `open` returns must
/// have the contents of the previous one; the first must be empty.
///
/// # Panics
/// If the contract is violated.
pub fn storage_conformance<S: Storage>(mut open: impl FnMut() -> S) {
    let mut model: BTreeMap<Target, StoredRecord> = BTreeMap::new();
    let mut storage = open();
    assert_eq!(all(&mut storage, 10), model, "a new one is empty");
    let keep = |n: u64| StoreChange::Keep(Box::new(record(n)));

    // Single writes, with sync and without.
    for n in 0..TARGETS {
        let sync = n.is_multiple_of(2);
        storage.write(&[keep(n)], sync).expect("a write");
        model.insert(record(n).target, record(n));
    }
    storage.write(&[], true).expect("a sync alone");
    for most in [1, 7, 50, 1_000] {
        assert_eq!(all(&mut storage, most), model, "pages of {most}");
    }

    // Of two changes for one target the later one applies, also within one write.
    let mut later = record(1);
    later.item = Item::sign(&secret(), Seq(99), later.item.value, later.item.salt);
    let forget = |n: u64| StoreChange::Forget(record(n).target);
    let changes = [
        StoreChange::Keep(Box::new(later.clone())),
        forget(2),
        forget(3),
        keep(3),
        keep(4),
        forget(4),
        forget(1_000),
    ];
    storage.write(&changes, true).expect("a write of many");
    model.insert(later.target, later);
    for n in [2, 4] {
        model.remove(&record(n).target);
    }

    // A shared storage keeps living records, since other nodes may store them.
    if storage.is_shared() {
        for n in [2, 4] {
            model.insert(record(n).target, record(n));
        }
    }
    for n in [1, 2, 3, 1_000] {
        let target = record(n).target;
        let got = storage.get(&target).expect("a read");
        assert_eq!(got.map(|kept| kept.record).as_ref(), model.get(&target));
    }

    assert_eq!(all(&mut storage, 9), model);

    // A page may begin at any target.
    let middle = *model.keys().nth(20).expect("fifty were written");
    let page = storage.page(middle, 5).expect("a page");
    assert_eq!(page.kept[0].record.target, middle);
    assert_eq!(page.next, model.keys().nth(25).copied());
    let last = Target::from_bytes([0xff; 32]);
    assert_eq!(storage.page(last, 5), Ok(Page::default()));

    // Of several marks of one kind and target the last one applies. A storage without proofs keeps
    // none.
    let mark = |n: u64, kind, seq| StoredMark {
        target: record(n).target,
        kind,
        origin: Origin::Owner,
        seq: Seq(seq),
        expires: Some(Unix(4_000_000_000_000_000_000)),
        lasting: n.is_multiple_of(2),
    };
    let mut marks: Vec<StoredMark> = (0..10)
        .flat_map(|n| {
            let kinds = [MarkKind::Deleted, MarkKind::Expired, MarkKind::Own];
            kinds.map(|kind| mark(n, kind, n))
        })
        .collect();
    let keep = marks.iter().copied().map(MarkChange::Keep);
    let first = MarkChange::Keep(mark(0, MarkKind::Own, 77));
    let changes: Vec<MarkChange> = [first].into_iter().chain(keep).collect();
    storage.write_marks(&changes).expect("a write of marks");
    let gone = marks.swap_remove(4);
    let forget = MarkChange::Forget(gone.kind, gone.target);
    storage.write_marks(&[forget, forget]).expect("a mark goes");
    storage.write(&[], true).expect("a sync alone");
    if storage.is_shared() {
        marks.clear();
    }
    marks.sort_by_key(|mark| (mark.kind, mark.target));
    let stored = |storage: &mut S| {
        let mut stored = storage.marks().expect("marks");
        stored.sort_by_key(|mark| (mark.kind, mark.target));
        stored
    };
    assert_eq!(stored(&mut storage), marks);

    // Everything written is there after a restart.
    drop(storage);
    let mut storage = open();
    assert_eq!(all(&mut storage, 8), model, "after a restart");
    assert_eq!(stored(&mut storage), marks, "after a restart");
    let forgotten: Vec<_> = model.keys().copied().map(StoreChange::Forget).collect();
    storage.write(&forgotten, true).expect("everything goes");
    let left = if storage.is_shared() {
        model
    } else {
        BTreeMap::new()
    };
    drop(storage);
    assert_eq!(all(&mut open(), 10), left);
}

/// Returns everything in `storage`, read page by page.
fn all<S: Storage>(storage: &mut S, most: usize) -> BTreeMap<Target, StoredRecord> {
    let (mut found, mut from) = (BTreeMap::new(), Some(Target::default()));
    while let Some(target) = from {
        let page = storage.page(target, most).expect("a page");
        assert!(page.kept.len() <= most && page.damaged == 0, "{page:?}");
        for kept in page.kept {
            let proves = !storage.is_shared();
            assert_eq!(kept.proven, proves, "what it wrote itself, alone");
            let before = found.insert(kept.record.target, kept.record);
            assert!(before.is_none(), "each once");
        }
        from = page.next;
    }
    found
}
