//! URLs of services.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;
use skydht_core::key::PublicKey;

/// Default port of HTTP over DMSG.
pub const DMSG_PORT: u16 = 80;

/// Why a text is not the URL of a service.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// The text is not a URL with scheme and host.
    #[error("{0:?} is no URL: write http://HOST:PORT, https://HOST, or dmsg://PK:80")]
    Form(String),
    /// The scheme is unknown.
    #[error("{0:?}: only http, https and dmsg are spoken")]
    Scheme(String),
    /// The host of a `dmsg` URL is not a public key.
    #[error("{0:?}: the host of a dmsg URL is a public key, 66 hexadecimal digits")]
    Key(String),
}

/// Transport to a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// TCP.
    Tcp,
    /// TLS on TCP.
    Tls,
    /// A DMSG stream to this key and port.
    Dmsg {
        /// Key to dial, which the handshake authenticates.
        key: PublicKey,
        /// DMSG port.
        port: u16,
    },
}

impl Carrier {
    /// Parses the transport from a request's URI.
    ///
    /// # Errors
    /// [`BaseUrlError`].
    pub fn of(uri: &Uri) -> Result<Self, BaseUrlError> {
        let text = || uri.to_string();
        match uri.scheme_str() {
            Some("http") => Ok(Self::Tcp),
            Some("https") => Ok(Self::Tls),
            Some("dmsg") => {
                let host = uri.host().unwrap_or_default();
                let key = host.parse::<PublicKey>();
                let key = key.ok().filter(|key| key.check_curve().is_ok());
                Ok(Self::Dmsg {
                    key: key.ok_or_else(|| BaseUrlError::Key(text()))?,
                    port: uri.port_u16().unwrap_or(DMSG_PORT),
                })
            }
            Some(_) => Err(BaseUrlError::Scheme(text())),
            None => Err(BaseUrlError::Form(text())),
        }
    }
}

/// URL of a service: `http://HOST[:PORT][/PATH]`, the same with `https`, or
/// `dmsg://PK[:PORT][/PATH]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl {
    carrier: Carrier,
    authority: Authority,
    /// Path without a trailing slash.
    path: String,
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let wrong = || BaseUrlError::Form(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?.clone();
        let carrier = Carrier::of(&uri)?;
        let port = authority.port_u16();
        let host = port.map_or(authority.host().to_owned(), |port| {
            format!("{}:{port}", authority.host())
        });
        // The authority must consist of host and port: no user, no port above 65535.
        let is_plain = authority.as_str() == host && uri.query().is_none();
        if !is_plain || authority.host().is_empty() || port == Some(0) {
            return Err(wrong());
        }
        Ok(Self {
            carrier,
            authority,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

impl BaseUrl {
    fn scheme(&self) -> &'static str {
        match self.carrier {
            Carrier::Tcp => "http",
            Carrier::Tls => "https",
            Carrier::Dmsg { .. } => "dmsg",
        }
    }

    /// Returns the transport to the service.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Appends the path and query of `path` to the base URL.
    pub fn join(&self, path: &Uri) -> Result<Uri, http::Error> {
        let below = path.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme(self.scheme())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{below}", self.path))
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

    #[test]
    fn a_service_on_dmsg_is_named_by_its_key() {
        for (url, port) in [("", 80), (":80", 80), (":81/below/", 81)] {
            let base: BaseUrl = format!("dmsg://{KEY}{url}").parse().unwrap();
            let key = KEY.parse().unwrap();
            assert_eq!(base.carrier(), Carrier::Dmsg { key, port });
            let uri = base.join(&"/x?y=z".parse().unwrap()).unwrap();
            assert_eq!(Carrier::of(&uri), Ok(base.carrier()), "{uri}");
            assert!(
                uri.to_string().starts_with(base.to_string().as_str()),
                "{uri}"
            );
            assert!(uri.to_string().ends_with("/x?y=z"), "{uri}");
        }
    }

    #[test]
    fn a_host_that_is_no_key_is_refused() {
        let off_the_curve = format!("02{}", "ff".repeat(32));
        for host in ["disc.example:80", "02", &KEY[1..], &off_the_curve] {
            let url = format!("dmsg://{host}");
            assert!(
                matches!(url.parse::<BaseUrl>(), Err(BaseUrlError::Key(_))),
                "{url}"
            );
        }
        for url in [
            format!("dmsg://u@{KEY}"),
            format!("dmsg://{KEY}:0"),
            format!("dmsg://{KEY}?x"),
        ] {
            assert!(url.parse::<BaseUrl>().is_err(), "{url}");
        }
    }
}
