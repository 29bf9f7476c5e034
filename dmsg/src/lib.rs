//! The DMSG protocol: secp256k1 Noise and the session layer.
