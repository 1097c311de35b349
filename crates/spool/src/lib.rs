//! filmgate-spool
