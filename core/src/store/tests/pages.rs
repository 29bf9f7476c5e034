use super::*;

/// Ten bytes an item.
fn page(store: &Store, salt: Option<&[u8]>, since: u64, limit: i64, budget: usize) -> Page {
    store.page(at(1), salt, Seq(since), limit, budget, |_| 10)
}

fn seqs(page: &Page) -> Vec<u64> {
    page.items.iter().map(|(_, item)| item.seq.0).collect()
}

fn filled(seqs: &[u64]) -> Store {
    let mut store = store();
    for (n, seq) in (0u8..).zip(seqs) {
        let salt = ["even", "odd"][usize::from(n % 2)];
        put(&mut store, at(0), own(&item(n, *seq, b"v", salt))).unwrap();
    }
    store
}

#[test]
fn items_come_by_sequence_then_target() {
    let store = filled(&[3, 1, 2, 2, 2, 1]);
    let all = page(&store, None, 0, 0, usize::MAX);
    assert_eq!(seqs(&all), [1, 1, 2, 2, 2, 3]);
    assert!(!all.has_more);
    let order: Vec<_> = all.items.iter().map(|(t, i)| (i.seq, *t)).collect();
    assert!(order.is_sorted());
    assert_eq!(seqs(&page(&store, None, 1, 0, usize::MAX)), [2, 2, 2, 3]);
    assert_eq!(page(&store, None, u64::MAX, 0, 100), Page::default());
}

#[test]
fn one_salt_is_found_without_the_others() {
    let store = filled(&[5, 4, 3, 2, 1]);
    assert_eq!(seqs(&page(&store, Some(b"odd"), 0, 0, 1000)), [2, 4]);
    assert_eq!(seqs(&page(&store, Some(b"even"), 2, 0, 1000)), [3, 5]);
    assert_eq!(
        seqs(&page(&store, Some(b"od"), 0, 0, 1000)),
        Vec::<u64>::new()
    );
}

#[test]
fn a_limit_does_not_split_a_run() {
    let store = filled(&[1, 2, 2, 2, 3]);
    for (limit, expected, more) in [
        (1, &[1][..], true),
        (2, &[1, 2, 2, 2], true),
        (4, &[1, 2, 2, 2], true),
        (5, &[1, 2, 2, 2, 3], false),
        (-1, &[1, 2, 2, 2, 3], false),
    ] {
        let page = page(&store, None, 0, limit, 1000);
        assert_eq!((seqs(&page), page.has_more), (expected.to_vec(), more));
    }
}

#[test]
fn the_budget_does_not_split_a_run_that_fits_alone() {
    let store = filled(&[1, 2, 2, 2, 3]);
    for (budget, expected, more) in [
        (50, &[1, 2, 2, 2, 3][..], false),
        (49, &[1, 2, 2, 2], true),
        (39, &[1], true),
        (10, &[1], true),
    ] {
        let page = page(&store, None, 0, 0, budget);
        assert_eq!((seqs(&page), page.has_more), (expected.to_vec(), more));
    }
}

#[test]
fn a_run_larger_than_the_budget_is_cut_and_a_page_is_never_empty() {
    let store = filled(&[2, 2, 2, 3]);
    for (budget, expected) in [(29, &[2, 2][..]), (10, &[2]), (0, &[2])] {
        let page = page(&store, None, 0, 0, budget);
        assert_eq!((seqs(&page), page.has_more), (expected.to_vec(), true));
    }
}

#[test]
fn the_expired_are_left_out_and_do_not_count_as_more() {
    let mut store = store();
    put(&mut store, at(0), own(&item(1, 1, b"v", "s"))).unwrap();
    put(&mut store, at(0), from_peer(9, &item(2, 2, b"v", "s"))).unwrap();
    let page = store.page(at(HOUR), None, Seq(0), 1, 1000, |_| 10);
    assert_eq!((seqs(&page), page.has_more), (alloc::vec![1], false));
}
