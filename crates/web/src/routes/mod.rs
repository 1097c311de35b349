//! Every route: what is answered there, to whom, and how it is described. The router, the rights and the OpenAPI document are made of
//! this one list, so that none of them knows a route that another does not.
//!
//! | file | what |
//! | --- | --- |
//! | `pages`, `api`, `dicomweb` | the list |
//! | `route`, `parameter` | what it is a list of |
//! | `rights` | what a request needs, and which studies it reaches |
//! | `openapi` | the document |

mod api;
mod dicomweb;
pub(crate) mod openapi;
mod pages;
mod parameter;
mod rights;
mod route;

pub(crate) use parameter::Parameter;
pub(crate) use rights::Rights;
pub(crate) use route::{Needs, Reach, Route};

/// All of them.
pub(crate) fn all() -> Vec<Route> {
    [pages::routes(), api::routes(), dicomweb::routes()].into_iter().flatten().collect()
}
