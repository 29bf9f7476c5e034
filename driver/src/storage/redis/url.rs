//! The address of Redis as a URL.
//!
//! | Form | Meaning |
//! |---|---|
//! | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server |
//! | `unix://[USER:PASSWORD@]/PATH[?db=DB]` | one server, by its socket |
//! | `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/MASTER[/DB]` | the master with this name,
//! according to the sentinels |
//! | `redis+cluster://[USER:PASSWORD@]HOST[:PORT],…` | a cluster, found through any of these
//! servers |
//!
//! `rediss` in place of `redis` uses TLS. User and password may contain `%xx`; a password alone is
//! written `:PASSWORD@`. A password for the sentinels themselves: `?sentinel_password=…`.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

/// Default port of Redis.
const PORT: u16 = 6379;
/// Default port of sentinels.
const SENTINEL_PORT: u16 = 26379;
/// Maximum number of servers in a URL.
const MAX_SERVERS: usize = 64;

/// The host name or address of a server, and its port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(super) struct ServerAddr {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the servers are organised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Topology {
    /// One server, over TCP.
    Single(ServerAddr),
    /// One server, by the path of its socket.
    Unix(String),
    /// The server that the sentinels name as the master with this name.
    Sentinel {
        sentinels: Vec<ServerAddr>,
        master: String,
    },
    /// A cluster, of which some members are given.
    Cluster(Vec<ServerAddr>),
}

/// A user's name and password. `Debug` hides both.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The address of Redis. Displayed without its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisUrl {
    pub(super) topology: Topology,
    pub(super) tls: bool,
    pub(super) credentials: Credentials,
    pub(super) sentinel_password: Option<Zeroizing<String>>,
    pub(super) database: u32,
}

/// Why a text is not a URL of Redis. Contains nothing of the text, which may include a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no URL of Redis: {0}")]
pub struct RedisUrlError(String);

fn wrong<T>(what: impl Into<String>) -> Result<T, RedisUrlError> {
    Err(RedisUrlError(what.into()))
}

impl RedisUrl {
    /// Returns whether `text` begins with one of the schemes, valid or not in the rest.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| Scheme::of(scheme).is_some())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Single,
    Unix,
    Sentinel,
    Cluster,
}

impl Scheme {
    /// Returns the scheme of a text, and whether it uses TLS.
    fn of(text: &str) -> Option<(Self, bool)> {
        Some(match text {
            "redis" => (Self::Single, false),
            "rediss" => (Self::Single, true),
            "unix" | "redis+unix" => (Self::Unix, false),
            "redis+sentinel" => (Self::Sentinel, false),
            "rediss+sentinel" => (Self::Sentinel, true),
            "redis+cluster" => (Self::Cluster, false),
            "rediss+cluster" => (Self::Cluster, true),
            _ => return None,
        })
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong(
                "it begins with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
            );
        };
        let Some((scheme, tls)) = Scheme::of(scheme) else {
            return wrong(
                "it begins with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
            );
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // In a password, `@` and `/` must be written as `%40` and `%2F`.
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (credentials, servers) = match authority.rsplit_once('@') {
            Some((credentials, servers)) => (parse_credentials(credentials)?, servers),
            None => (Credentials::default(), authority),
        };
        let mut url = Self {
            topology: Topology::Unix(String::new()),
            tls,
            credentials,
            sentinel_password: None,
            database: 0,
        };
        url.parse_query(query, scheme)?;
        url.topology = match scheme {
            Scheme::Unix => {
                if !servers.is_empty() {
                    return wrong("a socket's path begins with /: unix:///run/redis.sock");
                }
                if path.len() < 2 {
                    return wrong("it names no socket: unix:///run/redis.sock");
                }
                Topology::Unix(decoded(path)?)
            }
            Scheme::Single => {
                url.database_of(path.strip_prefix('/').unwrap_or_default())?;
                let mut servers = parse_servers(servers, PORT)?;
                match servers.pop() {
                    Some(server) if servers.is_empty() => Topology::Single(server),
                    _ => return wrong("several servers are redis+sentinel:// or redis+cluster://"),
                }
            }
            Scheme::Sentinel => {
                let path = path.strip_prefix('/').unwrap_or_default();
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return wrong(
                        "it does not say which master: redis+sentinel://HOST:PORT,…/MASTER",
                    );
                }
                url.database_of(database)?;
                Topology::Sentinel {
                    sentinels: parse_servers(servers, SENTINEL_PORT)?,
                    master: decoded(master)?,
                }
            }
            Scheme::Cluster => {
                if path.len() > 1 {
                    return wrong("a cluster has one database, without a number");
                }
                Topology::Cluster(parse_servers(servers, PORT)?)
            }
        };
        Ok(url)
    }
}

impl RedisUrl {
    fn parse_query(&mut self, query: &str, scheme: Scheme) -> Result<(), RedisUrlError> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "db" if scheme != Scheme::Cluster => self.database_of(value)?,
                "sentinel_password" if scheme == Scheme::Sentinel => {
                    self.sentinel_password = Some(Zeroizing::new(decoded(value)?));
                }
                _ => return wrong("after `?` only db=, and with sentinels sentinel_password="),
            }
        }
        Ok(())
    }

    fn database_of(&mut self, text: &str) -> Result<(), RedisUrlError> {
        if text.is_empty() {
            return Ok(());
        }
        match text.parse() {
            Ok(database) => self.database = database,
            Err(_) => return wrong("the database is a number"),
        }
        Ok(())
    }
}

fn parse_credentials(text: &str) -> Result<Credentials, RedisUrlError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    if !user.is_empty() && password.is_none() {
        return wrong("a user without a password; a password alone is written :PASSWORD@");
    }
    let password = password.filter(|it| !it.is_empty()).map(decoded);
    Ok(Credentials {
        user: match user {
            "" => None,
            user => Some(decoded(user)?),
        },
        password: password.transpose()?.map(Zeroizing::new),
    })
}

fn parse_servers(text: &str, default: u16) -> Result<Vec<ServerAddr>, RedisUrlError> {
    let mut servers = Vec::new();
    for part in text.split(',') {
        if servers.len() == MAX_SERVERS {
            return wrong("it names more than 64 servers");
        }
        let (host, port) = match part.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match part.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (part, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => Some(default),
        };
        let Some(port) = port.filter(|_| !host.is_empty()) else {
            return wrong("servers are written HOST:PORT, IPv6 addresses [HOST]:PORT");
        };
        servers.push(ServerAddr {
            host: host.into(),
            port,
        });
    }
    Ok(servers)
}

/// Decodes `%xx`.
fn decoded(text: &str) -> Result<String, RedisUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte.unwrap_or(b'?')).to_digit(16);
        bytes.push(match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                _ => return wrong("% stands before two hexadecimal digits; % itself is %25"),
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).or_else(|_| wrong("a part is no UTF-8"))
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        match &self.topology {
            Topology::Single(_) => write!(f, "redis{s}://")?,
            Topology::Unix(_) => write!(f, "unix://")?,
            Topology::Sentinel { .. } => write!(f, "redis{s}+sentinel://")?,
            Topology::Cluster(_) => write!(f, "redis{s}+cluster://")?,
        }
        let Credentials { user, password } = &self.credentials;
        if password.is_some() {
            write!(f, "{}:***@", user.as_deref().unwrap_or_default())?;
        }
        let list = |servers: &[ServerAddr]| {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            servers.join(",")
        };
        match &self.topology {
            Topology::Single(server) => write!(f, "{server}")?,
            Topology::Unix(path) => write!(f, "{path}")?,
            Topology::Sentinel { sentinels, master } => {
                write!(f, "{}/{master}", list(sentinels))?;
            }
            Topology::Cluster(servers) => write!(f, "{}", list(servers))?,
        }
        match (&self.topology, self.database) {
            (_, 0) => Ok(()),
            (Topology::Unix(_), database) => write!(f, "?db={database}"),
            (_, database) => write!(f, "/{database}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_without_its_password() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://:p%40ss@h:1/3", "redis://:***@h:1/3"),
            ("rediss://me:secret@[::1]:7", "rediss://me:***@[::1]:7"),
            ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2"),
            ("unix://me:secret@/run/r.sock", "unix://me:***@/run/r.sock"),
            (
                "redis+sentinel://a,b:5/main/4?sentinel_password=secret",
                "redis+sentinel://a:26379,b:5/main/4",
            ),
            (
                "rediss+cluster://:secret@a:1,b:2",
                "rediss+cluster://:***@a:1,b:2",
            ),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(RedisUrl::is_meant(text));
            assert!(!format!("{url:?}").contains("secret"), "{url:?}");
        }
        let url: RedisUrl = "redis://u:p%40%25ss@h".parse().unwrap();
        let password = url.credentials.password.unwrap();
        assert_eq!(
            (url.credentials.user.as_deref(), password.as_str()),
            (Some("u"), "p@%ss")
        );
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_is_wrong_and_without_its_password() {
        for text in [
            "redis://",
            "redis://h:0",
            "redis://h:65536",
            "redis://h/x",
            "redis://a,b",
            "redis://h?db=x",
            "redis://h?what=1",
            "redis://secret@h",
            "redis://:secret%4@h",
            "redis://:secret%ff@h",
            "unix://",
            "unix://host/path",
            "redis+sentinel://h",
            "redis+sentinel://h/",
            "redis+cluster://h/1",
            "redis+cluster://:secret@h,:2",
            "rediss+unix:///x",
            "http://:secret@h",
            "redis:h",
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.starts_with("no URL of Redis: "), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let many = vec!["h"; 65].join(",");
        assert!(
            format!("redis+cluster://{many}")
                .parse::<RedisUrl>()
                .is_err()
        );
    }
}
