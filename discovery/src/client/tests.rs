use std::sync::Mutex;
use std::time::Duration;

use futures::executor::block_on;
use http::StatusCode;
use skydht_core::key::SecretKey;
use skydht_core::time::{Mono, Time, Unix};
use skydht_dmsg::entry::{ClientFields, EntryError, ServerFields};

use super::*;
use crate::dmsg::{DmsgDiscovery, Rules};
use crate::web;
use crate::{BaseUrlError, Carrier};

const NOW: Time = Time {
    mono: Mono(0),
    unix: Unix(1_777_000_000_000_000_000),
};

/// Passes requests directly to a service, without a network.
struct Direct(Mutex<DmsgDiscovery>);

impl Direct {
    fn new() -> Self {
        Self(Mutex::new(DmsgDiscovery::new(Rules::default(), NOW)))
    }
}

impl Exchange for Direct {
    fn exchange(
        &self,
        mut request: Request,
    ) -> BoxFuture<'static, Result<Response, ExchangeError>> {
        assert_eq!(request.uri().host(), Some("disc.example"));
        assert_eq!(request.uri().port_u16(), Some(9090));
        let path = request.uri().path_and_query().unwrap().as_str();
        *request.uri_mut() = path.strip_prefix("/below").unwrap().parse().unwrap();
        let response = self.0.lock().unwrap().handle(NOW, &request);
        Box::pin(std::future::ready(Ok(response)))
    }
}

/// Answers every request with the same response.
struct Says(StatusCode, String);

impl Exchange for Says {
    fn exchange(&self, _: Request) -> BoxFuture<'static, Result<Response, ExchangeError>> {
        let response = web::json_text(self.0, self.1.clone().into_bytes());
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn base() -> BaseUrl {
    "http://disc.example:9090/below/".parse().unwrap()
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn client(n: u8, sequence: u64) -> SignedEntry {
    let mut entry = Entry::new(secret(n).public(), sequence, 1);
    entry.client = Some(ClientFields::default());
    entry.sign(&secret(n))
}

fn server(n: u8) -> SignedEntry {
    let mut entry = Entry::new(secret(n).public(), 0, NOW.unix.0 as i64);
    entry.server = Some(ServerFields {
        address: "192.0.2.1:80".to_owned(),
        available_sessions: 1,
        ..ServerFields::default()
    });
    entry.sign(&secret(n))
}

#[test]
fn entries_are_published_found_and_removed() {
    let discovery = HttpDiscovery::new(base(), Direct::new());
    block_on(async {
        let key = secret(1).public();
        let missing = discovery.entry(key).await;
        assert_eq!(missing, Err(DiscoveryError::NotFound));
        assert_eq!(discovery.servers().await, Ok(Vec::new()));
        discovery.publish(client(1, 3)).await.unwrap();
        discovery.publish(server(2)).await.unwrap();
        assert_eq!(discovery.entry(key).await.unwrap(), *client(1, 3).entry());
        let known = KnownServer {
            key: secret(2).public(),
            address: "192.0.2.1:80".parse().unwrap(),
        };
        assert_eq!(discovery.servers().await, Ok(vec![known]));
        // The discovery has set the server's type.
        let found = discovery.entry(known.key).await.unwrap();
        assert_eq!(KnownServer::of(&found), Some(known));
        let again = discovery.publish(client(1, 3)).await;
        assert_eq!(again, Err(EntryError::Sequence.into()));
        discovery.remove(client(1, 3)).await.unwrap();
        let gone = discovery.entry(key).await;
        assert_eq!(gone, Err(DiscoveryError::NotFound));
    });
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(result: Result<T, DiscoveryError>) {
    assert!(
        matches!(result, Err(DiscoveryError::Unavailable(_))),
        "{result:?}"
    );
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    let key = secret(1).public();
    for (status, text) in [
        (200, ""),
        (200, "null"),
        (200, "<html>"),
        (404, "404 page not found\n"),
        (
            500,
            "{\"message\":\"something unexpected happened\",\"code\":500}",
        ),
        (302, ""),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let discovery = HttpDiscovery::new(base(), Says(status, text.to_owned()));
        unavailable(block_on(discovery.entry(key)));
        unavailable(block_on(discovery.servers()));
    }
}

#[test]
fn entries_of_others_and_forged_ones_are_not_believed() {
    let says = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        HttpDiscovery::new(base(), Says(StatusCode::OK, text))
    };
    let key = secret(1).public();
    unavailable(block_on(says(client(2, 0).json()).entry(key)));
    let forged = String::from_utf8(client(1, 0).json().to_vec()).unwrap();
    let forged = forged.replace("\"sequence\":0", "\"sequence\":9");
    let read = block_on(says(forged.as_bytes()).entry(key));
    assert!(matches!(read, Err(DiscoveryError::Refused(_))), "{read:?}");
}

#[test]
fn servers_that_cannot_be_read_are_left_out_alone() {
    let good = String::from_utf8(server(1).json().to_vec()).unwrap();
    let nameless = good.replace("192.0.2.1:80", "somewhere");
    let text = format!("[1,{nameless},{good},{{}}]");
    let discovery = HttpDiscovery::new(base(), Says(StatusCode::OK, text));
    let servers = block_on(discovery.servers()).unwrap();
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].key, secret(1).public());
}

#[test]
fn only_plain_http_urls_are_taken() {
    for url in [
        "http://disc.example",
        "http://disc.example:80/",
        "http://[::1]:9/a/b",
    ] {
        let base: BaseUrl = url.parse().unwrap();
        assert_eq!(base.to_string(), url.trim_end_matches('/'));
    }
    for url in [
        "",
        "disc.example",
        "disc.example:80",
        "/path",
        "http://",
        "http://user@disc.example",
        "http://disc.example:0",
        "http://disc.example/?a=b",
        "http://disc.example:99999",
    ] {
        let read = url.parse::<BaseUrl>();
        assert!(
            matches!(read, Err(BaseUrlError::Form(_))),
            "{url}: {read:?}"
        );
    }
    let base: BaseUrl = "https://disc.example/x".parse().unwrap();
    assert_eq!(
        (base.carrier(), base.to_string()),
        (Carrier::Tls, "https://disc.example/x".into())
    );
    let read = "ftp://disc.example".parse::<BaseUrl>();
    assert!(matches!(read, Err(BaseUrlError::Scheme(_))), "{read:?}");
}

#[test]
fn what_a_discovery_wants_of_a_caller_is_understood() {
    let said = |status: u16, wait: Option<&str>| {
        struct Asks(StatusCode, Option<String>);
        impl Exchange for Asks {
            fn exchange(&self, _: Request) -> BoxFuture<'static, Result<Response, ExchangeError>> {
                let mut response = web::plain(self.0, "rate limit exceeded");
                if let Some(wait) = &self.1 {
                    let wait = wait.parse().unwrap();
                    response.headers_mut().insert("retry-after", wait);
                }
                Box::pin(std::future::ready(Ok(response)))
            }
        }
        let status = StatusCode::from_u16(status).unwrap();
        let discovery = HttpDiscovery::new(base(), Asks(status, wait.map(Into::into)));
        block_on(discovery.publish(client(1, 0))).unwrap_err()
    };
    let seconds = |n| DiscoveryError::TooOften(Duration::from_secs(n));
    assert_eq!(said(429, Some("17")), seconds(17));
    for wait in [
        None,
        Some("soon"),
        Some("Sun, 29 Nov 2026 06:00:00 GMT"),
        Some("-1"),
        Some("99999999999"),
    ] {
        assert_eq!(said(429, wait), seconds(1), "{wait:?}");
    }
    assert_eq!(said(413, None), DiscoveryError::TooLong);
}
