//! Restricted rooms: whether membership of another room opens this one, and who vouches for that.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>

use ruma::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId, events::StateEventType};
use serde_json::Value;

use crate::{
    error::Error,
    event::RoomVersion,
    gather::Gather,
    ordered::OrderedSet,
    parse,
    room_server::{
        Draft, Need, PowerLevels, Room, Undecided, View,
        commit::{UserRoom, user_room_key},
        room::RoomRow,
        snapshot::Snapshot,
    },
    server::Server,
    storage::{Key, KeyReader, Scan, Table},
};

/// So many local accounts are tried as the one who vouches, beside those whom the room names in its power levels.
const LOCAL_CANDIDATES: usize = 100;

/// The rooms whose members may join, where the state has such a rule.
pub(crate) fn allowed_rooms(view: &View<'_>, version: &RoomVersion, state: Snapshot) -> Result<Option<Vec<OwnedRoomId>>, Need> {
    let Some(event) = state.event(view, &StateEventType::RoomJoinRules, "")? else { return Ok(None) };
    let content: Value = view.event(event)?.pdu.content_as();
    let rules = &version.rules.authorization;
    let is_restricted = match content.get("join_rule").and_then(Value::as_str) {
        Some("restricted") => rules.restricted_join_rule,
        Some("knock_restricted") => rules.knock_restricted_join_rule,
        _ => false,
    };
    let conditions = content.get("allow").and_then(Value::as_array).into_iter().flatten();
    let memberships = conditions.filter(|condition| condition.get("type").and_then(Value::as_str) == Some("m.room_membership"));
    let rooms = memberships.filter_map(|condition| RoomId::parse(condition.get("room_id")?.as_str()?).ok());
    Ok(is_restricted.then(|| rooms.collect()))
}

/// Whether a local user is in a room; `None` where this server does not know the room.
pub(crate) fn is_in_room(view: &View<'_>, room: &RoomId, user: &UserId) -> Result<Option<bool>, Need> {
    let row = view.row(&Key::new(Table::Rooms).text(room.as_str()))?;
    let Some(room) = row.and_then(|row| parse::json::<RoomRow>(&row).ok()) else { return Ok(None) };
    let row = view.row(&user_room_key(user, room.number))?;
    let row = row.and_then(|row| parse::json::<UserRoom>(&row).ok());
    Ok(Some(row.is_some_and(|row| row.membership == "join")))
}

/// Local accounts that may vouch for a newcomer of a restricted room, where everybody in it may invite.
pub(crate) async fn candidates(server: &Server, room: &Room) -> Result<Vec<OwnedUserId>, Error> {
    let state = room.head().current;
    if server.rooms.ask(room, |view| allowed_rooms(view, &room.version, state)).await?.is_none() {
        return Ok(Vec::new());
    }
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::Accounts)).limited(LOCAL_CANDIDATES)).await?;
    Ok(rows.iter().filter_map(|row| UserId::parse(KeyReader::new(&row.key).text()?).ok()).collect())
}

/// The local member who vouches for a user that a restricted room lets in; `None` where the room is not restricted.
pub(super) fn authorising_user(draft: &Draft<'_>, user: &UserId, candidates: &[OwnedUserId]) -> Result<Option<OwnedUserId>, Undecided> {
    let Some(rooms) = allowed_rooms(draft.view(), &draft.room().version, draft.current())? else { return Ok(None) };
    check_conditions(draft.view(), &rooms, user)?;
    let granting = granting_user(draft, user.server_name(), candidates)?;
    let refusal = || Error::refused(400, "M_UNABLE_TO_GRANT_JOIN", "Nobody of this server may let you in.");
    granting.map(Some).ok_or_else(|| refusal().into())
}

/// A member of this server who may invite.
pub(crate) fn granting_user(draft: &Draft<'_>, server: &ServerName, candidates: &[OwnedUserId]) -> Result<Option<OwnedUserId>, Undecided> {
    let levels = PowerLevels::of(draft.view(), &draft.room().version, draft.current())?;
    let named = levels.content().get("users").and_then(Value::as_object).into_iter().flatten();
    let named = named.filter_map(|(user, _)| UserId::parse(user).ok());
    let users: OrderedSet<_> = named.chain(levels.creators().iter().cloned()).chain(candidates.iter().cloned()).gather();
    for candidate in users {
        let may_invite = candidate.server_name() == server && levels.user(&candidate) >= levels.action("invite");
        if may_invite && draft.membership(&candidate)?.as_deref() == Some("join") {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

fn check_conditions(view: &View<'_>, rooms: &[OwnedRoomId], user: &UserId) -> Result<(), Undecided> {
    let mut known = rooms.is_empty();
    for room in rooms {
        match is_in_room(view, room, user)? {
            Some(true) => return Ok(()),
            Some(false) => known = true,
            None => {}
        }
    }
    if known {
        return Err(Error::forbidden("You are in none of the rooms whose members may join this one.").into());
    }
    Err(Error::refused(400, "M_UNABLE_TO_AUTHORISE_JOIN", "This server does not know the rooms whose members may join this one.").into())
}
