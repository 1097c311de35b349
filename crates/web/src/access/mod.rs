//! Who asks, and whether they may.
//!
//! A request is somebody's by its token, by the administrator's log-in, by a peer's certificate, or because it comes from
//! this very machine. What each may is a set of scopes, or to read single studies; what each route needs stands with the route.
//!
//! | file | what |
//! | --- | --- |
//! | `scope` | the scopes, and who has them |
//! | `users` | tokens, the administrator, log-ins; what is secret is kept as a digest |
//! | `guard` | before every route |
//! | `pages` | set-up and log-in, and what they and the command line ask |

pub(crate) mod guard;
pub(crate) mod pages;
mod scope;
mod users;

pub use guard::ClientCertificate;
pub use scope::{Asker, Grant, Grants, ParseGrantError, Readable, Scope};
pub use users::{CreatedToken, NewToken, TokenShown, UserError, UserSettings, Users};
