//! Resolves host names, without a cache: an unknown name may soon be known, and addresses change.

use std::net::SocketAddr;
use std::time::Duration;

/// Longest wait for a name server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the addresses of a host, in the resolver's order and without duplicates.
///
/// # Errors
/// Why there are none, with the name.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("cannot resolve {host}: {why}");
    let asked = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host, port)));
    let found = asked
        .await
        .map_err(|_| wrong(&format_args!("no answer within {TIMEOUT:?}")))?
        .map_err(|error| wrong(&cause(&error.to_string())))?;
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for addr in found {
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    if addrs.is_empty() {
        return Err(wrong(&"it has no address"));
    }
    Ok(addrs)
}

/// Removes the prefix that the standard library adds.
fn cause(text: &str) -> &str {
    let before = "failed to lookup address information: ";
    text.strip_prefix(before).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_resolver_and_a_failure_names_the_host() {
        for host in ["127.0.0.1", "::1"] {
            let addrs = resolve(host, 7).await.unwrap();
            assert_eq!(addrs, [SocketAddr::new(host.parse().unwrap(), 7)]);
        }
        let error = resolve("nobody.invalid", 7).await.unwrap_err();
        assert!(
            error.starts_with("cannot resolve nobody.invalid: "),
            "{error}"
        );
        assert!(!error.contains("lookup"), "{error}");
    }
}
