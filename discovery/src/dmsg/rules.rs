//! What a discovery demands of an entry by itself.

use std::time::Duration;

use skydht_core::time::Unix;
use skydht_dmsg::entry::SignedEntry;
use subtle::ConstantTimeEq as _;

use super::Refusal;

/// The longest entry of a server, in bytes; all of them travel in one answer. Go has no limit.
pub const MAX_SERVER_ENTRY: usize = 4096;

const OFFICIAL: &str = "official";
const COMMUNITY: &str = "community";

/// How strict a discovery is.
#[derive(Clone, Default)]
pub struct Rules {
    /// Servers may say addresses on loopback: upstream's test mode, for networks on one machine.
    pub allow_loopback: bool,
    /// Servers that say this word as their type are published as `official`, all others as
    /// `community`. Empty: any server that says nothing is official, as upstream has it.
    pub passphrase: String,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("allow_loopback", &self.allow_loopback)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// Judges an entry that is to be written, and gives it as it is kept.
    ///
    /// # Errors
    /// The first rule that is broken, in upstream's order.
    pub fn publish(&self, signed: SignedEntry, now: Unix) -> Result<SignedEntry, Refusal> {
        if !self.allow_loopback {
            signed.entry().validate_public()?;
        }
        signed.judge(Duration::from_nanos(now.0))?;
        let Some(server) = &signed.entry().server else {
            return Ok(signed);
        };
        if signed.json().len() > MAX_SERVER_ENTRY {
            return Err(Refusal::TooLong);
        }
        let said = server.server_type.as_bytes();
        let is_official = bool::from(said.ct_eq(self.passphrase.as_bytes()));
        let kind = if is_official { OFFICIAL } else { COMMUNITY };
        Ok(signed.with_server_type(kind)?)
    }

    /// Judges an entry that asks for its own removal.
    ///
    /// # Errors
    /// As [`Rules::publish`].
    pub fn remove(&self, signed: &SignedEntry, now: Unix) -> Result<(), Refusal> {
        Ok(signed.judge(Duration::from_nanos(now.0))?)
    }
}
