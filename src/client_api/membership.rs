//! Room membership: joining, inviting, leaving, knocking, kicking, banning, and who is in a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

mod content;
mod entry;
mod exit;
mod intent;
mod invitation;
mod lists;
mod restricted;

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use self::entry::servers_of;
pub(crate) use self::{
    content::{MemberContent, load_profiles},
    intent::{Intent, change_membership},
    invitation::check_invitation,
    restricted::{allowed_rooms, candidates, granting_user, is_in_room},
};
use super::{Access, Call, Route, directory::locate, handler, inherited_settings::inherit_settings, spaces::membership};
use crate::{
    error::Error,
    federation::{Located, ThirdPartySigned, for_client, is_away, redeem},
    http::{Method, Response},
    keys::newcomers::tell_newcomers,
    pending_joins,
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    post("/_matrix/client/{version}/rooms/{roomId}/join", handler!(join_by_id)),
    post("/_matrix/client/{version}/join/{roomIdOrAlias}", handler!(join_by_id_or_alias)),
    post("/_matrix/client/{version}/knock/{roomIdOrAlias}", handler!(knock)),
    post("/_matrix/client/{version}/rooms/{roomId}/invite", handler!(invite)),
    post("/_matrix/client/{version}/rooms/{roomId}/leave", handler!(leave)),
    post("/_matrix/client/{version}/rooms/{roomId}/forget", handler!(forget)),
    post("/_matrix/client/{version}/rooms/{roomId}/kick", handler!(kick)),
    post("/_matrix/client/{version}/rooms/{roomId}/ban", handler!(ban)),
    post("/_matrix/client/{version}/rooms/{roomId}/unban", handler!(unban)),
    get("/_matrix/client/{version}/joined_rooms", handler!(lists::joined_rooms)),
    get("/_matrix/client/{version}/rooms/{roomId}/members", handler!(lists::members)),
    get("/_matrix/client/{version}/rooms/{roomId}/joined_members", handler!(lists::joined_members)),
];

const fn post(path: &'static str, handler: super::Handler) -> Route {
    Route { method: Method::Post, path, access: Access::Token, handler }
}

const fn get(path: &'static str, handler: super::Handler) -> Route {
    Route { method: Method::Get, path, access: Access::Token, handler }
}

/// A change of one's own membership.
#[derive(Deserialize)]
struct OwnChange {
    reason: Option<String>,
}

/// A wish to join, with what proves that an invitation by another address than a user ID was for the user.
#[derive(Deserialize)]
struct Join {
    reason: Option<String>,
    third_party_signed: Option<ThirdPartySigned>,
}

/// A change of somebody else's membership.
#[derive(Deserialize)]
struct TargetedChange {
    user_id: OwnedUserId,
    reason: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>
async fn join_by_id(call: Call) -> Result<Response, Error> {
    let room_id = call.room_id(0)?;
    join_room(&call, Located { room_id, servers: Vec::new() }).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>
async fn join_by_id_or_alias(call: Call) -> Result<Response, Error> {
    let located = locate(&call.server, call.param(0)).await?;
    join_room(&call, located.also_via(call.via()?)).await
}

async fn join_room(call: &Call, located: Located) -> Result<Response, Error> {
    let change: Join = call.body()?;
    let (user, reason) = (call.user()?, change.reason.as_deref());
    if let Some(signed) = change.third_party_signed {
        redeem_for(call, &located, user, signed).await?;
    }
    match join_located(&call.server, &located, user, reason).await {
        Ok(()) => Ok(Response::ok(&json!({ "room_id": located.room_id }))),
        Err(error) if is_away(&error) => {
            pending_joins::keep(&call.server, user, &located, reason).await?;
            let message = "Nobody who is in the room can be reached now. You join it as soon as somebody can.";
            Err(Error::refused(502, "M_UNREACHABLE", message).with("inglenook.pending", true))
        }
        Err(error) => Err(for_client(error)),
    }
}

/// Has the user invited who proves to be meant by an invitation to another address. Whoever is invited already needs no proof.
async fn redeem_for(call: &Call, located: &Located, user: &UserId, signed: ThirdPartySigned) -> Result<(), Error> {
    if signed.mxid != user {
        return Err(Error::forbidden("This invitation is for somebody else."));
    }
    let sender = signed.sender().ok_or_else(|| Error::bad_json("third_party_signed must name the sender of the invitation."))?;
    if matches!(membership(&call.server, &located.room_id, user).await?.as_deref(), Some("join" | "invite")) {
        return Ok(());
    }
    redeem(&call.server, &located.room_id, &sender, signed).await.map_err(for_client)
}

/// Joins a room, wherever it is.
pub(crate) async fn join_located(server: &Server, located: &Located, user: &UserId, reason: Option<&str>) -> Result<(), Error> {
    let (room, is_new) = entry::enter(server, located, user, reason).await?;
    if is_new {
        // The join is made, whatever becomes of this: who is not told of the devices asks for them.
        let _ = tell_newcomers(server, user, &room).await;
        inherit_settings(server, user, &room).await?;
    }
    Ok(())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>
async fn knock(call: Call) -> Result<Response, Error> {
    let located = locate(&call.server, call.param(0)).await?.also_via(call.via()?);
    let change: OwnChange = call.body()?;
    entry::knock(&call.server, &located, call.user()?, change.reason.as_deref()).await?;
    Ok(Response::ok(&json!({ "room_id": located.room_id })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave>
async fn leave(call: Call) -> Result<Response, Error> {
    let room = call.room(0).await?;
    let change: OwnChange = call.body()?;
    exit::leave(&call.server, &room, call.user()?, change.reason.as_deref()).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite>
async fn invite(call: Call) -> Result<Response, Error> {
    if let Value::Object(body) = call.json()?
        && !body.contains_key("user_id")
        && body.contains_key("id_server")
    {
        return Err(no_identity_server());
    }
    targeted_change(call, Intent::Invite).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick>
async fn kick(call: Call) -> Result<Response, Error> {
    targeted_change(call, Intent::Kick).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban>
async fn ban(call: Call) -> Result<Response, Error> {
    targeted_change(call, Intent::Ban).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban>
async fn unban(call: Call) -> Result<Response, Error> {
    targeted_change(call, Intent::Unban).await
}

async fn targeted_change(call: Call, intent: Intent) -> Result<Response, Error> {
    let change: TargetedChange = call.body()?;
    let room = call.room_of_member(0).await?;
    change_membership(&call.server, &room, intent, call.user()?, &change.user_id, change.reason.as_deref()).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget>
async fn forget(call: Call) -> Result<Response, Error> {
    let room = call.room(0).await?;
    intent::forget(&call.server, &room, call.user()?).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#other-error-codes> (`M_SERVER_NOT_TRUSTED`)
pub(super) fn no_identity_server() -> Error {
    Error::refused(400, "M_SERVER_NOT_TRUSTED", "This server asks no identity server: invite people by their user IDs.")
}

impl Call {
    /// The servers that the client names as being in the room, by either name of the parameter.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>
    pub(super) fn via(&self) -> Result<Vec<OwnedServerName>, Error> {
        let named = self.query_all("via").chain(self.query_all("server_name"));
        named.map(|name| ServerName::parse(name).map_err(|_| Error::invalid_param(format!("{name:?} is no server name.")))).collect()
    }
}
