//! The end of a run: its figures, and whether they are as expected.

use std::collections::BTreeMap;

use super::backend::{Backend, Totals};
use super::state::Run;
use crate::clock::SimTime;
use crate::figures::{Quantity, Report, Samples};
use crate::oracle::Violations;
use crate::scenario::{Outcome, Scenario};

pub(super) fn conclude<B: Backend>(run: Run<'_, B>, seed: u64) -> Outcome {
    let now = run.now();
    let Run {
        scenario,
        backend,
        verdicts: [right, wrong, unknown],
        samples,
        mut violations,
        mut coverage,
        ..
    } = run;
    let Totals {
        digest,
        figures: more,
    } = backend.totals(&mut coverage, &mut violations);
    let figures = [
        ("success", Quantity::share(right, right + wrong)),
        ("reads_right", Quantity::count(right)),
        ("reads_wrong", Quantity::count(wrong)),
        ("reads_unknown", Quantity::count(unknown)),
    ];
    let figures = figures.into_iter().chain(more);
    let figures = figures
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let samples = samples.into_iter();
    let samples = samples
        .map(|(name, samples)| (name.to_owned(), samples))
        .collect();
    expect(scenario, now, &figures, &samples, &mut violations);
    let report = Report {
        scenario: scenario.name.clone(),
        seed,
        nodes: scenario.population.nodes.into(),
        figures,
        samples,
        violations: violations.into_words(),
        digest,
        ..Report::default()
    };
    Outcome { report, coverage }
}

/// Compares the figures with the scenario's expectations.
fn expect(
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

/// A figure by name, or a quantile of samples: `get_finished.p50`.
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
