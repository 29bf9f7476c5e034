//! Entries as they travel: the JSON text, with the signature in it.

use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use skydht_core::key::{SecretKey, Signature};

use super::{Entry, EntryError, Half, MAX_ENTRY, ServerFields, text};

/// An entry and the text that it came in or goes out as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedEntry {
    entry: Entry,
    json: Vec<u8>,
}

impl SignedEntry {
    /// Reads the text; the signature is not checked.
    ///
    /// # Errors
    /// [`EntryError::Malformed`], [`EntryError::TooLong`], or [`EntryError::NoKey`] for Go's null
    /// key.
    pub fn from_json(json: &[u8]) -> Result<Self, EntryError> {
        if json.len() > MAX_ENTRY {
            return Err(EntryError::TooLong(json.len()));
        }
        // Go reads it into an entry without a key.
        if json.trim_ascii() == b"null" {
            return Err(EntryError::NoKey);
        }
        // serde would take a list of the fields, too.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(EntryError::Malformed("not an object".to_owned()));
        }
        match serde_json::from_slice(json) {
            Ok(entry) => Ok(Self {
                entry,
                json: json.to_vec(),
            }),
            Err(_) if has_null_key(json) => Err(EntryError::NoKey),
            Err(error) => Err(EntryError::Malformed(error.to_string())),
        }
    }

    pub(super) fn sign(mut entry: Entry, secret: &SecretKey) -> Self {
        assert_eq!(
            entry.key,
            secret.public(),
            "an entry is signed by its owner"
        );
        let text = unsigned(&entry);
        entry.signature = secret.sign(&Sha256::digest(text).into()).to_string();
        let json = to_json(&entry);
        Self { entry, json }
    }

    /// This entry with one half of it, its sequence and its timestamp as in `own`, and all else
    /// that its owner signed word for word as it is here, signed anew. An `own` without that half
    /// takes it away.
    ///
    /// # Errors
    /// As [`Self::verify_stored`]: what the owner did not sign before is not signed now.
    /// [`EntryError::TooLong`] when it then is.
    ///
    /// # Panics
    /// When the secret key is not the owner's.
    pub fn with_half(
        &self,
        half: Half,
        own: &Entry,
        secret: &SecretKey,
    ) -> Result<Self, EntryError> {
        assert_eq!(
            self.entry.key,
            secret.public(),
            "an entry is signed by its owner"
        );
        let sign = |text: &[u8]| secret.sign(&Sha256::digest(text).into()).to_string();
        let json = text::beside(&self.covered_stored()?, &to_json(own), half, sign);
        Self::from_json(&json.map_err(|error| EntryError::Malformed(error.to_string()))?)
    }

    /// What it says.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The text, as it came or as it was signed.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The same with another type of the server, everything else as it came: what a discovery does
    /// once it has checked the signature, which does not cover that.
    ///
    /// # Errors
    /// [`EntryError::TooLong`] when it then is.
    pub fn with_server_type(&self, kind: &str) -> Result<Self, EntryError> {
        let json = text::with_server_type(&self.json, kind);
        Self::from_json(&json.map_err(|error| EntryError::Malformed(error.to_string()))?)
    }

    /// Checks all that a discovery demands of an entry by itself, in upstream's order: that it is
    /// complete, that a server's is of now, and that its owner signed it. A client that is a
    /// server as well has no such time: each half is published at its own pace (specification of
    /// DMSG in 2026, §5.1).
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn judge(&self, unix_now: Duration) -> Result<(), EntryError> {
        self.entry.validate()?;
        if self.entry.server.is_some() && self.entry.client.is_none() {
            self.entry.validate_time(unix_now)?;
        }
        self.verify()
    }

    /// Checks the owner's signature over the text that came, then over the text that upstream
    /// would write of the same content.
    ///
    /// # Errors
    /// [`EntryError::SignatureForm`] or [`EntryError::Signature`].
    pub fn verify(&self) -> Result<(), EntryError> {
        self.covered().map(drop)
    }

    /// As [`Self::verify`], and also accepts what a discovery made of a server's entry: it fills
    /// in `serverType` after it checked the signature.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_stored(&self) -> Result<(), EntryError> {
        self.covered_stored().map(drop)
    }

    fn signature(&self) -> Result<Signature, EntryError> {
        let signature = self.entry.signature.parse();
        signature.map_err(|_| EntryError::SignatureForm)
    }

    /// The text that the owner signed.
    fn covered(&self) -> Result<Vec<u8>, EntryError> {
        let signature = self.signature()?;
        if let Some(text) = self.without_signature()
            && self.covers(&text, &signature).is_ok()
        {
            return Ok(text);
        }
        let text = unsigned(&self.entry);
        self.covers(&text, &signature).map(|()| text)
    }

    /// The text that the owner signed, before a discovery filled in the type of a server.
    fn covered_stored(&self) -> Result<Vec<u8>, EntryError> {
        let (error, server) = match (self.covered(), &self.entry.server) {
            (Err(EntryError::Signature(error)), Some(server)) => (error, server),
            (other, _) => return other,
        };
        let signature = self.signature()?;
        if let Ok(text) = text::without_server_type(&self.json)
            && self.covers(&text, &signature).is_ok()
        {
            return Ok(text);
        }
        let mut entry = self.entry.clone();
        entry.server = Some(ServerFields {
            server_type: String::new(),
            ..server.clone()
        });
        let text = unsigned(&entry);
        match self.covers(&text, &signature) {
            Ok(()) => Ok(text),
            Err(_) => Err(EntryError::Signature(error)),
        }
    }

    fn covers(&self, text: &[u8], signature: &Signature) -> Result<(), EntryError> {
        let digest = Sha256::digest(text).into();
        Ok(self.entry.key.verify(&digest, signature)?)
    }

    /// The text that came with the signature cut out, if it is where a compact text has it.
    fn without_signature(&self) -> Option<Vec<u8>> {
        let member = format!(",\"signature\":\"{}\"", self.entry.signature);
        let at = self
            .json
            .windows(member.len())
            .position(|part| part == member.as_bytes())?;
        Some([&self.json[..at], &self.json[at + member.len()..]].concat())
    }
}

/// The text that is signed.
fn unsigned(entry: &Entry) -> Vec<u8> {
    to_json(&Entry {
        signature: String::new(),
        ..entry.clone()
    })
}

fn to_json(entry: &Entry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("strings, numbers and lists are always JSON")
}

/// Go takes a key text of zeros, of any length, for no key.
fn has_null_key(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Owner {
        #[serde(default, rename = "static")]
        key: Option<String>,
    }
    let owner = serde_json::from_slice::<Owner>(json);
    owner.is_ok_and(|owner| owner.key.unwrap_or_default().bytes().all(|b| b == b'0'))
}
