//! Pixels from outside: every file of the test data against what its manifest says, and what is broken against nothing at all.

mod child;
mod corpus;
mod files;
#[path = "../support/folder.rs"]
mod folder;
mod malformed;
mod transcode;
