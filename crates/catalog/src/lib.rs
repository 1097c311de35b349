//! filmgate-catalog
