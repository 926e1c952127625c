//! Which servers are in a room: those of its joined members, counted once and then kept up with the room's state.

use std::{cell::RefCell, rc::Rc};

use ruma::{OwnedServerName, ServerName, UserId, events::StateEventType};

use super::{
    commit::members_prefix,
    number::{EventNumber, RoomNumber},
    room::Room,
    shell::RoomServer,
    snapshot::Snapshot,
    view::{Need, View},
};
use crate::{
    error::Error,
    ordered::OrderedMap,
    storage::{KeyReader, Row, Scan},
};

/// How many joined users each server has in a room.
pub(crate) type Residents = OrderedMap<OwnedServerName, u64>;

/// What is known of rooms, with the state of which it was true.
#[derive(Default)]
pub(super) struct KnownResidents(RefCell<OrderedMap<RoomNumber, (Snapshot, Rc<Residents>)>>);

impl KnownResidents {
    fn keep(&self, room: &Room, state: Snapshot, residents: Residents) -> Rc<Residents> {
        let residents = Rc::new(residents);
        self.0.borrow_mut().insert(room.number, (state, Rc::clone(&residents)));
        residents
    }
}

impl RoomServer {
    /// The servers in a room by its current state. Not to be asked for under the room's lock.
    pub(crate) async fn residents(&self, room: &Room) -> Result<Rc<Residents>, Error> {
        if let Some(residents) = self.known_residents(room).await? {
            return Ok(residents);
        }
        let _lock = room.lock.lock().await;
        self.count_residents(room).await
    }

    /// The same under the room's lock.
    pub(super) async fn residents_under_lock(&self, room: &Room) -> Result<Rc<Residents>, Error> {
        match self.known_residents(room).await? {
            Some(residents) => Ok(residents),
            None => self.count_residents(room).await,
        }
    }

    /// Whether a server has a joined user in the room.
    pub(crate) async fn is_resident(&self, room: &Room, name: &ServerName) -> Result<bool, Error> {
        Ok(self.residents(room).await?.contains_key(name))
    }

    /// The servers in a room of which they were known in an earlier state.
    async fn known_residents(&self, room: &Room) -> Result<Option<Rc<Residents>>, Error> {
        let known = self.residents.0.borrow().get(&room.number).cloned();
        match known {
            Some((state, residents)) if state == room.head().current => Ok(Some(residents)),
            Some((state, residents)) if state != Snapshot::default() => {
                let (state, residents) = self.caught_up(room, state, &residents).await?;
                Ok(Some(self.residents.keep(room, state, residents)))
            }
            _ => Ok(None),
        }
    }

    /// Counts all joined users. The room's lock keeps the rows and the state from running apart meanwhile.
    async fn count_residents(&self, room: &Room) -> Result<Rc<Residents>, Error> {
        let rows = self.store.scan(&Scan::prefix(members_prefix(room.number, "join"))).await?;
        let mut residents = Residents::new();
        for user in rows.iter().filter_map(member) {
            *residents.entry(user.server_name().to_owned()).or_default() += 1;
        }
        Ok(self.residents.keep(room, room.head().current, residents))
    }

    /// Goes from an earlier state to the current one, at the cost of what differs.
    async fn caught_up(&self, room: &Room, earlier: Snapshot, residents: &Residents) -> Result<(Snapshot, Residents), Error> {
        let current = room.head().current;
        let changes = self.ask(room, |view| changes(view, earlier, current)).await?;
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
}

fn member(row: &Row) -> Option<ruma::OwnedUserId> {
    let mut key = KeyReader::new(&row.key);
    key.number()?;
    key.text()?;
    UserId::parse(key.text()?).ok()
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
