//! Where a service answers: a visor's key and a port on it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey};

use super::ElementError;

/// `PK:PORT` in text; Go takes a text without a key, or without a port, for null.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ServiceAddress {
    /// The visor; none is Go's null key.
    pub key: Option<PublicKey>,
    /// The port; 0 is none.
    pub port: u16,
}

/// No address of a service; the texts are upstream's where they name the port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceAddressError {
    /// The part before the colon is no key.
    #[error("Invalid public key")]
    Key,
    /// The part behind it is no number of 16 bits.
    #[error("no port: {0:?}")]
    Port(String),
}

impl ServiceAddress {
    /// The 35 bytes by which Go knows it: key ‖ port, big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_LEN + 2] {
        let mut bytes = [0; PUBLIC_KEY_LEN + 2];
        if let Some(key) = &self.key {
            bytes[..PUBLIC_KEY_LEN].copy_from_slice(key.as_bytes());
        }
        bytes[PUBLIC_KEY_LEN..].copy_from_slice(&self.port.to_be_bytes());
        bytes
    }

    /// Checks that both are there, in upstream's order.
    ///
    /// # Errors
    /// [`ElementError::NoKey`] or [`ElementError::NoPort`].
    pub fn validate(&self) -> Result<PublicKey, ElementError> {
        let key = self.key.ok_or(ElementError::NoKey)?;
        if self.port == 0 {
            return Err(ElementError::NoPort);
        }
        Ok(key)
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}:{}", self.port),
            None => write!(f, "{:0width$}:{}", 0, self.port, width = 2 * PUBLIC_KEY_LEN),
        }
    }
}

impl FromStr for ServiceAddress {
    type Err = ServiceAddressError;

    fn from_str(text: &str) -> Result<Self, ServiceAddressError> {
        let (key, port) = match text.split_once(':') {
            Some((key, port)) => (key, Some(port)),
            None => (text, None),
        };
        let is_null = key.bytes().all(|digit| digit == b'0');
        let is_null = key.is_empty() || is_null && key.len() == 2 * PUBLIC_KEY_LEN;
        let key = match is_null {
            true => None,
            false => Some(key.parse().map_err(|_| ServiceAddressError::Key)?),
        };
        let number = |port: &str| {
            // Go takes no sign.
            let is_number = port.bytes().all(|digit| digit.is_ascii_digit());
            let port_error = || ServiceAddressError::Port(port.chars().take(32).collect());
            let number = port.parse().ok().filter(|_| is_number);
            number.ok_or_else(port_error)
        };
        Ok(Self {
            key,
            port: port.map_or(Ok(0), number)?,
        })
    }
}

impl Serialize for ServiceAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
