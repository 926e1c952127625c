//! What must be true at the end.

use std::collections::{BTreeMap, BTreeSet};

use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    devices, receipts,
    world::{Acknowledged, World},
};
use crate::support::encode;

/// The delivery states of so many events are asked for at once: `docs/delivery.md`.
const MAX_ASKED_FOR: usize = 100;

/// What a database says of an event.
#[derive(Deserialize)]
struct Row {
    i: String,
    r: u64,
    d: Decided,
}

#[derive(Deserialize)]
struct Decided {
    s: String,
    p: u64,
}

/// What a server thinks of an event.
pub(crate) struct Stored {
    pub(crate) event: String,
    pub(crate) verdict: String,
    /// Where in the log it is; zero where clients are not told of it.
    pub(crate) position: u64,
}

/// What a database says of a room.
#[derive(Deserialize)]
struct RoomRow {
    n: u64,
}

/// What a member's server has of a room, when it has got what can be had.
struct Copy {
    node: usize,
    timeline: Vec<String>,
    verdicts: BTreeMap<String, String>,
}

impl Copy {
    fn of(world: &World, room: usize, node: usize) -> Self {
        let timeline = page_back(world, room, node);
        Self { node, timeline, verdicts: verdicts(world, room, node) }
    }
}

/// Everything.
pub(crate) fn all(world: &World) {
    let mut members_of_rooms = Vec::new();
    for room in 0..world.rooms.len() {
        let (joined, unaware) = agreeing(world, room);
        same_members(world, room, &joined, &unaware);
        same_state(world, room, &joined);
        let copies: Vec<_> = joined.iter().map(|node| Copy::of(world, room, *node)).collect();
        same_verdicts(&copies);
        nothing_acknowledged_is_missing(world, room, &joined, &copies);
        same_timelines(&copies);
        what_is_there_is_said_to_be_delivered(world, room, &joined);
        members_of_rooms.push(joined);
    }
    let told: Vec<_> = (0..world.users.len()).map(|node| first_sync(world, node)).collect();
    each_whisper_came_once(world, &told);
    receipts::the_last_ones_are_known(world, &members_of_rooms, &told);
    devices::those_of_others_are_known(world, &members_of_rooms);
}

/// Whether an event that one member's server shows has soft-failed at another's, by the order in which it came. It is no
/// forward extremity there, so their states may differ until somebody builds upon it.
pub(crate) fn any_softly_failed(world: &World, room: usize) -> bool {
    let joined = members(world, room);
    let verdicts: Vec<_> = joined.iter().map(|node| verdicts(world, room, *node)).collect();
    let is_disputed = |event: &String| verdicts.iter().any(|others| others.get(event).is_some_and(|verdict| verdict == "a"));
    verdicts.iter().flatten().any(|(event, verdict)| verdict == "s" && is_disputed(event))
}

/// Whether somebody who came back to the room lacks what another said or did while nobody had told them of that: it was not sent to the
/// one and is not behind the join, until somebody builds upon both.
pub(crate) fn any_said_beside_a_join(world: &World, room: usize) -> bool {
    let joined = members(world, room);
    let told = |node: &usize| (state(world, room, *node), page_back(world, room, *node).into_iter().collect::<BTreeSet<_>>());
    let back = joined.iter().any(|node| world.returned.contains(&(room, *node)));
    back && joined.iter().map(told).collect::<Vec<_>>().windows(2).any(|pair| pair[0] != pair[1])
}

/// The nodes whose user is in the room, by what their own server says.
fn members(world: &World, room: usize) -> Vec<usize> {
    let is_joined = |node: &usize| {
        let answer = world.request(*node, Method::Get, "/_matrix/client/v3/joined_rooms", json!({})).expect("an answer");
        answer.body["joined_rooms"].as_array().is_some_and(|rooms| rooms.iter().any(|id| *id == world.rooms[room].id))
    };
    (0..world.users.len()).filter(is_joined).collect()
}

/// The members who must agree, and those who were shut out unawares.
fn agreeing(world: &World, room: usize) -> (Vec<usize>, BTreeSet<usize>) {
    let mut joined = members(world, room);
    let unaware = shut_out_unawares(world, room, &joined);
    joined.retain(|node| !unaware.contains(node));
    (joined, unaware)
}

/// The members who came through a server that had not yet heard of their ban, of another end to their membership, of their own
/// leave, or of what has shut the door to them, and whom all others have out again by now. From then on nobody tells their servers
/// anything. What put them out they have not heard of, or only before they came.
fn shut_out_unawares(world: &World, room: usize, joined: &[usize]) -> BTreeSet<usize> {
    let is_out = |node: &usize, other: &usize| node != other && is_out_unawares(world, room, *node, *other);
    let returned = joined.iter().filter(|node| world.returned.contains(&(room, **node)));
    let out: BTreeSet<_> = returned.copied().filter(|node| joined.iter().any(|other| is_out(node, other))).collect();
    let others: Vec<_> = joined.iter().filter(|node| !out.contains(node)).collect();
    out.into_iter().filter(|node| !others.is_empty() && others.iter().all(|other| is_out(node, other))).collect()
}

/// Whether another member's server has a node's user out of the room, by what the node has not been told since its user came.
fn is_out_unawares(world: &World, room: usize, node: usize, other: usize) -> bool {
    let user = &world.users[node].id;
    let was_told = |event: &Value| event["event_id"].as_str().is_some_and(|event| was_told_since_it_came_back(world, room, node, event));
    let member = state_event(world, room, other, &format!("m.room.member/{}", encode(user))).unwrap_or_default();
    match member["content"]["membership"].as_str() {
        Some("join") => false,
        Some("ban" | "leave") if member["sender"] == *user || !was_told(&member) => true,
        _ => {
            let own = state_event(world, room, node, &format!("m.room.member/{}", encode(user))).unwrap_or_default();
            let authorising =
                own["content"]["join_authorised_via_users_server"].as_str().map(|user| format!("m.room.member/{}", encode(user)));
            let door = ["m.room.join_rules/".to_owned(), "m.room.power_levels/".to_owned()].into_iter().chain(authorising);
            door.filter_map(|kind| state_event(world, room, other, &kind)).any(|event| !was_told(&event))
        }
    }
}

fn state_event(world: &World, room: usize, node: usize, kind_and_key: &str) -> Option<Value> {
    let answer = world.in_room(node, room, Method::Get, &format!("state/{kind_and_key}?format=event"), json!({})).expect("an answer");
    (answer.status == 200).then_some(answer.body)
}

/// Whether a node has an event that came after the one by which its user is in the room.
fn was_told_since_it_came_back(world: &World, room: usize, node: usize, event: &str) -> bool {
    let below = format!("state/m.room.member/{}?format=event", encode(&world.users[node].id));
    let joined = world.in_room(node, room, Method::Get, &below, json!({})).expect("an answer").ok().text("event_id");
    let stored = stored(world, room, node);
    let place = |event: &str| stored.iter().position(|stored| stored.event == event);
    place(event).is_some_and(|place_of_event| place(&joined).is_none_or(|place_of_join| place_of_join < place_of_event))
}

/// Each member's server agrees who is in the room. Whom the others count in though they themselves do not was put out by an event that
/// the others know: one that lost against a change of power beside it, of which nobody tells who is out. Or they left by one that failed
/// softly at all others, who had them out already: since an earlier leave of which those that let them come back had not heard.
fn same_members(world: &World, room: usize, joined: &[usize], unaware: &BTreeSet<usize>) {
    let mut expected: Option<BTreeSet<String>> = None;
    for node in joined {
        let answer = world.in_room(*node, room, Method::Get, "joined_members", json!({})).expect("an answer").ok();
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
        let ended = world.in_room(node, room, Method::Get, &below, json!({})).expect("an answer").ok();
        let has_left = ended.body["sender"] == user.id;
        assert!(!has_left || world.returned.contains(&(room, node)), "node {node}'s user has left, and others do not know");
        let (ended, expected) = (ended.text("event_id"), if has_left { "s" } else { "a" });
        let knows = |other: &&usize| verdicts(world, room, **other).get(&ended).is_some_and(|verdict| verdict == expected);
        assert_eq!(joined.iter().filter(knows).count(), joined.len(), "not all know that node {node}'s user is out");
    }
}

/// The current state is the same event by event.
fn same_state(world: &World, room: usize, joined: &[usize]) {
    let states = joined.iter().map(|node| (*node, state(world, room, *node))).collect::<Vec<_>>();
    for pair in states.windows(2) {
        assert_eq!(pair[0].1, pair[1].1, "the state of the room at nodes {} and {}", pair[0].0, pair[1].0);
    }
}

fn state(world: &World, room: usize, node: usize) -> BTreeMap<(String, String), String> {
    let answer = world.in_room(node, room, Method::Get, "state", json!({})).expect("an answer").ok();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let events = answer.body.as_array().expect("an array").iter();
    events.map(|event| ((text(event, "type"), text(event, "state_key")), text(event, "event_id"))).collect()
}

/// What one server has accepted, no other has rejected; soft failure depends on the order of arrival. An invitation whose
/// sender did not hear that it has arrived is known to the invited server alone.
fn same_verdicts(copies: &[Copy]) {
    for Copy { node, verdicts, .. } in copies {
        for Copy { node: other, verdicts: others, .. } in copies {
            for (event, verdict) in verdicts {
                let known = others.get(event).map(String::as_str);
                let agrees = matches!(
                    (verdict.as_str(), known),
                    (_, None) | ("a" | "s", Some("a" | "s")) | ("r", Some("r")) | ("u", Some("u")) | ("o", _) | (_, Some("o"))
                );
                assert!(agrees, "{event} is {verdict:?} at node {node} and {known:?} at node {other}");
            }
        }
    }
}

fn verdicts(world: &World, room: usize, node: usize) -> BTreeMap<String, String> {
    stored(world, room, node).into_iter().map(|stored| (stored.event, stored.verdict)).collect()
}

/// A server's events of a room and what it thinks of them, in the order in which they came.
pub(crate) fn stored(world: &World, room: usize, node: usize) -> Vec<Stored> {
    let (database, key) = (world.database(node), Key::new(Table::Rooms).text(&world.rooms[room].id));
    let row = futures_executor::block_on(database.get_many(&[key])).expect("memory does not fail").pop().flatten();
    let Some(RoomRow { n }) = row.and_then(|row| serde_json::from_slice(&row).ok()) else { return Vec::new() };
    let rows = futures_executor::block_on(database.scan(&Scan::prefix(Key::new(Table::Events)))).expect("memory does not fail");
    let rows = rows.iter().filter_map(|row| serde_json::from_slice::<Row>(&row.value).ok()).filter(|row| row.r == n);
    rows.map(|row| Stored { event: row.i, verdict: row.d.s, position: row.d.p }).collect()
}

/// Reads the room back to its beginning, as a client does that wants all of it: who was out of the room gets what was said
/// meanwhile by asking for it.
fn page_back(world: &World, room: usize, node: usize) -> Vec<String> {
    let (mut from, mut timeline) = (String::new(), Vec::new());
    loop {
        let below = format!("messages?dir=b&limit=100{from}");
        let answer = world.in_room(node, room, Method::Get, &below, json!({})).expect("an answer").ok();
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
fn same_timelines(copies: &[Copy]) {
    let verdicts = copies.iter().flat_map(|copy| &copy.verdicts);
    let softly_failed: BTreeSet<_> = verdicts.filter(|(_, verdict)| *verdict == "s").map(|(event, _)| event).collect();
    let timelines = copies.iter().map(|Copy { node, timeline: told, .. }| {
        let timeline: BTreeSet<_> = told.iter().collect();
        assert_eq!(timeline.len(), told.len(), "node {node} tells an event twice");
        (node, &timeline - &softly_failed)
    });
    for pair in timelines.collect::<Vec<_>>().windows(2) {
        let apart: Vec<_> = pair[0].1.symmetric_difference(&pair[1].1).collect();
        assert!(apart.is_empty(), "the timelines at nodes {} and {} differ in {apart:?}", pair[0].0, pair[1].0);
    }
}

/// What a user's first client is told that has been told nothing yet.
fn first_sync(world: &World, node: usize) -> Value {
    world.request(node, Method::Get, "/_matrix/client/v3/sync?timeout=0", json!({})).expect("an answer").ok().body
}

/// A message from device to device that was acknowledged comes once, and one that was not at most once.
fn each_whisper_came_once(world: &World, told: &[Value]) {
    let heard: Vec<_> = told.iter().enumerate().map(|(node, told)| whispers_heard(world, node, told.clone())).collect();
    for (node, heard) in heard.iter().enumerate() {
        let different: BTreeSet<_> = heard.iter().collect();
        assert_eq!(different.len(), heard.len(), "node {node} was told a message to its device twice: {heard:?}");
    }
    for (node, number) in &world.whispers {
        assert!(heard[*node].contains(number), "node {node} was not told message {number} to its device");
    }
}

fn whispers_heard(world: &World, node: usize, mut told: Value) -> Vec<u64> {
    let mut heard = Vec::new();
    loop {
        let news: Vec<_> = told["to_device"]["events"].as_array().into_iter().flatten().cloned().collect();
        if news.is_empty() {
            return heard;
        }
        heard.extend(news.iter().filter_map(|message| message["content"]["number"].as_u64()));
        let since = encode(told["next_batch"].as_str().expect("a token"));
        let target = format!("/_matrix/client/v3/sync?timeout=0&since={since}");
        told = world.request(node, Method::Get, &target, json!({})).expect("an answer").ok().body;
    }
}

/// Whether an event is said to be at a relay though everybody has what was sent to them: the acknowledgement was lost with somebody's
/// power, and nobody has spoken to the other since.
pub(crate) fn any_thought_at_relay(world: &World, room: usize) -> bool {
    let (joined, _) = agreeing(world, room);
    let any = deliveries(world, room, &joined).iter().any(|(.., state)| state == "at_relay");
    if any {
        let copies: Vec<_> = joined.iter().map(|node| Copy::of(world, room, *node)).collect();
        nothing_acknowledged_is_missing(world, room, &joined, &copies);
    }
    any
}

/// What a client was told is sent, every member has.
fn nothing_acknowledged_is_missing(world: &World, room: usize, joined: &[usize], copies: &[Copy]) {
    for Copy { node, verdicts, .. } in copies {
        for Acknowledged { node: sender, event, .. } in acknowledged(world, room, joined) {
            assert!(verdicts.contains_key(event), "{event} of node {sender} is missing at node {node}");
        }
    }
}

/// Whoever was sent an event and has it is told of as having it, and nothing waits any more.
fn what_is_there_is_said_to_be_delivered(world: &World, room: usize, joined: &[usize]) {
    for (sender, event, name, state) in deliveries(world, room, joined) {
        assert_eq!(state, "delivered", "{event} of node {sender} on its way to {name}");
    }
}

/// The events that were acknowledged to these members.
fn acknowledged<'a>(world: &'a World, room: usize, joined: &'a [usize]) -> impl Iterator<Item = &'a Acknowledged> {
    world.acknowledged.iter().filter(move |event| event.room == room && joined.contains(&event.node))
}

/// What the members' servers say of their events on their way to each other: the sender, the event, the destination and the state.
fn deliveries(world: &World, room: usize, joined: &[usize]) -> Vec<(usize, String, String, String)> {
    let names: BTreeSet<_> = joined.iter().map(|node| world.network[*node].name()).collect();
    let mut deliveries = Vec::new();
    for sender in joined {
        let sent: Vec<_> = acknowledged(world, room, std::slice::from_ref(sender)).map(|sent| &sent.event).collect();
        for events in sent.chunks(MAX_ASKED_FOR) {
            let query: String = events.iter().map(|event| format!("&event_id={}", encode(event))).collect();
            let target = format!("/_inglenook/rooms/{}/delivery?{}", encode(&world.rooms[room].id), &query[1..]);
            let answer = world.request(*sender, Method::Get, &target, json!({})).expect("an answer").ok();
            for event in events {
                let destinations = answer.body["events"][event]["destinations"].as_object().cloned().unwrap_or_default();
                let of_members = destinations.into_iter().filter(|(name, _)| names.contains(name));
                let state = |delivery: &Value| delivery["state"].as_str().unwrap().to_owned();
                deliveries.extend(of_members.map(|(name, delivery)| (*sender, (*event).clone(), name, state(&delivery))));
            }
        }
    }
    deliveries
}
