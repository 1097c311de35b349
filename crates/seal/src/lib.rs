//! filmgate-seal
