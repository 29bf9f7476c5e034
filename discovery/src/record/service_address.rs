//! Address of a service: a visor's key and a port on it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey};

use super::ElementError;

/// An address, as text `PK:PORT`. Like Go's parser, this one accepts a missing key or port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ServiceAddress {
    /// Key of the visor; `None` is Go's null key.
    pub key: Option<PublicKey>,
    /// Port; 0 if it is missing.
    pub port: u16,
}

/// Why a text is not the address of a service; where the text names the port, it is upstream's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceAddressError {
    /// The part before the colon is not a key.
    #[error("Invalid public key")]
    Key,
    /// The part after the colon is not a 16-bit number.
    #[error("no port: {0:?}")]
    Port(String),
}

impl ServiceAddress {
    /// Returns the 35 bytes that Go uses: key ‖ port, big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_LEN + 2] {
        let mut bytes = [0; PUBLIC_KEY_LEN + 2];
        if let Some(key) = &self.key {
            bytes[..PUBLIC_KEY_LEN].copy_from_slice(key.as_bytes());
        }
        bytes[PUBLIC_KEY_LEN..].copy_from_slice(&self.port.to_be_bytes());
        bytes
    }

    /// Checks that key and port are present, in upstream's order; returns the key.
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
            // Go's parser rejects a sign.
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
