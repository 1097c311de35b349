//! What stands before every route: who is answered, for how long, and the headers every answer carries.

use std::net::IpAddr;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{Error, router::App};

/// The page loads its own script and style and asks its own server; nothing else runs or is reached.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds the headers of every answer. What says nothing else about caching is kept by nobody: it is about patients.
pub(crate) async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let hsts_seconds = app.settings().hsts.as_secs();
    if app.settings().is_tls && hsts_seconds > 0 {
        let value = HeaderValue::from_str(&format!("max-age={hsts_seconds}"));
        headers.extend(value.ok().map(|value| (header::STRICT_TRANSPORT_SECURITY, value)));
    }
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    // The viewer, and what it frames, bring policies of their own.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses names that are not ours (a page elsewhere may have pointed its own name here) and changes that another
/// site asks for through a user's browser.
pub(crate) async fn same_site(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Some(hosts) = &app.settings().hosts
        && !host_of(&request).is_some_and(|host| is_ours(&host, hosts))
    {
        return Error::UnknownHost.into_response();
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && is_cross_site(request.headers(), authority_of(&request)) {
        return Error::Forbidden("another site may not ask for this").into_response();
    }
    next.run(request).await
}

/// Gives up an answer that does not begin in time; what is sent to us (POST) takes as long as it takes.
pub(crate) async fn in_time(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method() == Method::POST {
        return next.run(request).await;
    }
    match tokio::time::timeout(app.settings().request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::TimedOut.into_response(),
    }
}

/// Counts requests and times the beginning of their answers, by route and never by what was asked.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let began = app.road().clock().now();
    let response = next.run(request).await;
    let took = app.road().clock().now().since(began);
    let status = response.status().as_u16();
    tracing::debug!(method, route, status, took_ms = took.as_millis() as u64, "request");
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.to_string())];
    metrics::counter!("filmgate_http_requests_total", &labels).increment(1);
    metrics::histogram!("filmgate_http_answer_seconds", &labels[..2]).record(took.as_secs_f64());
    response
}

/// A closed set: anything may stand in a request line.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

/// Host and port asked for: of the URI in HTTP/2, of the header in HTTP/1.
fn authority_of(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or(header)
}

/// The host asked for, without port: of the URI in HTTP/2, of the header in HTTP/1.
pub(crate) fn host_of(request: &Request) -> Option<String> {
    let authority = authority_of(request)?;
    let authority = authority.rsplit('@').next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    Some(host.to_ascii_lowercase())
}

fn is_ours(host: &str, hosts: &[String]) -> bool {
    host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
}

/// Browsers say so themselves; older ones by an `Origin` that is not the host asked for.
fn is_cross_site(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    origin.split_once("://").map(|(_, host)| host) != authority
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(host: &str) -> Request {
        Request::builder().uri("/").header(header::HOST, host).body(Body::empty()).expect("a request")
    }

    #[test]
    fn only_our_names_are_answered() {
        let hosts = ["gateway.hospital".to_owned()];
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("Gateway.Hospital:443", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.5", false),
            ("localhost@evil.example", false),
        ] {
            let read = host_of(&request(host)).expect("a host");
            assert_eq!(is_ours(&read, &hosts), ours, "{host}");
        }
    }

    #[test]
    fn a_change_from_another_site_is_told_apart() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect()
        };
        let cross = |pairs| {
            let headers: HeaderMap = headers(pairs);
            let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
            is_cross_site(&headers, host)
        };
        assert!(!cross(&[]));
        assert!(!cross(&[("sec-fetch-site", "same-origin"), ("origin", "http://a")]));
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("host", "localhost:1"), ("origin", "http://evil.example")]));
        assert!(cross(&[("host", "localhost:1"), ("origin", "null")]));
        assert!(!cross(&[("host", "localhost:1"), ("origin", "http://localhost:1")]));
    }
}
