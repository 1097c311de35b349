//! The gateway that runs on our data directory, asked over its own API.

use anyhow::bail;
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
    tls::TlsConfig,
};

use super::runtime;
use crate::{
    build::{self, Gateway},
    config::Settings,
    data_dir::{self, Running},
    tls,
};

/// Does what a command is for: by the gateway that runs on the data directory, where it holds at once; without one, with
/// what is opened here.
pub(crate) fn there_or_here<T>(
    settings: &Settings,
    there: impl FnOnce(&Local) -> anyhow::Result<T>,
    here: impl AsyncFnOnce(&Gateway) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    match Local::find(settings)? {
        Some(local) => there(&local),
        None => runtime()?.block_on(async {
            let gateway = build::open(settings).await?;
            here(&gateway).await
        }),
    }
}

/// For what runs beside no gateway on the data directory.
pub(crate) fn refuse_running(settings: &Settings) -> anyhow::Result<()> {
    let data_dir = &settings.node.data_dir;
    if data_dir.is_dir() && data_dir::running(data_dir)?.is_some() {
        bail!("a gateway runs on data directory {}; stop it first", data_dir.display());
    }
    Ok(())
}

/// A running gateway, for the commands of its own machine.
pub(crate) struct Local {
    agent: Agent,
    base: String,
    bearer: String,
}

impl Local {
    /// `None` when no gateway holds the data directory.
    pub(crate) fn find(settings: &Settings) -> anyhow::Result<Option<Self>> {
        Ok(data_dir::running(&settings.node.data_dir)?.map(|running| Self::new(&running)))
    }

    /// The address is the one that the process which holds our data directory has left there: a listener of this very
    /// machine. So its certificate, for whatever name others call it by, has nothing to add.
    fn new(running: &Running) -> Self {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(tls::provider())
            .disable_verification(true)
            .build();
        let agent = Agent::config_builder().http_status_as_error(false).tls_config(tls).build().into();
        Self { agent, base: running.web_base(), bearer: format!("Bearer {}", running.admin_token) }
    }

    /// Where it answers.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A body to be read as it comes; `None` when there is no such thing.
    pub(crate) fn stream(&self, path: &str) -> anyhow::Result<Option<Response<Body>>> {
        let response = self.ask(path)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(succeeded(response)?))
    }

    /// What it says.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        read(self.ask(path)?)
    }

    fn ask(&self, path: &str) -> anyhow::Result<Response<Body>> {
        let request = self.agent.get(format!("{}{path}", self.base));
        Ok(request.header(header::AUTHORIZATION, &self.bearer).call()?)
    }

    /// What it says to this.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header(header::AUTHORIZATION, &self.bearer);
        read(request.header(header::CONTENT_TYPE, "application/json").send(body.to_string())?)
    }
}

fn read(response: Response<Body>) -> anyhow::Result<Value> {
    Ok(serde_json::from_reader(succeeded(response)?.into_body().into_reader())?)
}

/// The response, or what it says of its failure.
fn succeeded(mut response: Response<Body>) -> anyhow::Result<Response<Body>> {
    if response.status().is_success() {
        return Ok(response);
    }
    let said = response.body_mut().read_to_string().unwrap_or_default();
    let said: Value = serde_json::from_str(&said).unwrap_or_default();
    match said["message"].as_str() {
        Some(message) => bail!("{message}"),
        None => bail!("the gateway answered {}", response.status()),
    }
}
