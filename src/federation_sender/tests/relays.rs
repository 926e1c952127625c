//! Relays that keep transactions for a destination, and what it acknowledges.

use serde_json::json;

use super::scene::{Mood, Scene, server_name};

const BOB: &str = "@bob:b.example";

fn state(scene: &Scene, room: &str, event: &str) -> String {
    scene.delivery(room, event)["b.example"].clone()
}

/// Bob's server comes back, gets its mail from the relay and acknowledges it.
fn deliver_mail(scene: &Scene, keep: impl Fn(usize) -> bool) -> Vec<String> {
    let mail = scene.with_inbox("b.example", |inbox| std::mem::take(&mut inbox.mail));
    let mut ids = Vec::new();
    for (number, (id, body)) in mail.into_iter().enumerate() {
        if keep(number) {
            scene.with_inbox("b.example", |inbox| inbox.take(&id, &body));
            ids.push(id);
        }
    }
    ids
}

fn acknowledge(scene: &Scene, from: &str, ids: &[String]) {
    let content = json!({ "transactions": ids });
    let server = std::rc::Rc::clone(&scene.host().server());
    super::super::received::receive(&server, &server_name(from), &content).unwrap();
    scene.network.run();
}

/// Bob's server sends a request, which a mailbox may have kept until now.
fn speak(scene: &Scene, is_there: bool) {
    let server = std::rc::Rc::clone(&scene.host().server());
    server.federation_sender.heard_from(server.now(), &server_name("b.example"), is_there);
    scene.network.run();
}

#[test]
fn an_event_is_queued_then_at_the_relay_then_delivered() {
    let scene = Scene::new(&["b.example", "c.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.member(&room, "@carol:c.example", "join", false);
    scene.set_mood("b.example", Mood::Away);
    let event = scene.say(&room, "hello");
    let states = scene.delivery(&room, &event);
    assert_eq!((states["b.example"].as_str(), states["c.example"].as_str()), ("queued", "delivered"));
    scene.set_mood("b.example", Mood::Kept);
    scene.tens_of_minutes(1);
    assert_eq!(state(&scene, &room, &event), "at_relay");
    let ids = deliver_mail(&scene, |_| true);
    acknowledge(&scene, "b.example", &ids);
    assert_eq!(state(&scene, &room, &event), "delivered");
    let requests = scene.with_inbox("b.example", |inbox| inbox.requests);
    scene.tens_of_minutes(10);
    assert_eq!(scene.with_inbox("b.example", |inbox| inbox.requests), requests, "nothing is left to send");
}

/// A relay hands over what it is given at once, and its own answer takes as long as it likes.
#[test]
fn what_is_acknowledged_before_the_relay_answers_is_delivered() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    scene.network.delay(1_000);
    let event = scene.say(&room, "hello");
    scene.network.advance(500);
    let ids = deliver_mail(&scene, |_| true);
    assert_eq!((ids.len(), state(&scene, &room, &event)), (1, "queued".to_owned()));
    acknowledge(&scene, "b.example", &ids);
    scene.network.advance(1_000);
    assert_eq!(state(&scene, &room, &event), "delivered");
}

#[test]
fn another_server_cannot_acknowledge() {
    let scene = Scene::new(&["b.example", "c.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    let event = scene.say(&room, "hello");
    let ids = deliver_mail(&scene, |_| true);
    acknowledge(&scene, "c.example", &ids);
    assert_eq!(state(&scene, &room, &event), "at_relay");
}

#[test]
fn what_a_relay_keeps_survives_a_restart_as_such() {
    let mut scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    let event = scene.say(&room, "hello");
    scene.network[0].restart();
    scene.network.run();
    assert_eq!(state(&scene, &room, &event), "at_relay");
    let ids = deliver_mail(&scene, |_| true);
    acknowledge(&scene, "b.example", &ids);
    assert_eq!(state(&scene, &room, &event), "delivered");
}

#[test]
fn without_an_acknowledgement_it_is_queued_again_when_the_retention_has_passed() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    let event = scene.say(&room, "hello");
    scene.tens_of_minutes(27 * 24 * 6);
    assert_eq!(state(&scene, &room, &event), "at_relay");
    assert_eq!(scene.with_inbox("b.example", |inbox| inbox.requests), 1);
    scene.set_mood("b.example", Mood::Away);
    scene.tens_of_minutes(2 * 24 * 6);
    assert_eq!(state(&scene, &room, &event), "queued");
    scene.set_mood("b.example", Mood::Well);
    scene.tens_of_minutes(2);
    assert_eq!(state(&scene, &room, &event), "delivered");
    assert_eq!(scene.received("b.example"), ["hello"]);
}

#[test]
fn what_a_relay_has_lost_is_sent_again_once_the_destination_answers() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    let (kept, lost) = (scene.say(&room, "kept"), scene.say(&room, "lost"));
    let ids = deliver_mail(&scene, |number| number == 0);
    scene.set_mood("b.example", Mood::Well);
    let live = scene.say(&room, "live");
    acknowledge(&scene, "b.example", &ids);
    let states = |scene: &Scene| [&kept, &lost, &live].map(|event| state(scene, &room, event));
    assert_eq!(states(&scene), ["delivered", "at_relay", "delivered"]);
    scene.tens_of_minutes(2);
    assert_eq!(states(&scene), ["delivered", "delivered", "delivered"]);
    assert_eq!(scene.received("b.example"), ["kept", "live", "lost"]);
}

#[test]
fn what_a_relay_has_lost_is_sent_again_once_the_destination_acknowledges_other_mail() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    let (lost, kept) = (scene.say(&room, "lost"), scene.say(&room, "kept"));
    let ids = deliver_mail(&scene, |number| number == 1);
    speak(&scene, true);
    acknowledge(&scene, "b.example", &ids);
    scene.set_mood("b.example", Mood::Well);
    assert_eq!([&lost, &kept].map(|event| state(&scene, &room, event)), ["at_relay", "delivered"]);
    scene.tens_of_minutes(2);
    assert_eq!(scene.received("b.example"), ["kept", "lost"]);
    assert_eq!(state(&scene, &room, &lost), "delivered");
}

/// Of two who are never there at the same time, each would send the other everything again.
#[test]
fn what_a_relay_keeps_is_sent_again_for_who_speaks_and_not_for_their_mail() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    speak(&scene, true);
    scene.set_mood("b.example", Mood::Kept);
    let lost = scene.say(&room, "lost");
    scene.set_mood("b.example", Mood::Well);
    speak(&scene, false);
    scene.tens_of_minutes(2);
    assert_eq!((scene.received("b.example").len(), state(&scene, &room, &lost)), (0, "at_relay".to_owned()));
    speak(&scene, true);
    assert_eq!(state(&scene, &room, &lost), "at_relay");
    scene.tens_of_minutes(2);
    assert_eq!(scene.received("b.example"), ["lost"]);
    assert_eq!(state(&scene, &room, &lost), "delivered");
}

#[test]
fn a_destination_that_empties_a_large_mailbox_is_not_sent_it_again() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Kept);
    for number in 0..20 {
        scene.say(&room, &number.to_string());
    }
    let ids = deliver_mail(&scene, |_| true);
    scene.set_mood("b.example", Mood::Well);
    scene.say(&room, "live");
    let requests = scene.with_inbox("b.example", |inbox| inbox.requests);
    for id in &ids {
        scene.network.advance(300_000);
        acknowledge(&scene, "b.example", std::slice::from_ref(id));
    }
    assert_eq!(scene.with_inbox("b.example", |inbox| inbox.requests), requests);
}
