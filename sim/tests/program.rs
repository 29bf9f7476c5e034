//! Runs `tests/scenarios/program.toml` and `program-dmsg.toml`, which use the whole program in
//! virtual time over TCP and DMSG, with several seeds.

use std::path::Path;

use skydht_sim::coverage::Coverage;
use skydht_sim::run;
use skydht_sim::scenario::{Outcome, Scenario};

fn load(name: &str) -> Scenario {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    Scenario::load(&dir.join(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn outcome(scenario: &Scenario, seed: u64) -> Outcome {
    run(scenario, seed, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks that every invariant holds for these seeds.
fn hold(scenario: &Scenario, seeds: impl Iterator<Item = u64>) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in seeds {
        let found = outcome(scenario, seed);
        let violations = found.report.violations;
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
        coverage.merge(&found.coverage);
    }
    coverage
}

/// Checks that every invariant holds for `seeds` seeds, and that the rare events occurred.
fn hold_for(seeds: u64, scenario: &Scenario) {
    let coverage = std::thread::scope(|scope| {
        let odd = scope.spawn(|| hold(scenario, (1..=seeds).step_by(2)));
        let mut coverage = hold(scenario, (2..=seeds).step_by(2));
        coverage.merge(&odd.join().unwrap());
        coverage
    });
    let missing = coverage.missing(&scenario.coverage);
    assert!(missing.is_empty(), "name, wanted, reached: {missing:?}");
}

#[test]
fn the_whole_program_holds_for_ten_seeds() {
    hold_for(10, &load("program.toml"));
}

#[test]
fn the_whole_program_over_dmsg_holds_for_six_seeds() {
    hold_for(6, &load("program-dmsg.toml"));
}

/// Old Go relays leave a stream to a peer that has gone open, and old Go nodes name dead peers for
/// ever.
#[test]
fn dead_peers_that_go_nodes_name_delay_no_lookup_for_four_seeds() {
    hold_for(4, &load("go-relay.toml"));
}

/// A host that comes back with its key on another port is found there, also by new nodes.
#[test]
fn hosts_that_come_back_on_other_ports_are_found_for_four_seeds() {
    hold_for(4, &load("program-moves.toml"));
}

#[test]
fn the_same_seed_gives_the_same_run_of_the_whole_program() {
    for name in ["program.toml", "program-dmsg.toml"] {
        let mut scenario = load(name);
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
}
