//! The canonical form of addresses.
//!
//! A dual-stack listener sees IPv4 peers at `[::ffff:a.b.c.d]`. That is the same address, but a
//! host without IPv6 cannot use it. Addresses are converted wherever they enter, so that back-off,
//! tables, files and answers contain only one form.

use core::net::SocketAddr;

/// Returns the form in which an address is kept, compared and passed on: an IPv4-mapped IPv6
/// address becomes IPv4, and the flow label, which does not identify a host, is removed. The scope
/// is kept, since a link-local address means nothing without it.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => {
                let mut v6 = v6;
                v6.set_flowinfo(0);
                v6.into()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn both_forms_of_an_ipv4_address_are_one() {
        for (given, kept) in [
            ("[::ffff:10.1.2.3]:4000", "10.1.2.3:4000"),
            ("10.1.2.3:4000", "10.1.2.3:4000"),
            ("[::ffff:0.0.0.0]:1", "0.0.0.0:1"),
            ("[2001:db8::1]:4000", "[2001:db8::1]:4000"),
            ("[::1]:4000", "[::1]:4000"),
            // IPv4-compatible rather than mapped: a different address.
            ("[::10.1.2.3]:4000", "[::a01:203]:4000"),
        ] {
            assert_eq!(canonical(given.parse().unwrap()).to_string(), kept);
        }
    }
}
