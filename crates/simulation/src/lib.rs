//! filmgate-simulation
