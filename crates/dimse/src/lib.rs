//! filmgate-dimse
