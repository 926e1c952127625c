//! A call of another server: its request, authentic and for this server, with what handlers ask of it.

use std::{ops::Deref, rc::Rc};

use inglenook_protocol::{
    path::RECORD_HEADER,
    x_matrix::{Authorization, SignedParts},
};
use ruma::{CanonicalJsonValue, OwnedServerName};
use serde::de::DeserializeOwned;

use crate::{
    error::Error,
    event::PublicKeys,
    http::{Body, Request},
    parse,
    room_server::Room,
    route::{Params, Target},
    server::Server,
};

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// A server that has signed the request for this one.
    Signed,
    /// The same, or for a relay of this one that was to keep the request for it.
    SignedForRelay,
}

/// The largest JSON body: a transaction of 50 events and 100 EDUs of 64 KiB each, with room to spare for none of them to be so large.
const MAX_JSON_BYTES: usize = 10 << 20;

/// A request with its parameters.
pub(crate) struct Call {
    pub(crate) server: Rc<Server>,
    pub(crate) request: Request,
    target: Target,
    content: Option<CanonicalJsonValue>,
    origin: Option<OwnedServerName>,
}

/// Handlers ask a call for its parameters.
impl Deref for Call {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Call {
    pub(super) fn new(server: Rc<Server>, request: Request, params: Params) -> Result<Self, Error> {
        let target = Target::new(params, &request);
        let content = content(&request.body)?;
        Ok(Self { server, request, target, content, origin: None })
    }

    /// <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>
    pub(super) async fn authenticate(mut self, access: Access) -> Result<Self, Error> {
        if access != Access::Public {
            let origin = self.signer(access == Access::SignedForRelay).await?;
            if let Some(record) = self.request.header(RECORD_HEADER) {
                let is_stranger = !self.server.federation_sender.knows(&origin);
                self.server.records.learn_from_header(&origin, record, is_stranger).await?;
            }
            self.origin = Some(origin);
        }
        Ok(self)
    }

    /// The server that has signed the request for this one.
    async fn signer(&mut self, by_relay: bool) -> Result<OwnedServerName, Error> {
        let unauthorized = |message: String| Error::refused(401, "M_UNAUTHORIZED", message);
        let header = self.request.header("authorization").ok_or_else(|| unauthorized("This needs an X-Matrix signature.".into()))?;
        let authorization = Authorization::parse(header).map_err(|error| unauthorized(format!("{error}.")))?;
        let own_name = self.server.identity.server_name();
        let destination = authorization.destination.as_ref().unwrap_or(own_name);
        if destination != own_name && !(by_relay && self.server.own_relays.any_is_called(destination)) {
            return Err(unauthorized(format!("This request is for another server than {own_name}.")));
        }
        let key = self.server.keys.key(&authorization.origin, &authorization.key).await;
        let key = key.ok_or_else(|| unauthorized(format!("There is no key {} of {}.", authorization.key, authorization.origin)))?;
        let keys = PublicKeys::from([(authorization.origin.to_string(), [(authorization.key.clone(), key)].into())]);
        let parts = SignedParts {
            method: self.request.method.as_str(),
            uri: &self.request.target(),
            origin: authorization.origin.as_str(),
            destination: destination.as_str(),
            content: None,
        };
        let verified = authorization.verify_with(&parts, self.content.take(), &keys);
        self.content = verified.map_err(|error| unauthorized(format!("{error}.")))?;
        Ok(authorization.origin)
    }

    /// The server that calls.
    pub(crate) fn origin(&self) -> Result<&OwnedServerName, Error> {
        self.origin.as_ref().ok_or_else(|| Error::refused(401, "M_UNAUTHORIZED", "This needs an X-Matrix signature."))
    }

    /// The JSON body as it was signed, if there is one.
    pub(crate) fn content(&self) -> Option<&CanonicalJsonValue> {
        self.content.as_ref()
    }

    /// The JSON body as `T`.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let Body::Bytes(bytes) = &self.request.body else { return Err(Error::refused(400, "M_NOT_JSON", "This needs a JSON body.")) };
        parse::json(bytes).map_err(|error| Error::bad_json(format!("The body is not of the right shape: {error}.")))
    }

    /// The room at this place of the path, if this server knows it.
    pub(crate) async fn room(&self, index: usize) -> Result<Rc<Room>, Error> {
        let id = self.room_id(index)?;
        self.server.rooms.room(&id).await?.ok_or_else(|| Error::not_found("This server does not know that room."))
    }
}

fn content(body: &Body) -> Result<Option<CanonicalJsonValue>, Error> {
    let bytes = match body {
        Body::Empty => return Ok(None),
        Body::Bytes(bytes) if bytes.is_empty() => return Ok(None),
        Body::Bytes(bytes) => bytes,
        Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => return Err(Error::bug("a JSON body was not read")),
    };
    if bytes.len() > MAX_JSON_BYTES {
        return Err(Error::too_large("This body is too large."));
    }
    let parsed = parse::json(bytes);
    parsed.map(Some).map_err(|error| Error::refused(400, "M_NOT_JSON", format!("The body is not JSON that can be signed: {error}.")))
}
