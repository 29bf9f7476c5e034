//! Common parts of networks over TCP and over DMSG: keys, randomness, readiness.

use std::time::Duration;

use skydht_core::Seed;
use skydht_core::key::SecretKey;
use skydht_driver::Dht;

use crate::failure::{Code, Failure, Result};

/// Longest wait for a network to be ready.
const UP_TIMEOUT: Duration = Duration::from_secs(120);
/// Files reserved for everything but sessions.
pub(super) const OTHER_FILES: u64 = 64;

/// Waits until all nodes are ready.
pub(super) async fn all_ready(nodes: &[Dht], progress: impl Fn(usize)) -> Result<()> {
    let ready = async {
        for (index, dht) in nodes.iter().enumerate() {
            dht.ready().await?;
            progress(index + 1);
        }
        Ok::<(), Box<Failure>>(())
    };
    let Ok(result) = tokio::time::timeout(UP_TIMEOUT, ready).await else {
        let ready = nodes.iter().filter(|dht| dht.is_ready()).count();
        let (count, seconds) = (nodes.len(), UP_TIMEOUT.as_secs());
        return Err(Failure::new(
            Code::Timeout,
            format_args!("only {ready} of {count} nodes were ready after {seconds} s"),
        ));
    };
    result
}

pub(super) fn draws(seed: u64, index: usize) -> Seed {
    Seed::from_number(seed.wrapping_mul(1 << 20).wrapping_add(index as u64))
}

pub(super) fn secret(seed: u64, index: usize) -> SecretKey {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&seed.to_be_bytes());
    entropy[8..16].copy_from_slice(&(index as u64).to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

#[cfg(test)]
mod tests {
    use super::secret;

    #[test]
    fn keys_follow_from_seed_and_index() {
        let key = |seed, index| secret(seed, index).public();
        assert_eq!(key(1, 2), key(1, 2));
        assert_ne!(key(1, 2), key(2, 1));
    }
}
