//! Events of rooms that this server is not in. Only one kind concerns it: that an invitation or a knock of its user came to
//! nothing.

use std::rc::Rc;

use ruma::{OwnedEventId, OwnedUserId, ServerName, UserId};

use super::{
    check::check,
    intake::{NOT_HERE, Received, refused},
};
use crate::{
    error::Error,
    event::{CheckedPdu, Pdu, RawPdu},
    ordered::OrderedMap,
    parse,
    room_server::{
        Room,
        commit::{UserRoom, user_room_key},
    },
    server::Server,
};

/// Takes back invitations and refuses knocks, where the events say so; what else there is is refused.
pub(super) async fn receive_outside(
    server: &Server,
    origin: &ServerName,
    room: &Rc<Room>,
    events: OrderedMap<OwnedEventId, RawPdu>,
) -> Result<Received, Error> {
    let (ids, raw): (Vec<_>, Vec<_>) = events.into_iter().unzip();
    let mut received = Received::new();
    for (id, checked) in ids.into_iter().zip(check(server, (&room.id, &room.version), raw).await) {
        let ends = match &checked {
            Ok(event) => note_end(server, origin, room, event).await?,
            Err(_) => false,
        };
        received.extend(if ends { [(id, Ok(()))].into() } else { refused([id], NOT_HERE) });
    }
    Ok(received)
}

/// Notes that the membership by which a local user stands outside the room has ended, if the event is authorised by it.
async fn note_end(server: &Server, origin: &ServerName, room: &Rc<Room>, event: &CheckedPdu) -> Result<bool, Error> {
    let pdu = event.pdu();
    let Some(user) = excluded_user(server, pdu).filter(|_| pdu.room_id == room.id && pdu.sender.server_name() == origin) else {
        return Ok(false);
    };
    let key = user_room_key(&user, room.number);
    let noted = server.rooms.transact_in(room, |draft| {
        if draft.view().number(&pdu.event_id)?.is_some() {
            return Ok(true);
        }
        let member = draft.view().row(&key)?.and_then(|row| parse::json::<UserRoom>(&row).ok());
        let Some(member) = member.filter(|member| matches!(member.membership.as_str(), "invite" | "knock")) else { return Ok(false) };
        let is_authorised_by_it = pdu.auth_events.contains(&draft.view().event(member.event)?.pdu.event_id);
        if is_authorised_by_it {
            draft.note_from_outside(event, &[])?;
        }
        Ok(is_authorised_by_it)
    });
    noted.await
}

/// The local user whom the event puts or keeps out of the room.
fn excluded_user(server: &Server, pdu: &Pdu) -> Option<OwnedUserId> {
    let user = pdu.state_key.as_deref().and_then(|user| UserId::parse(user).ok())?;
    let is_local = user.server_name() == server.identity.server_name();
    let is_end = pdu.kind.to_string() == "m.room.member" && matches!(pdu.content_str("membership").as_deref(), Some("leave" | "ban"));
    (is_local && is_end).then_some(user)
}
