//! Table of the salts that Skywire's discoveries use.

use std::fmt;

use skydht_core::item::MAX_VALUE_LEN;
use skydht_core::key::PublicKey;
use skydht_dmsg::entry::MAX_ENTRY;

use super::address::{self, Network};
use super::{
    MOST_SERVICES, MOST_TRANSPORTS, Record, RecordError, advert, read_entry, server, service,
    transport_list,
};

/// Largest value of a record that is one small object, in bytes.
const SMALL: usize = 8 * 1024;

/// A set of salts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaltPattern {
    /// Exactly this salt.
    Exact(&'static str),
    /// This salt, or this salt with a number: `tp`, `tp:1`, `tp:2`, … without leading zeros.
    Numbered(&'static str),
    /// This prefix, followed by a word.
    Named(&'static str),
}

impl SaltPattern {
    fn matches(self, salt: &[u8]) -> bool {
        match self {
            Self::Exact(text) => salt == text.as_bytes(),
            Self::Numbered(text) => match salt.strip_prefix(text.as_bytes()) {
                Some([]) => true,
                Some([b':', digits @ ..]) => {
                    let is_number = digits.iter().all(u8::is_ascii_digit);
                    is_number && (1..=4).contains(&digits.len()) && digits[0] != b'0'
                }
                _ => false,
            },
            Self::Named(prefix) => {
                let word = salt.strip_prefix(prefix.as_bytes());
                word.is_some_and(|word| (1..=64).contains(&word.len()))
            }
        }
    }
}

impl fmt::Display for SaltPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Numbered(text) => write!(f, "{text}, {text}:1, {text}:2, …"),
            Self::Named(prefix) => write!(f, "{prefix}WORD"),
        }
    }
}

/// What proves that a record is genuine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// A signature of the owner within the value, wherever it was stored.
    Inside,
    /// Signatures of both edges, if the format contains them; otherwise as [`Proof::Item`].
    Edges,
    /// The item that contains it, which must be signed by the owner, or by a trusted mirror.
    Item,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inside => "the owner's signature inside",
            Self::Edges => {
                "both edges' signatures where there are any; else a claim of the owner's"
            }
            Self::Item => "the item alone",
        })
    }
}

/// Parses a value: takes salt, owner and value.
type Reader = fn(&[u8], &PublicKey, &[u8]) -> Result<Record, RecordError>;

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Schema {
    /// The salts of the row.
    pub salt: SaltPattern,
    /// Description of the record.
    pub what: &'static str,
    /// Who writes such records.
    pub writers: &'static str,
    /// The format that is written, and the formats that can be read.
    pub shapes: &'static str,
    /// Longest value that is read, in bytes.
    pub longest: usize,
    /// Maximum number of elements of a list; `None` if the record is not a list.
    pub most: Option<usize>,
    /// What proves the record.
    pub proof: Proof,
    pub(super) read: Reader,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("salt", &self.salt)
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

/// All rows of the table.
pub const SCHEMAS: &[Schema] = &[
    Schema {
        salt: SaltPattern::Exact("dmsg"),
        what: "DMSG entry: the servers of a client, the address of a server, or both",
        writers: "visors, DMSG servers; the DMSG discovery's mirror",
        shapes: "the entry of the DMSG discovery, word for word",
        longest: MAX_ENTRY,
        most: None,
        proof: Proof::Inside,
        read: |_, owner, value| read_entry(owner, value),
    },
    Schema {
        salt: SaltPattern::Numbered("tp"),
        what: "transports of a visor, 200 a chunk",
        writers: "visors; the transport discovery's mirror, under both edges",
        shapes: "written: bare entries. Read: also signed entries, the envelope with `ts`, and compact ones",
        longest: MAX_VALUE_LEN,
        most: Some(MOST_TRANSPORTS),
        proof: Proof::Edges,
        read: |_, owner, value| transport_list::read(owner, value),
    },
    Schema {
        salt: SaltPattern::Exact("svc"),
        what: "all services of a visor",
        writers: "visors; the service discovery's mirror",
        shapes: "a list of services, as the service discovery has them",
        longest: MAX_VALUE_LEN,
        most: Some(MOST_SERVICES),
        proof: Proof::Item,
        read: |_, owner, value| service::read(owner, value),
    },
    Schema {
        salt: SaltPattern::Named("svc:"),
        what: "one service of a visor",
        writers: "visors of April 2026; not written here",
        shapes: "an object with `pk`, `port`, `type`, `version`",
        longest: SMALL,
        most: None,
        proof: Proof::Item,
        read: |salt, owner, value| {
            let kind = salt.strip_prefix(b"svc:").unwrap_or_default();
            service::read_early(kind, owner, value)
        },
    },
    Schema {
        salt: SaltPattern::Exact("addr:stcpr"),
        what: "where a visor takes TCP transports",
        writers: "visors; the address resolver's mirror",
        shapes: "the answer of the address resolver",
        longest: SMALL,
        most: None,
        proof: Proof::Item,
        read: |_, owner, value| address::read(Network::Stcpr, owner, value),
    },
    Schema {
        salt: SaltPattern::Exact("addr:sudph"),
        what: "where a visor punches holes for UDP",
        writers: "visors; the address resolver's mirror",
        shapes: "the answer of the address resolver",
        longest: SMALL,
        most: None,
        proof: Proof::Item,
        read: |_, owner, value| address::read(Network::Sudph, owner, value),
    },
    Schema {
        salt: SaltPattern::Exact("addr"),
        what: "addresses of a visor",
        writers: "none that was seen: upstream's documents name it",
        shapes: "an object with `pk`, `addresses`, `port`, `is_local`",
        longest: SMALL,
        most: None,
        proof: Proof::Item,
        read: |_, owner, value| address::read(Network::Any, owner, value),
    },
    Schema {
        salt: SaltPattern::Exact("dmsg-server"),
        what: "a DMSG server that is a full node",
        writers: "DMSG servers, every 5 minutes",
        shapes: "an object with `pk`, `address`, `max_sessions`, `server_type`, `dht_bootstrap`",
        longest: SMALL,
        most: None,
        proof: Proof::Item,
        read: |_, owner, value| server::read(owner, value),
    },
    Schema {
        salt: SaltPattern::Exact("fullnode"),
        what: "advert of a full node",
        writers: "full nodes, every 5 minutes",
        shapes: "an object with `pk`, `stored_items`, `full_node`, `ts`",
        longest: SMALL,
        most: None,
        proof: Proof::Item,
        read: |_, owner, value| advert::read(owner, value),
    },
];

/// Returns the row of a salt.
#[must_use]
pub fn schema_of(salt: &[u8]) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.salt.matches(salt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_has_one_row_or_none() {
        for (salt, row) in [
            ("dmsg", Some("dmsg")),
            ("tp", Some("tp, tp:1, tp:2, …")),
            ("tp:1", Some("tp, tp:1, tp:2, …")),
            ("tp:9999", Some("tp, tp:1, tp:2, …")),
            ("tp:10000", None),
            ("tp:0", None),
            ("tp:01", None),
            ("tp:", None),
            ("tp:x", None),
            ("svc", Some("svc")),
            ("svc:vpn", Some("svc:WORD")),
            ("svc:", None),
            ("addr", Some("addr")),
            ("addr:stcpr", Some("addr:stcpr")),
            ("addr:quic", None),
            ("", None),
            ("DMSG", None),
        ] {
            let found = schema_of(salt.as_bytes()).map(|row| row.salt.to_string());
            assert_eq!(found.as_deref(), row, "{salt}");
            let rows = SCHEMAS.iter().filter(|it| it.salt.matches(salt.as_bytes()));
            assert!(rows.count() <= 1, "{salt}");
        }
    }

    /// Compares the table with the one in docs/records.md.
    #[test]
    fn the_document_says_what_the_table_says() {
        let text = include_str!("../../../docs/records.md");
        for row in SCHEMAS {
            let most = row.most.map_or("–".to_owned(), |most| most.to_string());
            let line = format!(
                "| `{}` | {} | {} | {} | {} | {most} | {} |",
                row.salt, row.what, row.writers, row.shapes, row.longest, row.proof
            );
            assert!(
                text.contains(&line),
                "docs/records.md lacks the line\n{line}"
            );
        }
        let lines = text.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(lines.count(), SCHEMAS.len());
    }
}
