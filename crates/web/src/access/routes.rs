//! What each route needs. One table: a route that is not in it is answered to nobody, and a test says so.

use axum::http::Method;

use super::Scope;

/// What a route needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// A scope.
    Scope(Scope),
    /// The same, and somebody with a browser is shown where to log in.
    Page(Scope),
}

use Needs::{Nothing, Page};
const READ: Needs = Needs::Scope(Scope::Read);
const STORE: Needs = Needs::Scope(Scope::Store);
const OPERATE: Needs = Needs::Scope(Scope::Operate);
const ADMIN: Needs = Needs::Scope(Scope::Admin);

/// Method, route as the router names it, need. HEAD is as GET.
const TABLE: &[(Method, &str, Needs)] = &[
    (Method::GET, "/", Page(Scope::Read)),
    (Method::GET, "/assets/status.css", Nothing),
    (Method::GET, "/assets/status.js", Nothing),
    (Method::GET, "/assets/icon.svg", Nothing),
    (Method::GET, "/assets/access.css", Nothing),
    (Method::GET, "/assets/access.js", Nothing),
    (Method::GET, "/login", Nothing),
    (Method::GET, "/set-up", Nothing),
    (Method::GET, "/api/session", Nothing),
    (Method::POST, "/api/login", Nothing),
    (Method::POST, "/api/logout", Nothing),
    (Method::POST, "/api/set-up", Nothing),
    (Method::POST, "/api/set-up-link", ADMIN),
    (Method::GET, "/healthz", Nothing),
    (Method::GET, "/readyz", Nothing),
    (Method::GET, "/metrics", READ),
    (Method::GET, "/api/status", READ),
    (Method::GET, "/api/records", READ),
    (Method::GET, "/api/records/{record}", READ),
    (Method::GET, "/api/studies/{study}/records", READ),
    (Method::POST, "/api/verify", OPERATE),
    (Method::GET, "/api/custody", OPERATE),
    (Method::POST, "/api/custody", OPERATE),
    (Method::GET, "/api/shredded", OPERATE),
    (Method::POST, "/api/keys/rotation", ADMIN),
    (Method::GET, "/api/peer/records/{record}/sealed", READ),
    (Method::GET, "/api/peer/records/{record}/key", READ),
    (Method::GET, "/api/ae", OPERATE),
    (Method::POST, "/api/ae", ADMIN),
    (Method::GET, "/api/tokens", ADMIN),
    (Method::POST, "/api/tokens", ADMIN),
    (Method::POST, "/api/tokens/revoke", ADMIN),
    (Method::GET, "/dicomweb/studies", READ),
    (Method::POST, "/dicomweb/studies", STORE),
    (Method::GET, "/dicomweb/studies/{study}", READ),
    (Method::POST, "/dicomweb/studies/{study}", STORE),
    (Method::GET, "/dicomweb/series", READ),
    (Method::GET, "/dicomweb/instances", READ),
    (Method::GET, "/dicomweb/studies/{study}/series", READ),
    (Method::GET, "/dicomweb/studies/{study}/instances", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances", READ),
    (Method::GET, "/dicomweb/studies/{study}/metadata", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/metadata", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances/{instance}", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances/{instance}/metadata", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}", READ),
    (Method::GET, "/studies", Page(Scope::Read)),
    (Method::GET, "/view", Page(Scope::Read)),
    (Method::GET, "/viewer", Page(Scope::Read)),
    (Method::GET, "/assets/studies.css", Nothing),
    (Method::GET, "/assets/studies.js", Nothing),
    (Method::GET, "/assets/words.js", Nothing),
    (Method::GET, "/assets/view.js", Nothing),
    (Method::GET, "/assets/view-objects.js", Nothing),
    (Method::GET, "/api/viewer", READ),
    (Method::GET, "/api/progress", READ),
    (Method::GET, "/api/studies/{study}/progress", READ),
    (Method::GET, "/api/studies/{study}/zip", READ),
    (Method::GET, "/ohif", Page(Scope::Read)),
    (Method::GET, "/ohif/", Page(Scope::Read)),
    (Method::GET, "/ohif/app-config.js", Page(Scope::Read)),
    (Method::GET, "/ohif/{*path}", Page(Scope::Read)),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}", READ),
    (Method::GET, "/wado", READ),
    (Method::GET, "/dicomweb/studies/{study}/rendered", READ),
    (Method::GET, "/dicomweb/studies/{study}/thumbnail", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/rendered", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/thumbnail", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered", READ),
    (Method::GET, "/dicomweb/studies/{study}/series/{series}/instances/{instance}/thumbnail", READ),
    (
        Method::GET,
        "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
        READ,
    ),
    (
        Method::GET,
        "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        READ,
    ),
];

/// What a request needs; `None` when nothing was said about it. `route` is `None` where no route fits: that there is
/// no such page may everybody know.
pub(super) fn needs(method: &Method, route: Option<&str>) -> Option<Needs> {
    let Some(route) = route else { return Some(Nothing) };
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let entries = TABLE.iter().filter(|(_, listed, _)| *listed == route);
    let found = entries.clone().find(|(listed, ..)| listed == method).map(|(.., needs)| *needs);
    // A method that the route does not take is refused by the router itself.
    found.or_else(|| entries.clone().next().is_some().then_some(Nothing))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Routes as `router.rs` gives them: the path, and the handlers behind it.
    fn routes_of_the_router() -> Vec<(Method, String)> {
        let source = include_str!("../router.rs");
        let mut routes = Vec::new();
        for rest in source.split(".route(").skip(1) {
            let path = rest.split('"').nth(1).expect("a path").to_owned();
            let handlers: String =
                rest[rest.find(&path).unwrap_or(0) + path.len()..].chars().take(160).collect();
            let handlers = handlers.split(".route(").next().unwrap_or_default().to_owned();
            for (word, method) in [("get(", Method::GET), ("post(", Method::POST)] {
                if handlers.contains(&format!(" {word}")) || handlers.contains(&format!(".{word}")) {
                    routes.push((method, path.clone()));
                }
            }
            for other in ["put(", "delete(", "patch(", "any("] {
                assert!(!handlers.contains(other), "{path}: this test does not know {other}");
            }
        }
        routes
    }

    #[test]
    fn every_route_is_in_the_table_and_nothing_else_is() {
        let routed = routes_of_the_router();
        assert!(routed.len() > 30, "{routed:?}");
        for (method, path) in &routed {
            let listed = TABLE.iter().filter(|(listed, route, _)| listed == method && route == path).count();
            assert_eq!(listed, 1, "{method} {path} stands in the table {listed} times");
        }
        for (method, path, _) in TABLE {
            assert!(routed.contains(&(method.clone(), (*path).to_owned())), "{method} {path} is no route");
        }
    }

    #[test]
    fn what_nobody_spoke_of_is_answered_to_nobody() {
        assert_eq!(needs(&Method::GET, Some("/new/route")), None);
        assert_eq!(needs(&Method::HEAD, Some("/api/status")), Some(READ));
        assert_eq!(needs(&Method::GET, None), Some(Nothing));
    }
}
