//! Asking other servers what they tell of rooms that this one is not in: a summary, and the rooms of a space.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#spaces>

use std::{cell::RefCell, rc::Rc};

use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    malformed, read,
    target::{path, with_query},
};
use crate::{error::Error, ordered::OrderedMap, server::Server};

/// For so long an answer is used again: a client pages through a space within minutes, and the walk begins anew with each page.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>
const KEPT_MILLIS: u64 = 5 * 60 * 1000;

/// So many answers are kept: those of one large space.
const KEPT: usize = 50;

/// So many rooms of an answer are read.
const MAX_CHILDREN: usize = 200;

/// A room's summary as another server tells it: what it should be made of, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldSummary {
    pub(crate) room_id: OwnedRoomId,
    /// The fields as a client is told of them.
    pub(crate) fields: Map<String, Value>,
}

/// A room as another server tells of it, with the rooms in it if it is a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldSpace {
    pub(crate) room: ToldSummary,
    /// The events that name the rooms in it, unchecked.
    pub(crate) children_state: Vec<Value>,
    /// Those of the rooms in it that the server may tell of.
    pub(crate) children: Vec<ToldSummary>,
    /// Rooms that nobody here can see, whoever is asked.
    pub(crate) inaccessible: Vec<OwnedRoomId>,
}

/// What was told lately, by whom it was told.
#[derive(Default)]
pub(crate) struct ToldSpaces(RefCell<OrderedMap<Asked, (u64, Rc<ToldSpace>)>>);

/// Who was asked for which room, and whether for the suggested children only.
type Asked = (OwnedServerName, OwnedRoomId, bool);

#[derive(Deserialize)]
struct Answer {
    room: Value,
    #[serde(default)]
    children: Vec<Value>,
    #[serde(default)]
    inaccessible_children: Vec<OwnedRoomId>,
}

/// Asks a server for a room and the rooms in it, unless it has told lately.
pub(crate) async fn hierarchy(server: &Server, peer: &ServerName, room: &RoomId, suggested_only: bool) -> Result<Rc<ToldSpace>, Error> {
    let asked = (peer.to_owned(), room.to_owned(), suggested_only);
    if let Some(told) = server.federation.told_spaces.find(&asked, server.now()) {
        return Ok(told);
    }
    let query = [("suggested_only", if suggested_only { "true" } else { "false" })];
    let target = with_query(&path("v1/hierarchy", &[room.as_str()]), query);
    let answer: Answer = read(&server.federation_client.get(peer, &target).await?)?;
    let told = ToldSpace::read(answer).filter(|told| told.room.room_id == room);
    let told = Rc::new(told.ok_or_else(|| malformed("it does not describe the room"))?);
    server.federation.told_spaces.keep(asked, server.now(), &told);
    Ok(told)
}

impl ToldSpaces {
    fn find(&self, asked: &Asked, now: u64) -> Option<Rc<ToldSpace>> {
        self.0.borrow().get(asked).filter(|(at, _)| now < at + KEPT_MILLIS).map(|(_, told)| Rc::clone(told))
    }

    fn keep(&self, asked: Asked, now: u64, told: &Rc<ToldSpace>) {
        let mut kept = self.0.borrow_mut();
        kept.insert(asked, (now, Rc::clone(told)));
        while kept.len() > KEPT {
            let Some(oldest) = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(asked, _)| asked.clone()) else { break };
            kept.remove(&oldest);
        }
    }
}

impl ToldSpace {
    fn read(answer: Answer) -> Option<Self> {
        let children_state = answer.room.get("children_state").and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            children_state: children_state.take(MAX_CHILDREN).cloned().collect(),
            room: ToldSummary::read(&answer.room)?,
            children: answer.children.iter().take(MAX_CHILDREN).filter_map(ToldSummary::read).collect(),
            inaccessible: answer.inaccessible_children,
        })
    }
}

impl ToldSummary {
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid_response-200_spacehierarchyparentroom>
    fn read(told: &Value) -> Option<Self> {
        let mut fields = Map::new();
        for name in ["room_id", "name", "topic", "avatar_url", "canonical_alias", "join_rule", "room_type", "encryption", "room_version"] {
            fields.extend(told.get(name).filter(|value| value.is_string()).map(|value| (name.to_owned(), value.clone())));
        }
        for name in ["world_readable", "guest_can_join"] {
            fields.insert(name.into(), told.get(name)?.as_bool()?.into());
        }
        fields.insert("num_joined_members".into(), told.get("num_joined_members")?.as_u64()?.into());
        fields.entry("join_rule").or_insert_with(|| "public".into());
        let allowed = told.get("allowed_room_ids").and_then(Value::as_array).into_iter().flatten();
        let allowed: Vec<_> = allowed.filter(|room| room.is_string()).cloned().collect();
        if !allowed.is_empty() {
            fields.insert("allowed_room_ids".into(), allowed.into());
        }
        Some(Self { room_id: RoomId::parse(told.get("room_id")?.as_str()?).ok()?, fields })
    }

    /// Whether it is a room that others may be in.
    pub(crate) fn is_space(&self) -> bool {
        self.text("room_type") == Some("m.space")
    }

    /// Whether anybody could join or read the room, or ask to be let in.
    pub(crate) fn is_open_to_all(&self) -> bool {
        let is_readable = self.fields.get("world_readable") == Some(&Value::Bool(true));
        is_readable || matches!(self.text("join_rule"), Some("public" | "knock" | "knock_restricted"))
    }

    /// The rooms whose members may join this one.
    pub(crate) fn allowed_rooms(&self) -> impl Iterator<Item = OwnedRoomId> {
        let rooms = self.fields.get("allowed_room_ids").and_then(Value::as_array).into_iter().flatten();
        rooms.filter_map(|room| RoomId::parse(room.as_str()?).ok())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary() -> Value {
        json!({ "room_id": "!a:a.example", "num_joined_members": 2, "world_readable": false, "guest_can_join": true })
    }

    #[test]
    fn only_what_belongs_to_a_summary_is_read() {
        let mut told = summary();
        told["name"] = "N".into();
        told["topic"] = 5.into();
        told["membership"] = "join".into();
        told["allowed_room_ids"] = json!(["!b:a.example", 7]);
        let read = ToldSummary::read(&told).unwrap();
        let expected = json!({
            "room_id": "!a:a.example", "name": "N", "join_rule": "public", "num_joined_members": 2, "world_readable": false,
            "guest_can_join": true, "allowed_room_ids": ["!b:a.example"],
        });
        assert_eq!(Value::from(read.fields.clone()), expected);
        assert!(read.is_open_to_all() && !read.is_space());
    }

    #[test]
    fn what_lacks_a_part_is_no_summary() {
        for lacking in ["room_id", "num_joined_members", "world_readable", "guest_can_join"] {
            let mut told = summary();
            told[lacking] = Value::Null;
            assert_eq!(ToldSummary::read(&told), None, "{lacking}");
        }
    }

    #[test]
    fn what_was_told_is_kept_for_a_while_and_within_bounds() {
        let answer = Answer { room: summary(), children: Vec::new(), inaccessible_children: Vec::new() };
        let told = Rc::new(ToldSpace::read(answer).unwrap());
        let asked = |number: usize| (ServerName::parse(format!("s{number}.example")).unwrap(), told.room.room_id.clone(), false);
        let spaces = ToldSpaces::default();
        for number in 0..KEPT + 5 {
            spaces.keep(asked(number), number as u64, &told);
        }
        assert_eq!(spaces.0.borrow().len(), KEPT);
        assert!(spaces.find(&asked(4), 60).is_none() && spaces.find(&asked(5), 60).is_some());
        assert!(spaces.find(&asked(5), 5 + KEPT_MILLIS).is_none());
    }
}
