//! HTTP services on a DMSG server's own key: its health, and entries of its store for clients
//! without a DHT (specification of discovery, §9).

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, Uri};
use skydht_core::item::{MAX_SALT_LEN, Salt};
use skydht_core::key::PublicKey;
use skydht_core::node::{GetRequest, ReadPolicy};
use skydht_core::time::{Unix, nanos};
use skydht_discovery::health::{self, Health};
use skydht_discovery::{service, transport, web};
use skydht_dmsg::endpoint::Listener;
use skydht_dmsg::server::Server;
use skydht_driver::Dht;
use skydht_runtime::Clocks;
use skydht_tokio::TokioRuntime;
use tokio::sync::watch;

use crate::config::DmsgSettings;
use crate::http::{ConnectionSlots, HttpStream, converse};
use crate::record_index::RecordIndex;

pub(super) use skydht_discovery::DMSG_PORT as PORT;

/// Maximum number of connections. At the limit, an idle one of the client with the most is closed.
const MOST_CONNECTIONS: usize = 64;

const ENTRY: &str = "/dht/entry/";

/// State that the answers are read from.
pub(super) struct Services {
    health: Health,
    dht: OnceLock<Dht>,
    record_index: RecordIndex,
}

impl Services {
    /// Creates the services of a server whose node is about to start.
    pub(super) fn new(
        relay: &Server<TokioRuntime>,
        dmsg: &DmsgSettings,
        record_index: RecordIndex,
    ) -> Arc<Self> {
        let now = Unix(nanos(Clocks::system().unix));
        let mut health = Health::new(now, env!("CARGO_PKG_VERSION"));
        health.service_name = "dmsg-server".into();
        health.dmsg_address = format!("{}:{PORT}", relay.key());
        let discovery = dmsg.discovery.as_ref();
        health.dmsg_discovery = discovery.map(ToString::to_string).unwrap_or_default();
        health.dht_bootstrap = true;
        Arc::new(Self {
            health,
            dht: OnceLock::new(),
            record_index,
        })
    }

    /// Sets the node, which answers from then on.
    pub(super) fn node_started(&self, dht: &Dht) {
        // Each server has one node, so that this is called once.
        let _ = self.dht.set(dht.clone());
    }

    /// Answers from the index of stored records; `None` for another path.
    async fn record_index(&self, uri: &Uri) -> Option<web::Response> {
        let request = web::request(Method::GET, uri.path_and_query()?.as_str(), Vec::new());
        let services = service::Call::read(&request);
        let transports = transport::Call::read(&request);
        if matches!(
            (&services, &transports),
            (
                Err(service::Refusal::NoSuchPath),
                Err(transport::Refusal::NoSuchPath)
            )
        ) {
            return None;
        }
        let unavailable = || web::plain(StatusCode::SERVICE_UNAVAILABLE, "DHT not available");
        let Some(dht) = self.dht.get() else {
            return Some(unavailable());
        };
        let Ok(index) = self.record_index.read(dht).await else {
            return Some(unavailable());
        };
        Some(match (services, transports) {
            (Ok(call), _) => service::Answer::derived(&index, &call).map_or_else(
                || service::Refusal::Forbidden.write(),
                |answer| answer.write(),
            ),
            (_, Ok(call)) => transport::Answer::derived(&index, &call)
                .map_or_else(|refusal| refusal.write(), |answer| answer.write(&call)),
            (Err(service::Refusal::NoSuchPath), Err(refusal)) => refusal.write(),
            (Err(refusal), _) => refusal.write(),
        })
    }

    async fn answer(&self, method: &Method, path: &str, query: &str) -> web::Response {
        let is_entry = path.starts_with(ENTRY);
        if !is_entry && path != health::PATH {
            return web::no_such_path();
        }
        if *method != Method::GET {
            return web::method_not_allowed("GET");
        }
        if !is_entry {
            return web::json(StatusCode::OK, &self.health);
        }
        let (key, salt) = match wanted(path, query) {
            Ok(wanted) => wanted,
            Err(why) => return web::plain(StatusCode::BAD_REQUEST, why),
        };
        let Some(dht) = self.dht.get() else {
            return web::plain(StatusCode::SERVICE_UNAVAILABLE, "DHT not available");
        };
        match dht.get(GetRequest::of(key, salt, ReadPolicy::Local)).await {
            Ok(found) => {
                let value = found.item.value.as_bytes().to_vec();
                web::json_text(StatusCode::OK, value)
            }
            Err(_) => web::plain(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

/// Parses which item a path asks for.
fn wanted(path: &str, query: &str) -> Result<(PublicKey, Salt), &'static str> {
    let key = path.strip_prefix(ENTRY).unwrap_or_default();
    if key.is_empty() {
        return Err("missing pk");
    }
    let key = key.parse().map_err(|_| "invalid pk")?;
    let salt = query.split('&').find_map(|pair| pair.strip_prefix("salt="));
    let salt = match salt.map(web::percent_decoded) {
        None => "dmsg".into(),
        Some(None) => return Err("invalid salt"),
        Some(Some(salt)) if salt.is_empty() => "dmsg".into(),
        Some(Some(salt)) if salt.len() > MAX_SALT_LEN => return Err("salt too long"),
        Some(Some(salt)) => salt,
    };
    Ok((key, Salt::new(&salt)))
}

/// Answers the connections of one port until the server closes.
pub(super) async fn serve(mut listener: Listener, services: Arc<Services>) {
    let slots = ConnectionSlots::new(MOST_CONNECTIONS);
    // The sessions' end closes the connections, so that this channel is never used.
    let (_stop, stopped) = watch::channel(false);
    while let Some(stream) = listener.accept().await {
        let slot = slots.acquire(stream.remote().key).await;
        let (services, stopped) = (Arc::clone(&services), stopped.clone());
        tokio::spawn(async move {
            let answer = |request| answer(Arc::clone(&services), request);
            let io = std::future::ready(Ok(HttpStream(stream)));
            converse(io, answer, stopped, slot).await;
        });
    }
}

async fn answer(services: Arc<Services>, request: Request<Incoming>) -> Response {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let record_index = match *request.method() {
        Method::GET => services.record_index(uri).await,
        _ => None,
    };
    if let Some(answer) = record_index {
        return answer.map(Body::from);
    }
    let answer = services.answer(request.method(), uri.path(), query);
    answer.await.map(Body::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

    fn salt(query: &str) -> Result<Vec<u8>, &'static str> {
        wanted(&format!("{ENTRY}{KEY}"), query).map(|(_, salt)| salt.as_bytes().to_vec())
    }

    #[test]
    fn a_salt_is_any_bytes_and_dmsg_unless_given() {
        assert_eq!(salt(""), Ok(b"dmsg".to_vec()));
        assert_eq!(salt("salt="), Ok(b"dmsg".to_vec()));
        assert_eq!(salt("a=b&salt=tp%3A1+x"), Ok(b"tp:1 x".to_vec()));
        assert_eq!(salt("salt=%FF"), Ok(vec![0xff]));
        assert_eq!(
            salt(&format!("salt={}", "a".repeat(200))),
            Ok(vec![b'a'; 200])
        );
    }

    #[test]
    fn malformed_questions_are_refused_with_upstreams_words() {
        assert_eq!(wanted(ENTRY, "").unwrap_err(), "missing pk");
        for key in ["02", "zz", &KEY[1..], "/"] {
            let path = format!("{ENTRY}{key}");
            assert_eq!(wanted(&path, "").unwrap_err(), "invalid pk", "{key}");
        }
        for query in ["salt=%", "salt=%0", "salt=%zz"] {
            assert_eq!(salt(query), Err("invalid salt"), "{query}");
        }
        assert_eq!(
            salt(&format!("salt={}", "a".repeat(201))),
            Err("salt too long")
        );
    }
}
