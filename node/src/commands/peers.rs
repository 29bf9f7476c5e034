//! `skydht peers`: lists the routing table.

use std::time::Duration;

use crate::access::{Access, Purpose};
use crate::cli::{Common, Peers};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::{self, Human, count};
use crate::report::{BucketState, PeersReport};

/// Prints the peers, or how full each bucket is.
pub(crate) async fn run(common: &Common, args: Peers) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Look).await?;
    let result = access.peers().await;
    access.close().await;
    let report = result?;
    if common.json {
        output::json(&report)?;
        return Ok(Exit::Ok);
    }
    if args.buckets {
        buckets(&report)?;
    } else {
        peers(&report)?;
    }
    output::talk(format_args!(
        "{} peers · network ≈ {}",
        report.peers.len(),
        count(report.network_size)
    ));
    Ok(Exit::Ok)
}

fn peers(report: &PeersReport) -> Result<()> {
    let ago = |ms: f64| Human(Duration::from_secs_f64(ms.max(0.0) / 1e3)).to_string();
    let rows: Vec<Vec<String>> = report
        .peers
        .iter()
        .map(|peer| {
            vec![
                peer.bucket.to_string(),
                peer.key.to_string(),
                match peer.proven {
                    true => ago(peer.last_seen_ms),
                    false => format!("{}, silent", ago(peer.last_seen_ms)),
                },
                peer.rtt_ms.map_or("-".into(), |rtt| format!("{rtt:.1} ms")),
                match peer.skydht {
                    Some(true) => "skydht",
                    Some(false) => "go",
                    None => "-",
                }
                .into(),
                peer.addr.clone().unwrap_or_else(|| "-".into()),
            ]
        })
        .collect();
    output::line(output::table(
        &["BUCKET", "PK", "SEEN", "RTT", "KIND", "ADDRESS"],
        &rows,
    ))
}

fn buckets(report: &PeersReport) -> Result<()> {
    let rows: Vec<Vec<String>> = report
        .buckets
        .iter()
        .map(|bucket| {
            vec![
                bucket.bucket.to_string(),
                bucket.peers.to_string(),
                bucket.expected.to_string(),
                bucket.replacements.to_string(),
                match bucket.state {
                    BucketState::Good => "ok",
                    BucketState::Low => "LOW",
                    BucketState::Irrelevant => "",
                }
                .into(),
            ]
        })
        .collect();
    output::line(output::table(
        &["BUCKET", "PEERS", "EXPECTED", "SPARE", "STATE"],
        &rows,
    ))
}
