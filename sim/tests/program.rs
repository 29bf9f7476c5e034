//! The whole program in virtual time: `tests/scenarios/program.toml` over many seeds.

use std::path::Path;

use skydht_sim::coverage::Coverage;
use skydht_sim::scenario::{Outcome, Scenario, run};

fn program() -> Scenario {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    Scenario::load(&dir.join("program.toml")).unwrap_or_else(|error| panic!("{error}"))
}

fn outcome(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, seed, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// Every invariant holds for these seeds.
fn hold(seeds: &[u64]) -> Coverage {
    let scenario = program();
    let mut coverage = Coverage::default();
    for seed in seeds {
        let found = outcome(&scenario, *seed);
        let violations = found.report.violations;
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
        coverage.merge(&found.coverage);
    }
    coverage
}

#[test]
fn the_whole_program_holds() {
    let coverage = std::thread::scope(|scope| {
        let left = scope.spawn(|| hold(&[1, 3, 4]));
        let mut coverage = hold(&[5, 6, 7]);
        coverage.merge(&left.join().unwrap());
        coverage
    });
    for rare in [
        "dials_shared",
        "sessions_superseded",
        "sessions_idle_closed",
        "sessions_lost",
        "streams_reset",
        "restarts",
        "futures_dropped",
        "net_blocked",
    ] {
        assert!(coverage.get(rare) > 0, "{rare} did not happen");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_of_the_whole_program() {
    let mut scenario = program();
    scenario.population.nodes = 8;
    scenario.phases.chaos /= 2;
    let (first, again, other) = (
        outcome(&scenario, 7),
        outcome(&scenario, 7),
        outcome(&scenario, 8),
    );
    assert_eq!(first, again);
    assert_ne!(first.report.digest, other.report.digest);
}
