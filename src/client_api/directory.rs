//! Room aliases, and whether a room is published.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use std::rc::Rc;

use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId, UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler, readable_state::reads_current};
use crate::{
    directory::{Alias, alias_in, delete_alias, publish, put_alias},
    error::Error,
    event::NewEvent,
    federation::{self, Located, for_client},
    http::{Method, Response},
    room_server::{Draft, Need, PowerLevels, Room, Undecided},
    server::Server,
};

const ALIAS: &str = "/_matrix/client/{version}/directory/room/{roomAlias}";
const LISTED: &str = "/_matrix/client/{version}/directory/list/room/{roomId}";

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: ALIAS, access: Access::Public, handler: handler!(alias) },
    Route { method: Method::Put, path: ALIAS, access: Access::Token, handler: handler!(create_alias) },
    Route { method: Method::Delete, path: ALIAS, access: Access::Token, handler: handler!(remove_alias) },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/aliases",
        access: Access::Token,
        handler: handler!(aliases),
    },
    Route { method: Method::Get, path: LISTED, access: Access::Public, handler: handler!(visibility) },
    Route { method: Method::Put, path: LISTED, access: Access::Token, handler: handler!(set_visibility) },
];

/// The room that a client names by its ID or by an alias.
pub(super) async fn room_of(server: &Server, id_or_alias: &str) -> Result<Rc<Room>, Error> {
    let id = locate(server, id_or_alias).await?.room_id;
    server.rooms.room(&id).await?.ok_or_else(|| Error::not_found("This server does not know that room."))
}

/// Where the room is that a client names by its ID or by an alias. An ID alone says nothing of where.
pub(super) async fn locate(server: &Server, id_or_alias: &str) -> Result<Located, Error> {
    if id_or_alias.starts_with('#') {
        return resolve(server, &parse_alias(id_or_alias)?).await;
    }
    let room_id = RoomId::parse(id_or_alias).map_err(|_| Error::invalid_param(format!("{id_or_alias:?} is no room ID and no alias.")))?;
    Ok(Located { room_id, servers: Vec::new() })
}

/// The room that an alias leads to, and servers that are in it. Aliases of other servers are known to those alone.
async fn resolve(server: &Server, alias: &RoomAliasId) -> Result<Located, Error> {
    if alias.server_name() != server.identity.server_name() {
        return federation::locate(server, alias).await.map_err(for_client);
    }
    let room_id = server.directory.find(alias).await?.map(|alias| alias.room_id).ok_or_else(|| unknown_alias(alias))?;
    Ok(Located { room_id, servers: vec![server.identity.server_name().to_owned()] })
}

fn unknown_alias(alias: &RoomAliasId) -> Error {
    Error::not_found(format!("There is no {alias} here."))
}

fn parse_alias(text: &str) -> Result<OwnedRoomAliasId, Error> {
    RoomAliasId::parse(text).map_err(|_| Error::invalid_param(format!("{text:?} is no room alias.")))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias>
async fn alias(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&resolve(&call.server, &parse_alias(call.param(0))?).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias>
async fn create_alias(call: Call) -> Result<Response, Error> {
    #[derive(Deserialize)]
    struct Body {
        room_id: OwnedRoomId,
    }
    let (alias, body) = (parse_alias(call.param(0))?, call.body::<Body>()?);
    let (server, user) = (&call.server, call.user()?);
    if alias.server_name() != server.identity.server_name() {
        return Err(Error::invalid_param("This server makes aliases under its own name only."));
    }
    let room = room_of(server, body.room_id.as_str()).await?;
    let _writing = server.directory.write().await;
    let decide = |draft: &mut Draft<'_>| {
        check_joined(draft, user)?;
        if alias_in(draft.view(), &alias)?.is_some() {
            return Err(Error::refused(409, "M_UNKNOWN", format!("{alias} exists already.")).into());
        }
        let target = Alias { room_id: room.id.clone(), creator: user.to_owned() };
        put_alias(draft.rows(), &alias, room.number, &target);
        Ok(())
    };
    server.rooms.transact_in(&room, decide).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias>
async fn remove_alias(call: Call) -> Result<Response, Error> {
    let (alias, server, user) = (parse_alias(call.param(0))?, &call.server, call.user()?);
    let _writing = server.directory.write().await;
    let target = server.directory.find(&alias).await?.ok_or_else(|| unknown_alias(&alias))?;
    let room = room_of(server, target.room_id.as_str()).await?;
    let decide = |draft: &mut Draft<'_>| {
        if target.creator != user && !may_curate_aliases(draft, user)? {
            return Err(Error::forbidden("This alias is somebody else's.").into());
        }
        delete_alias(draft.rows(), &alias, room.number);
        unlist_alias(draft, user, &alias)
    };
    server.rooms.transact_in(&room, decide).await?;
    Ok(Response::empty())
}

/// Takes a removed alias out of those that the room shows, if the user may do that.
fn unlist_alias(draft: &mut Draft<'_>, user: &UserId, alias: &RoomAliasId) -> Result<(), Undecided> {
    let Some(event) = draft.state(&StateEventType::RoomCanonicalAlias, "")? else { return Ok(()) };
    let mut content: Value = event.pdu.content_as();
    let before = content.clone();
    let is_it = |value: &Value| value.as_str() == Some(alias.as_str());
    if let Some(fields) = content.as_object_mut() {
        if fields.get("alias").is_some_and(is_it) {
            fields.remove("alias");
        }
        if let Some(others) = fields.get_mut("alt_aliases").and_then(Value::as_array_mut) {
            others.retain(|other| !is_it(other));
        }
    }
    if content == before {
        return Ok(());
    }
    match draft.add(NewEvent::state(user.to_owned(), "m.room.canonical_alias", "", content), None) {
        Err(Undecided::Refused(_)) | Ok(_) => Ok(()),
        Err(need) => Err(need),
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases>
async fn aliases(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    if !reads_current(&call.server, &room, call.user()?).await? {
        return Err(Error::forbidden("You are not in this room."));
    }
    Ok(Response::ok(&json!({ "aliases": call.server.directory.aliases(room.number).await? })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid>
async fn visibility(call: Call) -> Result<Response, Error> {
    let room = call.room(0).await?;
    let visibility = if call.server.directory.is_published(&room.id).await? { "public" } else { "private" };
    Ok(Response::ok(&json!({ "visibility": visibility })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid>
async fn set_visibility(call: Call) -> Result<Response, Error> {
    #[derive(Clone, Copy, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Visibility {
        #[default]
        Public,
        Private,
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        visibility: Visibility,
    }
    let (body, room, user) = (call.body::<Body>()?, call.room(0).await?, call.user()?);
    let decide = |draft: &mut Draft<'_>| {
        check_joined(draft, user)?;
        if !may_curate_aliases(draft, user)? {
            return Err(Error::forbidden("You may not change what this room shows to others.").into());
        }
        publish(draft.rows(), &room.id, body.visibility == Visibility::Public);
        Ok(())
    };
    call.server.rooms.transact_in(&room, decide).await?;
    Ok(Response::empty())
}

fn check_joined(draft: &Draft<'_>, user: &UserId) -> Result<(), Undecided> {
    match draft.membership(user)?.as_deref() {
        Some("join") => Ok(()),
        _ => Err(Error::forbidden("You are not in this room.").into()),
    }
}

/// Whether a member may say by which aliases the room goes: the same who may publish it.
fn may_curate_aliases(draft: &Draft<'_>, user: &UserId) -> Result<bool, Need> {
    let levels = PowerLevels::of(draft.view(), &draft.room().version, draft.current())?;
    let is_joined = draft.membership(user)?.as_deref() == Some("join");
    Ok(is_joined && levels.user(user) >= levels.event("m.room.canonical_alias", true))
}
