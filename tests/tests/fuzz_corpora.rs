//! Runs every committed input of every fuzz target.
//!
//! `fuzz/README.md` describes the origin of the inputs, and how to add one.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Maximum number of inputs per target: a corpus is reduced to some 100 inputs, and findings are
/// added.
const MOST_FILES: usize = 150;

fn corpora() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).to_path_buf()
}

fn names(directory: &Path) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", directory.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Runs a target over its corpus, and reports the files that fail.
fn replay(name: &str) {
    let (_, target) = skydht_fuzz::TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of that name");
    let corpus = corpora().join(name);
    let files = names(&corpus);
    assert!(files.len() >= 5, "{name}: only {} files", files.len());
    assert!(
        files.len() <= MOST_FILES,
        "{name}: {} files; did a search write here? See fuzz/README.md",
        files.len()
    );
    let fails = |file: &&String| {
        let input = std::fs::read(corpus.join(file)).unwrap();
        catch_unwind(|| target(&input)).is_err()
    };
    let failed: Vec<_> = files.iter().filter(fails).collect();
    assert!(failed.is_empty(), "fuzz/corpus/{name}: {failed:?} fail");
}

/// Defines one test per target, so that they run concurrently and fail separately.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_has_its_corpus_and_its_program() {
            let listed: BTreeSet<String> = [$(stringify!($name)),*].map(String::from).into();
            let known = skydht_fuzz::TARGETS.iter().map(|(name, _)| (*name).to_string());
            assert_eq!(known.collect::<BTreeSet<_>>(), listed);
            assert_eq!(names(&corpora()), listed);
            let programs = listed.iter().map(|name| format!("{name}.rs"));
            let there = names(&corpora().join("../fuzz_targets"));
            assert_eq!(there, programs.collect());
        }
    };
}

targets! {
    discovery
    dmsg_objects
    dmsg_streams
    frames
    items_and_signatures
    journal_files
    journals
    messages
    node
    noise_frames
    reconcile
    records
    redis
    services
    host
    stored_records
}
