//! The gateway that runs on our data directory, asked over its own API.

use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
};

use crate::{
    config::Settings,
    data_dir::{self, Running},
};

/// A running gateway, for the commands of its own machine.
pub(crate) struct Local {
    agent: Agent,
    base: String,
}

impl Local {
    /// `None` when no gateway holds the data directory.
    pub(crate) fn find(settings: &Settings) -> anyhow::Result<Option<Self>> {
        Ok(data_dir::running(&settings.node.data_dir)?.map(|running| Self::new(&running)))
    }

    fn new(running: &Running) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, base: format!("http://{}", running.web) }
    }

    /// A body to be read as it comes; `None` when there is no such thing.
    pub(crate) fn stream(&self, path: &str) -> anyhow::Result<Option<Response<Body>>> {
        let response = self.agent.get(format!("{}{path}", self.base)).call()?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(succeeded(response)?))
    }

    /// What it says.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        read(self.agent.get(format!("{}{path}", self.base)).call()?)
    }

    /// What it says to this.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request =
            self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        read(request.send(body.to_string())?)
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
        Some(message) => anyhow::bail!("{message}"),
        None => anyhow::bail!("the gateway answered {}", response.status()),
    }
}
