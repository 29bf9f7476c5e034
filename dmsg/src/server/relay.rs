//! Relaying one stream: forwards the request, returns the response, then copies bytes
//! (specification of DMSG, §9).

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::pace::Pace;
use super::relayed::{Refused, RelayFlow};
use super::routes::CachedRoute;
use super::{ServerInner, copy};
use crate::dmsg_session::DmsgSession;
use crate::endpoint::{self, Opening, StreamError};
use crate::object::{ErrorCode, SignedObject, StreamResponse, VerifiedRequest};
use crate::session::{Incoming, Stream};
use crate::shares::source;

/// Spawns a task that serves the streams a client opens, until its session ends.
pub(super) fn spawn<R: Runtime>(
    shared: &Arc<ServerInner<R>>,
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

/// Maximum number of links over which one request is tried.
const MAX_LINKS: usize = 16;

/// Returns the source id of a key that signed a request which another peer passed on. The highest
/// bit separates these ids from session ids.
fn source_id_of(key: &PublicKey) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key.as_bytes()[1..9]);
    u64::from_be_bytes(bytes) | 1 << 63
}

/// The session that opened a stream.
struct Source<'a, R: Runtime> {
    shared: &'a ServerInner<R>,
    session: &'a DmsgSession,
    /// Id of the session in the table.
    id: u64,
    ip: IpAddr,
}

/// A request for a destination with another session.
struct PendingRequest {
    stream: Stream,
    object: SignedObject,
    request: VerifiedRequest,
    is_passed_on: bool,
    /// Sessions that may lead to the destination, with their ids in the table: one of its own, or
    /// links with other servers.
    routes: Vec<(u64, Arc<DmsgSession>)>,
    over_links: bool,
}

/// Result of trying one route.
enum RouteResult {
    /// The destination's stream.
    Open(Stream),
    /// The destination refused; its response was sent to the source.
    Refused,
    /// The route does not lead to the destination.
    Failed,
}

/// Every failure drops the source's stream, which resets it immediately: the server cannot sign a
/// refusal on behalf of the destination.
impl<R: Runtime> Source<'_, R> {
    async fn serve(&self, stream: Stream) {
        let Some(mut pending) = self.read_request(stream).await else {
            return;
        };
        let (shared, counters) = (self.shared, &self.shared.counters);
        let source_id = match pending.is_passed_on {
            true => source_id_of(&pending.request.source.key),
            false => self.id,
        };
        for (id, route) in std::mem::take(&mut pending.routes) {
            let permit = shared.relayed.begin(RelayFlow {
                address: source(self.ip),
                source: source_id,
                destination: id,
                is_passed_on: pending.is_passed_on,
            });
            let mut permit = match permit {
                Ok(permit) => permit,
                Err(Refused::Share) => return counters.over_share.count(),
                Err(Refused::Capacity) => return counters.over_capacity.count(),
            };
            if permit.displaced {
                counters.displaced_streams.count();
            }
            let result = select(
                Box::pin(self.open(&mut pending, &route)),
                &mut permit.killed,
            );
            let outbound = match result.await {
                Either::Left((RouteResult::Open(outbound), _)) => outbound,
                Either::Left((RouteResult::Failed, _)) => continue,
                Either::Left((RouteResult::Refused, _)) | Either::Right(_) => return,
            };
            if pending.over_links {
                counters.forwarded.count();
                let (to, via) = (pending.request.destination.key, route.remote());
                shared
                    .links()
                    .routes
                    .set(shared.now(), to, CachedRoute::Via(via));
            }
            counters.relayed.count();
            let (linger, bytes) = (shared.config.linger, &counters.relayed_bytes);
            let copying =
                copy::copy_bidirectional(&shared.runtime, pending.stream, outbound, linger, bytes);
            select(Box::pin(copying), &mut permit.killed).await;
            return;
        }
        if pending.over_links {
            counters.no_destination.count();
            let to = pending.request.destination.key;
            shared
                .links()
                .routes
                .set(shared.now(), to, CachedRoute::Missing);
        }
    }

    /// Returns `step`'s result, if it completes within `ServerConfig::stream_timeout`.
    async fn with_timeout<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let limit = self.shared.config.stream_timeout;
        within(&self.shared.runtime, limit, step).await
    }

    /// Reads the stream's first object. Returns `None` if there is nothing else to do, as after a
    /// ping.
    async fn read_object(&self, mut stream: Stream) -> Option<(Stream, SignedObject)> {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let opening = endpoint::read_opening(&mut stream);
        let limit = shared.config.handshake_timeout;
        let opening = within(&shared.runtime, limit, opening).await;
        let len = match opening {
            Some(Ok(Opening::Object(len))) => len,
            Some(Ok(Opening::Ping)) => {
                let answered = self.with_timeout(endpoint::answer_ping(stream)).await;
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
        stream.keeps(len.into()); // the record is buffered until it is complete
        let object = self.with_timeout(self.session.read_sealed(&mut stream, len));
        let Some(Ok(object)) = object.await else {
            counters.invalid_requests.count();
            return None;
        };
        stream.keeps(0);
        Some((stream, object))
    }

    /// Answers the announcement of a server, and files its session as a server's.
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
            shared.links().routes.forget_missing();
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
        self.with_timeout(answering).await;
    }

    /// Returns the request in an object, and whether the session passed it on for another key.
    /// `None` if the signature is invalid or the session may not make the request.
    fn authorize(&self, object: &SignedObject) -> Option<(VerifiedRequest, bool)> {
        let (shared, remote) = (self.shared, self.session.remote());
        let request = object.verify_request().ok()?;
        if shared.table().file_client(&remote, self.id) {
            shared.counters.superseded.count();
        }
        if request.source.key == remote {
            return Some((request, false));
        }
        // Servers may pass on requests of other keys. Clients may not (code 302), unless the
        // configuration allows it.
        let is_allowed = shared.config.clients_pass_on || self.is_server();
        if request.ip_info || !is_allowed {
            return None;
        }
        shared.counters.passed_on.count();
        Some((request, true))
    }

    fn is_server(&self) -> bool {
        let remote = self.session.remote();
        self.shared.table().is_peer(&remote, self.id)
    }

    /// Returns the sessions that may lead to `to`, and whether they are links. Its own session here
    /// is the only route; without one, these are the links with other servers, the one that had the
    /// key last first. A request that came over a link is not sent over another link.
    fn routes(&self, to: &PublicKey) -> (Vec<(u64, Arc<DmsgSession>)>, bool) {
        let shared = self.shared;
        if let Some(here) = shared.table().route(to) {
            return (vec![here], false);
        }
        if self.is_server() {
            return (Vec::new(), false);
        }
        let known = shared.links().routes.get(shared.now(), to);
        if known == Some(CachedRoute::Missing) {
            shared.counters.remembered_missing.count();
            return (Vec::new(), false);
        }
        let mut links = shared.table().links(Some(&self.session.remote()));
        if let Some(CachedRoute::Via(via)) = known {
            links.sort_by_key(|(_, link)| link.remote() != via);
        }
        links.truncate(MAX_LINKS);
        let over_links = !links.is_empty();
        (links, over_links)
    }

    /// Reads the request. Answers it here if it is for this server, and otherwise returns it with
    /// its routes.
    async fn read_request(&self, stream: Stream) -> Option<PendingRequest> {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let (mut stream, object) = self.read_object(stream).await?;
        if let Ok(Some(_)) = object.verify_announce(&self.session.remote()) {
            self.answer_announce(stream, &object).await;
            return None;
        }
        let Some((request, is_passed_on)) = self.authorize(&object) else {
            counters.invalid_requests.count();
            return None;
        };
        if request.destination.key == shared.endpoint.key() {
            self.with_timeout(self.serve_own(stream, request)).await;
            return None;
        }
        if !shared.endpoint.record_request(request.hash) {
            counters.invalid_requests.count();
            return None;
        }
        let (routes, over_links) = self.routes(&request.destination.key);
        if routes.is_empty() {
            counters.no_destination.count();
            if shared.config.leaves_unknown_open {
                let mut byte = [0];
                while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
            }
            return None;
        }
        Some(PendingRequest {
            stream,
            object,
            request,
            is_passed_on,
            routes,
            over_links,
        })
    }

    /// Tries one route to the destination.
    async fn open(&self, pending: &mut PendingRequest, route: &DmsgSession) -> RouteResult {
        let counters = &self.shared.counters;
        let forwarding = self.forward(
            &mut pending.stream,
            route,
            &pending.object,
            &pending.request,
        );
        let limit = match pending.over_links {
            true => self.shared.config.stream_timeout / 2,
            false => self.shared.config.stream_timeout,
        };
        match within(&self.shared.runtime, limit, forwarding).await {
            Some(Ok(Some(outbound))) => RouteResult::Open(outbound),
            Some(Ok(None)) => {
                counters.refusals.count();
                // Close, so that the refusal arrives before the stream is reset.
                let _ = self.with_timeout(pending.stream.close()).await;
                RouteResult::Refused
            }
            Some(Err(_)) | None => {
                if !pending.over_links {
                    counters.failed_destinations.count();
                }
                RouteResult::Failed
            }
        }
    }

    /// Answers a request to our own key.
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

    /// Forwards the request and returns the response, both unchanged. Returns the destination's
    /// stream, or `None` if the destination refused.
    async fn forward(
        &self,
        source: &mut Stream,
        destination: &DmsgSession,
        object: &SignedObject,
        request: &VerifiedRequest,
    ) -> Result<Option<Stream>, StreamError> {
        let mut outbound = destination.mux().open().await?;
        let sent = destination.write_object(&mut outbound, object).await;
        sent.map_err(|_| StreamError::Closed)?;
        let answer = destination.read_object(&mut outbound).await?;
        let response = answer
            .verify_response(&request.hash, &request.destination.key)
            .map_err(StreamError::Response)?;
        let sent = self.session.write_object(source, &answer).await;
        sent.map_err(|_| StreamError::Closed)?;
        Ok(response.accepted.then_some(outbound))
    }
}
