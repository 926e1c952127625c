//! Destinations that are away for a while.

use serde_json::json;

use super::scene::{Mood, Scene, server_name};

const BOB: &str = "@bob:b.example";

fn texts(of: std::ops::Range<usize>) -> Vec<String> {
    of.map(|number| number.to_string()).collect()
}

#[test]
fn a_month_away_and_every_event_arrives_once_and_in_order() {
    let mut scene = Scene::new(&["b.example"]);
    let (room, later) = (scene.room(), scene.room());
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Away);
    let mut expected = Vec::new();
    for day in 0..30 {
        for number in 0..20 {
            scene.say(&room, &format!("{day}/{number}"));
            expected.push(format!("{day}/{number}"));
            scene.say(&later, &format!("{day}/{number} elsewhere"));
            if day >= 20 {
                expected.push(format!("{day}/{number} elsewhere"));
            }
        }
        if day == 19 {
            // It was away and joined nevertheless: by another server of the room, as it looked from there.
            scene.member(&later, BOB, "join", true);
        }
        scene.tens_of_minutes(24 * 6);
        if day % 10 == 5 {
            scene.network[0].restart();
        }
    }
    let attempts = scene.with_inbox("b.example", |inbox| inbox.requests);
    assert!((500..3_100).contains(&attempts), "four attempts an hour at most, and never none: {attempts}");
    scene.set_mood("b.example", Mood::Well);
    scene.tens_of_minutes(2);
    assert_eq!(scene.received("b.example"), expected);
    let transactions = scene.with_inbox("b.example", |inbox| inbox.transactions.len());
    assert!(transactions <= 1 + expected.len() / 50 + 2, "in large transactions: {transactions}");
}

#[test]
fn a_destination_that_is_away_costs_nothing_for_an_event() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Away);
    scene.say(&room, "lost");
    let before = scene.host().store.relaxed_commits();
    for number in 0..300 {
        scene.say(&room, &number.to_string());
    }
    assert_eq!(scene.host().store.relaxed_commits(), before);
}

#[test]
fn a_sign_of_life_or_of_the_network_ends_the_wait() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    for (number, sign) in [0, 1].into_iter().enumerate() {
        scene.set_mood("b.example", Mood::Away);
        scene.say(&room, &number.to_string());
        scene.tens_of_minutes(30);
        scene.set_mood("b.example", Mood::Well);
        scene.seconds(1);
        assert_eq!(scene.received("b.example"), texts(0..number), "it waits");
        match sign {
            0 => {
                scene.host().server().federation_sender.heard_from(scene.host().server().ports.clock.now(), &server_name("b.example"), true)
            }
            _ => scene.host().server().federation_sender.network_is_back(),
        }
        scene.network.run();
        assert_eq!(scene.received("b.example"), texts(0..number + 1));
    }
}

#[test]
fn one_transaction_is_under_way_at_a_time_and_the_rest_follows_together() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.network.delay(1_000);
    for number in 0..120 {
        scene.host().send(&scene.alice, &room, &number.to_string());
    }
    scene.seconds(20);
    assert_eq!(scene.received("b.example"), texts(0..120));
    let sizes = scene.with_inbox("b.example", |inbox| {
        let size = |(_, body): &(String, serde_json::Value)| body["pdus"].as_array().unwrap().len();
        inbox.transactions.iter().map(size).collect::<Vec<_>>()
    });
    assert_eq!(sizes, [1, 50, 50, 19]);
}

#[test]
fn others_do_not_wait_for_those_that_hang() {
    let dead: Vec<String> = (0..40).map(|number| format!("d{number}.example")).collect();
    let names: Vec<&str> = dead.iter().map(String::as_str).chain(["z.example"]).collect();
    let scene = Scene::new(&names);
    let room = scene.room();
    for name in &names {
        scene.member(&room, &format!("@user:{name}"), "join", false);
    }
    for name in &dead {
        scene.set_mood(name, Mood::Away);
    }
    scene.say(&room, "first");
    scene.network.delay(50_000);
    scene.seconds(100);
    scene.network.delay(0);
    for number in 0..10 {
        scene.network.delay(0);
        scene.say(&room, &number.to_string());
    }
    assert_eq!(scene.received("z.example").last().map(String::as_str), Some("9"));
}

#[test]
fn what_a_receipt_said_meanwhile_is_told_once() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Away);
    let events: Vec<_> = (0..10).map(|number| scene.say(&room, &number.to_string())).collect();
    for event in &events {
        scene.post(&room, &format!("receipt/m.read/{event}"), json!({}));
    }
    scene.set_mood("b.example", Mood::Well);
    scene.tens_of_minutes(2);
    assert_eq!(scene.received("b.example"), texts(0..10));
    let edus = scene.edus("b.example");
    assert_eq!(edus.len(), 1, "the latest takes the place of older ones: {edus:?}");
    assert_eq!(edus[0]["content"][&room]["m.read"][&scene.alice.id]["event_ids"], json!([events[9]]));
}

#[test]
fn a_backlog_of_presence_is_thinned() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.say(&room, "before");
    let presence = || scene.edus("b.example").iter().filter(|edu| edu["edu_type"] == "m.presence").count();
    let say = |message: String| {
        let target = format!("/_matrix/client/v3/presence/{}/status", scene.alice.id);
        scene.host().put(&scene.alice, &target, json!({ "presence": "unavailable", "status_msg": message })).ok();
        scene.network.run();
    };
    scene.set_mood("b.example", Mood::Away);
    let before = presence();
    (0..30).for_each(|number| say(number.to_string()));
    scene.set_mood("b.example", Mood::Well);
    scene.host().server().federation_sender.network_is_back();
    scene.network.run();
    assert_eq!(presence(), before + 1, "only the last is told");
    scene.set_mood("b.example", Mood::Away);
    say("gone".into());
    scene.tens_of_minutes(3);
    scene.set_mood("b.example", Mood::Well);
    scene.tens_of_minutes(3);
    assert!(!scene.edus("b.example").iter().any(|edu| edu.to_string().contains("gone")), "and nothing that is old");
}

#[test]
fn a_server_that_answers_again_is_shown_what_others_sent_meanwhile() {
    let scene = Scene::new(&["b.example", "c.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.say(&room, "before");
    assert!(scene.shown("b.example").is_empty());
    scene.set_mood("b.example", Mood::Away);
    scene.say(&room, "lost");
    scene.member(&room, "@carol:c.example", "join", false);
    scene.set_mood("b.example", Mood::Well);
    scene.tens_of_minutes(1);
    assert_eq!(scene.received("b.example"), ["before", "lost"], "it is not for this server to send the rest");
    assert_eq!(scene.shown("b.example"), ["@carol:c.example join"]);
}

/// Servers that answer every transaction, and each shortly before its time is up, use up places for a while and nobody's turn.
#[test]
fn slow_servers_do_not_hold_up_the_others() {
    let slow: Vec<String> = (0..16).map(|number| format!("a{number:02}.slow.example")).collect();
    let names: Vec<&str> = slow.iter().map(String::as_str).chain(["b.example", "c.example"]).collect();
    let scene = Scene::new(&names);
    let room = scene.room();
    for name in &names {
        scene.member(&room, &format!("@u:{name}"), "join", false);
    }
    slow.iter().for_each(|name| scene.set_mood(name, Mood::Slow(55_000)));
    // Always something is due for all of them.
    (0..5).for_each(|number| drop(scene.say(&room, &number.to_string())));
    scene.seconds(60);
    for number in 5..12 {
        scene.say(&room, &number.to_string());
        let told: Vec<_> = (0..=number).map(|number| number.to_string()).collect();
        for name in ["b.example", "c.example"] {
            assert_eq!(scene.received(name)[..], told, "{name} is told at once");
        }
        scene.seconds(10);
    }
    let expected: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    scene.seconds(300);
    slow.iter().for_each(|name| assert_eq!(scene.received(name)[..], expected, "{name} gets its turns"));
}
