//! TLS of the doors, and of what the gateway asks of others.
//!
//! The profile is DICOM PS3.15 B.12 (BCP 195: RFC 8996, RFC 9325): TLS 1.2 and 1.3 and nothing older, ephemeral keys and
//! authenticated encryption only, 1.3 wherever the other side has it. The DICOM door is mutual by default: a peer without
//! a certificate of ours is refused before it says a word.
//!
//! | file | what |
//! | --- | --- |
//! | `profile` | protocol versions and cipher suites |
//! | `files` | certificates, keys and revocation lists, read from PEM |
//! | `server`, `client` | what each side shows and asks for; a door's is read again when its files change |
//! | `stream` | a blocking stream under an association |
//! | `certificate` | what a peer's certificate says of it |
//! | `ends` | until when a certificate or a revocation list is good |
//! | `refusal` | why a handshake failed, in words |

mod certificate;
mod client;
mod ends;
mod files;
mod profile;
mod refusal;
mod server;
mod stream;

pub(crate) use certificate::PeerCertificate;
pub(crate) use client::{ClientFiles, ClientTls};
pub(crate) use files::Error;
pub(crate) use profile::provider;
pub(crate) use server::{ClientCertificates, ServerFiles, ServerTls, watch};
pub(crate) use stream::{HandshakeError, TlsStream, failed};
