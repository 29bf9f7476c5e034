//! Answers requests of old visors from the DHT.
//!
//! A gateway is a [`Host`](crate::Host) whose registrations a [`Feed`](crate::mirror::Feed)
//! publishes in the DHT, and which looks up in the DHT what was not registered at it. [`Wanted`] is
//! the second part: it determines the record that answers a request, and builds the response from
//! it.

use http::{Method, StatusCode};
use skydht_core::item::Salt;
use skydht_core::key::PublicKey;

use crate::publish::RecordId;
use crate::record::{Record, read};
use crate::web::{self, Request, Response};
use crate::{dmsg, resolver, transport};

/// A record in the DHT that answers a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The DMSG entry of a key.
    Entry(PublicKey),
    /// The transports of a visor, a list of several items.
    Transports(PublicKey),
    /// The address at which a visor accepts TCP connections.
    Address(PublicKey),
}

impl Wanted {
    /// Returns the record to look up because `response` contains nothing; `None` if the response
    /// stands.
    #[must_use]
    pub fn instead_of(request: &Request, response: &Response) -> Option<Self> {
        if request.method() != Method::GET {
            return None;
        }
        let is_missing = response.status() == StatusCode::NOT_FOUND;
        let is_empty = response.status() == StatusCode::OK && response.body() == b"[]";
        if !is_missing && !is_empty {
            return None;
        }
        if let Ok(dmsg::Call::Entry(key)) = dmsg::Call::read(request) {
            return is_missing.then_some(Self::Entry(key));
        }
        match transport::Call::read(request) {
            Ok(transport::Call::ByEdge(edge) | transport::Call::OfEdge(edge)) => {
                return Some(Self::Transports(edge));
            }
            Ok(_) => return None,
            Err(_) => {}
        }
        match resolver::Call::read(request) {
            Ok(resolver::Call::Resolve(resolver::Carrier::Tcp, key)) => Some(Self::Address(key)),
            _ => None,
        }
    }

    /// Returns the record's id in the DHT.
    #[must_use]
    pub fn record(&self) -> RecordId {
        let (owner, salt) = match self {
            Self::Entry(key) => (*key, "dmsg"),
            Self::Transports(key) => (*key, "tp"),
            Self::Address(key) => (*key, "addr:stcpr"),
        };
        RecordId {
            owner,
            salt: Salt::from(salt),
        }
    }

    /// Builds the response from the record's value, with the chunks of a list joined; `None` if the
    /// value is not such a record.
    #[must_use]
    pub fn answer(&self, request: &Request, value: &[u8]) -> Option<Response> {
        let RecordId { owner, salt } = self.record();
        if let Self::Transports(edge) = self {
            // The joined list may exceed the size of one item, which the reader of items rejects.
            let whole = web::json_text(StatusCode::OK, value.to_vec());
            let read = transport::Answer::read(&transport::Call::OfEdge(*edge), &whole);
            let Ok(transport::Answer::List(mut list)) = read else {
                return None;
            };
            list.retain(|transport| transport.edges.contains(edge));
            let call = transport::Call::read(request).ok()?;
            return (!list.is_empty()).then(|| transport::Answer::List(list).write(&call));
        }
        match read(salt.as_bytes(), &owner, value).ok()? {
            Record::Entry(entry) => Some(dmsg::Answer::Entry(*entry).write()),
            Record::Addresses(found) => Some(resolver::Answer::Address(found.visor).write()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use skydht_core::key::SecretKey;
    use skydht_dmsg::entry::{ClientFields, Entry};

    use super::*;
    use crate::record::{Transport, VisorAddress};

    fn get(path: &str) -> Request {
        web::request(Method::GET, path, Vec::new())
    }

    #[test]
    fn what_is_missing_here_is_answered_with_the_record_from_the_dht() {
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let key = secret.public();
        let other = SecretKey::from_bytes(&[2; 32]).unwrap().public();
        let mut entry = Entry::new(key, 1, 2);
        entry.client = Some(ClientFields {
            delegated_servers: Some(vec![other]),
        });
        let entry = entry.sign(&secret);
        let transport = Transport::new(key, other, "stcpr", "user");
        let visor = VisorAddress {
            remote_addr: "192.0.2.1:7777".into(),
            port: "7777".into(),
            ..VisorAddress::default()
        };
        let list = [b"[", &transport.to_json()[..], b"]"].concat();
        let missing = web::no_such_path();
        let none = web::json_text(StatusCode::OK, b"[]".to_vec());
        for (path, before, value) in [
            (
                format!("/dmsg-discovery/entry/{key}"),
                &missing,
                entry.json().to_vec(),
            ),
            (format!("/transports/edge:{key}"), &missing, list.clone()),
            (format!("/v3/transports/edge:{key}"), &none, list),
            (format!("/resolve/stcpr/{key}"), &missing, visor.to_json()),
        ] {
            let request = get(&path);
            let wanted = Wanted::instead_of(&request, before).unwrap();
            assert_eq!(wanted.record().owner, key);
            let response = wanted.answer(&request, &value).unwrap();
            assert_eq!(
                (response.status(), response.body()),
                (StatusCode::OK, &value)
            );
            // A value of another kind is not passed on.
            for wrong in [&b"{}"[..], b"", b"x", b"null"] {
                assert!(wanted.answer(&request, wrong).is_none(), "{path}");
            }
            let found = web::json_text(StatusCode::OK, value);
            assert_eq!(Wanted::instead_of(&request, &found), None);
            let failed = web::empty(StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(Wanted::instead_of(&request, &failed), None);
        }
        for path in [
            "/dmsg-discovery/entries",
            "/all-transports",
            "/health",
            "/x",
        ] {
            assert_eq!(Wanted::instead_of(&get(path), &missing), None, "{path}");
        }
        let post = web::request(
            Method::POST,
            &format!("/dmsg-discovery/entry/{key}"),
            Vec::new(),
        );
        assert_eq!(Wanted::instead_of(&post, &missing), None);
    }
}
