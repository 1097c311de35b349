//! filmgate-web
