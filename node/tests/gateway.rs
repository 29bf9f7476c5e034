//! Old visors register at one gateway and ask another one; only the DHT connects them.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use skydht_discovery::record::VisorAddress;
use skydht_discovery::resolver::{Answer, Binding, Call, Carrier};
use skydht_discovery::{dmsg, transport, web};
use support::old_visor::{OldVisor, between, key};
use support::{DEADLINE, Node, TempDir, until};

/// Starts a gateway with an existing key.
fn gateway(home: &TempDir, name: &str, config: &str, peer: &str) -> Node {
    let key_file = home.join(&format!("{name}.key"));
    let words = [
        "gateway",
        "--addr",
        "127.0.0.1:0",
        "--config",
        config,
        "--key-file",
        &key_file,
        "--listen",
        "127.0.0.1:0",
        "--bootstrap",
        peer,
    ];
    Node::start_with(home, name, &words)
}

/// Repeats `ask` until it returns a result.
#[track_caller]
fn until_answer<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "not {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn what_a_visor_registers_at_one_gateway_another_one_answers() {
    let home = TempDir::new();
    let keys: Vec<String> = ["east", "west"]
        .iter()
        .map(|name| {
            let file = home.join(&format!("{name}.key"));
            let made = support::run(&home, &["keygen", &file, "--json"]).exits(0);
            made.json()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    let config = home.join("node.json");
    std::fs::write(&config, json!({ "mirror_pks": keys }).to_string()).unwrap();
    let words = ["run", "--config", &config, "--listen", "127.0.0.1:0"];
    let node = Node::start_with(&home, "node", &words);
    let peer = node.address();
    let east = gateway(&home, "east", &config, &peer);
    let mut west = gateway(&home, "west", &config, &peer);
    west.knows(2);
    let [here, there] = [&east, &west].map(|it| {
        let url = it.text("gateway");
        url.strip_prefix("http://").unwrap().to_owned()
    });
    let visor = OldVisor { n: 1, at: &here };
    visor.post_entry(0, 99);
    visor.register_transports(&[between(1, 2), between(1, 3)]);
    visor.register_vpn();
    let visor_address = VisorAddress {
        port: "7777".into(),
        ..VisorAddress::default()
    };
    let binding = Binding {
        visor: visor_address,
        public_ip: None,
    };
    let bind = Call::Bind(Carrier::Tcp, Box::new(binding));
    assert_eq!(visor.signed(bind.write()).status(), 200);

    // Another visor asks the second gateway, in upstream's protocol.
    let asker = OldVisor { n: 9, at: &there };
    let entry = dmsg::Call::Entry(key(1));
    let found = until_answer("the entry", || {
        let response = asker.exchange(&entry.write());
        (response.status() == 200).then_some(response)
    });
    let Ok(dmsg::Answer::Entry(found)) = dmsg::Answer::read(&entry, &found) else {
        panic!("{found:?}")
    };
    assert_eq!(found.entry().key, key(1));
    found.verify().unwrap();
    let list = transport::Call::OfEdge(key(1));
    let found = until_answer("transports", || {
        match transport::Answer::read(&list, &asker.exchange(&list.write())) {
            Ok(transport::Answer::List(list)) if !list.is_empty() => Some(list),
            _ => None,
        }
    });
    assert_eq!(found.len(), 2);
    let resolve = Call::Resolve(Carrier::Tcp, key(1));
    let found = until_answer("the address", || {
        Answer::read(&resolve, &asker.signed(resolve.write())).ok()
    });
    let Answer::Address(found) = found else {
        panic!("{found:?}")
    };
    assert_eq!(found.remote_addr, "127.0.0.1:7777");
    // Missing entries are reported in upstream's protocol, too.
    let missing: web::Response = asker.exchange(&dmsg::Call::Entry(key(5)).write());
    assert_eq!(missing.status(), 404);
    let status = until(&east, &home, "published", |it| it["mirror"]["waiting"] == 0);
    // One entry, three lists of transports, one list of services, one address.
    assert_eq!(status["mirror"]["published"], 6, "{status:#}");
    // The gateway where the visor registered is gone; the other one still answers.
    east.kill();
    assert_eq!(asker.exchange(&entry.write()).status(), 200);
}

#[test]
fn what_a_visor_of_ours_registers_is_in_the_dht_and_at_the_services() {
    let home = TempDir::new();
    let mut command = support::program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    command.args(["--services", "--transports", "--addresses"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    let url = discovery.text("url").to_owned();
    let at = url.strip_prefix("http://").unwrap();
    let full = Node::start_with(
        &home,
        "full",
        &["run", "--listen", "127.0.0.1:0", "--full-node"],
    );
    let config = home.join("visor.json");
    let register = json!({
        "transport_discovery": url,
        "service_discovery": url,
        "address_resolver": url,
    });
    std::fs::write(&config, json!({ "register": register }).to_string()).unwrap();
    let peer = full.address();
    let words = [
        "run",
        "--config",
        &config,
        "--listen",
        "127.0.0.1:0",
        "--bootstrap",
        &peer,
    ];
    let mut visor = Node::start_with(&home, "visor", &words);
    visor.knows(1);
    let own: skydht_core::key::PublicKey = visor.text("key").parse().unwrap();
    let link = skydht_discovery::record::Transport::new(own, key(2), "stcpr", "user");
    let (transports, services) = (home.join("tp.json"), home.join("svc.json"));
    let list = String::from_utf8([b"[", &link.to_json()[..], b"]"].concat()).unwrap();
    std::fs::write(&transports, list).unwrap();
    let vpn = json!([{
        "address": format!("{own}:44"), "type": "vpn", "version": "v1", "geo": {"country": "DE"}
    }]);
    std::fs::write(&services, vpn.to_string()).unwrap();
    let words = [
        "register",
        "--transports",
        &transports,
        "--services",
        &services,
        "--address",
        "127.0.0.1:7777",
        "--json",
    ];
    let report = visor.run(&home, &words).exits(0).json();
    assert_eq!(
        (&report["transports"], &report["services"]),
        (&json!(1), &json!(1))
    );
    // A full node finds the services by type.
    let found = until_answer("the service", || {
        let ran = full.run(&home, &["services", "vpn", "--country", "DE", "--json"]);
        (ran.code == Some(0)).then(|| ran.json())
    });
    assert_eq!(
        found["services"][0]["address"],
        format!("{own}:44"),
        "{found:#}"
    );
    assert_eq!(found["complete"], true);
    full.run(&home, &["services", "vpn", "--country", "FR"])
        .exits(4);
    let id = link.id.to_string();
    let found = until_answer("the transport", || {
        let ran = full.run(&home, &["transports", "--id", &id, "--json"]);
        (ran.code == Some(0)).then(|| ran.json())
    });
    assert_eq!(found["transports"][0]["standing"], "one_side");
    let two = key(2).to_string();
    full.run(&home, &["transports", &two]).exits(0);
    // An old visor finds the transports at the service.
    let asker = OldVisor { n: 9, at };
    let call = transport::Call::OfEdge(own);
    until_answer("transports", || {
        match transport::Answer::read(&call, &asker.exchange(&call.write())) {
            Ok(transport::Answer::List(list)) => (list == [link.clone()]).then_some(()),
            _ => None,
        }
    });
    let resolve = Call::Resolve(Carrier::Tcp, own);
    until_answer("the address", || {
        Answer::read(&resolve, &asker.signed(resolve.write())).ok()
    });
    // Withdrawn records are removed from both.
    std::fs::write(&services, "[]").unwrap();
    visor
        .run(&home, &["register", "--services", &services])
        .exits(0);
    until_answer("no service", || {
        let ran = full.run(&home, &["services", "vpn"]);
        (ran.code == Some(4)).then_some(())
    });
    let report = visor.run(&home, &["register", "--json"]).exits(0).json();
    assert_eq!(
        (&report["services"], &report["transports"]),
        (&json!(0), &json!(1))
    );
    // Records of other visors are refused.
    let foreign = json!([{"address": format!("{two}:44"), "type": "vpn", "version": "v1"}]);
    std::fs::write(&services, foreign.to_string()).unwrap();
    let refused = visor.run(&home, &["register", "--services", &services]);
    assert!(refused.exits(2).stderr.contains("another key"));
}

/// A gateway without clear HTTP: who knows its key and a DMSG server registers there, and finds
/// others through it.
#[test]
fn a_gateway_is_asked_over_dmsg() {
    let home = TempDir::new();
    let relay = Node::start_with(&home, "relay", &["dmsg-server", "--listen", "127.0.0.1:0"]);
    let at = format!("{}@{}", relay.text("key"), relay.text("dmsg_server"));
    let [own, on_dmsg] = ["own.key", "dmsg.key"].map(|name| home.join(name));
    support::run(&home, &["keygen", &own]).exits(0);
    support::run(&home, &["keygen", &on_dmsg]).exits(0);
    let words = |on_dmsg| {
        let words = [
            "gateway",
            "--addr",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
        ];
        let keys = ["--key-file", &own, "--dmsg-key-file", on_dmsg];
        [&words[..], &keys, &["--dmsg-server", &at]].concat()
    };
    let same = support::run(&home, &[&words(&own)[..], &["--json"]].concat()).exits(2);
    assert!(
        same.text().contains("the node's own key"),
        "{}",
        same.text()
    );
    let gateway = Node::start_with(&home, "gateway", &words(&on_dmsg));
    let url = gateway.text("gateway_on_dmsg");
    assert!(url.starts_with("dmsg://") && url.ends_with(":80"), "{url}");
    let config = home.join("dmsg.json");
    let dmsg = json!({"dmsg": {"discovery": url, "servers": [at]}});
    std::fs::write(&config, dmsg.to_string()).unwrap();
    let visor = |name| Node::start_with(&home, name, &["--config", &config, "run"]);
    let (alice, bob) = (visor("alice"), visor("bob"));
    for node in [&alice, &bob] {
        until(node, &home, "registered over DMSG", |status| {
            let discovery = &status["dmsg"]["discovery"];
            discovery["reachable"] == true && discovery["url"] == *url
        });
    }
    // It has no peers that could take them yet.
    until(&gateway, &home, "both entries to publish", |status| {
        status["mirror"]["waiting"] == 2
    });
    until_answer("the other visor", || {
        let ping = ["ping", bob.text("key"), "--json"];
        let pong = alice.run(&home, &ping);
        (pong.code == Some(0)).then_some(pong)
    });
}
