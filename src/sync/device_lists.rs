//! Whose keys the client must ask for again, and whose it need not follow any more.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync>

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::{Value, json};

use super::{rooms::RoomOfUser, window::state_at};
use crate::{
    error::Error,
    keys::device_list,
    log::Output,
    ordered::OrderedSet,
    room_server::{EventNumber, Need, Position, Room, RoomNumber, View, snapshot::Snapshot},
    server::Server,
    sharing,
};

/// How the circle of those who share a room with a user has changed between two positions of the log.
#[derive(Debug, Default)]
pub(crate) struct Circle {
    /// The rooms that the user is joined to at the end.
    pub(super) rooms: Vec<RoomNumber>,
    /// Who came to share a room, be it the first or a further one.
    pub(crate) came: OrderedSet<OwnedUserId>,
    /// Who left a shared room, or whose room the user left.
    went: OrderedSet<OwnedUserId>,
}

impl Circle {
    /// Those who share a room with a user, of whom nobody came or went.
    pub(crate) fn of(rooms: &[RoomOfUser]) -> Self {
        let joined = rooms.iter().filter(|room| room.membership.membership == "join");
        Self { rooms: joined.map(|room| room.room.number).collect(), ..Self::default() }
    }

    /// Looks at the members of the rooms in which something happened.
    pub(crate) async fn read(server: &Server, user: &UserId, rooms: &[RoomOfUser], since: Position, upto: Position) -> Result<Self, Error> {
        let mut circle = Self::of(rooms);
        for RoomOfUser { room, .. } in rooms {
            if room.head().position > since {
                circle.look_at(server, user, room, since, upto).await?;
            }
        }
        circle.came.remove(user);
        circle.went.remove(user);
        Ok(circle)
    }

    async fn look_at(&mut self, server: &Server, user: &UserId, room: &Room, since: Position, upto: Position) -> Result<(), Error> {
        let (before, after) = (state_at(server, room, since).await?, state_at(server, room, upto).await?);
        if before == after {
            return Ok(());
        }
        let joined = |state| server.rooms.ask(room, move |view| is_joined(view, state, user));
        match (joined(before).await?, joined(after).await?) {
            (true, true) if server.rooms.ask(room, |view| was_out(view, before, after, user)).await? => {
                // Of the time between nobody has told.
                self.came.append(&mut sharing::members(server, room.number).await?);
            }
            (true, true) => {
                let (mut came, mut went) = server.rooms.ask(room, |view| moved(view, before, after)).await?;
                self.came.append(&mut came);
                self.went.append(&mut went);
            }
            (false, true) => self.came.append(&mut sharing::members(server, room.number).await?),
            (true, false) => {
                // Whoever left with the user is among those who were there before.
                self.went.append(&mut server.rooms.ask(room, |view| members_in(view, before)).await?);
            }
            (false, false) => {}
        }
        Ok(())
    }
}

fn is_joined(view: &View<'_>, state: Snapshot, user: &UserId) -> Result<bool, Need> {
    match state.event(view, &StateEventType::RoomMember, user.as_str())? {
        Some(member) => is_join(view, member),
        None => Ok(false),
    }
}

/// Whether a user who is joined in both states was not all the time between, as far as is known here. Who joins anew without another name
/// was out, also where the server that let them in had not heard of that.
fn was_out(view: &View<'_>, before: Snapshot, after: Snapshot, user: &UserId) -> Result<bool, Need> {
    let member = |state: Snapshot| state.event(view, &StateEventType::RoomMember, user.as_str());
    let (first, mut number) = (member(before)?, member(after)?);
    while number != first {
        let Some(event) = number.map(|number| view.event(number)).transpose()? else { return Ok(true) };
        number = event.decided.replaces;
        let Some(replaced) = number.map(|number| view.event(number)).transpose()? else { return Ok(true) };
        let is_same = |field: &str| event.pdu.content_str(field) == replaced.pdu.content_str(field);
        if !is_same("membership") || (is_same("displayname") && is_same("avatar_url")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_join(view: &View<'_>, member: EventNumber) -> Result<bool, Need> {
    Ok(view.event(member)?.pdu.content_str("membership").as_deref() == Some("join"))
}

/// Who joined and who left between two states.
fn moved(view: &View<'_>, before: Snapshot, after: Snapshot) -> Result<(OrderedSet<OwnedUserId>, OrderedSet<OwnedUserId>), Need> {
    let (mut came, mut went) = (OrderedSet::new(), OrderedSet::new());
    let changes = before.difference(after, view)?;
    let numbers = changes.values().flat_map(|(before, after)| [*before, *after]).flatten();
    view.events(numbers)?;
    for ((kind, user), (before, after)) in &changes {
        let (StateEventType::RoomMember, Ok(user)) = (kind, UserId::parse(user)) else { continue };
        let joined = |event: &Option<EventNumber>| event.map_or(Ok(false), |event| is_join(view, event));
        match (joined(before)?, joined(after)?) {
            (false, true) => drop(came.insert(user)),
            (true, false) => drop(went.insert(user)),
            _ => {}
        }
    }
    Ok((came, went))
}

/// Who is joined in a state.
fn members_in(view: &View<'_>, state: Snapshot) -> Result<OrderedSet<OwnedUserId>, Need> {
    let entries = state.entries(view)?.into_iter().filter(|entry| entry.kind == StateEventType::RoomMember);
    let members: Vec<_> = entries.map(|entry| (entry.state_key, entry.event)).collect();
    view.events(members.iter().map(|(_, event)| *event))?;
    let mut joined = OrderedSet::new();
    for (user, event) in members {
        if is_join(view, event)? {
            joined.extend(UserId::parse(user));
        }
    }
    Ok(joined)
}

/// Whose keys have changed, and who shares no room any more.
#[derive(Debug, Default)]
pub(crate) struct DeviceLists {
    changed: OrderedSet<OwnedUserId>,
    left: OrderedSet<OwnedUserId>,
}

impl DeviceLists {
    /// What has changed for a user between two positions of the log.
    pub(crate) async fn read(server: &Server, user: &UserId, circle: &Circle, since: Position, upto: Position) -> Result<Self, Error> {
        let mut asked: OrderedSet<_> = circle.went.clone();
        let mut lists = Self::default();
        if server.log.any_since(since, is_change) {
            lists.changed.extend(device_list::changed_since(&*server.ports.store, user, since, upto).await?);
            asked.extend(lists.changed.iter().cloned());
        }
        let shared = sharing::in_rooms(server, &circle.rooms, asked).await?;
        lists.changed.retain(|changed| changed == user || shared.contains(changed));
        lists.changed.extend(circle.came.iter().filter(|user| !circle.went.contains(*user) || shared.contains(*user)).cloned());
        lists.left.extend(circle.went.difference(&shared).cloned());
        Ok(lists)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "changed": self.changed, "left": self.left })
    }
}

/// Whether an entry of the log says that somebody's keys have changed.
pub(crate) fn is_change(output: &Output) -> bool {
    use Output::{Devices, RemoteDevices, SigningKeys, UserSignature};
    matches!(output, Devices { .. } | SigningKeys { .. } | UserSignature { .. } | RemoteDevices { .. })
}
