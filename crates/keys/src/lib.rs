//! filmgate-keys
