//! The published room directory: its pages, and what a search finds in it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use std::{cmp::Reverse, rc::Rc};

use ruma::{OwnedRoomId, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler, published_rooms_chunk::PublishedRoomsChunk};
use crate::{
    arrange::Arrange,
    error::Error,
    federation::{self, for_client},
    http::{Method, Response},
    room_server::Room,
    server::Server,
};

const PATH: &str = "/_matrix/client/{version}/publicRooms";

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: PATH, access: Access::Public, handler: handler!(public_rooms) },
    Route { method: Method::Post, path: PATH, access: Access::Token, handler: handler!(search_public_rooms) },
];

/// Rooms on a page where the client does not say.
const DEFAULT_LIMIT: usize = 100;

/// Rooms on a page at most: each costs eight events.
const MAX_LIMIT: usize = 500;

/// What somebody looks for in the directory.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct PublicRoomsQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(default)]
    filter: Filter,
}

#[derive(Default, Deserialize, Serialize)]
struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    generic_search_term: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_types: Option<Vec<Option<String>>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>
async fn public_rooms(call: Call) -> Result<Response, Error> {
    let query = PublicRoomsQuery::page(call.query_number("limit")?, call.query("since"));
    answer(&call, &query).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>
async fn search_public_rooms(call: Call) -> Result<Response, Error> {
    answer(&call, &call.body()?).await
}

async fn answer(call: &Call, query: &PublicRoomsQuery) -> Result<Response, Error> {
    if let Some(other) = call.query("server").filter(|other| *other != call.server.name()) {
        let other = ServerName::parse(other).map_err(|_| Error::invalid_param(format!("{other:?} is no server name.")))?;
        return Ok(Response::ok(&federation::public_rooms(&call.server, &other, query).await.map_err(for_client)?));
    }
    Ok(Response::ok(&query.answer(&call.server).await?))
}

impl PublicRoomsQuery {
    /// A page of all rooms.
    pub(crate) fn page(limit: Option<u64>, since: Option<&str>) -> Self {
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self { limit, since: since.map(str::to_owned), filter: Filter::default() }
    }

    /// What this server's directory has.
    pub(crate) async fn answer(&self, server: &Server) -> Result<Map<String, Value>, Error> {
        let since = self.since.as_deref().map(Token::parse).transpose()?;
        let rooms = self.filter.rooms(server).await?;
        // No limit is said by a zero as well.
        let limit = self.limit.filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let page = Page::cut(&rooms, since.as_ref(), limit);
        let mut chunk = Vec::new();
        for room in page.rooms {
            chunk.push(server.rooms.ask(room, |view| PublishedRoomsChunk::of(view, room)).await?);
        }
        let mut body = Map::new();
        body.insert("chunk".into(), json!(chunk));
        body.insert("total_room_count_estimate".into(), rooms.len().into());
        body.extend(page.next.map(|token| ("next_batch".to_owned(), token.to_string().into())));
        body.extend(page.previous.map(|token| ("prev_batch".to_owned(), token.to_string().into())));
        Ok(body)
    }
}

impl Filter {
    /// The published rooms that the filter lets through, the largest first.
    async fn rooms(&self, server: &Server) -> Result<Vec<Rc<Room>>, Error> {
        let mut rooms = Vec::new();
        for id in server.directory.published().await? {
            if let Some(room) = server.rooms.room(&id).await?
                && self.matches(server, &room).await?
            {
                rooms.push(room);
            }
        }
        rooms.arrange_by_key(|room| Place::of(room));
        Ok(rooms)
    }

    async fn matches(&self, server: &Server, room: &Rc<Room>) -> Result<bool, Error> {
        let term = self.generic_search_term.as_deref().unwrap_or_default().to_lowercase();
        if term.is_empty() && self.room_types.is_none() {
            return Ok(true);
        }
        let chunk = server.rooms.ask(room, |view| PublishedRoomsChunk::of(view, room)).await?;
        let is_wanted = self.room_types.as_ref().is_none_or(|types| types.contains(&chunk.room_type));
        let texts = [&chunk.name, &chunk.topic, &chunk.canonical_alias];
        Ok(is_wanted && (term.is_empty() || texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&term))))
    }
}

/// A room's place in the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    joined: Reverse<u64>,
    room: OwnedRoomId,
}

impl Place {
    fn of(room: &Room) -> Self {
        Self { joined: Reverse(room.head().joined), room: room.id.clone() }
    }
}

/// A page's beginning: the rooms behind a place, or those before it. It names a place and no number of rooms, so that rooms
/// which come and go meanwhile shift nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    After(Place),
    Before(Place),
}

impl Token {
    fn parse(text: &str) -> Result<Self, Error> {
        let parts = || {
            let (joined, room) = text.get(1..)?.split_once('_')?;
            let place = Place { joined: Reverse(joined.parse().ok()?), room: RoomId::parse(room).ok()? };
            match text.get(..1)? {
                "n" => Some(Self::After(place)),
                "p" => Some(Self::Before(place)),
                _ => None,
            }
        };
        parts().ok_or_else(|| Error::invalid_param("since is no token of this list."))
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (letter, place) = match self {
            Self::After(place) => ('n', place),
            Self::Before(place) => ('p', place),
        };
        write!(formatter, "{letter}{}_{}", place.joined.0, place.room)
    }
}

/// One page of the directory.
struct Page<'a> {
    rooms: &'a [Rc<Room>],
    next: Option<Token>,
    previous: Option<Token>,
}

impl<'a> Page<'a> {
    fn cut(rooms: &'a [Rc<Room>], since: Option<&Token>, limit: usize) -> Self {
        let (start, end) = match since {
            None => (0, limit),
            Some(Token::After(place)) => {
                let start = rooms.partition_point(|room| Place::of(room) <= *place);
                (start, start.saturating_add(limit))
            }
            Some(Token::Before(place)) => {
                let end = rooms.partition_point(|room| Place::of(room) < *place);
                (end.saturating_sub(limit), end)
            }
        };
        let end = end.min(rooms.len());
        let page = rooms.get(start..end).unwrap_or_default();
        let next = page.last().filter(|_| end < rooms.len()).map(|room| Token::After(Place::of(room)));
        let previous = page.first().filter(|_| start > 0).map(|room| Token::Before(Place::of(room)));
        Self { rooms: page, next, previous }
    }
}
