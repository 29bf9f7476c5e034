//! Reads the entries of a DMSG discovery.

use std::time::Duration;

use http::StatusCode;
use skydht_core::item::Salt;
use skydht_core::key::PublicKey;
use skydht_dmsg::entry::SignedEntry;

use super::round::{Call, Round, RoundError, ServiceTraits, Step};
use crate::dmsg::{Answer, AnswerError, Call as Asked, Refusal};
use crate::publish::{Content, RecordId};
use crate::web::Response;

/// Maximum number of entries of one discovery.
const MOST: usize = 50_000;

pub(super) fn first() -> Vec<Call> {
    let calls = [Asked::AllServers, Asked::Clients];
    calls.map(|call| Call::Entry(Box::new(call))).into()
}

pub(super) fn answered(
    call: Asked,
    response: &Response,
    traits: &mut ServiceTraits,
    round: &mut Round,
) -> Step {
    match (Answer::read(&call, response), call) {
        (Ok(Answer::Keys(keys)), _) => {
            if keys.len() > MOST {
                return Step::Failed(RoundError::TooMany(MOST));
            }
            traits.edges = keys.iter().copied().collect();
            ask_for(&keys, traits, round);
            Step::Next
        }
        (Ok(Answer::Servers(servers)), _) => {
            for server in servers {
                keep(server.entry().key, &server, round);
            }
            Step::Next
        }
        (Ok(Answer::Entries(entries)), _) => {
            for (key, entry) in entries {
                keep(key, &entry, round);
            }
            Step::Next
        }
        (Ok(Answer::Entry(entry)), Asked::Entry(key)) => {
            keep(key, &entry, round);
            Step::Next
        }
        (Ok(_), _) => Step::Failed(RoundError::Answer("an answer of another kind".into())),
        (Err(error), call) => refused(&error, call, response, traits, round),
    }
}

fn refused(
    error: &AnswerError,
    call: Asked,
    response: &Response,
    traits: &mut ServiceTraits,
    round: &mut Round,
) -> Step {
    if let AnswerError::Refused(Refusal::RateLimited { retry_after }) = error {
        round.queue.push_front(Call::Entry(Box::new(call)));
        return Step::Pause(Duration::from_secs((*retry_after).into()));
    }
    match (call, response.status()) {
        // The entry was removed after its key was listed, or there are no servers.
        (Asked::Entry(_) | Asked::AllServers, StatusCode::NOT_FOUND) => Step::Next,
        (Asked::Batch(keys), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            traits.one_by_one = true;
            ask_for(&keys, traits, round);
            Step::Next
        }
        (Asked::Batch(keys), StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) => {
            if keys.len() <= 1 {
                return Step::Failed(RoundError::Batch);
            }
            traits.batch = traits.batch.min(keys.len() / 2).max(1);
            ask_for(&keys, traits, round);
            Step::Next
        }
        _ => Step::Failed(RoundError::Answer(error.to_string())),
    }
}

fn ask_for(keys: &[PublicKey], traits: &ServiceTraits, round: &mut Round) {
    let call = |call| Call::Entry(Box::new(call));
    if traits.one_by_one {
        round
            .queue
            .extend(keys.iter().map(|key| call(Asked::Entry(*key))));
    } else {
        let batches = keys.chunks(traits.batch);
        round
            .queue
            .extend(batches.map(|keys| call(Asked::Batch(keys.to_vec()))));
    }
}

/// Keeps an entry, unless it belongs to another key than the requested one.
fn keep(key: PublicKey, entry: &SignedEntry, round: &mut Round) {
    if entry.entry().key != key {
        round.rejected += 1;
        return;
    }
    let id = RecordId {
        owner: key,
        salt: Salt::from("dmsg"),
    };
    round
        .found
        .insert(id, Content::Value(entry.json().to_vec()));
}
