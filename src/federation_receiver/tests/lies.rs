//! What servers may try: nothing of it changes anything, wedges a room, or costs more than a bounded amount of work.

use serde_json::{Value, json};

use super::scene::{A, B, Scene, json_of};
use crate::room_server::{
    stored::Status,
    tests::world::{ALICE, BOB, CAROL, DAVE, Recipe},
};

/// Whether the server is as it was, but for what is known to be refused.
#[track_caller]
fn assert_unmoved(scene: &Scene, before: &(std::collections::BTreeSet<ruma::OwnedEventId>, crate::room_server::tests::world::State)) {
    assert_eq!((scene.extremities(), scene.state()), *before);
}

fn as_it_is(scene: &Scene) -> (std::collections::BTreeSet<ruma::OwnedEventId>, crate::room_server::tests::world::State) {
    (scene.extremities(), scene.state())
}

/// The answer to one event that was changed on the way.
fn send_changed(scene: &Scene, from: &str, change: impl Fn(&mut Value)) -> Value {
    let id = scene.message("unchanged");
    let mut pdu = json_of(&scene.world.event(&id));
    change(&mut pdu);
    scene.send_json(from, vec![pdu])
}

fn is_refused(answer: &Value) -> bool {
    let results = answer["pdus"].as_object().unwrap();
    !results.is_empty() && results.values().all(|result| result["error"].is_string())
}

#[test]
fn what_is_signed_by_nobody_is_dropped() {
    for version in ["1", "6", "12"] {
        let scene = Scene::new(version);
        let before = as_it_is(&scene);
        assert!(is_refused(&send_changed(&scene, A, |pdu| pdu["signatures"] = json!({}))));
        assert!(is_refused(&send_changed(&scene, A, |pdu| pdu["signatures"][A]["ed25519:1"] = "AAAA".into())));
        assert!(is_refused(&send_changed(&scene, A, |pdu| pdu["depth"] = json!(5000))), "a change of what is signed");
        assert!(is_refused(&send_changed(&scene, B, |pdu| pdu["sender"] = BOB.into())));
        assert!(is_refused(&send_changed(&scene, A, |pdu| pdu["sender"] = BOB.into())), "forged by another server");
        assert_unmoved(&scene, &before);
        assert_eq!(scene.waiting(), 0);
    }
}

#[test]
fn signed_with_a_key_that_the_server_does_not_have_is_not_signed() {
    let scene = Scene::new("12");
    let answer = send_changed(&scene, A, |pdu| {
        let signature = pdu["signatures"][A]["ed25519:1"].take();
        pdu["signatures"][A] = json!({ "ed25519:other": signature });
    });
    assert!(is_refused(&answer));
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn what_has_the_wrong_hash_is_redacted() {
    let scene = Scene::new("12");
    let id = scene.message("the truth");
    let mut pdu = json_of(&scene.world.event(&id));
    pdu["content"]["body"] = "a lie".into();
    scene.send_json(A, vec![pdu]);
    assert_eq!(scene.find(&id).unwrap().pdu.content.get(), "{}");
}

#[test]
fn what_is_no_event_is_passed_over() {
    let scene = Scene::new("12");
    let id = scene.message("among rubbish");
    let pdu = json_of(&scene.world.event(&id));
    let mut without_room = pdu.clone();
    without_room.as_object_mut().unwrap().remove("room_id");
    let mut elsewhere = pdu.clone();
    elsewhere["room_id"] = "!elsewhere:a.example".into();
    let rubbish = [json!(null), json!(5), json!([]), json!({}), json!({ "room_id": 5 }), without_room, elsewhere];
    let answer = scene.send_json(A, rubbish.into_iter().chain([pdu]).collect());
    assert_eq!(answer["pdus"][id.as_str()], json!({}));
    scene.assert_converged();
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn events_in_a_circle_are_forgotten_and_hold_up_nobody() {
    let scene = Scene::new("1");
    let before = as_it_is(&scene);
    let base = scene.extremities().pop_first().unwrap();
    // IDs of the first versions are made up, so that events can name each other.
    let [one, other] = ["one", "other"].map(|name| scene.world.spelt(ALICE, name));
    let first = scene.world.circular(Recipe::message(ALICE, "1").after(&[&other]), &one, &[&base]);
    let second = scene.world.circular(Recipe::message(ALICE, "2").after(&[&one]), &other, &[&base]);
    let answer = scene.send_json(A, vec![json_of(&first), json_of(&second)]);
    assert!(is_refused(&answer), "{answer}");
    scene.send_json(A, vec![json_of(&first)]);
    scene.send_json(A, vec![json_of(&second)]);
    (0..3).for_each(|_| scene.wait_an_hour());
    assert_unmoved(&scene, &before);
    assert_eq!(scene.waiting(), 0);
    let id = scene.message("all is well");
    scene.send(A, &[&id]);
    scene.assert_converged();
}

#[test]
fn made_up_events_before_others_fill_a_bounded_space_and_nobody_elses() {
    let scene = Scene::new("12");
    scene.silence(A);
    scene.silence(B);
    let unknown: ruma::OwnedEventId = ruma::EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let flood = |count: usize| {
        for _ in 0..count / 50 {
            let events = (0..50).map(|_| json_of(&scene.world.build_after_unknown(Recipe::message(ALICE, "flood"), &unknown)));
            scene.send_json(A, events.collect());
        }
    };
    flood(700);
    assert_eq!(scene.waiting(), 500);
    let (missed, id) = (scene.make(Recipe::message(BOB, "missed")), scene.make(Recipe::message(BOB, "honest")));
    assert_eq!(scene.send(B, &[&id])["pdus"][id.as_str()], json!({}));
    scene.peers.silent.borrow_mut().remove(B);
    scene.network.carried();
    scene.wait_an_hour();
    scene.assert_accepted(&[&missed, &id]);
    assert!(scene.asked("federation") < 100);
}

#[test]
fn servers_that_nobody_knows_may_keep_little_waiting() {
    let scene = Scene::new("12");
    let leave = scene.make(Recipe::member(BOB, BOB, "leave"));
    scene.send(B, &[&leave]);
    scene.silence(A);
    scene.silence(B);
    let unknown: ruma::OwnedEventId = ruma::EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let events = (0..50).map(|_| json_of(&scene.world.build_after_unknown(Recipe::member(DAVE, DAVE, "join"), &unknown)));
    scene.send_json(B, events.collect());
    assert_eq!(scene.waiting(), 20);
}

#[test]
fn answers_that_were_not_asked_for_are_not_taken() {
    let scene = Scene::new("12");
    let missing = scene.message("missing");
    let id = scene.message("sent");
    let unrelated = scene.world.build(Recipe::message(BOB, "unrelated").after(&[&scene.extremities().pop_first().unwrap()]));
    let forged = {
        let mut pdu = json_of(&scene.world.event(&missing));
        pdu["content"]["body"] = "forged".into();
        pdu["depth"] = json!(77);
        pdu
    };
    scene.lie(A, "get_missing_events", json!({ "events": [json_of(&unrelated), forged, 5, {}, null] }));
    scene.silence(B);
    scene.send(A, &[&id]);
    assert_eq!(scene.status(&unrelated.pdu().event_id), None);
    scene.peers.lies.borrow_mut().clear();
    scene.wait_an_hour();
    assert_eq!(scene.status(&id), Some(Status::Accepted));
    assert_eq!(scene.state(), scene.world.workshop.current());
}

/// A server that answers without end, each time with one event more, is asked a bounded number of times.
#[test]
fn an_endless_past_is_not_followed() {
    let scene = Scene::new("12");
    scene.peers.batch.set(1);
    let ids: Vec<_> = (0..200).map(|serial| scene.message(&serial.to_string())).collect();
    scene.network.carried();
    scene.send(A, &[&ids[199]]);
    let asked = scene.asked("get_missing_events");
    assert!(asked <= 20, "{asked}");
    scene.assert_accepted(&[&ids[199]]);
}

/// By telling a wrong state, a server cannot have another's event refused here.
#[test]
fn a_false_state_does_not_have_honest_events_refused() {
    let scene = Scene::new("12");
    let (missing, id) = (scene.make(Recipe::message(BOB, "missing")), scene.make(Recipe::message(BOB, "honest")));
    scene.withhold(A, &[&missing]);
    scene.withhold(B, &[&missing]);
    let without_bob: Vec<_> = scene.world.workshop.before(&id).into_iter().filter(|((_, key), _)| key != BOB).map(|(_, id)| id).collect();
    scene.lie(A, "state_ids", json!({ "pdu_ids": without_bob, "auth_chain_ids": [] }));
    scene.silence(B);
    scene.send(A, &[&id]);
    assert_eq!(scene.status(&id), None, "the word of another server is not enough to refuse it");
    scene.peers.silent.borrow_mut().clear();
    scene.wait_an_hour();
    scene.assert_accepted(&[&id]);
    assert_eq!(scene.state(), scene.world.workshop.current());
}

#[test]
fn a_state_with_holes_is_no_state() {
    let scene = Scene::new("12");
    let topic = scene.make(Recipe::topic(ALICE, "not given"));
    let missing = scene.message("missing");
    let id = scene.message("sent");
    scene.withhold(A, &[&missing, &topic]);
    scene.silence(B);
    scene.send(A, &[&id]);
    assert_eq!(scene.status(&id), None);
    scene.peers.withheld.borrow_mut().clear();
    scene.wait_an_hour();
    scene.assert_accepted(&[&topic, &missing, &id]);
    scene.assert_converged();
}

#[test]
fn nobody_gains_power_by_a_state_that_is_told() {
    let scene = Scene::new("12");
    let base = scene.extremities().pop_first().unwrap();
    let usurped = scene.world.build(scene.world.power(BOB, &[(BOB, 100)]).after(&[&base]));
    let usurped = scene.world.remember(usurped);
    let before = as_it_is(&scene);
    let unknown: ruma::OwnedEventId = ruma::EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let topic = scene.world.remember(scene.world.build_after_unknown(Recipe::topic(BOB, "mine"), &unknown));
    let mut state: Vec<_> = before.1.iter().filter(|((kind, _), _)| kind != "m.room.power_levels").map(|(_, id)| id.clone()).collect();
    state.push(usurped.clone());
    scene.lie(B, "state_ids", json!({ "pdu_ids": state, "auth_chain_ids": [] }));
    scene.send(B, &[&topic]);
    assert_eq!(scene.status(&usurped), Some(Status::Rejected));
    assert!(matches!(scene.status(&topic), Some(Status::Rejected | Status::SoftFailed) | None));
    assert_eq!(scene.state(), before.1);
    let id = scene.make(Recipe::message(CAROL, "all is well").after(&[&base]));
    scene.send(A, &[&id]);
    scene.assert_accepted(&[&id]);
}

#[test]
fn who_evades_a_ban_is_not_heard() {
    let scene = Scene::new("12");
    let base = scene.message("base");
    let ban = scene.make(Recipe::member(ALICE, BOB, "ban").after(&[&base]));
    scene.send(A, &[&base, &ban]);
    let (evading, _) = scene.world.try_make(Recipe::message(BOB, "evading").after(&[&base]));
    assert_eq!(scene.send(B, &[&evading])["pdus"][evading.as_str()], json!({}));
    assert_eq!(scene.status(&evading), Some(Status::SoftFailed));
    assert!(!scene.told().contains(&evading));
    scene.assert_converged();
}
