use super::*;
use crate::private_file::tests::TempDir;
use serde_json::json;

const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn from_text(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Loaded> {
    let dir = TempDir::new(name);
    let path = dir.0.join("c.json");
    std::fs::write(&path, text).unwrap();
    load(&Sources {
        file: Some(path),
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
        (7, 9, 50)
    );
}

#[test]
fn unknown_keys_name_their_line_and_a_near_one() {
    let text = "{\n  \"log\": \"listn\",\n  \"limits\": {\n    \"stream\": 9,\n    \"full_node\": true\n  },\n  \"listn\": \"x\",\n  \"streams\": 3\n}";
    let unknown = "unknown key".to_owned();
    let mut found = problems("unknown", text);
    // "listn" is also a wrong filter in line 2: a value, not the key of line 7.
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
        environment: environment(&[
            ("SKYDHT_LISTEN", "127.0.0.1:2"),
            ("SKYDHT_LOG", "debug"),
            ("SKYDHT_LIMITS_STREAMS", "99"),
            ("SKYDHT_ITEM_TTL", "1h"),
            ("SKYDHT_TRUSTED_PKS", KEY),
            ("SKYDHT_LISTN", "x"),
        ]),
        flags: vec![("--listen", "listen", json!("127.0.0.1:3"))],
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
        &[],
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
    assert_eq!(loaded.settings.key_file(), Path::new("/s/skydht/node.key"));
    let loaded = load(&sources(&[home, ("XDG_STATE_HOME", "relative")])).unwrap();
    assert_eq!(
        loaded.settings.state_dir,
        Path::new("/nonexistent/.local/state/skydht")
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
