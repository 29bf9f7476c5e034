//! Copies a small set of small inputs that together reach most edges that a corpus reaches:
//! `cut_corpus CONTROL FILES INTO`, where CONTROL is the file that libFuzzer's
//! `-merge_control_file` wrote after `-set_cover_merge=1`.
//! Uses a greedy set cover of at most FILES inputs. See `README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Failure = Box<dyn std::error::Error>;

/// An input: its path, its size and the edges that it reaches.
#[derive(Default)]
struct Input {
    path: String,
    size: usize,
    edges: BTreeSet<u32>,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [control, files, into] = &arguments[..] else {
        return Err("usage: cut_corpus CONTROL FILES INTO".into());
    };
    let mut inputs = read(&fs::read_to_string(control)?)?;
    let mut left: BTreeSet<u32> = inputs.iter().flat_map(|i| &i.edges).copied().collect();
    let all = left.len();
    fs::create_dir_all(into)?;
    for _ in 0..files.parse()? {
        // New edges in relation to the size. A constant accounts for the cost of each file.
        let gain = |input: &Input| {
            let new = input.edges.intersection(&left).count();
            (new * 100_000) / (input.size + 2_048)
        };
        let Some(best) = (0..inputs.len()).max_by_key(|i| gain(&inputs[*i])) else {
            break;
        };
        let input = inputs.swap_remove(best);
        if input.edges.is_disjoint(&left) {
            break;
        }
        left.retain(|edge| !input.edges.contains(edge));
        let path = Path::new(&input.path);
        let name = path.file_name().ok_or("a path without a name")?;
        fs::copy(path, Path::new(into).join(name))?;
    }
    println!("{} of {all} edges", all - left.len());
    Ok(())
}

/// Parses the file: a count, a count, that many paths; then `STARTED number size` and `FT number
/// feature…` for each input.
fn read(control: &str) -> Result<Vec<Input>, Failure> {
    let mut lines = control.lines();
    let count: usize = lines.next().ok_or("empty")?.parse()?;
    lines.next();
    let mut inputs: BTreeMap<usize, Input> = BTreeMap::new();
    for (number, path) in lines.by_ref().take(count).enumerate() {
        let path = path.to_string();
        inputs.insert(
            number,
            Input {
                path,
                ..Input::default()
            },
        );
    }
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let (kind, number) = (words.next(), words.next().and_then(|n| n.parse().ok()));
        let Some(input) = number.and_then(|number: usize| inputs.get_mut(&number)) else {
            continue;
        };
        match kind {
            Some("STARTED") => input.size = words.next().ok_or("no size")?.parse()?,
            Some("FT") => input.edges = words.map(str::parse).collect::<Result<_, _>>()?,
            _ => {}
        }
    }
    Ok(inputs.into_values().collect())
}
