use super::*;

fn all(store: &Store, filter: &Filter, most: usize) -> Vec<Target> {
    let (mut from, mut found, mut pages) = (Some(Target::default()), Vec::new(), 0);
    while let Some(at_target) = from {
        let page = store.list(at(1), filter, at_target, most);
        assert!(page.items.len() <= most);
        found.extend(page.items.iter().map(|listed| listed.target));
        from = page.next;
        pages += 1;
        assert!(pages < 1_000, "it never ends");
    }
    found
}

#[test]
fn pages_of_any_size_list_each_living_item_once_in_order() {
    let mut store = store();
    let mut targets = BTreeSet::new();
    for n in 0..100 {
        let item = item(n, 1, b"v", ["even", "odd"][usize::from(n % 2)]);
        targets.insert(item.target());
        put(&mut store, at(0), own(&item)).unwrap();
    }
    let targets: Vec<Target> = targets.into_iter().collect();
    for most in [1, 7, 99, 100, 101] {
        assert_eq!(all(&store, &Filter::default(), most), targets, "{most}");
    }
    let of = |filter: &Filter| all(&store, filter, 8).len();
    let salt = Some(Salt::from("odd"));
    let signer = Some(key(3));
    assert_eq!(
        of(&Filter {
            salt,
            ..Filter::default()
        }),
        50
    );
    assert_eq!(
        of(&Filter {
            signer,
            ..Filter::default()
        }),
        1
    );
    let prefix = crate::sync::Prefix::of(&targets[50], 3);
    let within = targets
        .iter()
        .filter(|target| prefix.contains(target))
        .count();
    assert!((1..50).contains(&within));
    assert_eq!(
        of(&Filter {
            prefix,
            ..Filter::default()
        }),
        within
    );
    // Expired and not yet swept.
    let late = store.list(at(2 * 7200), &Filter::default(), Target::default(), 100);
    assert_eq!(late, ListPage::default());
}

#[test]
fn a_page_looks_at_a_bounded_number_and_holds_bounded_bytes() {
    let mut store = store();
    for n in 0..250_u8 {
        for salt in 0..18 {
            let item = item(n, 1, b"v", &alloc::format!("{salt}"));
            store.admit(at(0), own(&item), 0).unwrap();
        }
    }
    let unknown = Filter {
        signer: Some(key(255)),
        ..Filter::default()
    };
    let page = store.list(at(1), &unknown, Target::default(), 9);
    assert!(page.items.is_empty() && page.next.is_some());
    assert_eq!(store.range(page.next.unwrap()).count(), 250 * 18 - 4_096);
    let mut large = super::store();
    for n in 0..40 {
        put(&mut large, at(0), own(&item(n, 1, &[7; 65_536], "s"))).unwrap();
    }
    let page = large.list(at(1), &Filter::default(), Target::default(), 1_000);
    assert_eq!(page.items.len(), 16);
    assert_eq!(all(&large, &Filter::default(), 1_000).len(), 40);
}
