//! The real binary, real sockets, real peers: one module per story.
//!
//! Every test has its own folder and ports of its own, waits on conditions, and fails on a WARN or ERROR line it did
//! not expect. Tests over real-world files read the folder `FILMGATE_TEST_DATA` names (default `../shared/data`);
//! those that talk to DCMTK or Python need what `cargo xtask test` installs.

#![expect(clippy::print_stdout, reason = "the figures of a run")]

mod accept;
mod access;
mod adopt;
mod book;
mod bounded;
mod charsets;
mod cloud;
mod cold;
mod config;
mod custody;
mod demo;
mod doors;
mod duplicates;
mod endpoint;
mod fairness;
mod follow;
mod keys;
mod login;
mod malformed;
mod nodes;
mod openapi;
mod outage;
mod peers_tls;
mod pixels;
mod plaintext;
mod rebuild;
mod receive;
mod regression;
mod restart;
mod retention;
mod roles;
mod rotation;
mod rotation_killed;
mod round_trip;
mod shred;
mod single_studies;
mod support;
mod token;
mod viewer;
mod viewer_requests;
