//! Tests of `tests/scenarios`: all files are readable, the standard scenario holds for many seeds,
//! and a run depends only on its seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use skydht_sim::coverage::Coverage;
use skydht_sim::run;
use skydht_sim::scenario::{Outcome, Scenario};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios")
}

fn load(name: &str) -> Scenario {
    Scenario::load(&dir().join(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn outcome(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, seed, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_scenario_is_readable_and_says_what_it_is_about() {
    let mut files = 0;
    for entry in std::fs::read_dir(dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert!(!scenario.about.is_empty(), "{}", path.display());
            files += 1;
        }
    }
    assert!(files > 0);
}

/// Checks that every invariant holds for many seeds, and that the rare events occurred.
fn hold(scenario: &str, seeds: u64) {
    let scenario = load(scenario);
    let seeds: Vec<u64> = (1..=seeds).collect();
    let (left, right) = seeds.split_at(seeds.len() / 2);
    let all = |seeds: &[u64]| {
        let mut coverage = Coverage::default();
        for seed in seeds {
            let found = outcome(&scenario, *seed);
            let violations = found.report.violations;
            assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
            coverage.merge(&found.coverage);
        }
        coverage
    };
    let coverage = std::thread::scope(|scope| {
        let left = scope.spawn(|| all(left));
        let mut coverage = all(right);
        coverage.merge(&left.join().unwrap());
        coverage
    });
    let missing = coverage.missing(&scenario.coverage);
    assert!(missing.is_empty(), "name, wanted, reached: {missing:?}");
}

#[test]
fn the_swarm_holds_for_a_hundred_seeds() {
    hold("swarm.toml", 100);
}

/// The lessons R10 and R11, with all faults between full nodes.
#[test]
fn full_nodes_are_equal_once_all_is_well_again() {
    hold("full-nodes.toml", 12);
}

/// A mirror is stored where its owner has published nothing, and the owner's item replaces it.
#[test]
fn owners_take_their_places_from_mirrors() {
    hold("mirrors.toml", 6);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let swarm = load("swarm.toml");
    let (first, again, other) = (outcome(&swarm, 7), outcome(&swarm, 7), outcome(&swarm, 8));
    assert_eq!(first, again);
    assert_ne!(first.report.digest, other.report.digest);
}

/// The tests of `spec/lessons.md` by number: R2, R3, R6, R16 and R20.
#[test]
fn the_lessons_of_upstream_hold() {
    let mut names: Vec<String> = std::fs::read_dir(dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('r') && name.ends_with(".toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    let all = |names: Vec<&String>| {
        for name in names {
            let scenario = load(name);
            let found = outcome(&scenario, 1);
            let violations = found.report.violations;
            assert!(violations.is_empty(), "{name}: {violations:#?}");
            let missing = found.coverage.missing(&scenario.coverage);
            assert!(missing.is_empty(), "{name}: {missing:?}");
        }
    };
    std::thread::scope(|scope| {
        // By name, large and small scenarios are next to each other.
        scope.spawn(|| all(names.iter().step_by(2).collect()));
        all(names.iter().skip(1).step_by(2).collect());
    });
}

/// A run that once found a bug.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Regression {
    scenario: String,
    seed: u64,
    #[serde(default)]
    set: BTreeMap<String, String>,
    what: String,
}

#[test]
fn what_once_failed_holds() {
    let text = std::fs::read_to_string(dir().join("../regressions.toml")).unwrap();
    let mut known: BTreeMap<String, Vec<Regression>> = toml::from_str(&text).unwrap();
    let regressions = known.remove("regression").unwrap();
    assert!(!regressions.is_empty() && known.is_empty());
    for it in regressions {
        let settings: Vec<(String, String)> = it.set.into_iter().collect();
        let text = std::fs::read_to_string(dir().join(format!("{}.toml", it.scenario))).unwrap();
        let scenario = Scenario::parse(&it.scenario, &text, &settings).unwrap();
        let violations = outcome(&scenario, it.seed).report.violations;
        let (name, seed, what) = (it.scenario, it.seed, it.what);
        assert!(
            violations.is_empty(),
            "{name}, seed {seed} ({what}): {violations:#?}"
        );
    }
}

/// Digest of `swarm` with seed 7.
const DIGEST_OF_SEVEN: &str = "1786c80fd32b6553ac7a31238f60a980776c3c77150d89ee543a989d0b9192ba";

/// The digest is the same on every machine, in debug and release builds. It changes with the
/// behaviour of the core or the simulator: then `skydht sim --scenario swarm --seed 7` prints the
/// new one.
#[test]
fn a_known_seed_has_its_known_digest() {
    let found = outcome(&load("swarm.toml"), 7);
    assert_eq!(found.report.digest, DIGEST_OF_SEVEN);
}
