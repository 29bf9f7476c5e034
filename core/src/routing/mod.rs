//! The routing table: k-buckets, ping-first.
