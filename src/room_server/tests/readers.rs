//! What clients are told of a room whose graph forks, by a server that takes part in it.

use std::rc::Rc;

use ruma::OwnedEventId;
use serde_json::{Value, json};

use super::{
    support::{Host, User, encode, room_path},
    world::{ALICE, BOB, CAROL, Recipe, SERVERS, World},
};
use crate::{
    Config,
    room_server::{Input, InputKind, Verdict, stored::Status},
};

/// A server of the world's, with Bob on it, that was told all that the world has made.
struct Home {
    world: World,
    host: Host,
    bob: User,
    room: String,
}

impl Home {
    /// Bob has joined, and so has Carol.
    fn new() -> Self {
        let world = World::new("11");
        let host = Host::with(Config { server_name: Some(SERVERS[1].into()), ..Config::default() });
        let bob = host.register("bob");
        let room = world.workshop.room.id.to_string();
        let home = Self { world, host, bob, room };
        home.world.made().iter().for_each(|id| home.deliver(id, Status::Accepted));
        home.make(Recipe::member(BOB, BOB, "join"));
        home.make(Recipe::member(CAROL, CAROL, "join"));
        home
    }

    /// An event of the world, and what becomes of it here.
    #[track_caller]
    fn deliver(&self, id: &OwnedEventId, expected: Status) {
        let server = Rc::clone(&self.host.server());
        let known = self.host.block_on(server.rooms.room(&self.world.workshop.room.id)).unwrap();
        let room = known.unwrap_or_else(|| server.rooms.new_room(self.world.workshop.room.id.clone(), self.world.version.clone()));
        let input = Input { event: self.world.event(id), kind: InputKind::New, state_before: None };
        let verdict = self.host.block_on(server.rooms.transact_in(&room, |draft| draft.receive(&input))).unwrap();
        assert_eq!(verdict, Verdict::Stored(expected));
        self.host.run();
    }

    #[track_caller]
    fn make(&self, recipe: Recipe) -> OwnedEventId {
        let id = self.world.make(recipe);
        self.deliver(&id, Status::Accepted);
        id
    }

    fn get(&self, below: &str) -> Value {
        self.host.get(&self.bob, &room_path(&self.room, below)).ok().body
    }

    fn graph(&self, limit: usize) -> Vec<Value> {
        let answer = self.host.get(&self.bob, &format!("/_inglenook/rooms/{}/graph?limit={limit}", encode(&self.room))).ok();
        answer.body["events"].as_array().unwrap().clone()
    }
}

#[test]
fn the_graph_shows_what_was_refused_as_well() {
    let home = Home::new();
    let other = home.host.register("dora");
    let base = home.world.workshop.extremities().pop_first().unwrap();
    home.host.create_room(&other, json!({ "name": "Another, whose events are none of this room's" }));
    let ban = home.make(Recipe::member(ALICE, CAROL, "ban").after(&[&base]));
    let (late, _) = home.world.try_make(Recipe::message(CAROL, "one more thing").after(&[&base]));
    home.deliver(&late, Status::SoftFailed);
    let (forbidden, _) = home.world.try_make(Recipe::topic(BOB, "not his to set"));
    home.deliver(&forbidden, Status::Rejected);
    let last = home.make(Recipe::message(ALICE, "well"));

    let shown = home.graph(100);
    let status = |id: &OwnedEventId| shown.iter().find(|event| event["event_id"] == id.as_str()).map(|event| event["status"].clone());
    let statuses = [&ban, &late, &forbidden, &last].map(|id| status(id).unwrap_or_default());
    assert_eq!(statuses, ["accepted", "soft_failed", "rejected", "accepted"]);
    let seen = |id: &OwnedEventId| shown.iter().any(|event| event["event_id"] == id.as_str() && !event["content"].is_null());
    assert_eq!([&ban, &late, &forbidden, &last].map(seen), [true, false, false, true], "nobody is shown what was refused");
    assert_eq!(shown.len(), home.world.made().len());
    let depths: Vec<_> = shown.iter().map(|event| event["depth"].as_u64().unwrap()).collect();
    assert!(depths.is_sorted(), "{depths:?}");
    let newest: Vec<_> = home.graph(2).iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(newest, shown[shown.len() - 2..].iter().map(|event| event["event_id"].clone()).collect::<Vec<_>>());
}
