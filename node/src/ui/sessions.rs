//! Access to the status page: a browser exchanges the token, or a code requested by a command that
//! has the token, for a cookie. The cookie permits reading only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use hyper::header::{COOKIE, HeaderMap};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::failure::Result;

/// Lifetime of a code.
pub(crate) const CODE_LIFE: Duration = Duration::from_secs(60);
/// Lifetime of a cookie.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Maximum number of codes; the oldest is dropped.
const MOST_CODES: usize = 8;
/// Maximum number of cookies; the oldest is dropped.
const MOST_SESSIONS: usize = 32;

/// Valid codes and cookies. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    token: Zeroizing<String>,
    /// Name of the cookie. It contains the port, because browsers share cookies among the ports of
    /// a host.
    name: String,
    codes: Secrets,
    cookies: Secrets,
}

/// Secrets with their expiry, oldest first.
#[derive(Default)]
struct Secrets(Vec<(Instant, Zeroizing<String>)>);

impl Secrets {
    fn add(&mut self, secret: &str, life: Duration, most: usize) {
        let now = Instant::now();
        self.0.retain(|(end, _)| *end > now);
        if self.0.len() >= most {
            self.0.remove(0);
        }
        let secret = Zeroizing::new(secret.to_owned());
        self.0.push((now + life, secret));
    }

    /// Returns the index of a valid secret. All secrets are compared, each in constant time.
    fn position(&self, given: &str) -> Option<usize> {
        let now = Instant::now();
        let mut found = None;
        for (index, (end, secret)) in self.0.iter().enumerate() {
            let is_it: bool = given.as_bytes().ct_eq(secret.as_bytes()).into();
            if is_it && *end > now {
                found = Some(index);
            }
        }
        found
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the token, and the port of the API.
    pub(crate) fn begin(&self, token: &str, port: u16) {
        let mut inner = self.lock();
        inner.token = Zeroizing::new(token.to_owned());
        inner.name = format!("skydht-{port}");
    }

    /// Creates a code that can be exchanged once, within [`CODE_LIFE`].
    pub(crate) fn new_code(&self) -> Result<Zeroizing<String>> {
        let code = secret()?;
        self.lock().codes.add(&code, CODE_LIFE, MOST_CODES);
        Ok(code)
    }

    /// Exchanges a code for the value of a `Set-Cookie` header; `None` if the code is not valid.
    pub(crate) fn redeem(&self, code: &str) -> Result<Option<String>> {
        let cookie = secret()?;
        let mut inner = self.lock();
        let Some(at) = inner.codes.position(code) else {
            return Ok(None);
        };
        inner.codes.0.remove(at);
        Ok(Some(inner.open(&cookie)))
    }

    /// Exchanges the token for the value of a `Set-Cookie` header; `None` if it is wrong.
    pub(crate) fn log_in(&self, token: &str) -> Result<Option<String>> {
        let cookie = secret()?;
        let mut inner = self.lock();
        let right: bool = token.as_bytes().ct_eq(inner.token.as_bytes()).into();
        let may = right && !inner.token.is_empty();
        Ok(may.then(|| inner.open(&cookie)))
    }

    /// Returns whether a request has a valid cookie.
    pub(crate) fn holds(&self, headers: &HeaderMap) -> bool {
        let inner = self.lock();
        let values = headers.get_all(COOKIE).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let mut pairs = texts.flat_map(|text| text.split(';'));
        pairs.any(|pair| match pair.trim().split_once('=') {
            Some((name, value)) => name == inner.name && inner.cookies.position(value).is_some(),
            None => false,
        })
    }
}

impl Inner {
    fn open(&mut self, cookie: &str) -> String {
        self.cookies.add(cookie, SESSION_LIFE, MOST_SESSIONS);
        let (name, seconds) = (&self.name, SESSION_LIFE.as_secs());
        format!("{name}={cookie}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict")
    }
}

fn secret() -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(crate::random_bytes()?);
    Ok(Zeroizing::new(HEXLOWER.encode(&*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pair = cookie.split(';').next().unwrap();
        headers.insert(COOKIE, format!("a=b; {pair}").parse().unwrap());
        headers
    }

    #[test]
    fn a_code_opens_once_and_the_token_always() {
        let sessions = Sessions::default();
        assert_eq!(sessions.log_in("").unwrap(), None, "no token yet");
        sessions.begin("the token", 7471);
        let code = sessions.new_code().unwrap();
        let cookie = sessions.redeem(&code).unwrap().unwrap();
        assert!(cookie.ends_with("HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(sessions.holds(&with(&cookie)));
        assert_eq!(sessions.redeem(&code).unwrap(), None);
        for wrong in ["", "the toke", "the tokens", &cookie] {
            assert_eq!(sessions.log_in(wrong).unwrap(), None);
            assert_eq!(sessions.redeem(wrong).unwrap(), None);
        }
        let other = sessions.log_in("the token").unwrap().unwrap();
        assert!(other != cookie && sessions.holds(&with(&other)));
        assert!(sessions.holds(&with(&cookie)));
        // The cookie of a node at another port, and an empty cookie.
        assert!(!sessions.holds(&with(&cookie.replace("7471", "7472"))));
        assert!(!sessions.holds(&HeaderMap::new()));
        assert!(!sessions.holds(&with("skydht-7471=")));
    }

    #[test]
    fn the_oldest_makes_room() {
        let sessions = Sessions::default();
        sessions.begin("the token", 1);
        let codes: Vec<_> = (0..=MOST_CODES)
            .map(|_| sessions.new_code().unwrap())
            .collect();
        assert_eq!(sessions.redeem(&codes[0]).unwrap(), None);
        assert!(sessions.redeem(&codes[1]).unwrap().is_some());
        let first = sessions.log_in("the token").unwrap().unwrap();
        for _ in 1..MOST_SESSIONS {
            assert!(sessions.holds(&with(&first)));
            sessions.log_in("the token").unwrap();
        }
        sessions.log_in("the token").unwrap();
        assert!(!sessions.holds(&with(&first)));
        let inner = sessions.lock();
        assert!(inner.cookies.0.len() <= MOST_SESSIONS && inner.codes.0.len() <= MOST_CODES);
    }
}
