//! Entries as they are transferred: the JSON text, including the signature.

use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use skydht_core::key::{SecretKey, Signature};

use super::{Entry, EntryError, Half, MAX_ENTRY, ServerFields, text};

/// An entry with the text in which it was received or is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedEntry {
    entry: Entry,
    json: Vec<u8>,
}

impl SignedEntry {
    /// Parses the text, without verifying the signature.
    ///
    /// # Errors
    /// [`EntryError::Malformed`], [`EntryError::TooLong`], or [`EntryError::NoKey`] for Go's null
    /// key.
    pub fn from_json(json: &[u8]) -> Result<Self, EntryError> {
        if json.len() > MAX_ENTRY {
            return Err(EntryError::TooLong(json.len()));
        }
        // Go parses `null` into an entry without a key.
        if json.trim_ascii() == b"null" {
            return Err(EntryError::NoKey);
        }
        // serde would accept a list of the fields, too.
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
        let text = text_to_sign(&entry);
        entry.signature = secret.sign(&Sha256::digest(text).into()).to_string();
        let json = to_json(&entry);
        Self { entry, json }
    }

    /// Returns this entry with one half, the sequence and the timestamp replaced by those of `own`,
    /// and everything else that its owner signed kept verbatim, signed anew. An `own` without that
    /// half removes it.
    ///
    /// # Errors
    /// As [`Self::verify_stored`]: only what the owner has signed before is signed again.
    /// [`EntryError::TooLong`] if the result is.
    ///
    /// # Panics
    /// If `secret` is not the owner's.
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
        let json = text::replace_half(&self.stored_signed_text()?, &to_json(own), half, sign);
        Self::from_json(&json.map_err(|error| EntryError::Malformed(error.to_string()))?)
    }

    /// Returns the parsed content.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns the text, as received or as signed.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Returns the entry with another server type and everything else verbatim. A discovery sets
    /// the type after verifying the signature, which therefore does not cover it.
    ///
    /// # Errors
    /// [`EntryError::TooLong`] if the result is.
    pub fn with_server_type(&self, kind: &str) -> Result<Self, EntryError> {
        let json = text::with_server_type(&self.json, kind);
        Self::from_json(&json.map_err(|error| EntryError::Malformed(error.to_string()))?)
    }

    /// Applies all rules that concern the entry alone, in upstream's order: it is complete, a
    /// server's is recent, and its owner signed it. The entry of a server that is also a client may
    /// be of any age: each half is published at its own interval (specification of DMSG in 2026,
    /// §5.1).
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

    /// Verifies the owner's signature over the received text, and otherwise over the text that
    /// upstream would write for the same content.
    ///
    /// # Errors
    /// [`EntryError::SignatureForm`] or [`EntryError::Signature`].
    pub fn verify(&self) -> Result<(), EntryError> {
        self.signed_text().map(drop)
    }

    /// Like [`Self::verify`], but also accepts a server's entry in which a discovery set
    /// `serverType` after verifying the signature.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_stored(&self) -> Result<(), EntryError> {
        self.stored_signed_text().map(drop)
    }

    fn signature(&self) -> Result<Signature, EntryError> {
        let signature = self.entry.signature.parse();
        signature.map_err(|_| EntryError::SignatureForm)
    }

    /// Returns the text that the owner signed.
    fn signed_text(&self) -> Result<Vec<u8>, EntryError> {
        let signature = self.signature()?;
        if let Some(text) = self.without_signature()
            && self.verify_text(&text, &signature).is_ok()
        {
            return Ok(text);
        }
        let text = text_to_sign(&self.entry);
        self.verify_text(&text, &signature).map(|()| text)
    }

    /// Returns the text that the owner signed, before a discovery set the server type.
    fn stored_signed_text(&self) -> Result<Vec<u8>, EntryError> {
        let (error, server) = match (self.signed_text(), &self.entry.server) {
            (Err(EntryError::Signature(error)), Some(server)) => (error, server),
            (other, _) => return other,
        };
        let signature = self.signature()?;
        if let Ok(text) = text::without_server_type(&self.json)
            && self.verify_text(&text, &signature).is_ok()
        {
            return Ok(text);
        }
        let mut entry = self.entry.clone();
        entry.server = Some(ServerFields {
            server_type: String::new(),
            ..server.clone()
        });
        let text = text_to_sign(&entry);
        match self.verify_text(&text, &signature) {
            Ok(()) => Ok(text),
            Err(_) => Err(EntryError::Signature(error)),
        }
    }

    /// Verifies a signature over `text`.
    fn verify_text(&self, text: &[u8], signature: &Signature) -> Result<(), EntryError> {
        let digest = Sha256::digest(text).into();
        Ok(self.entry.key.verify(&digest, signature)?)
    }

    /// Returns the received text without the signature, if that stands in it as compact JSON.
    fn without_signature(&self) -> Option<Vec<u8>> {
        let member = format!(",\"signature\":\"{}\"", self.entry.signature);
        let at = self
            .json
            .windows(member.len())
            .position(|part| part == member.as_bytes())?;
        Some([&self.json[..at], &self.json[at + member.len()..]].concat())
    }
}

/// Returns the text to sign.
fn text_to_sign(entry: &Entry) -> Vec<u8> {
    to_json(&Entry {
        signature: String::new(),
        ..entry.clone()
    })
}

fn to_json(entry: &Entry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("strings, numbers and lists are always JSON")
}

/// Returns whether the key is a string of zeros of any length, which Go reads as no key.
fn has_null_key(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Owner {
        #[serde(default, rename = "static")]
        key: Option<String>,
    }
    let owner = serde_json::from_slice::<Owner>(json);
    owner.is_ok_and(|owner| owner.key.unwrap_or_default().bytes().all(|b| b == b'0'))
}
