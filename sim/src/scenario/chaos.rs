//! Faults and their times, drawn before the phase begins.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::action::Action;
use super::file::{Chaos, Scenario};
use crate::clock::SimTime;
use crate::network::faults::{below, up_to};
use crate::network::{Faults, HostId, Rate};

const MINUTE: Duration = Duration::from_secs(60);

/// Faults of the network during the phase.
pub(crate) fn faults(base: &Faults, chaos: &Chaos, random: &mut ChaCha8Rng) -> Faults {
    let mut faults = *base;
    for (rate, drawn) in [
        (&mut faults.loss, &chaos.loss),
        (&mut faults.stream_reset, &chaos.stream_reset),
        (&mut faults.session_reset, &chaos.session_reset),
        (&mut faults.half_open, &chaos.half_open),
        (&mut faults.slow, &chaos.slow),
        (&mut faults.dial_refused, &chaos.dial_refused),
        (&mut faults.dial_lost, &chaos.dial_lost),
    ] {
        *rate = (*rate).max(drawn.draw(random));
    }
    faults
}

/// Plans all other faults between `from` and `to`, in any order. They affect only hosts of
/// `victims`.
pub(crate) fn plan(
    scenario: &Scenario,
    from: SimTime,
    to: SimTime,
    victims: &[HostId],
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, Action)> {
    let chaos = &scenario.chaos;
    let mut plan = Vec::new();
    let [crash, wiped, suspend, step, drift, partition] = [
        &chaos.crash,
        &chaos.wiped,
        &chaos.suspend,
        &chaos.clock_step,
        &chaos.drift,
        &chaos.partition,
    ]
    .map(|drawn| drawn.draw(random));
    let minutes = (to.since(from).as_secs() / 60).max(1);
    for minute in 0..minutes {
        let begin = from.plus(MINUTE * minute as u32);
        let at = |random: &mut ChaCha8Rng| begin.plus(up_to(MINUTE, random));
        for host in victims {
            if crash.hits(random) {
                let down = at(random);
                let wipe = wiped.hits(random);
                let process = below(random, 2) == 0;
                plan.push((
                    down,
                    Action::Crash {
                        host: *host,
                        process,
                    },
                ));
                let up = down.plus(up_to(MINUTE, random));
                plan.push((up, Action::Start { host: *host, wipe }));
            }
            if suspend.hits(random) {
                let down = at(random);
                plan.push((down, Action::Suspend(*host)));
                let up = down.plus(up_to(2 * MINUTE, random));
                plan.push((up, Action::Resume(*host)));
            }
            if step.hits(random) {
                let by = up_to(60 * MINUTE, random);
                let forward = below(random, 2) == 0;
                plan.push((
                    at(random),
                    Action::Step {
                        host: *host,
                        by,
                        forward,
                    },
                ));
            }
            if drift.hits(random) {
                let ppm = below(random, 10_001) as i32 - 5_000;
                plan.push((at(random), Action::Drift { host: *host, ppm }));
            }
        }
        if partition.hits(random) {
            let cut = at(random);
            let share = Rate::ppm(100_000 + below(random, 400_001) as u32);
            let one_way = below(random, 3) == 0;
            plan.push((cut, Action::Cut { share, one_way }));
            plan.push((cut.plus(up_to(MINUTE, random)), Action::Join));
        }
    }
    plan
}
