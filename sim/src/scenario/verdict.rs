//! The end of a run: figures, and whether they are as they must be.

use std::collections::BTreeMap;

use super::file::Scenario;
use super::run::Outcome;
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::{Quantity, Report, Samples};
use crate::network::NetworkStats;
use crate::oracle::Violations;

/// What a run has gathered.
pub(super) struct Found {
    pub(super) seed: u64,
    /// Reads that were right, wrong, and of which nothing can be said.
    pub(super) verdicts: [u64; 3],
    pub(super) upkeep: Option<u64>,
    pub(super) lonely: u64,
    pub(super) samples: BTreeMap<&'static str, Samples>,
    pub(super) violations: Violations,
    pub(super) coverage: Coverage,
    pub(super) inputs: u64,
    pub(super) network: NetworkStats,
    pub(super) digest: String,
    pub(super) now: SimTime,
}

pub(super) fn conclude(scenario: &Scenario, found: Found) -> Outcome {
    let Found {
        seed,
        verdicts: [right, wrong, unknown],
        mut violations,
        ..
    } = found;
    let nodes = u64::from(scenario.population.nodes).max(1);
    let mut figures = BTreeMap::from([
        ("success".to_owned(), Quantity::share(right, right + wrong)),
        ("reads_right".to_owned(), Quantity::count(right)),
        ("reads_wrong".to_owned(), Quantity::count(wrong)),
        ("reads_unknown".to_owned(), Quantity::count(unknown)),
        ("lonely".to_owned(), Quantity::count(found.lonely)),
        ("inputs".to_owned(), Quantity::count(found.inputs)),
        (
            "messages".to_owned(),
            Quantity::count(found.network.messages),
        ),
        ("bytes".to_owned(), Quantity::bytes(found.network.bytes)),
        (
            "messages_per_node".to_owned(),
            Quantity::count(found.network.messages / nodes),
        ),
        (
            "bytes_per_node".to_owned(),
            Quantity::bytes(found.network.bytes / nodes),
        ),
        ("dials".to_owned(), Quantity::count(found.network.dials)),
    ]);
    if let Some(upkeep) = found.upkeep {
        figures.insert("upkeep_per_second".to_owned(), Quantity::bytes(upkeep));
    }
    let samples: BTreeMap<String, Samples> = found
        .samples
        .into_iter()
        .map(|(name, samples)| (name.to_owned(), samples))
        .collect();
    expect(scenario, found.now, &figures, &samples, &mut violations);
    let report = Report {
        scenario: scenario.name.clone(),
        seed,
        nodes: scenario.population.nodes.into(),
        figures,
        samples,
        violations: violations.into_words(),
        digest: found.digest,
        ..Report::default()
    };
    Outcome {
        report,
        coverage: found.coverage,
    }
}

/// Checks the figures against what the scenario expects of them.
pub(crate) fn expect(
    scenario: &Scenario,
    now: SimTime,
    figures: &BTreeMap<String, Quantity>,
    samples: &BTreeMap<String, Samples>,
    violations: &mut Violations,
) {
    if let Some(least) = scenario.expect.success
        && figures["success"].value < u64::from(least.as_ppm())
    {
        let got = figures["success"];
        violations.note(now, format_args!("{got} of the reads were right"));
    }
    for (name, bound) in &scenario.expect.at_most {
        let most = bound.value();
        match value(name, figures, samples) {
            Some(got) if got.value > most => {
                let most = Quantity {
                    value: most,
                    unit: got.unit,
                };
                violations.note(now, format_args!("{name} is {got}, more than {most}"));
            }
            Some(_) => {}
            None => violations.note(now, format_args!("nothing was measured for {name}")),
        }
    }
}

/// A figure by its name, or a quantile of samples: `get_finished.p50`.
fn value(
    name: &str,
    figures: &BTreeMap<String, Quantity>,
    samples: &BTreeMap<String, Samples>,
) -> Option<Quantity> {
    if let Some(figure) = figures.get(name) {
        return Some(*figure);
    }
    let (name, quantile) = name.rsplit_once('.')?;
    let quantities = samples.get(name)?.summary()?.quantities();
    let found = quantities.iter().find(|(it, _)| *it == quantile)?;
    Some(found.1)
}
