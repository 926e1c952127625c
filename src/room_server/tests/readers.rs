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

fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// How Bob gets out of the room without leaving it.
#[derive(Clone, Copy, Debug)]
enum Exit {
    /// Those who joined meanwhile had no right to, so that there is no event about Bob in the state any more.
    RoomWasClosed,
    /// Somebody else was quicker.
    Banned,
}

/// Another branch of the graph turns out to have ended Bob's stay: he is told so, and sees the room as it was until then.
#[test]
fn who_is_out_of_the_room_by_a_merge_is_told_and_reads_on_up_to_there() {
    for exit in [Exit::RoomWasClosed, Exit::Banned] {
        let home = Home::new();
        let join = home.world.workshop.current_event("m.room.member", BOB).unwrap();
        let base = home.world.event(&join).pdu().prev_events[0].clone();
        home.make(Recipe::message(ALICE, "early"));
        let first = home.host.sync(&home.bob, None);
        assert_eq!(bodies(&first["rooms"]["join"][&home.room]["timeline"]["events"]), ["early"]);
        let seen = home.make(Recipe::message(ALICE, "seen"));
        let mut waiting = home.host.begin_sync(&home.bob, first["next_batch"].as_str(), 20_000);
        assert!(waiting.answer().is_some());
        let since = home.host.sync(&home.bob, None)["next_batch"].as_str().unwrap().to_owned();
        let mut waiting = home.host.begin_sync(&home.bob, Some(&since), 20_000);

        let elsewhere = match exit {
            Exit::RoomWasClosed => Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "invite" })),
            Exit::Banned => Recipe::member(ALICE, BOB, "ban"),
        };
        home.make(elsewhere.after(&[&base]));
        let told = waiting.answer().unwrap_or_else(|| panic!("{exit:?}: Bob is not told")).ok().body;
        assert!(told["rooms"]["leave"].get(&home.room).is_some(), "{exit:?}: {told}");
        let unseen = home.make(Recipe::message(ALICE, "unseen"));

        let sections = |answer: &Value| ["join", "leave"].map(|section| answer["rooms"][section].get(&home.room).is_some());
        let missed = home.host.sync(&home.bob, first["next_batch"].as_str());
        assert_eq!(sections(&missed), [false, true], "{exit:?}");
        let timeline = &missed["rooms"]["leave"][&home.room]["timeline"];
        assert_eq!(bodies(&timeline["events"]), ["seen"], "{exit:?}");
        assert_eq!(sections(&home.host.sync(&home.bob, told["next_batch"].as_str())), [false, false], "{exit:?}");
        assert_eq!(sections(&home.host.sync(&home.bob, None)), [false, false], "{exit:?}");
        let archived = encode(r#"{"room":{"include_leave":true}}"#);
        let archived = home.host.get(&home.bob, &format!("/_matrix/client/v3/sync?filter={archived}")).ok().body;
        assert_eq!(bodies(&archived["rooms"]["leave"][&home.room]["timeline"]["events"]), ["early", "seen"], "{exit:?}");

        assert_eq!(home.host.get(&home.bob, "/_matrix/client/v3/joined_rooms").ok().body["joined_rooms"], json!([]));
        assert_eq!(bodies(&home.get("messages?dir=b&limit=100")["chunk"]), ["seen", "early"], "{exit:?}");
        assert_eq!(home.get(&format!("event/{}", encode(seen.as_str())))["content"]["body"], "seen", "{exit:?}");
        home.host.get(&home.bob, &room_path(&home.room, &format!("event/{}", encode(unseen.as_str())))).refused(404, "M_NOT_FOUND");
        let members = home.get("members");
        let membership = |user: &str| {
            let member = members["chunk"].as_array().unwrap().iter().find(|event| event["state_key"] == user);
            member.map(|member| member["content"]["membership"].clone())
        };
        let (bob, carol) = match exit {
            Exit::RoomWasClosed => (None, None),
            Exit::Banned => (Some("ban".into()), Some("join".into())),
        };
        assert_eq!((membership(ALICE), membership(BOB), membership(CAROL)), (Some("join".into()), bob, carol), "{exit:?}");
        assert!(home.get("state").as_array().is_some_and(|state| !state.is_empty()), "{exit:?}");
        home.host.get(&home.bob, &room_path(&home.room, "joined_members")).refused(403, "M_FORBIDDEN");

        home.host.post(&home.bob, &room_path(&home.room, "forget"), json!({})).ok();
        home.host.get(&home.bob, &room_path(&home.room, "messages?dir=b")).refused(403, "M_FORBIDDEN");
        home.host.get(&home.bob, &room_path(&home.room, "state")).refused(403, "M_FORBIDDEN");
    }
}
