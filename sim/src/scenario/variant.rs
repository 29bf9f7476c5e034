//! Settings of a world that the seed may choose.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skydht_core::time::nanos;

use crate::clock::text;
use crate::network::Rate;

/// A set of unusual conditions in which a run may take place.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Variant {
    /// Probability that the world is chosen.
    pub(super) chance: Rate,
    /// Probability of each of its settings if it is chosen.
    #[serde(default = "always")]
    pub(super) each: Rate,
    /// Settings by path, as in the file, each with the range from which its value is drawn.
    pub(super) set: BTreeMap<String, Range>,
}

const fn always() -> Rate {
    Rate::ALWAYS
}

/// A range of numbers, rates or durations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Range {
    Counts([u32; 2]),
    Rates([Rate; 2]),
    Times([String; 2]),
}

impl Range {
    /// The value at a place of the range, written as in a file; `None` if the range has no order.
    pub(super) fn at(&self, place: impl FnOnce(u64) -> u64) -> Option<String> {
        let between = |from: u64, to: u64, place: &mut dyn FnMut(u64) -> u64| {
            to.checked_sub(from).map(|more| from + place(more))
        };
        let mut place = Some(place);
        let mut once = |more| place.take().map_or(0, |place| place(more));
        match self {
            Self::Counts([from, to]) => {
                between((*from).into(), (*to).into(), &mut once).map(|it| it.to_string())
            }
            Self::Rates([from, to]) => {
                let ppm = between(from.as_ppm().into(), to.as_ppm().into(), &mut once)?;
                Some(format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000))
            }
            Self::Times([from, to]) => {
                let [from, to] = [from, to].map(|it| text::parse(it).map(nanos));
                let drawn = between(from.ok()?, to.ok()?, &mut once)?;
                Some(format!("\"{}\"", text::write(Duration::from_nanos(drawn))))
            }
        }
    }
}
