//! What must be true at the end.

use std::collections::{BTreeMap, BTreeSet};

use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::world::World;
use crate::support::encode;

/// What a database says of an event.
#[derive(Deserialize)]
struct Row {
    i: String,
    d: Decided,
}

#[derive(Deserialize)]
struct Decided {
    s: String,
}

/// Everything.
pub(crate) fn all(world: &World) {
    let mut joined = members(world);
    let unaware = shut_out_unawares(world, &joined);
    joined.retain(|node| !unaware.contains(node));
    same_members(world, &joined, &unaware);
    same_state(world, &joined);
    same_verdicts(world, &joined);
    nothing_acknowledged_is_missing(world, &joined);
    same_timelines(world, &joined);
    each_whisper_came_once(world);
    what_is_there_is_said_to_be_delivered(world, &joined);
}

/// Whether an event that one member's server shows has soft-failed at another's, by the order in which it came. It is no
/// forward extremity there, so their states may differ until somebody builds upon it.
pub(crate) fn any_softly_failed(world: &World) -> bool {
    let joined = members(world);
    let verdicts: Vec<_> = joined.iter().map(|node| verdicts(world, *node)).collect();
    let is_disputed = |event: &String| verdicts.iter().any(|others| others.get(event).is_some_and(|verdict| verdict == "a"));
    verdicts.iter().flatten().any(|(event, verdict)| verdict == "s" && is_disputed(event))
}

/// Whether somebody who came back to the room lacks what another said or did while nobody had told them of that: it was not sent to the
/// one and is not behind the join, until somebody builds upon both.
pub(crate) fn any_said_beside_a_join(world: &World) -> bool {
    let joined = members(world);
    let told = |node: &usize| (state(world, *node), page_back(world, *node).into_iter().collect::<BTreeSet<_>>());
    let back = joined.iter().any(|node| world.returned.contains(node));
    back && joined.iter().map(told).collect::<Vec<_>>().windows(2).any(|pair| pair[0] != pair[1])
}

/// The nodes whose user is in the room, by what their own server says.
fn members(world: &World) -> Vec<usize> {
    let is_joined = |node: &usize| {
        let answer = world.request(*node, Method::Get, "/_matrix/client/v3/joined_rooms", json!({})).expect("an answer");
        answer.body["joined_rooms"].as_array().is_some_and(|rooms| rooms.iter().any(|room| *room == world.room))
    };
    (0..world.users.len()).filter(is_joined).collect()
}

/// The members who came back through a server that had not yet heard of their ban, of another end to their membership, or of their own
/// leave, and whom all others have out again by now. From then on nobody tells their servers anything. What ended the membership they have
/// not heard of, or only before they came back.
fn shut_out_unawares(world: &World, joined: &[usize]) -> BTreeSet<usize> {
    let is_ended = |node: usize, other: usize| {
        let user = &world.users[node].id;
        let below = format!("state/m.room.member/{}?format=event", encode(user));
        let member = world.in_room(other, Method::Get, &below, json!({})).expect("an answer").ok();
        let is_end = matches!(member.body["content"]["membership"].as_str(), Some("ban" | "leave"));
        is_end && (member.body["sender"] == *user || !was_told_since_it_came_back(world, node, &member.text("event_id")))
    };
    let is_unaware = |node: &usize| {
        let mut others = joined.iter().filter(|other| *other != node).peekable();
        world.returned.contains(node) && others.peek().is_some() && others.all(|other| is_ended(*node, *other))
    };
    joined.iter().copied().filter(is_unaware).collect()
}

/// Whether a node has an event that came after the one by which its user is in the room.
fn was_told_since_it_came_back(world: &World, node: usize, event: &str) -> bool {
    let below = format!("state/m.room.member/{}?format=event", encode(&world.users[node].id));
    let joined = world.in_room(node, Method::Get, &below, json!({})).expect("an answer").ok().text("event_id");
    let stored = stored(world, node);
    let place = |event: &str| stored.iter().position(|(id, _)| id == event);
    place(event).is_some_and(|place_of_event| place(&joined).is_none_or(|place_of_join| place_of_join < place_of_event))
}

/// Each member's server agrees who is in the room. Whom the others count in though they themselves do not was put out by an event that
/// the others know: one that lost against a change of power beside it, of which nobody tells who is out.
fn same_members(world: &World, joined: &[usize], unaware: &BTreeSet<usize>) {
    let mut expected: Option<BTreeSet<String>> = None;
    for node in joined {
        let answer = world.in_room(*node, Method::Get, "joined_members", json!({})).expect("an answer").ok();
        let members: BTreeSet<_> = answer.body["joined"].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(&members, expected.get_or_insert_with(|| members.clone()), "the members of the room at node {node}");
    }
    let expected = expected.unwrap_or_default();
    for (node, user) in world.users.iter().enumerate() {
        if joined.contains(&node) == expected.contains(&user.id) || unaware.contains(&node) {
            continue;
        }
        assert!(!joined.contains(&node), "nobody but node {node} counts its user in");
        let below = format!("state/m.room.member/{}?format=event", encode(&user.id));
        let ended = world.in_room(node, Method::Get, &below, json!({})).expect("an answer").ok();
        assert_ne!(ended.body["sender"], user.id, "node {node}'s user has left, and others do not know");
        let ended = ended.text("event_id");
        let knows = |other: &&usize| verdicts(world, **other).get(&ended).is_some_and(|verdict| verdict == "a");
        assert_eq!(joined.iter().filter(knows).count(), joined.len(), "not all know that node {node}'s user was put out");
    }
}

/// The current state is the same event by event.
fn same_state(world: &World, joined: &[usize]) {
    let states = joined.iter().map(|node| (*node, state(world, *node))).collect::<Vec<_>>();
    for pair in states.windows(2) {
        assert_eq!(pair[0].1, pair[1].1, "the state of the room at nodes {} and {}", pair[0].0, pair[1].0);
    }
}

fn state(world: &World, node: usize) -> BTreeMap<(String, String), String> {
    let answer = world.in_room(node, Method::Get, "state", json!({})).expect("an answer").ok();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let events = answer.body.as_array().expect("an array").iter();
    events.map(|event| ((text(event, "type"), text(event, "state_key")), text(event, "event_id"))).collect()
}

/// What one server has accepted, no other has rejected; soft failure depends on the order of arrival.
fn same_verdicts(world: &World, joined: &[usize]) {
    let verdicts: Vec<_> = joined.iter().map(|node| (*node, verdicts(world, *node))).collect();
    for (node, own) in &verdicts {
        for (other, others) in &verdicts {
            for (event, verdict) in own {
                let known = others.get(event).map(String::as_str);
                let agrees = matches!(
                    (verdict.as_str(), known),
                    (_, None) | ("a" | "s", Some("a" | "s")) | ("r", Some("r")) | ("o", _) | (_, Some("o"))
                );
                assert!(agrees, "{event} is {verdict:?} at node {node} and {known:?} at node {other}");
            }
        }
    }
}

fn verdicts(world: &World, node: usize) -> BTreeMap<String, String> {
    stored(world, node).into_iter().collect()
}

/// A server's events and what it thinks of them, in the order in which they came.
fn stored(world: &World, node: usize) -> Vec<(String, String)> {
    let database = world.database(node);
    let scan = Scan::prefix(Key::new(Table::Events));
    let rows = futures_executor::block_on(database.scan(&scan)).expect("memory does not fail");
    rows.iter().filter_map(|row| serde_json::from_slice::<Row>(&row.value).ok()).map(|row| (row.i, row.d.s)).collect()
}

/// Reads the room back to its beginning, as a client does that wants all of it: who was out of the room gets what was said
/// meanwhile by asking for it.
fn page_back(world: &World, node: usize) -> Vec<String> {
    let (mut from, mut timeline) = (String::new(), Vec::new());
    loop {
        let below = format!("messages?dir=b&limit=100{from}");
        let answer = world.in_room(node, Method::Get, &below, json!({})).expect("an answer").ok();
        timeline
            .extend(answer.body["chunk"].as_array().into_iter().flatten().filter_map(|event| Some(event["event_id"].as_str()?.to_owned())));
        let Some(end) = answer.body["end"].as_str() else { return timeline };
        let next = format!("&from={}", encode(end));
        // What is missing cannot be had now.
        if next == from {
            return timeline;
        }
        from = next;
    }
}

/// Members page back through the same events, each once, but for those that have soft-failed at somebody's server.
fn same_timelines(world: &World, joined: &[usize]) {
    let softly_failed: BTreeSet<_> =
        joined.iter().flat_map(|node| verdicts(world, *node)).filter(|(_, verdict)| verdict == "s").map(|(event, _)| event).collect();
    let timelines = joined.iter().map(|node| {
        let told = page_back(world, *node);
        let timeline: BTreeSet<_> = told.iter().cloned().collect();
        assert_eq!(timeline.len(), told.len(), "node {node} tells an event twice");
        (*node, &timeline - &softly_failed)
    });
    for pair in timelines.collect::<Vec<_>>().windows(2) {
        let apart: Vec<_> = pair[0].1.symmetric_difference(&pair[1].1).collect();
        assert!(apart.is_empty(), "the timelines at nodes {} and {} differ in {apart:?}", pair[0].0, pair[1].0);
    }
}

/// A message from device to device that was acknowledged comes once, and one that was not at most once.
fn each_whisper_came_once(world: &World) {
    let heard: Vec<_> = (0..world.users.len()).map(|node| whispers_heard(world, node)).collect();
    for (node, heard) in heard.iter().enumerate() {
        let different: BTreeSet<_> = heard.iter().collect();
        assert_eq!(different.len(), heard.len(), "node {node} was told a message to its device twice: {heard:?}");
    }
    for (node, number) in &world.whispers {
        assert!(heard[*node].contains(number), "node {node} was not told message {number} to its device");
    }
}

fn whispers_heard(world: &World, node: usize) -> Vec<u64> {
    let (mut heard, mut since) = (Vec::new(), String::new());
    loop {
        let answer =
            world.request(node, Method::Get, &format!("/_matrix/client/v3/sync?timeout=0{since}"), json!({})).expect("an answer").ok();
        let news: Vec<_> = answer.body["to_device"]["events"].as_array().into_iter().flatten().cloned().collect();
        if news.is_empty() {
            return heard;
        }
        heard.extend(news.iter().filter_map(|message| message["content"]["number"].as_u64()));
        since = format!("&since={}", encode(&answer.text("next_batch")));
    }
}

/// Whether an event is said to be at a relay though everybody has what was sent to them: the acknowledgement was lost with somebody's
/// power, and nobody has spoken to the other since.
pub(crate) fn any_thought_at_relay(world: &World) -> bool {
    let joined = members(world);
    let any = deliveries(world, &joined).iter().any(|(.., state)| state == "at_relay");
    if any {
        nothing_acknowledged_is_missing(world, &joined);
    }
    any
}

/// What a client was told is sent, every member has.
fn nothing_acknowledged_is_missing(world: &World, joined: &[usize]) {
    for node in joined {
        drop(page_back(world, *node));
        let known = verdicts(world, *node);
        for (sender, event) in world.acknowledged.iter().filter(|(sender, _)| joined.contains(sender)) {
            assert!(known.contains_key(event), "{event} of node {sender} is missing at node {node}");
        }
    }
}

/// Whoever was sent an event and has it is told of as having it, and nothing waits any more.
fn what_is_there_is_said_to_be_delivered(world: &World, joined: &[usize]) {
    for (sender, event, name, state) in deliveries(world, joined) {
        assert_eq!(state, "delivered", "{event} of node {sender} on its way to {name}");
    }
}

/// What the members' servers say of their events on their way to each other: the sender, the event, the destination and the state.
fn deliveries(world: &World, joined: &[usize]) -> Vec<(usize, String, String, String)> {
    let names: BTreeSet<_> = joined.iter().map(|node| world.network[*node].name()).collect();
    let mut deliveries = Vec::new();
    for (sender, event) in world.acknowledged.iter().filter(|(sender, _)| joined.contains(sender)) {
        let target = format!("/_inglenook/rooms/{}/delivery?event_id={}", encode(&world.room), encode(event));
        let answer = world.request(*sender, Method::Get, &target, json!({})).expect("an answer").ok();
        let destinations = answer.body["events"][event]["destinations"].as_object().cloned().unwrap_or_default();
        let of_members = destinations.into_iter().filter(|(name, _)| names.contains(name));
        deliveries
            .extend(of_members.map(|(name, delivery)| (*sender, event.clone(), name, delivery["state"].as_str().unwrap().to_owned())));
    }
    deliveries
}
