//! What a request needs, by its route. A route that is not in the list is answered to nobody.

use std::collections::HashMap;

use axum::http::Method;

use super::{Needs, Reach, Route};

/// What each route needs, and which studies it can show.
pub(crate) struct Rights(HashMap<&'static str, Vec<(Method, Needs, Reach)>>);

impl Rights {
    /// Of these routes.
    pub(crate) fn of(routes: &[Route]) -> Self {
        let needs = |route: &Route| {
            let operations = route.operations.iter();
            operations.map(|operation| (operation.method.clone(), operation.needs, operation.reach)).collect()
        };
        Self(routes.iter().map(|route| (route.path, needs(route))).collect())
    }

    /// What a request needs, and which studies it can show; `None` when nothing was said about it. `route` is `None` where no route
    /// fits: that there is no such page may everybody know.
    pub(crate) fn needs(&self, method: &Method, route: Option<&str>) -> Option<(Needs, Reach)> {
        const OPEN: (Needs, Reach) = (Needs::Nothing, Reach::Nothing);
        let Some(route) = route else { return Some(OPEN) };
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let listed = self.0.get(route)?;
        let found = listed.iter().find(|(listed, ..)| listed == method);
        // A method that the route does not take is refused by the router itself.
        Some(found.map_or(OPEN, |(_, needs, reach)| (*needs, *reach)))
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
        let read = |reach| Some((Needs::Scope(Scope::Read), reach));
        assert_eq!(rights.needs(&Method::HEAD, Some("/api/status")), read(Reach::Everything));
        assert_eq!(rights.needs(&Method::GET, Some("/dicomweb/studies/{study}")), read(Reach::Study));
        assert_eq!(rights.needs(&Method::GET, Some("/dicomweb/studies")), read(Reach::Readable));
        let admin = Some((Needs::Scope(Scope::Admin), Reach::Everything));
        assert_eq!(rights.needs(&Method::POST, Some("/api/keys/rotation")), admin);
        let open = Some((Needs::Nothing, Reach::Nothing));
        assert_eq!(rights.needs(&Method::PUT, Some("/api/status")), open);
        assert_eq!(rights.needs(&Method::GET, None), open);
    }

    /// The guard looks at the step `study` of a path that reaches the study it names.
    #[test]
    fn what_reaches_the_study_of_its_path_names_one() {
        let routes = routes::all();
        let reaching = |wanted| {
            let has = |route: &&Route| route.operations.iter().any(|operation| operation.reach == wanted);
            routes.iter().filter(has).map(|route| route.path).collect::<Vec<_>>()
        };
        let studies = reaching(Reach::Study);
        assert!(studies.len() > 15 && studies.iter().all(|path| path.contains("{study}")), "{studies:?}");
        // What looks at who asks itself is no more than this.
        let mut readable = reaching(Reach::Readable);
        readable.sort_unstable();
        let searches = ["/dicomweb/instances", "/dicomweb/series", "/dicomweb/studies"];
        assert_eq!(readable, [&["/api/progress"], &searches[..], &["/viewer", "/wado"]].concat());
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
