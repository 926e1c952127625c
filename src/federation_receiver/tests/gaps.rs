//! Whatever the order of arrival, and whatever is lost, the room comes out the same.

use serde_json::json;

use super::scene::{A, B, C, Scene, json_of};
use crate::{
    room_server::{
        stored::Status,
        tests::world::{ALICE, BOB, CAROL, DAVE, Recipe},
    },
    support::{Fault, network::Treatment},
};

#[test]
fn events_in_order_are_taken_in_with_no_question_and_one_commit() {
    let scene = Scene::new("12");
    let ids: Vec<_> = (0..50).map(|serial| scene.message(&serial.to_string())).collect();
    scene.network.carried();
    let commits = scene.host().store.commits();
    let answer = scene.send(A, &ids.iter().collect::<Vec<_>>());
    assert_eq!(answer["pdus"].as_object().unwrap().len(), 50);
    assert!(answer["pdus"].as_object().unwrap().values().all(|result| *result == json!({})));
    scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
    scene.assert_converged();
    assert_eq!(scene.asked("federation"), 0);
    assert!(scene.host().store.commits() - commits <= 2, "events, and that the transaction was received");
}

#[test]
fn the_order_within_a_transaction_does_not_matter() {
    for version in ["1", "6", "12"] {
        let scene = Scene::new(version);
        let ids: Vec<_> = (0..10).map(|serial| scene.message(&serial.to_string())).collect();
        scene.network.carried();
        scene.send(A, &ids.iter().rev().collect::<Vec<_>>());
        scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
        scene.assert_converged();
        assert_eq!((scene.asked("get_missing"), scene.waiting()), (0, 0));
        assert_eq!(scene.told()[scene.told().len() - 10..], ids);
    }
}

#[test]
fn missing_events_are_fetched_in_rounds_and_told_in_order() {
    for version in ["1", "6", "12"] {
        let scene = Scene::new(version);
        let ids: Vec<_> = (0..100).map(|serial| scene.message(&serial.to_string())).collect();
        let answer = scene.send(A, &[&ids[99]]);
        assert_eq!(answer["pdus"][ids[99].as_str()], json!({}));
        scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
        scene.assert_converged();
        assert_eq!(scene.told()[scene.told().len() - 100..], ids);
        assert_eq!((scene.asked("get_missing"), scene.asked("state_ids"), scene.waiting()), (5, 0, 0));
    }
}

#[test]
fn a_gap_that_is_too_wide_is_bridged_by_the_state_that_is_told() {
    for version in ["1", "6", "12"] {
        let scene = Scene::new(version);
        scene.peers.batch.set(2);
        let topic = scene.make(Recipe::topic(ALICE, "before the gap"));
        let ids: Vec<_> = (0..60).map(|serial| scene.message(&serial.to_string())).collect();
        scene.send(A, &[&ids[59]]);
        assert_eq!(scene.status(&ids[59]), Some(Status::Accepted));
        assert_eq!(scene.status(&ids[0]), None);
        assert_eq!(scene.state(), scene.world.workshop.current());
        assert_eq!(scene.status(&topic), Some(Status::Outlier));
        assert_eq!(scene.waiting(), 0);
        let next = scene.message("after it");
        scene.send(A, &[&next]);
        scene.assert_accepted(&[&next]);
    }
}

/// What is before events that are here already is no forward extremity when it comes, and is told all the same.
#[test]
fn a_late_ancestor_is_no_extremity() {
    let scene = Scene::new("12");
    let ids: Vec<_> = (0..6).map(|serial| scene.message(&serial.to_string())).collect();
    scene.withhold(A, &[&ids[3]]);
    scene.withhold(B, &[&ids[3]]);
    scene.send(A, &[&ids[5]]);
    scene.assert_accepted(&[&ids[4], &ids[5]]);
    assert_eq!(scene.status(&ids[3]), None);
    for id in &ids[..4] {
        scene.send(A, &[id]);
    }
    scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
    scene.assert_converged();
    assert!(ids.iter().all(|id| scene.told().contains(id)));
}

#[test]
fn events_wait_for_as_long_as_nobody_has_what_is_before_them() {
    let mut scene = Scene::new("12");
    let ids: Vec<_> = (0..5).map(|serial| scene.message(&serial.to_string())).collect();
    scene.silence(A);
    scene.silence(B);
    assert_eq!(scene.send(A, &[&ids[4]])["pdus"][ids[4].as_str()], json!({}), "kept is as good as placed");
    assert_eq!((scene.status(&ids[4]), scene.waiting()), (None, 1));
    scene.network.carried();
    for _ in 0..24 {
        scene.wait_an_hour();
    }
    assert!(scene.asked("federation") <= 24 * 4, "an attempt each hour");
    scene.restart();
    assert_eq!(scene.status(&ids[4]), None);
    scene.peers.silent.borrow_mut().clear();
    scene.wait_an_hour();
    scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
    scene.assert_converged();
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn a_server_that_is_heard_from_again_is_asked_at_once() {
    let scene = Scene::new("12");
    let ids: Vec<_> = (0..3).map(|serial| scene.message(&serial.to_string())).collect();
    scene.silence(A);
    scene.silence(B);
    scene.send(A, &[&ids[2]]);
    (0..12).for_each(|_| scene.wait_an_hour());
    assert_eq!(scene.status(&ids[2]), None);
    scene.peers.silent.borrow_mut().clear();
    scene.network.advance(20_000);
    assert_eq!(scene.status(&ids[2]), None, "it is not due for an hour");
    scene.send_edu(A, "m.typing", json!({}), 0);
    scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
}

#[test]
fn what_one_server_does_not_have_another_gives() {
    let scene = Scene::new("12");
    let ids: Vec<_> = (0..5).map(|serial| scene.message(&serial.to_string())).collect();
    scene.withhold(A, &[&ids[0], &ids[1], &ids[2], &ids[3]]);
    scene.send(A, &[&ids[4]]);
    scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
    scene.assert_converged();
}

#[test]
fn an_event_arrives_at_last_by_any_server() {
    let scene = Scene::new("12");
    let ids: Vec<_> = (0..3).map(|serial| scene.message(&serial.to_string())).collect();
    for server in [A, B] {
        scene.silence(server);
    }
    scene.send(A, &[&ids[2]]);
    scene.send(A, &[&ids[1]]);
    assert_eq!(scene.waiting(), 2);
    scene.send(B, &[&ids[0]]);
    scene.network.advance(60_000);
    scene.assert_accepted(&ids.iter().collect::<Vec<_>>());
    scene.assert_converged();
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn missing_authorising_events_are_fetched() {
    for version in ["1", "12"] {
        let scene = Scene::new(version);
        let base = scene.world.workshop.extremities().pop_first().unwrap();
        let join = scene.make(Recipe::member(DAVE, DAVE, "join").after(&[&base]));
        let rename =
            scene.make(Recipe::state(DAVE, "m.room.member", DAVE, json!({ "membership": "join", "displayname": "D" })).after(&[&join]));
        // Builds on what is known, and is authorised by what is not.
        let forked = scene.world.build(Recipe::message(DAVE, "x").after(&[&base]).authorised_as_after(&rename));
        let (id, _) = (scene.world.remember(forked), ());
        scene.send(B, &[&id]);
        assert_eq!(scene.status(&rename), Some(Status::Outlier));
        assert_eq!(scene.status(&join), Some(Status::Outlier));
        assert_eq!(scene.status(&id), Some(Status::Rejected), "Dave had not joined there");
        scene.send(B, &[&join, &rename]);
        scene.assert_accepted(&[&join, &rename]);
        scene.assert_converged();
    }
}

#[test]
fn a_room_does_not_wait_for_another() {
    let scene = Scene::new("12");
    let ids: Vec<_> = (0..3).map(|serial| scene.message(&serial.to_string())).collect();
    scene.silence(A);
    scene.silence(B);
    scene.send(A, &[&ids[2]]);
    let other = scene.make(Recipe::message(BOB, "from elsewhere").after(&[&scene.extremities().pop_first().unwrap()]));
    scene.send(B, &[&other]);
    scene.assert_accepted(&[&other]);
    assert_eq!(scene.waiting(), 1);
}

#[test]
fn a_transaction_that_comes_again_changes_nothing() {
    let mut scene = Scene::new("12");
    let id = scene.message("once");
    let body = json!({ "pdus": [json_of(&scene.world.event(&id))], "origin_server_ts": 1 });
    let first = scene.send_as(A, "same", body.clone());
    let told = scene.told();
    assert_eq!(scene.send_as(A, "same", body.clone()), first);
    scene.restart();
    assert_eq!(scene.send_as(A, "same", body.clone()), first);
    scene.send_as(B, "same", body.clone());
    scene.send_as(A, "another", body);
    assert_eq!(scene.told(), told);
    scene.assert_converged();
}

#[test]
fn transactions_have_limits() {
    let scene = Scene::new("12");
    let id = scene.message("x");
    let pdu = json_of(&scene.world.event(&id));
    let edu = json!({ "edu_type": "m.unknown", "content": {} });
    assert_eq!(scene.send_as(A, "a", json!({ "pdus": vec![pdu.clone(); 51] })).0, 400);
    assert_eq!(scene.send_as(A, "b", json!({ "pdus": [], "edus": vec![edu.clone(); 101] })).0, 400);
    assert_eq!(scene.status(&id), None);
    assert_eq!(scene.send_as(A, "c", json!({ "pdus": vec![pdu; 50], "edus": vec![edu; 100] })).0, 200);
    scene.assert_accepted(&[&id]);
}

#[test]
fn a_crash_at_any_commit_loses_nothing() {
    for fault in [Fault::StopBefore, Fault::StopAfter, Fault::FailAt] {
        for commit in 1..12 {
            let mut scene = Scene::new("12");
            scene.peers.batch.set(3);
            let ids: Vec<_> = (0..70).map(|serial| scene.message(&serial.to_string())).collect();
            scene.send(A, &[&ids[0]]);
            let body = json!({ "pdus": [json_of(&scene.world.event(&ids[69]))] });
            scene.host().store.set_fault(Some(fault(commit)));
            let answered = scene.try_send_as(A, "t", body.clone());
            scene.restart();
            if answered != Some(200) {
                assert_eq!(scene.send_as(A, "t", body).0, 200);
            }
            scene.wait_an_hour();
            scene.assert_accepted(&[&ids[69]]);
            assert_eq!(scene.state(), scene.world.workshop.current());
            assert_eq!(scene.waiting(), 0);
        }
    }
}

#[test]
fn a_fork_that_was_missed_is_merged() {
    for version in ["1", "6", "12"] {
        let scene = Scene::new(version);
        scene.make(scene.world.power(ALICE, &[(BOB, 50), (CAROL, 50)]));
        let base = scene.message("base");
        let left = scene.make(Recipe::topic(ALICE, "left").after(&[&base]));
        let left = scene.make(Recipe::message(ALICE, "on it").after(&[&left]));
        let right = scene.make(Recipe::topic(BOB, "right").after(&[&base]));
        let merge = scene.make(Recipe::message(BOB, "merge").after(&[&left, &right]));
        scene.send(B, &[&merge]);
        scene.assert_accepted(&[&base, &left, &right, &merge]);
        scene.assert_converged();
    }
}

#[test]
fn who_is_not_in_the_room_any_more_is_told_so() {
    let scene = Scene::new("12");
    let leave = scene.make(Recipe::member(CAROL, CAROL, "leave"));
    scene.send(A, &[&leave]);
    let id = scene.message("after Carol has left");
    let answer = scene.send(A, &[&id]);
    assert!(answer["pdus"][id.as_str()]["error"].is_string());
    assert_eq!((scene.status(&id), scene.waiting()), (None, 0));
    assert_eq!(scene.host().name(), C);
}

/// What was said before the server came is for those to ask for who page back: it is not news.
#[test]
fn the_time_before_the_server_came_is_not_told_as_new() {
    for version in ["1", "12"] {
        let scene = Scene::entered(version);
        let known = scene.told();
        let join = known.last().unwrap().clone();
        let before = scene.world.event(&join).pdu().prev_events[0].clone();
        let (fork, late) = (
            scene.make(Recipe::message(BOB, "sent as Carol came").after(&[&before])),
            scene.make(Recipe::message(ALICE, "after it").after(&[&join])),
        );
        scene.send(B, &[&fork]);
        scene.send(A, &[&late]);
        scene.assert_accepted(&[&fork, &late]);
        assert_eq!(scene.status(&before), None);
        assert_eq!(scene.told().len(), known.len() + 2);
        scene.assert_converged();
        scene.send(A, &[&before]);
        scene.assert_converged();
    }
}

/// Others know of a join before the server that asked for it, whose answer is still on its way.
#[test]
fn what_is_sent_while_the_server_enters_waits_for_that() {
    let scene = Scene::about_to_enter("12");
    let server = scene.server();
    let entering = scene.host().block_on(server.federation.entering(&scene.world.workshop.room.id));
    let ready = scene.message("sent as soon as Carol is in the room");
    let answer = scene.send(A, &[&ready]);
    assert_eq!(answer["pdus"][ready.as_str()], json!({}), "its sender need not wait for that, whatever else it has to say");
    assert_eq!(scene.waiting(), 1);
    scene.send_edu(A, "m.typing", json!({}), 0);
    scene.enter();
    drop(entering);
    scene.network.run();
    scene.assert_accepted(&[&ready]);
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn what_waits_for_the_server_to_enter_outlasts_a_restart() {
    let mut scene = Scene::about_to_enter("12");
    let server = scene.server();
    let entering = scene.host().block_on(server.federation.entering(&scene.world.workshop.room.id));
    let ready = scene.message("sent as soon as Carol is in the room");
    scene.send(A, &[&ready]);
    scene.host().kill();
    drop((entering, server));
    scene.network[0].restart();
    assert_eq!(scene.waiting(), 1);
    scene.enter();
    scene.network.run();
    scene.wait_an_hour();
    scene.assert_accepted(&[&ready]);
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn what_waits_for_a_join_that_fails_is_given_up() {
    let scene = Scene::about_to_enter("12");
    let server = scene.server();
    let entering = scene.host().block_on(server.federation.entering(&scene.world.workshop.room.id));
    let ready = scene.message("sent as soon as Carol is in the room");
    scene.send(A, &[&ready]);
    assert_eq!(scene.waiting(), 1);
    drop(entering);
    scene.network.run();
    assert_eq!(scene.waiting(), 0);
    assert!(scene.send(A, &[&ready])["pdus"][ready.as_str()]["error"].is_string());
}

#[test]
fn more_than_may_wait_while_the_server_enters_is_to_come_again() {
    let scene = Scene::about_to_enter("12");
    let server = scene.server();
    let entering = scene.host().block_on(server.federation.entering(&scene.world.workshop.room.id));
    let unknown: ruma::OwnedEventId = ruma::EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let flood: Vec<_> = (0..30).map(|_| json_of(&scene.world.build_after_unknown(Recipe::message(ALICE, "flood"), &unknown))).collect();
    assert_eq!(scene.send_as(A, "t", json!({ "pdus": flood })).0, 429);
    drop(entering);
}

/// Nobody's slow answers hold a place among the gaps that are being closed for long.
#[test]
fn an_attempt_to_close_a_gap_ends_in_time() {
    let scene = Scene::new("12");
    scene.peers.batch.set(1);
    let ids: Vec<_> = (0..100).map(|serial| scene.message(&serial.to_string())).collect();
    scene.network.carried();
    scene.network.treat(|_| Treatment::Late(49_000, Box::new(Treatment::Carry)));
    scene.send(A, &[&ids[99]]);
    let gap = (scene.room().id.clone(), ruma::ServerName::parse(A).unwrap());
    let server = scene.server();
    let ends_after = (0..100_u64).find(|_| {
        scene.network.advance(10_000);
        server.receiver.schedule.borrow().has_failed(&gap)
    });
    assert_eq!(ends_after, Some(11), "after two minutes");
    assert!(scene.asked("federation") <= 4);
    assert_eq!(scene.waiting(), 1, "it will be tried again");
}
