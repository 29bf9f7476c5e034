//! The table of configuration keys: name, kind, description, and how each is parsed and shown.

use std::path::PathBuf;

use serde_json::{Value, json};
use skydht_core::key::PublicKey;
use skydht_core::node::{Limit, Limits};
use skydht_dmsg::discovery::KnownServer;
use skydht_driver::storage::Durability;

use super::duration;
use super::read::{
    address, assign, cap, cap_or, count, flag, host_and_port, list, optional_url, positive,
    read_duration, servers, shown_url, text,
};
use super::settings::{Advertising, PeerAddress, Settings};
use crate::keys;
use crate::path_text::shown;

/// Format of a key's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A non-negative integer.
    Count,
    /// A duration: "2h", seconds, or a visor's nanoseconds.
    Duration,
    /// A string.
    Text,
    /// A file or directory. In options and variables it may not be UTF-8.
    Path,
    /// An array of strings; separated by commas in the environment.
    List,
}

/// A configuration key.
pub(crate) struct Key {
    /// Name in files. The environment variable is `SKYDHT_` and the name in capitals.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Description for users.
    pub(crate) doc: &'static str,
    /// The limit that this alias from a visor's configuration stands for.
    pub(crate) means: Option<Limit>,
    /// Parses a value and sets it.
    pub(crate) set: fn(&mut Settings, &Value) -> Result<(), String>,
    /// Returns the current value in a form that `set` accepts.
    pub(crate) show: fn(&Settings) -> Value,
}

/// Section with the limits; its keys are the names of [`Limit`].
pub(crate) const LIMITS: &str = "limits";
/// Section with a visor's DMSG settings.
pub(crate) const DMSG: &str = "dmsg";
/// Section with the mirrored services.
pub(crate) const MIRROR: &str = "mirror";
/// Section with the services at which this visor registers.
pub(crate) const REGISTER: &str = "register";
/// All sections.
pub(crate) const SECTIONS: [&str; 4] = [LIMITS, DMSG, MIRROR, REGISTER];

/// Allowed intervals between requests to mirrored services.
const MIRROR_INTERVAL: std::ops::RangeInclusive<std::time::Duration> =
    std::time::Duration::from_secs(1)..=std::time::Duration::from_secs(24 * 3_600);

/// All keys except those of [`LIMITS`]. The first twelve are a visor's.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "bootstrap_pks",
        kind: Kind::List,
        doc: "keys to start from; each needs its address under `bootstrap`",
        means: None,
        set: |s, v| assign(&mut s.bootstrap_pks, list(v, keys::parse_public)),
        show: |s| json!(s.bootstrap_pks),
    },
    Key {
        name: "full_node",
        kind: Kind::Flag,
        doc: "store every item, whatever its distance",
        means: None,
        set: |s, v| assign(&mut s.node.full_node, flag(v)),
        show: |s| json!(s.node.full_node),
    },
    Key {
        name: "item_ttl",
        kind: Kind::Duration,
        doc: "how long an item lives after its signer last vouched for it",
        means: None,
        set: |s, v| assign(&mut s.node.item_ttl, read_duration(v)),
        show: |s| json!(duration::format(s.node.item_ttl)),
    },
    Key {
        name: "whitelisted_pks",
        kind: Kind::List,
        doc: "keys whose own items never expire and are never evicted",
        means: None,
        set: |s, v| assign(&mut s.node.whitelisted, list(v, keys::parse_public)),
        show: |s| json!(s.node.whitelisted),
    },
    Key {
        name: "trusted_pks",
        kind: Kind::List,
        doc: "the same, as a second tier",
        means: None,
        set: |s, v| assign(&mut s.node.trusted, list(v, keys::parse_public)),
        show: |s| json!(s.node.trusted),
    },
    Key {
        name: "max_items",
        kind: Kind::Count,
        doc: "a visor's word for limits.store_items; 0 means unlimited",
        means: Some(Limit::store_items),
        set: |s, v| assign(&mut s.node.limits.store_items, cap(v)),
        show: |s| json!(s.node.limits.store_items),
    },
    Key {
        name: "public_pool_size",
        kind: Kind::Count,
        doc: "a visor's word for limits.public_items; 0 means the default",
        means: Some(Limit::public_items),
        set: |s, v| {
            let default = Limits::default().public_items;
            assign(&mut s.node.limits.public_items, cap_or(v, default))
        },
        show: |s| json!(s.node.limits.public_items),
    },
    Key {
        name: "rate_limit_per_pk",
        kind: Kind::Count,
        doc: "a visor's word for limits.items_per_publisher; 0 means the default",
        means: Some(Limit::items_per_publisher),
        set: |s, v| {
            let default = Limits::default().items_per_publisher;
            assign(&mut s.node.limits.items_per_publisher, cap_or(v, default))
        },
        show: |s| json!(s.node.limits.items_per_publisher),
    },
    Key {
        name: "mirror_pks",
        kind: Kind::List,
        doc: "keys from which mirrored items are accepted",
        means: None,
        set: |s, v| assign(&mut s.node.mirrors, list(v, keys::parse_public)),
        show: |s| json!(s.node.mirrors),
    },
    Key {
        name: "mirror_relay_pks",
        kind: Kind::List,
        doc: "peers that may pass mirrored items on without a binding signature: your own Go full nodes",
        means: None,
        set: |s, v| assign(&mut s.node.mirror_relays, list(v, keys::parse_public)),
        show: |s| json!(s.node.mirror_relays),
    },
    Key {
        name: "mirror.dmsg_discovery",
        kind: Kind::Text,
        doc: "the URL of a DMSG discovery whose entries this node publishes in the DHT",
        means: None,
        set: |s, v| assign(&mut s.mirror.dmsg, optional_url(v)),
        show: |s| shown_url(&s.mirror.dmsg),
    },
    Key {
        name: "mirror.transport_discovery",
        kind: Kind::Text,
        doc: "the same of a transport discovery",
        means: None,
        set: |s, v| assign(&mut s.mirror.transports, optional_url(v)),
        show: |s| shown_url(&s.mirror.transports),
    },
    Key {
        name: "mirror.service_discovery",
        kind: Kind::Text,
        doc: "the same of a service discovery",
        means: None,
        set: |s, v| assign(&mut s.mirror.services, optional_url(v)),
        show: |s| shown_url(&s.mirror.services),
    },
    Key {
        name: "mirror.interval",
        kind: Kind::Duration,
        doc: "how often these services are asked for what has changed",
        means: None,
        set: |s, v| {
            let interval = read_duration(v)?;
            if !MIRROR_INTERVAL.contains(&interval) {
                let shown = duration::format(interval);
                return Err(format!("must be from 1s to 24h, not {shown}"));
            }
            assign(&mut s.mirror.interval, Ok(interval))
        },
        show: |s| json!(duration::format(s.mirror.interval)),
    },
    Key {
        name: "register.transport_discovery",
        kind: Kind::Text,
        doc: "the URL of the transport discovery where this visor's transports are registered, too",
        means: None,
        set: |s, v| assign(&mut s.register.transports, optional_url(v)),
        show: |s| shown_url(&s.register.transports),
    },
    Key {
        name: "register.service_discovery",
        kind: Kind::Text,
        doc: "the same of its services",
        means: None,
        set: |s, v| assign(&mut s.register.services, optional_url(v)),
        show: |s| shown_url(&s.register.services),
    },
    Key {
        name: "register.address_resolver",
        kind: Kind::Text,
        doc: "the same of its address for TCP",
        means: None,
        set: |s, v| assign(&mut s.register.addresses, optional_url(v)),
        show: |s| shown_url(&s.register.addresses),
    },
    Key {
        name: "bootstrap",
        kind: Kind::List,
        doc: "peers to start from, each PK@HOST:PORT",
        means: None,
        set: |s, v| {
            assign(
                &mut s.bootstrap,
                list(v, |text| text.parse::<PeerAddress>()),
            )
        },
        show: |s| {
            json!(
                s.bootstrap
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            )
        },
    },
    Key {
        name: "listen",
        kind: Kind::Text,
        doc: "the address that peers dial, IP:PORT; port 0 takes any free one",
        means: None,
        set: |s, v| assign(&mut s.listen, address(text(v)?)),
        show: |s| json!(s.listen.to_string()),
    },
    Key {
        name: "max_connections",
        kind: Kind::Count,
        doc: "connections to peers at once; each takes an open file",
        means: None,
        set: |s, v| assign(&mut s.max_connections, positive(v)),
        show: |s| json!(s.max_connections),
    },
    Key {
        name: "advertise",
        kind: Kind::Text,
        doc: "what peers are told to dial: \"auto\" (the listening port at the address they see), \"none\", or IP:PORT",
        means: None,
        set: |s, v| {
            s.advertise = match text(v)? {
                "auto" => Advertising::Auto,
                "none" => Advertising::Nothing,
                other => Advertising::Address(address(other)?),
            };
            Ok(())
        },
        show: |s| json!(s.advertise.to_string()),
    },
    Key {
        name: "dmsg.discovery",
        kind: Kind::Text,
        doc: "the URL of the DMSG discovery; with it, or with dmsg.servers, the DHT runs over DMSG",
        means: None,
        set: |s, v| assign(&mut s.dmsg.discovery, optional_url(v)),
        show: |s| shown_url(&s.dmsg.discovery),
    },
    Key {
        name: "dmsg.servers",
        kind: Kind::List,
        doc: "DMSG servers that are known anyway, each PK@IP:PORT or a discovery's entry",
        means: None,
        set: |s, v| assign(&mut s.dmsg.servers, servers(v)),
        show: |s| shown_servers(&s.dmsg.servers),
    },
    Key {
        name: "dmsg.sessions_count",
        kind: Kind::Count,
        doc: "DMSG servers to keep sessions with; 0 means all",
        means: None,
        set: |s, v| assign(&mut s.dmsg.sessions_count, count(v)),
        show: |s| json!(s.dmsg.sessions_count),
    },
    Key {
        name: "dmsg.public_address",
        kind: Kind::Text,
        doc: "for `dmsg-server`: where clients connect, HOST:PORT; default: where it listens",
        means: None,
        set: |s, v| {
            s.dmsg.public_address = match text(v)? {
                "" => None,
                at => Some(host_and_port(at)?),
            };
            Ok(())
        },
        show: |s| json!(s.dmsg.public_address.as_deref().unwrap_or_default()),
    },
    Key {
        name: "dmsg.max_sessions",
        kind: Kind::Count,
        doc: "for `dmsg-server`: clients that it takes; each needs an open file",
        means: None,
        set: |s, v| assign(&mut s.dmsg.max_sessions, positive(v)),
        show: |s| json!(s.dmsg.max_sessions),
    },
    Key {
        name: "dmsg.peers",
        kind: Kind::List,
        doc: "for `dmsg-server`: servers to link with, so that clients of one reach those of the other; each PK@IP:PORT",
        means: None,
        set: |s, v| assign(&mut s.dmsg.peers, servers(v)),
        show: |s| shown_servers(&s.dmsg.peers),
    },
    Key {
        name: "dmsg.link_all",
        kind: Kind::Flag,
        doc: "for `dmsg-server`: link with all servers that the discovery names, too",
        means: None,
        set: |s, v| assign(&mut s.dmsg.link_all, flag(v)),
        show: |s| json!(s.dmsg.link_all),
    },
    Key {
        name: "dmsg.accepted_peer_pks",
        kind: Kind::List,
        doc: "for `dmsg-server`: the servers that may pass on requests to it; none means any",
        means: None,
        set: |s, v| assign(&mut s.dmsg.accepted_peer_pks, list(v, keys::parse_public)),
        show: |s| json!(s.dmsg.accepted_peer_pks),
    },
    Key {
        name: "dmsg.max_peer_links",
        kind: Kind::Count,
        doc: "for `dmsg-server`: most servers that may pass on requests to it; 0 means none",
        means: None,
        set: |s, v| assign(&mut s.dmsg.max_peer_links, count(v)),
        show: |s| json!(s.dmsg.max_peer_links),
    },
    Key {
        name: "dmsg.max_relayed_streams",
        kind: Kind::Count,
        doc: "for `dmsg-server`: most concurrent streams whose requests other servers passed on, or clients in another's name",
        means: None,
        set: |s, v| assign(&mut s.dmsg.max_relayed_streams, count(v)),
        show: |s| json!(s.dmsg.max_relayed_streams),
    },
    Key {
        name: "dmsg.reject_relayed_requests",
        kind: Kind::Flag,
        doc: "for `dmsg-server`: take from a client only what its own key signed",
        means: None,
        set: |s, v| assign(&mut s.dmsg.reject_relayed_requests, flag(v)),
        show: |s| json!(s.dmsg.reject_relayed_requests),
    },
    Key {
        name: "dmsg.require_pq",
        kind: Kind::Flag,
        doc: "refuse sessions and streams without a post-quantum half, which peers older than June 2026 cannot make",
        means: None,
        set: |s, v| assign(&mut s.dmsg.require_pq, flag(v)),
        show: |s| json!(s.dmsg.require_pq),
    },
    Key {
        name: "key_file",
        kind: Kind::Path,
        doc: "the file with the secret key, mode 0600; default: node.key in the state directory",
        means: None,
        set: |s, v| assign(&mut s.key_file, text(v).map(|t| Some(t.into()))),
        show: |s| json!(s.key_file().map_or(String::new(), |path| shown(&path))),
    },
    Key {
        name: "state_dir",
        kind: Kind::Path,
        doc: "where the node keeps its key, its items, the API token and the peers it knows",
        means: None,
        set: |s, v| assign(&mut s.state_dir, text(v).map(|t| Some(t.into()))),
        show: |s| json!(s.state_dir.as_deref().map_or(String::new(), shown)),
    },
    Key {
        name: "storage",
        kind: Kind::Text,
        doc: "where items are kept across restarts: \"file\" (items.redb in the state directory), \"none\", or a URL: redis://[:PASSWORD@]HOST[:PORT][/DB], rediss://…, unix:///SOCKET, redis+sentinel://HOST:PORT,…/MASTER, redis+cluster://HOST:PORT,…",
        means: None,
        set: |s, v| {
            s.storage.location = text(v)?.parse()?;
            Ok(())
        },
        show: |s| json!(s.storage.location.to_string()),
    },
    Key {
        name: "durability",
        kind: Kind::Text,
        doc: "when items are on the disk: \"async\" (once a second) or \"sync\" (before they count as kept)",
        means: None,
        set: |s, v| {
            s.storage.durability = match text(v)? {
                "async" => Durability::Async,
                "sync" => Durability::Sync,
                other => return Err(format!("expected \"async\" or \"sync\", not {other:?}")),
            };
            Ok(())
        },
        show: |s| {
            json!(match s.storage.durability {
                Durability::Async => "async",
                Durability::Sync => "sync",
            })
        },
    },
    Key {
        name: "api_listen",
        kind: Kind::Text,
        doc: "the control API's address, IP:PORT, or \"off\"; keep it on loopback",
        means: None,
        set: |s, v| {
            s.api_listen = match text(v)? {
                "off" => None,
                other => Some(address(other)?),
            };
            Ok(())
        },
        show: |s| {
            s.api_listen
                .map_or(json!("off"), |addr| json!(addr.to_string()))
        },
    },
    Key {
        name: "api_hosts",
        kind: Kind::List,
        doc: "further names that requests to the control API may use, HOST:PORT",
        means: None,
        set: |s, v| {
            assign(
                &mut s.api_hosts,
                list(v, |text| Ok(text.to_ascii_lowercase())),
            )
        },
        show: |s| json!(s.api_hosts),
    },
    Key {
        name: "log",
        kind: Kind::Text,
        doc: "what to log: off, error, warn, info, debug, trace, or target=level,…",
        means: None,
        set: |s, v| {
            let filter = text(v)?;
            crate::logging::parse(filter)?;
            s.log = filter.into();
            Ok(())
        },
        show: |s| json!(s.log),
    },
    Key {
        name: "operation_timeout",
        kind: Kind::Duration,
        doc: "how long a put or get may take when it does not say",
        means: None,
        set: |s, v| assign(&mut s.node.operation_timeout, read_duration(v)),
        show: |s| json!(duration::format(s.node.operation_timeout)),
    },
    Key {
        name: "hard_deadline",
        kind: Kind::Duration,
        doc: "how long a call to one peer may take",
        means: None,
        set: |s, v| assign(&mut s.node.hard_deadline, read_duration(v)),
        show: |s| json!(duration::format(s.node.hard_deadline)),
    },
];

/// Returns the key with this name.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Sets a key of [`Kind::Path`] to a path that may not be UTF-8.
pub(crate) fn set_path(settings: &mut Settings, name: &str, path: PathBuf) -> Result<(), String> {
    let field = match name {
        "key_file" => &mut settings.key_file,
        "state_dir" => &mut settings.state_dir,
        _ => return Err("expected a text, not a path".into()),
    };
    *field = Some(path);
    Ok(())
}

/// Returns the key for an environment variable, given in lower case without its prefix.
pub(crate) fn name_of_variable(lower: &str) -> String {
    let section = |section: &str| {
        let rest = lower.strip_prefix(section)?.strip_prefix('_')?;
        Some(format!("{section}.{rest}"))
    };
    let sections = [LIMITS, DMSG, REGISTER].into_iter();
    let mut names = sections.filter_map(section);
    let name = names
        .next()
        .or_else(|| section(MIRROR).filter(|name| key(name).is_some()));
    name.unwrap_or_else(|| lower.to_owned())
}

/// Returns the limit with this name.
pub(crate) fn limit(name: &str) -> Option<Limit> {
    Limit::ALL
        .iter()
        .copied()
        .find(|limit| limit.name() == name)
}

/// Sets one limit.
pub(crate) fn set_limit(limits: &mut Limits, limit: Limit, value: &Value) -> Result<(), String> {
    let number = count(value)?;
    // Serde finds the field by name, which avoids a second list of all limits.
    let mut all = serde_json::to_value(&*limits).map_err(|error| error.to_string())?;
    all[limit.name()] = json!(number);
    *limits = serde_json::from_value(all).map_err(|error| error.to_string())?;
    Ok(())
}

/// Converts a text from the environment or the command line to the JSON value for a file.
pub(crate) fn value_of_text(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Flag => match text {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            other => json!(other),
        },
        // A number too large for `u64` stays a number, so that the error says that it is out of
        // range.
        Kind::Count if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse::<u64>().map_or_else(
                |_| json!(text.parse::<f64>().unwrap_or(f64::MAX)),
                |n| json!(n),
            )
        }
        Kind::Count => json!(text),
        Kind::Duration | Kind::Text | Kind::Path => json!(text),
        Kind::List => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect(),
    }
}

/// Returns the keys in `keys` that have no address in `with_address`.
pub(crate) fn without_address<'a>(
    keys: &'a [PublicKey],
    with_address: &'a [PeerAddress],
) -> impl Iterator<Item = &'a PublicKey> {
    keys.iter()
        .filter(|key| !with_address.iter().any(|peer| peer.key == **key))
}

fn shown_servers(servers: &[KnownServer]) -> Value {
    let servers = servers.iter();
    servers
        .map(|server| format!("{}@{}", server.key, server.address))
        .collect()
}
