//! Set-up and log-in, and tokens.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::header,
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asker, CreatedToken, NewToken, Readable, Scope, TokenShown, guard};
use crate::{Error, body, dicomweb::segment, router::App};

const LOGIN: &str = include_str!("../assets/login.html");
const SET_UP: &str = include_str!("../assets/set-up.html");
const STYLE: &str = include_str!("../assets/access.css");
const SCRIPT: &str = include_str!("../assets/access.js");

/// The page to log in.
pub(crate) async fn login_page() -> impl IntoResponse {
    Html(LOGIN)
}

/// The page that a set-up link leads to.
pub(crate) async fn set_up_page() -> impl IntoResponse {
    Html(SET_UP)
}

/// Their style.
pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], STYLE)
}

/// Their script.
pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], SCRIPT)
}

/// Who asks, as the pages tell it.
pub(crate) async fn session(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
) -> Result<Json<Value>, Error> {
    let has_administrator = app.users().has_administrator().await?;
    Ok(Json(json!({
        "known": asker != Asker::Nobody,
        "who": asker.name(),
        "administrator": asker == Asker::Administrator,
        "by_token": matches!(asker, Asker::Token(..)),
        "reads_all": asker.may(Scope::Read),
        "set_up": has_administrator,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    password: Option<String>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetUp {
    secret: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

/// Logs the administrator in by the password, or the bearer of a token; and tells where to go from there.
pub(crate) async fn log_in(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let from = from(&request);
    let (secret, to) = match body::json(&app, request).await? {
        LogIn { password: Some(password), token: None } => {
            (app.users().log_in(password, from).await?, "/".to_owned())
        }
        LogIn { password: None, token: Some(token) } => {
            let (secret, asker) = app.users().log_in_by_token(&token, from).await?;
            (secret, first_page(&asker.readable()))
        }
        _ => return Err(Error::BadRequest("a password or a token, and not both".to_owned())),
    };
    let cookie = guard::set_cookie(&secret, app.settings().is_tls);
    Ok(([cookie], Json(json!({ "done": true, "to": to }))).into_response())
}

/// The one study that somebody may read, or the list.
fn first_page(readable: &Readable) -> String {
    let one = readable.only().filter(|studies| studies.len() == 1).and_then(|studies| studies.first());
    one.map_or_else(|| "/studies".to_owned(), |study| format!("/viewer?study={}", segment(study)))
}

/// Logs whoever asks out.
pub(crate) async fn log_out(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let is_tls = app.settings().is_tls;
    if let Some(secret) = guard::session_cookie(request.headers(), is_tls) {
        app.users().log_out(&secret).await?;
    }
    Ok(([guard::set_cookie("", is_tls)], Json(json!({ "done": true }))).into_response())
}

/// Sets the administrator's password by a link.
pub(crate) async fn set_up(State(app): State<App>, request: Request) -> Result<Json<Value>, Error> {
    let from = from(&request);
    let SetUp { secret, password } = body::json(&app, request).await?;
    app.users().set_up(&secret, password, from).await?;
    Ok(Json(json!({ "done": true })))
}

/// Makes a set-up link.
pub(crate) async fn set_up_link(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
) -> Result<Json<Value>, Error> {
    let secret = app.users().open_set_up(&asker.name()).await?;
    Ok(Json(json!({ "secret": secret })))
}

/// Every token there is or was.
pub(crate) async fn tokens(State(app): State<App>) -> Result<Json<Vec<TokenShown>>, Error> {
    Ok(Json(app.users().tokens().await?))
}

/// Makes a token.
pub(crate) async fn create_token(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Json<CreatedToken>, Error> {
    let new: NewToken = body::json(&app, request).await?;
    Ok(Json(app.users().create_token(&new, &asker.name()).await?))
}

/// Makes a token good for nothing.
pub(crate) async fn revoke_token(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Json<Value>, Error> {
    let Named { name } = body::json(&app, request).await?;
    app.users().revoke_token(&name, &asker.name()).await?;
    Ok(Json(json!({ "done": true })))
}

fn from(request: &Request) -> IpAddr {
    guard::address(request).unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages' policy forbids what stands inline, so that nothing there would run or show.
    #[test]
    fn nothing_stands_inline_and_every_element_is_there() {
        for page in [LOGIN, SET_UP] {
            assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" onclick"));
            assert_eq!(
                page.matches("<script").count(),
                page.matches(r#"<script src="/assets/access.js" defer>"#).count()
            );
            assert!(page.contains("http") == page.contains("http-equiv"), "something comes from elsewhere");
            for name in ["form", "password", "told", "inside"] {
                assert!(page.contains(&format!("id=\"{name}\"")), "no element {name}");
            }
        }
        assert!(!SCRIPT.contains("innerHTML"));
    }
}
