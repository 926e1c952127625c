//! The rooms of a space, and of the spaces in it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#discovering-rooms-within-spaces>

mod children;
mod elsewhere;

use std::rc::Rc;

use ruma::{OwnedRoomId, OwnedServerName, UserId};
use serde_json::{Map, Value, json};

pub(crate) use self::children::SpaceChildren;
pub(super) use self::elsewhere::{Elsewhere, is_for, membership};
use super::{Access, Call, Route, handler, membership::servers_of, room_summary::RoomSummary};
use crate::{
    error::Error,
    federation::Located,
    http::{Method, Response},
    ordered::OrderedSet,
    room_server::{Need, Room, View},
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

/// One room on the way through the tree.
struct Found {
    /// What the client is told of it.
    body: Map<String, Value>,
    children: SpaceChildren,
}

/// A room that is still to be looked at.
struct Next {
    room: OwnedRoomId,
    /// Servers that may tell of it.
    via: Vec<OwnedServerName>,
    depth: u64,
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
    async fn rooms(&self, server: &Server, root: OwnedRoomId, user: &UserId, limit: usize) -> Result<Vec<Map<String, Value>>, Error> {
        let mut found = Vec::new();
        let mut elsewhere = Elsewhere::default();
        let mut seen = OrderedSet::new();
        seen.insert(root.clone());
        let via = servers_of(server, &Located { room_id: root.clone(), servers: Vec::new() }, user).await?;
        let mut stack = vec![Next { room: root, via, depth: 0 }];
        let mut told = 0;
        while let Some(next) = stack.pop() {
            let Some(room) = self.look(server, &mut elsewhere, &next, user).await? else {
                if next.depth == 0 {
                    return Err(Error::forbidden("You may not see this room."));
                }
                continue;
            };
            if next.depth < self.max_depth {
                let new: Vec<_> = room.children.iter().filter(|child| seen.insert(child.room.clone())).collect();
                let depth = next.depth + 1;
                stack.extend(new.into_iter().rev().map(|child| Next { room: child.room.clone(), via: child.via.clone(), depth }));
            }
            told += 1;
            if told > self.skip {
                found.push(room.body);
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// The room as this server knows it, if it is in it, or as others tell of it.
    async fn look(&self, server: &Server, elsewhere: &mut Elsewhere, next: &Next, user: &UserId) -> Result<Option<Found>, Error> {
        let room = server.rooms.room(&next.room).await?;
        if let Some(room) = &room
            && server.rooms.is_resident(room, server.identity.server_name()).await?
        {
            return self.look_here(server, room, user).await;
        }
        if let Some(told) = elsewhere.look(server, &next.room, &next.via, self.suggested_only).await?
            && is_for(server, &told.room, Some(user)).await?
        {
            let children = SpaceChildren::read(told.children_state.iter().cloned(), self.suggested_only);
            return Ok(Some(Found::new(told.room.fields.clone(), children)));
        }
        match room {
            Some(room) => self.look_here(server, &room, user).await,
            None => Ok(None),
        }
    }

    async fn look_here(&self, server: &Server, room: &Rc<Room>, user: &UserId) -> Result<Option<Found>, Error> {
        let Some((summary, children)) = server.rooms.ask(room, |view| self.look_at(view, room, user)).await? else { return Ok(None) };
        match json!(summary.in_hierarchy()) {
            Value::Object(body) => Ok(Some(Found::new(body, children))),
            _ => Err(Error::bug("a summary is an object")),
        }
    }

    fn look_at(&self, view: &View<'_>, room: &Rc<Room>, user: &UserId) -> Result<Option<(RoomSummary, SpaceChildren)>, Need> {
        let Some(summary) = RoomSummary::of(view, room, Some(user))? else { return Ok(None) };
        Ok(Some((summary, SpaceChildren::of(view, room, self.suggested_only)?)))
    }
}

impl Found {
    fn new(mut body: Map<String, Value>, children: SpaceChildren) -> Self {
        body.insert("children_state".into(), children.stripped().into());
        Self { body, children }
    }
}
