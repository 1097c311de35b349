//! filmgate-bucket
