//! The public interface of the library crates: every public item is listed as text beside each
//! crate, and the runtime crates must re-export every type that their interface names.
//!
//! After an intended change, run `SKYDHT_UPDATE_GOLDEN=1 cargo test -p skydht-tests --test
//! public_api`, and review the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 8] = [
    "core",
    "runtime",
    "dmsg",
    "driver",
    "discovery",
    "runtime-tokio",
    "runtime-async-std",
    "sim",
];

fn crate_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Collects all sources of a crate except its tests.
fn sources(dir: &Path, into: &mut Vec<String>) {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" {
            continue;
        } else if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// Kind of a block that the parser is in.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// A block with items that are public if declared so: a module, an inherent `impl`, a struct.
    Declared,
    /// A block with only public items: a public trait or enum.
    Public,
    /// A block without items.
    Body,
}

/// Collects every public item of a source with its context. Relies on rustfmt's layout: an item
/// begins at the indentation of its block, and ends where its first line, or a later one with the
/// same indentation, ends in a brace, a comma or a semicolon.
fn public_items(source: &str, into: &mut BTreeSet<String>) {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut open: Vec<(usize, Block, String)> = Vec::new();
    let mut derives = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.is_empty() || text.starts_with("//") {
            continue;
        }
        if let Some((at, ..)) = open.last()
            && text.starts_with('}')
            && *at == indent
        {
            open.pop();
            continue;
        }
        let (inside, block, context) = match open.last() {
            None => (0, Block::Declared, ""),
            Some((at, block, context)) => (at + 4, *block, context.as_str()),
        };
        if indent != inside || block == Block::Body {
            continue;
        }
        let item = whole(text, indent, &mut lines);
        if let Some(derive) = item.strip_prefix("#[derive(") {
            derives = format!("#[derive({derive} ");
            continue;
        }
        if item.starts_with('#') {
            continue;
        }
        let mut head = item.trim_end_matches(['{', ';', ',']).trim_end().to_owned();
        // The content of a newtype is private.
        if let Some(held) = head.find('(').filter(|_| head.starts_with("pub struct")) {
            head.truncate(held);
        }
        let shown = item.starts_with("pub ") || block == Block::Public;
        let of_trait = item.starts_with("impl") && item.contains(" for ");
        if shown || of_trait {
            into.insert(format!("{context}{derives}{head}"));
        }
        derives.clear();
        if item.ends_with('{') {
            let is_open = ["pub enum ", "pub trait "]
                .iter()
                .any(|it| item.starts_with(it));
            let is_variant = block == Block::Public && !head.contains('(');
            let block = if is_open || is_variant {
                Block::Public
            } else if !of_trait
                && (item.starts_with("impl")
                    || item.starts_with("pub struct ")
                    || item.starts_with("mod ")
                    || item.starts_with("pub mod "))
            {
                Block::Declared
            } else {
                Block::Body
            };
            let name = head.strip_prefix("pub ").unwrap_or(&head);
            open.push((indent, block, format!("{context}{name}: ")));
        }
    }
}

/// Returns the head of an item, on one line.
fn whole<'s>(first: &str, indent: usize, lines: &mut impl Iterator<Item = &'s str>) -> String {
    let without = |line: &str| line.split(" //").next().unwrap().trim_end().to_owned();
    let mut item = without(first);
    let is_use = first.starts_with("pub use ");
    let ends = |text: &str| match is_use {
        true => text.ends_with(';'),
        false => text.ends_with(['{', ';', ',', '}', ']']),
    };
    let mut last_indent = indent;
    while !(ends(&item) && last_indent == indent) {
        let Some(line) = lines.next() else { break };
        let text = line.trim();
        if text.starts_with("//") {
            continue;
        }
        last_indent = line.len() - line.trim_start().len();
        let open = item.ends_with('(') || text.starts_with(')');
        if !open {
            item.push(' ');
        }
        item.push_str(&without(text));
    }
    item.replace(",)", ")")
}

/// Returns the public items of a crate.
fn listed(name: &str) -> BTreeSet<String> {
    let (mut texts, mut items) = (Vec::new(), BTreeSet::new());
    sources(&crate_dir(name).join("src"), &mut texts);
    for text in &texts {
        public_items(text, &mut items);
    }
    items
}

/// To change the runtime, changing one import must suffice.
#[test]
fn both_runtimes_offer_the_same() {
    let of = |name, runtime: &str| -> BTreeSet<String> {
        let items = listed(name).into_iter();
        items
            .map(|it| it.replace(runtime, "NamedRuntime"))
            .collect()
    };
    let tokio = of("runtime-tokio", "TokioRuntime");
    let async_std = of("runtime-async-std", "AsyncStdRuntime");
    let differ: Vec<_> = tokio.symmetric_difference(&async_std).collect();
    assert!(differ.is_empty() && tokio.len() > 10, "{differ:#?}");
}

#[test]
fn the_public_items_of_every_library_are_those_written_down() {
    let update = std::env::var_os("SKYDHT_UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for name in CRATES {
        let items = listed(name);
        let file = crate_dir(name).join("public-api.txt");
        let listed: Vec<&str> = items.iter().map(String::as_str).collect();
        let text = listed.join("\n") + "\n";
        if update {
            fs::write(&file, &text).unwrap();
        }
        let known = fs::read_to_string(&file).unwrap_or_default();
        let known: BTreeSet<&str> = known.lines().collect();
        let now: BTreeSet<&str> = listed.into_iter().collect();
        changed.extend(now.difference(&known).map(|it| format!("{name} + {it}")));
        changed.extend(known.difference(&now).map(|it| format!("{name} - {it}")));
    }
    assert!(
        changed.is_empty(),
        "the public items changed; if that is meant, SKYDHT_UPDATE_GOLDEN=1 writes them down:\n{}",
        changed.join("\n")
    );
}

/// Words in signatures that are not types of this workspace.
const OTHERS: &str = "Arc Box BoxFuture Clone Context Duration Fn FnMut Future IntoIterator Item NonZeroUsize Ok \
    Option Output R Result Self SocketAddr T Vec";

#[test]
fn the_runtime_crates_give_on_every_type_that_a_signature_of_the_door_names() {
    let driver = crate_dir("driver").join("src");
    let prelude = fs::read_to_string(driver.join("prelude.rs")).unwrap();
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.map(str::to_owned).collect()
    };
    let given = words(&prelude);
    let mut items = BTreeSet::new();
    for file in [
        "dht.rs",
        "events.rs",
        "tcp_node.rs",
        "dmsg_node.rs",
        "options.rs",
        "stats.rs",
        "watch.rs",
    ] {
        public_items(&fs::read_to_string(driver.join(file)).unwrap(), &mut items);
    }
    let named = items.iter().filter(|item| !item.contains("#[derive"));
    let named: BTreeSet<String> = named
        .filter(|item| item.contains("pub ") && !item.contains("RingReceiver"))
        .flat_map(|item| words(item.rsplit_once("pub ").unwrap().1))
        .filter(|word| word.contains(char::is_lowercase) || word.len() == 1)
        .filter(|word| {
            word.starts_with(char::is_uppercase) && !OTHERS.split(' ').any(|it| it == word)
        })
        .collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<_> = named.difference(&given).collect();
    assert!(
        missing.is_empty(),
        "not in driver/src/prelude.rs: {missing:?}"
    );
    for name in ["runtime-tokio", "runtime-async-std"] {
        let lib = fs::read_to_string(crate_dir(name).join("src/lib.rs")).unwrap();
        assert!(lib.contains("pub use skydht_driver::prelude::*;"), "{name}");
    }
}

#[test]
fn the_list_shows_methods_fields_variants_and_traits_and_nothing_private() {
    let source = "
/// A thing.
#[derive(Clone, Debug)]
pub struct Thing {
    /// A field.
    pub field: u8,
    hidden: u8,
}

impl Thing {
    pub const fn make(
        first: u8,
        second: Vec<u8>,
    ) -> Self {
        let pub_ = 1;
    }

    pub(crate) fn inner(&self) {}
}

pub enum Kind {
    One(u8),
    Two {
        a: u8,
    },
}

pub trait Trait {
    fn call(&self) -> u8;
}

impl Trait for Thing {
    fn call(&self) {}
}

#[cfg(test)]
mod tests {
    pub fn no() {}
}
";
    let mut items = BTreeSet::new();
    public_items(source, &mut items);
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    assert_eq!(
        items,
        [
            "#[derive(Clone, Debug)] pub struct Thing",
            "enum Kind: One(u8)",
            "enum Kind: Two",
            "enum Kind: Two: a: u8",
            "impl Thing: pub const fn make(first: u8, second: Vec<u8>) -> Self",
            "impl Trait for Thing",
            "pub enum Kind",
            "pub trait Trait",
            "struct Thing: pub field: u8",
            "trait Trait: fn call(&self) -> u8",
        ]
    );
}
