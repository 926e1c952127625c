//! Bundled aggregations: what an event's children come to, told along with the event.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>

use std::sync::Arc;

use futures_util::{FutureExt, future, future::LocalBoxFuture};
use ruma::{EventId, OwnedEventId, OwnedUserId};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    client_event::{ClientEvent, RoomId, Viewer, client_event},
    error::Error,
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

/// What an event's children come to.
#[derive(Default, Serialize)]
pub(crate) struct Relations {
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    references: Option<Value>,
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replacement: Option<ClientEvent>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    pub(crate) thread: Option<ThreadSummary>,
}

/// What is told of a thread with its root.
#[derive(Serialize)]
pub(crate) struct ThreadSummary {
    count: usize,
    pub(crate) current_user_participated: bool,
    latest_event: ClientEvent,
}

impl Relations {
    fn is_empty(&self) -> bool {
        self.references.is_none() && self.replacement.is_none() && self.thread.is_none()
    }

    fn latest_event(&mut self) -> Option<&mut ClientEvent> {
        self.thread.as_mut().map(|thread| &mut thread.latest_event)
    }
}

/// What an event is for its children.
struct Parent {
    id: OwnedEventId,
    kind: String,
    sender: OwnedUserId,
    redacted: bool,
    is_replacement: bool,
    room_id: RoomId,
    children: Vec<Child>,
}

/// Adds the aggregations of their children to events that go to a client.
pub(crate) async fn bundle(server: &Server, room: &Room, viewer: Viewer<'_>, events: &mut [ClientEvent]) -> Result<(), Error> {
    bundle_nested(server, room, viewer, events.iter_mut().collect(), NESTED).await
}

fn bundle_nested<'a>(
    server: &'a Server,
    room: &'a Room,
    viewer: Viewer<'a>,
    mut events: Vec<&'a mut ClientEvent>,
    nested: u32,
) -> LocalBoxFuture<'a, Result<(), Error>> {
    async move {
        let parents = parents(server, room, &events).await?;
        if parents.is_empty() {
            return Ok(());
        }
        let sight = Sight::of(server, room, viewer.user).await?.ignoring(server).await?;
        let aggregate = |view: &View<'_>| {
            let bundled = |parent| Aggregation { view, sight: &sight, viewer, parent }.bundled();
            collect(parents.iter(), |(index, parent)| Ok((*index, bundled(parent)?)))
        };
        let mut aggregated: Vec<(usize, Relations)> = server.rooms.ask(room, aggregate).await?;
        if nested > 0 {
            // The last events of threads are told with their own aggregations.
            let latest = aggregated.iter_mut().filter_map(|(_, relations)| relations.latest_event()).collect();
            bundle_nested(server, room, viewer, latest, nested - 1).await?;
        }
        for (index, relations) in aggregated {
            if let Some(unsigned) = events.get_mut(index).and_then(|event| event.unsigned.as_mut()).filter(|_| !relations.is_empty()) {
                unsigned.relations = Some(Box::new(relations));
            }
        }
        Ok(())
    }
    .boxed_local()
}

/// Those of the events that have children to aggregate, by their index.
async fn parents(server: &Server, room: &Room, events: &[&mut ClientEvent]) -> Result<Vec<(usize, Parent)>, Error> {
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
    fn of(event: &ClientEvent) -> Option<Self> {
        let pdu = &event.pdu;
        if pdu.state_key.is_some() {
            return None;
        }
        Some(Self {
            id: pdu.event_id.clone(),
            kind: pdu.kind.to_string(),
            sender: pdu.sender.clone(),
            redacted: event.unsigned.as_ref().is_some_and(|unsigned| unsigned.redacted_because.is_some()),
            is_replacement: rel_type(event.content()).as_deref() == Some("m.replace"),
            room_id: event.room_id,
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
    fn bundled(&self) -> Result<Relations, Need> {
        Ok(Relations { replacement: self.replacement()?, thread: self.thread()?, references: self.references()? })
    }

    /// The most recent replacement that is valid.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mreplace-relationships>
    fn replacement(&self) -> Result<Option<ClientEvent>, Need> {
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
    fn thread(&self) -> Result<Option<ThreadSummary>, Need> {
        let children: Vec<_> = self.parent.of_group(Group::Thread).filter(|child| !self.sight.ignores(&child.row.sender)).collect();
        let Some(latest) = self.seen(children.iter().rev().take(MAX_CANDIDATES).copied())?.into_iter().next() else { return Ok(None) };
        let user = self.viewer.user.as_str();
        let participated = self.parent.sender == self.viewer.user || children.iter().any(|child| child.row.sender == user);
        let latest_event = self.told(&latest)?;
        Ok(Some(ThreadSummary { count: children.len(), current_user_participated: participated, latest_event }))
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

    fn told(&self, event: &StoredEvent) -> Result<ClientEvent, Need> {
        client_event(self.view, event, self.viewer, self.parent.room_id)
    }
}

/// By which kind of relation an event says that it relates to another.
fn rel_type(content: &RawValue) -> Option<String> {
    // What is related to nothing is spared the parsing.
    let content: Value = content.get().contains("m.relates_to").then(|| serde_json::from_str(content.get()).ok())??;
    Some(content.get("m.relates_to")?.get("rel_type")?.as_str()?.to_owned())
}

fn recency(event: &StoredEvent) -> (u64, &str) {
    (event.pdu.origin_server_ts, event.pdu.event_id.as_str())
}

/// What an encrypted event replaces the original with is not to be seen from here.
fn has_new_content(event: &StoredEvent) -> bool {
    let content: Value = event.pdu.content_as();
    event.pdu.kind.to_string() == "m.room.encrypted" || content.get("m.new_content").is_some_and(Value::is_object)
}
