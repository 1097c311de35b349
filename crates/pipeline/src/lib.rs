//! filmgate-pipeline
