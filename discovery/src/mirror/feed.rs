//! Changes at services of this process.

use skydht_core::item::Salt;
use skydht_core::time::Mono;

use super::changes::{Change, Changes};
use super::{services, transports};
use crate::host::Host;
use crate::publish::{Content, RecordId};
use crate::record::Transport;
use crate::resolver::Carrier;

/// Converts the changes of a [`Host`] to records. While handling requests, the host only marks what
/// has changed; [`Feed::take_changes`] does the rest.
#[derive(Debug, Default)]
pub struct Feed {
    known: Changes,
    rejected: u64,
}

impl Feed {
    /// Creates a feed for a host, and starts to record its changes.
    #[must_use]
    pub fn new(host: &mut Host) -> Self {
        host.note_changes();
        Self::default()
    }

    /// Returns the number of records that have been reported.
    #[must_use]
    pub fn records(&self) -> usize {
        self.known.len()
    }

    /// Returns how often records were not reported because they are unproven; mostly entries of
    /// servers, which the discovery modifies.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Returns the records that have changed or been removed since the last call.
    pub fn take_changes(&mut self, now: Mono, host: &mut Host) -> Vec<(RecordId, Content)> {
        host.expire(now);
        let mut found = Vec::new();
        for (owner, entry) in host.dmsg.take_changes() {
            let salt = Salt::from("dmsg");
            let content = entry.map_or(Content::Gone, |it| Content::Value(it.json().to_vec()));
            found.push((RecordId { owner, salt }, content));
        }
        let of_transports = host.transports.iter_mut().flat_map(|it| it.take_changes());
        for (edge, list) in of_transports {
            let list: Vec<&Transport> = list.iter().collect();
            found.push((transports::id_of(edge), transports::list_of(&list)));
        }
        let of_services = host.services.iter_mut().flat_map(|it| it.take_changes());
        for (owner, list) in of_services {
            found.push((services::id_of(owner), services::list_of(list)));
        }
        let of_addresses = host.addresses.iter_mut().flat_map(|it| it.take_changes());
        for (owner, carrier, visor) in of_addresses {
            // Only this salt is read by upstream's visors.
            if carrier == Carrier::Tcp {
                let salt = Salt::from("addr:stcpr");
                let content = visor.map_or(Content::Gone, |it| Content::Value(it.to_json()));
                found.push((RecordId { owner, salt }, content));
            }
        }
        found.retain(|(id, content)| match content {
            Content::Gone => self.known.forget(id),
            content => match self.known.note(now, id, content) {
                Change::Publish => true,
                Change::Same => false,
                Change::Rejected => {
                    self.rejected += 1;
                    false
                }
            },
        });
        found
    }
}
