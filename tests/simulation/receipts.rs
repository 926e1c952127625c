//! Up to where people have read, and what others know of it.

use std::collections::BTreeMap;

use inglenook::http::Method;
use serde_json::{Value, json};

use super::{checks::stored, world::World};
use crate::support::encode;

impl World {
    pub(crate) fn read_somewhere(&mut self, node: usize) {
        let room = self.some_room(node);
        self.read(node, room);
    }

    /// Reads up to one of the last events. Nobody does so twice in a millisecond.
    pub(crate) fn read(&mut self, node: usize, room: usize) {
        self.network.advance(1);
        let last = self.in_room(node, room, Method::Get, "messages?dir=b&limit=3", json!({}));
        let last = last.and_then(|answer| answer.body["chunk"].as_array().cloned()).unwrap_or_default();
        let Some(event) = last.get(self.chance.index(last.len())).and_then(|event| event["event_id"].as_str()) else { return };
        let answer = self.in_room(node, room, Method::Post, &format!("receipt/m.read/{}", encode(event)), json!({}));
        if answer.as_ref().is_none_or(|answer| matches!(answer.status, 200 | 500..)) {
            self.read.entry((room, node)).or_default().push(event.to_owned());
        }
        self.tell_of(node, &format!("has read up to {event} in room {room}"), answer.as_ref());
    }
}

/// Everybody's server knows up to where the others have read. A receipt never goes back, by the order in which events came to each
/// server, so that another one than the reader's last stays where its event came later; and it is worth nothing where that event is
/// not shown. It is sent to who is in the room, of who is in the room, and never again: of those who were put out, have left or have
/// come later, nothing is promised.
pub(crate) fn the_last_ones_are_known(world: &World, members_of_rooms: &[Vec<usize>], told: &[Value]) {
    for ((room, reader), read) in &world.read {
        let joined = &members_of_rooms[*room];
        let stays = |node: &usize| joined.contains(node) && !world.moved.contains(&(*room, *node));
        let Some(own) = shown(world, *room, *reader, &told[*reader]).filter(|_| stays(reader)) else { continue };
        for viewer in joined.iter().filter(|viewer| *viewer != reader && stays(viewer)) {
            let places: BTreeMap<_, _> = stored(world, *room, *viewer)
                .into_iter()
                .filter(|stored| stored.verdict == "a")
                .map(|row| (row.event, row.position))
                .collect();
            let Some(place) = places.get(&own) else { continue };
            let shown = shown(world, *room, *reader, &told[*viewer]);
            let is_right = shown.as_ref().is_some_and(|shown| *shown == own || (read.contains(shown) && places[shown] > *place));
            assert!(is_right, "node {reader} has read room {room} up to {own}; by what node {viewer} knows up to {shown:?}");
        }
    }
}

/// The event up to which a node's user has read a room, by what a client is told.
fn shown(world: &World, room: usize, reader: usize, told: &Value) -> Option<String> {
    let events = told["rooms"]["join"][&world.rooms[room].id]["ephemeral"]["events"].as_array()?;
    let receipts = events.iter().find(|event| event["type"] == "m.receipt")?["content"].as_object()?;
    let is_of = |kinds: &Value| kinds["m.read"].get(&world.users[reader].id).is_some();
    receipts.iter().find(|(_, kinds)| is_of(kinds)).map(|(event, _)| event.clone())
}
