//! `skydht diff`: compares the records of a discovery service with those in the DHT.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use skydht_core::key::PublicKey;
use skydht_core::time::Mono;
use skydht_discovery::Exchange as _;
use skydht_discovery::mirror::{Ask, Difference, Followed, Follower, compare};
use skydht_discovery::publish::{Content, RecordId};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::large::list_if_any;
use crate::access::{Access, Purpose};
use crate::api::schema::{GetBody, ListBody};
use crate::cli::{Common, DiffArgs, DiffSalt, Reach};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::http::{Exchanger, ServiceDialer};
use crate::output;
use crate::report::GetReport;

/// Longest wait for the service's records.
const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum number of concurrent reads from the DHT.
const CONCURRENT: usize = 8;
/// Items per page.
const PAGE: u64 = 256;

/// A record that differs.
#[derive(Serialize)]
struct DifferingRecord {
    key: PublicKey,
    /// `only_there`, `only_here`, `older_here`, `older_there` or `differs`; here is the DHT.
    what: &'static str,
}

/// The report.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    salt: String,
    http: String,
    /// Number of records of the service.
    there: usize,
    same: usize,
    differences: Vec<DifferingRecord>,
}

/// Compares all records and prints the differences.
pub(crate) async fn run(common: &Common, args: DiffArgs) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running.clone()), Purpose::Look).await?;
    let salt = match args.salt {
        DiffSalt::Dmsg => "dmsg",
        DiffSalt::Tp => "tp",
        DiffSalt::Svc => "svc",
    };
    let there = timeout(args.timeout.unwrap_or(PATIENCE), all_of(&args));
    let there = there.await.map_err(|_| {
        let text = format!("{} has not said in time what it has", args.http);
        Failure::new(Code::Timeout, text).hint("give it more with --timeout")
    })??;
    output::talk(format_args!("{} has {} records", args.http, there.len()));
    let compared = there.iter().map(|(id, content)| async {
        let here = value(&access, id).await?;
        let what = match here {
            None => Some("only_there"),
            Some(here) => match compare(id, content.bytes(), &here) {
                Difference::Same => None,
                Difference::OlderInDht => Some("older_here"),
                Difference::OlderAtService => Some("older_there"),
                Difference::Differs => Some("differs"),
            },
        };
        Ok::<_, Box<Failure>>((id.owner, what))
    });
    let mut compared = stream::iter(compared).buffer_unordered(CONCURRENT);
    let (mut same, mut lines) = (0, BTreeMap::new());
    while let Some(result) = compared.next().await {
        match result? {
            (_, None) => same += 1,
            (key, Some(what)) => drop(lines.insert(key, what)),
        }
    }
    for key in owners_stored(&access, salt).await? {
        if !there.keys().any(|id| id.owner == key) {
            lines.insert(key, "only_here");
        }
    }
    let differences = lines
        .into_iter()
        .map(|(key, what)| DifferingRecord { key, what });
    let report = Report {
        schema: "skydht.diff/1",
        salt: salt.into(),
        http: args.http.to_string(),
        there: there.len(),
        same,
        differences: differences.collect(),
    };
    if common.json {
        output::json(&report)?;
    } else {
        for line in &report.differences {
            output::line(format_args!("{} {}", line.what, line.key))?;
        }
        output::talk(format_args!(
            "{} the same, {} not",
            report.same,
            report.differences.len()
        ));
    }
    Ok(match report.differences.is_empty() {
        true => Exit::Ok,
        false => Exit::Partial,
    })
}

/// Reads all records of a service.
async fn all_of(args: &DiffArgs) -> Result<BTreeMap<RecordId, Content>> {
    let followed = match args.salt {
        DiffSalt::Dmsg => Followed::Entries,
        DiffSalt::Tp => Followed::Transports,
        DiffSalt::Svc => Followed::Services,
    };
    let begun = Instant::now();
    let now = || Mono(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut follower = Follower::new(followed, Duration::from_secs(3_600), now());
    let exchanger = Arc::new(Exchanger {
        clock: Clock::default(),
        dialer: ServiceDialer::default(),
    });
    let mut asking = JoinSet::new();
    loop {
        while let Some(Ask { id, mut request }) = follower.poll_output(now()) {
            let uri = args.http.join(request.uri());
            *request.uri_mut() = uri.map_err(|error| Failure::new(Code::Usage, error))?;
            let exchanger = Arc::clone(&exchanger);
            asking.spawn(async move { (id, exchanger.exchange(request).await) });
        }
        let stats = follower.stats();
        if let Some(error) = stats.error {
            let text = format!("{} does not say what it has: {error}", args.http);
            return Err(Failure::new(Code::Unreachable, text));
        }
        if stats.rounds > 0 {
            return Ok(follower.take_changes().into_iter().collect());
        }
        let next = follower.next_deadline();
        let due = async {
            match next {
                Some(due) => sleep_until(begun + due.since(Mono(0))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(Ok((id, result))) = asking.join_next() => {
                follower.handle(now(), id, result.map_err(|error| error.to_string()));
            }
            () = due => {}
        }
    }
}

/// Reads a record from the DHT.
async fn value(access: &Access, id: &RecordId) -> Result<Option<Vec<u8>>> {
    let salt = id.salt.to_string();
    if salt == "tp" {
        return list_if_any(access, id.owner, &id.salt).await;
    }
    let body = GetBody {
        owner: id.owner.to_string(),
        salt,
        policy: None,
        unknown_mirrors: false,
        trace: false,
        timeout_ms: None,
    };
    match access.get(body).await {
        Ok(report) => Ok(Some(GetReport::bytes(&report))),
        Err(failure) if matches!(failure.code, Code::NotFound | Code::Deleted) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Returns the owners of the unmirrored records that the node stores under a salt.
async fn owners_stored(access: &Access, salt: &str) -> Result<Vec<PublicKey>> {
    let mut body = ListBody {
        salt: Some(salt.to_owned()),
        pk: None,
        prefix: None,
        from: None,
        limit: PAGE,
        values: false,
    };
    let mut owners = Vec::new();
    loop {
        let page = access.list(&body).await?;
        let own = page.items.iter().filter(|it| it.owner && !it.deleted);
        owners.extend(own.map(|it| it.pk));
        match page.next {
            Some(next) => body.from = Some(next),
            None => return Ok(owners),
        }
    }
}
