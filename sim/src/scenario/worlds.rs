//! Worlds in which a condition that hides faults does not hold: hosts without a wall clock, items
//! stored far longer than their lifetime, streams that are reused again and again, small limits.
//! Each world is a few settings with ranges. The seed decides whether a run takes place in it, and
//! with which values.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use skydht_core::time::nanos;

use super::file::{Scenario, ScenarioError, set};
use crate::network::faults::below;
use crate::network::faults::up_to;

/// Separates these random numbers from all others.
const DRAWS: u64 = 0x574f_524c_4453_0000;

impl Scenario {
    /// The scenario with the settings that a run with this seed uses, and the names of the chosen
    /// worlds.
    ///
    /// # Errors
    /// [`ScenarioError::Setting`] and the errors of [`Scenario::parse`].
    pub fn drawn(&self, seed: u64) -> Result<(Self, Vec<String>), ScenarioError> {
        let random = &mut ChaCha8Rng::seed_from_u64(seed ^ DRAWS);
        let (mut settings, mut names) = (Vec::new(), Vec::new());
        for (name, world) in &self.worlds {
            // The same random numbers are drawn whether the world is chosen or not.
            let plays = below(random, 1_000_000) < u64::from(world.chance.as_ppm());
            for (path, range) in &world.set {
                let wanted = below(random, 1_000_000) < u64::from(world.each.as_ppm());
                let value = range.at(|more| nanos(up_to(Duration::from_nanos(more), random)));
                let value = value.ok_or_else(|| ScenarioError::Setting(path.clone()))?;
                if plays && wanted {
                    settings.push((path.clone(), value));
                }
            }
            if plays {
                names.push(name.clone());
            }
        }
        Ok((self.with(&settings)?, names))
    }

    fn with(&self, settings: &[(String, String)]) -> Result<Self, ScenarioError> {
        if settings.is_empty() {
            return Ok(self.clone());
        }
        let wrong = |text: String| ScenarioError::Setting(text);
        let mut table = toml::Table::try_from(self).map_err(|error| wrong(error.to_string()))?;
        for (path, value) in settings {
            set(&mut table, path, value)?;
        }
        table.remove("worlds");
        let mut scenario: Self = table.try_into().map_err(|error| ScenarioError::Parse {
            name: self.name.clone(),
            error: Box::new(error),
        })?;
        scenario.name.clone_from(&self.name);
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks that every world is valid at both ends of its ranges.
    pub(super) fn check_worlds(&self) -> Result<(), ScenarioError> {
        for end in [0, 1] {
            let ranges = self.worlds.values().flat_map(|world| &world.set);
            let settings = ranges.map(|(path, range)| {
                let value = range.at(|more| end * more);
                value
                    .map(|value| (path.clone(), value))
                    .ok_or_else(|| ScenarioError::Setting(path.clone()))
            });
            self.with(&settings.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        about = "x"
        [worlds.far]
        chance = 0.5
        set = { "phases.idle" = ["1min", "9min"], "work.gets" = [3, 5] }
        [worlds.small]
        chance = 1.0
        each = 0.5
        [worlds.small.set]
        "population.limits.serving" = [1, 4]
        "chaos.loss" = [0.25, 0.5]
    "#;

    #[test]
    fn each_seed_has_its_worlds_and_their_values_lie_between_the_bounds() {
        let scenario = Scenario::parse("it", TEXT, &[]).unwrap();
        let (mut far, mut serving, mut values) = (0, 0, std::collections::BTreeSet::new());
        for seed in 0..200 {
            let (drawn, worlds) = scenario.drawn(seed).unwrap();
            assert_eq!(drawn, scenario.drawn(seed).unwrap().0);
            assert_eq!(
                (drawn.name.as_str(), worlds.last().unwrap().as_str()),
                ("it", "small")
            );
            if worlds[0] == "far" {
                far += 1;
                assert!((60..=540).contains(&drawn.phases.idle.as_secs()));
                assert!((3..=5).contains(&drawn.work.gets));
            } else {
                assert_eq!((drawn.phases.idle, drawn.work.gets), (Duration::ZERO, 0));
            }
            if let Some(limit) = drawn.population.limits.get("serving") {
                serving += 1;
                values.insert(*limit);
            }
        }
        assert!((70..130).contains(&far), "{far}");
        assert!((70..130).contains(&serving), "{serving}");
        assert_eq!(values.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_world_that_cannot_be_is_refused_when_the_file_is_read() {
        for set in [
            "{ \"phases.idel\" = [\"1min\", \"2min\"] }",
            "{ \"phases.idle\" = [\"2min\", \"1min\"] }",
            "{ \"phases.idle\" = [\"soon\", \"late\"] }",
            "{ \"population.nodes\" = [1, 9] }",
            "{ \"chaos.loss\" = [0.5, 1.5] }",
        ] {
            let text = format!("[worlds.it]\nchance = 0.1\nset = {set}");
            assert!(Scenario::parse("it", &text, &[]).is_err(), "{set}");
        }
    }
}
