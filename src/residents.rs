//! Which servers are in a room: those of its joined members, counted once and then kept up with the room's state.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use ruma::{OwnedServerName, ServerName, UserId, events::StateEventType};

use crate::{
    error::Error,
    room_server::{EventNumber, Need, Room, RoomNumber, View, commit::members_prefix, snapshot::Snapshot},
    server::Server,
    storage::{KeyReader, Row, Scan},
};

/// How many joined users each server has in a room.
pub(crate) type Residents = BTreeMap<OwnedServerName, u64>;

/// What is known of rooms, with the state of which it was true.
#[derive(Default)]
pub(crate) struct KnownResidents(RefCell<BTreeMap<RoomNumber, (Snapshot, Rc<Residents>)>>);

/// The servers in a room by its current state. Not to be asked for under the room's lock.
pub(crate) async fn residents(server: &Server, room: &Room) -> Result<Rc<Residents>, Error> {
    let known = server.residents.0.borrow().get(&room.number).cloned();
    let (state, residents) = match known {
        Some((state, residents)) if state == room.head().current => return Ok(residents),
        Some((state, residents)) if state != Snapshot::default() => caught_up(server, room, state, &residents).await?,
        _ => counted(server, room).await?,
    };
    let residents = Rc::new(residents);
    server.residents.0.borrow_mut().insert(room.number, (state, Rc::clone(&residents)));
    Ok(residents)
}

/// Whether a server has a joined user in the room.
pub(crate) async fn is_resident(server: &Server, room: &Room, name: &ServerName) -> Result<bool, Error> {
    Ok(residents(server, room).await?.contains_key(name))
}

/// Counts all joined users. The room's lock keeps the rows and the state from running apart meanwhile.
async fn counted(server: &Server, room: &Room) -> Result<(Snapshot, Residents), Error> {
    let _lock = room.lock.lock().await;
    let rows = server.ports.store.scan(&Scan::prefix(members_prefix(room.number, "join"))).await?;
    let mut residents = Residents::new();
    for user in rows.iter().filter_map(member) {
        *residents.entry(user.server_name().to_owned()).or_default() += 1;
    }
    Ok((room.head().current, residents))
}

fn member(row: &Row) -> Option<ruma::OwnedUserId> {
    let mut key = KeyReader::new(&row.key);
    key.number()?;
    key.text()?;
    UserId::parse(key.text()?).ok()
}

/// Goes from an earlier state to the current one, at the cost of what differs.
async fn caught_up(server: &Server, room: &Room, earlier: Snapshot, residents: &Residents) -> Result<(Snapshot, Residents), Error> {
    let current = room.head().current;
    let changes = server.rooms.ask(room, |view| changes(view, earlier, current)).await?;
    let mut residents = residents.clone();
    for (name, change) in changes {
        let count = residents.entry(name.clone()).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            residents.remove(&name);
        }
    }
    Ok((current, residents))
}

fn changes(view: &View<'_>, earlier: Snapshot, later: Snapshot) -> Result<Vec<(OwnedServerName, i64)>, Need> {
    let difference = earlier.difference(later, view)?;
    let members = difference.iter().filter(|((kind, _), _)| *kind == StateEventType::RoomMember);
    view.events(members.clone().flat_map(|(_, (before, after))| [*before, *after]).flatten())?;
    let mut changes = Vec::new();
    for ((_, user), (before, after)) in members {
        let Ok(user) = UserId::parse(user) else { continue };
        let change = joined(view, *after)? - joined(view, *before)?;
        changes.push((user.server_name().to_owned(), change));
    }
    Ok(changes)
}

fn joined(view: &View<'_>, member: Option<EventNumber>) -> Result<i64, Need> {
    let member = member.map(|member| view.event(member)).transpose()?;
    Ok(i64::from(member.and_then(|member| member.pdu.content_str("membership")).as_deref() == Some("join")))
}
