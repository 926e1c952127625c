//! Signed requests to other servers.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use std::rc::Rc;

use futures_util::future::{Either, select};
use inglenook_protocol::{answer::with_nonce, key_name::public_key_of, x_matrix::SignedParts};
use ruma::{CanonicalJsonValue, ServerName};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::{
    error::Error,
    http::{Body, Method, Request, Response},
    identity::Identity,
    parse,
    ports::{Clock, Destination, Entropy, Reply, Transport, TransportError},
    relays::{NodeRecords, OwnRelays},
};

/// How long another server may take to answer: longer than a slow join of a large room, shorter than people wait.
const PATIENCE_MILLIS: u64 = 60_000;

/// The largest answer that is taken into memory: the state of a room with tens of thousands of members.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Sends requests in this server's name.
pub(crate) struct FederationClient {
    transport: Rc<dyn Transport>,
    clock: Rc<dyn Clock>,
    entropy: Rc<dyn Entropy>,
    identity: Rc<Identity>,
    relays: Relays,
}

/// Where others are found, and where this server is.
pub(crate) struct Relays {
    pub(crate) own: Rc<OwnRelays>,
    pub(crate) records: Rc<NodeRecords>,
}

/// Why another server did not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PeerError {
    /// It did not answer.
    #[error(transparent)]
    Unreachable(#[from] TransportError),
    /// It refused.
    #[error("{status} {code}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `errcode`.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// Its answer is not what was asked for.
    #[error("the other server's answer cannot be used: {0}")]
    Malformed(String),
}

#[derive(Deserialize, Default)]
struct StandardError {
    #[serde(default)]
    errcode: String,
    #[serde(default)]
    error: String,
}

impl FederationClient {
    pub(crate) fn new(
        transport: Rc<dyn Transport>,
        clock: Rc<dyn Clock>,
        entropy: Rc<dyn Entropy>,
        identity: Rc<Identity>,
        relays: Relays,
    ) -> Self {
        Self { transport, clock, entropy, identity, relays }
    }

    /// `GET`s a target, a path with an optional query, and returns the body.
    pub(crate) async fn get(&self, to: &ServerName, target: &str) -> Result<Vec<u8>, Error> {
        self.ask(to, Method::Get, target, None).await
    }

    /// `PUT`s JSON and returns the body of the answer.
    pub(crate) async fn put(&self, to: &ServerName, target: &str, body: &Value) -> Result<Vec<u8>, Error> {
        self.ask(to, Method::Put, target, Some(body)).await
    }

    /// `POST`s JSON and returns the body of the answer.
    pub(crate) async fn post(&self, to: &ServerName, target: &str, body: &Value) -> Result<Vec<u8>, Error> {
        self.ask(to, Method::Post, target, Some(body)).await
    }

    async fn ask(&self, to: &ServerName, method: Method, target: &str, body: Option<&Value>) -> Result<Vec<u8>, Error> {
        let request = self.signed(to, method, target, body)?;
        match self.send(to, request).await? {
            Reply::Answered(response) => Ok(read(response)?),
            Reply::Kept { .. } => Err(TransportError::Unreachable(to.to_string(), "it is away".into()).into()),
        }
    }

    /// Sends a request that [`FederationClient::signed`] made.
    pub(crate) async fn send(&self, to: &ServerName, request: Request) -> Result<Reply, TransportError> {
        // A record that cannot be read now is one that is not known: another way may lead there.
        let relays = self.relays.records.relays_of(to).await.unwrap_or_default();
        self.send_by(to, relays, request).await
    }

    /// The same by these relays of the destination.
    pub(crate) async fn send_by(&self, to: &ServerName, relays: Vec<String>, mut request: Request) -> Result<Reply, TransportError> {
        // A name that is a key and nothing else leads nowhere by itself: whoever is asked could not ask back.
        if public_key_of(to).is_some() || !self.identity.server_name().as_str().contains('.') {
            request.headers.extend(self.relays.own.header());
        }
        let to = Destination { name: to.to_owned(), relays };
        let reply = match select(self.transport.send(&to, request), self.clock.sleep(PATIENCE_MILLIS)).await {
            Either::Left((reply, _)) => reply,
            Either::Right(_) => Err(TransportError::TimedOut(to.name.to_string())),
        };
        if let Err(TransportError::NoRoute(_)) = &reply {
            self.relays.records.want(&to.name);
        }
        reply
    }

    /// A request in this server's name, signed for its destination.
    pub(crate) fn signed(&self, to: &ServerName, method: Method, target: &str, body: Option<&Value>) -> Result<Request, Error> {
        let content = body.map(canonical).transpose()?;
        let parts = SignedParts {
            method: method.as_str(),
            uri: target,
            origin: self.identity.server_name().as_str(),
            destination: to.as_str(),
            content: content.as_ref(),
        };
        let mut authorization = parts.sign(&*self.identity).map_err(|error| Error::bug(error.to_string()))?;
        if public_key_of(to).is_some() {
            let mut nonce = [0; 8];
            self.entropy.fill(&mut nonce);
            authorization = with_nonce(&authorization, nonce);
        }
        let mut request = Request::new(method, target);
        request.headers.insert("authorization".into(), authorization);
        if let Some(content) = content {
            request.headers.insert("content-type".into(), "application/json".into());
            request.body = Body::Bytes(serde_json::to_vec(&content).map_err(|error| Error::bug(error.to_string()))?);
        }
        Ok(request)
    }
}

fn canonical(body: &Value) -> Result<CanonicalJsonValue, Error> {
    CanonicalJsonValue::try_from(body.clone()).map_err(|error| Error::bad_json(format!("This cannot be signed: {error}.")))
}

/// The body of an answer that is a success.
pub(crate) fn read(response: Response) -> Result<Vec<u8>, PeerError> {
    let bytes = match response.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) if bytes.len() <= MAX_ANSWER_BYTES => bytes,
        Body::Bytes(_) => return Err(PeerError::Malformed("it is too large".into())),
        Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => {
            return Err(PeerError::Malformed("it is a file".into()));
        }
    };
    if (200..300).contains(&response.status) {
        return Ok(bytes);
    }
    let StandardError { errcode, error } = parse::json(&bytes).unwrap_or_default();
    let code = if errcode.is_empty() { "M_UNKNOWN".into() } else { errcode };
    Err(PeerError::Refused { status: response.status, code, message: error })
}
