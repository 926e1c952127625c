//! What an operator can set: by flags, by environment variables (`INGLENOOK_RELAY_…`) and in a file, in this order.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use axum::http::HeaderName;
use clap::{Parser, ValueEnum};
use inglenook_protocol::{
    limits::{AddressLimits, Limits, Quota, Software},
    message::MAX_BODY,
    node_record::host_of,
};
use ruma::OwnedServerName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::Quotas;

const HOUR_MS: u64 = 3_600_000;

/// What a node may ask in a minute, all of it at once if need be: 600,000 events at 50 a transaction, or twelve messages to a thousand servers.
const NODE_REQUESTS: u64 = 12_000;

/// What of it others have to bear, who have not agreed to it: a message a second to a room of a hundred servers.
const NODE_OUTSIDE: u64 = 6_000;

/// How many addresses it takes to fill the relay: so many that one machine cannot, by both versions of addresses, and so few that one has room for
/// four senders of the largest quota, since another relay, or a company, has one for all of its nodes.
const ADDRESSES_TO_FILL_ALL: u64 = 20;

/// A relay for Inglenook's nodes.
#[derive(Debug, Default, Parser, Serialize)]
#[command(version, about)]
pub struct Flags {
    /// A TOML file with the settings below, their names with underscores
    #[arg(long, env = "INGLENOOK_RELAY_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8470]
    #[arg(long, env = "INGLENOOK_RELAY_LISTEN", value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// The folder of key and database [default: inglenook-relay-data]
    #[arg(long, env = "INGLENOOK_RELAY_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The URLs under which nodes and other relays reach this one, the first being the one to publish
    #[arg(long, env = "INGLENOOK_RELAY_PUBLIC_URL", value_name = "URL", value_delimiter = ',')]
    public_url: Option<Vec<String>>,
    /// Where to answer /metrics instead of on the public address
    #[arg(long, env = "INGLENOOK_RELAY_METRICS_LISTEN", value_name = "HOST:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Nodes that may attach, instead of all
    #[arg(long, env = "INGLENOOK_RELAY_ALLOW", value_name = "NAME", value_delimiter = ',')]
    allow: Option<Vec<OwnedServerName>>,
    /// How many nodes may be attached [default: 10000]
    #[arg(long, env = "INGLENOOK_RELAY_MAX_TUNNELS")]
    max_tunnels: Option<usize>,
    /// How many requests wait in one mailbox at most [default: 20000]
    #[arg(long, env = "INGLENOOK_RELAY_MAILBOX_ENTRIES")]
    mailbox_entries: Option<u64>,
    /// How many bytes wait in one mailbox at most [default: 256 MiB]
    #[arg(long, env = "INGLENOOK_RELAY_MAILBOX_BYTES")]
    mailbox_bytes: Option<u64>,
    /// How many requests of one sender wait at most [default: 40000]
    #[arg(long, env = "INGLENOOK_RELAY_ORIGIN_ENTRIES")]
    origin_entries: Option<u64>,
    /// How many bytes of one sender wait at most [default: 256 MiB]
    #[arg(long, env = "INGLENOOK_RELAY_ORIGIN_BYTES")]
    origin_bytes: Option<u64>,
    /// How many bytes of requests and deposits are kept in all [default: 20 GiB]
    #[arg(long, env = "INGLENOOK_RELAY_TOTAL_BYTES")]
    total_bytes: Option<u64>,
    /// How much of it one address may have brought; 0 for any number [default: a twentieth]
    #[arg(long, env = "INGLENOOK_RELAY_ADDRESS_BYTES")]
    address_bytes: Option<u64>,
    /// How long a request waits at most, in hours [default: 2160, 90 days]
    #[arg(long, env = "INGLENOOK_RELAY_RETENTION_HOURS")]
    retention_hours: Option<u64>,
    /// How long to wait for a node's answer, in seconds [default: 60]
    #[arg(long, env = "INGLENOOK_RELAY_REQUEST_TIMEOUT")]
    request_timeout: Option<u64>,
    /// How long the head of a request over HTTP may take to come, and a connection to be silent, in seconds [default: 30]
    #[arg(long, env = "INGLENOOK_RELAY_HEAD_TIMEOUT")]
    head_timeout: Option<u64>,
    /// How many requests a node may make in a minute, up its tunnel; 0 for any number [default: 12000]
    #[arg(long, env = "INGLENOOK_RELAY_NODE_REQUESTS")]
    node_requests: Option<u64>,
    /// How many of them may go on to other relays and servers; 0 for any number [default: 6000]
    #[arg(long, env = "INGLENOOK_RELAY_NODE_OUTSIDE")]
    node_outside: Option<u64>,
    /// How many requests an address may make in a minute; 0 for any number [default: 1200]
    #[arg(long, env = "INGLENOOK_RELAY_ADDRESS_REQUESTS")]
    address_requests: Option<u64>,
    /// How many connections an address may have at a time; 0 for any number [default: 200]
    #[arg(long, env = "INGLENOOK_RELAY_ADDRESS_CONNECTIONS")]
    address_connections: Option<u64>,
    /// The header in which the proxy in front names the address that it was called from, such as X-Forwarded-For
    #[arg(long, env = "INGLENOOK_RELAY_FORWARDED_HEADER", value_name = "NAME")]
    forwarded_header: Option<String>,
    /// How many bytes of requests are in memory at a time [default: 256 MiB]
    #[arg(long, env = "INGLENOOK_RELAY_REQUEST_BYTES")]
    request_bytes: Option<usize>,
    /// The domain below which ordinary homeservers reach the nodes, which makes the relay a gateway
    #[arg(long, env = "INGLENOOK_RELAY_GATEWAY_DOMAIN", value_name = "DOMAIN")]
    gateway_domain: Option<String>,
    /// The certificate chain to serve HTTPS with, in PEM; read again on SIGHUP
    #[arg(long, env = "INGLENOOK_RELAY_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, env = "INGLENOOK_RELAY_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Certificate authorities to trust besides the public ones, in PEM
    #[arg(long, env = "INGLENOOK_RELAY_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Connect to this address instead of looking the name up: for tests only
    #[arg(long, env = "INGLENOOK_RELAY_FEDERATION_RESOLVE", value_name = "NAME[:PORT]=ADDRESS:PORT", value_delimiter = ',')]
    federation_resolve: Option<Vec<String>>,
    /// Forward to private and loopback addresses too: for tests only
    #[arg(long, env = "INGLENOOK_RELAY_ALLOW_PRIVATE_ADDRESSES", num_args = 0..=1, default_missing_value = "true")]
    allow_private_addresses: Option<bool>,
    /// How logs are written [default: text]
    #[arg(long, env = "INGLENOOK_RELAY_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged, as tracing's filters have it [default: info]
    #[arg(long, env = "INGLENOOK_RELAY_LOG")]
    log: Option<String>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What holds in the end. The names are those of [`Flags`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub public_url: Vec<String>,
    pub metrics_listen: Option<SocketAddr>,
    pub allow: Vec<OwnedServerName>,
    pub max_tunnels: usize,
    pub mailbox_entries: u64,
    pub mailbox_bytes: u64,
    pub origin_entries: u64,
    pub origin_bytes: u64,
    pub total_bytes: u64,
    pub address_bytes: Option<u64>,
    pub retention_hours: u64,
    pub request_timeout: u64,
    pub head_timeout: u64,
    pub node_requests: u64,
    pub node_outside: u64,
    pub address_requests: u64,
    pub address_connections: u64,
    pub forwarded_header: Option<String>,
    pub request_bytes: usize,
    pub gateway_domain: Option<String>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub federation_resolve: Vec<String>,
    pub allow_private_addresses: bool,
    pub log_format: LogFormat,
    pub log: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8470)),
            data: "inglenook-relay-data".into(),
            public_url: Vec::new(),
            metrics_listen: None,
            allow: Vec::new(),
            max_tunnels: 10_000,
            mailbox_entries: 20_000,
            mailbox_bytes: 256 * 1024 * 1024,
            origin_entries: 40_000,
            origin_bytes: 256 * 1024 * 1024,
            total_bytes: 20 * 1024 * 1024 * 1024,
            address_bytes: None,
            retention_hours: 90 * 24,
            request_timeout: 60,
            head_timeout: 30,
            node_requests: NODE_REQUESTS,
            node_outside: NODE_OUTSIDE,
            address_requests: 1_200,
            address_connections: 200,
            forwarded_header: None,
            request_bytes: 256 * 1024 * 1024,
            gateway_domain: None,
            tls_cert: None,
            tls_key: None,
            ca: None,
            federation_resolve: Vec::new(),
            allow_private_addresses: false,
            log_format: LogFormat::Text,
            log: "info".into(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
}

/// Of a request that is stored: 50 PDUs and 100 EDUs of the largest size, with room for what surrounds them.
pub const MAX_STORED_BODY: usize = 10 * 1024 * 1024;

/// Of each kind of deposit: the devices and cross-signing keys of some hundred users.
pub const MAX_DEPOSIT: usize = 1024 * 1024;

impl Flags {
    /// The settings, with what the file says beneath the flags.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let text = match &self.config {
            Some(file) => std::fs::read_to_string(file).map_err(|error| ConfigError::File(file.clone(), error))?,
            None => String::new(),
        };
        let setting = |error: &dyn std::fmt::Display| ConfigError::Setting(error.to_string());
        let mut settings: toml::Table = text.parse().map_err(|error| setting(&error))?;
        settings.extend(toml::Table::try_from(self).map_err(|error| setting(&error))?);
        let config: Config = settings.try_into().map_err(|error| setting(&error))?;
        config.check().map_err(ConfigError::Setting)?;
        Ok(config)
    }
}

impl Config {
    /// Says what is wrong, as far as the settings alone can tell.
    fn check(&self) -> Result<(), String> {
        if let Some(url) = self.public_url.iter().find(|url| host_of(url).is_none()) {
            return Err(format!("public_url: {url:?} is no http(s) URL"));
        }
        if let Some(domain) = self.gateway_domain.as_deref().filter(|domain| !is_domain(domain)) {
            return Err(format!("gateway_domain: {domain:?} is no domain in lower case with room for a label"));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("tls_cert and tls_key go together".into());
        }
        if self.request_bytes < MAX_STORED_BODY {
            return Err(format!("request_bytes: there has to be room for one request, {MAX_STORED_BODY} bytes"));
        }
        self.forwarded_header()?;
        self.overrides().map(|_| ())
    }

    /// Where to connect to instead of looking names up, by host, or by host and port.
    pub(crate) fn overrides(&self) -> Result<BTreeMap<String, SocketAddr>, String> {
        let each = |text: &String| {
            let (name, address) = text.split_once('=')?;
            Some((name.to_owned(), address.parse().ok()?))
        };
        let wrong = |text: &String| format!("federation_resolve: {text:?} is not NAME[:PORT]=ADDRESS:PORT");
        self.federation_resolve.iter().map(|text| each(text).ok_or_else(|| wrong(text))).collect()
    }

    /// What may wait.
    pub fn quotas(&self) -> Quotas {
        Quotas {
            mailbox: Quota { entries: self.mailbox_entries, bytes: self.mailbox_bytes },
            origin: Quota { entries: self.origin_entries, bytes: self.origin_bytes },
            retention_ms: self.retention_hours.saturating_mul(HOUR_MS),
            total_bytes: self.total_bytes,
            address_bytes: self.address_bytes.unwrap_or(self.total_bytes / ADDRESSES_TO_FILL_ALL),
        }
    }

    /// What is published.
    pub fn limits(&self) -> Limits {
        let Quotas { mailbox, origin, retention_ms, address_bytes, .. } = self.quotas();
        Limits {
            software: Software { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
            gateway: self.gateway_domain.clone(),
            allow_list: !self.allow.is_empty(),
            max_body: MAX_BODY,
            max_stored_body: MAX_STORED_BODY as u64,
            mailbox,
            origin,
            retention_ms,
            max_deposit: MAX_DEPOSIT as u64,
            request_timeout_ms: self.request_timeout.saturating_mul(1000),
            address: AddressLimits {
                requests_per_minute: self.address_requests,
                connections: self.address_connections,
                bytes: address_bytes,
            },
            node_requests_per_minute: self.node_requests,
            node_outside_per_minute: self.node_outside,
        }
    }

    /// The header that names an address, as HTTP has it.
    pub(crate) fn forwarded_header(&self) -> Result<Option<HeaderName>, String> {
        let wrong = |name: &String| format!("forwarded_header: {name:?} is no header's name");
        self.forwarded_header.as_ref().map(|name| HeaderName::try_from(name.as_str()).map_err(|_| wrong(name))).transpose()
    }
}

/// A domain whose labels can be server names that are made of keys.
///
/// <https://spec.matrix.org/v1.19/appendices/#server-name>
fn is_domain(domain: &str) -> bool {
    const ROOM_FOR_LABEL: usize = 53;
    const LONGEST_NAME: usize = 253;
    let is_label = |label: &str| {
        let is_sound = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (1..=63).contains(&label.len()) && is_sound && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.len() + ROOM_FOR_LABEL <= LONGEST_NAME && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, ConfigError> {
        Flags::parse_from([&["inglenook-relay"], arguments].concat()).config()
    }

    #[test]
    fn every_setting_has_a_default() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen.port(), 8470);
        assert!(!config.allow_private_addresses);
    }

    #[test]
    fn flags_hold_against_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, "listen = \"0.0.0.0:1\"\nmailbox_entries = 7\nlog_format = \"json\"\n").unwrap();
        let config =
            config(&["--config", file.to_str().unwrap(), "--mailbox-entries", "8", "--public-url", "https://a,https://b"]).unwrap();
        assert_eq!((config.listen.port(), config.mailbox_entries, config.log_format), (1, 8, LogFormat::Json));
        assert_eq!(config.public_url, ["https://a", "https://b"]);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, "lisen = \"0.0.0.0:1\"\n").unwrap();
        assert!(config(&["--config", file.to_str().unwrap()]).unwrap_err().to_string().contains("lisen"));
        assert!(config(&["--public-url", "relay.example"]).is_err());
        for domain in ["", "Gateway.example", "gateway.example.", "gateway.example:443", "https://gateway.example", "[::1]"] {
            assert!(config(&["--gateway-domain", domain]).is_err(), "{domain}");
        }
        assert!(config(&["--tls-cert", "cert.pem"]).is_err());
        assert!(config(&["--federation-resolve", "there.example"]).is_err());
        assert!(config(&["--forwarded-header", "no header"]).is_err());
        assert!(config(&["--request-bytes", "1000"]).is_err());
    }

    #[test]
    fn an_address_has_a_share_of_whatever_there_is() {
        let bytes = |arguments: &[&str]| config(arguments).unwrap().quotas().address_bytes;
        assert_eq!(bytes(&[]), 1 << 30);
        assert_eq!(bytes(&["--total-bytes", "2000"]), 100);
        assert_eq!((bytes(&["--address-bytes", "7"]), bytes(&["--address-bytes", "0"])), (7, 0));
    }

    #[test]
    fn a_gateway_publishes_its_domain() {
        let config = config(&["--gateway-domain", "gateway.example"]).unwrap();
        assert_eq!(config.limits().gateway.as_deref(), Some("gateway.example"));
    }
}
