//! Request bodies of the control API. Response bodies are in [`mod@crate::report`].

use std::fmt;
use std::time::Duration;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize};
use skydht_core::id::Target;
use skydht_core::item::{MAX_SALT_LEN, MAX_VALUE_LEN, Salt, Seq, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{Expected, GetRequest, OwnItem, PutOptions, ReadPolicy};
use skydht_core::store::Filter;
use skydht_core::sync::Prefix;
use skydht_discovery::record::TransportId;

use crate::cli::{Owner, parse_policy, parse_prefix};
use crate::failure::{Code, Failure, Result};

/// Upper bound of every `timeout_ms`.
const LONGEST: Duration = Duration::from_secs(600);

/// Body of `POST /put`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PutRequest {
    /// The bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The bytes, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Deletes the item: no `value` and no `text`.
    pub(crate) delete: bool,
    /// Salt of the item among those of the node's key.
    pub(crate) salt: String,
    /// Sequence number to use instead of the next one; a string or a number.
    #[serde(deserialize_with = "seq", skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<Seq>,
    /// Publishes only if this sequence number is the current one; 0: only if there is no item.
    #[serde(deserialize_with = "expected", skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Expected>,
    /// Fails if fewer peers store it.
    pub(crate) min_replicas: u16,
    /// Allows a sequence number more than a day ahead of the clock.
    pub(crate) force: bool,
    /// Does not renew the item.
    pub(crate) once: bool,
    /// Upper bound of the duration, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

impl PutRequest {
    /// Creates a request that publishes `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            value: Some(BASE64.encode(bytes)),
            ..Self::default()
        }
    }

    /// Returns whether the node is to keep the item alive.
    pub(crate) fn wants_renewal(&self) -> bool {
        !self.once && !self.delete
    }

    /// Validates the body and returns the arguments of the put.
    pub(crate) fn read(&self) -> Result<(Salt, Value, PutOptions)> {
        let value = match (&self.value, &self.text, self.delete) {
            (None, None, true) => Value::new(&[]),
            (None, Some(text), false) => Value::new(text.as_bytes()),
            (Some(value), None, false) => bytes_of(value)?,
            _ => return Err(usage("give one of `value` (base64), `text` and `delete`")),
        };
        for (what, length, most) in [
            ("value", value.as_bytes().len(), MAX_VALUE_LEN),
            ("salt", self.salt.len(), MAX_SALT_LEN),
        ] {
            check_length(what, length, most)?;
        }
        if value.as_bytes().is_empty() && !self.delete {
            return Err(usage("an empty value would delete the item")
                .hint("if that is what you want, say so: --delete, or \"delete\": true"));
        }
        let options = PutOptions {
            mirror_of: None,
            seq: self.seq,
            expect: self.expect,
            min_replicas: self.min_replicas,
            force: self.force,
            local_only: false,
            once: self.once,
            timeout: timeout(self.timeout_ms)?,
        };
        Ok((Salt::from(self.salt.as_str()), value, options))
    }
}

/// Body of `POST /get`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetBody {
    /// A public key, "self", or a target.
    #[serde(rename = "pk")]
    pub(crate) owner: String,
    /// Salt of the item among those of the key.
    #[serde(default)]
    pub(crate) salt: String,
    /// "freshest", "quorum:N", "first" or "local".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// Returns mirrored items of publishers that are not configured, too.
    #[serde(default)]
    pub(crate) unknown_mirrors: bool,
    /// Upper bound of the duration, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    /// Includes each step of the lookup in the response.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) trace: bool,
}

impl GetBody {
    /// Validates the body; `own` is the node's key, for "self".
    pub(crate) fn read(&self, own: PublicKey) -> Result<GetRequest> {
        let owner: Owner = self.owner.parse().map_err(usage)?;
        let policy = self
            .policy
            .as_deref()
            .map_or(Ok(ReadPolicy::Freshest), parse_policy);
        let policy = policy.map_err(usage)?;
        check_length("salt", self.salt.len(), MAX_SALT_LEN)?;
        let salt = Salt::from(self.salt.as_str());
        let mut request = match owner {
            Owner::Myself => GetRequest::of(own, salt, policy),
            Owner::Key(key) => GetRequest::of(key, salt, policy),
            Owner::Target(_) if !self.salt.is_empty() => {
                return Err(usage(
                    "a target stands for key and salt: leave the salt away",
                ));
            }
            Owner::Target(target) => GetRequest {
                target,
                owner: None,
                ..GetRequest::of(own, salt, policy)
            },
        };
        request.unknown_mirrors = self.unknown_mirrors;
        request.timeout = timeout(self.timeout_ms)?;
        Ok(request)
    }
}

/// Body of `POST /watch`: waits for the next version of an item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchBody {
    /// A public key, "self", or a target.
    #[serde(rename = "pk")]
    pub(crate) owner: String,
    /// Salt of the item among those of the key.
    #[serde(default)]
    pub(crate) salt: String,
    /// Returns only a version with a higher sequence number.
    #[serde(
        default,
        deserialize_with = "seq",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) after: Option<Seq>,
    /// Returns mirrored items of publishers that are not configured, too.
    #[serde(default)]
    pub(crate) unknown_mirrors: bool,
    /// Longest wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

impl WatchBody {
    /// Returns the request that reads the watched item.
    pub(crate) fn item(&self) -> GetBody {
        GetBody {
            owner: self.owner.clone(),
            salt: self.salt.clone(),
            policy: None,
            unknown_mirrors: self.unknown_mirrors,
            timeout_ms: self.timeout_ms,
            trace: false,
        }
    }
}

/// Body of `POST /ping`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PingBody {
    pub(crate) pk: PublicKey,
    /// Address to dial if there is no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) addr: Option<std::net::SocketAddr>,
}

/// Body of `POST /full-node`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FullNodeBody {
    /// Whether the node becomes a full node or a regular one.
    pub(crate) full_node: bool,
}

/// Body of `POST /sync`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncBody {
    /// Full node to reconcile with; `None`: all known ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pk: Option<PublicKey>,
    /// Upper bound of the duration, in milliseconds; `None`: 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

impl SyncBody {
    pub(crate) fn timeout(&self) -> Result<Duration> {
        Ok(timeout(self.timeout_ms)?.unwrap_or(LONGEST))
    }
}

/// Body of `POST /verify`: own items to read back.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VerifyBody {
    /// Salts of the items; empty: those with the fewest holders.
    pub(crate) salts: Vec<String>,
    /// Reads all own items back.
    pub(crate) all: bool,
    /// Longest read of one item, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

/// Number of items that are read back by default.
const VERIFIED: usize = 20;
/// Default for the longest read of one item.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(20);

impl VerifyBody {
    /// Returns the longest read of one item.
    pub(crate) fn timeout(&self) -> Result<Duration> {
        Ok(timeout(self.timeout_ms)?.unwrap_or(VERIFY_TIMEOUT))
    }

    /// Selects from the node's own items.
    pub(crate) fn choose(&self, mut items: Vec<OwnItem>) -> Result<Vec<OwnItem>> {
        // A deletion reads as absent, whichever peers hold it, so that reading it proves nothing.
        items.retain(|item| item.value_len > 0);
        if self.salts.is_empty() {
            items.sort_by_key(|item| item.holders);
            items.truncate(if self.all { usize::MAX } else { VERIFIED });
            return Ok(items);
        }
        for salt in &self.salts {
            if !items
                .iter()
                .any(|item| item.salt.as_bytes() == salt.as_bytes())
            {
                let text = format!("the node renews no item under the salt {salt:?}");
                return Err(Failure::new(Code::NotFound, text).hint("`skydht ls` lists them"));
            }
        }
        let wanted = |item: &OwnItem| {
            let salts = self.salts.iter();
            salts
                .map(String::as_bytes)
                .any(|salt| salt == item.salt.as_bytes())
        };
        items.retain(wanted);
        Ok(items)
    }
}

/// Body of `POST /list`: selects a page of stored items.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListBody {
    /// Only items under this salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) salt: Option<String>,
    /// Only items that this key signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pk: Option<PublicKey>,
    /// Only items whose targets begin with these hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// First target of the page: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Target>,
    /// Maximum number of items, at most [`MOST_LISTED`].
    #[serde(default = "most_listed")]
    pub(crate) limit: u64,
    /// Includes the values.
    #[serde(default)]
    pub(crate) values: bool,
}

/// Body of `POST /services`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicesBody {
    /// `vpn`, `skysocks`, `visor`, or any other type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Only in this country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) country: Option<String>,
    /// Only of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// Body of `POST /transports`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransportsBody {
    /// Only transports of this visor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edge: Option<PublicKey>,
    /// Only the transport with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<TransportId>,
}

/// Maximum number of items in a page.
const MOST_LISTED: u64 = 1_000;

const fn most_listed() -> u64 {
    MOST_LISTED
}

impl ListBody {
    /// Validates the body; returns the filter, the first target and the number of items.
    pub(crate) fn read(&self) -> Result<(Filter, Target, usize)> {
        if self.limit == 0 {
            return Err(usage("`limit` must be at least 1"));
        }
        let prefix = self.prefix.as_deref().map_or(Ok(Prefix::ALL), parse_prefix);
        let filter = Filter {
            salt: self.salt.as_deref().map(Salt::from),
            signer: self.pk,
            prefix: prefix.map_err(usage)?,
        };
        let most = usize::try_from(self.limit.min(MOST_LISTED)).unwrap_or(1);
        Ok((filter, self.from.unwrap_or_default(), most))
    }
}

/// Decodes one base64 text. The decoder alone would accept several padded texts in a row.
fn bytes_of(base64: &str) -> Result<Value> {
    let no_base64 = |why: &dyn fmt::Display| usage(format_args!("`value` is no base64: {why}"));
    let bytes = BASE64
        .decode(base64.as_bytes())
        .map_err(|error| no_base64(&error))?;
    if BASE64.encode(&bytes) != base64 {
        return Err(no_base64(&"text goes on behind the padding"));
    }
    Ok(Value::from(bytes))
}

fn check_length(what: &str, length: usize, most: usize) -> Result<()> {
    if length <= most {
        return Ok(());
    }
    let text = format!("a {what} has at most {most} bytes; this one has {length}");
    Err(Failure::new(Code::TooLarge, text))
}

fn timeout(ms: Option<u64>) -> Result<Option<Duration>> {
    let timeout = ms.map(Duration::from_millis);
    match timeout {
        Some(time) if time.is_zero() || time > LONGEST => {
            Err(usage("a timeout must be above 0 and at most 10 minutes"))
        }
        _ => Ok(timeout),
    }
}

fn usage(message: impl fmt::Display) -> Box<Failure> {
    Failure::new(Code::Usage, message)
}

/// Reads a sequence number given as a string, which all JSON writers keep whole, or as a number.
fn seq<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Option<Seq>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    Ok(match Option::<Either>::deserialize(d)? {
        None => None,
        Some(Either::Number(n)) => Some(Seq(n)),
        Some(Either::Text(text)) => Some(Seq(text.parse().map_err(serde::de::Error::custom)?)),
    })
}

/// Reads the sequence number that a put expects, as [`seq`] does; 0: no item.
fn expected<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Option<Expected>, D::Error> {
    Ok(seq(d)?.map(Expected::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn sequences_may_be_texts_or_numbers_and_are_sent_as_given() {
        let put: PutRequest =
            from_value(json!({"text": "x", "seq": "18446744073709551615", "expect": 7})).unwrap();
        let (_, value, options) = put.read().unwrap();
        assert_eq!(value.as_bytes(), b"x");
        assert_eq!(
            (options.seq, options.expect),
            (Some(Seq(u64::MAX)), Some(Expected::Version(Seq(7))))
        );
        assert_eq!(
            from_value::<PutRequest>(to_value(&put).unwrap()).unwrap(),
            put
        );
    }

    #[test]
    fn deleting_must_be_said() {
        let read = |json| from_value::<PutRequest>(json).unwrap().read();
        assert!(read(json!({"text": ""})).is_err());
        assert!(read(json!({})).is_err());
        assert!(read(json!({"text": "a", "value": "YQ=="})).is_err());
        assert!(read(json!({"value": "?"})).is_err());
        assert!(read(json!({"value": "YQ=="})).is_ok());
        for (value, whole) in [
            ("YQ==", true),
            ("YQ==YQ==", false),
            ("YQ==YWJj", false),
            ("YWI=YWI=", false),
        ] {
            assert_eq!(read(json!({"value": value})).is_ok(), whole, "{value}");
        }
        assert!(
            read(json!({"delete": true}))
                .unwrap()
                .1
                .as_bytes()
                .is_empty()
        );
        assert!(
            from_value::<PutRequest>(json!({"txt": "a"})).is_err(),
            "unknown field"
        );
    }

    #[test]
    fn gets_name_a_key_oneself_or_a_target() {
        let own = crate::keys::generate().unwrap().public();
        let read = |json| from_value::<GetBody>(json).unwrap().read(own);
        let other = crate::keys::generate().unwrap().public();
        assert_eq!(read(json!({"pk": "self"})).unwrap().owner.unwrap().0, own);
        let request =
            read(json!({"pk": other, "salt": "s", "policy": "quorum:3", "timeout_ms": 5})).unwrap();
        assert_eq!(request.target, skydht_core::id::Target::of(&other, b"s"));
        assert_eq!(request.policy, ReadPolicy::Quorum(3));
        assert_eq!(request.timeout, Some(Duration::from_millis(5)));
        assert_eq!(read(json!({"pk": request.target})).unwrap().owner, None);
        // The limit is that of a put.
        for (salt, is_right) in [(200, true), (201, false)] {
            let read = read(json!({"pk": "self", "salt": "s".repeat(salt)}));
            let code = read.err().map(|failure| failure.code);
            assert_eq!(code, (!is_right).then_some(Code::TooLarge), "{salt}");
        }
        for bad in [
            json!({"pk": request.target, "salt": "s"}),
            json!({"pk": "02"}),
            json!({"pk": "self", "policy": "quorum:0"}),
            json!({"pk": "self", "timeout_ms": 0}),
            json!({"pk": "self", "timeout_ms": 600_001}),
        ] {
            assert_eq!(read(bad.clone()).unwrap_err().code, Code::Usage, "{bad}");
        }
    }
}
