//! The event loop around skydht-core, its transports, and the Dht handle.
