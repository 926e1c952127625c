//! Relations between events: children, threads, and what is told of them along with their parent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Host, User, encode, room_path};

fn related(rel_type: &str, parent: &str) -> Value {
    json!({ "msgtype": "m.text", "body": rel_type, "m.relates_to": { "rel_type": rel_type, "event_id": parent } })
}

fn relate(host: &Host, user: &User, room: &str, rel_type: &str, parent: &str) -> String {
    host.send_event(user, room, "m.room.message", related(rel_type, parent))
}

fn edited(parent: &str, body: &str) -> Value {
    let mut content = related("m.replace", parent);
    content["m.new_content"] = json!({ "msgtype": "m.text", "body": body });
    content
}

fn edit(host: &Host, user: &User, room: &str, parent: &str, body: &str) -> String {
    host.send_event(user, room, "m.room.message", edited(parent, body))
}

fn react(host: &Host, user: &User, room: &str, parent: &str, key: &str, transaction: &str) -> Answer {
    let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": parent, "key": key } });
    host.send_as(user, room, "m.reaction", transaction, content)
}

fn redact(host: &Host, user: &User, room: &str, event: &str) {
    host.put(user, &room_path(room, &format!("redact/{}/t", encode(event))), json!({})).ok();
}

/// What is told of an event's children along with the event.
fn bundled(host: &Host, user: &User, room: &str, event: &str) -> Value {
    let event = host.get(user, &room_path(room, &format!("event/{}", encode(event)))).ok().body;
    event["unsigned"]["m.relations"].clone()
}

fn relations(host: &Host, user: &User, room: &str, below: &str) -> Answer {
    host.get(user, &format!("/_matrix/client/v1/rooms/{}/relations/{below}", encode(room)))
}

fn threads(host: &Host, user: &User, room: &str, query: &str) -> Answer {
    host.get(user, &format!("/_matrix/client/v1/rooms/{}/threads?{query}", encode(room)))
}

fn ids(events: &Value) -> Vec<String> {
    events.as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

fn two_in_a_room(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    (alice, bob, room)
}

#[test]
fn the_latest_valid_edit_is_told_with_the_event() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    assert_eq!(bundled(&host, &bob, &room, &id), Value::Null);
    let first = edit(&host, &alice, &room, &id, "two");
    assert_eq!(bundled(&host, &bob, &room, &id)["m.replace"]["event_id"], first);
    host.advance(1);
    let second = edit(&host, &alice, &room, &id, "three");
    // None of these is valid: by somebody else, of another type, without new content, of an edit.
    host.advance(1);
    edit(&host, &bob, &room, &id, "not bob's to edit");
    host.send_event(&alice, &room, "m.sticker", edited(&id, "a sticker"));
    relate(&host, &alice, &room, "m.replace", &id);
    edit(&host, &alice, &room, &second, "an edit of an edit");
    let told = bundled(&host, &bob, &room, &id);
    assert_eq!(told["m.replace"]["event_id"], second);
    assert_eq!(told["m.replace"]["content"]["m.new_content"]["body"], "three");
    assert_eq!(told["m.replace"]["room_id"], room);
    assert_eq!(bundled(&host, &bob, &room, &second), Value::Null);
    redact(&host, &alice, &room, &second);
    assert_eq!(bundled(&host, &bob, &room, &id)["m.replace"]["event_id"], first, "back to the edit before");
    redact(&host, &alice, &room, &id);
    assert_eq!(bundled(&host, &bob, &room, &id), Value::Null, "nothing replaces what was redacted");
}

#[test]
fn of_edits_of_one_moment_the_greater_id_counts() {
    let host = Host::new();
    let (alice, _, room) = two_in_a_room(&host);
    for _ in 0..8 {
        let id = host.send(&alice, &room, "one");
        let greatest = (0..3).map(|number| edit(&host, &alice, &room, &id, &number.to_string())).max().unwrap();
        assert_eq!(bundled(&host, &alice, &room, &id)["m.replace"]["event_id"], greatest);
    }
}

#[test]
fn an_encrypted_event_is_edited_by_an_encrypted_one() {
    let host = Host::new();
    let (alice, _, room) = two_in_a_room(&host);
    let id = host.send_event(&alice, &room, "m.room.encrypted", json!({ "ciphertext": "x" }));
    let edit = host.send_event(&alice, &room, "m.room.encrypted", related("m.replace", &id));
    assert_eq!(bundled(&host, &alice, &room, &id)["m.replace"]["event_id"], edit);
}

#[test]
fn a_thread_is_told_with_its_root() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let carol = host.register("carol");
    host.join(&carol, &room);
    let root = host.send(&alice, &room, "root");
    let first = relate(&host, &bob, &room, "m.thread", &root);
    let second = relate(&host, &bob, &room, "m.thread", &root);
    let edit = host.send_event(&bob, &room, "m.room.message", edited(&second, "better"));
    for (user, participated) in [(&alice, true), (&bob, true), (&carol, false)] {
        let thread = &bundled(&host, user, &room, &root)["m.thread"];
        assert_eq!((&thread["count"], &thread["current_user_participated"]), (&json!(2), &json!(participated)));
        assert_eq!(thread["latest_event"]["event_id"], second);
        assert_eq!(thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit, "with its own aggregations");
    }
    redact(&host, &bob, &room, &second);
    let thread = &bundled(&host, &carol, &room, &root)["m.thread"];
    assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(1), &json!(first)));
    redact(&host, &bob, &room, &first);
    assert_eq!(bundled(&host, &carol, &room, &root), Value::Null);
}

#[test]
fn a_thread_cannot_begin_at_a_related_event() {
    let host = Host::new();
    let (alice, _, room) = two_in_a_room(&host);
    let root = host.send(&alice, &room, "root");
    let child = relate(&host, &alice, &room, "m.thread", &root);
    host.send_as(&alice, &room, "m.room.message", "t", related("m.thread", &child)).refused(400, "M_UNKNOWN");
    let reply = json!({ "msgtype": "m.text", "body": "a", "m.relates_to": { "m.in_reply_to": { "event_id": root } } });
    let reply = host.send_event(&alice, &room, "m.room.message", reply);
    relate(&host, &alice, &room, "m.thread", &reply);
}

#[test]
fn references_are_listed_and_annotations_are_not() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    react(&host, &bob, &room, &id, "👍", "t").ok();
    assert_eq!(bundled(&host, &alice, &room, &id), Value::Null);
    let references = [relate(&host, &alice, &room, "m.reference", &id), relate(&host, &bob, &room, "m.reference", &id)];
    assert_eq!(bundled(&host, &alice, &room, &id), json!({ "m.reference": { "chunk": references.map(|id| json!({ "event_id": id })) } }));
}

#[test]
fn nobody_annotates_twice_alike() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    let first = react(&host, &bob, &room, &id, "👍", "1").ok().text("event_id");
    react(&host, &bob, &room, &id, "👍", "2").refused(400, "M_DUPLICATE_ANNOTATION");
    assert_eq!(react(&host, &bob, &room, &id, "👍", "1").ok().text("event_id"), first, "a repeated request is no second annotation");
    react(&host, &bob, &room, &id, "👎", "3").ok();
    react(&host, &alice, &room, &id, "👍", "4").ok();
    redact(&host, &bob, &room, &first);
    react(&host, &bob, &room, &id, "👍", "5").ok();
    react(&host, &bob, &room, &id, "👍", "6").refused(400, "M_DUPLICATE_ANNOTATION");
}

#[test]
fn messages_and_context_tell_of_children_as_well() {
    let host = Host::new();
    let (alice, _, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    let edit = edit(&host, &alice, &room, &id, "two");
    let page = host.get(&alice, &room_path(&room, "messages?dir=b&limit=2")).ok().body;
    assert_eq!(page["chunk"][1]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit);
    let around = host.get(&alice, &room_path(&room, &format!("context/{}", encode(&edit)))).ok().body;
    assert_eq!(around["events_before"][0]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit);
}

#[test]
fn what_a_user_may_not_see_is_not_told_with_what_they_may() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let root = host.send(&alice, &room, "root");
    let seen = relate(&host, &alice, &room, "m.thread", &root);
    host.leave(&bob, &room);
    let edit = edit(&host, &alice, &room, &root, "a secret");
    relate(&host, &alice, &room, "m.thread", &root);
    relate(&host, &alice, &room, "m.reference", &root);
    let told = bundled(&host, &bob, &room, &root);
    assert_eq!(told["m.thread"]["latest_event"]["event_id"], seen);
    assert_eq!((told.get("m.replace"), told.get("m.reference")), (None, None));
    assert_eq!(ids(&relations(&host, &bob, &room, &encode(&root)).ok().body["chunk"]), [&*seen]);
    assert!(ids(&relations(&host, &alice, &room, &encode(&root)).ok().body["chunk"]).contains(&edit));
}

#[test]
fn children_are_listed_by_type_and_page() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    let edit = edit(&host, &alice, &room, &id, "two");
    let reaction = react(&host, &bob, &room, &id, "👍", "t").ok().text("event_id");
    let thread: Vec<_> = (0..5).map(|_| relate(&host, &bob, &room, "m.thread", &id)).collect();
    let sticker = host.send_event(&bob, &room, "m.sticker", related("m.thread", &id));
    let other = relate(&host, &bob, &room, "org.example.other", &id);
    let root = encode(&id);
    let mut all = vec![edit.clone(), reaction.clone()];
    all.extend(thread.iter().cloned().chain([sticker.clone(), other.clone()]));

    let list = |below: &str| relations(&host, &alice, &room, &format!("{root}{below}")).ok().body;
    assert_eq!(ids(&list("?dir=f&limit=50")["chunk"]), all);
    assert_eq!(ids(&list("/m.replace")["chunk"]), [&*edit]);
    assert_eq!(ids(&list("/m.annotation/m.reaction")["chunk"]), [&*reaction]);
    assert_eq!(ids(&list("/org.example.other")["chunk"]), [&*other]);
    assert_eq!(ids(&list("/m.thread/m.sticker")["chunk"]), [&*sticker]);
    assert_eq!(ids(&list("/m.thread/m.none")["chunk"]), [""; 0]);
    for direction in ["b", "f"] {
        let mut expected = all.clone();
        if direction == "b" {
            expected.reverse();
        }
        let (mut found, mut from) = (Vec::new(), String::new());
        for _ in 0..3 {
            let page = list(&format!("?dir={direction}&limit=3{from}"));
            assert_eq!(page.get("prev_batch").is_some(), !from.is_empty());
            assert_eq!(page.get("recursion_depth"), None);
            found.extend(ids(&page["chunk"]));
            from = page["next_batch"].as_str().map(|token| format!("&from={token}")).unwrap_or_default();
        }
        assert_eq!((found, &*from), (expected, ""), "{direction}");
    }
}

#[test]
fn a_page_of_messages_bounds_the_children() {
    let host = Host::new();
    let (alice, _, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    let before = relate(&host, &alice, &room, "m.reference", &id);
    let page = host.get(&alice, &room_path(&room, "messages?dir=b&limit=1")).ok().body;
    relate(&host, &alice, &room, "m.reference", &id);
    let start = page["start"].as_str().unwrap();
    assert_eq!(ids(&relations(&host, &alice, &room, &format!("{}?from={start}", encode(&id))).ok().body["chunk"]), [before]);
    assert_eq!(ids(&relations(&host, &alice, &room, &format!("{}?dir=f&to={start}", encode(&id))).ok().body["chunk"]).len(), 1);
}

#[test]
fn recursion_finds_children_of_children() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let root = host.send(&alice, &room, "root");
    let reply = relate(&host, &alice, &room, "m.thread", &root);
    let edit = edit(&host, &alice, &room, &reply, "better");
    let reaction = react(&host, &bob, &room, &edit, "👍", "t").ok().text("event_id");
    let too_deep = react(&host, &bob, &room, &reaction, "👍", "u").ok().text("event_id");
    let late = react(&host, &alice, &room, &reply, "👍", "v").ok().text("event_id");
    let list = |query: &str| relations(&host, &alice, &room, &format!("{}{query}", encode(&root))).ok().body;
    let all = list("?recurse=true&dir=f");
    assert_eq!(ids(&all["chunk"]), [&*reply, &edit, &reaction, &late]);
    assert!(!ids(&all["chunk"]).contains(&too_deep));
    assert_eq!(all["recursion_depth"], 3);
    assert_eq!(list("?recurse=false")["recursion_depth"], 0);
    assert_eq!(ids(&list("?recurse=false")["chunk"]), [&*reply]);
    assert_eq!(ids(&list("/m.thread?recurse=true")["chunk"]), [&*reply], "what is behind another type is not found");
    let page = list("?recurse=true&limit=2");
    assert_eq!(ids(&page["chunk"]), [&*late, &reaction]);
    let next = list(&format!("?recurse=true&limit=2&from={}", page["next_batch"].as_str().unwrap()));
    assert_eq!((ids(&next["chunk"]), next.get("next_batch")), (vec![edit, reply], None));
}

#[test]
fn threads_are_listed_by_their_latest_event() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let carol = host.register("carol");
    host.join(&carol, &room);
    let roots: Vec<_> = (0..5).map(|number| host.send(&alice, &room, &number.to_string())).collect();
    for root in &roots {
        relate(&host, &alice, &room, "m.thread", root);
    }
    let speakers = [&alice, &bob, &alice, &carol, &bob];
    let last: Vec<_> = roots.iter().zip(speakers).map(|(root, user)| relate(&host, user, &room, "m.thread", root)).collect();
    relate(&host, &alice, &room, "m.thread", &roots[1]);
    let expected = [&*roots[1], &roots[4], &roots[3], &roots[2], &roots[0]];
    let all = threads(&host, &alice, &room, "").ok().body;
    assert_eq!((ids(&all["chunk"]), all.get("next_batch")), (expected.map(str::to_owned).to_vec(), None));
    assert_eq!(all["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"], 3);
    let (mut found, mut from) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = threads(&host, &alice, &room, &format!("limit=2{from}")).ok().body;
        found.extend(ids(&page["chunk"]));
        from = page["next_batch"].as_str().map(|token| format!("&from={token}")).unwrap_or_default();
    }
    assert_eq!((found, &*from), (expected.map(str::to_owned).to_vec(), ""));
    assert_eq!(ids(&threads(&host, &carol, &room, "include=participated").ok().body["chunk"]), [&*roots[3]]);
    redact(&host, &bob, &room, &last[4]);
    let expected = [&roots[1], &roots[3], &roots[2], &roots[0], &roots[4]].map(String::clone);
    assert_eq!(ids(&threads(&host, &alice, &room, "").ok().body["chunk"]), expected, "a redacted event is the latest no more");

    threads(&host, &alice, &room, "limit=0").refused(400, "M_INVALID_PARAM");
    threads(&host, &alice, &room, "include=some").refused(400, "M_INVALID_PARAM");
    threads(&host, &alice, &room, "from=x").refused(400, "M_INVALID_PARAM");
    threads(&host, &host.register("dave"), &room, "").refused(403, "M_FORBIDDEN");
    threads(&host, &alice, "!nowhere:example.org", "").refused(403, "M_FORBIDDEN");
}

#[test]
fn ignored_users_do_not_count() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let [own, foreign] = [host.send(&alice, &room, "by alice"), host.send(&bob, &room, "by bob")];
    let seen = [relate(&host, &alice, &room, "m.thread", &own), relate(&host, &alice, &room, "m.thread", &foreign)];
    relate(&host, &bob, &room, "m.thread", &own);
    relate(&host, &bob, &room, "m.reference", &own);
    let order = |user: &User| ids(&threads(&host, user, &room, "").ok().body["chunk"]);
    assert_eq!(order(&alice), [&*own, &foreign]);
    let ignored = json!({ "ignored_users": { bob.id.as_str(): {} } });
    host.put(&alice, &format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", encode(&alice.id)), ignored).ok();
    let told = bundled(&host, &alice, &room, &own);
    assert_eq!((&told["m.thread"]["count"], &told["m.thread"]["latest_event"]["event_id"]), (&json!(1), &json!(seen[0])));
    assert_eq!(told.get("m.reference"), None);
    assert_eq!(bundled(&host, &bob, &room, &own)["m.thread"]["count"], 2, "whom alice ignores does not matter to bob");
    let list = threads(&host, &alice, &room, "").ok().body;
    assert_eq!(ids(&list["chunk"]), [&*foreign, &own]);
    assert_eq!(list["chunk"][0]["content"], json!({}), "the root is there and says nothing");
    let page = host.get(&alice, &room_path(&room, "messages?dir=b&limit=100")).ok().body;
    let senders = page["chunk"].as_array().unwrap().iter().filter(|event| event["sender"] == bob.id);
    assert!(senders.clone().all(|event| event.get("state_key").is_some()) && senders.count() == 1, "their state is seen");
}

#[test]
fn children_of_what_is_not_there_are_not_found() {
    let host = Host::new();
    let (alice, _, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "one");
    relations(&host, &alice, &room, "%24unknown").refused(404, "M_NOT_FOUND");
    relations(&host, &alice, &room, "unknown").refused(400, "M_INVALID_PARAM");
    relations(&host, &host.register("carol"), &room, &encode(&id)).refused(404, "M_NOT_FOUND");
    relations(&host, &alice, &room, &format!("{}?dir=x", encode(&id))).refused(400, "M_INVALID_PARAM");
    relations(&host, &alice, &room, &format!("{}?from=x", encode(&id))).refused(400, "M_INVALID_PARAM");
    relations(&host, &alice, &room, &format!("{}?recurse=x", encode(&id))).refused(400, "M_INVALID_PARAM");
}
