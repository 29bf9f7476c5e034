//! The contents of a scenario file.

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

/// Maximum number of nodes of a scenario.
const MAX_NODES: u32 = 1_000_000;

/// A scenario: participants, faults, actions of users, and expectations. Every field has a default.
/// See `tests/scenarios` for examples.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// Name of the file without extension.
    #[serde(skip)]
    pub name: String,
    /// One-line description for lists.
    pub about: String,
    /// Which part of each node runs.
    pub depth: Depth,
    /// The participants.
    pub population: Population,
    /// Duration of each phase.
    pub phases: Phases,
    /// Faults of the network in all phases.
    pub network: Faults,
    /// How sessions and streams are made.
    pub transport: Transport,
    /// How records are stored.
    pub storage: Storage,
    /// Faults in the second phase.
    pub chaos: Chaos,
    /// Settings that only the whole program has.
    pub program: Program,
    /// Actions of users.
    pub work: Work,
    /// Expected figures.
    pub expect: Expect,
    /// Minimum values of counters over all runs of a sweep of seeds, by name. They prove that rare
    /// events happened.
    pub coverage: BTreeMap<String, u64>,
    /// Optional worlds with unusual conditions, by name; see [`Variant`].
    pub worlds: BTreeMap<String, Variant>,
}

/// Which part of each node runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Only the core: for large networks, and for mixed or hostile networks.
    #[default]
    Core,
    /// The whole program, from handles to Noise and yamux: for races. See [`crate::program`].
    Program,
}

/// How hosts are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// By key over a relay, as with DMSG.
    #[default]
    Relayed,
    /// At an address, as with direct TCP. Nodes of upstream and hostile nodes do not know
    /// addresses, so they are reached by key in any case.
    Direct,
}

/// The participants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Population {
    /// Total number of nodes.
    pub nodes: u32,
    /// Number of bootstrap nodes. They are the first nodes and always ours.
    pub bootstrap: u32,
    /// Number of keys in every bootstrap list that belong to no node.
    pub bootstrap_dead: u32,
    /// Share of upstream's nodes.
    pub upstream: Drawn,
    /// Share of hostile nodes.
    pub hostile: Drawn,
    /// Behaviours of hostile nodes, assigned in turn.
    pub behaviours: Vec<Behaviour>,
    /// Maximum number of keys that each hostile node may try in order to get near an item; 0: none.
    pub grinding: u32,
    /// Number of mirrors at the end of the list: services of upstream that copy all items to their
    /// owners' targets every minute, signed with their own key. Our nodes accept these mirrors.
    pub mirrors: u32,
    /// Number of further mirrors before them, which our nodes do not accept.
    pub unknown_mirrors: u32,
    /// Number of full nodes, which keep everything. They are the first of our nodes.
    pub full_nodes: u32,
    /// Number of full nodes that send invented data when they reconcile (the last of them).
    /// Otherwise they are honest.
    pub liars: u32,
    /// How all nodes are reached.
    pub reached: Reached,
    /// Share of our nodes that cannot be dialled.
    pub nat: Drawn,
    /// Lifetime of items, for our nodes and upstream's.
    #[serde(with = "text")]
    pub item_ttl: Duration,
    /// Share of our nodes whose wall clock was never set: it shows 1970 at each start. For half of
    /// them it is set at some time in the second phase.
    pub no_clock: Drawn,
    /// Maximum error of our nodes' wall clocks, in either direction.
    #[serde(with = "text")]
    pub skew: Duration,
    /// Time that a host needs to verify one signature. Only at the core's depth.
    #[serde(with = "text")]
    pub verify: Duration,
    /// Lookup parallelism of our nodes.
    pub alpha: u32,
    /// Number of disjoint lookup paths of our nodes.
    pub disjoint_paths: u32,
    /// Limits of our nodes that differ from the default, by name.
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

/// Duration of each phase of a run, in virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Phases {
    /// Hosts start at times spread over this phase.
    #[serde(with = "text")]
    pub join: Duration,
    /// Routing tables settle.
    #[serde(with = "text")]
    pub settle: Duration,
    /// Items are published at times spread over this phase.
    #[serde(with = "text")]
    pub publish: Duration,
    /// Users only do `work.idle_gets`, so that the cost of maintenance can be measured.
    #[serde(with = "text")]
    pub idle: Duration,
    /// Faults occur while users work.
    #[serde(with = "text")]
    pub chaos: Duration,
    /// All faults have ended; nothing is checked yet.
    #[serde(with = "text")]
    pub heal: Duration,
    /// Items are read at times spread over this phase, and the results must be right.
    #[serde(with = "text")]
    pub verify: Duration,
    /// The owners of half of the items stop. Their items must be gone after this time plus the TTL.
    /// Zero skips the phase.
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

/// Faults of the second phase. The rates of [`Faults`] are drawn for the whole phase; the others
/// are probabilities per minute, for each host or for the whole network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Chaos {
    /// Share of hosts whose machines vanish at the beginning of the phase and stay away while other
    /// nodes still list them. It also works without a chaos phase.
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
    /// A host crashes and comes back within a minute.
    pub crash: Drawn,
    /// Share of crashes after which the disk is empty.
    pub wiped: Drawn,
    /// A host is suspended for up to two minutes.
    pub suspend: Drawn,
    /// The wall clock of a host steps by up to an hour in either direction.
    pub clock_step: Drawn,
    /// From now on the clock of a host runs up to half a percent too fast or too slow.
    pub drift: Drawn,
    /// The network is divided into two parts for up to a minute, in one direction or both.
    pub partition: Drawn,
    /// Every host is cut off from every other for the whole phase.
    pub blackout: bool,
}

/// Actions of users.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Work {
    /// Number of items, each of a different owner as long as there are enough nodes: `5000`, or
    /// `"10%"` of the number of nodes.
    pub items: Items,
    /// Size of a value in bytes.
    pub value_bytes: u32,
    /// Number of updates of random items in the second phase.
    pub updates: u32,
    /// Number of deletions in the second phase.
    pub deletes: u32,
    /// Number of times in the second phase that an item is published twice with one sequence number
    /// and different values.
    pub ties: u32,
    /// Number of reads in the second phase.
    pub gets: u32,
    /// Number of reads of random items in the idle phase.
    pub idle_gets: u32,
    /// Number of reads of each item in the checked phase, half `Freshest`, half `FirstValid`.
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

/// Number of items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "ItemsText", into = "ItemsText")]
pub enum Items {
    /// This number.
    Count(u32),
    /// This number per hundred nodes, at least one item, so that networks of all sizes are alike.
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

/// Expected figures. Each difference is a violation.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Expect {
    /// Minimum share of reads of the checked phase that return the right, freshest item. Without
    /// hostile nodes, every wrong read is a violation.
    pub success: Option<crate::network::Rate>,
    /// Maximum values of quantiles, by figure: `get.finished.p50 = "2s"`.
    pub at_most: BTreeMap<String, Bound>,
}

/// A bound of a figure: a duration or a count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Bound of a duration.
    Time(#[serde(with = "text")] Duration),
    /// Bound of any other figure.
    Count(u64),
}

impl Bound {
    /// The bound in the figure's smallest unit.
    #[must_use]
    pub fn value(self) -> u64 {
        match self {
            Self::Time(time) => skydht_core::time::nanos(time),
            Self::Count(count) => count,
        }
    }
}

/// Reason why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        error: std::io::Error,
    },
    /// The text is not a scenario.
    #[error("{name}: {error}")]
    Parse {
        /// Name of the scenario.
        name: String,
        /// Place and reason.
        error: Box<toml::de::Error>,
    },
    /// A value is not allowed.
    #[error("{key} must be {allowed}")]
    Value {
        /// Name of the field.
        key: &'static str,
        /// Description of allowed values.
        allowed: &'static str,
    },
    /// A setting names no field.
    #[error("{0:?} is no setting: write a path as in the file, such as population.nodes=100")]
    Setting(String),
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ScenarioError::Read`] and the errors of [`Scenario::parse`].
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Read {
            path: path.into(),
            error,
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text, &[])
    }

    /// Parses a text and applies settings that replace its values. They use paths and values as in
    /// the file.
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

    /// Number of items.
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

/// Sets the value at a path.
pub(super) fn set(table: &mut toml::Table, path: &str, value: &str) -> Result<(), ScenarioError> {
    let wrong = || ScenarioError::Setting(format!("{path}={value}"));
    // A bare word is a string; durations are written as strings.
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
