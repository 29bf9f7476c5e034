//! One stream through the relay: the request on, the response back, then bytes (specification of
//! DMSG, §9).

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::select;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_runtime::{Runtime, within};

use super::pace::Pace;
use super::relayed::{Flow, Refused};
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
    /// With its number in the table.
    destination: (u64, Arc<DmsgSession>),
}

/// Whatever goes wrong, the source's stream is dropped, hence reset at once: we cannot sign a
/// refusal in the destination's name.
impl<R: Runtime> Source<'_, R> {
    async fn serve(&self, stream: Stream) {
        let Some(asked) = self.read_request(stream).await else {
            return;
        };
        let counters = &self.shared.counters;
        let place = self.shared.relayed.begin(Flow {
            address: source(self.ip),
            source: self.id,
            destination: asked.destination.0,
        });
        let mut place = match place {
            Ok(place) => place,
            Err(Refused::Share) => return counters.over_share.count(),
            Err(Refused::Capacity) => return counters.over_capacity.count(),
        };
        if place.displaced {
            counters.displaced_streams.count();
        }
        select(Box::pin(self.relay(asked)), &mut place.killed).await;
    }

    async fn relay(&self, asked: Asked) {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let Some((source, destination)) = self.open(asked).await else {
            return;
        };
        counters.relayed.count();
        let (linger, bytes) = (shared.config.linger, &counters.relayed_bytes);
        copy::both_ways(&shared.runtime, source, destination, linger, bytes).await;
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

    /// The request in an object, if its source may make it here.
    fn judge(&self, object: &SignedObject) -> Option<VerifiedRequest> {
        let (shared, remote) = (self.shared, self.session.remote());
        let request = object.verify_request().ok()?;
        if shared.table().file_client(&remote, self.id) {
            shared.counters.superseded.count();
        }
        if request.source.key == remote {
            return Some(request);
        }
        // No peer may ask in another's name (code 302), but a server may pass on a request.
        if request.ip_info || !shared.table().is_peer(&remote, self.id) {
            return None;
        }
        shared.counters.passed_on.count();
        Some(request)
    }

    /// Reads the request and answers it, or says where it leads.
    async fn read_request(&self, stream: Stream) -> Option<Asked> {
        let (shared, counters) = (self.shared, &self.shared.counters);
        let (mut stream, object) = self.read_object(stream).await?;
        if let Ok(Some(_)) = object.verify_announce(&self.session.remote()) {
            self.answer_announce(stream, &object).await;
            return None;
        }
        let Some(request) = self.judge(&object) else {
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
        let destination = shared.table().route(&request.destination.key);
        let Some(destination) = destination else {
            counters.no_destination.count();
            if shared.config.leaves_unknown_open {
                let mut byte = [0];
                while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
            }
            return None;
        };
        Some(Asked {
            stream,
            object,
            request,
            destination,
        })
    }

    /// Opens the way to the destination.
    async fn open(&self, asked: Asked) -> Option<(Stream, Stream)> {
        let counters = &self.shared.counters;
        let Asked {
            mut stream,
            object,
            request,
            destination: (_, destination),
        } = asked;
        let forwarding = self.forward(&mut stream, &destination, &object, &request);
        match self.in_time(forwarding).await {
            Some(Ok(Some(there))) => Some((stream, there)),
            Some(Ok(None)) => {
                counters.refusals.count();
                // So that the refusal arrives before the end.
                let _ = self.in_time(stream.close()).await;
                None
            }
            Some(Err(_)) | None => {
                counters.failed_destinations.count();
                None
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
