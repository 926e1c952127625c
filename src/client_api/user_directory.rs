//! Searching for users.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-directory>

use ruma::{OwnedUserId, RoomId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    arrange::Arrange,
    error::Error,
    gather::Gather,
    http::{Method, Response},
    ordered::OrderedMap,
    profiles::{self, Profile},
    room_server::{EventNumber, Need, Room, View, commit::members_prefix, snapshot::Snapshot},
    server::Server,
    storage::{Key, KeyReader, Scan, Table},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Post,
    path: "/_matrix/client/{version}/user_directory/search",
    access: Access::Token,
    handler: handler!(search),
}];

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch> (`limit`)
const DEFAULT_LIMIT: usize = 10;

/// More results help nobody who looks for one user.
const MAX_LIMIT: usize = 100;

/// So many members of each room are looked at: a search must not take longer the larger the rooms are.
const MEMBERS_OF_ROOM: usize = 1_000;

#[derive(Deserialize)]
struct Search {
    search_term: String,
    limit: Option<usize>,
}

/// How well a user fits, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Begins,
    WordBegins,
    Contains,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch>
async fn search(call: Call) -> Result<Response, Error> {
    let Search { search_term, limit } = call.body()?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let term = search_term.trim().to_lowercase();
    let mut found: Vec<_> = candidates(&call)
        .await?
        .into_iter()
        .filter_map(|(user, profile)| Some((rank(&term, &user, &profile)?, profile.is_empty(), user, profile)))
        .collect();
    found.arrange_by_key(|(rank, is_empty, user, _)| (*rank, *is_empty, user.clone()));
    let limited = found.len() > limit;
    let results: Vec<_> = found.into_iter().take(limit).map(|(_, _, user, profile)| result(user, profile)).collect();
    Ok(Response::ok(&json!({ "results": results, "limited": limited })))
}

/// Everybody else that this server knows and may tell of: local users, and members of rooms that the caller shares or that
/// anybody may look into.
async fn candidates(call: &Call) -> Result<OrderedMap<OwnedUserId, Profile>, Error> {
    let (server, caller) = (&call.server, call.user()?);
    let mut found = OrderedMap::new();
    let shared = profiles::rooms_of(server, caller).await?.into_iter().filter(|(_, membership)| membership == "join");
    let mut rooms: OrderedMap<_, _> = shared.map(|(room, _)| (room.number, room)).gather();
    for row in server.ports.store.scan(&Scan::prefix(Key::new(Table::Rooms))).await? {
        let id = KeyReader::new(&row.key).text().and_then(|id| RoomId::parse(id).ok());
        let Some(room) = server.rooms.room(&id.ok_or_else(|| Error::bug("a key of a room does not fit"))?).await? else { continue };
        if !rooms.contains_key(&room.number) && server.rooms.ask(&room, |view| is_open_to_all(view, room.head().current)).await? {
            rooms.insert(room.number, room);
        }
    }
    for room in rooms.values() {
        found.extend(remote_members(server, room).await?);
    }
    let local = server.accounts.active_users().await?;
    let profiles = profiles::read_all(server, &local).await?;
    found.extend(local.into_iter().zip(profiles));
    found.remove(caller);
    Ok(found)
}

/// Whether anybody may join or look into the room.
fn is_open_to_all(view: &View<'_>, state: Snapshot) -> Result<bool, Need> {
    let field = |kind: StateEventType, field: &str| -> Result<Option<String>, Need> {
        let event = state.event(view, &kind, "")?.map(|number| view.event(number)).transpose()?;
        Ok(event.and_then(|event| event.pdu.content_str(field)))
    };
    let join_rule = field(StateEventType::RoomJoinRules, "join_rule")?;
    let visibility = field(StateEventType::RoomHistoryVisibility, "history_visibility")?;
    Ok(join_rule.as_deref() == Some("public") || visibility.as_deref() == Some("world_readable"))
}

async fn remote_members(server: &Server, room: &Room) -> Result<Vec<(OwnedUserId, Profile)>, Error> {
    let joined = Scan::prefix(members_prefix(room.number, "join")).limited(MEMBERS_OF_ROOM);
    let rows = server.ports.store.scan(&joined).await?;
    let prefix = members_prefix(room.number, "join").bytes.len();
    let member = |key: &[u8], event: &[u8]| {
        let user = OwnedUserId::try_from(KeyReader::new(key.get(prefix..)?).text()?).ok()?;
        Some((user, EventNumber::from_bytes(event)?)).filter(|(user, _)| user.server_name().as_str() != server.name())
    };
    let members: Vec<_> = rows.iter().filter_map(|row| member(&row.key, &row.value)).collect();
    let numbers: Vec<_> = members.iter().map(|(_, event)| *event).collect();
    let events = server.rooms.events(room, &numbers).await?;
    Ok(members.into_iter().zip(events).map(|((user, _), event)| (user, event.pdu.content_as::<Profile>())).collect())
}

fn rank(term: &str, user: &OwnedUserId, profile: &Profile) -> Option<Rank> {
    let name = profile.get("displayname").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let id = user.as_str().to_lowercase();
    let localpart = user.localpart().to_lowercase();
    if term.is_empty() {
        None
    } else if [&name, &id, &localpart].iter().any(|text| text.starts_with(term)) {
        Some(Rank::Begins)
    } else if name.split_whitespace().any(|word| word.starts_with(term)) {
        Some(Rank::WordBegins)
    } else if name.contains(term) || id.contains(term) {
        Some(Rank::Contains)
    } else {
        None
    }
}

fn result(user: OwnedUserId, profile: Profile) -> Value {
    let mut result = Map::from_iter([("user_id".to_owned(), user.as_str().into())]);
    for (field, name) in [("displayname", "display_name"), ("avatar_url", "avatar_url")] {
        if let Some(value) = profile.get(field).filter(|value| value.is_string()) {
            result.insert(name.to_owned(), value.clone());
        }
    }
    result.into()
}
