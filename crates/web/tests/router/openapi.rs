//! The OpenAPI document says what the router does: every route of it, and no more.

use std::collections::BTreeSet;

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
    routing::get,
};
use serde_json::Value;

use crate::support::{Answer, Gateway, routes_of};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

async fn document(gateway: &Gateway) -> Value {
    let answer = gateway.get("/api/openapi.json", "application/json").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Paths with what is told of them.
fn paths(document: &Value) -> Vec<(&str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().map(|(path, item)| (path.as_str(), item)).collect()
}

/// A path with something in place of each of its steps in braces.
fn filled(path: &str) -> String {
    let step = |step: &str| match step.strip_prefix('{').and_then(|step| step.strip_suffix('}')) {
        None => step.to_owned(),
        Some("record") => "0123456789abcdef0123456789abcdef".to_owned(),
        Some("frames") => "1".to_owned(),
        Some("path") => "7FE00010".to_owned(),
        Some(_) => "1.2.3".to_owned(),
    };
    path.split('/').map(step).collect::<Vec<_>>().join("/")
}

async fn ask(gateway: &Gateway, method: &Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(filled(path)).header("host", "localhost");
    gateway.ask(request.body(Body::empty()).expect("a request")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_stands_in_the_document() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    let told: BTreeSet<String> = paths(&document).into_iter().map(|(path, _)| path.to_owned()).collect();
    let routed = |router: &Router| -> BTreeSet<String> {
        routes_of(router).into_iter().map(|route| route.replace("{*", "{")).collect()
    };
    assert!(told.len() > 60, "{told:?}");
    assert_eq!(told, routed(&gateway.router()));
    // One that came to the router past the list would be seen.
    let more = gateway.router().route("/beside/{the}/list", get(|| async {}));
    assert_eq!(routed(&more).difference(&told).collect::<Vec<_>>(), ["/beside/{the}/list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_document_is_answered_and_no_other_is() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    let mut asked = 0;
    for (path, item) in paths(&document) {
        for method in METHODS {
            let operation = &item[method.as_str().to_ascii_lowercase()];
            let answer = ask(&gateway, &method, path).await;
            let status = answer.status.as_u16();
            if operation.is_null() {
                assert_eq!(status, 405, "{method} {path} is not in the document and is answered");
                continue;
            }
            // What is asked for is not here, that it could be is.
            assert!(status != 405 && !answer.text().contains("no such page"), "{method} {path}: {status}");
            let listed = operation["responses"].as_object().expect("responses");
            assert!(listed.contains_key(&status.to_string()), "{method} {path}: {status} {}", answer.text());
            asked += 1;
        }
    }
    assert!(asked > 65, "{asked}");
}

/// What is answered is of a media type that the document names.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_of_the_media_types_that_are_told() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    for (path, item) in paths(&document) {
        if item["get"].is_null() {
            continue;
        }
        let answer = ask(&gateway, &Method::GET, path).await;
        let mut told = &item["get"]["responses"][answer.status.as_str()];
        if let Some(named) = told["$ref"].as_str().and_then(|named| named.strip_prefix("#")) {
            told = document.pointer(named).expect("what is referred to");
        }
        let media_type = answer.header("content-type").split(';').next().unwrap_or_default();
        let told = told["content"].as_object().map(|content| content.keys().cloned().collect::<Vec<_>>());
        let told = told.unwrap_or_default();
        let is_told =
            if media_type.is_empty() { told.is_empty() } else { told.contains(&media_type.to_owned()) };
        assert!(is_told || told == ["*/*"], "{path}: {media_type:?} of {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_as_every_other_error() {
    let gateway = Gateway::new().await;
    for path in ["/api/records?limit=x", "/api/shredded?study=1&study=2", "/dicomweb/studies/%FF/metadata"] {
        let answer = gateway.get(path, "*/*").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &"bad-request".into()), "{path}");
    }
}
