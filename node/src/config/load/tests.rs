use super::super::schema::LIMITS;
use super::super::unknown::kind_of;
use super::super::unsupported::UNSUPPORTED;
use super::*;
use crate::private_file::tests::TempDir;
use serde_json::json;
use skydht_core::cap::Cap;

pub(super) const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect()
}

pub(super) fn from_text(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Loaded> {
    let dir = TempDir::new(name);
    let path = dir.0.join("c.json");
    std::fs::write(&path, text).unwrap();
    load(&Sources {
        file: Some(path),
        text: None,
        environment: environment(variables),
        flags: Vec::new(),
    })
}

fn problems(name: &str, text: &str) -> Vec<(Option<usize>, String, Option<String>)> {
    let failure = from_text(name, text, &[]).unwrap_err();
    assert_eq!(failure.code, Code::Config);
    let details = failure.details.unwrap();
    details["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (
                p["line"].as_u64().map(|n| n as usize),
                p["message"].as_str().unwrap().to_owned(),
                p["did_you_mean"].as_str().map(str::to_owned),
            )
        })
        .collect()
}

#[test]
fn a_visors_section_is_understood() {
    let text = format!(
        r#"{{"bootstrap_pks": ["{KEY}"], "bootstrap": ["{KEY}@127.0.0.1:1"], "max_items": 7,
            "item_ttl": 7200000000000, "full_node": true, "whitelisted_pks": ["{KEY}"],
            "trusted_pks": [], "public_pool_size": 9, "rate_limit_per_pk": 0}}"#
    );
    let node = from_text("visor", &text, &[]).unwrap().settings.node;
    assert_eq!(node.item_ttl.as_secs(), 7_200);
    assert!(node.full_node);
    assert_eq!(node.whitelisted.len(), 1);
    let limits = &node.limits;
    assert_eq!(
        (
            limits.store_items,
            limits.public_items,
            limits.items_per_publisher
        ),
        (Cap::new(7), Cap::new(9), Cap::new(50))
    );
}

#[test]
fn unknown_keys_name_their_line_and_a_near_one() {
    let text = "{\n  \"log\": \"listn\",\n  \"limits\": {\n    \"stream\": 9,\n    \"full_node\": true\n  },\n  \"listn\": \"x\",\n  \"streams\": 3\n}";
    let unknown = "unknown key".to_owned();
    let mut found = problems("unknown", text);
    // "listn" is also an invalid log filter in line 2, which is a value and not the key in line 7.
    found.retain(|p| p.1 == unknown);
    assert_eq!(
        found,
        [
            (Some(4), unknown.clone(), Some("limits.streams".to_owned())),
            (Some(5), unknown.clone(), Some("full_node".to_owned())),
            (Some(7), unknown.clone(), Some("listen".to_owned())),
            (Some(8), unknown, Some("limits.streams".to_owned())),
        ]
    );
}

#[test]
fn duplicates_and_aliases_of_one_key_are_refused() {
    let text = "{\n\"full_node\": true,\n\"full_node\": true,\n\"max_items\": 4,\n\"limits\": {\"store_items\": 5}\n}";
    assert_eq!(
        problems("duplicate", text),
        [
            (Some(3), "already set on line 2".to_owned(), None),
            (
                Some(5),
                "already set on line 4, as `max_items`".to_owned(),
                None
            ),
        ]
    );
}

#[test]
fn what_a_visor_has_and_this_has_not_is_refused_without_its_value() {
    let failure = from_text("redis", "{\"redis_password\": \"hunter2\"}", &[]).unwrap_err();
    assert!(failure.message.contains("not supported"), "{failure}");
    assert!(!serde_json::to_string(&failure).unwrap().contains("hunter2"));
    for (name, _) in UNSUPPORTED {
        assert!(
            schema::key(name).is_none(),
            "{name} is both supported and not"
        );
    }
}

/// Returns a configuration with one key and value, inside its section if it has one.
fn with_key(name: &str, value: &str) -> String {
    match name.split_once('.') {
        Some((section, key)) => format!("{{\"{section}\": {{\"{key}\": {value}}}}}"),
        None => format!("{{\"{name}\": {value}}}"),
    }
}

#[test]
fn every_key_may_be_left_open_as_go_writes_it() {
    let known = KEYS.iter().map(|key| (key.name.to_owned(), Some(key.kind)));
    let limits = Limit::ALL.iter().map(|limit| (dotted(*limit), None));
    let unsupported = UNSUPPORTED
        .iter()
        .map(|(name, _)| ((*name).to_owned(), None));
    let nothing = from_text("unset", "{}", &[]).unwrap();
    let sections = SECTIONS.map(|name| (name.to_owned(), None));
    for (name, _) in known.chain(limits).chain(unsupported).chain(sections) {
        let is_unsupported = instead_of(&name).is_some();
        let mut open = vec!["null", "\"\""];
        if is_unsupported {
            open.push("0");
        }
        for value in open {
            let loaded = from_text("unset", &with_key(&name, value), &[])
                .unwrap_or_else(|failure| panic!("{name}: {value}: {failure}"));
            let values = |loaded: &Loaded| {
                let all = loaded.effective.iter();
                all.map(|setting| setting.value.clone()).collect::<Vec<_>>()
            };
            assert_eq!(values(&loaded), values(&nothing), "{name}: {value}");
        }
        let variable = variable_of(&name);
        if !is_unsupported && !is_section(&name) {
            let loaded = from_text("unset", "{}", &[(&variable, "")]);
            assert!(loaded.unwrap().warnings.is_empty(), "{variable}");
        }
    }
}

#[test]
fn an_option_that_is_empty_is_refused() {
    for key in KEYS {
        let flag = ("--option", key.name, json!("").into());
        let sources = Sources {
            environment: environment(&[("HOME", "/nonexistent")]),
            flags: vec![flag],
            ..Sources::default()
        };
        let turns_off = key.name == "dmsg.public_address"
            || key.name.ends_with("discovery")
            || key.name.ends_with("address_resolver");
        assert_eq!(load(&sources).is_ok(), turns_off, "{}", key.name);
    }
}

#[test]
fn durations_of_every_key_mean_what_people_and_visors_mean() {
    let durations: Vec<_> = KEYS
        .iter()
        .filter(|key| key.kind == Kind::Duration)
        .collect();
    assert!(durations.len() >= 3);
    for key in durations {
        for (value, shown) in [
            ("30", "30s"),
            ("\"30\"", "30s"),
            ("\"30s\"", "30s"),
            ("30000000000", "30s"),
            ("\"1.5m\"", "1m30s"),
        ] {
            let loaded = from_text("duration", &with_key(key.name, value), &[]).unwrap();
            assert_eq!(
                (key.show)(&loaded.settings),
                json!(shown),
                "{}: {value}",
                key.name
            );
        }
        for value in [
            "0", "\"0\"", "\"0s\"", "-5", "1.5", "5000000", "true", "\"soon\"", "[]",
        ] {
            let found = problems("duration", &with_key(key.name, value));
            assert!(found[0].1.contains('"'), "{}: {value}: {found:?}", key.name);
        }
        for value in ["\"5ms\"", "\"9000h\""] {
            let found = problems("duration", &with_key(key.name, value));
            assert!(
                found[0].1.contains("must be "),
                "{}: {value}: {found:?}",
                key.name
            );
            assert!(
                found[0].1.contains(", not "),
                "{}: {value}: {found:?}",
                key.name
            );
        }
        let loaded = from_text("duration", "{}", &[(&variable_of(key.name), "40")]).unwrap();
        assert_eq!((key.show)(&loaded.settings), json!("40s"), "{}", key.name);
    }
}

#[test]
fn paths_need_not_be_text_and_everything_else_must() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = std::ffi::OsString::from_vec(b"/odd/\xff".to_vec());
    for key in KEYS {
        let variable = variable_of(key.name);
        let result = load(&Sources {
            environment: Environment::from([(variable.clone().into(), odd.clone())]),
            ..Sources::default()
        });
        if key.kind == Kind::Path {
            let settings = result.unwrap().settings;
            assert_eq!(
                (key.show)(&settings),
                json!("/odd/\u{fffd}"),
                "{}",
                key.name
            );
        } else {
            let failure = result.unwrap_err();
            assert!(
                failure.message.contains("no UTF-8"),
                "{variable}: {failure}"
            );
        }
    }
    let state = |name: &str| {
        load(&Sources {
            environment: Environment::from([(name.into(), odd.clone())]),
            ..Sources::default()
        })
        .unwrap()
        .settings
        .state_dir
        .unwrap()
    };
    assert_eq!(state("HOME"), Path::new(&odd).join(".local/state/skydht"));
    assert_eq!(state("XDG_STATE_HOME"), Path::new(&odd).join("skydht"));
}

#[test]
fn without_a_home_no_place_is_made_up() {
    for (name, value) in [
        ("X", ""),
        ("HOME", ""),
        ("HOME", "here"),
        ("XDG_STATE_HOME", "here"),
    ] {
        let loaded = load(&Sources {
            environment: environment(&[(name, value)]),
            ..Sources::default()
        })
        .unwrap();
        assert_eq!((loaded.path, &loaded.settings.state_dir), (None, &None));
        for failure in [
            loaded.settings.state().map(drop).unwrap_err(),
            loaded.settings.key_file().map(drop).unwrap_err(),
        ] {
            assert!(failure.hint.unwrap().contains("--state-dir"));
        }
    }
}

#[test]
fn the_cores_own_checks_name_the_line_too() {
    let text = "{\n\n\"limits\": {\n\"streams\": 1},\n\"log\": \"info\"}";
    let found = problems("range", text);
    assert_eq!(found[0].0, Some(4));
    assert!(found[0].1.contains("8 to 1_000_000"), "{found:?}");
    assert_eq!(
        problems("ttl", "{\n\"item_ttl\":\n \"400d\"}")[0].0,
        Some(2)
    );
}

#[test]
fn a_bootstrap_key_without_address_is_refused() {
    let found = problems("noaddr", &format!("{{\n\"bootstrap_pks\": [\"{KEY}\"]}}"));
    assert_eq!(found[0].0, Some(2));
    assert!(found[0].1.contains("HOST:PORT"));
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let dir = TempDir::new("order");
    let path = dir.0.join("c.json");
    std::fs::write(
        &path,
        "{\"listen\": \"127.0.0.1:1\", \"log\": \"warn\", \"full_node\": true}",
    )
    .unwrap();
    let loaded = load(&Sources {
        file: Some(path),
        text: None,
        environment: environment(&[
            ("SKYDHT_LISTEN", "127.0.0.1:2"),
            ("SKYDHT_LOG", "debug"),
            ("SKYDHT_LIMITS_STREAMS", "99"),
            ("SKYDHT_ITEM_TTL", "1h"),
            ("SKYDHT_TRUSTED_PKS", KEY),
            ("SKYDHT_LISTN", "x"),
        ]),
        flags: vec![("--listen", "listen", json!("127.0.0.1:3").into())],
    })
    .unwrap();
    let source = |key: &str| {
        let setting = loaded.effective.iter().find(|s| s.key == key).unwrap();
        (setting.value.clone(), setting.source.clone())
    };
    assert_eq!(source("listen"), (json!("127.0.0.1:3"), "--listen".into()));
    assert_eq!(source("log"), (json!("debug"), "SKYDHT_LOG".into()));
    assert_eq!(source("full_node"), (json!(true), "line 1".into()));
    assert_eq!(
        source("limits.streams"),
        (json!(99), "SKYDHT_LIMITS_STREAMS".into())
    );
    assert_eq!(source("item_ttl"), (json!("1h"), "SKYDHT_ITEM_TTL".into()));
    assert_eq!(source("trusted_pks").0, json!([KEY]));
    assert_eq!(source("limits.calls").1, "default");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        loaded.warnings[0].contains("SKYDHT_LISTEN"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn everything_shown_can_be_read_back() {
    let first = from_text(
        "show",
        "{\"limits\": {\"calls\": 5}, \"api_listen\": \"off\"}",
        &[("HOME", "/nonexistent")],
    )
    .unwrap();
    let mut file = serde_json::Map::new();
    let mut limits = serde_json::Map::new();
    for setting in &first.effective {
        match setting.key.strip_prefix("limits.") {
            Some(name) => limits.insert(name.into(), setting.value.clone()),
            None => file.insert(setting.key.clone(), setting.value.clone()),
        };
    }
    file.insert(LIMITS.into(), limits.into());
    let second = from_text("showagain", &Value::from(file).to_string(), &[]).unwrap();
    let values = |loaded: &Loaded| {
        loaded
            .effective
            .iter()
            .map(|s| (s.key.clone(), s.value.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&first), values(&second));
    assert_eq!(second.settings.node, first.settings.node);
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_the_default_one_is_not() {
    let sources = |variables: &[(&str, &str)]| Sources {
        environment: environment(variables),
        ..Sources::default()
    };
    let home = ("HOME", "/nonexistent");
    assert!(load(&sources(&[home])).unwrap().path.is_none());
    let failure = load(&sources(&[home, ("SKYDHT_CONFIG", "/nonexistent/c.json")])).unwrap_err();
    assert!(failure.hint.unwrap().contains("config init"));
    let loaded = load(&sources(&[home, ("XDG_STATE_HOME", "/s")])).unwrap();
    let key_file = loaded.settings.key_file().unwrap();
    assert_eq!(key_file, Path::new("/s/skydht/node.key"));
    let loaded = load(&sources(&[home, ("XDG_STATE_HOME", "relative")])).unwrap();
    assert_eq!(
        loaded.settings.state_dir.as_deref(),
        Some(Path::new("/nonexistent/.local/state/skydht"))
    );
}

#[test]
fn dmsg_is_read_as_visors_write_it() {
    let text = format!(
        r#"{{"bootstrap_pks": ["{KEY}"], "dmsg": {{"discovery": "http://disc.example/", "sessions_count": 3,
            "servers": [{{"version": "", "sequence": 0, "timestamp": 0, "static": "{KEY}",
                "server": {{"address": "192.0.2.1:8080", "availableSessions": 0}}}}, "{KEY}@[::1]:9"]}}}}"#
    );
    let variables = [("SKYDHT_DMSG_MAX_SESSIONS", "7")];
    let dmsg = from_text("dmsg", &text, &variables).unwrap().settings.dmsg;
    assert!(dmsg.is_on());
    assert_eq!(dmsg.discovery.unwrap().to_string(), "http://disc.example");
    let at: Vec<_> = dmsg
        .servers
        .iter()
        .map(|it| it.address.to_string())
        .collect();
    assert_eq!(at, ["192.0.2.1:8080", "[::1]:9"]);
    assert!(dmsg.servers.iter().all(|it| it.key.to_string() == KEY));
    assert_eq!((dmsg.sessions_count, dmsg.max_sessions), (3, 7));
    let none = from_text("nodmsg", "{}", &[]).unwrap().settings.dmsg;
    assert!(!none.is_on());
}

#[test]
fn wrong_servers_of_dmsg_are_refused() {
    for server in [
        "1".to_owned(),
        "null".to_owned(),
        "\"\"".to_owned(),
        format!("\"{KEY}\""),
        format!("\"{KEY}@host\""),
        format!("\"{KEY}@disc.example:80\""),
        format!("\"{}@192.0.2.1:80\"", &KEY[2..]),
        format!("\"02{}@192.0.2.1:80\"", "f".repeat(64)),
        format!("{{\"static\": \"{KEY}\"}}"),
        format!("{{\"static\": \"{KEY}\", \"server\": {{\"address\": 1}}}}"),
    ] {
        let text = format!("{{\n\"dmsg\": {{\n\"servers\": [{server}]}}}}");
        let found = problems("servers", &text);
        assert_eq!(found[0].0, Some(3), "{server}: {found:?}");
    }
}

#[test]
fn no_suggestion_is_the_word_that_was_refused() {
    let limits = Limit::ALL.iter().map(|limit| limit.name());
    let names = KEYS.iter().map(|key| key.name).chain(limits);
    for name in names.chain(SECTIONS).chain(["lisetn", "dmgs"]) {
        if let Err(failure) = kind_of(name) {
            let hint = failure.hint.unwrap();
            assert!(!hint.contains(&format!("`{name}`")), "{name}: {hint}");
        }
        let variable = variable_of(name);
        for warning in from_text("refused", "{}", &[(&variable, "")])
            .unwrap()
            .warnings
        {
            assert!(!warning.ends_with(&format!("{variable}?")), "{warning}");
        }
    }
    let loaded = from_text("refused", "{}", &[("SKYDHT_DMSG", "x")]).unwrap();
    assert!(
        loaded.warnings[0].ends_with("SKYDHT_DMSG_DISCOVERY"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn a_number_that_is_too_large_is_not_called_negative() {
    for (value, part) in [
        ("-1", "not negative"),
        ("1.5", "a whole number"),
        ("18446744073709551616", "at most 18446744073709551615"),
        ("1e30", "at most 18446744073709551615"),
    ] {
        let found = problems("count", &format!("{{\"max_items\": {value}}}"));
        assert!(found[0].1.contains(part), "{value}: {found:?}");
    }
    let variables = [("SKYDHT_MAX_ITEMS", "18446744073709551616")];
    let failure = from_text("count", "{}", &variables).unwrap_err();
    assert!(failure.message.contains("at most"), "{failure}");
}

/// A file as `skywire cli config gen` writes it today, shortened; `dmsg` is the value of its
/// section.
fn visors(dmsg: &str) -> String {
    format!(
        r#"{{"version":"v1.3.99","sk":"{secret}","pk":"{KEY}",
 "dmsg":{dmsg},
 "dht":{{"enable":true,"full_node":true,"bootstrap_pks":["{KEY}"],"refresh_interval":"1m0s","new":1}},
 "transport":{{"discovery":"","discovery_dmsg":"dmsg://{KEY}:80","log_store":{{"type":"file"}},"stcpr_port":0}},
 "routing":{{"route_setup_nodes":null,"min_hops":1}},"launcher":{{"apps":[]}},
 "hypervisors":[],"cli_addr":"localhost:3435","local_path":"./local","log_level":"debug"}}"#,
        secret = "5".repeat(64),
    )
}

#[test]
fn a_visors_whole_configuration_is_taken_and_what_is_not_used_is_named() {
    let server = format!(
        r#"{{"version":"","sequence":0,"timestamp":0,"static":"{KEY}","server":{{"address":"192.0.2.1:8080","availableSessions":0}}}}"#
    );
    let rest = format!(
        r#""sessions_count":3,"servers":[{server}],"servers_type":"all","protocol":"yamux","carriers":["quic"],"server":{{"enabled":false}}"#
    );
    let url = format!("dmsg://{KEY}:80");
    for (dmsg, more) in [
        (format!(r#"{{"discovery":"{url}",{rest}}}"#), &[][..]),
        (
            format!(r#"{{"discovery":"","discovery_dmsg":"{url}",{rest}}}"#),
            &[],
        ),
        (format!(r#"{{"discovery_dmsg":"{url}",{rest}}}"#), &[]),
        (
            format!(r#"[{{"discovery":"{url}",{rest}}},{{"discovery":"x"}}]"#),
            &["dmsg[1]"],
        ),
    ] {
        let loaded = from_text("visor-whole", &visors(&dmsg), &[]);
        let loaded = loaded.unwrap_or_else(|failure| panic!("{dmsg}: {failure:?}"));
        let settings = &loaded.settings;
        assert_eq!(settings.dmsg.discovery.as_ref().unwrap().to_string(), url);
        let transports = settings.register.transports.as_ref();
        assert_eq!(transports.unwrap().to_string(), url);
        assert_eq!(settings.dmsg.sessions_count, 3);
        assert_eq!(settings.dmsg.servers.len(), 1);
        assert!(settings.node.full_node);
        assert_eq!(settings.bootstrap_pks.len(), 1);
        assert_eq!(settings.log, "debug");
        for name in [
            "sk",
            "pk",
            "version",
            "transport.log_store",
            "transport.stcpr_port",
            "routing",
            "launcher.apps",
            "hypervisors",
            "cli_addr",
            "local_path",
            "dht.enable",
            "dht.refresh_interval",
            "dht.new",
            "dmsg.carriers",
            "dmsg.server",
        ]
        .iter()
        .chain(more)
        {
            assert!(
                loaded.ignored.iter().any(|it| it == name),
                "{name}: {:?}",
                loaded.ignored
            );
        }
        assert_eq!(
            loaded.ignored.len(),
            15 + more.len(),
            "{:?}",
            loaded.ignored
        );
        assert!(
            loaded
                .warnings
                .iter()
                .any(|it| it.contains("a key of its own"))
        );
        let shown = format!("{:?}", loaded.effective);
        assert!(
            !shown.contains(&"5".repeat(64)),
            "the visor's secret is shown"
        );
    }
    // Errors inside such a file are reported with their line.
    for (dmsg, line) in [
        (r#"{"discovery":"ftp://x"}"#, 2),
        (r#"{"discovery":"","sessions_count":-1}"#, 2),
        ("7", 2),
        ("[7]", 2),
    ] {
        let failure = from_text("visor-wrong", &visors(dmsg), &[]).unwrap_err();
        assert!(
            failure.message.contains(&format!(":{line}: ")),
            "{failure:?}"
        );
    }
    // None of these files is a visor's.
    for text in [r#"{"sk":"x"}"#, r#"{"version":"1","full_node":true}"#] {
        assert!(from_text("visor-damaged", text, &[]).is_err(), "{text}");
    }
}
