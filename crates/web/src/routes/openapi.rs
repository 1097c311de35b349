//! The routes as an OpenAPI document (OpenAPI 3.1.0), for programs and for people with one.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    http::{Method, header},
    response::IntoResponse,
};
use serde_json::{Map, Value, json};

use super::{
    Needs, Parameter, Route,
    route::{Body, Operation},
};
use crate::{Scope, router::App};

/// The document.
pub(crate) async fn show(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.document().clone())
}

/// What each step of a path in braces stands for.
const STEPS: [(&str, &str, &str); 6] = [
    ("study", "Study Instance UID", ".+"),
    ("series", "Series Instance UID", ".+"),
    ("instance", "SOP Instance UID", ".+"),
    ("frames", "numbers of frames, from 1, with commas between", "^[0-9]+(,[0-9]+)*$"),
    ("record", "the id of a record", "^[0-9a-fA-F]{32}$"),
    ("path", "the rest of the path, slashes among it", ".+"),
];

/// Statuses of failure, and when each is answered.
const REFUSALS: [(u16, &str); 14] = [
    (400, "the request cannot be understood"),
    (401, "who asks is not known: a token or a log-in is needed"),
    (403, "who asks may not"),
    (404, "it is not here"),
    (406, "it is not had in a form that is accepted; the message says in which it is"),
    (408, "the request comes too slowly"),
    (409, "it is refused as things stand"),
    (413, "the search is too broad to be answered in time"),
    (415, "the body is not of a media type that is taken"),
    (421, "the host asked for is not a name of this gateway"),
    (422, "its pixels cannot be decoded or shown"),
    (429, "too many wrong passwords: wait a minute"),
    (500, "something failed; the gateway's log says what"),
    (
        503,
        "not now: no room, too many requests, or something that is needed is away; Retry-After says when to come again",
    ),
];
const TIMED_OUT: (u16, &str) = (504, "the answer took too long to begin");

/// The document of routes, and of the cookie that a log-in brings.
pub(crate) fn document(routes: &[Route], cookie: &str) -> Value {
    let paths: Map<String, Value> = routes.iter().map(|route| (template(route.path), path(route))).collect();
    let refusals = REFUSALS.iter().chain([&TIMED_OUT]);
    let responses: Map<String, Value> =
        refusals.map(|(status, why)| (status.to_string(), refusal(why))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Filmgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "DICOMweb (PS3.18), and the gateway's own API. HEAD is answered wherever GET is.",
        },
        "paths": paths,
        "components": {
            "schemas": { "Refusal": {
                "type": "object",
                "required": ["error", "message"],
                "properties": {
                    "error": { "type": "string", "description": "a word for programs" },
                    "message": { "type": "string", "description": "what a person reads" },
                },
            } },
            "responses": responses,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "a token of filmgate token create" },
                "login": { "type": "apiKey", "in": "cookie", "name": cookie },
            },
        },
    })
}

/// A path as OpenAPI writes it.
fn template(path: &str) -> String {
    path.replace("{*", "{")
}

fn path(route: &Route) -> Value {
    let steps = steps(route.path);
    let parameters: Vec<Value> = steps.iter().map(|name| step(name)).collect();
    let mut item = Map::new();
    if !parameters.is_empty() {
        item.insert("parameters".into(), parameters.into());
    }
    for operation in &route.operations {
        item.insert(operation.method.as_str().to_ascii_lowercase(), told(route.path, operation));
    }
    item.into()
}

/// The names in braces.
fn steps(path: &str) -> Vec<&str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .map(|name| name.trim_start_matches('*'))
        .collect()
}

fn step(name: &str) -> Value {
    let (_, about, pattern) =
        STEPS.iter().find(|(known, ..)| *known == name).copied().unwrap_or((name, "", ".+"));
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": about,
        "schema": { "type": "string", "pattern": pattern },
    })
}

fn told(path: &str, operation: &Operation) -> Value {
    let parameters: Vec<Value> = operation.parameters.iter().map(Parameter::told).collect();
    let mut told = json!({
        "operationId": id(path, &operation.method),
        "summary": operation.summary,
        "tags": [tag(path)],
        "parameters": parameters,
        "responses": responses(path, operation),
        "security": security(operation),
    });
    if let Some(body) = &operation.body {
        told["requestBody"] = json!({ "required": true, "content": content(body) });
    }
    told
}

/// Method and path, of letters alone.
fn id(path: &str, method: &Method) -> String {
    let steps =
        path.replace(['{', '}', '*'], "").replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    format!("{}{steps}", method.as_str().to_ascii_lowercase())
}

fn tag(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("dicomweb" | "wado") => "DICOMweb",
        Some("api" | "healthz" | "readyz" | "metrics") => "API",
        _ => "pages",
    }
}

fn security(operation: &Operation) -> Value {
    let (Needs::Scope(scope) | Needs::Page(scope)) = operation.needs else { return json!([]) };
    let single = scope == Scope::Read && operation.reach.takes_single_studies();
    let scopes = [Some(scope.as_str()), single.then_some("read:UID")].into_iter().flatten();
    scopes.flat_map(|scope| [json!({ "token": [scope] }), json!({ "login": [scope] })]).collect()
}

fn content(body: &Body) -> Value {
    match body {
        Body::Of(media_type) => json!({ *media_type: {} }),
        Body::Json(members) => {
            let properties: Map<String, Value> = members.iter().map(member).collect();
            let required: Vec<&str> =
                members.iter().filter(|member| member.is_required).map(|member| member.name).collect();
            let schema = json!({ "type": "object", "properties": properties, "required": required });
            json!({ "application/json": { "schema": schema } })
        }
    }
}

fn member(member: &Parameter) -> (String, Value) {
    let mut schema = member.schema();
    schema["description"] = member.about.into();
    (member.name.to_owned(), schema)
}

fn responses(path: &str, operation: &Operation) -> Map<String, Value> {
    let mut responses: Map<String, Value> = Map::new();
    for (status, media_types) in &operation.answers {
        let content: Map<String, Value> =
            media_types.iter().map(|media_type| ((*media_type).to_owned(), answer(media_type))).collect();
        responses.insert(status.to_string(), json!({ "description": meaning(*status), "content": content }));
    }
    if matches!(operation.needs, Needs::Page(_)) {
        let where_to = json!({ "description": "leads on: to the page wanted, or to the page to log in" });
        responses.insert("303".into(), where_to);
    }
    for status in refusals(path, operation) {
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    responses
}

/// Those it names, and those that follow from what it is.
fn refusals(path: &str, operation: &Operation) -> BTreeSet<u16> {
    let mut refusals = operation.refusals.clone();
    refusals.insert(421);
    let has_steps = path.contains('{');
    if has_steps || !operation.parameters.is_empty() || operation.body.is_some() {
        refusals.insert(400);
    }
    if has_steps {
        refusals.insert(404);
    }
    if operation.needs != Needs::Nothing {
        refusals.extend([401, 403]);
    }
    if operation.needs != Needs::Nothing || operation.body.is_some() {
        refusals.extend([500, 503]);
    }
    if operation.method == Method::POST {
        refusals.insert(403)
    } else {
        refusals.insert(TIMED_OUT.0)
    };
    refusals
}

fn answer(media_type: &str) -> Value {
    match media_type {
        "application/dicom+json" => json!({ "schema": { "type": ["array", "object"] } }),
        "application/json" => json!({ "schema": { "type": ["array", "object"] } }),
        _ => json!({}),
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        202 => "some were stored, others not; the answer says which and why",
        206 => "the bytes asked for",
        303 => "leads on",
        304 => "the client has the same",
        404 => "there is no such study: a page says so",
        503 => "it does not, or takes none; the answer says which",
        _ => "as asked",
    }
}

fn refusal(why: &str) -> Value {
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } });
    json!({ "description": why, "content": content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes;

    #[test]
    fn every_step_of_a_path_and_every_refusal_is_told() {
        let routes = routes::all();
        let told: BTreeSet<u16> = REFUSALS.iter().chain([&TIMED_OUT]).map(|(status, _)| *status).collect();
        for route in &routes {
            for name in steps(route.path) {
                assert!(STEPS.iter().any(|(known, ..)| *known == name), "{}: {name}", route.path);
            }
            for operation in &route.operations {
                assert!(refusals(route.path, operation).is_subset(&told), "{}", route.path);
                assert!(!operation.answers.is_empty(), "{} answers nothing", route.path);
            }
        }
        let document = document(&routes, "filmgate");
        assert_eq!(document["paths"].as_object().map(Map::len), Some(routes.len()), "two paths are one");
    }

    #[test]
    fn an_operation_says_how_it_is_asked_and_answered() {
        let document = document(&routes::all(), "filmgate");
        let path = "/dicomweb/studies/{study}/series/{series}/rendered";
        let rendered = &document["paths"][path]["get"];
        let names = |told: &Value| {
            let told = told.as_array().into_iter().flatten();
            told.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(names(&document["paths"][path]["parameters"]), ["study", "series"]);
        for name in ["viewport", "window", "quality", "annotation", "presentationState", "overlays", "accept"]
        {
            assert!(names(&rendered["parameters"]).contains(&name.to_owned()), "{name}");
        }
        assert!(rendered["responses"]["200"]["content"]["image/jpeg"].is_object());
        for status in ["304", "400", "401", "403", "404", "406", "422"] {
            assert!(rendered["responses"][status].is_object(), "{status}");
        }
        assert_eq!(rendered["security"][0], json!({ "token": ["read"] }));
    }
}
