//! Reads the transports of a transport discovery.

use std::collections::BTreeMap;

use http::StatusCode;
use skydht_core::item::Salt;
use skydht_core::key::PublicKey;

use super::round::{Call, Round, RoundError, ServiceTraits, Step};
use crate::publish::{Content, RecordId};
use crate::record::{Transport, TransportId, go_json};
use crate::transport::{Answer, AnswerError, Call as Asked, Refusal};
use crate::web::Response;

pub(super) fn first(traits: &ServiceTraits) -> Vec<Call> {
    let call = Call::Transport;
    if !traits.by_edge {
        return vec![call(Asked::All)];
    }
    let edges: Vec<PublicKey> = traits.edges.iter().copied().collect();
    by_edge(&edges, traits)
}

fn by_edge(edges: &[PublicKey], traits: &ServiceTraits) -> Vec<Call> {
    let call = Call::Transport;
    if traits.each_edge {
        edges
            .iter()
            .map(|edge| call(Asked::OfEdge(*edge)))
            .collect()
    } else {
        let batches = edges.chunks(traits.batch);
        batches
            .map(|edges| call(Asked::OfEdges(edges.to_vec())))
            .collect()
    }
}

pub(super) fn answered(
    call: Asked,
    response: &Response,
    traits: &mut ServiceTraits,
    round: &mut Round,
) -> Step {
    match (Answer::read(&call, response), call) {
        (Ok(Answer::List(list)), _) => {
            for transport in list {
                round.transports.insert(transport.id, transport);
            }
            Step::Next
        }
        (Ok(_), _) => Step::Failed(RoundError::Answer("an answer of another kind".into())),
        (Err(AnswerError::Refused(Refusal::TooOften(wait))), call) => {
            round.queue.push_front(Call::Transport(call));
            Step::Pause(wait)
        }
        (Err(AnswerError::Refused(refusal)), call) => {
            match (call, response.status()) {
                (Asked::All, StatusCode::GONE | StatusCode::NOT_FOUND) => {
                    traits.by_edge = true;
                    round.queue.extend(first(traits));
                }
                (Asked::OfEdges(edges), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
                    traits.each_edge = true;
                    round.queue.extend(by_edge(&edges, traits));
                }
                (
                    Asked::OfEdges(edges),
                    StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE,
                ) if edges.len() > 1 => {
                    traits.batch = traits.batch.min(edges.len() / 2).max(1);
                    round.queue.extend(by_edge(&edges, traits));
                }
                (Asked::OfEdge(_), StatusCode::NOT_FOUND) => {}
                _ => return Step::Failed(RoundError::Answer(refusal.to_string())),
            }
            Step::Next
        }
        (Err(error), _) => Step::Failed(RoundError::Answer(error.to_string())),
    }
}

/// Groups the transports by visor; each one is in the lists of both edges.
pub(super) fn lists(transports: &BTreeMap<TransportId, Transport>) -> BTreeMap<RecordId, Content> {
    let mut by_edge: BTreeMap<PublicKey, Vec<&Transport>> = BTreeMap::new();
    for transport in transports.values() {
        let [first, second] = transport.edges;
        by_edge.entry(first).or_default().push(transport);
        if second != first {
            by_edge.entry(second).or_default().push(transport);
        }
    }
    let record = |(edge, list): (PublicKey, Vec<&Transport>)| (id_of(edge), list_of(&list));
    by_edge.into_iter().map(record).collect()
}

/// Returns the id of a visor's list of transports.
pub(super) fn id_of(owner: PublicKey) -> RecordId {
    RecordId {
        owner,
        salt: Salt::from("tp"),
    }
}

/// Encodes a visor's list in Go's format; an empty list is a deletion.
pub(super) fn list_of(list: &[&Transport]) -> Content {
    match list {
        [] => Content::Gone,
        list => Content::List(go_json::text(&list)),
    }
}
