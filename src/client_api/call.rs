//! A call: a request on its way to its handler, with what handlers ask of it.

use std::{ops::Deref, rc::Rc};

use ruma::UserId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    accounts::Session,
    client_event::Viewer,
    error::Error,
    http::{Body, Request},
    log::Output,
    parse,
    room_server::{Position, Room},
    route::{Params, Target},
    server::Server,
};

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// Whoever has an access token.
    Token,
    /// Anybody; who has an access token is told more.
    OptionalToken,
}

/// The largest JSON body: an event and what may stand around it, with room for many small ones.
const MAX_JSON_BYTES: usize = 1 << 20;

/// Who calls, for a route that needs an access token.
pub(crate) type Caller = Session;

/// A request with its parameters.
pub(crate) struct Call {
    pub(crate) server: Rc<Server>,
    pub(crate) request: Request,
    target: Target,
    caller: Option<Caller>,
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
        Ok(Self { server, request, target, caller: None })
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens>
    pub(super) async fn authenticate(mut self, access: Access) -> Result<Self, Error> {
        if access == Access::Public {
            return Ok(self);
        }
        match self.token().map(str::to_owned) {
            Some(token) => self.caller = Some(self.session(&token).await?),
            None if access == Access::OptionalToken => {}
            None => return Err(Error::refused(401, "M_MISSING_TOKEN", "This needs an access token.")),
        }
        Ok(self)
    }

    /// Refuses a call that has gone on for a while, if its device was logged out meanwhile: behind that position of the log.
    pub(crate) async fn check_session(&self, since: Position) -> Result<(), Error> {
        let caller = self.caller()?;
        let may_be_out =
            |output: &Output| matches!(output, Output::Devices { user, device, .. } if (user, device) == (&caller.user, &caller.device));
        if let Some(token) = self.token()
            && self.server.log.any_since(since, may_be_out)
        {
            self.session(token).await?;
        }
        Ok(())
    }

    async fn session(&self, token: &str) -> Result<Session, Error> {
        let unknown = |soft: bool, message: &str| Err(Error::refused(401, "M_UNKNOWN_TOKEN", message).with("soft_logout", soft));
        match self.server.accounts.session(token, self.server.now()).await? {
            None => unknown(false, "This access token is not known; log in again."),
            Some(session) if session.expires.is_some_and(|expires| expires <= self.server.now()) => {
                unknown(true, "This access token has expired; refresh it.")
            }
            Some(session) => Ok(session),
        }
    }

    /// The access token, from the header or, for old clients, the query.
    pub(crate) fn token(&self) -> Option<&str> {
        let from_header = self.request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        from_header.or_else(|| self.query("access_token"))
    }

    /// Who calls.
    pub(crate) fn caller(&self) -> Result<&Caller, Error> {
        self.caller.as_ref().ok_or_else(|| Error::refused(401, "M_MISSING_TOKEN", "This needs an access token."))
    }

    /// The user who calls.
    pub(crate) fn user(&self) -> Result<&UserId, Error> {
        Ok(&self.caller()?.user)
    }

    /// Who looks at the events of the answer.
    pub(crate) fn viewer(&self) -> Result<Viewer<'_>, Error> {
        let caller = self.caller()?;
        Ok(Viewer { user: &caller.user, device: &caller.device, now: self.server.now() })
    }

    /// Refuses a call about another user's data.
    pub(crate) fn only_for(&self, user: &UserId) -> Result<(), Error> {
        if self.user()? == user { Ok(()) } else { Err(Error::forbidden("This belongs to somebody else.")) }
    }

    /// The JSON body; an empty body counts as an empty object.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#api-standards>
    pub(crate) fn json(&self) -> Result<Value, Error> {
        let bytes = match &self.request.body {
            Body::Empty => return Ok(Value::Object(serde_json::Map::new())),
            Body::Bytes(bytes) if bytes.is_empty() => return Ok(Value::Object(serde_json::Map::new())),
            Body::Bytes(bytes) => bytes,
            Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => {
                return Err(Error::bug("a JSON body was not read"));
            }
        };
        if bytes.len() > MAX_JSON_BYTES {
            return Err(Error::too_large("This body is too large."));
        }
        parse::json(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Error::bad_json(format!("The body is not of the right shape: {error}.")),
            _ => Error::refused(400, "M_NOT_JSON", format!("The body is not JSON: {error}.")),
        })
    }

    /// The JSON body as `T`. It must be an object: serde would take an array of the fields' values as well.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(Value::Object(self.json_object()?))
            .map_err(|error| Error::bad_json(format!("The body is not of the right shape: {error}.")))
    }

    /// The JSON body as an object.
    pub(crate) fn json_object(&self) -> Result<serde_json::Map<String, Value>, Error> {
        match self.json()? {
            Value::Object(object) => Ok(object),
            _ => Err(Error::bad_json("The body must be a JSON object.")),
        }
    }

    /// The room at this place of the path, whoever asks.
    pub(crate) async fn room(&self, index: usize) -> Result<Rc<Room>, Error> {
        let id = self.room_id(index)?;
        self.server.rooms.room(&id).await?.ok_or_else(|| Error::not_found("This server does not know that room."))
    }

    /// The room at this place of the path, for what only its members may do: where there is no such room, nobody is a member.
    pub(crate) async fn room_of_member(&self, index: usize) -> Result<Rc<Room>, Error> {
        let id = self.room_id(index)?;
        self.server.rooms.room(&id).await?.ok_or_else(|| Error::forbidden("You are not in that room."))
    }
}
