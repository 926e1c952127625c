//! What servers send that are not in the room: what the rules reject of it leaves nothing behind, and honest rooms converge all the same.

use ruma::OwnedEventId;
use serde_json::{Value, json};

use super::scene::{A, B, Scene, json_of, signed};
use crate::{
    room_server::{
        stored::Status,
        tests::world::{ALICE, BOB, DAVE, Recipe},
    },
    storage::{Key, Scan, Table},
    support::encode,
};

/// A room with these rules for joining that Bob has left, of whose server nobody else was there.
fn without_bob(join_rule: &str) -> Scene {
    let scene = Scene::new("12");
    let rule = scene.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": join_rule })));
    let leave = scene.make(Recipe::member(BOB, BOB, "leave"));
    scene.send(B, &[&rule, &leave]);
    scene.assert_accepted(&[&rule, &leave]);
    scene.network.carried();
    scene
}

/// An event that the workshop rejects.
#[track_caller]
fn rejected(scene: &Scene, recipe: Recipe) -> OwnedEventId {
    let (id, _) = scene.world.try_make(recipe);
    assert_eq!(scene.world.workshop.status(&id), Status::Rejected);
    id
}

/// All that the server has stored.
fn rows(scene: &Scene) -> Vec<(&'static str, usize)> {
    let server = scene.server();
    let count = |table: &Table| scene.host().block_on(server.ports.store.scan(&Scan::prefix(Key::new(*table)))).unwrap().len();
    Table::ALL.iter().map(|table| (table.name(), count(table))).collect()
}

fn are_all_refused(answer: &Value) -> bool {
    answer["pdus"].as_object().unwrap().values().all(|result| result["error"].is_string())
}

fn ids(ids: &[OwnedEventId]) -> Vec<&OwnedEventId> {
    ids.iter().collect()
}

#[test]
fn what_the_rules_reject_leaves_no_row() {
    let scene = without_bob("public");
    let before = rows(&scene);
    for round in 0..4 {
        let one = |serial: usize| match serial % 3 {
            0 => Recipe::message(BOB, "I am not here"),
            1 => Recipe::topic(BOB, &format!("mine {round}")),
            _ => Recipe::message(DAVE, "I never was"),
        };
        let events: Vec<_> = (0..50).map(|serial| json_of(&scene.world.build(one(serial)))).collect();
        let answer = scene.send_json(B, events);
        assert_eq!(answer["pdus"].as_object().unwrap().len(), 50);
        assert!(are_all_refused(&answer), "{answer}");
    }
    assert_eq!(rows(&scene), before);
    assert_eq!(scene.asked("federation"), 0);
}

#[test]
fn what_servers_in_the_room_send_is_kept_also_where_it_is_rejected() {
    let scene = Scene::new("12");
    let topic = rejected(&scene, Recipe::topic(BOB, "not mine to say"));
    assert_eq!(scene.send(B, &[&topic])["pdus"][topic.as_str()], json!({}));
    assert_eq!(scene.status(&topic), Some(Status::Rejected));
}

/// What was dropped is asked for again, as soon as somebody in the room builds on it.
#[test]
fn what_was_dropped_and_others_build_on_is_kept() {
    let scene = without_bob("public");
    let head = scene.extremities().pop_first().unwrap();
    let first = rejected(&scene, Recipe::message(BOB, "I am not here"));
    let second = rejected(&scene, Recipe::message(BOB, "still not").after(&[&first]));
    assert!(are_all_refused(&scene.send(B, &[&first, &second])));
    assert_eq!((scene.status(&first), scene.status(&second)), (None, None));
    let built = scene.make(Recipe::message(ALICE, "whose server has kept it").after(&[&head, &second]));
    scene.send(A, &[&built]);
    scene.assert_accepted(&[&built]);
    assert_eq!((scene.status(&first), scene.status(&second)), (Some(Status::Rejected), Some(Status::Rejected)));
    scene.assert_converged();
}

#[test]
fn a_past_that_was_made_up_is_fetched_once_and_leaves_nothing() {
    let scene = without_bob("invite");
    let before = rows(&scene);
    let mut past = vec![rejected(&scene, Recipe::member(DAVE, DAVE, "join"))];
    for serial in 0..45 {
        let (join, last) = (past[0].clone(), past.last().unwrap().clone());
        past.push(rejected(&scene, Recipe::message(DAVE, &serial.to_string()).after(&[&last]).authorised_by(&[&join])));
    }
    scene.withhold(A, &ids(&past));
    scene.send(B, &[past.last().unwrap()]);
    assert!(past.iter().all(|id| scene.status(id).is_none()));
    assert_eq!(scene.waiting(), 0);
    assert_eq!((scene.asked("get_missing_events"), scene.asked("state")), (3, 0));
    let without_transactions = |rows: Vec<(&'static str, usize)>| -> Vec<_> {
        rows.into_iter().filter(|(table, _)| *table != Table::ReceivedTransactions.name()).collect()
    };
    assert_eq!(without_transactions(rows(&scene)), without_transactions(before));
}

/// Neither what the rules reject among the authorising events, nor what they allow, where nothing that is accepted names it.
#[test]
fn what_authorises_nothing_that_is_accepted_is_not_kept() {
    let scene = without_bob("public");
    let head = scene.extremities().pop_first().unwrap();
    let join = scene.make(Recipe::member(DAVE, DAVE, "join").after(&[&head]));
    let rename =
        scene.make(Recipe::state(DAVE, "m.room.member", DAVE, json!({ "membership": "join", "displayname": "D" })).after(&[&join]));
    let forked = scene.world.build(Recipe::message(DAVE, "x").after(&[&head]).authorised_as_after(&rename));
    let power = rejected(&scene, scene.world.power(BOB, &[(BOB, 100)]).after(&[&head]));
    let forged = scene.world.build(Recipe::message(DAVE, "y").after(&[&head]).authorised_as_after(&join).forged_with(&power));
    for id in [scene.world.remember(forked), scene.world.remember(forged)] {
        scene.send(B, &[&id]);
        assert_eq!(scene.status(&id), None);
    }
    assert!([&join, &rename, &power].into_iter().all(|id| scene.status(id).is_none()));
    assert_eq!(scene.waiting(), 0);
    scene.send(B, &[&join, &rename]);
    scene.assert_accepted(&[&join, &rename]);
    scene.assert_converged();
}

/// A server whose user has joined, of which nobody has told here, is believed in what it says.
#[test]
fn a_join_of_which_its_own_server_tells_first_is_found() {
    let scene = without_bob("public");
    let join = scene.make(Recipe::member(DAVE, DAVE, "join"));
    let message = scene.make(Recipe::message(DAVE, "hello"));
    scene.send(B, &[&message]);
    scene.assert_accepted(&[&join, &message]);
    scene.assert_converged();
}

/// The same where only the newcomer's server is left, which does not know what was before the join.
#[test]
fn a_join_is_placed_by_the_word_of_its_own_server_where_nobody_else_is_left() {
    let scene = without_bob("public");
    let missed = scene.make(Recipe::topic(ALICE, "missed"));
    let join = scene.make(Recipe::member(DAVE, DAVE, "join"));
    let message = scene.make(Recipe::message(DAVE, "hello"));
    scene.withhold(A, &[&missed, &join, &message]);
    scene.lie(B, "get_missing_events", json!({ "events": [json_of(&scene.world.event(&join))] }));
    scene.send(B, &[&message]);
    scene.assert_accepted(&[&join, &message]);
    assert_eq!(scene.status(&missed), Some(Status::Outlier), "it is part of the state that was told");
    assert_eq!(scene.state(), scene.world.workshop.current());
}

#[test]
fn what_a_newcomer_builds_on_is_kept_though_it_was_rejected() {
    let scene = without_bob("public");
    let join = scene.make(Recipe::member(DAVE, DAVE, "join"));
    let topic = rejected(&scene, Recipe::topic(DAVE, "not mine to say"));
    let message = scene.make(Recipe::message(DAVE, "hello").after(&[&topic]));
    scene.send(B, &[&join, &topic, &message]);
    scene.assert_accepted(&[&join, &message]);
    assert_eq!(scene.status(&topic), Some(Status::Rejected));
    scene.assert_converged();
}

#[test]
fn who_only_knocks_has_nothing_kept_that_is_rejected() {
    let scene = without_bob("knock");
    let before = rows(&scene);
    let head = scene.extremities().pop_first().unwrap();
    let message = rejected(&scene, Recipe::message(DAVE, "before I knocked"));
    let upon = scene.world.build(Recipe::member(DAVE, DAVE, "knock").after(&[&message]));
    let answer = scene.send_json(B, vec![json_of(&scene.world.event(&message)), json_of(&upon)]);
    assert!(are_all_refused(&answer), "{answer}");
    assert_eq!(rows(&scene), before);
    let knock = scene.make(Recipe::member(DAVE, DAVE, "knock").after(&[&head]));
    let retreat = scene.make(Recipe::member(DAVE, DAVE, "leave").after(&[&knock]));
    scene.send(B, &[&knock, &retreat]);
    scene.assert_accepted(&[&knock, &retreat]);
    scene.assert_converged();
}

/// What soft-fails may be honest, and is kept; but whoever was put out could go on for ever.
#[test]
fn what_soft_fails_of_servers_that_are_out_is_kept_up_to_a_bound() {
    let mut scene = Scene::new("12");
    let base = scene.message("base");
    let ban = scene.make(Recipe::member(ALICE, BOB, "ban").after(&[&base]));
    scene.send(A, &[&base, &ban]);
    let evading = |scene: &Scene, count: usize| -> Vec<_> {
        let body = "x".repeat(30_000);
        let one = |_| scene.world.remember(scene.world.build(Recipe::message(BOB, &body).after(&[&base])));
        (0..count).map(one).collect()
    };
    let first = evading(&scene, 10);
    assert!(!are_all_refused(&scene.send(B, &ids(&first))));
    assert!(first.iter().all(|id| scene.status(id) == Some(Status::SoftFailed)));
    (0..4).for_each(|_| drop(scene.send(B, &ids(&evading(&scene, 20)))));
    scene.restart();
    let before = rows(&scene);
    let last = evading(&scene, 20);
    assert!(are_all_refused(&scene.send(B, &ids(&last))));
    assert_eq!(rows(&scene), before);
    assert!(before.iter().find(|(table, _)| *table == Table::Events.name()).unwrap().1 < 60);
    let (named, _) = scene.world.try_make(Recipe::message(BOB, &"y".repeat(30_000)).after(&[&base]));
    assert!(are_all_refused(&scene.send(B, &[&named])));
    assert_eq!(scene.status(&named), None);
    let built = scene.make(Recipe::message(ALICE, "whose server has kept it").after(&[&ban, &named]));
    scene.send(A, &[&built]);
    scene.assert_accepted(&[&built]);
    assert_eq!(scene.status(&named), Some(Status::SoftFailed));
    scene.assert_converged();
}

#[test]
fn no_state_is_asked_for_where_nothing_can_come_of_it() {
    let scene = without_bob("invite");
    let join = rejected(&scene, Recipe::member(DAVE, DAVE, "join"));
    let last = rejected(&scene, Recipe::message(DAVE, "x").after(&[&join]).authorised_by(&[&join]));
    scene.withhold(A, &[&join, &last]);
    scene.withhold(B, &[&join]);
    scene.send(B, &[&last]);
    for _ in 0..24 {
        scene.wait_an_hour();
    }
    assert_eq!(scene.waiting(), 1);
    let asked = scene.network.carried().into_iter().map(|carried| carried.target).filter(|target| !target.contains("/send/"));
    let (state, others): (Vec<_>, Vec<_>) = asked.partition(|target| target.contains("/state"));
    assert_eq!(state, Vec::<String>::new());
    assert!(others.len() < 24 * 4, "{}", others.len());
}

#[test]
fn a_join_that_the_rules_reject_has_nobody_asked_for_what_is_before_it() {
    let scene = without_bob("invite");
    let unknown: OwnedEventId = ruma::EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let join = scene.world.build_after_unknown(Recipe::member(DAVE, DAVE, "join"), &unknown);
    let before = rows(&scene);
    let target = format!("/_matrix/federation/v2/send_join/{}/{}", encode(scene.room().id.as_str()), encode(join.pdu().event_id.as_str()));
    assert_eq!(scene.host().federation(signed(&scene.world.identity(B), &target, &json_of(&join))).status, 403);
    assert_eq!((scene.asked("federation"), rows(&scene)), (0, before));
}
