//! The server is killed at every commit, and what was promised is kept.

use super::scene::{Mood, Scene, is_of_notes};
use crate::support::Fault;

const BOB: &str = "@bob:b.example";

/// Bob's server is away for a while and mute for a while; Alice's is killed where the fault says, and begins anew.
fn story(fault: Fault) -> (Scene, u64, Vec<String>) {
    let mut scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    let mut expected = Vec::new();
    scene.host().store.set_fault(Some(fault));
    let mut commits = 0;
    for number in 0..24 {
        match number {
            4 => scene.set_mood("b.example", Mood::Away),
            7 => scene.set_mood("b.example", Mood::Mute),
            10 => scene.set_mood("b.example", Mood::Well),
            _ => {}
        }
        let text = number.to_string();
        expected.push(text.clone());
        let say = |scene: &Scene| {
            let body = serde_json::json!({ "msgtype": "m.text", "body": text });
            let target = crate::support::room_path(&room, &format!("send/m.room.message/{text}"));
            let mut pending = scene.host().begin(crate::http::Method::Put, &target, Some(&scene.alice.token), Some(body));
            scene.network.run();
            pending.answer_if_any().is_some_and(|answer| answer.status == 200)
        };
        let told = say(&scene);
        scene.seconds(20);
        if scene.host().store.is_stopped() {
            commits += scene.host().store.commits();
            scene.network[0].restart();
            scene.network.run();
        }
        if !told {
            assert!(say(&scene), "a client repeats what it got no answer to");
        }
        scene.seconds(20);
    }
    commits += scene.host().store.commits();
    scene.tens_of_minutes(4);
    (scene, commits, expected)
}

fn tell_with_each(fault: fn(u64) -> Fault) {
    let (_, commits, _) = story(fault(u64::MAX));
    assert!(commits > 30, "events and acknowledgements: {commits}");
    for number in 1..=commits {
        // Repeated transactions are compared with what came before as they are received.
        let (scene, _, expected) = story(fault(number));
        assert_eq!(scene.received("b.example"), expected, "{:?}", fault(number));
    }
}

#[test]
fn killed_before_any_commit_everything_is_told_once_and_in_order() {
    tell_with_each(Fault::StopBefore);
}

#[test]
fn killed_after_any_commit_everything_is_told_once_and_in_order() {
    tell_with_each(Fault::StopAfter);
}

#[test]
fn a_commit_that_fails_is_tried_again() {
    tell_with_each(Fault::FailAt);
}

#[test]
fn a_transaction_that_is_answered_at_once_is_written_once() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.say(&room, "before");
    let before = scene.host().store.relaxed_commits();
    (0..10).for_each(|number| drop(scene.say(&room, &number.to_string())));
    assert_eq!((scene.received("b.example").len(), scene.host().store.relaxed_commits() - before), (11, 10));
}

#[test]
fn after_a_restart_a_transaction_is_repeated_as_it_was() {
    let mut scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Mute);
    scene.say(&room, "one");
    scene.say(&room, "two");
    scene.network[0].restart();
    scene.say(&room, "three");
    scene.set_mood("b.example", Mood::Well);
    scene.tens_of_minutes(2);
    assert_eq!(scene.received("b.example"), ["one", "two", "three"]);
    let transactions = scene.with_inbox("b.example", |inbox| inbox.transactions.iter().filter(|(id, _)| !is_of_notes(id)).count());
    assert_eq!(transactions, 2, "the first transaction kept its name and its content, whatever came after it");
}

#[test]
fn a_restart_reads_no_more_of_the_log_than_it_must() {
    let mut scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    for number in 0..1_200 {
        scene.host().send(&scene.alice, &room, &number.to_string());
    }
    scene.network.run();
    scene.network[0].restart();
    scene.host().store.take_work();
    scene.network.run();
    let work = scene.host().store.take_work();
    assert!(work.rows_read < 600, "{work:?}");
    scene.say(&room, "again");
    assert_eq!(scene.received("b.example").len(), 1_201);
}
