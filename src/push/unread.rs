//! Unread counts: how many events of a room, behind what the user has read, notify them.
//!
//! Counts are kept in memory and grow by the events that are new, so that a sync's work does not grow with what is unread;
//! after a start they are counted once from the user's receipt, or from when they joined.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::{Map, Value, json};

use super::evaluate::{PushContext, evaluate};
use crate::{
    account_data,
    client_event::{RoomId, Viewer, bare_event},
    error::Error,
    event::Pdu,
    gather::Gather,
    log::Output,
    ordered::{OrderedMap, OrderedSet},
    receipts::{self, ReadPositions},
    room_server::{
        EventNumber, Need, Position, PowerLevels, Room, RoomNumber, View, commit::UserRoom, relation::thread_of, room_log,
        snapshot::Snapshot, stored::StoredEvent,
    },
    sections::Sections,
    server::Server,
    sync::{RoomOfUser, Window},
    visibility::is_visible,
};

/// So many events are looked at when counting anew; a client shows no greater number anyway.
const MAX_COUNTED: usize = 1_000;

/// So many changes of somebody's name are gone back over; what was said before the last of these is taken for read.
const MAX_CHANGES: usize = 100;

/// So many counts are kept in memory; past that, all are forgotten and counted again.
const MAX_KEPT: usize = 10_000;

/// So many events are kept as the rules see them: more than are new to several users of a room at a time.
const MAX_EVENTS: usize = 256;

/// The counts of every user and room that asked.
#[derive(Default)]
pub(crate) struct UnreadCounts {
    counts: OrderedMap<(OwnedUserId, RoomNumber), Counted>,
    /// Users' rules, and the position up to which they are known to hold.
    rules: OrderedMap<OwnedUserId, (Position, Rc<Rules>)>,
    /// Events as the rules see them, the latest last.
    events: VecDeque<(Arc<Pdu>, Rc<Value>)>,
}

/// Of what a user wants to be notified, and whom they do not want to hear at all.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rules {
    push: Value,
    ignored: OrderedSet<String>,
}

impl Rules {
    /// Whether the user ignores somebody.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
    pub(crate) fn ignores_sender(&self, sender: &UserId) -> bool {
        self.ignored.contains(sender.as_str())
    }

    /// Whether the user is not told of an event for who sent it. State is told whoever sent it.
    pub(crate) fn ignores(&self, event: &Pdu) -> bool {
        event.state_key.is_none() && self.ignores_sender(&event.sender)
    }
}

/// What was counted.
#[derive(Clone)]
struct Counted {
    upto: Position,
    read: ReadPositions,
    joined: Joined,
    rules: Rc<Rules>,
    /// By thread; `None` for what is in no thread.
    counts: OrderedMap<Option<String>, Counts>,
}

/// Since when the user is in the room. What was said before is nothing that they missed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Joined {
    /// The membership event that this was found by.
    member: EventNumber,
    since: Position,
}

/// How many events notify, and how many of them are highlighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    notify: u64,
    highlight: u64,
}

impl Counts {
    fn to_json(self) -> Value {
        json!({ "notification_count": self.notify, "highlight_count": self.highlight })
    }
}

/// Adds the unread counts to a joined room's part of a sync.
pub(crate) async fn add_counts(server: &Rc<Server>, window: &Window, room: &RoomOfUser, part: &mut Sections) -> Result<(), Error> {
    let counts = counts(server, &window.user, room, &window.rules, window.upto).await?;
    let mut total = Counts::default();
    let mut threads = Map::new();
    for (thread, counts) in counts {
        match thread {
            Some(thread) if window.filter.room.timeline.unread_thread_notifications => drop(threads.insert(thread, counts.to_json())),
            _ => {
                total.notify += counts.notify;
                total.highlight += counts.highlight;
            }
        }
    }
    part.insert("unread_notifications", &total.to_json());
    if window.filter.room.timeline.unread_thread_notifications {
        part.insert("unread_thread_notifications", &threads);
    }
    Ok(())
}

/// The user's rules.
pub(crate) async fn rules(server: &Server, user: &UserId) -> Result<Rc<Rules>, Error> {
    let end = server.log.end();
    let kept = server.unread.borrow().rules.get(user).cloned();
    let may_have_changed = |output: &Output| matches!(output, Output::AccountData { user: of, .. } if of == user);
    let rules = match kept {
        Some((upto, rules)) if !server.log.any_since(upto, may_have_changed) => rules,
        _ => {
            let push = account_data::read(server, user, None, super::rules::KIND).await?;
            let push = push.unwrap_or_else(|| super::rules::predefined(user));
            let list = account_data::read(server, user, None, "m.ignored_user_list").await?;
            let ignored = list.as_ref().and_then(|content| content.get("ignored_users")?.as_object());
            Rc::new(Rules { push, ignored: ignored.map(|users| users.keys().cloned().gather()).unwrap_or_default() })
        }
    };
    keep(&mut server.unread.borrow_mut().rules, MAX_KEPT, user.to_owned(), (end, Rc::clone(&rules)));
    Ok(rules)
}

/// Keeps one more, and forgets all others where there are too many.
fn keep<K: Ord, V>(kept: &mut OrderedMap<K, V>, most: usize, key: K, value: V) {
    if kept.len() >= most && !kept.contains_key(&key) {
        kept.clear();
    }
    kept.insert(key, value);
}

async fn counts(
    server: &Rc<Server>,
    user: &UserId,
    room: &RoomOfUser,
    rules: &Rc<Rules>,
    upto: Position,
) -> Result<OrderedMap<Option<String>, Counts>, Error> {
    let RoomOfUser { room, membership } = room;
    let read = receipts::own_read_positions(server, room, user).await?;
    let key = (user.to_owned(), room.number);
    let kept = server.unread.borrow().counts.get(&key).cloned();
    let joined = match &kept {
        Some(kept) if kept.joined.member == membership.event => kept.joined,
        _ => joined(server, room, membership).await?,
    };
    let is_same = |kept: &Counted| kept.read == read && kept.joined.since == joined.since && kept.rules == *rules;
    let mut counted = match kept.filter(is_same) {
        Some(kept) => Counted { joined, ..kept },
        None => Counted { upto: read.oldest().max(joined.since), read, joined, rules: Rc::clone(rules), counts: OrderedMap::new() },
    };
    if counted.upto < room.head().position.min(upto) {
        count(server, user, room, &mut counted, upto).await?;
    }
    let counts = counted.counts.clone();
    keep(&mut server.unread.borrow_mut().counts, MAX_KEPT, key, counted);
    Ok(counts)
}

/// Goes back over changes of name and face to the event by which the user came in.
async fn joined(server: &Server, room: &Room, membership: &UserRoom) -> Result<Joined, Error> {
    let since = server.rooms.ask(room, |view| {
        let mut event = view.event(membership.event)?;
        for _ in 0..MAX_CHANGES {
            let Some(before) = event.decided.replaces.map(|number| view.event(number)).transpose()? else { break };
            if before.pdu.content_str("membership").as_deref() != Some("join") {
                break;
            }
            event = before;
        }
        Ok(event.decided.position)
    });
    Ok(Joined { member: membership.event, since: since.await? })
}

async fn count(server: &Rc<Server>, user: &UserId, room: &Rc<Room>, counted: &mut Counted, upto: Position) -> Result<(), Error> {
    let rows = room_log::newest_first(&*server.ports.store, room, counted.upto, upto, MAX_COUNTED).await?;
    let numbers: Vec<_> = rows.iter().map(|row| row.event).collect();
    let (head, now) = (room.head(), server.now());
    let found = server.rooms.ask(room, |view| {
        let display_name = display_name(view, head.current, user)?;
        let power_levels = PowerLevels::of(view, &room.version, head.current)?;
        let context =
            PushContext { user_id: user, display_name: display_name.as_deref(), member_count: head.joined, power_levels: &power_levels };
        let mut found: OrderedMap<Option<String>, Counts> = OrderedMap::new();
        for event in view.events(numbers.iter().copied())? {
            let thread = thread_of(view, &event)?.map(String::from);
            let is_own = event.pdu.sender == user;
            let is_silent = is_own || counted.rules.ignores_sender(&event.pdu.sender);
            if is_silent || counted.read.covers(event.decided.position, thread.as_deref()) || !is_visible(view, &event, user, true)? {
                continue;
            }
            let event = as_rules_see_it(server, view, &event, Viewer { user, device: "", now })?;
            let actions = evaluate(&counted.rules.push, &event, &context);
            let counts = found.entry(thread).or_default();
            counts.notify += u64::from(actions.notify);
            counts.highlight += u64::from(actions.notify && actions.highlight);
        }
        Ok(found)
    });
    for (thread, more) in found.await? {
        let counts = counted.counts.entry(thread).or_default();
        counts.notify += more.notify;
        counts.highlight += more.highlight;
    }
    counted.upto = upto;
    Ok(())
}

/// The event as a value, made once for all users who are told of it alike.
fn as_rules_see_it(server: &Server, view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>) -> Result<Rc<Value>, Need> {
    let told = bare_event(view, event, viewer, RoomId::Named)?;
    let events = &mut server.unread.borrow_mut().events;
    let known = events.iter().rev().find(|(pdu, _)| told.is_as_sent() && Arc::ptr_eq(pdu, &event.pdu));
    if let Some((_, value)) = known {
        return Ok(Rc::clone(value));
    }
    let value = Rc::new(told.to_value());
    if told.is_as_sent() {
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back((told.pdu, Rc::clone(&value)));
    }
    Ok(value)
}

/// The user's display name in the room.
fn display_name(view: &View<'_>, state: Snapshot, user: &UserId) -> Result<Option<String>, Need> {
    let member = state.event(view, &StateEventType::RoomMember, user.as_str())?;
    Ok(member.map(|number| view.event(number)).transpose()?.and_then(|event| event.pdu.content_str("displayname")))
}
