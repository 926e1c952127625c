//! Bundled aggregations: what an event's children come to, told along with the event.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt, future, future::LocalBoxFuture};
use ruma::{EventId, OwnedEventId};
use serde_json::{Map, Value, json};

use crate::{
    client_event::{RoomId, Viewer, client_event},
    error::Error,
    gather::Gather,
    room_server::{
        Need, Room, View,
        relation::{Child, Group, aggregated_children, read_child},
        stored::StoredEvent,
        view::collect,
    },
    server::Server,
    sight::Sight,
};

/// So many of an event's last replacements, or of a thread's last events, are looked at for the one that is told. They are
/// sent one after the other, so the most recent one is among the last.
const MAX_CANDIDATES: usize = 50;

/// An event that is told as part of an aggregation has its own aggregations, but those in them have none.
const NESTED: u32 = 1;

/// What an event is for its children.
struct Parent {
    id: OwnedEventId,
    kind: String,
    sender: String,
    redacted: bool,
    is_replacement: bool,
    room_id: RoomId,
    children: Vec<Child>,
}

/// Adds the aggregations of their children to events that go to a client.
pub(crate) async fn bundle(server: &Server, room: &Room, viewer: Viewer<'_>, events: &mut [Value]) -> Result<(), Error> {
    bundle_nested(server, room, viewer, events, NESTED).await
}

fn bundle_nested<'a>(
    server: &'a Server,
    room: &'a Room,
    viewer: Viewer<'a>,
    events: &'a mut [Value],
    nested: u32,
) -> LocalBoxFuture<'a, Result<(), Error>> {
    async move {
        let parents = parents(server, room, events).await?;
        if parents.is_empty() {
            return Ok(());
        }
        let sight = Sight::of(server, room, viewer.user).await?.ignoring(server).await?;
        let aggregate = |view: &View<'_>| {
            let bundled = |parent| Aggregation { view, sight: &sight, viewer, parent }.bundled();
            collect(parents.iter(), |(index, parent)| Ok((*index, bundled(parent)?)))
        };
        let mut aggregated: BTreeMap<usize, Map<String, Value>> = server.rooms.ask(room, aggregate).await?.into_iter().gather();
        if nested > 0 {
            bundle_latest(server, room, viewer, &mut aggregated, nested - 1).await?;
        }
        for (index, relations) in aggregated {
            add(events.get_mut(index), relations);
        }
        Ok(())
    }
    .boxed_local()
}

/// The last events of threads are told with their own aggregations.
async fn bundle_latest(
    server: &Server,
    room: &Room,
    viewer: Viewer<'_>,
    aggregated: &mut BTreeMap<usize, Map<String, Value>>,
    nested: u32,
) -> Result<(), Error> {
    let mut places: Vec<_> =
        aggregated.values_mut().filter_map(|relations| relations.get_mut("m.thread")?.get_mut("latest_event")).collect();
    let mut latest: Vec<_> = places.iter_mut().map(|event| event.take()).collect();
    bundle_nested(server, room, viewer, &mut latest, nested).await?;
    for (place, event) in places.into_iter().zip(latest) {
        *place = event;
    }
    Ok(())
}

fn add(event: Option<&mut Value>, relations: Map<String, Value>) {
    let Some(event) = event.and_then(Value::as_object_mut).filter(|_| !relations.is_empty()) else { return };
    let unsigned = event.entry("unsigned").or_insert_with(|| json!({}));
    if let Some(unsigned) = unsigned.as_object_mut() {
        unsigned.insert("m.relations".into(), relations.into());
    }
}

/// Those of the events that have children to aggregate, by their index.
async fn parents(server: &Server, room: &Room, events: &[Value]) -> Result<Vec<(usize, Parent)>, Error> {
    let parents = events.iter().enumerate().filter_map(|(index, event)| Some((index, Parent::of(event)?)));
    let mut parents: Vec<_> = parents.collect();
    let ids: Vec<_> = parents.iter().map(|(_, parent)| parent.id.clone()).collect();
    let with_children = server.rooms.parents(room, &ids).await?;
    parents.retain(|(_, parent)| with_children.contains(&parent.id));
    let children = parents.iter().map(|(_, parent)| children(server, room, &parent.id));
    let children = future::try_join_all(children).await?;
    Ok(parents.into_iter().zip(children).map(|((index, parent), children)| (index, Parent { children, ..parent })).collect())
}

async fn children(server: &Server, room: &Room, parent: &EventId) -> Result<Vec<Child>, Error> {
    let rows = server.ports.store.scan(&aggregated_children(room.number, parent)).await?;
    Ok(rows.iter().filter_map(read_child).collect())
}

impl Parent {
    /// State events get no aggregations.
    fn of(event: &Value) -> Option<Self> {
        let text = |field: &str| Some(event.get(field)?.as_str()?.to_owned());
        if event.get("state_key").is_some() {
            return None;
        }
        let rel_type = event.get("content").and_then(|content| content.get("m.relates_to")?.get("rel_type")?.as_str());
        Some(Self {
            id: EventId::parse(text("event_id")?).ok()?,
            kind: text("type")?,
            sender: text("sender")?,
            redacted: event.get("unsigned").is_some_and(|unsigned| unsigned.get("redacted_because").is_some()),
            is_replacement: rel_type == Some("m.replace"),
            room_id: if event.get("room_id").is_some() { RoomId::Named } else { RoomId::Implied },
            children: Vec::new(),
        })
    }

    fn of_group(&self, group: Group) -> impl DoubleEndedIterator<Item = &Child> {
        self.children.iter().filter(move |child| child.group == group)
    }
}

/// One event's children on their way into one value.
struct Aggregation<'a> {
    view: &'a View<'a>,
    sight: &'a Sight<'a>,
    viewer: Viewer<'a>,
    parent: &'a Parent,
}

impl Aggregation<'_> {
    fn bundled(&self) -> Result<Map<String, Value>, Need> {
        let mut relations = Map::new();
        for (rel_type, value) in [("m.replace", self.replacement()?), ("m.thread", self.thread()?), ("m.reference", self.references()?)] {
            relations.extend(value.map(|value| (rel_type.to_owned(), value)));
        }
        Ok(relations)
    }

    /// The most recent replacement that is valid.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mreplace-relationships>
    fn replacement(&self) -> Result<Option<Value>, Need> {
        let parent = self.parent;
        if parent.redacted || parent.is_replacement {
            return Ok(None);
        }
        let of_same = |child: &&Child| child.row.kind == parent.kind && child.row.sender == parent.sender;
        let candidates = parent.of_group(Group::Replacement).rev().filter(of_same).take(MAX_CANDIDATES);
        let mut valid = Vec::new();
        for event in self.seen(candidates)? {
            if event.pdu.state_key.is_none() && has_new_content(&event) {
                valid.push(event);
            }
        }
        let latest = valid.into_iter().max_by(|a, b| recency(a).cmp(&recency(b)));
        latest.map(|event| self.told(&event)).transpose()
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mthread-relationships>
    fn thread(&self) -> Result<Option<Value>, Need> {
        let children: Vec<_> = self.parent.of_group(Group::Thread).filter(|child| !self.sight.ignores(&child.row.sender)).collect();
        let Some(latest) = self.seen(children.iter().rev().take(MAX_CANDIDATES).copied())?.into_iter().next() else { return Ok(None) };
        let user = self.viewer.user.as_str();
        let participated = self.parent.sender == user || children.iter().any(|child| child.row.sender == user);
        let latest_event = self.told(&latest)?;
        Ok(Some(json!({ "latest_event": latest_event, "count": children.len(), "current_user_participated": participated })))
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mreference>
    fn references(&self) -> Result<Option<Value>, Need> {
        let events = self.seen(self.parent.of_group(Group::Reference))?;
        let chunk: Vec<_> = events.iter().map(|event| json!({ "event_id": event.pdu.event_id })).collect();
        Ok((!chunk.is_empty()).then(|| json!({ "chunk": chunk })))
    }

    fn seen<'c>(&self, children: impl Iterator<Item = &'c Child>) -> Result<Vec<Arc<StoredEvent>>, Need> {
        let events = self.view.events(children.map(|child| child.place.event))?;
        Ok(self.sight.seen(self.view, events)?.into_iter().flatten().collect())
    }

    fn told(&self, event: &StoredEvent) -> Result<Value, Need> {
        client_event(self.view, event, self.viewer, self.parent.room_id)
    }
}

fn recency(event: &StoredEvent) -> (u64, &str) {
    (event.pdu.origin_server_ts, event.pdu.event_id.as_str())
}

/// What an encrypted event replaces the original with is not to be seen from here.
fn has_new_content(event: &StoredEvent) -> bool {
    let content: Value = event.pdu.content_as();
    event.pdu.kind.to_string() == "m.room.encrypted" || content.get("m.new_content").is_some_and(Value::is_object)
}
