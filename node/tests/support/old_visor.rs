//! A visor from before the DHT, which only uses the discovery services over HTTP.

use skydht_core::key::{PublicKey, SecretKey};
use skydht_discovery::auth::{SignedCall, Step};
use skydht_discovery::record::{Service, ServiceAddress, ServiceKind, Transport};
use skydht_discovery::{service, transport, web};
use skydht_dmsg::entry::{ClientFields, Entry};

use super::{http, request};

pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

pub(crate) fn key(n: u8) -> PublicKey {
    secret(n).public()
}

/// An old visor: the number of its key, and the services' address.
pub(crate) struct OldVisor<'a> {
    pub(crate) n: u8,
    pub(crate) at: &'a str,
}

impl OldVisor<'_> {
    pub(crate) fn exchange(&self, sent: &web::Request) -> web::Response {
        let mut headers = vec![("Host", self.at)];
        for (name, value) in sent.headers() {
            headers.push((name.as_str(), value.to_str().unwrap()));
        }
        let path = sent.uri().path_and_query().unwrap().as_str();
        let body = std::str::from_utf8(sent.body()).unwrap();
        let answer = http(
            self.at,
            &request(sent.method().as_str(), path, &headers, body),
        );
        let mut response = web::Response::new(answer.body.into_bytes());
        *response.status_mut() = answer.status.try_into().unwrap();
        response
    }

    pub(crate) fn signed(&self, sent: web::Request) -> web::Response {
        let (mut steps, mut sent) = SignedCall::start(sent, secret(self.n), None);
        loop {
            match steps.handle(self.exchange(&sent)) {
                Step::Send(next) => sent = next,
                Step::Done(response) => return response,
            }
        }
    }

    /// Stores an entry of a client that names one server.
    pub(crate) fn post_entry(&self, sequence: u64, server: u8) {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let now = i64::try_from(now.as_nanos()).unwrap();
        let mut entry = Entry::new(key(self.n), sequence, now);
        entry.client = Some(ClientFields {
            delegated_servers: Some(vec![key(server)]),
        });
        entry.client_type = "visor".into();
        let call = skydht_discovery::dmsg::Call::Publish {
            entry: entry.sign(&secret(self.n)),
            expiring: false,
        };
        assert_eq!(self.exchange(&call.write()).status(), 200);
    }

    pub(crate) fn register_transports(&self, list: &[Transport]) {
        let call = transport::Call::RegisterBare(list.to_vec());
        assert_eq!(self.signed(call.write()).status(), 201);
    }

    pub(crate) fn register_vpn(&self) {
        let address = ServiceAddress {
            key: Some(key(self.n)),
            port: 44,
        };
        let mut service = Service::new(address, &ServiceKind::Vpn);
        service.version = "v1.3.29".into();
        let call = service::Call::Register(Box::new(service));
        assert_eq!(self.signed(call.write()).status(), 200);
    }
}

pub(crate) fn between(a: u8, b: u8) -> Transport {
    Transport::new(key(a), key(b), "stcpr", "automatic")
}
