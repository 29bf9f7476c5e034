//! Writes Prometheus' text format.

use std::fmt::{Display, Write as _};

use skydht_core::node::{Histogram, Label};

use super::series::Series;

/// Nanoseconds per second.
const NANOS: f64 = 1e9;

/// The text, written family by family.
#[derive(Default)]
pub(super) struct Text(String);

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Text {
    /// Starts a family; the following values belong to it.
    pub(super) fn family(&mut self, series: Series) {
        let (name, kind) = (series.name(), series.kind().name());
        self.line(format_args!("# HELP {name} {}", series.help()));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// Writes a value with the values of its labels.
    pub(super) fn value(&mut self, series: Series, labels: &[&str], value: impl Display) {
        let labels = braces(series.labels().iter().copied().zip(labels.iter().copied()));
        self.line(format_args!("{}{labels} {value}", series.name()));
    }

    /// Writes one series per value of a label.
    pub(super) fn each<L: Label, V: Display>(&mut self, series: Series, value: impl Fn(L) -> V) {
        for label in L::ALL {
            self.value(series, &[label.name()], value(*label));
        }
    }

    /// Writes one series per pair of values of two labels.
    pub(super) fn each_pair<A: Label, B: Label, V: Display>(
        &mut self,
        series: Series,
        value: impl Fn(A, B) -> V,
    ) {
        for first in A::ALL {
            for second in B::ALL {
                let labels = [first.name(), second.name()];
                self.value(series, &labels, value(*first, *second));
            }
        }
    }

    /// Writes a histogram with the values of its labels.
    pub(super) fn histogram(&mut self, series: Series, labels: &[&str], histogram: &Histogram) {
        let name = series.name();
        let in_unit = |value: u64| match histogram.scale().is_time() {
            true => value as f64 / NANOS,
            false => value as f64,
        };
        let own = || series.labels().iter().copied().zip(labels.iter().copied());
        let mut bucket = |bound: &str, count: u64| {
            let labels = braces(own().chain([("le", bound)]));
            self.line(format_args!("{name}_bucket{labels} {count}"));
        };
        for (bound, count) in histogram.cumulative() {
            bucket(&in_unit(bound).to_string(), count);
        }
        bucket("+Inf", histogram.count());
        let labels = braces(own());
        let sum = in_unit(histogram.sum());
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {}", histogram.count()));
    }
}

/// Formats labels in braces; empty without labels.
fn braces<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = labels
        .map(|(name, value)| {
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            format!("{name}=\"{}\"", value.replace('\n', "\\n"))
        })
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", pairs.join(",")),
    }
}
