//! What a request needs, by its route. A route that is not in the list is answered to nobody.

use std::collections::HashMap;

use axum::http::Method;

use super::{Needs, Route};

/// What each route needs.
pub(crate) struct Rights(HashMap<&'static str, Vec<(Method, Needs)>>);

impl Rights {
    /// Of these routes.
    pub(crate) fn of(routes: &[Route]) -> Self {
        let needs = |route: &Route| {
            route.operations.iter().map(|operation| (operation.method.clone(), operation.needs)).collect()
        };
        Self(routes.iter().map(|route| (route.path, needs(route))).collect())
    }

    /// What a request needs; `None` when nothing was said about it. `route` is `None` where no route fits: that there is no such page
    /// may everybody know.
    pub(crate) fn needs(&self, method: &Method, route: Option<&str>) -> Option<Needs> {
        let Some(route) = route else { return Some(Needs::Nothing) };
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let listed = self.0.get(route)?;
        let found = listed.iter().find(|(listed, _)| listed == method).map(|(_, needs)| *needs);
        // A method that the route does not take is refused by the router itself.
        Some(found.unwrap_or(Needs::Nothing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scope, routes};

    #[test]
    fn what_nobody_spoke_of_is_answered_to_nobody() {
        let rights = Rights::of(&routes::all());
        assert_eq!(rights.needs(&Method::GET, Some("/new/route")), None);
        let read = Some(Needs::Scope(Scope::Read));
        assert_eq!(rights.needs(&Method::HEAD, Some("/api/status")), read);
        assert_eq!(rights.needs(&Method::GET, Some("/dicomweb/studies/{study}")), read);
        assert_eq!(rights.needs(&Method::POST, Some("/api/keys/rotation")), Some(Needs::Scope(Scope::Admin)));
        assert_eq!(rights.needs(&Method::PUT, Some("/api/status")), Some(Needs::Nothing));
        assert_eq!(rights.needs(&Method::GET, None), Some(Needs::Nothing));
    }

    /// What is open to everybody is no more than this: a new route has to be thought about.
    #[test]
    fn nothing_but_pages_to_come_in_by_is_open() {
        let routes = routes::all();
        let mut open: Vec<&str> = Vec::new();
        for route in &routes {
            let is_open = route.operations.iter().any(|operation| operation.needs == Needs::Nothing);
            open.extend(is_open.then_some(route.path).filter(|path| !path.starts_with("/assets/")));
        }
        open.sort_unstable();
        let expected = ["/api/login", "/api/logout", "/api/session", "/api/set-up"];
        assert_eq!(open, [&expected[..], &["/healthz", "/login", "/readyz", "/set-up"]].concat());
    }
}
