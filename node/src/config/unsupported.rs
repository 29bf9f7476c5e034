//! Keys of a visor's configuration that this program does not support.

use serde_json::Value;

/// Each key with advice.
pub(crate) const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "refresh_interval",
        "expiry and bucket refresh run by deadline here, not by interval: remove the key",
    ),
    (
        "persist_path",
        "items are kept in the state directory: remove the key; `storage` says whether they are",
    ),
    (
        "redis_addr",
        "Redis is named by one URL here: set `storage` to redis://:PASSWORD@HOST:PORT/DB",
    ),
    (
        "redis_password",
        "Redis is named by one URL here: set `storage` to redis://:PASSWORD@HOST:PORT/DB",
    ),
    (
        "redis_db",
        "Redis is named by one URL here: set `storage` to redis://:PASSWORD@HOST:PORT/DB",
    ),
    (
        "dmsg.servers_type",
        "all kinds of servers are used here: remove the key",
    ),
    (
        "dmsg.connected_servers_type",
        "all kinds of servers are used here: remove the key",
    ),
    (
        "dmsg.protocol",
        "sessions are multiplexed by yamux, which every server speaks: remove the key",
    ),
    ("enable", "a running node is always on: remove the key"),
    (
        "local_path",
        "a visor's key; the directory for state is `state_dir` here",
    ),
    (
        "secret_key",
        "the secret key stands in a file of its own (`key_file`) or in SKYDHT_SECRET_KEY",
    ),
    (
        "sk",
        "the secret key stands in a file of its own (`key_file`) or in SKYDHT_SECRET_KEY",
    ),
    (
        "dht",
        "this is the section of a visor's configuration: put its contents at the top level, or give the visor's whole file",
    ),
];

/// Returns the advice for an unsupported key.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    let (_, instead) = UNSUPPORTED.iter().find(|(key, _)| *key == name)?;
    Some(instead)
}

/// Returns whether a value is what Go's programs write for an unset key.
pub(super) fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        _ => false,
    }
}
