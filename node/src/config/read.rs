//! Parses single values; errors describe the expected format.

use std::net::SocketAddr;

use serde_json::Value;
use skydht_core::cap::Cap;
use skydht_discovery::{BaseUrl, BaseUrlError};
use skydht_dmsg::discovery::KnownServer;

use super::duration;
use crate::keys;

pub(super) fn assign<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

/// Parses a service's URL; the empty text and `null` mean none.
pub(super) fn optional_url(value: &Value) -> Result<Option<BaseUrl>, String> {
    if value.is_null() {
        return Ok(None);
    }
    match text(value)? {
        "" => Ok(None),
        url => {
            let url = url
                .parse()
                .map_err(|error: BaseUrlError| error.to_string())?;
            Ok(Some(url))
        }
    }
}

/// Formats a URL for [`optional_url`].
pub(super) fn shown_url(url: &Option<BaseUrl>) -> Value {
    url.as_ref()
        .map_or_else(String::new, ToString::to_string)
        .into()
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "expected true or false".into())
}

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "expected a text".into())
}

pub(super) fn count(value: &Value) -> Result<usize, String> {
    let is_large = value.as_f64().is_some_and(|n| n >= usize::MAX as f64);
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
    number.ok_or_else(|| match is_large {
        true => format!("expected a whole number, at most {}", usize::MAX),
        false => "expected a whole number, not negative".into(),
    })
}

pub(super) fn positive(value: &Value) -> Result<usize, String> {
    match count(value)? {
        0 => Err("expected 1 or more".into()),
        n => Ok(n),
    }
}

pub(super) fn cap(value: &Value) -> Result<Cap, String> {
    count(value).map(Cap::new)
}

pub(super) fn cap_or(value: &Value, default: Cap) -> Result<Cap, String> {
    let given = cap(value)?;
    Ok(match given {
        Cap::UNLIMITED => default,
        cap => cap,
    })
}

pub(super) fn read_duration(value: &Value) -> Result<std::time::Duration, String> {
    match value {
        Value::String(text) => duration::parse(text),
        Value::Number(number) => number
            .as_u64()
            .map_or_else(|| duration::parse(&number.to_string()), duration::of_number),
        _ => Err("expected a text like \"2h\"".into()),
    }
}

pub(super) fn list<T>(
    value: &Value,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    value
        .as_array()
        .ok_or("expected an array of texts")?
        .iter()
        .map(|value| text(value).and_then(&read))
        .collect()
}

/// Parses DMSG servers, as `PK@IP:PORT` or as in a visor's configuration.
pub(super) fn servers(value: &Value) -> Result<Vec<KnownServer>, String> {
    let wrong = |what: &Value| {
        format!(
            "{what} is no DMSG server: write \"PK@IP:PORT\", or {{\"static\": PK, \"server\": {{\"address\": \"IP:PORT\"}}}}"
        )
    };
    let read = |what: &Value| {
        let (key, at) = match what {
            Value::String(text) => text.split_once('@').ok_or_else(|| wrong(what))?,
            entry => {
                // An entry of a discovery, or one of `peers` of an upstream server.
                let key = entry["static"].as_str().or(entry["public_key"].as_str());
                let key = key.ok_or_else(|| wrong(what))?;
                let at = entry["server"]["address"].as_str();
                let at = at.or(entry["address"].as_str());
                (key, at.ok_or_else(|| wrong(what))?)
            }
        };
        let key = keys::parse_public(key)?;
        key.check_curve()
            .map_err(|error| format!("{key}: {error}"))?;
        let address = at.parse().map_err(|_| wrong(what))?;
        Ok(KnownServer { key, address })
    };
    let all = value.as_array().ok_or("expected an array")?;
    all.iter().map(read).collect()
}

pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no address: write HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is no address: write IP:PORT, such as 0.0.0.0:7470, 127.0.0.1:0 or [::]:7470"
        )
    })
}
