//! One stream through the relay: the request on, the response back, then bytes (specification of
//! DMSG, §9).

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::pace::Pace;
use super::relayed::{Flow, Refused};
use super::ways::Way;
use super::{Shared, copy};
use crate::dmsg_session::DmsgSession;
use crate::endpoint::{self, Opening, StreamError};
use crate::object::{ErrorCode, SignedObject, StreamResponse, VerifiedRequest};
use crate::session::{Incoming, Stream};
use crate::shares::source;

/// Serves the streams that a client opens until its session ends.
pub(super) fn spawn<R: Runtime>(
    shared: &Arc<Shared<R>>,
    session: Arc<DmsgSession>,
    id: u64,
    mut incoming: Incoming,
    ip: IpAddr,
) {
    let serving = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        let (config, now) = (&serving.config, || serving.runtime.clocks().monotonic);
        let mut pace = Pace::new(config.streams_per_second, config.stream_burst, now());
        while let Some(stream) = incoming.next().await {
            let wait = pace.take(now());
            if !wait.is_zero() {
                serving.counters.paced.count();
                serving.runtime.sleep(wait).await;
            }
            let (relaying, session) = (Arc::clone(&serving), Arc::clone(&session));
            serving.runtime.spawn(Box::pin(async move {
                let source = Source {
                    shared: &relaying,
                    session: &session,
                    id,
                    ip,
                };
                source.serve(stream).await;
            }));
        }
    }));
}

/// Links over which one request is tried.
const MOST_LINKS: usize = 16;

/// What a key counts for that signed a request which was passed on. Sessions' numbers are far
/// below.
fn number_of(key: &PublicKey) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key.as_bytes()[1..9]);
    u64::from_be_bytes(bytes) | 1 << 63
}

/// Who opened a stream.
struct Source<'a, R: Runtime> {
    shared: &'a Shared<R>,
    session: &'a DmsgSession,
    /// The session's in the table.
    id: u64,
    ip: IpAddr,
}

/// A request that leads to another session.
struct Asked {
    stream: Stream,
    object: SignedObject,
    request: VerifiedRequest,
    is_passed_on: bool,
    /// The sessions that may lead there, with their numbers in the table: one of the
    /// destination's own, or links with other servers.
    ways: Vec<(u64, Arc<DmsgSession>)>,
    over_links: bool,
}

/// What became of one way.
enum Tried {
    /// The destination's stream.
    Open(Stream),
    /// The destination refused, and the source has the refusal.
    Refused,
    /// It does not lead there.
    Failed,
}

/// Whatever goes wrong, the source's stream is dropped, hence reset at once: we cannot sign a
/// refusal in the destination's name.
impl<R: Runtime> Source<'_, R> {
    async fn serve(&self, stream: Stream) {
        let Some(mut asked) = self.read_request(stream).await else {
            return;
        };
        let (shared, counters) = (self.shared, &self.shared.counters);
        let source_id = match asked.is_passed_on {
            true => number_of(&asked.request.source.key),
            false => self.id,
        };
        for (id, way) in std::mem::take(&mut asked.ways) {
            let place = shared.relayed.begin(Flow {
                address: source(self.ip),
                source: source_id,
                destination: id,
                is_passed_on: asked.is_passed_on,
            });
            let mut place = match place {
                Ok(place) => place,
                Err(Refused::Share) => return counters.over_share.count(),
                Err(Refused::Capacity) => return counters.over_capacity.count(),
            };
            if place.displaced {
                counters.displaced_streams.count();
            }
            let tried = select(Box::pin(self.open(&mut asked, &way)), &mut place.killed);
            let there = match tried.await {
                Either::Left((Tried::Open(there), _)) => there,
                Either::Left((Tried::Failed, _)) => continue,
                Either::Left((Tried::Refused, _)) | Either::Right(_) => return,
            };
            if asked.over_links {
                counters.forwarded.count();
                let (to, via) = (asked.request.destination.key, way.remote());
                shared.links().ways.set(shared.now(), to, Way::Via(via));
            }
            counters.relayed.count();
            let (linger, bytes) = (shared.config.linger, &counters.relayed_bytes);
            let copying = copy::both_ways(&shared.runtime, asked.stream, there, linger, bytes);
            select(Box::pin(copying), &mut place.killed).await;
            return;
        }
        if asked.over_links {
            counters.no_destination.count();
            let to = asked.request.destination.key;
            shared.links().ways.set(shared.now(), to, Way::Missing);
        }
    }

    /// `step`'s result, if it comes in time.
    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let limit = self.shared.config.stream_timeout;
        within(&self.shared.runtime, limit, step).await
    }

    /// Reads what the stream is for; a ping is answered. `None` when there is nothing else to do.
    async fn read_object(&self, mut stream: Stream) -> Option<(Stream, SignedObject)> {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let opening = endpoint::read_opening(&mut stream);
        let limit = shared.config.handshake_timeout;
        let opening = within(&shared.runtime, limit, opening).await;
        let len = match opening {
            Some(Ok(Opening::Object(len))) => len,
            Some(Ok(Opening::Ping)) => {
                let answered = self.in_time(endpoint::answer_ping(stream)).await;
                if matches!(answered, Some(Ok(()))) {
                    counters.pings.count();
                }
                return None;
            }
            Some(Err(_)) | None => {
                counters.invalid_requests.count();
                return None;
            }
        };
        if stream.is_spare() {
            counters.over_capacity.count();
            return None;
        }
        stream.keeps(len.into()); // as much as may wait for its end
        let object = self.in_time(self.session.read_sealed(&mut stream, len));
        let Some(Ok(object)) = object.await else {
            counters.invalid_requests.count();
            return None;
        };
        stream.keeps(0);
        Some((stream, object))
    }

    /// Answers the announcement of a server, and files its session as that.
    async fn answer_announce(&self, mut stream: Stream, object: &SignedObject) {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let filed = shared.table().file_peer(&self.session.remote(), self.id);
        let Some(filed) = filed else {
            return;
        };
        if filed.superseded {
            counters.superseded.count();
        }
        let counter = match filed.accepted {
            true => &counters.peers_accepted,
            false => &counters.peers_refused,
        };
        counter.count();
        if filed.accepted {
            shared.links().ways.forget_missing();
        }
        let response = StreamResponse {
            request_hash: object.hash(),
            accepted: filed.accepted,
            error_code: match filed.accepted {
                true => 0,
                false => ErrorCode::RelayCapacity.number(),
            },
            ..StreamResponse::default()
        };
        let answering = async {
            let answer = shared
                .endpoint
                .respond(self.session, &mut stream, &response);
            answer.await.ok()?;
            stream.close().await.ok()
        };
        self.in_time(answering).await;
    }

    /// The request in an object, if its source may make it here, and whether it is passed on.
    fn judge(&self, object: &SignedObject) -> Option<(VerifiedRequest, bool)> {
        let (shared, remote) = (self.shared, self.session.remote());
        let request = object.verify_request().ok()?;
        if shared.table().file_client(&remote, self.id) {
            shared.counters.superseded.count();
        }
        if request.source.key == remote {
            return Some((request, false));
        }
        // A server may pass on a request; a client may not ask in another's name (code 302), or
        // only where that is allowed.
        let may = shared.config.clients_pass_on || self.is_server();
        if request.ip_info || !may {
            return None;
        }
        shared.counters.passed_on.count();
        Some((request, true))
    }

    fn is_server(&self) -> bool {
        let remote = self.session.remote();
        self.shared.table().is_peer(&remote, self.id)
    }

    /// Where a key is: its session here; else links with other servers, the one that had it before
    /// first. What came over a link goes no further.
    fn ways(&self, to: &PublicKey) -> (Vec<(u64, Arc<DmsgSession>)>, bool) {
        let shared = self.shared;
        if let Some(here) = shared.table().route(to) {
            return (vec![here], false);
        }
        if self.is_server() {
            return (Vec::new(), false);
        }
        let known = shared.links().ways.get(shared.now(), to);
        if known == Some(Way::Missing) {
            shared.counters.remembered_missing.count();
            return (Vec::new(), false);
        }
        let mut links = shared.table().links(Some(&self.session.remote()));
        if let Some(Way::Via(via)) = known {
            links.sort_by_key(|(_, link)| link.remote() != via);
        }
        links.truncate(MOST_LINKS);
        let over_links = !links.is_empty();
        (links, over_links)
    }

    /// Reads the request and answers it, or says where it leads.
    async fn read_request(&self, stream: Stream) -> Option<Asked> {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let (mut stream, object) = self.read_object(stream).await?;
        if let Ok(Some(_)) = object.verify_announce(&self.session.remote()) {
            self.answer_announce(stream, &object).await;
            return None;
        }
        let Some((request, is_passed_on)) = self.judge(&object) else {
            counters.invalid_requests.count();
            return None;
        };
        if request.destination.key == shared.endpoint.key() {
            self.in_time(self.serve_own(stream, request)).await;
            return None;
        }
        if !shared.endpoint.is_new(request.hash) {
            counters.invalid_requests.count();
            return None;
        }
        let (ways, over_links) = self.ways(&request.destination.key);
        if ways.is_empty() {
            counters.no_destination.count();
            if shared.config.leaves_unknown_open {
                let mut byte = [0];
                while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
            }
            return None;
        }
        Some(Asked {
            stream,
            object,
            request,
            is_passed_on,
            ways,
            over_links,
        })
    }

    /// Tries one way to the destination.
    async fn open(&self, asked: &mut Asked, way: &DmsgSession) -> Tried {
        let counters = &self.shared.counters;
        let forwarding = self.forward(&mut asked.stream, way, &asked.object, &asked.request);
        let limit = match asked.over_links {
            true => self.shared.config.stream_timeout / 2,
            false => self.shared.config.stream_timeout,
        };
        match within(&self.shared.runtime, limit, forwarding).await {
            Some(Ok(Some(there))) => Tried::Open(there),
            Some(Ok(None)) => {
                counters.refusals.count();
                // So that the refusal arrives before the end.
                let _ = self.in_time(asked.stream.close()).await;
                Tried::Refused
            }
            Some(Err(_)) | None => {
                if !asked.over_links {
                    counters.failed_destinations.count();
                }
                Tried::Failed
            }
        }
    }

    /// A request to our own key.
    async fn serve_own(&self, mut stream: Stream, request: VerifiedRequest) {
        let (endpoint, counters) = (&self.shared.endpoint, &self.shared.counters);
        if request.ip_info {
            counters.ip_lookups.count();
            let response = StreamResponse::of_ip(request.hash, self.ip);
            if endpoint
                .respond(self.session, &mut stream, &response)
                .await
                .is_ok()
            {
                let _ = stream.close().await;
            }
            return;
        }
        match endpoint.answer(self.session, stream, request).await {
            Ok(()) => counters.own_accepted.count(),
            Err(_) => counters.own_refused.count(),
        }
    }

    /// Passes the request on and the response back, both as they came. Gives the destination's
    /// stream, or nothing when it refused.
    async fn forward(
        &self,
        source: &mut Stream,
        destination: &DmsgSession,
        object: &SignedObject,
        request: &VerifiedRequest,
    ) -> Result<Option<Stream>, StreamError> {
        let mut there = destination.mux().open().await?;
        let sent = destination.write_object(&mut there, object).await;
        sent.map_err(|_| StreamError::Closed)?;
        let answer = destination.read_object(&mut there).await?;
        let response = answer
            .verify_response(&request.hash, &request.destination.key)
            .map_err(StreamError::Response)?;
        let sent = self.session.write_object(source, &answer).await;
        sent.map_err(|_| StreamError::Closed)?;
        Ok(response.accepted.then_some(there))
    }
}
