//! Before every route: who asks is found out, and whether the route is for them.

use std::net::{IpAddr, SocketAddr};

use axum::{
    RequestExt,
    extract::{ConnectInfo, MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{Asker, Scope, UserError};
use crate::{
    Error, OpenTo,
    guard::host_of,
    router::App,
    routes::{Needs, Reach},
};

/// The certificate a client has shown over TLS, and proven.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// Common name of its subject; empty when there is none.
    pub common_name: String,
}

/// Headers of those who pass a request on for somebody else: then an address says nothing of who asks.
const PASSED_ON: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Answers only who may ask.
pub(crate) async fn entitled(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let claim = claim(&app, &request);
    let asker = match asker(&app, claim).await {
        Ok(asker) => asker,
        Err(error) => return Error::from(error).into_response(),
    };
    let Some((needs, reach)) = app.rights().needs(request.method(), route.as_deref()) else {
        tracing::error!(route, "nothing says what this route needs, so nobody gets it");
        return Error::Forbidden("nothing says who may ask for this").into_response();
    };
    let (Needs::Scope(scope) | Needs::Page(scope)) = needs else {
        request.extensions_mut().insert(asker);
        return next.run(request).await;
    };
    let reads_enough = scope == Scope::Read && reads(&asker, reach, &mut request).await;
    if asker.may(scope) || reads_enough {
        request.extensions_mut().insert(asker);
        return next.run(request).await;
    }
    metrics::counter!("filmgate_http_refused_total").increment(1);
    let (who, from) = (asker.name(), address(&request).map(|address| address.to_string()));
    tracing::warn!(target: "audit", event = "refused", who, from, route, needs = %scope, "a request was refused");
    match (asker, needs) {
        (Asker::Nobody, Needs::Page(_)) if *request.method() == Method::GET => {
            Redirect::to("/login").into_response()
        }
        // Who may see single studies is led to them.
        (asker, Needs::Page(Scope::Read)) if asker.readable().is_any() => {
            Redirect::to("/studies").into_response()
        }
        (Asker::Nobody, _) => unauthorized(),
        _ => Error::Forbidden("this needs a scope that you do not have").into_response(),
    }
}

/// True for a reader of single studies where the operation shows no others.
async fn reads(asker: &Asker, reach: Reach, request: &mut Request) -> bool {
    let readable = asker.readable();
    match reach {
        _ if !reach.takes_single_studies() => false,
        Reach::Study => {
            let steps = request.extract_parts::<RawPathParams>().await;
            let study = steps.iter().flatten().find(|(name, _)| *name == "study");
            study.is_some_and(|(_, study)| readable.has(study))
        }
        _ => readable.is_any(),
    }
}

fn unauthorized() -> Response {
    let mut response = Error::Unauthorized.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// What a request brings to say whose it is.
enum Claim {
    Token(String),
    /// An authorization we do not know.
    Unknown,
    /// A log-in, if there is one, and who asks if it is none.
    Session(Option<String>, Asker),
}

/// A token that is no good makes nobody of its bearer, wherever they are; without one, a log-in, a certificate, and last
/// the machine itself are looked at.
fn claim(app: &App, request: &Request) -> Claim {
    let (headers, settings) = (request.headers(), app.settings());
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return token.map_or(Claim::Unknown, |(_, token)| Claim::Token(token.trim().to_owned()));
    }
    let certificate = request.extensions().get::<ClientCertificate>();
    let peer = certificate.filter(|shown| settings.peers.contains(&shown.common_name));
    let otherwise = match (peer, settings.open_to) {
        (Some(peer), _) => Asker::Peer(peer.common_name.clone()),
        (None, OpenTo::Everybody) => Asker::ThisMachine,
        (None, OpenTo::Loopback) if is_this_machine(request) => Asker::ThisMachine,
        _ => Asker::Nobody,
    };
    Claim::Session(session_cookie(headers, settings.is_tls), otherwise)
}

async fn asker(app: &App, claim: Claim) -> Result<Asker, UserError> {
    match claim {
        Claim::Token(token) => app.users().bearer(&token).await,
        Claim::Unknown => Ok(Asker::Nobody),
        Claim::Session(None, otherwise) => Ok(otherwise),
        Claim::Session(Some(secret), otherwise) => Ok(match app.users().session(&secret).await? {
            Asker::Nobody => otherwise,
            asker => asker,
        }),
    }
}

/// From a loopback address, for a loopback name, and passed on by nobody.
fn is_this_machine(request: &Request) -> bool {
    let names_loopback = host_of(request).is_some_and(|host| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    let passed_on = PASSED_ON.iter().any(|name| request.headers().contains_key(*name));
    // Without an address nobody came over a network: it is a test of the router.
    let from_loopback = address(request).is_none_or(|address| address.is_loopback());
    from_loopback && names_loopback && !passed_on
}

/// Where the request came from.
pub(super) fn address(request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| peer.ip().to_canonical())
}

/// The cookie's name. With the prefix a browser takes it from us alone, over TLS alone, and for this very host
/// (RFC 6265bis 4.1.3.2).
pub(crate) fn cookie_name(is_tls: bool) -> &'static str {
    if is_tls { "__Host-filmgate" } else { "filmgate" }
}

/// The secret of a log-in that a browser brings.
pub(super) fn session_cookie(headers: &HeaderMap, is_tls: bool) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(is_tls)).map(|(_, secret)| secret.to_owned())
}

/// The header that gives a browser the cookie; with an empty secret, that takes it away.
pub(super) fn set_cookie(secret: &str, is_tls: bool) -> (HeaderName, HeaderValue) {
    let (name, secure) = (cookie_name(is_tls), if is_tls { "; Secure" } else { "" });
    let gone = if secret.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{gone}");
    // Hexadecimal digits fit into any header.
    (header::SET_COOKIE, HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static("")))
}
