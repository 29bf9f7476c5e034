//! Access control of the control API. A loopback address alone does not protect it: any web page in
//! a browser on this machine can send requests there, under a host name that it resolves to
//! loopback (DNS rebinding).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Uri};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::ui::Sessions;

/// Path that is answered without a token.
pub(crate) const OPEN_PATH: &str = "/livez";

/// The status page and its assets. They need no token: they hold no secret, and the page asks for
/// it.
const PAGE_PATHS: [&str; 3] = ["/ui", "/ui/app.js", "/ui/style.css"];
/// Where the page exchanges the token for a cookie; the handler checks the token itself.
const LOGIN_PATH: &str = "/ui/login";
/// Paths that the status page's cookie may read.
const READ_PATHS: [&str; 6] = [
    "/ui/events",
    "/status",
    "/peers",
    "/items",
    "/readyz",
    "/metrics",
];

/// What a client has proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// It sent the token, or a cookie obtained with it.
    Known,
    /// It proved nothing, and asks for a path that is open to all.
    Unknown,
}

/// Checks the host, the origin and the token of requests.
pub(crate) struct Guard {
    token: Zeroizing<String>,
    sessions: Sessions,
    hosts: BTreeSet<String>,
}

impl Guard {
    /// Creates the guard of an API at `addr`, reachable under the host names in `more`, too.
    pub(crate) fn new(
        token: Zeroizing<String>,
        addr: SocketAddr,
        more: &[String],
        sessions: Sessions,
    ) -> Self {
        let port = addr.port();
        sessions.begin(&token, port);
        let mut hosts: BTreeSet<String> = more.iter().cloned().collect();
        hosts.insert(addr.to_string());
        if addr.ip().is_loopback() || addr.ip().is_unspecified() {
            hosts.insert(format!("localhost:{port}"));
            hosts.insert(format!("127.0.0.1:{port}"));
            hosts.insert(format!("[::1]:{port}"));
        }
        if let IpAddr::V4(ip) = addr.ip() {
            hosts.insert(format!("{ip}:{port}"));
        }
        // Clients omit the default port.
        let short: Vec<_> = hosts
            .iter()
            .filter_map(|host| host.strip_suffix(":80").map(str::to_owned))
            .collect();
        hosts.extend(short);
        Self {
            token,
            sessions,
            hosts,
        }
    }

    /// Decides whether a request may be answered.
    pub(crate) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Admission> {
        self.check_host(uri, headers)?;
        let writes = !matches!(*method, Method::GET | Method::HEAD);
        if writes {
            self.check_origin(headers)?;
        }
        let path = uri.path();
        let may_read = PAGE_PATHS.contains(&path) || READ_PATHS.contains(&path);
        if !writes && may_read && self.sessions.holds(headers) {
            return Ok(Admission::Known);
        }
        let is_open = path == OPEN_PATH || PAGE_PATHS.contains(&path);
        if (!writes && is_open) || (*method == Method::POST && path == LOGIN_PATH) {
            return Ok(Admission::Unknown);
        }
        self.check_token(headers)?;
        Ok(Admission::Known)
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        let named = one(headers, &HOST).map(|host| self.hosts.contains(&host.to_ascii_lowercase()));
        // An absolute request target overrides the header, so that both must match.
        let target = uri
            .authority()
            .map(|host| self.hosts.contains(&host.as_str().to_ascii_lowercase()));
        if named == Some(true) && target != Some(false) {
            return Ok(());
        }
        Err(Failure::new(
            Code::Misdirected,
            "the control API does not go by this host name",
        )
        .hint("use the URL that `skydht run` printed, or add HOST:PORT to `api_hosts`"))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<()> {
        let ours = |origin: &str| {
            let host = origin.strip_prefix("http://");
            host.is_some_and(|host| self.hosts.contains(&host.to_ascii_lowercase()))
        };
        // Browsers send an origin with every write; other programs send none.
        if !headers.contains_key(ORIGIN) || one(headers, &ORIGIN).is_some_and(ours) {
            return Ok(());
        }
        Err(Failure::new(
            Code::ForeignOrigin,
            "the control API takes no writes from other web pages",
        ))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<()> {
        let given = one(headers, &AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        // The comparison takes constant time for equal lengths; the length is public.
        let right = given.is_some_and(|given| given.as_bytes().ct_eq(self.token.as_bytes()).into());
        if right {
            return Ok(());
        }
        let what = if given.is_some() {
            "this is not its token"
        } else {
            "none was given"
        };
        Err(Failure::new(Code::Unauthorized, format_args!("the control API wants its token, and {what}"))
            .hint("send `Authorization: Bearer TOKEN`; the token is in api.token in the node's state directory"))
    }
}

/// Returns the header's value if it occurs exactly once and is text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn check(method: Method, target: &str, headers: &[(HeaderName, &str)]) -> Option<Code> {
        let guard = Guard::new(
            Zeroizing::new(TOKEN.into()),
            "127.0.0.1:7471".parse().unwrap(),
            &["node.example:7471".into()],
            Sessions::default(),
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        guard
            .check(&method, &target.parse().unwrap(), &map)
            .err()
            .map(|failure| failure.code)
    }

    fn bearer(token: &str) -> String {
        format!("Bearer {token}")
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in [
            "127.0.0.1:7471",
            "localhost:7471",
            "LOCALHOST:7471",
            "[::1]:7471",
            "node.example:7471",
        ] {
            assert_eq!(
                check(Method::GET, OPEN_PATH, &[(HOST, host)]),
                None,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:7471",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:7471.evil.example",
            "",
        ] {
            assert_eq!(
                check(Method::GET, OPEN_PATH, &[(HOST, host)]),
                Some(Code::Misdirected),
                "{host}"
            );
        }
        assert_eq!(check(Method::GET, OPEN_PATH, &[]), Some(Code::Misdirected));
        let twice = [(HOST, "127.0.0.1:7471"), (HOST, "127.0.0.1:7471")];
        assert_eq!(
            check(Method::GET, OPEN_PATH, &twice),
            Some(Code::Misdirected)
        );
        assert_eq!(
            check(
                Method::GET,
                "http://evil.example/livez",
                &[(HOST, "127.0.0.1:7471")]
            ),
            Some(Code::Misdirected)
        );
    }

    #[test]
    fn every_read_but_one_wants_the_token() {
        let host = (HOST, "127.0.0.1:7471");
        assert_eq!(
            check(Method::GET, OPEN_PATH, std::slice::from_ref(&host)),
            None
        );
        assert_eq!(
            check(Method::POST, OPEN_PATH, std::slice::from_ref(&host)),
            Some(Code::Unauthorized)
        );
        for path in ["/", "/status", "/nowhere", "/livez/"] {
            let with = |token: &str| {
                check(
                    Method::GET,
                    path,
                    &[host.clone(), (AUTHORIZATION, &bearer(token))],
                )
            };
            assert_eq!(with(TOKEN), None, "{path}");
            assert_eq!(with(&TOKEN[1..]), Some(Code::Unauthorized));
            assert_eq!(with(&TOKEN.to_uppercase()), Some(Code::Unauthorized));
            assert_eq!(with(""), Some(Code::Unauthorized));
            assert_eq!(
                check(Method::GET, path, std::slice::from_ref(&host)),
                Some(Code::Unauthorized)
            );
            let basic = format!("Basic {TOKEN}");
            assert_eq!(
                check(Method::GET, path, &[host.clone(), (AUTHORIZATION, &basic)]),
                Some(Code::Unauthorized)
            );
        }
    }

    #[test]
    fn pages_may_not_write_even_with_the_token() {
        let post = |origin: &str| {
            let token = bearer(TOKEN);
            let headers = [
                (HOST, "127.0.0.1:7471"),
                (AUTHORIZATION, token.as_str()),
                (ORIGIN, origin),
            ];
            check(Method::POST, "/put", &headers)
        };
        assert_eq!(post("http://127.0.0.1:7471"), None);
        for origin in [
            "null",
            "http://evil.example",
            "https://127.0.0.1:7471",
            "http://localhost:7472",
        ] {
            assert_eq!(post(origin), Some(Code::ForeignOrigin), "{origin}");
        }
    }
}
