//! Profiles of local users, and how a change of one becomes known in the rooms of its user.

use std::rc::Rc;

use futures_util::future::join_all;
use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::{Map, Value};

use crate::{
    error::Error,
    event::NewEvent,
    parse,
    room_server::{Draft, Need, Room, Undecided},
    server::Server,
    storage::{Batch, Key, Table},
};

/// The fields of a profile.
pub(crate) type Profile = Map<String, Value>;

/// The fields that every member event of the user repeats.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information>
pub(crate) const IN_MEMBER_EVENTS: [&str; 2] = ["displayname", "avatar_url"];

/// Says who authorised a join, and is signed by that user's server: it belongs to the event that joined, and to no later one.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>
const OF_THE_JOIN_ALONE: &str = "join_authorised_via_users_server";

/// A profile must stay below this size as JSON.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname>
const MAX_PROFILE_BYTES: usize = 64 * 1024;

/// The profile of a local user; empty where they have said nothing of themselves.
pub(crate) async fn read(server: &Server, user: &UserId) -> Result<Profile, Error> {
    let row = server.ports.store.get_many(&[profile_key(user)]).await?.pop().flatten();
    decode(row)
}

/// The profiles of several local users, in their order.
pub(crate) async fn read_all(server: &Server, users: &[OwnedUserId]) -> Result<Vec<Profile>, Error> {
    let keys: Vec<_> = users.iter().map(|user| profile_key(user)).collect();
    server.ports.store.get_many(&keys).await?.into_iter().map(decode).collect()
}

/// Sets a field of a profile, or removes it with `None`, and tells the user's rooms where that matters to them.
pub(crate) async fn change(server: &Server, user: &UserId, field: &str, value: Option<Value>) -> Result<(), Error> {
    write(server, user, field, value).await?;
    if !IN_MEMBER_EVENTS.contains(&field) {
        return Ok(());
    }
    // Even where the field is as it was: a client that asks again may have been cut off between the profile and the rooms.
    let rooms = rooms_of(server, user).await?;
    let joined = rooms.iter().filter(|(_, membership)| membership == "join");
    let results = join_all(joined.map(|(room, _)| propagate(server, room, user))).await;
    results.into_iter().collect()
}

async fn write(server: &Server, user: &UserId, field: &str, value: Option<Value>) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let old = read(server, user).await?;
    let mut profile = old.clone();
    match value {
        Some(value) => profile.insert(field.to_owned(), value),
        None => profile.remove(field),
    };
    if profile == old {
        return Ok(());
    }
    let row = serde_json::to_vec(&profile).map_err(|error| Error::bug(format!("a profile: {error}")))?;
    if row.len() >= MAX_PROFILE_BYTES {
        return Err(Error::refused(400, "M_PROFILE_TOO_LARGE", "A profile must stay below 64 KiB."));
    }
    let mut batch = Batch::new();
    batch.put(profile_key(user), row);
    server.ports.store.commit(batch).await?;
    server.deposits_changed.raise();
    Ok(())
}

/// The rooms of a local user, with the user's membership.
pub(crate) async fn rooms_of(server: &Server, user: &UserId) -> Result<Vec<(Rc<Room>, String)>, Error> {
    let memberships = server.rooms.memberships(user).await?;
    let numbers: Vec<_> = memberships.iter().map(|(number, membership)| (*number, membership.event)).collect();
    let rooms = server.rooms.rooms_by_number(&numbers).await?;
    Ok(rooms.into_iter().zip(memberships.iter().map(|(_, membership)| membership.membership.clone())).collect())
}

/// Repeats a user's member event in a room with the profile that the user has now.
///
/// What the room refuses it refuses alone: the profile is changed all the same, and so are the other rooms.
async fn propagate(server: &Server, room: &Rc<Room>, user: &UserId) -> Result<(), Error> {
    let propagating = server.rooms.transact_in(room, |draft| {
        if let Some(content) = member_content(draft, user)? {
            draft.add(NewEvent::state(user.to_owned(), "m.room.member", user.as_str(), content), None)?;
        }
        Ok::<_, Undecided>(())
    });
    match propagating.await {
        Err(Error::Refused(_)) => Ok(()),
        result => result,
    }
}

/// The content of the user's next member event, or `None` where there is nothing to tell.
///
/// The profile is read under the room's lock, so that of two changes at once the later one is told last.
fn member_content(draft: &Draft<'_>, user: &UserId) -> Result<Option<Value>, Undecided> {
    let Some(event) = draft.state(&StateEventType::RoomMember, user.as_str())? else { return Ok(None) };
    let old: Map<String, Value> = event.pdu.content_as();
    if old.get("membership").and_then(Value::as_str) != Some("join") {
        return Ok(None);
    }
    let profile = profile_in(draft, user)?;
    let mut new = old.clone();
    for field in IN_MEMBER_EVENTS {
        match profile.get(field) {
            Some(value) => new.insert(field.to_owned(), value.clone()),
            None => new.remove(field),
        };
    }
    if new == old {
        return Ok(None);
    }
    new.remove(OF_THE_JOIN_ALONE);
    Ok(Some(new.into()))
}

fn profile_in(draft: &Draft<'_>, user: &UserId) -> Result<Profile, Undecided> {
    let row = draft.view().row(&profile_key(user)).map_err(|need: Need| Undecided::Need(need))?;
    Ok(decode(row)?)
}

fn decode(row: Option<Vec<u8>>) -> Result<Profile, Error> {
    let Some(row) = row else { return Ok(Profile::new()) };
    parse::json(&row).map_err(|error| Error::bug(format!("a stored profile: {error}")))
}

pub(crate) fn profile_key(user: &UserId) -> Key {
    Key::new(Table::Profiles).text(user.as_str())
}
