//! A path, and what is answered at it.

use std::collections::BTreeSet;

use axum::{Router, handler::Handler, http::Method, routing::MethodRouter};

use super::Parameter;
use crate::{Scope, router::App};

/// What a route needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// A scope.
    Scope(Scope),
    /// The same, and somebody with a browser is shown where to log in.
    Page(Scope),
}

/// Which studies an operation can show: what it takes of somebody who may read single ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any, or what the gateway itself knows: nothing for them.
    Everything,
    /// The study that its path names.
    Study,
    /// None but those the asker may read: the handler sees to that ([`crate::Readable`]).
    Readable,
    /// None: a page without anything of a study, or a file of it.
    Nothing,
}

impl Reach {
    /// True where somebody who may read single studies may ask.
    pub(crate) fn takes_single_studies(self) -> bool {
        self != Self::Everything
    }
}

/// A path, and what is answered at it.
pub(crate) struct Route {
    pub(super) path: &'static str,
    pub(super) operations: Vec<Operation>,
    handlers: MethodRouter<App>,
}

/// The route of a path, as the router writes one; nothing is answered there yet.
pub(super) fn at(path: &'static str) -> Route {
    Route { path, operations: Vec::new(), handlers: MethodRouter::new() }
}

impl Route {
    /// GET, and HEAD as it.
    pub(super) fn get<H: Handler<T, App>, T: 'static>(mut self, handler: H, operation: Operation) -> Self {
        self.operations.push(Operation { method: Method::GET, ..operation });
        Self { handlers: self.handlers.get(handler), ..self }
    }

    /// POST.
    pub(super) fn post<H: Handler<T, App>, T: 'static>(mut self, handler: H, operation: Operation) -> Self {
        self.operations.push(Operation { method: Method::POST, ..operation });
        Self { handlers: self.handlers.post(handler), ..self }
    }

    /// Puts it into a router.
    pub(crate) fn into_router(self, router: Router<App>) -> Router<App> {
        router.route(self.path, self.handlers)
    }
}

/// What is answered at a path to a method.
pub(crate) struct Operation {
    pub(super) method: Method,
    pub(super) needs: Needs,
    pub(super) reach: Reach,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    /// Statuses, each with the media types it comes in, of what is no refusal.
    pub(super) answers: Vec<(u16, &'static [&'static str])>,
    /// Statuses of failure beside those that follow from what it is.
    pub(super) refusals: BTreeSet<u16>,
}

/// What is sent along.
pub(super) enum Body {
    /// JSON, of these members.
    Json(&'static [Parameter]),
    /// A body of this media type.
    Of(&'static str),
}

fn operation(needs: Needs, summary: &'static str) -> Operation {
    Operation {
        method: Method::GET,
        needs,
        reach: Reach::Everything,
        summary,
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        refusals: BTreeSet::new(),
    }
}

/// For everybody.
pub(super) fn open(summary: &'static str) -> Operation {
    operation(Needs::Nothing, summary)
}

/// A page for who may read.
pub(super) fn page(summary: &'static str) -> Operation {
    operation(Needs::Page(Scope::Read), summary).gives(&["text/html"])
}

/// For who may read.
pub(super) fn read(summary: &'static str) -> Operation {
    operation(Needs::Scope(Scope::Read), summary)
}

/// For who may send instances.
pub(super) fn store(summary: &'static str) -> Operation {
    operation(Needs::Scope(Scope::Store), summary)
}

/// For who may operate.
pub(super) fn operate(summary: &'static str) -> Operation {
    operation(Needs::Scope(Scope::Operate), summary)
}

/// For the administrator.
pub(super) fn admin(summary: &'static str) -> Operation {
    operation(Needs::Scope(Scope::Admin), summary)
}

impl Operation {
    /// Shows these studies at most; without a word, any.
    pub(super) fn reaches(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Takes parameters of its query string or header.
    pub(super) fn asks(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend_from_slice(parameters);
        self
    }

    /// Takes JSON of these members.
    pub(super) fn takes_json(mut self, members: &'static [Parameter]) -> Self {
        self.body = Some(Body::Json(members));
        self
    }

    /// Takes a body of a media type.
    pub(super) fn takes(mut self, media_type: &'static str) -> Self {
        self.body = Some(Body::Of(media_type));
        self
    }

    /// Answers 200 in one of these media types.
    pub(super) fn gives(self, media_types: &'static [&'static str]) -> Self {
        self.answers_with(200, media_types)
    }

    /// Answers JSON.
    pub(super) fn gives_json(self) -> Self {
        self.gives(&["application/json"])
    }

    /// Answers with another status, too.
    pub(super) fn answers_with(mut self, status: u16, media_types: &'static [&'static str]) -> Self {
        self.answers.push((status, media_types));
        self
    }

    /// Tells a client that has the answer by its tag that it is the same still.
    pub(super) fn kept_by_tag(self) -> Self {
        self.asks(&[Parameter::header("If-None-Match", "entity tags of answers that the client has")])
            .answers_with(304, &[])
    }

    /// Refuses some requests with one of these.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }
}
