//! Checks imports: no cycle of modules in any crate, the core's layers import downwards only, and
//! crates depend only on those in README's picture. See `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every crate with the workspace crates that it may depend on.
const CRATES: [(&str, &[&str]); 9] = [
    ("core", &[]),
    ("runtime", &[]),
    ("dmsg", &["core", "runtime"]),
    ("driver", &["core", "dmsg", "runtime"]),
    ("discovery", &["core", "dmsg", "runtime"]),
    ("runtime-tokio", &["core", "driver", "runtime"]),
    ("runtime-async-std", &["core", "driver", "runtime"]),
    ("sim", &["core", "discovery", "dmsg", "driver", "runtime"]),
    (
        "node",
        &[
            "core",
            "discovery",
            "dmsg",
            "driver",
            "runtime",
            "runtime-tokio",
            "sim",
        ],
    ),
];

/// Layers of the core, from the bottom up: each imports only those before it.
const CORE: [&[&str]; 11] = [
    &["address", "cap", "encoding", "id", "time"],
    &["key", "random"],
    &["item"],
    &["large", "mark", "record"],
    &["sync"],
    &["wire"],
    &["routing"],
    &["store", "lookup"],
    &["node"],
    &["journal"],
    &["debug"],
];

/// Layers of the node, from the bottom up, below `node/mod.rs`.
const NODE: [&[&str]; 12] = [
    &[
        "ids",
        "limits",
        "counters",
        "lru_map",
        "refusal_text",
        "verify",
    ],
    &["config", "input", "outcome", "output", "timers"],
    &["measurements"],
    &["context"],
    &["loading", "rpc"],
    &["peers"],
    &["items"],
    &["base"],
    &["inbound", "query"],
    &["replication"],
    &["upkeep"],
    &["operations"],
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the text of each module of a crate by its path, without comments and tests.
fn modules(crate_dir: &str) -> BTreeMap<String, String> {
    fn read(dir: &Path, path: &str, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name().into_string().unwrap();
            let name = file.strip_suffix(".rs").unwrap_or(&file);
            let full = match (path, name) {
                (_, "tests") => continue,
                (path, "mod" | "lib" | "main") => path.to_owned(),
                ("", name) => name.to_owned(),
                (path, name) => format!("{path}::{name}"),
            };
            if entry.path().is_dir() {
                read(&entry.path(), &full, into);
            } else if file.ends_with(".rs") {
                let text = fs::read_to_string(entry.path()).unwrap();
                into.entry(full).or_default().push_str(&code(&text));
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(crate_dir)
        .join("src");
    let mut found = BTreeMap::new();
    read(&src, "", &mut found);
    found
}

fn code(text: &str) -> String {
    // A test module in a file of its own is only a declaration here.
    let text = text.replace("#[cfg(test)]\nmod tests;", "");
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the imports of each module. A parent's re-exports with `pub use` do not count, and in
/// inner blocks only absolute paths count.
fn imports(modules: &BTreeMap<String, String>) -> Graph {
    let graph = modules.iter().map(|(module, text)| {
        let mut found = BTreeSet::new();
        let mut rest = text.as_str();
        while let Some((line, after)) = rest.split_once('\n') {
            let statement = line.trim_start();
            let private = statement.strip_prefix("pub(crate) ").unwrap_or(statement);
            if let Some(start) = private.strip_prefix("use ") {
                let at = text.len() - rest.len() + line.len() - start.len();
                let path = text[at..].split(';').next().unwrap();
                if statement == line || path.starts_with("crate::") {
                    names(&absolute(path, module), modules, &mut found);
                }
            }
            rest = after;
        }
        found.remove(module);
        (module.clone(), found)
    });
    graph.collect()
}

/// Converts a path in a `use` of `module` to one from the crate's root.
fn absolute(path: &str, module: &str) -> String {
    if let Some(rest) = path.strip_prefix("crate::") {
        return rest.to_owned();
    }
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut rest = path.strip_prefix("self::").unwrap_or(path);
    while let Some(shorter) = rest.strip_prefix("super::") {
        base.pop();
        rest = shorter;
    }
    base.push(rest);
    base.join("::")
}

/// Collects the modules named by a path, with all branches of its braces.
fn names(path: &str, modules: &BTreeMap<String, String>, found: &mut BTreeSet<String>) {
    let path: String = path.chars().filter(|c| !c.is_whitespace()).collect();
    let end = path.find(|c: char| !(c.is_alphanumeric() || "_:{},*".contains(c)));
    let path = &path[..end.unwrap_or(path.len())];
    let (stem, branches) = path.split_once('{').unwrap_or((path, ""));
    let stem: Vec<&str> = stem.split("::").filter(|part| !part.is_empty()).collect();
    for branch in branches.split(',') {
        let mut parts = stem.clone();
        parts.extend(branch.split("::").map(|part| part.trim_matches(['{', '}'])));
        parts.retain(|part| !part.is_empty());
        // The last parts of the path name items in a module.
        while !parts.is_empty() && !modules.contains_key(&parts.join("::")) {
            parts.pop();
        }
        if !parts.is_empty() {
            found.insert(parts.join("::"));
        }
    }
}

/// Returns the groups of modules that import each other, directly or indirectly.
fn rings(graph: &Graph) -> Vec<Vec<String>> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            let targets = graph.get(module).into_iter().flatten();
            next.extend(targets.filter(|target| seen.insert((*target).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|module| (module, reach(module))).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for (module, targets) in &reached {
        let ring = targets.iter().filter(|target| {
            let back = reached.get(target);
            back.is_some_and(|back| back.contains(*module))
        });
        let ring: Vec<String> = ring.cloned().collect();
        if !ring.is_empty() && !found.contains(&ring) {
            found.push(ring);
        }
    }
    found
}

/// Returns imports between children of `parent` that go upwards, or to a child in no layer.
fn upward(graph: &Graph, parent: &str, layers: &[&[&str]]) -> Vec<String> {
    let child = |module: &str| {
        let rest = match parent {
            "" => module,
            parent => module.strip_prefix(parent)?.strip_prefix("::")?,
        };
        rest.split("::")
            .next()
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
    };
    let layer = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let mut found = Vec::new();
    for (module, targets) in graph {
        let Some(from) = child(module) else { continue };
        for to in targets.iter().filter_map(|target| child(target)) {
            let allowed = match (layer(&from), layer(&to)) {
                (Some(from), Some(to)) => to <= from,
                // A module in no layer may use all of them, and only the parent may use it.
                (None, to) => to.is_some(),
                (Some(_), None) => false,
            };
            if from != to && !allowed {
                found.push(format!("{module} imports {to}"));
            }
        }
    }
    found
}

#[test]
fn no_crate_has_a_ring_of_modules() {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (name, _) in CRATES {
        let graph = imports(&modules(name));
        found.extend(
            rings(&graph)
                .into_iter()
                .map(|ring| (name.to_owned(), ring)),
        );
    }
    assert!(
        found.is_empty(),
        "modules that import each other in a ring, each with its crate: {found:?}; move what both \
         need to a module below them"
    );
}

#[test]
fn the_layers_of_the_core_import_downwards() {
    let graph = imports(&modules("core"));
    assert_eq!(upward(&graph, "", &CORE), [""; 0]);
    assert_eq!(upward(&graph, "node", &NODE), [""; 0]);
}

#[test]
fn crates_depend_on_what_the_picture_shows() {
    for (name, allowed) in CRATES {
        let path = format!("{}/../{name}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let Some(dependencies) = manifest["dependencies"].as_table() else {
            continue;
        };
        for dependency in dependencies.keys() {
            let Some(ours) = dependency.strip_prefix("skydht-") else {
                continue;
            };
            let ours = match ours {
                "tokio" | "async-std" => format!("runtime-{ours}"),
                ours => ours.to_owned(),
            };
            assert!(allowed.contains(&ours.as_str()), "{name} depends on {ours}");
        }
    }
}

#[test]
fn the_check_finds_a_ring_and_an_arrow_upwards() {
    let texts = [
        ("", "mod ground;\nmod top;\nuse top::Top;\n"),
        ("ground", "\nuse crate::middle::{self, inner::Thing};\n"),
        ("middle", "\nuse super::other::A;\n"),
        ("middle::inner", "fn f() {\n    use crate::ground::g;\n}\n"),
        (
            "other",
            "\n// use crate::top::Top;\npub use crate::ground::G;\n",
        ),
        (
            "top",
            "\nuse crate::middle::M;\n#[cfg(test)]\nmod tests { use crate::ground::G; }\n",
        ),
    ];
    let modules: BTreeMap<String, String> = texts
        .iter()
        .map(|(name, text)| ((*name).to_owned(), code(text)))
        .collect();
    let graph = imports(&modules);
    let ring = ["ground", "middle::inner"].map(str::to_owned).to_vec();
    assert_eq!(rings(&graph), [ring]);
    let layers: [&[&str]; 3] = [&["ground", "other"], &["middle"], &["top"]];
    assert_eq!(
        upward(&graph, "", &layers),
        ["ground imports middle", "ground imports middle"]
    );
    assert_eq!(graph["top"], BTreeSet::from(["middle".to_owned()]));
}
