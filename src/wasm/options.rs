//! What the host chooses when it starts a node, as a plain JavaScript object.

use ruma::ServerName;
use serde::Deserialize;
use wasm_bindgen::JsValue;

use crate::config::{Config, RateLimits, Registration};

/// The options of `Node.start`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Options {
    /// The name of the database, in a browser.
    pub(super) database: Option<String>,
    server_name: Option<String>,
    /// The domain of a gateway, below which a new node is named.
    gateway: Option<String>,
    base_url: Option<String>,
    /// Whether nobody may make an account any more.
    #[serde(default)]
    registration_closed: bool,
    /// What one must know to make an account.
    registration_token: Option<String>,
    rate_limits: Option<Limits>,
    /// The base URLs of the relays that it uses until its owner chooses others.
    #[serde(default)]
    relays: Vec<String>,
    /// Servers that are asked about the keys of others that are away.
    #[serde(default)]
    notaries: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    burst: u32,
    per_second: u32,
}

impl Options {
    pub(super) fn read(options: JsValue) -> Result<Self, String> {
        serde_wasm_bindgen::from_value(options).map_err(|error| format!("the options do not fit: {error}"))
    }

    pub(super) fn config(&self) -> Result<Config, String> {
        let notary = |name: &String| ServerName::parse(name).map_err(|_| format!("the notary {name:?} is no server name"));
        let notaries = self.notaries.iter().map(notary).collect::<Result<_, _>>()?;
        let rate_limits = self.rate_limits.as_ref().map(|limits| RateLimits {
            burst: limits.burst,
            per_second: limits.per_second,
            ..RateLimits::default()
        });
        let registration = match &self.registration_token {
            _ if self.registration_closed => Registration::Closed,
            Some(token) => Registration::WithToken(token.clone()),
            None => Registration::Open,
        };
        Ok(Config {
            server_name: self.server_name.clone(),
            gateway: self.gateway.clone(),
            base_url: self.base_url.clone(),
            relays: self.relays.clone(),
            notaries,
            registration,
            rate_limits,
        })
    }
}
