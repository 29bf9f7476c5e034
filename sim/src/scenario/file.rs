//! What a scenario file may say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drawn::Drawn;
use super::storage::Storage;
use super::variant::Variant;
use super::whole_program::Program;
use crate::clock::text;
use crate::hostile::Behaviour;
use crate::network::{Faults, Transport};

/// Nodes of one scenario at most.
const MAX_NODES: u32 = 1_000_000;

/// A scenario: who takes part, what goes wrong, what users do, and what must hold. Every field
/// has a default; see `tests/scenarios` for examples.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// The file's name without its ending.
    #[serde(skip)]
    pub name: String,
    /// A line for lists.
    pub about: String,
    /// What of a node runs.
    pub depth: Depth,
    /// Who takes part.
    pub population: Population,
    /// How long each part takes.
    pub phases: Phases,
    /// The network, all the time.
    pub network: Faults,
    /// How sessions and streams are made.
    pub transport: Transport,
    /// How records are kept.
    pub storage: Storage,
    /// What goes wrong in the second phase.
    pub chaos: Chaos,
    /// What only the whole program knows.
    pub program: Program,
    /// What users do.
    pub work: Work,
    /// What the figures must be.
    pub expect: Expect,
    /// Counters that must be reached over the runs of a sweep of seeds, by name: proof that
    /// the rare things happened.
    pub coverage: BTreeMap<String, u64>,
    /// Worlds in which rules that hide others do not hold, by name; see [`Variant`].
    pub worlds: BTreeMap<String, Variant>,
}

/// What of a node runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The core alone: for scale, and for networks that are mixed or hostile.
    #[default]
    Core,
    /// The whole program, from handles to Noise and yamux: for races. See [`crate::program`].
    Program,
}

/// How hosts are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// By key, over a relay, as with DMSG.
    #[default]
    Relayed,
    /// At an address, as with direct TCP. Upstream's and hostile nodes know no addresses, so
    /// that they are reached by key as well.
    Direct,
}

/// Who takes part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Population {
    /// All of them.
    pub nodes: u32,
    /// The first so many are where the others start from; never upstream's, never hostile.
    pub bootstrap: u32,
    /// Keys in every bootstrap list without a node.
    pub bootstrap_dead: u32,
    /// The share that are upstream's nodes.
    pub upstream: Drawn,
    /// The share that is hostile.
    pub hostile: Drawn,
    /// What hostile ones do, each in turn.
    pub behaviours: Vec<Behaviour>,
    /// Keys that each hostile node may try out in order to be near to an item; 0: none.
    pub grinding: u32,
    /// The last so many copy all items to their owners' places under a key of their own, every
    /// minute: services of upstream's, whose mirrors our nodes accept.
    pub mirrors: u32,
    /// As many more before them, whose mirrors our nodes do not accept.
    pub unknown_mirrors: u32,
    /// Our nodes, among the first, that keep everything.
    pub full_nodes: u32,
    /// Of these the last so many lie when they reconcile, and are honest otherwise.
    pub liars: u32,
    /// How all are reached.
    pub reached: Reached,
    /// The share of ours that cannot be dialled.
    pub nat: Drawn,
    /// Life of items, for ours and upstream's.
    #[serde(with = "text")]
    pub item_ttl: Duration,
    /// The share of ours whose wall clock was never set: it shows 1970, at each start again. For
    /// half of them it is set some time in the second phase.
    pub no_clock: Drawn,
    /// The wall clocks of ours are wrong by up to this, either way.
    #[serde(with = "text")]
    pub skew: Duration,
    /// How long a host takes to check one signature; only in the core's depth.
    #[serde(with = "text")]
    pub verify: Duration,
    /// Lookup parallelism of ours.
    pub alpha: u32,
    /// Disjoint lookup paths of ours.
    pub disjoint_paths: u32,
    /// Limits of ours, by name, where they are not the default.
    pub limits: BTreeMap<String, usize>,
}

impl Default for Population {
    fn default() -> Self {
        Self {
            nodes: 50,
            bootstrap: 2,
            bootstrap_dead: 0,
            upstream: Drawn::NEVER,
            hostile: Drawn::NEVER,
            behaviours: Vec::new(),
            grinding: 0,
            mirrors: 0,
            unknown_mirrors: 0,
            full_nodes: 0,
            liars: 0,
            reached: Reached::default(),
            nat: Drawn::NEVER,
            item_ttl: skydht_core::node::ITEM_TTL,
            no_clock: Drawn::NEVER,
            skew: Duration::ZERO,
            verify: Duration::from_micros(60),
            alpha: 3,
            disjoint_paths: 1,
            limits: BTreeMap::new(),
        }
    }
}

/// How long each part of a run takes, in virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Phases {
    /// Hosts start at moments spread over this.
    #[serde(with = "text")]
    pub join: Duration,
    /// Then the tables settle.
    #[serde(with = "text")]
    pub settle: Duration,
    /// Items are published, spread over this.
    #[serde(with = "text")]
    pub publish: Duration,
    /// No user does anything but `work.idle_gets`: what upkeep costs is measured.
    #[serde(with = "text")]
    pub idle: Duration,
    /// Things go wrong while users work.
    #[serde(with = "text")]
    pub chaos: Duration,
    /// All is well again; nothing is checked yet.
    #[serde(with = "text")]
    pub heal: Duration,
    /// Items are read, spread over this, and must be right.
    #[serde(with = "text")]
    pub verify: Duration,
    /// The owners of half the items go, and their items must, TTL plus this later; zero: skipped.
    #[serde(with = "text")]
    pub expiry: Duration,
}

impl Default for Phases {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            join: minute / 2,
            settle: minute,
            publish: minute / 2,
            idle: Duration::ZERO,
            chaos: Duration::ZERO,
            heal: Duration::ZERO,
            verify: minute,
            expiry: Duration::ZERO,
        }
    }
}

/// What goes wrong. Rates of [`Faults`] are drawn for the whole phase; the others are
/// probabilities for each host, or for the whole network, in each minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Chaos {
    /// The share of hosts whose machines vanish as the phase begins and stay away, still
    /// listed in the others' tables. It may be there without a phase.
    pub dead: Drawn,
    /// See [`Faults::loss`].
    pub loss: Drawn,
    /// See [`Faults::stream_reset`].
    pub stream_reset: Drawn,
    /// See [`Faults::session_reset`].
    pub session_reset: Drawn,
    /// See [`Faults::half_open`].
    pub half_open: Drawn,
    /// See [`Faults::slow`].
    pub slow: Drawn,
    /// See [`Faults::dial_refused`].
    pub dial_refused: Drawn,
    /// See [`Faults::dial_lost`].
    pub dial_lost: Drawn,
    /// A host crashes, and comes back within a minute.
    pub crash: Drawn,
    /// The share of crashes after which the disk is empty.
    pub wiped: Drawn,
    /// A host stands still for up to two minutes.
    pub suspend: Drawn,
    /// A host's wall clock steps by up to an hour, either way.
    pub clock_step: Drawn,
    /// A host's clock runs up to half a percent wrong from now on.
    pub drift: Drawn,
    /// The network is cut into two for up to a minute, one way or both.
    pub partition: Drawn,
    /// Every host is cut off from every other for the whole phase.
    pub blackout: bool,
}

/// What users do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Work {
    /// Items, each of another owner as long as there are enough nodes: `5000`, or `"10%"` of
    /// the number of nodes.
    pub items: Items,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Operations of the second phase: an item chosen at random is updated, …
    pub updates: u32,
    /// … deleted, …
    pub deletes: u32,
    /// … published under one sequence twice with different values, …
    pub ties: u32,
    /// … read.
    pub gets: u32,
    /// Reads of items chosen at random in the idle phase.
    pub idle_gets: u32,
    /// Reads of each item in the checked phase, half `Freshest`, half `FirstValid`.
    pub reads: u32,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            items: Items::Count(20),
            value_bytes: 300,
            updates: 0,
            deletes: 0,
            ties: 0,
            gets: 0,
            idle_gets: 0,
            reads: 2,
        }
    }
}

/// How many items there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "ItemsText", into = "ItemsText")]
pub enum Items {
    /// So many.
    Count(u32),
    /// So many for every hundred nodes, at least one: networks of all sizes are alike.
    Percent(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ItemsText {
    Count(u32),
    Percent(String),
}

impl TryFrom<ItemsText> for Items {
    type Error = &'static str;

    fn try_from(text: ItemsText) -> Result<Self, Self::Error> {
        match text {
            ItemsText::Count(count) => Ok(Self::Count(count)),
            ItemsText::Percent(text) => {
                let number = text.strip_suffix('%').and_then(|it| it.parse().ok());
                number
                    .map(Self::Percent)
                    .ok_or("items are a count or, as in \"10%\", a share of the nodes")
            }
        }
    }
}

impl From<Items> for ItemsText {
    fn from(items: Items) -> Self {
        match items {
            Items::Count(count) => Self::Count(count),
            Items::Percent(percent) => Self::Percent(format!("{percent}%")),
        }
    }
}

/// What the figures must be; each a violation when it is not so.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Expect {
    /// The least share of reads of the checked phase that return the right, freshest item.
    /// Without hostile nodes a wrong one is a violation by itself.
    pub success: Option<crate::network::Rate>,
    /// The most that a quantile may be, by figure: `get.finished.p50 = "2s"`.
    pub at_most: BTreeMap<String, Bound>,
}

/// A bound of a figure: a duration, or a count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of a duration.
    Time(#[serde(with = "text")] Duration),
    /// Of anything else.
    Count(u64),
}

impl Bound {
    /// In the figure's smallest unit.
    #[must_use]
    pub fn value(self) -> u64 {
        match self {
            Self::Time(time) => skydht_core::time::nanos(time),
            Self::Count(count) => count,
        }
    }
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Its file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is not a scenario.
    #[error("{name}: {error}")]
    Parse {
        /// The scenario.
        name: String,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("{key} must be {allowed}")]
    Value {
        /// The field.
        key: &'static str,
        /// What may stand there.
        allowed: &'static str,
    },
    /// An override that names nothing.
    #[error("{0:?} is no setting: write a path as in the file, such as population.nodes=100")]
    Setting(String),
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ScenarioError::Read`], and what [`Scenario::parse`] says.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Read {
            path: path.into(),
            error,
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text, &[])
    }

    /// Reads a text, with settings that replace its own: paths and values as in the file.
    ///
    /// # Errors
    /// [`ScenarioError::Parse`], [`ScenarioError::Setting`], [`ScenarioError::Value`].
    pub fn parse(
        name: &str,
        text: &str,
        settings: &[(String, String)],
    ) -> Result<Self, ScenarioError> {
        let wrong = |error| ScenarioError::Parse {
            name: name.into(),
            error: Box::new(error),
        };
        let mut scenario: Self = if settings.is_empty() {
            toml::from_str(text).map_err(wrong)?
        } else {
            let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
            for (path, value) in settings {
                set(&mut table, path, value)?;
            }
            table.try_into().map_err(wrong)?
        };
        scenario.name = name.into();
        scenario.check()?;
        scenario.check_worlds()?;
        Ok(scenario)
    }

    /// How many items there are.
    #[must_use]
    pub fn items(&self) -> u32 {
        match self.work.items {
            Items::Count(count) => count,
            Items::Percent(percent) => {
                let items = u64::from(self.population.nodes) * u64::from(percent) / 100;
                u32::try_from(items).unwrap_or(u32::MAX).max(1)
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let who = &self.population;
        let must = |holds: bool, key, allowed| {
            if holds {
                Ok(())
            } else {
                Err(ScenarioError::Value { key, allowed })
            }
        };
        must(
            (2..=MAX_NODES).contains(&who.nodes),
            "population.nodes",
            "2 to 1000000",
        )?;
        must(
            (1..=who.nodes).contains(&who.bootstrap),
            "population.bootstrap",
            "1 to population.nodes",
        )?;
        must(
            !who.hostile.is_possible() || !who.behaviours.is_empty(),
            "population.behaviours",
            "given where nodes may be hostile",
        )?;
        let mirrors = who.mirrors.saturating_add(who.unknown_mirrors);
        must(
            who.bootstrap.saturating_add(mirrors) < who.nodes,
            "population.mirrors",
            "fewer, with population.unknown_mirrors, than nodes beside the bootstrap ones",
        )?;
        must(
            who.liars == 0 || who.liars < who.full_nodes,
            "population.liars",
            "fewer than population.full_nodes",
        )?;
        must(
            !matches!(self.work.items, Items::Count(0) | Items::Percent(0)),
            "work.items",
            "at least 1",
        )?;
        match self.depth {
            Depth::Core => Ok(()),
            Depth::Program => self.check_playable(),
        }
    }
}

/// Sets one value by its path.
pub(super) fn set(table: &mut toml::Table, path: &str, value: &str) -> Result<(), ScenarioError> {
    let wrong = || ScenarioError::Setting(format!("{path}={value}"));
    // A bare word is a string, as durations are.
    let line = format!("x = {value}");
    let parsed = toml::from_str::<toml::Table>(&line)
        .ok()
        .and_then(|mut table| table.remove("x"))
        .unwrap_or_else(|| toml::Value::String(value.into()));
    let (last, parents) = {
        let mut parts: Vec<&str> = path.split('.').collect();
        let last = parts.pop().filter(|it| !it.is_empty()).ok_or_else(wrong)?;
        (last, parts)
    };
    let mut at = table;
    for part in parents {
        at = at
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(wrong)?;
    }
    at.insert(last.into(), parsed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Rate;

    #[test]
    fn settings_replace_what_the_file_says() {
        let text = "about = \"x\"\n[population]\nnodes = 60\n[chaos]\ndead = 0.1";
        let settings = [
            ("population.nodes".into(), "70".into()),
            ("chaos.dead".into(), "0.3".into()),
            ("phases.join".into(), "3min".into()),
        ];
        let scenario = Scenario::parse("it", text, &settings).unwrap();
        assert_eq!(scenario.population.nodes, 70);
        assert_eq!(scenario.chaos.dead, Drawn::fixed(Rate::percent(30)));
        assert_eq!(scenario.phases.join, Duration::from_secs(180));
        assert_eq!(scenario.name, "it");
    }

    #[test]
    fn items_are_a_count_or_a_share_of_the_nodes() {
        let items = |nodes: u32, items: &str| {
            let text = format!("population.nodes = {nodes}\nwork.items = {items}");
            Scenario::parse("it", &text, &[]).unwrap().items()
        };
        assert_eq!(items(5, "7"), 7);
        assert_eq!(items(5, "\"10%\""), 1);
        assert_eq!(items(1_000, "\"10%\""), 100);
        assert_eq!(items(1_000, "\"250%\""), 2_500);
    }

    #[test]
    fn unknown_words_and_impossible_values_are_refused() {
        for text in [
            "population = 3",
            "[population]\nnods = 3",
            "[population]\nnodes = 1",
            "[population]\nbootstrap = 0",
            "[population]\nhostile = 0.1",
            "[population]\nnodes = 9\nbootstrap = 4\nmirrors = 3\nunknown_mirrors = 2",
            "[work]\nitems = 0",
            "[work]\nitems = \"0%\"",
            "[work]\nitems = \"many\"",
            "[phases]\njoin = \"soon\"",
        ] {
            assert!(Scenario::parse("it", text, &[]).is_err(), "{text}");
        }
        let wrong = [("population.nodes.x".into(), "1".into())];
        let refused = Scenario::parse("it", "[population]\nnodes = 3", &wrong);
        assert!(matches!(refused, Err(ScenarioError::Setting(_))));
        let unknown = [("population.nods".into(), "9".into())];
        assert!(Scenario::parse("it", "", &unknown).is_err());
    }
}
