//! Records and packs from outside: what goes in comes back, nothing forged opens, whatever the bytes are.

mod bulk;
mod charsets;
mod corpus;
mod format;
mod packs;
mod property;
mod reading;
mod support;
mod tamper;
