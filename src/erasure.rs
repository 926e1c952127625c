//! Erased users: what they sent is kept from those who come later.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use std::{borrow::Cow, cell::RefCell};

use ruma::{
    CanonicalJsonObject, OwnedUserId, UserId, canonical_json::redact_content_in_place, events::TimelineEventType,
    room_version_rules::RedactionRules,
};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    error::Error,
    ordered::OrderedMap,
    parse,
    ports::Store,
    room_server::{
        Need, Position, View,
        commit::{UserRoom, user_room_key},
        stored::StoredEvent,
    },
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// So many of somebody's membership events are followed back to find what they were at the time of an erasure. Who has had
/// more since is taken for one who came later.
const MAX_MEMBERSHIPS: usize = 100;

/// The users who asked to be erased, and where in the log they did. They are few, and asked for with each event that is told.
#[derive(Default)]
pub(crate) struct Erasures(RefCell<OrderedMap<OwnedUserId, Position>>);

impl Erasures {
    /// Reads who was erased.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let mut erased = OrderedMap::new();
        for row in store.scan(&Scan::prefix(prefix())).await? {
            let mut key = KeyReader::new(&row.key);
            key.text();
            let user = key.text().and_then(|user| UserId::parse(user).ok()).ok_or_else(|| Error::bug("an erased user's row"))?;
            let position = parse::json(&row.value).map_err(|error| Error::bug(format!("the erasure of {user}: {error}")))?;
            erased.insert(user, position);
        }
        Ok(Self(RefCell::new(erased)))
    }

    /// Adds the row that a user was erased.
    pub(crate) fn write(user: &UserId, position: Position, batch: &mut Batch) {
        batch.put_json(prefix().text(user.as_str()), &position);
    }

    /// Keeps in memory what was written.
    pub(crate) fn remember(&self, user: OwnedUserId, position: Position) {
        self.0.borrow_mut().insert(user, position);
    }

    fn of(&self, user: &UserId) -> Option<Position> {
        self.0.borrow().get(user).copied()
    }
}

fn prefix() -> Key {
    Key::new(Table::Meta).text("erased")
}

/// The content of an event as a user sees it: what is left of it in a redaction, where its sender was erased before the user
/// could see it.
pub(crate) fn content_for<'a>(view: &View<'_>, event: &'a StoredEvent, user: &UserId) -> Result<Cow<'a, RawValue>, Need> {
    let content = &*event.pdu.content;
    Ok(if is_kept_from(view, event, user)? { Cow::Owned(redacted(content, &event.pdu.kind)) } else { Cow::Borrowed(content) })
}

/// By the rules of the newest room version: in what is redacted here, all versions keep the same.
fn redacted(content: &RawValue, kind: &TimelineEventType) -> Box<RawValue> {
    let mut content: CanonicalJsonObject = serde_json::from_str(content.get()).unwrap_or_default();
    redact_content_in_place(&mut content, &RedactionRules::V11, kind.to_string());
    to_raw_value(&content).unwrap_or_default()
}

fn is_kept_from(view: &View<'_>, event: &StoredEvent, user: &UserId) -> Result<bool, Need> {
    let Some(erased_at) = view.erasures().of(&event.pdu.sender) else { return Ok(false) };
    Ok(is_about_sender(event) && !had_sight(view, event, user, erased_at)?)
}

/// Whether the sender was erased and none of a server's users was in the room at the time of the event.
pub(crate) fn is_kept_from_server(
    view: &View<'_>,
    event: &StoredEvent,
    users: impl FnOnce() -> Result<Vec<OwnedUserId>, Need>,
) -> Result<bool, Need> {
    if view.erasures().of(&event.pdu.sender).is_none() || !is_about_sender(event) {
        return Ok(false);
    }
    for user in users()? {
        let member = event.decided.before.event(view, &ruma::events::StateEventType::RoomMember, user.as_str())?;
        if member.map(|number| view.event(number)).transpose()?.is_some_and(|member| is_join(&member)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// State other than a user's own membership is the room's: without its name or its rules nobody could use it.
fn is_about_sender(event: &StoredEvent) -> bool {
    let is_membership = event.pdu.kind == TimelineEventType::RoomMember;
    event.pdu.state_key.as_deref().is_none_or(|key| is_membership && key == event.pdu.sender.as_str())
}

/// Whether the user was in the room at the time of the event, or came in between it and the erasure.
fn had_sight(view: &View<'_>, event: &StoredEvent, user: &UserId, erased_at: Position) -> Result<bool, Need> {
    let member = event.decided.before.event(view, &ruma::events::StateEventType::RoomMember, user.as_str())?;
    if member.map(|number| view.event(number)).transpose()?.is_some_and(|member| is_join(&member)) {
        return Ok(true);
    }
    let row = view.row(&user_room_key(user, event.room))?;
    let mut number = row.and_then(|row| parse::json::<UserRoom>(&row).ok()).map(|row| row.event);
    for _ in 0..MAX_MEMBERSHIPS {
        let Some(member) = number.map(|number| view.event(number)).transpose()? else { return Ok(false) };
        if member.decided.position <= erased_at {
            return Ok(is_join(&member));
        }
        number = member.decided.replaces;
    }
    Ok(false)
}

fn is_join(member: &StoredEvent) -> bool {
    member.pdu.content_str("membership").as_deref() == Some("join")
}
