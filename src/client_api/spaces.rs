//! The rooms of a space, and of the spaces in it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#discovering-rooms-within-spaces>

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use ruma::{OwnedRoomId, RoomId, UserId, events::StateEventType};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler, published_rooms_chunk::content_of, room_summary::RoomSummary};
use crate::{
    client_event::stripped_event,
    error::Error,
    http::{Method, Response},
    room_server::{Need, Room, View, stored::StoredEvent},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/client/v1/rooms/{roomId}/hierarchy",
    access: Access::Token,
    handler: handler!(hierarchy),
}];

/// Rooms of an answer at most, and where the client does not say: each costs nine events, and a space its whole state.
const MAX_LIMIT: usize = 50;

/// Nobody looks deeper than this.
const MAX_DEPTH: u64 = 20;

/// An order of children must be this short.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mspacechild>
const MAX_ORDER_CHARS: usize = 50;

/// One room on the way through the tree.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    summary: RoomSummary,
    children_state: Vec<Value>,
    #[serde(skip)]
    children: Vec<OwnedRoomId>,
}

/// How a client wants the tree walked, and how far it has come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Walk {
    max_depth: u64,
    suggested_only: bool,
    skip: usize,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>
async fn hierarchy(call: Call) -> Result<Response, Error> {
    let walk = Walk::asked(&call)?;
    let limit = call.query_number("limit")?.map_or(MAX_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    if limit == 0 {
        return Err(Error::invalid_param("limit must be greater than zero."));
    }
    let limit = limit.min(MAX_LIMIT);
    let mut rooms = walk.rooms(&call.server, call.room_id(0)?, call.user()?, limit + 1).await?;
    let mut body = Map::new();
    if rooms.len() > limit {
        rooms.truncate(limit);
        body.insert("next_batch".into(), Walk { skip: walk.skip + limit, ..walk }.token().into());
    }
    body.insert("rooms".into(), json!(rooms));
    Ok(Response::ok(&body))
}

impl Walk {
    fn asked(call: &Call) -> Result<Self, Error> {
        let max_depth = call.query_number("max_depth")?.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let asked = Self { max_depth, suggested_only: call.query_bool("suggested_only")?.unwrap_or(false), skip: 0 };
        let Some(token) = call.query("from") else { return Ok(asked) };
        let skip = token.split('_').next().and_then(|skip| skip.parse().ok());
        let begun = skip.map(|skip| Self { skip, ..asked }).filter(|walk| walk.token() == token);
        begun.ok_or_else(|| Error::invalid_param("from is no token of this walk; max_depth and suggested_only must stay the same."))
    }

    fn token(&self) -> String {
        format!("{}_{}_{}", self.skip, self.max_depth, self.suggested_only)
    }

    /// At most `limit` rooms of the tree, depth first, behind those that were told before. Each room comes once.
    async fn rooms(&self, server: &Server, root: OwnedRoomId, user: &UserId, limit: usize) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        seen.insert(root.clone());
        let mut stack = vec![(root.clone(), 0)];
        let mut told = 0;
        while let Some((id, depth)) = stack.pop() {
            let Some(room) = self.look(server, &id, user).await? else {
                if id == root {
                    return Err(Error::forbidden("You may not see this room."));
                }
                continue;
            };
            if depth < self.max_depth {
                let new: Vec<_> = room.children.iter().filter(|child| seen.insert((*child).clone())).cloned().collect();
                stack.extend(new.into_iter().rev().map(|child| (child, depth + 1)));
            }
            told += 1;
            if told > self.skip {
                found.push(room);
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    async fn look(&self, server: &Server, id: &RoomId, user: &UserId) -> Result<Option<Found>, Error> {
        match server.rooms.room(id).await? {
            Some(room) => server.rooms.ask(&room, |view| self.look_at(view, &room, user)).await,
            None => Ok(None),
        }
    }

    fn look_at(&self, view: &View<'_>, room: &Rc<Room>, user: &UserId) -> Result<Option<Found>, Need> {
        let Some(summary) = RoomSummary::of(view, room, Some(user))? else { return Ok(None) };
        let children = SpaceChildren::of(view, room, self.suggested_only)?;
        Ok(Some(Found { summary: summary.in_hierarchy(), children_state: children.stripped(), children: children.rooms() }))
    }
}

/// A space's valid children in their order; none in a room that is no space.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>
pub(crate) struct SpaceChildren(Vec<Arc<StoredEvent>>);

impl SpaceChildren {
    pub(crate) fn of(view: &View<'_>, room: &Room, suggested_only: bool) -> Result<Self, Need> {
        let current = room.head().current;
        let create = content_of(view, current, &StateEventType::RoomCreate)?;
        if create.get("type").and_then(Value::as_str) != Some("m.space") {
            return Ok(Self(Vec::new()));
        }
        let entries = current.entries(view)?.into_iter().filter(|entry| entry.kind == StateEventType::SpaceChild);
        let mut children = Vec::new();
        for event in view.events(entries.map(|entry| entry.event))? {
            let content: Value = event.pdu.content_as();
            let is_suggested = content.get("suggested") == Some(&Value::Bool(true));
            if content.get("via").is_some_and(Value::is_array) && (is_suggested || !suggested_only) {
                let order = content.get("order").and_then(Value::as_str).filter(|order| is_order(order)).map(str::to_owned);
                let place = (order.is_none(), order, event.pdu.origin_server_ts, event.pdu.state_key.clone());
                children.push((place, event));
            }
        }
        children.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self(children.into_iter().map(|(_, event)| event).collect()))
    }

    /// The rooms.
    pub(crate) fn rooms(&self) -> Vec<OwnedRoomId> {
        self.0.iter().filter_map(|event| RoomId::parse(event.pdu.state_key.as_deref()?).ok()).collect()
    }

    /// The events that name them, as strangers are told of them.
    pub(crate) fn stripped(&self) -> Vec<Value> {
        let stripped = |event: &Arc<StoredEvent>| {
            let mut child = stripped_event(event);
            if let Some(child) = child.as_object_mut() {
                child.insert("origin_server_ts".into(), event.pdu.origin_server_ts.into());
            }
            child
        };
        self.0.iter().map(stripped).collect()
    }
}

fn is_order(order: &str) -> bool {
    order.len() <= MAX_ORDER_CHARS && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
