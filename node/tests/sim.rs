//! Scenarios run by the built program.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Ran, TempDir, run};

/// A small network that takes well under a second.
const SMALL: &str = r#"
about = "small"
[population]
nodes = 8
[work]
items = 3
[phases]
join = "5s"
settle = "20s"
publish = "5s"
verify = "10s"
"#;

/// Runs `skydht sim` on a scenario file with this text.
fn sim(home: &TempDir, scenario: &str, more: &[&str]) -> Ran {
    let file = home.join("small.toml");
    fs::write(&file, scenario).unwrap();
    run(home, &[&["sim", "--scenario", &file], more].concat())
}

fn text(dir: &str, name: &str) -> String {
    fs::read_to_string(Path::new(dir).join(name)).unwrap()
}

#[test]
fn the_list_says_what_there_is() {
    let home = TempDir::new();
    let list = run(&home, &["sim", "--list", "--json"]).exits(0).json();
    assert_eq!(list["schema"], "skydht.sim_list/1");
    let scenarios = list["scenarios"].as_array().unwrap();
    assert!(scenarios.iter().any(|scenario| scenario["name"] == "swarm"));
    assert!(
        scenarios
            .iter()
            .all(|scenario| scenario["about"] != "" && scenario["nodes"].as_u64() > Some(1))
    );
    let table = run(&home, &["sim", "--list"]).exits(0);
    assert!(table.text().starts_with("SCENARIO "), "{}", table.text());
}

#[test]
fn the_same_seed_gives_the_same_digest_and_files_and_repro_sh_does_it_again() {
    let home = TempDir::new();
    let (a, b) = (home.join("a"), home.join("b"));
    let first = sim(&home, SMALL, &["--seed", "7", "--out", &a, "--json"])
        .exits(0)
        .json();
    assert_eq!(first["schema"], "skydht.sim/1");
    assert_eq!(
        (&first["nodes"], &first["seed"]),
        (&Value::from(8), &Value::from("7"))
    );
    assert_eq!(first["figures"]["reads_wrong"]["value"], 0);
    assert!(first["coverage"]["calls_answered"].as_u64() > Some(10));
    let second = sim(&home, SMALL, &["--seed", "7", "--out", &b]).exits(0);
    let digest = first["digest"].as_str().unwrap();
    assert!(
        second.text().contains(&format!("digest {digest}\n")),
        "{}",
        second.text()
    );
    assert!(second.text().contains("rerun: skydht sim --scenario "));
    let names = |dir: &str| {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&a), names(&b));
    assert!(names(&a).iter().any(|name| name.ends_with(".svg")));
    for name in names(&a) {
        assert_eq!(text(&a, &name), text(&b, &name), "{name}");
    }
    let other = sim(&home, SMALL, &["--seed", "8", "--json"])
        .exits(0)
        .json();
    assert_ne!(other["digest"], digest);

    let program = Path::new(env!("CARGO_BIN_EXE_skydht"));
    let again = Command::new(Path::new(&a).join("repro.sh"))
        .env("PATH", program.parent().unwrap())
        .output()
        .unwrap();
    let again = String::from_utf8(again.stdout).unwrap();
    assert!(again.contains(&format!("digest {digest}\n")), "{again}");

    let same = run(&home, &["sim", "--compare", &a, &b, "--json"])
        .exits(0)
        .json();
    assert_eq!(same["schema"], "skydht.sim_compare/1");
    assert_eq!(same["same_digest"], true);
    let shown = run(&home, &["sim", "--compare", &a, &format!("{b}/run.json")]).exits(0);
    assert!(shown.text().contains("equal digests"), "{}", shown.text());
    run(&home, &["sim", "--compare", &a, &home.join("missing")]).exits(1);
}

#[test]
fn a_sweep_runs_every_combination_whatever_the_number_of_threads() {
    let home = TempDir::new();
    let out = home.join("out");
    let sweep = ["--sweep", "dead=0,0.25", "--model", "ours,upstream"];
    let more = ["--seeds", "2", "--out", &out, "--jobs", "3", "--json"];
    let ran = sim(&home, SMALL, &[&sweep[..], &more].concat()).exits(0);
    let result = ran.json();
    assert_eq!(result["schema"], "skydht.sim_runs/1");
    assert_eq!(result["failed"], 0);
    let runs = result["runs"].as_array().unwrap();
    let order: Vec<String> = runs
        .iter()
        .map(|run| {
            let of = |key: &str| run["parameters"][key].as_str().unwrap();
            format!(
                "{} {} {}",
                of("dead"),
                of("model"),
                run["seed"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        order,
        [
            "0 ours 1",
            "0 ours 2",
            "0 upstream 1",
            "0 upstream 2",
            "0.25 ours 1",
            "0.25 ours 2",
            "0.25 upstream 1",
            "0.25 upstream 2"
        ]
    );
    let summary = text(&out, "summary.csv");
    assert_eq!(summary.lines().count(), 9);
    let chart = text(&out, "messages_over_dead.svg");
    assert!(chart.contains(">ours<") && chart.contains(">upstream<"));
    let alone = sim(
        &home,
        SMALL,
        &[&sweep[..], &["--seeds", "2", "--jobs", "1", "--json"]].concat(),
    );
    assert_eq!(alone.exits(0).json(), result);

    // Repeats one of the runs by the command in its report.
    let command = runs[5]["command"].as_str().unwrap();
    assert!(
        command.ends_with("--set dead=0.25 --set model=ours --seed 2"),
        "{command}"
    );
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let one = run(&home, &[&words[..], &["--json"]].concat())
        .exits(0)
        .json();
    assert_eq!(one["digest"], runs[5]["digest"]);
    let table = sim(&home, SMALL, &["--seeds", "2", "--nodes", "6"]).exits(0);
    assert!(
        table.text().starts_with("MEDIAN OVER SEEDS") && table.text().contains("2 runs, 0 failed"),
        "{}",
        table.text()
    );
}

#[test]
fn what_does_not_hold_fails_with_1_and_the_command_that_shows_it() {
    let home = TempDir::new();
    let impossible = format!("{SMALL}\n[expect.at_most]\nmessages = 1\n");
    let ran = sim(&home, &impossible, &[]).exits(1);
    assert!(ran.text().contains("\nVIOLATION "), "{}", ran.text());
    assert!(ran.text().contains("messages is "), "{}", ran.text());
    assert!(ran.stderr.contains("FAILED: 1 of 1 runs"), "{}", ran.stderr);
    let many = sim(
        &home,
        &impossible,
        &["--seed", "5", "--seeds", "2", "--json"],
    )
    .exits(1);
    assert_eq!(many.json()["failed"], 2);
    assert!(many.stderr.contains("seed 6: "), "{}", many.stderr);
    assert!(
        many.stderr.contains("rerun: skydht sim "),
        "{}",
        many.stderr
    );

    let rare = format!("{SMALL}\n[coverage]\nclock_jumped = 1\n");
    sim(&home, &rare, &[]).exits(0);
    let ran = sim(&home, &rare, &["--coverage"]).exits(1);
    assert!(
        ran.stderr
            .contains("clock_jumped happened 0 times, wanted 1"),
        "{}",
        ran.stderr
    );
}

#[test]
fn wrong_words_are_refused_before_anything_runs() {
    let home = TempDir::new();
    for (more, part) in [
        (
            &["--set", "nods=3"][..],
            "no scenario has a setting \"nods\"",
        ),
        (&["--set", "nodes"], "write KEY=VALUE"),
        (&["--set", "population.nodes=1"], "population.nodes"),
        (&["--sweep", "dead=0,0"], "twice"),
        (&["--sweep", "dead=0,x"], "small"),
        (&["--model", "theirs"], "ours, upstream, mixed"),
        (&["--seeds", "0"], "--seeds"),
        (&["--seeds", "99999999"], "100000 runs"),
        (
            &["--sweep", "nodes=4,5", "--sweep", "nodes=6"],
            "swept twice",
        ),
    ] {
        let ran = sim(&home, SMALL, more).exits(2);
        assert!(ran.stderr.contains(part), "{more:?}: {}", ran.stderr);
    }
    let ran = run(&home, &["sim", "--scenario", "no-such"]).exits(2);
    assert!(ran.stderr.contains("swarm"), "{}", ran.stderr);
    let ran = run(&home, &["sim", "--json"]).exits(2);
    assert_eq!(ran.json()["code"], "usage");
}
