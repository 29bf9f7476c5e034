//! Journals of real runs over TCP must replay exactly.
//!
//! They were recorded by `cargo run -p skydht-tests --example record_journals`; `docs/journal.md`
//! says when they may be recorded again.

#[path = "replay/kinds.rs"]
mod kinds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use skydht_core::journal::{Replay, ReplayError};
use skydht_core::key::SecretKey;
use skydht_core::node::Input;
use skydht_driver::journal::{End, Ending, Reader};

/// Maximum total size of all journals, in bytes.
const MOST: u64 = 300_000;

fn journals() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("journals");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "journal"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 2, "{paths:?}");
    paths
}

fn reader(path: &Path) -> Reader<std::io::BufReader<fs::File>> {
    let file = fs::File::open(path).unwrap();
    Reader::new(std::io::BufReader::new(file)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_journal_replays_to_the_last_bit() {
    for path in journals() {
        let mut reader = reader(&path);
        let mut replay = Replay::new(reader.header().clone()).unwrap();
        let mut steps = 0;
        while let Some(step) = reader.step().unwrap() {
            match replay.step(&step) {
                Ok(_) => steps += 1,
                Err(error @ ReplayError::Diverged { .. }) => panic!(
                    "{}: {error}\nIf the core is meant to behave differently now, run\n    \
                     cargo run -p skydht-tests --example record_journals\nand say in the commit \
                     what changed; see docs/journal.md. If not, this is a bug: find the step with\n    \
                     skydht replay {} --until {steps} --explain",
                    path.display(),
                    path.display(),
                ),
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
        assert!(steps > 20, "{}: {steps} steps", path.display());
        assert_eq!(reader.ending(), Some(Ending::Closed(End::Stopped)));
    }
}

#[test]
fn the_journals_hold_every_kind_of_input_and_command() {
    let (mut inputs, mut commands) = (BTreeSet::new(), BTreeSet::new());
    for path in journals() {
        let mut reader = reader(&path);
        while let Some(step) = reader.step().unwrap() {
            inputs.insert(kinds::of_input(&step.input));
            if let Input::Command { command, .. } = &step.input {
                commands.insert(kinds::of_command(command));
            }
        }
    }
    assert_eq!(inputs, kinds::INPUTS.iter().copied().collect());
    assert_eq!(commands, kinds::COMMANDS.iter().copied().collect());
}

#[test]
fn one_changed_input_is_found_at_its_step() {
    let path = &journals()[0];
    let mut reader = reader(path);
    let mut replay = Replay::new(reader.header().clone()).unwrap();
    let mut steps = 0;
    while let Some(mut step) = reader.step().unwrap() {
        if let Input::Bytes { bytes, .. } = &mut step.input {
            // The first byte of a frame's length.
            bytes.to_mut()[0] ^= 0xFF;
            match replay.step(&step) {
                Err(ReplayError::Diverged { step, .. }) => return assert_eq!(step, steps),
                other => panic!("{other:?}"),
            }
        }
        replay.step(&step).unwrap();
        steps += 1;
    }
    panic!("no bytes in {}", path.display());
}

#[test]
fn the_journals_are_small_and_hold_no_secret() {
    let mut size = 0;
    for path in journals() {
        let bytes = fs::read(&path).unwrap();
        size += bytes.len() as u64;
        // The keys of all nodes that took part; see `examples/record_journals.rs`.
        for n in 1..=9 {
            let secret = SecretKey::from_entropy(&[n; 32]).to_bytes();
            let encodings = [
                secret.to_vec(),
                HEXLOWER.encode(&*secret).into_bytes(),
                HEXUPPER.encode(&*secret).into_bytes(),
                BASE64.encode(&*secret).into_bytes(),
                BASE64.encode(&[&[0][..], &*secret].concat()).into_bytes(),
                BASE64
                    .encode(&[&[0; 2][..], &*secret].concat())
                    .into_bytes(),
            ];
            for needle in encodings {
                let part = &needle[4..needle.len() - 4];
                let found = bytes.windows(part.len()).any(|window| window == part);
                assert!(!found, "{}: the secret key of node {n}", path.display());
            }
        }
    }
    assert!(size < MOST, "{size} bytes");
}
