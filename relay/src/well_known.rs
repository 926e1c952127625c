//! Where a server's name is delegated to by its web server.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Body as HttpBody,
    http::{HeaderMap, Response, StatusCode, Uri, header},
};
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    client::{self, Client},
    clock::Clock,
    origin::MAX_NAME,
};

/// The answer is a line.
const MAX_BODY: usize = 16 * 1024;

/// How often a web server may send us elsewhere.
const MAX_REDIRECTS: usize = 5;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(15);

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// How long an answer holds that does not say so, and at most, as the specification recommends.
const HOLDS_MS: u64 = 24 * HOUR_MS;
const HOLDS_AT_MOST_MS: u64 = 48 * HOUR_MS;
/// And at least, or each transaction would ask anew.
const HOLDS_AT_LEAST_MS: u64 = 5 * MINUTE_MS;

/// How long the first failure holds. It doubles with each further one, up to an hour.
const FAILURE_MS: u64 = 2 * MINUTE_MS;

/// Of how many servers the answer is kept.
const MAX_KNOWN: usize = 10_000;

/// What is known of delegations.
pub(crate) struct WellKnown {
    client: Client,
    clock: Clock,
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    delegated: Option<OwnedServerName>,
    until: u64,
    failures: u32,
    /// When the web server last named the delegate.
    named: u64,
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[error("{0}")]
enum NoAnswer {
    /// The web server says that it delegates to nobody, or nothing that can be understood.
    Nobody(String),
    /// It says nothing, or that it is out of order.
    Silence(#[from] io::Error),
}

#[derive(Deserialize)]
struct Delegation {
    #[serde(rename = "m.server")]
    server: OwnedServerName,
}

impl WellKnown {
    /// Nothing is known yet.
    pub(crate) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, known: Mutex::default() }
    }

    /// The name that a host without a port has delegated federation to.
    pub(crate) async fn delegated(&self, host: &str) -> Option<OwnedServerName> {
        let before = self.known().get(host).cloned();
        if let Some(known) = before.as_ref().filter(|known| self.clock.now() < known.until) {
            return known.delegated.clone();
        }
        let answer = tokio::time::timeout(PATIENCE, self.ask(host)).await;
        let answer = answer.unwrap_or_else(|elapsed| Err(NoAnswer::Silence(elapsed.into())));
        let now = self.clock.now();
        let known = match answer {
            Ok((server, holds)) => Known { delegated: Some(server), until: now + holds, failures: 0, named: now },
            Err(why) => {
                tracing::debug!(host, %why, "no delegation");
                failed(before, &why, now)
            }
        };
        let delegated = known.delegated.clone();
        self.keep(host, known);
        delegated
    }

    fn keep(&self, host: &str, known: Known) {
        let mut all = self.known();
        if all.len() >= MAX_KNOWN {
            let now = self.clock.now();
            all.retain(|_, known| now < known.until);
        }
        if all.len() >= MAX_KNOWN {
            all.pop_first();
        }
        all.insert(host.to_owned(), known);
    }

    /// What the web server says, and how long it holds.
    async fn ask(&self, host: &str) -> Result<(OwnedServerName, u64), NoAnswer> {
        let mut uri: Uri = format!("https://{host}/.well-known/matrix/server").parse().map_err(io::Error::other)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = client::send(&self.client, "GET", &uri, HttpBody::empty()).await?;
            match redirected(&uri, &response) {
                Some(next) => uri = next?,
                None if response.status() == StatusCode::OK => return read(response).await,
                None if response.status().is_server_error() => return Err(io::Error::other(response.status().to_string()).into()),
                None => return Err(NoAnswer::Nobody(format!("the answer is {}", response.status()))),
            }
        }
        Err(NoAnswer::Nobody("there are too many redirects".into()))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known after a failure. A web server that is out of order does not undo what it has said, for as long as answers hold at most.
fn failed(before: Option<Known>, why: &NoAnswer, now: u64) -> Known {
    let failures = before.as_ref().map_or(0, |known| known.failures);
    let holds = FAILURE_MS.saturating_mul(1 << failures.min(8)).min(HOUR_MS);
    let last = before.filter(|known| matches!(why, NoAnswer::Silence(_)) && now < known.named + HOLDS_AT_MOST_MS);
    let (delegated, named) = last.map_or((None, 0), |known| (known.delegated, known.named));
    Known { delegated, until: now + holds, failures: failures.saturating_add(1), named }
}

async fn read(response: Response<HttpBody>) -> Result<(OwnedServerName, u64), NoAnswer> {
    let holds = holds(response.headers());
    let body = client::collect(response.into_body(), MAX_BODY).await?;
    let Delegation { server } = serde_json::from_slice(&body).map_err(|error| NoAnswer::Nobody(error.to_string()))?;
    if server.as_str().len() > MAX_NAME {
        return Err(NoAnswer::Nobody("the delegate's name is too long".into()));
    }
    Ok((server, holds))
}

/// Where a response sends us; by HTTPS only.
fn redirected(from: &Uri, response: &Response<HttpBody>) -> Option<Result<Uri, NoAnswer>> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308).then(|| {
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| absolute(from, location));
        target.ok_or_else(|| NoAnswer::Nobody("it redirects to nowhere".into()))
    })
}

fn absolute(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    if location.starts_with("https://") {
        return location.parse().ok();
    }
    let is_path = location.starts_with('/') && !location.starts_with("//");
    is_path.then(|| format!("https://{}{location}", from.authority()?).parse().ok()).flatten()
}

/// How long an answer holds, in milliseconds.
fn holds(headers: &HeaderMap) -> u64 {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut holds = HOLDS_MS;
    for directive in directives.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase()) {
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return HOLDS_AT_LEAST_MS;
        }
        let seconds = directive.strip_prefix("max-age=").and_then(|seconds| seconds.trim_matches('"').parse::<u64>().ok());
        holds = seconds.map_or(holds, |seconds| seconds.saturating_mul(1000));
    }
    holds.clamp(HOLDS_AT_LEAST_MS, HOLDS_AT_MOST_MS)
}

/// Whether a name says all by itself: an address, or a host with a port.
pub(crate) fn is_settled(name: &ServerName) -> bool {
    name.is_ip_literal() || name.port().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_as_long_as_it_says_within_bounds() {
        let holds = |value: &str| holds(&HeaderMap::from_iter([(header::CACHE_CONTROL, value.parse().unwrap())]));
        assert_eq!(super::holds(&HeaderMap::new()), HOLDS_MS);
        assert_eq!(holds("public, max-age=7200"), 2 * HOUR_MS);
        assert_eq!(holds("max-age=1"), HOLDS_AT_LEAST_MS);
        assert_eq!(holds("No-Store"), HOLDS_AT_LEAST_MS);
        assert_eq!(holds("max-age=99999999999999999999"), HOLDS_MS);
        assert_eq!(holds("max-age=9999999"), HOLDS_AT_MOST_MS);
    }

    #[test]
    fn redirects_stay_encrypted() {
        let from = Uri::from_static("https://a.example/.well-known/matrix/server");
        assert_eq!(absolute(&from, "https://b.example/x#y").unwrap(), "https://b.example/x");
        assert_eq!(absolute(&from, "/x").unwrap(), "https://a.example/x");
        for elsewhere in ["http://b.example/x", "//b.example/x", "ftp://b.example", "x", ""] {
            assert_eq!(absolute(&from, elsewhere), None, "{elsewhere}");
        }
    }
}
