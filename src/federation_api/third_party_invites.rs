//! Invitations of people who were not on Matrix then: their identity server says who they have become, and the room that knows
//! the identity server's keys lets the invitation through.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use std::rc::Rc;

use ruma::{OwnedRoomId, OwnedUserId, UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    event::NewEvent,
    federation,
    http::{Method, Response},
    residents::is_resident,
    room_server::{Draft, Room, Undecided},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/exchange_third_party_invite/{roomId}",
        access: Access::Signed,
        handler: handler!(exchange),
    },
    Route { method: Method::Put, path: "/_matrix/federation/v1/3pid/onbind", access: Access::Public, handler: handler!(onbind) },
];

/// Invitations of one notice that are followed: each may lead to a request to another server, and anybody may send a notice.
const MAX_INVITES: usize = 20;

/// The invitation that is wanted of its original sender's server.
#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "type")]
    kind: String,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    state_key: OwnedUserId,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    membership: String,
    third_party_invite: ThirdPartyInvite,
}

#[derive(Deserialize)]
struct ThirdPartyInvite {
    signed: Signed,
}

/// What the identity server has signed. What else is in it is signed as well, and kept.
#[derive(Clone, Deserialize)]
struct Signed {
    mxid: OwnedUserId,
    token: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Signed {
    fn into_json(self) -> Value {
        let mut object = self.rest;
        object.insert("mxid".into(), self.mxid.as_str().into());
        object.insert("token".into(), self.token.into());
        object.into()
    }
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>
async fn exchange(call: Call) -> Result<Response, Error> {
    let room = call.open_room(0).await?;
    let wanted: Wanted = call.body()?;
    let wrong = if wanted.room_id != room.id {
        "is of another room than the path says"
    } else if wanted.kind != "m.room.member" {
        "is no m.room.member"
    } else if wanted.content.membership != "invite" {
        "has another membership"
    } else if wanted.sender.server_name() != call.server.identity.server_name() {
        "is not of a user of this server"
    } else if wanted.content.third_party_invite.signed.mxid != wanted.state_key {
        "is for another user than the identity server has signed"
    } else {
        invite(&call.server, &room, &wanted.sender, wanted.content.third_party_invite.signed).await?;
        return Ok(Response::empty());
    };
    Err(Error::invalid_param(format!("The event {wrong}.")))
}

/// Sends the invitation that the room's `m.room.third_party_invite` was for.
async fn invite(server: &Server, room: &Rc<Room>, sender: &UserId, signed: Signed) -> Result<(), Error> {
    let (invited, token) = (signed.mxid.clone(), signed.token.clone());
    let signed = signed.into_json();
    let decide = |draft: &mut Draft<'_>| {
        let invitation = draft.state(&StateEventType::RoomThirdPartyInvite, &token)?;
        let invitation = invitation.filter(|event| event.pdu.sender == sender);
        let invitation = invitation.ok_or_else(|| Error::forbidden("The room has no such invitation of that user."))?;
        if matches!(draft.membership(&invited)?.as_deref(), Some("invite" | "join")) {
            return Ok(None);
        }
        let shown = invitation.pdu.content_str("display_name").unwrap_or_default();
        let content = json!({ "membership": "invite", "third_party_invite": { "display_name": shown, "signed": signed } });
        Ok(Some(NewEvent::state(sender.to_owned(), "m.room.member", invited.as_str(), content)))
    };
    if invited.server_name() == server.identity.server_name() {
        return server.rooms.transact_in(room, |draft| add(draft, decide)).await;
    }
    federation::invite(server, room, &invited, decide).await?;
    Ok(())
}

fn add(draft: &mut Draft<'_>, decide: impl Fn(&mut Draft<'_>) -> Result<Option<NewEvent>, Undecided>) -> Result<(), Undecided> {
    if let Some(event) = decide(draft)? {
        draft.add(event, None)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Bound {
    invites: Vec<BoundInvite>,
}

#[derive(Deserialize)]
struct BoundInvite {
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    signed: Signed,
}

/// An identity server tells what has become of its invitations. That it is one shows in each room alone, so whoever calls is
/// told no more than that this was heard.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind>
async fn onbind(call: Call) -> Result<Response, Error> {
    let bound: Bound = call.body()?;
    for invite in bound.invites.into_iter().take(MAX_INVITES) {
        if call.server.accounts.is_active(&invite.signed.mxid).await? {
            // What the room does not let through is no more than an invitation that does not come.
            let _ = follow(&call.server, invite).await;
        }
    }
    Ok(Response::empty())
}

async fn follow(server: &Rc<Server>, bound: BoundInvite) -> Result<(), Error> {
    let own_name = server.identity.server_name();
    if bound.sender.server_name() != own_name {
        return ask_for_invitation(server, bound).await;
    }
    let room = server.rooms.room(&bound.room_id).await?.ok_or_else(|| Error::not_found("This server does not know that room."))?;
    if is_resident(server, &room, own_name).await? {
        invite(server, &room, &bound.sender, bound.signed).await?;
    }
    Ok(())
}

/// Asks the server of the original invitation's sender to send another, to the user that its receiver has become.
async fn ask_for_invitation(server: &Server, bound: BoundInvite) -> Result<(), Error> {
    let invited = bound.signed.mxid.clone();
    let body = json!({
        "type": "m.room.member",
        "room_id": bound.room_id,
        "sender": bound.sender,
        "state_key": invited,
        "content": { "membership": "invite", "third_party_invite": { "display_name": invited.localpart(), "signed": bound.signed.into_json() } },
    });
    federation::exchange_third_party_invite(server, bound.sender.server_name(), &bound.room_id, &body).await
}
