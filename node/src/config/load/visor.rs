//! Reads the relevant parts of a visor's configuration, `skywire-config.json`, and lists the rest
//! as ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::file::{Document, Entry};
use super::super::schema::{self, DMSG, REGISTER};
use super::super::unknown::is_section;
use super::super::unsupported::{instead_of, is_unset};
use super::{Loader, Source, leaves_unset};

/// Top-level names of a visor's file that this program does not have.
const OF_A_VISOR: &[&str] = &[
    "version",
    "sk",
    "pk",
    "transport",
    "routing",
    "launcher",
    "hypervisors",
    "cli_addr",
    "local_path",
    "uptime_tracker",
];
/// Number of such names from which on a file counts as a visor's.
const ENOUGH: usize = 3;

/// Returns whether a file is a visor's, rather than one of this program with an unknown key.
pub(super) fn is_a_visors(entries: &[Entry<'_>]) -> bool {
    let of_a_visor = |entry: &&Entry<'_>| OF_A_VISOR.contains(&entry.key.as_str());
    entries.iter().filter(of_a_visor).count() >= ENOUGH
}

impl Loader {
    /// Reads the sections `dht` and `dmsg`, the URLs of services, and the log level.
    pub(super) fn visor(&mut self, document: &Document<'_>, entries: &[Entry<'_>]) {
        let mut seen = BTreeMap::new();
        for entry in entries {
            match entry.key.as_str() {
                "dht" => match document.entries(entry) {
                    Some(mut inner) => {
                        let is_ours = |key: &str| schema::key(key).is_some() || is_section(key);
                        for other in inner.extract_if(.., |one| !is_ours(&one.key)) {
                            self.ignored.push(format!("dht.{}", other.key));
                        }
                        self.entries(document, &inner, &mut seen);
                    }
                    None => self.expect_nothing(entry),
                },
                DMSG => self.visors_dmsg(document, entry),
                "transport" | "launcher" => self.visors_services(document, entry),
                "log_level" => {
                    let level = entry.value().unwrap_or_default();
                    match self.set("log", &level) {
                        Ok(_) => self.note("log", entry),
                        Err(_) => self.ignored.push("log_level".into()),
                    }
                }
                other => self.ignored.push(other.to_owned()),
            }
        }
        self.warnings.push(format!(
            "this is a visor's configuration: {} of its keys mean nothing here (`skydht config check` lists them), its `sk` among them: the node has a key of its own, since two programs with one key take each other's sessions",
            self.ignored.len()
        ));
    }

    /// Reads the section `dmsg`: an object, or a list with one object per discovery, of which only
    /// the first is used.
    fn visors_dmsg(&mut self, document: &Document<'_>, entry: &Entry<'_>) {
        let elements = document.elements(entry);
        let more = elements.as_ref().map_or(0, Vec::len);
        self.ignored
            .extend((1..more).map(|n| format!("{DMSG}[{n}]")));
        let first = match &elements {
            Some(elements) => elements.first(),
            None => Some(entry),
        };
        let Some(inner) = first.and_then(|first| document.entries(first)) else {
            if more > 0 || elements.is_none() {
                self.expect_nothing(entry);
            }
            return;
        };
        let mut seen = BTreeMap::new();
        let has_discovery = inner.iter().any(|one| {
            one.key == "discovery" && one.value().is_ok_and(|value| !leaves_unset(&value))
        });
        for one in &inner {
            let name = format!("{DMSG}.{}", one.key);
            match one.key.as_str() {
                "discovery" if !has_discovery => {}
                "discovery_dmsg" if !has_discovery => {
                    let discovery = format!("{DMSG}.discovery");
                    self.entry(&mut seen, discovery, one, Some(DMSG), "discovery");
                }
                key if schema::key(&name).is_some() => {
                    self.entry(&mut seen, name.clone(), one, Some(DMSG), key);
                }
                // Values that equal this program's behaviour need no warning.
                "servers_type" | "protocol" if is_usual(&one.value()) => {}
                _ if instead_of(&name).is_some() && one.value().is_ok_and(|it| is_unset(&it)) => {}
                _ => self.ignored.push(name),
            }
        }
    }

    /// Reads the services at which a visor registers. Of a pair `X` and `X_dmsg` either may be
    /// empty; if both are set, the URL over DMSG is used.
    fn visors_services(&mut self, document: &Document<'_>, entry: &Entry<'_>) {
        let Some(inner) = document.entries(entry) else {
            return self.expect_nothing(entry);
        };
        let mut seen = BTreeMap::new();
        for one in &inner {
            let name = format!("{}.{}", entry.key, one.key);
            let key = match name.trim_end_matches("_dmsg") {
                "transport.discovery" => "transport_discovery",
                "transport.address_resolver" => "address_resolver",
                "launcher.service_discovery" => "service_discovery",
                _ => {
                    self.ignored.push(name);
                    continue;
                }
            };
            let other = match one.key.strip_suffix("_dmsg") {
                Some(clear) => clear.to_owned(),
                None => format!("{}_dmsg", one.key),
            };
            let is_set = |it: &&Entry<'_>| it.value().is_ok_and(|value| !leaves_unset(&value));
            let has_other = inner.iter().filter(is_set).any(|it| it.key == other);
            if !is_set(&one) || (has_other && !one.key.ends_with("_dmsg")) {
                continue;
            }
            let full = format!("{REGISTER}.{key}");
            self.entry(&mut seen, full, one, Some(REGISTER), key);
        }
    }

    fn expect_nothing(&mut self, entry: &Entry<'_>) {
        if !entry.value().is_ok_and(|value| leaves_unset(&value)) {
            self.problem(entry, entry.key.clone(), "expected an object".into(), None);
        }
    }

    fn note(&mut self, name: &str, entry: &Entry<'_>) {
        let line = Source::Line(entry.line);
        self.set_at.insert(name.into(), line);
    }
}

/// Returns whether the value selects all servers, and yamux.
fn is_usual(value: &Result<Value, String>) -> bool {
    let text = value.as_ref().ok().and_then(Value::as_str);
    matches!(text, Some("all" | "yamux" | ""))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{KEY, from_text};

    #[test]
    fn of_a_visors_services_the_url_over_dmsg_stays_where_there_are_two() {
        let dmsg = format!("dmsg://{KEY}:80");
        for (clear, over_dmsg, expected) in [
            ("http://tpd.example", dmsg.as_str(), Some(dmsg.as_str())),
            ("http://tpd.example", "", Some("http://tpd.example")),
            ("", dmsg.as_str(), Some(dmsg.as_str())),
            ("", "", None),
        ] {
            let text = format!(
                r#"{{"version":"v1","pk":"{KEY}","hypervisors":[],
     "transport":{{"address_resolver":"{clear}","address_resolver_dmsg":"{over_dmsg}"}},
     "launcher":{{"service_discovery_dmsg":"{over_dmsg}","service_discovery":"{clear}"}}}}"#
            );
            let settings = from_text("visor", &text, &[]).unwrap().settings;
            let register = &settings.register;
            for found in [&register.addresses, &register.services] {
                let found = found.as_ref().map(ToString::to_string);
                assert_eq!(found.as_deref(), expected, "{text}");
            }
        }
    }
}
