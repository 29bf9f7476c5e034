//! What changed at services in this process.

use skydht_core::item::Salt;
use skydht_core::time::Mono;

use super::changes::{Change, Changes};
use super::{services, transports};
use crate::host::Host;
use crate::publish::{Content, RecordId};
use crate::record::Transport;
use crate::resolver::Carrier;

/// Turns the changes of a [`Host`] into records. A request costs it nothing but the mark that
/// something has changed; the rest is done when it is asked.
#[derive(Debug, Default)]
pub struct Feed {
    known: Changes,
    rejected: u64,
}

impl Feed {
    /// For a host, whose changes are noted from now on.
    #[must_use]
    pub fn new(host: &mut Host) -> Self {
        host.note_changes();
        Self::default()
    }

    /// The records that are passed on.
    #[must_use]
    pub fn records(&self) -> usize {
        self.known.len()
    }

    /// Records that were not passed on since they prove nothing: entries of servers that the
    /// discovery has rewritten, above all.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The records that have changed since the last call, or went.
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
            // Only upstream's salts have readers.
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
