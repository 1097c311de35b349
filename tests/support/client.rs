//! Somebody who asks over HTTP with what they bring: a token, a cookie, headers.

use serde_json::Value;
use ureq::http::Response;
use ureq::typestate::WithoutBody;
use ureq::{Agent, RequestBuilder};

use super::gateway::{Gateway, Home};

/// A new token of the gateway that runs there.
pub(crate) fn token(home: &Home, name: &str, options: &[&str]) -> String {
    let made = home.run(&[&["token", "create", name, "--json"], options].concat()).ended(0).json();
    made["token"].as_str().expect("a token").to_owned()
}

/// A browser or program, with what it brings.
pub(crate) struct Client<'a> {
    gateway: &'a Gateway,
    agent: Agent,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(gateway: &'a Gateway) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
        Self { gateway, agent, headers: Vec::new() }
    }

    pub(crate) fn bearing(gateway: &'a Gateway, token: &str) -> Self {
        Self::new(gateway).with("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn get(&self, path: &str) -> u16 {
        self.answer(path).status().as_u16()
    }

    pub(crate) fn head(&self, path: &str) -> u16 {
        self.call(self.agent.head(self.gateway.web.url(path))).status().as_u16()
    }

    /// Whatever is answered; led nowhere.
    pub(crate) fn answer(&self, path: &str) -> Response<ureq::Body> {
        self.call(self.agent.get(self.gateway.web.url(path)))
    }

    fn call(&self, request: RequestBuilder<WithoutBody>) -> Response<ureq::Body> {
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.call().expect("an answer")
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Response<ureq::Body> {
        let request = self.agent.post(self.gateway.web.url(path)).header("content-type", content_type);
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.send(body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Response<ureq::Body> {
        self.post(path, "application/json", body.to_string().as_bytes())
    }
}
