//! Rates that a scenario fixes or leaves to the seed.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::network::Rate;
use crate::network::faults::below;

/// A rate that may be drawn with the seed. In scenario files it is a number from 0 to 1, or `{ from
/// = 0.0, to = 0.1, absent = 0.5 }`: zero with probability `absent`, otherwise any value between
/// the two. A rate that is zero in half of the runs lets faults show that others would hide (swarm
/// testing, Groce et al. 2012).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drawn {
    from: Rate,
    to: Rate,
    absent: Rate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Rate,
    to: Rate,
    #[serde(default)]
    absent: Rate,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Fixed(Rate),
    Range(Range),
}

impl Drawn {
    /// Always zero.
    pub const NEVER: Self = Self::fixed(Rate::NEVER);

    /// Always this rate.
    #[must_use]
    pub const fn fixed(rate: Rate) -> Self {
        Self {
            from: rate,
            to: rate,
            absent: Rate::NEVER,
        }
    }

    /// Draws the rate. The number of random numbers used does not depend on the range.
    pub(crate) fn draw(&self, random: &mut ChaCha8Rng) -> Rate {
        let absent = below(random, 1_000_000) < u64::from(self.absent.as_ppm());
        let (from, to) = (self.from.as_ppm(), self.to.as_ppm());
        let more = below(random, u64::from(to.saturating_sub(from)) + 1);
        if absent {
            Rate::NEVER
        } else {
            Rate::ppm(from + more as u32)
        }
    }

    /// Whether the rate can be greater than zero.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.to > Rate::NEVER
    }
}

impl Serialize for Drawn {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let form = if *self == Self::fixed(self.from) {
            Form::Fixed(self.from)
        } else {
            Form::Range(Range {
                from: self.from,
                to: self.to,
                absent: self.absent,
            })
        };
        form.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Drawn {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Form::deserialize(d) {
            Ok(Form::Fixed(rate)) => Ok(Self::fixed(rate)),
            Ok(Form::Range(Range { from, to, absent })) if from <= to => {
                Ok(Self { from, to, absent })
            }
            Ok(Form::Range(_)) => Err(serde::de::Error::custom("`from` is above `to`")),
            Err(_) => Err(serde::de::Error::custom(
                "expected a number from 0 to 1, or { from = …, to = …, absent = … }",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    #[derive(Deserialize)]
    struct Line {
        x: Drawn,
    }

    fn read(text: &str) -> Result<Drawn, toml::de::Error> {
        toml::from_str::<Line>(text).map(|line| line.x)
    }

    #[test]
    fn a_range_is_drawn_within_its_bounds_and_absent_as_often_as_it_says() {
        let drawn = read("x = { from = 0.1, to = 0.2, absent = 0.5 }").unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let all: Vec<Rate> = (0..1000).map(|_| drawn.draw(&mut random)).collect();
        let (zero, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| *it == Rate::NEVER);
        assert!((400..600).contains(&zero.len()), "{}", zero.len());
        assert!(
            rest.iter()
                .all(|it| (100_000..=200_000).contains(&it.as_ppm()))
        );
        assert!(rest.iter().min() < Some(&Rate::percent(11)));
        assert!(rest.iter().max() > Some(&Rate::percent(19)));
        let fixed = read("x = 0.25").unwrap();
        assert_eq!(fixed.draw(&mut random), Rate::percent(25));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "x = 2",
            "x = \"1\"",
            "x = { from = 0.3, to = 0.2 }",
            "x = { from = 0.1 }",
            "x = { from = 0.1, to = 0.2, abs = 1 }",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
