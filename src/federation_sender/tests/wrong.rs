//! Destinations that will not take something.

use super::scene::{Mood, Scene};

const BOB: &str = "@bob:b.example";

#[test]
fn a_poisonous_event_is_found_reported_and_passed_by() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Away);
    let events: Vec<_> =
        (0..120).map(|number| scene.say(&room, &if number == 77 { "poison".into() } else { number.to_string() })).collect();
    scene.set_mood("b.example", Mood::Choosy("poison"));
    scene.tens_of_minutes(2);
    let expected: Vec<_> = (0..120).filter(|number| *number != 77).map(|number| number.to_string()).collect();
    assert_eq!(scene.received("b.example"), expected);
    let requests = scene.with_inbox("b.example", |inbox| inbox.requests);
    assert!(requests < 40, "halves are tried, not each by itself: {requests}");
    let target = format!("/_inglenook/rooms/{}/delivery?event_id={}", crate::support::encode(&room), crate::support::encode(&events[77]));
    let answer = scene.host().get(&scene.alice, &target).ok().body;
    assert_eq!(answer["events"][&events[77]]["destinations"]["b.example"]["reason"], "400 M_UNKNOWN: No.");
    assert_eq!(scene.delivery(&room, &events[78])["b.example"], "delivered");
}

#[test]
fn an_event_that_is_refused_by_itself_is_reported_and_not_sent_again() {
    let scene = Scene::new(&["b.example"]);
    let room = scene.room();
    scene.member(&room, BOB, "join", true);
    scene.set_mood("b.example", Mood::Away);
    let events = ["one", "poison", "two"].map(|text| scene.say(&room, text));
    scene.set_mood("b.example", Mood::Picky("poison"));
    scene.tens_of_minutes(2);
    let target = |event: &str| {
        let (room, event) = (crate::support::encode(&room), crate::support::encode(event));
        format!("/_inglenook/rooms/{room}/delivery?event_id={event}")
    };
    let reason = |event: &str| {
        let answer = scene.host().get(&scene.alice, &target(event)).ok().body;
        answer["events"][event]["destinations"]["b.example"]["reason"].as_str().map(str::to_owned)
    };
    assert_eq!(events.each_ref().map(|event| reason(event)), [None, Some("Not this.".into()), None]);
    assert_eq!(events.each_ref().map(|event| scene.delivery(&room, event)["b.example"].clone()), ["delivered"; 3].map(String::from));
    let requests = scene.with_inbox("b.example", |inbox| inbox.requests);
    scene.say(&room, "three");
    scene.tens_of_minutes(2);
    assert_eq!(scene.with_inbox("b.example", |inbox| inbox.requests), requests + 1);
    assert_eq!(scene.received("b.example"), ["one", "poison", "two", "three"]);
}

#[test]
fn what_passes_is_tried_again_as_it_was() {
    for status in [401, 404, 408, 429, 500, 502, 503] {
        let scene = Scene::new(&["b.example"]);
        let room = scene.room();
        scene.member(&room, BOB, "join", true);
        scene.set_mood("b.example", Mood::Ill(status));
        let event = scene.say(&room, "one");
        scene.say(&room, "two");
        scene.seconds(30);
        assert_eq!(scene.delivery(&room, &event)["b.example"], "queued", "{status}");
        assert!(scene.with_inbox("b.example", |inbox| inbox.requests) > 2);
        scene.set_mood("b.example", Mood::Well);
        scene.tens_of_minutes(1);
        assert_eq!(scene.received("b.example"), ["one", "two"], "{status}");
        assert_eq!(scene.delivery(&room, &event)["b.example"], "delivered");
    }
}
