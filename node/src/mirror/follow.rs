//! Asks the mirrored services for changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::time::Mono;
use skydht_discovery::mirror::{Ask, Followed, Follower};
use skydht_discovery::publish::{Content, RecordId};
use skydht_discovery::{BaseUrl, Exchange};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::MirrorSettings;
use crate::http::Exchanger;
use crate::report::MirrorSourceReport;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The mirrored services with their state.
pub(super) struct Sources {
    begun: Instant,
    sources: Vec<Source>,
}

struct Source {
    url: BaseUrl,
    follower: Mutex<Follower>,
}

impl Source {
    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    pub(super) fn new(settings: &MirrorSettings) -> Self {
        let urls = [
            (Followed::Entries, &settings.dmsg),
            (Followed::Transports, &settings.transports),
            (Followed::Services, &settings.services),
        ];
        let source = |(followed, url): (Followed, &Option<BaseUrl>)| {
            let follower = Follower::new(followed, settings.interval, Mono(0));
            Some(Source {
                url: url.clone()?,
                follower: Mutex::new(follower),
            })
        };
        Self {
            begun: Instant::now(),
            sources: urls.into_iter().filter_map(source).collect(),
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn reports(&self) -> Vec<MirrorSourceReport> {
        let report = |source: &Source| {
            let follower = source.follower();
            MirrorSourceReport::new(follower.followed(), &source.url, follower.stats())
        };
        self.sources.iter().map(report).collect()
    }
}

/// Follows the services and reports changes to `changed`, until it is dropped.
pub(super) async fn run(
    sources: &Sources,
    exchanger: Exchanger,
    mut changed: impl FnMut(&RecordId, Content),
) {
    let exchanger = Arc::new(exchanger);
    let mut asking = JoinSet::new();
    loop {
        let mut next: Option<Mono> = None;
        for (index, source) in sources.sources.iter().enumerate() {
            let mut follower = source.follower();
            while let Some(Ask { id, mut request }) = follower.poll_output(sources.now()) {
                match source.url.join(request.uri()) {
                    Ok(uri) => *request.uri_mut() = uri,
                    Err(error) => {
                        follower.handle(sources.now(), id, Err(error.to_string()));
                        continue;
                    }
                }
                let exchanger = Arc::clone(&exchanger);
                asking.spawn(async move {
                    let result = match timeout(TIMEOUT, exchanger.exchange(request)).await {
                        Ok(result) => result.map_err(|error| error.to_string()),
                        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
                    };
                    (index, id, result)
                });
            }
            let due = follower.next_deadline();
            next = next.into_iter().chain(due).min();
        }
        let due = async {
            match next {
                Some(due) => tokio::time::sleep_until(sources.begun + due.since(Mono(0))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = asking.join_next() => {
                if let Ok((index, id, result)) = ended {
                    answered(sources, index, id, result, &mut changed);
                }
            }
            () = due => {}
        }
    }
}

fn answered(
    sources: &Sources,
    index: usize,
    id: u64,
    result: Result<skydht_discovery::web::Response, String>,
    changed: &mut impl FnMut(&RecordId, Content),
) {
    let mut keys = None;
    {
        let source = &sources.sources[index];
        let mut follower = source.follower();
        let rounds = follower.stats().failed_rounds;
        follower.handle(sources.now(), id, result);
        let stats = follower.stats();
        if stats.failed_rounds > rounds
            && let Some(error) = &stats.error
        {
            tracing::warn!("{} cannot be mirrored now: {error}", source.url);
        }
        for (id, content) in follower.take_changes() {
            changed(&id, content);
        }
        if follower.followed() == Followed::Entries {
            keys = Some(follower.keys().clone());
        }
    }
    // A transport discovery without a list of all transports is asked for each visor known from the
    // other services.
    for source in &sources.sources {
        let mut follower = source.follower();
        if let Some(keys) = &keys
            && follower.followed() == Followed::Transports
            && *follower.keys() != *keys
        {
            follower.set_edges(keys.clone());
        }
    }
}
