//! `skydht bench abuse`: attacks on a real node, and their effect on a well-behaved client.
//!
//! Three processes, all on loopback and for a bounded time: the node, which is this program's
//! `run`; the attacker, which is its hidden `bench attacker`; and this one, in which the
//! well-behaved client runs and which kills both others at the end. The attacker has the lowest
//! priority, since a real one does not use the processors of the machine that it attacks.

mod attacker;
mod list;
mod peer;
mod report;
mod through_relay;
mod victim;
mod wire;
mod witness;

use std::time::{Duration, Instant};

pub(super) use attacker::attack;

use attacker::AttackCounts;
use list::{ATTACKS, Attack, Kind, chosen};
use report::{AttackReport, Goals, LEFT_MIB, Report, Rss};
use victim::Victim;
use witness::Witness;

use super::process::Process;
use super::provenance::command_line;
use crate::cli::{BenchAbuse, Common};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::measure::machine;
use crate::signals::Signals;
use crate::temporary_dir::TemporaryDir;
use crate::{logging, output};

/// Time for an attack to take effect, and for its effect to cease.
const RAMP: Duration = Duration::from_millis(500);
/// Time after a measurement for its last answers, and for the attacker's process to end.
const GRACE: Duration = Duration::from_secs(10);
/// Longest wait for the node's memory to shrink after an attack.
const SETTLE: Duration = Duration::from_secs(20);

/// Runs the selected attacks, each on a fresh node, and prints the report.
pub(super) async fn run(common: &Common, args: &BenchAbuse) -> Result<Exit> {
    if args.list {
        return list(common);
    }
    let filter = common.log.as_deref().unwrap_or("warn");
    logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
    let attacks = chosen(&args.attack)?;
    let optimised = !cfg!(debug_assertions);
    if !optimised {
        output::talk("this is a debug build: build with --release for figures that mean something");
    }
    let mut signals = Signals::new()?;
    let mut reports = Vec::new();
    for attack in &attacks {
        let report = tokio::select! {
            report = one(attack, args.seconds) => report?,
            name = signals.next() => {
                return Err(Failure::new(Code::Local, format_args!("stopped by {name}")));
            }
        };
        if !common.json {
            output::line(report.text())?;
        }
        reports.push(report);
    }
    let survived = reports.iter().all(|report| report.survived);
    let met = reports.iter().all(|report| report.missed.is_empty());
    let report = Report {
        schema: "skydht.bench-abuse/1",
        seconds: args.seconds,
        goals: Goals::ALL,
        attacks: reports,
        machine: machine(),
        version: env!("CARGO_PKG_VERSION"),
        optimised,
        command: command_line(),
    };
    if common.json {
        output::json(&report)?;
    } else {
        output::line(format_args!(
            "{} of {} attacks left all goals met; {}; skydht {}\n{}",
            report
                .attacks
                .iter()
                .filter(|it| it.missed.is_empty())
                .count(),
            report.attacks.len(),
            report.machine,
            report.version,
            report.command
        ))?;
    }
    Ok(match (survived, met) {
        (true, true) => Exit::Ok,
        (true, false) => Exit::Partial,
        (false, _) => Exit::Local,
    })
}

fn list(common: &Common) -> Result<Exit> {
    if common.json {
        let attacks: Vec<_> = ATTACKS
            .iter()
            .map(|attack| serde_json::json!({"name": attack.name, "what": attack.what}))
            .collect();
        output::json(
            &serde_json::json!({"schema": "skydht.bench-abuse-list/1", "attacks": attacks}),
        )?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<_> = ATTACKS
        .iter()
        .map(|attack| vec![attack.name.to_owned(), attack.what.to_owned()])
        .collect();
    output::line(output::table(&["NAME", "WHAT"], &rows))?;
    Ok(Exit::Ok)
}

/// Runs one attack on a fresh node.
async fn one(attack: &Attack, seconds: u16) -> Result<AttackReport> {
    let dir = TemporaryDir::new("abuse")?;
    let mut victim = Victim::start(dir.path(), attack.kind.is_of_relay()).await?;
    if needs_items(attack.kind) && peer::fill((victim.key, victim.peers)).await? == 0 {
        return Err(Failure::new(Code::Local, "the attacked node took no items"));
    }
    let witness = Witness::start(&victim).await?;
    let memory = victim.memory();
    let duration = Duration::from_secs(seconds.into());
    let before = witness.measure(duration.min(Duration::from_secs(3))).await;
    let rss_before = memory.resident();

    let mut attacker = start_attacker(&dir, &victim, attack, RAMP + duration)?;
    output::talk(format_args!("{}: under attack", attack.name));
    tokio::time::sleep(RAMP).await;
    let during = witness.measure(duration).await;
    let counts = attacker.first_line(GRACE).await;
    let counts: Option<AttackCounts> = counts.and_then(|line| serde_json::from_str(&line).ok());
    drop(attacker);
    tokio::time::sleep(RAMP).await;
    let after = witness.measure(duration.min(Duration::from_secs(3))).await;
    let rss = Rss {
        before: rss_before,
        peak: memory.peak(),
        after: memory
            .settle(rss_before + LEFT_MIB, Instant::now() + SETTLE)
            .await,
    };
    let mut report = AttackReport::new(attack, [before, during, after], rss);
    report.survived = victim.is_alive();
    report.attacker = counts;
    report.judge();
    witness.stop().await;
    Ok(report)
}

fn start_attacker(
    dir: &TemporaryDir,
    victim: &Victim,
    attack: &Attack,
    duration: Duration,
) -> Result<Process> {
    let seconds = duration.as_secs_f64().ceil();
    let args = [
        "bench",
        "attacker",
        attack.name,
        &victim.key.to_string(),
        &victim.peers.to_string(),
        &victim.api.to_string(),
        &seconds.to_string(),
    ];
    Process::start_behind_others(dir.path(), &args)
}

/// Returns whether the attack reads items, which must be stored before.
fn needs_items(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NeverRead { .. } | Kind::DeafSocket { .. } | Kind::GetItems { .. }
    )
}
