//! `skydht bench serve --mix`: the kinds of requests and their weights.

use std::fmt;
use std::str::FromStr;

/// Kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Ping,
    /// A lookup of the peers closest to a random target.
    FindNode,
    /// A read of an item that the node has.
    GetValue,
    /// A put of an item that the node does not have.
    PutNew,
    /// A put, with its value, of an item that the node has.
    PutRenewed,
    /// The short request that renews an item without its value.
    Renew,
}

impl Ask {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ping,
        Self::FindNode,
        Self::GetValue,
        Self::PutNew,
        Self::PutRenewed,
        Self::Renew,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find-node",
            Self::GetValue => "get-value",
            Self::PutNew => "put-new",
            Self::PutRenewed => "put-renewed",
            Self::Renew => "renew",
        }
    }
}

/// Kinds of requests with their weights; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mix {
    parts: Vec<(Ask, u32)>,
    total: u32,
}

impl Mix {
    fn new(parts: Vec<(Ask, u32)>) -> Option<Self> {
        let total = parts
            .iter()
            .try_fold(0, |sum: u32, (_, weight)| sum.checked_add(*weight))?;
        (total > 0).then_some(Self { parts, total })
    }

    /// Returns the mixes to measure when the command line names none.
    pub(crate) fn defaults() -> Vec<Self> {
        let alone = Ask::ALL.iter().map(|ask| vec![(*ask, 1)]);
        let mixed = vec![
            (Ask::FindNode, 4),
            (Ask::GetValue, 4),
            (Ask::PutNew, 1),
            (Ask::Renew, 1),
        ];
        alone.chain([mixed]).filter_map(Self::new).collect()
    }

    pub(crate) fn has(&self, ask: Ask) -> bool {
        self.parts.iter().any(|(part, _)| *part == ask)
    }

    /// Maps a random number to a kind, by weight.
    pub(crate) fn pick(&self, random: u64) -> Ask {
        let mut rest = (random % u64::from(self.total)) as u32;
        for (ask, weight) in &self.parts {
            if rest < *weight {
                return *ask;
            }
            rest -= weight;
        }
        // Unreachable: the rest is below the sum of the weights.
        self.parts[0].0
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let ask = Ask::ALL.into_iter().find(|ask| ask.name() == name);
            let ask = ask.ok_or_else(|| {
                let names = Ask::ALL.map(Ask::name).join(", ");
                format!("{name:?} is no request: write one of {names}")
            })?;
            let weight = weight.parse().ok().filter(|weight| *weight > 0);
            let weight =
                weight.ok_or_else(|| format!("{part:?} has no weight: write {name}=1 or more"))?;
            Ok::<_, String>((ask, weight))
        };
        let parts = text.split(',').map(part).collect::<Result<_, _>>()?;
        Self::new(parts).ok_or_else(|| "weights are too large in all".into())
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(ask, _)] = *self.parts {
            return f.write_str(ask.name());
        }
        for (n, (ask, weight)) in self.parts.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{}={weight}", ask.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_shown_and_drawn_by_weight() {
        for text in ["ping", "find-node=4,get-value=4,put-new=1,renew=1"] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
        let mix: Mix = "ping=3,renew".parse().unwrap();
        let pings = (0..400).filter(|n| mix.pick(*n) == Ask::Ping).count();
        assert_eq!(pings, 300);
        assert_eq!(Mix::defaults().len(), 7);
        for wrong in ["", "pong", "ping=0", "ping=x", "ping=4294967295,renew=1"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }
}
