//! Which rooms there are, by which door people come in, and how one room takes the place of another.

use inglenook::http::Method;
use serde_json::{Value, json};

use super::world::World;
use crate::support::{Answer, encode};

/// The versions that rooms have: each kind of door is in some and not in others.
const VERSIONS: [&str; 6] = ["12", "11", "10", "8", "7", "6"];

/// No room is upgraded any more when there are so many.
const MAX_ROOMS: usize = 4;

/// A room that somebody has made.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) version: String,
    /// What the last one who has changed it has made it, as far as somebody was told so.
    join_rule: &'static str,
    /// The node whose user has made it, and is never put out.
    pub(crate) founder: usize,
}

/// The join rules that a version has.
fn join_rules(version: &str) -> &'static [&'static str] {
    match version {
        "6" => &["public", "invite"],
        "7" => &["public", "invite", "knock"],
        "8" | "9" => &["public", "invite", "knock", "restricted"],
        _ => &["public", "invite", "knock", "restricted", "knock_restricted"],
    }
}

impl World {
    /// One room in which everybody is, and one of which some are members: it is what lets people into the first, while that is restricted.
    pub(crate) fn found_rooms(&mut self) {
        let everybody: Vec<_> = (0..self.users.len()).collect();
        everybody.iter().skip(1).for_each(|node| self.invite_by_link(*node));
        self.found_room(0, "Hearth", &everybody);
        let founder = self.chance.index(everybody.len());
        let next = (founder + 1) % everybody.len();
        let some: Vec<_> = everybody.into_iter().filter(|node| *node == next || self.chance.percent(40)).collect();
        self.found_room(founder, "Circle", &some);
        (0..self.rooms.len()).for_each(|room| self.set_join_rule(self.rooms[room].founder, room));
        self.settle(60_000);
    }

    fn found_room(&mut self, founder: usize, name: &str, members: &[usize]) {
        let version = self.some_version();
        let creation = json!({ "preset": "public_chat", "room_version": version, "name": name });
        let id = self.network[founder].create_room(&self.users[founder], creation);
        let room = self.add_room(id, version, founder, "public");
        for node in members.iter().filter(|node| **node != founder) {
            let joined = self.enter("join", *node, room, &[founder]).expect("a join over a good network is answered");
            assert_eq!(joined.status, 200, "{}", joined.body);
        }
    }

    fn some_version(&self) -> String {
        VERSIONS[self.chance.index(VERSIONS.len())].to_owned()
    }

    fn add_room(&mut self, id: String, version: String, founder: usize, join_rule: &'static str) -> usize {
        self.tell(format!("room {} is {id}, of version {version} and made by {founder}", self.rooms.len()));
        self.rooms.push(Room { id, version, join_rule, founder });
        self.rooms.len() - 1
    }

    /// Whoever comes by a link learns from it where the first node is.
    fn invite_by_link(&self, node: usize) {
        let record = self.network[0].get(&self.users[0], "/_inglenook/record").ok().body;
        self.network[node].put(&self.users[node], &format!("/_inglenook/records/{}", self.network[0].name()), record).ok();
    }

    /// The rooms that a node's user is in, by what their own server says.
    pub(crate) fn rooms_of(&self, node: usize) -> Vec<usize> {
        let answer = self.request(node, Method::Get, "/_matrix/client/v3/joined_rooms", json!({}));
        let joined = answer.map(|answer| answer.body["joined_rooms"].clone()).unwrap_or_default();
        let is_joined = |room: &usize| joined.as_array().is_some_and(|joined| joined.iter().any(|id| *id == self.rooms[*room].id));
        (0..self.rooms.len()).filter(is_joined).collect()
    }

    /// A room in which a node's user does something, most often one that they are in.
    pub(crate) fn some_room(&self, node: usize) -> usize {
        let joined = self.rooms_of(node);
        let is_any = joined.is_empty() || self.chance.percent(10);
        if is_any { self.chance.index(self.rooms.len()) } else { joined[self.chance.index(joined.len())] }
    }

    /// Who does what takes power: the room's founder, or whoever it may be.
    fn somebody_powerful(&self, node: usize, room: usize) -> usize {
        let founder = self.rooms[room].founder;
        if self.up().contains(&founder) && self.chance.percent(60) { founder } else { node }
    }

    /// A node's user asks to join or knocks, by way of these nodes.
    fn enter(&self, verb: &str, node: usize, room: usize, vias: &[usize]) -> Option<Answer> {
        let names = vias.iter().map(|via| self.network[*via].name());
        let query = names.map(|name| format!("via={}&server_name={}", encode(&name), encode(&name))).collect::<Vec<_>>().join("&");
        self.request(node, Method::Post, &format!("/_matrix/client/v3/{verb}/{}?{query}", encode(&self.rooms[room].id)), json!({}))
    }

    /// The others, beginning with any of them.
    fn vias(&self, node: usize) -> Vec<usize> {
        let (count, first) = (self.users.len(), self.chance.index(self.users.len()));
        (first..first + count).map(|via| via % count).filter(|via| *via != node).collect()
    }

    pub(crate) fn come_or_go(&mut self, node: usize) {
        let room = self.chance.index(self.rooms.len());
        if self.rooms_of(node).contains(&room) {
            let stays = node == self.rooms[room].founder || self.chance.percent(40);
            return if stays { self.come("join", node, room) } else { self.leave(node, room) };
        }
        let is_asked_to_knock = self.rooms[room].join_rule.starts_with("knock");
        let verb = if self.chance.percent(if is_asked_to_knock { 80 } else { 10 }) { "knock" } else { "join" };
        self.come(verb, node, room);
    }

    fn leave(&mut self, node: usize, room: usize) {
        self.moved.insert((room, node));
        let answer = self.in_room(node, room, Method::Post, "leave", json!({}));
        self.note(node, room, "leaves", answer);
    }

    fn come(&mut self, verb: &str, node: usize, room: usize) {
        // Who is there already changes nothing.
        if !self.rooms_of(node).contains(&room) {
            self.moved.insert((room, node));
            self.returned.insert((room, node));
        }
        let answer = self.enter(verb, node, room, &self.vias(node));
        if verb == "knock" && answer.as_ref().is_some_and(|answer| answer.status == 200) {
            self.knocked.insert((room, node));
        }
        self.note(node, room, &format!("{verb}s at {}", self.rooms[room].join_rule), answer);
    }

    /// Opens or closes the door.
    pub(crate) fn change_join_rule(&mut self, node: usize) {
        let room = self.some_room(node);
        self.set_join_rule(self.somebody_powerful(node, room), room);
    }

    fn set_join_rule(&mut self, node: usize, room: usize) {
        let rules = join_rules(&self.rooms[room].version);
        let rule = rules[self.chance.index(rules.len())];
        let mut content = json!({ "join_rule": rule });
        if rule.ends_with("restricted") {
            let other = (room + 1 + self.chance.index(self.rooms.len() - 1)) % self.rooms.len();
            content["allow"] = json!([{ "type": "m.room_membership", "room_id": self.rooms[other].id }]);
        }
        let answer = self.in_room(node, room, Method::Put, "state/m.room.join_rules/", content);
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            self.rooms[room].join_rule = rule;
        }
        self.note(node, room, &format!("makes the join rule {rule}"), answer);
    }

    /// Lets somebody in who has knocked, or sends them away.
    pub(crate) fn answer_a_knock(&mut self, node: usize) {
        let Some((room, guest)) = self.knocked.pop_first() else { return self.speak_somewhere(node) };
        let host = self.somebody_powerful(node, room);
        let verb = if self.chance.percent(70) { "invite" } else { "kick" };
        let answer = self.in_room(host, room, Method::Post, verb, json!({ "user_id": self.users[guest].id }));
        let is_let_in = verb == "invite" && answer.as_ref().is_some_and(|answer| answer.status == 200);
        self.note(host, room, &format!("{verb}s {guest}, who has knocked,"), answer);
        if is_let_in && self.up().contains(&guest) {
            self.come("join", guest, room);
        }
    }

    /// Puts another room in the place of one.
    pub(crate) fn upgrade(&mut self, node: usize) {
        let room = self.some_room(node);
        let (node, version) = (self.somebody_powerful(node, room), self.some_version());
        if self.rooms.len() == MAX_ROOMS {
            return;
        }
        let answer = self.in_room(node, room, Method::Post, "upgrade", json!({ "new_version": version }));
        let id = answer.as_ref().and_then(|answer| answer.body["replacement_room"].as_str().map(ToOwned::to_owned));
        self.note(node, room, &format!("upgrades the room to version {version}"), answer);
        let Some(id) = id else { return };
        let new = self.add_room(id, version, node, self.rooms[room].join_rule);
        // What else was written is before these, in the same commit.
        for (room, below) in [(room, "state/m.room.tombstone/?format=event"), (new, "state/m.room.join_rules/?format=event")] {
            let last = self.in_room(node, room, Method::Get, below, json!({}));
            self.note(node, room, "has written", last);
        }
    }

    /// Goes where a room has gone. Where the power went at the wrong time, nobody was told of the new room but by the old one.
    pub(crate) fn follow(&mut self, node: usize) {
        let tombstone = |room: &usize| {
            let event = self.in_room(node, *room, Method::Get, "state/m.room.tombstone/?format=event", json!({}))?.body;
            Some((event["content"]["replacement_room"].as_str()?.to_owned(), event["sender"].clone()))
        };
        let Some((id, sender)) = self.rooms_of(node).iter().find_map(tombstone) else { return };
        let known = self.rooms.iter().position(|room| room.id == id);
        let room = known.or_else(|| self.learn_of(id, &sender));
        if let Some(room) = room {
            self.come("join", node, room);
        }
    }

    fn learn_of(&mut self, id: String, founder: &Value) -> Option<usize> {
        let founder = self.users.iter().position(|user| *founder == user.id)?;
        let create = self.request(founder, Method::Get, &crate::support::room_path(&id, "state/m.room.create/"), json!({}))?;
        let version = create.body["room_version"].as_str()?.to_owned();
        Some(self.add_room(id, version, founder, "public"))
    }
}
