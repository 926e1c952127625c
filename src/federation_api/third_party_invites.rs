//! Invitations of people who were not on Matrix then: their identity server says who they have become, and the room that knows
//! the identity server's keys lets the invitation through.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    federation::{ThirdPartySigned, invite_signed, redeem},
    http::{Method, Response},
};

const ON_BIND: &str = "/_matrix/federation/v1/3pid/onbind";

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/exchange_third_party_invite/{roomId}",
        access: Access::Signed,
        handler: handler!(exchange),
    },
    Route { method: Method::Put, path: ON_BIND, access: Access::Public, handler: handler!(onbind) },
    // What Sydent sends, and Synapse takes, in its place.
    Route { method: Method::Post, path: ON_BIND, access: Access::Public, handler: handler!(onbind) },
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
    signed: ThirdPartySigned,
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
        invite_signed(&call.server, &room, &wanted.sender, wanted.content.third_party_invite.signed).await?;
        return Ok(Response::empty());
    };
    Err(Error::invalid_param(format!("The event {wrong}.")))
}

#[derive(Deserialize)]
struct Bound {
    invites: Vec<BoundInvite>,
}

#[derive(Deserialize)]
struct BoundInvite {
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    signed: ThirdPartySigned,
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
            let _ = redeem(&call.server, &invite.room_id, &invite.sender, invite.signed).await;
        }
    }
    Ok(Response::empty())
}
