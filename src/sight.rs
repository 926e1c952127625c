//! What a user may see of a room: whether they may look at all, and which events they see.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use std::{rc::Rc, sync::Arc};

use ruma::{UserId, events::StateEventType};

use crate::{
    error::Error,
    parse,
    push::unread::{self, Rules},
    room_server::{
        Need, Position, Room, View,
        commit::{UserRoom, user_room_key},
        room_log,
        snapshot::Snapshot,
        stored::StoredEvent,
        view::collect,
    },
    server::Server,
    tokens::TopologicalToken,
    visibility::{is_visible, is_world_readable},
};

/// A user's membership events are followed back so far to find when the user was last joined. Between two joins there are few:
/// leave, ban, invite and knock take each other's place.
const MAX_MEMBERSHIPS: usize = 20;

/// Who looks through a room's history.
pub(crate) trait Looker {
    /// Where in the timeline that ends what is seen.
    fn end(&self) -> TopologicalToken;

    /// Whether the event is seen.
    fn sees(&self, view: &View<'_>, event: &StoredEvent) -> Result<bool, Need>;
}

/// A user's sight of a room.
pub(crate) struct Sight<'a> {
    user: &'a UserId,
    stay: Option<Stay>,
    world_readable: bool,
    rules: Rc<Rules>,
}

/// The user's last time in the room.
#[derive(Clone, Copy)]
struct Stay {
    /// Where in the log it ended; the greatest position while the user is joined.
    until: Position,
    /// The place in the timeline behind the event that ended it.
    end: TopologicalToken,
}

const STILL_JOINED: Stay = Stay { until: Position(u64::MAX), end: TopologicalToken::END };

impl Looker for Sight<'_> {
    fn end(&self) -> TopologicalToken {
        self.end()
    }

    fn sees(&self, view: &View<'_>, event: &StoredEvent) -> Result<bool, Need> {
        self.sees(view, event)
    }
}

impl<'a> Sight<'a> {
    /// What the user sees, by the room's current state.
    pub(crate) async fn of(server: &Server, room: &Room, user: &'a UserId) -> Result<Self, Error> {
        let current = room.head().current;
        let found = server.rooms.ask(room, |view| Ok((last_stay(view, current, user)?, is_world_readable(view, current)?)));
        let (mut stay, world_readable) = found.await?;
        if stay.is_none_or(|stay| stay.until != STILL_JOINED.until) {
            stay = match user_room(server, room, user).await? {
                Some(row) if row.forgotten => None,
                Some(row) if stay.is_none() => stay_that_a_merge_ended(server, room, user, &row).await?,
                _ => stay,
            };
        }
        Ok(Self { user, stay, world_readable, rules: Rc::default() })
    }

    /// What a user sees who looks through the room's history, refused with 403 where they may not look at all.
    pub(crate) async fn of_reader(server: &Server, room: &Room, user: &'a UserId) -> Result<Self, Error> {
        let sight = Self::of(server, room, user).await?;
        if sight.may_read() { sight.ignoring(server).await } else { Err(Error::forbidden("You are not in that room.")) }
    }

    /// The same without what was sent by users whom the user ignores.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
    pub(crate) async fn ignoring(mut self, server: &Server) -> Result<Self, Error> {
        self.rules = unread::rules(server, self.user).await?;
        Ok(self)
    }

    /// Whether the user ignores somebody.
    pub(crate) fn ignores(&self, sender: &UserId) -> bool {
        self.rules.ignores_sender(sender)
    }

    /// Whether the user was ever joined, or all the world may look.
    pub(crate) fn may_read(&self) -> bool {
        self.stay.is_some() || self.world_readable
    }

    /// The last position of the log up to which the user was in the room, if ever.
    pub(crate) fn joined_until(&self) -> Option<Position> {
        self.stay.map(|stay| stay.until)
    }

    /// Whether the user is joined now.
    pub(crate) fn is_joined(&self) -> bool {
        self.stay.is_some_and(|stay| stay.until == STILL_JOINED.until)
    }

    /// Where in the timeline that what the user sees ends.
    pub(crate) fn end(&self) -> TopologicalToken {
        match self.stay {
            Some(stay) if !self.world_readable => stay.end,
            _ => TopologicalToken::END,
        }
    }

    /// Whether the user sees the event. State is seen whoever sent it.
    pub(crate) fn sees(&self, view: &View<'_>, event: &StoredEvent) -> Result<bool, Need> {
        Ok(!self.rules.ignores(&event.pdu) && self.may_see(view, event)?)
    }

    /// The events with `None` in the place of those that the user does not see.
    pub(crate) fn seen(&self, view: &View<'_>, events: Vec<Arc<StoredEvent>>) -> Result<Vec<Option<Arc<StoredEvent>>>, Need> {
        collect(events.into_iter(), |event| Ok(self.sees(view, &event)?.then_some(event)))
    }

    /// Whether the user may see the event, ignored or not.
    pub(crate) fn may_see(&self, view: &View<'_>, event: &StoredEvent) -> Result<bool, Need> {
        let joined_since = self.stay.is_some_and(|stay| event.decided.position < stay.until);
        Ok(event.is_shown() && is_visible(view, event, self.user, joined_since)?)
    }
}

fn last_stay(view: &View<'_>, current: Snapshot, user: &UserId) -> Result<Option<Stay>, Need> {
    let mut number = current.event(view, &StateEventType::RoomMember, user.as_str())?;
    let mut stay = STILL_JOINED;
    for _ in 0..MAX_MEMBERSHIPS {
        let Some(member) = number.map(|number| view.event(number)).transpose()? else { return Ok(None) };
        if member.pdu.content_str("membership").as_deref() == Some("join") {
            return Ok(Some(stay));
        }
        stay = Stay { until: member.decided.position, end: TopologicalToken::after(&member) };
        number = member.decided.replaces;
    }
    Ok(None)
}

async fn user_room(server: &Server, room: &Room, user: &UserId) -> Result<Option<UserRoom>, Error> {
    let row = server.ports.store.get_many(&[user_room_key(user, room.number)]).await?.pop().flatten();
    let row = row.map(|row| parse::json::<UserRoom>(&row)).transpose();
    row.map_err(|error| Error::bug(format!("a stored membership: {error}")))
}

/// The stay of somebody who is out of the room by no event that knew them to be in it, but since branches of the graph met.
async fn stay_that_a_merge_ended(server: &Server, room: &Room, user: &UserId, row: &UserRoom) -> Result<Option<Stay>, Error> {
    if !was_joined_before(server, room, user, row).await? {
        return Ok(None);
    }
    // What ended it is on another branch, and may stand before what the user saw.
    Ok(Some(Stay { until: row.position, end: TopologicalToken::END }))
}

/// Whether the user was joined, as this server saw it, when this membership came about. The event that it came about by need
/// not know of that: it may be on another branch of the graph.
pub(crate) async fn was_joined_before(server: &Server, room: &Room, user: &UserId, row: &UserRoom) -> Result<bool, Error> {
    let before = Position(row.position.0.saturating_sub(1));
    let before = room_log::state_at(&*server.ports.store, room, before).await?;
    let member = server.rooms.ask(room, |view| {
        let member = before.event(view, &StateEventType::RoomMember, user.as_str())?;
        member.map(|number| view.event(number)).transpose()
    });
    Ok(member.await?.and_then(|member| member.pdu.content_str("membership")).as_deref() == Some("join"))
}
