//! Typing and receipts of other servers' users.

use serde_json::{Value, json};

use super::scene::{A, B, Scene};
use crate::{
    room_server::tests::world::{ALICE, BOB, Recipe},
    support::User,
};

fn typing(scene: &Scene) -> Vec<String> {
    let users = scene.server().typing.borrow().changed_since(scene.room().number, 0);
    users.unwrap_or_default().into_iter().map(Into::into).collect()
}

fn typing_edu(scene: &Scene, user: &str, typing: bool) -> Value {
    json!({ "room_id": scene.room().id, "user_id": user, "typing": typing })
}

#[test]
fn users_type_for_their_own_server_and_for_a_while() {
    let scene = Scene::new("12");
    scene.send_edu(A, "m.typing", typing_edu(&scene, ALICE, true), 0);
    assert_eq!(typing(&scene), [ALICE]);
    scene.send_edu(B, "m.typing", typing_edu(&scene, ALICE, false), 0);
    scene.send_edu(A, "m.typing", typing_edu(&scene, BOB, true), 0);
    scene.send_edu(A, "m.typing", typing_edu(&scene, "@nobody:a.example", true), 0);
    assert_eq!(typing(&scene), [ALICE], "servers speak for their own users, and of those in the room");
    scene.network.advance(60_000);
    scene.server().typing.borrow_mut().expire(scene.now());
    assert_eq!(typing(&scene), [""; 0]);
}

#[test]
fn what_was_typed_a_minute_ago_is_no_news() {
    let scene = Scene::new("12");
    scene.send_edu(A, "m.typing", typing_edu(&scene, ALICE, true), 60_001);
    assert_eq!(typing(&scene), [""; 0]);
}

#[test]
fn a_server_that_is_shut_out_says_nothing() {
    let scene = Scene::new("12");
    let acl = scene.make(Recipe::state(ALICE, "m.room.server_acl", "", json!({ "allow": ["*"], "deny": [B] })));
    scene.send(A, &[&acl]);
    scene.send_edu(B, "m.typing", typing_edu(&scene, BOB, true), 0);
    scene.send_edu(B, "m.receipt", receipt(&scene, BOB, &[acl.as_str()]), 0);
    assert_eq!(typing(&scene), [""; 0]);
    assert_eq!(receipts(&scene), json!({}));
    let message = scene.make(Recipe::message(BOB, "x"));
    assert!(scene.send(B, &[&message])["pdus"][message.as_str()]["error"].is_string());
    assert_eq!((scene.status(&message), scene.waiting()), (None, 0));
    scene.send(A, &[&message]);
    scene.assert_accepted(&[&message]);
}

fn receipt(scene: &Scene, user: &str, events: &[&str]) -> Value {
    receipt_at(scene, user, events, 1234)
}

fn receipt_at(scene: &Scene, user: &str, events: &[&str], ts: u64) -> Value {
    json!({ scene.room().id.as_str(): { "m.read": { user: { "event_ids": events, "data": { "ts": ts } } } } })
}

fn receipts(scene: &Scene) -> Value {
    let (server, room) = (scene.server(), scene.room());
    let reader = ruma::UserId::parse("@carol:c.example").unwrap();
    scene
        .host()
        .block_on(async { crate::receipts::changed_since(&server, &room, Default::default(), server.log.end(), &reader).await.unwrap() })
}

#[test]
fn receipts_move_forward_and_are_of_their_senders() {
    let scene = Scene::new("12");
    let (first, second) = (scene.message("first"), scene.message("second"));
    scene.send(A, &[&first, &second]);
    scene.send_edu(B, "m.receipt", receipt(&scene, BOB, &[second.as_str()]), 40 * 24 * 60 * 60 * 1000);
    let read = json!({ second.as_str(): { "m.read": { BOB: { "ts": 1234 } } } });
    assert_eq!(receipts(&scene), read);
    scene.send_edu(B, "m.receipt", receipt(&scene, BOB, &[first.as_str()]), 0);
    scene.send_edu(B, "m.receipt", receipt(&scene, ALICE, &[second.as_str()]), 0);
    scene.send_edu(B, "m.receipt", receipt(&scene, BOB, &["$unknown"]), 0);
    scene.send_edu(B, "m.receipt", json!({ "!x:y": 5 }), 0);
    assert_eq!(receipts(&scene), read);
}

#[test]
fn a_receipt_of_an_event_that_is_still_to_come_is_compared_by_its_time() {
    let scene = Scene::new("12");
    let known = scene.message("known");
    scene.send(A, &[&known]);
    let (read, now) = (|event: &str, ts| json!({ event: { "m.read": { BOB: { "ts": ts } } } }), scene.now());
    for (event, ts, told) in [
        (known.as_str(), 1234, read(known.as_str(), 1234)),
        ("$unknown", 1235, read("$unknown", 1235)),
        (known.as_str(), 1234, read("$unknown", 1235)),
        // A clock that is ahead does not keep later ones out.
        ("$other", now + 1_000_000, read("$other", now)),
        (known.as_str(), now + 1, read(known.as_str(), now)),
    ] {
        scene.send_edu(B, "m.receipt", receipt_at(&scene, BOB, &[event], ts), 0);
        assert_eq!(receipts(&scene), told);
    }
}

/// What a sync of a local user says since a token; of all if there is none.
fn sync(scene: &Scene, carol: &User, since: Option<&str>) -> Value {
    scene.host().sync(carol, since)
}

#[test]
fn messages_to_devices_come_once_and_never_expire() {
    let mut scene = Scene::new("12");
    let carol = scene.host().register("carol");
    let content = json!({
        "sender": ALICE, "type": "m.test", "message_id": "once",
        "messages": { carol.id.as_str(): { carol.device.as_str(): { "a": 1 } } }
    });
    let month = 30 * 24 * 60 * 60 * 1000;
    scene.send_edu(A, "m.direct_to_device", content.clone(), month);
    scene.send_edu(A, "m.direct_to_device", content.clone(), 0);
    scene.send_edu(
        B,
        "m.direct_to_device",
        json!({ "sender": ALICE, "type": "m.forged", "message_id": "x", "messages": content["messages"] }),
        0,
    );
    scene.restart();
    scene.send_edu(A, "m.direct_to_device", content, 0);
    assert_eq!(sync(&scene, &carol, None)["to_device"]["events"], json!([{ "type": "m.test", "sender": ALICE, "content": { "a": 1 } }]));
}

#[test]
fn changes_of_devices_are_told() {
    let scene = Scene::new("12");
    let carol = scene.host().register("carol");
    let since = sync(&scene, &carol, None)["next_batch"].as_str().unwrap().to_owned();
    let update = |user: &str| json!({ "user_id": user, "device_id": "D", "stream_id": 7, "prev_id": [6] });
    scene.send_edu(A, "m.device_list_update", update(BOB), 0);
    assert_eq!(sync(&scene, &carol, Some(&since))["device_lists"]["changed"], json!([]));
    scene.send_edu(A, "m.device_list_update", update(ALICE), 0);
    assert_eq!(sync(&scene, &carol, Some(&since))["device_lists"]["changed"], json!([ALICE]));
}

#[test]
fn presence_is_worth_nothing_after_a_while() {
    let scene = Scene::new("12");
    let carol = scene.host().register("carol");
    let presence = |user: &str| json!({ "push": [{ "user_id": user, "presence": "online", "last_active_ago": 5 }] });
    scene.send_edu(A, "m.presence", presence(ALICE), 600_001);
    scene.send_edu(A, "m.presence", presence(BOB), 0);
    let online = |user: &str| scene.host().get(&carol, &format!("/_matrix/client/v3/presence/{user}/status")).body["presence"] == "online";
    assert!(!online(ALICE) && !online(BOB));
    scene.send_edu(A, "m.presence", presence(ALICE), 599_999);
    assert!(online(ALICE));
}
