//! Polls that wait for news.

use super::*;

#[test]
fn a_poll_waits_for_news_and_for_nothing_else() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let private = host.create_room(&alice, json!({}));
    host.join(&bob, &room);
    let first = host.sync(&bob, None);
    let mut poll = host.begin_sync(&bob, Some(since(&first)), 30_000);
    assert!(poll.answer().is_none());
    host.send(&alice, &private, "not for bob");
    assert!(poll.answer().is_none());
    host.send(&alice, &room, "for bob");
    assert_eq!(timeline_bodies(&poll.answer().unwrap().ok().body, &room), ["for bob"]);
}

#[test]
fn many_polls_are_answered_in_turns_that_let_writers_through() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let users: Vec<_> = (0..30).map(|number| host.register(&format!("user{number}"))).collect();
    users.iter().for_each(|user| host.join(user, &room));
    let begun: Vec<_> = users.iter().map(|user| since(&host.sync(user, None)).to_owned()).collect();
    // What all of them are told at first is who came online.
    let begun = users.iter().zip(begun).map(|(user, token)| since(&host.sync(user, Some(&token))).to_owned());
    let mut polls: Vec<_> =
        users.iter().zip(begun.collect::<Vec<_>>()).map(|(user, token)| host.begin_sync(user, Some(&token), 20_000)).collect();
    assert!(polls.iter_mut().all(|poll| poll.answer().is_none()));
    // The second message comes while the first is being told.
    let send = |number: usize| {
        request(
            Method::Put,
            &room_path(&room, &format!("send/m.room.message/m{number}")),
            Some(&alice.token),
            Some(json!({ "msgtype": "m.text", "body": number.to_string() })),
        )
    };
    let mut sent = host.send_requests((0..2).map(send));
    assert!(sent.iter_mut().all(|sent| sent.answer().unwrap().status == 200));
    let told: Vec<_> = polls.iter_mut().map(|poll| timeline_bodies(&poll.answer().unwrap().ok().body, &room)).collect();
    assert!(told.iter().all(|told| told[0] == "0"));
    assert!(told.last().unwrap().len() == 2, "who came last is told both");
}

#[test]
fn a_poll_ends_after_25_seconds_at_the_latest() {
    let host = Host::new();
    let alice = host.register("alice");
    let first = host.sync(&alice, None);
    let mut poll = host.begin_sync(&alice, Some(since(&first)), 600_000);
    host.advance(24_000);
    assert!(poll.answer().is_none());
    host.advance(1_500);
    let answer = poll.answer().unwrap().ok().body;
    assert_eq!(answer["rooms"]["join"], json!({}));
}

#[test]
fn a_poll_ends_at_once_when_the_server_stops() {
    let host = Host::new();
    let alice = host.register("alice");
    let first = host.sync(&alice, None);
    let mut poll = host.begin_sync(&alice, Some(since(&first)), 25_000);
    host.server().stop();
    host.run();
    assert_eq!(poll.answer().unwrap().status, 200);
}

#[test]
fn a_poll_of_a_device_that_was_logged_out_ends() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let other = host.log_in(&bob);
    let first = host.sync(&bob, None);
    let mut polls = [&bob, &other].map(|device| host.begin_sync(device, Some(since(&first)), 25_000));
    host.post(&bob, "/_matrix/client/v3/logout", json!({})).ok();
    host.send(&alice, &room, "news");
    let [out, still_in] = polls.each_mut().map(|poll| poll.answer().unwrap());
    out.refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(still_in.status, 200);
}

#[test]
fn a_poll_ends_when_its_client_is_gone() {
    let host = Host::new();
    let alice = host.register("alice");
    let first = host.sync(&alice, None);
    let target = format!("/_matrix/client/v3/sync?since={}&timeout=25000&set_presence=offline", since(&first));
    let request = request(Method::Get, &target, Some(&alice.token), None);
    let gone = request.gone.clone();
    let mut poll = host.send_request(request);
    assert!(poll.answer().is_none());
    gone.tell();
    host.run();
    assert_eq!(poll.answer().unwrap().status, 200);
}
