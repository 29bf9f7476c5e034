//! The two runtimes' crates offer the same: changing one import changes the executor.
//!
//! `public-api.txt` lists what they offer, the runtime's own name left out. After a change that
//! is meant, write the list that the test prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The public items of a crate's sources, formatted by rustfmt: one line each, with its module.
fn public_items(dir: &str, runtime: &str) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(dir)
        .join("src");
    let mut items = BTreeSet::new();
    for file in fs::read_dir(src).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(&path)
            .unwrap()
            .replace(runtime, "NamedRuntime");
        for item in items_of(&source) {
            items.insert(format!("{module}: {item}\n"));
        }
    }
    items.into_iter().collect()
}

/// Each `pub` item, and each `impl` of a trait, up to its body.
fn items_of(source: &str) -> Vec<String> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<_> = code.collect();
    let mut items = Vec::new();
    let mut owner = "";
    for (n, line) in code.iter().enumerate() {
        if line.starts_with("impl") {
            owner = line.trim_end_matches(" {");
        } else if line.starts_with('}') {
            owner = "";
        }
        let text = line.trim_start();
        let starts =
            text.starts_with("pub ") || text.starts_with("impl") && owner.contains(" for ");
        if !starts {
            continue;
        }
        let mut item = String::new();
        if text.starts_with("pub ") && !owner.is_empty() {
            item = format!("{owner}: ");
        }
        for part in &code[n..] {
            let part = part.trim();
            let body = if text.starts_with("pub use") {
                None
            } else {
                part.strip_suffix('{')
            };
            let whole = part.strip_suffix(';').or(body);
            item.push_str(whole.unwrap_or(part).trim_end());
            if whole.is_some() {
                break;
            }
            item.push(' ');
        }
        // As if it stood in one line.
        for (broken, whole) in [("( ", "("), (", )", ")"), ("{ ", "{"), (", }", "}")] {
            item = item.replace(broken, whole);
        }
        // What a newtype holds is its own affair.
        if let Some(held) = item.find('(').filter(|_| item.starts_with("pub struct")) {
            item.truncate(held);
        }
        items.push(item);
    }
    items
}

#[test]
fn both_runtimes_offer_the_same() {
    let expected = include_str!("../public-api.txt");
    for (dir, runtime) in [
        ("runtime-tokio", "TokioRuntime"),
        ("runtime-async-std", "AsyncStdRuntime"),
    ] {
        let found = public_items(dir, runtime);
        assert!(found == expected, "{dir} offers:\n{found}");
    }
}

#[test]
fn the_list_sees_what_is_public() {
    let source = "
pub use a::{
    B, C,
};
/// pub not
pub struct Open(Stream);

impl Open {
    pub fn new(
        one: u8,
    ) -> Self {
        todo
    }
    fn hidden() {}
    pub(crate) fn inner() {}
}

impl Trait for Open {
    fn of_trait() {}
}
";
    let expected = [
        "pub use a::{B, C}",
        "pub struct Open",
        "impl Open: pub fn new(one: u8) -> Self",
        "impl Trait for Open",
    ];
    assert_eq!(items_of(source), expected);
}
