//! Redeeming invitations of people who were invited by another address than a user ID, with what an identity server has signed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use std::rc::Rc;

use ruma::{OwnedUserId, RoomId, UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{invite, target::path};
use crate::{
    error::Error,
    event::NewEvent,
    room_server::{Draft, Room, Undecided},
    server::Server,
};

/// What the identity server has signed. What else is in it is signed as well, and kept.
#[derive(Clone, Deserialize)]
pub(crate) struct ThirdPartySigned {
    pub(crate) mxid: OwnedUserId,
    token: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl ThirdPartySigned {
    /// Who has invited, where a client tells of it.
    pub(crate) fn sender(&self) -> Option<OwnedUserId> {
        UserId::parse(self.rest.get("sender")?.as_str()?).ok()
    }

    fn into_json(self) -> Value {
        let mut object = self.rest;
        object.insert("mxid".into(), self.mxid.as_str().into());
        object.insert("token".into(), self.token.into());
        object.into()
    }
}

/// Sees to it that whoever has turned out to be meant is invited: by this server, if one of its users has invited, and else by
/// that user's.
pub(crate) async fn redeem(server: &Server, room: &RoomId, sender: &UserId, signed: ThirdPartySigned) -> Result<(), Error> {
    let own_name = server.identity.server_name();
    if sender.server_name() != own_name {
        return exchange(server, room, sender, signed).await;
    }
    let room = server.rooms.room(room).await?.ok_or_else(|| Error::not_found("This server does not know that room."))?;
    if !server.rooms.is_resident(&room, own_name).await? {
        return Err(Error::not_found("This server is not in that room."));
    }
    invite_signed(server, &room, sender, signed).await
}

/// Sends the invitation that the room's `m.room.third_party_invite` was for.
pub(crate) async fn invite_signed(server: &Server, room: &Rc<Room>, sender: &UserId, signed: ThirdPartySigned) -> Result<(), Error> {
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
    invite(server, room, &invited, decide).await?;
    Ok(())
}

fn add(draft: &mut Draft<'_>, decide: impl Fn(&mut Draft<'_>) -> Result<Option<NewEvent>, Undecided>) -> Result<(), Undecided> {
    if let Some(event) = decide(draft)? {
        draft.add(event, None)?;
    }
    Ok(())
}

/// Asks the server of the original invitation's sender to send another, to the user that its receiver has become.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>
async fn exchange(server: &Server, room: &RoomId, sender: &UserId, signed: ThirdPartySigned) -> Result<(), Error> {
    let invited = signed.mxid.clone();
    let body = json!({
        "type": "m.room.member",
        "room_id": room,
        "sender": sender,
        "state_key": invited,
        "content": { "membership": "invite", "third_party_invite": { "display_name": invited.localpart(), "signed": signed.into_json() } },
    });
    let target = path("v1/exchange_third_party_invite", &[room.as_str()]);
    server.federation_client.put(sender.server_name(), &target, &body).await?;
    Ok(())
}
