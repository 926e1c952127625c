//! Who gets what.

use serde_json::json;

use super::scene::Scene;

const BOB: &str = "@bob:b.example";
const CAROL: &str = "@carol:c.example";

#[test]
fn events_go_to_the_servers_in_the_room_and_to_no_other() {
    let scene = Scene::new(&["b.example", "c.example"]);
    let (room, other) = (scene.room(), scene.room());
    scene.say(&room, "before");
    scene.member(&room, BOB, "join", true);
    scene.member(&other, CAROL, "join", true);
    scene.say(&room, "to bob");
    scene.say(&other, "to carol");
    assert_eq!(scene.received("b.example"), ["to bob"]);
    assert_eq!(scene.received("c.example"), ["to carol"]);
}

#[test]
fn a_server_gets_events_from_its_join_to_its_departure() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    for round in 0..2 {
        scene.say(&room, &format!("without {round}"));
        scene.member(&room, BOB, "join", true);
        scene.say(&room, &format!("with {round}"));
        scene.member(&room, BOB, "leave", true);
        scene.say(&room, &format!("again without {round}"));
    }
    let expected = ["with 0", "@bob:b.example leave", "with 1"];
    assert_eq!(scene.received("b.example"), expected);
}

#[test]
fn a_kick_and_a_ban_still_reach_the_server_of_the_last_member() {
    let scene = Scene::new(&["b.example", "c.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.member(&room, CAROL, "join", true);
    scene.post(&room, "kick", json!({ "user_id": BOB }));
    scene.post(&room, "ban", json!({ "user_id": CAROL }));
    scene.say(&room, "alone");
    assert_eq!(scene.received("b.example"), ["@carol:c.example join", "@bob:b.example leave"]);
    assert_eq!(scene.received("c.example"), ["@bob:b.example leave", "@carol:c.example ban"]);
}

#[test]
fn a_ban_reaches_a_server_that_is_not_in_the_room() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.post(&room, "ban", json!({ "user_id": BOB }));
    assert_eq!(scene.received("b.example"), ["@bob:b.example ban"]);
}

#[test]
fn what_others_sent_is_passed_on_only_where_it_was_handed_in_here() {
    let scene = Scene::new(&["b.example", "c.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.member(&room, CAROL, "join", false);
    scene.member(&room, CAROL, "leave", true);
    assert_eq!(scene.received("b.example"), ["@carol:c.example leave"]);
}

#[test]
fn a_second_user_of_a_server_keeps_it_in_the_room() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.member(&room, "@dave:b.example", "join", true);
    scene.member(&room, BOB, "leave", true);
    scene.say(&room, "to dave");
    assert_eq!(scene.received("b.example"), ["@dave:b.example join", "@bob:b.example leave", "to dave"]);
}

#[test]
fn receipts_go_out_and_private_ones_do_not() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    let (first, second) = (scene.say(&room, "one"), scene.say(&room, "two"));
    scene.post(&room, &format!("receipt/m.read.private/{second}"), json!({}));
    scene.post(&room, &format!("receipt/m.read/{first}"), json!({}));
    let edus = scene.edus("b.example");
    assert_eq!(edus.len(), 1, "{edus:?}");
    assert_eq!(edus[0]["edu_type"], "m.receipt");
    let read = &edus[0]["content"][&room]["m.read"][&scene.alice.id];
    assert_eq!(read["event_ids"], json!([first]));
    assert!(read["data"]["ts"].is_u64());
}

#[test]
fn nothing_is_written_for_an_event_that_nobody_else_is_told_of() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    let before = scene.host().store.relaxed_commits();
    for number in 0..20 {
        scene.say(&room, &number.to_string());
    }
    assert_eq!(scene.host().store.relaxed_commits(), before);
}
