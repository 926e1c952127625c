//! Whether the rows of a room agree with each other.

use std::collections::{BTreeMap, BTreeSet};

use futures_executor::block_on;
use ruma::OwnedEventId;

use super::world::{Peer, State};
use crate::{
    log::Output,
    room_server::{
        EventNumber, Position,
        commit::{UserRoom, read_room_log_row},
        stored::{Status, StoredEvent},
    },
    storage::{Key, KeyReader, Row, Scan, Table},
};

fn rows(peer: &Peer, prefix: Key) -> Vec<Row> {
    block_on(peer.store.scan(&Scan::prefix(prefix))).unwrap()
}

/// All events of the room.
fn events(peer: &Peer) -> Vec<std::sync::Arc<StoredEvent>> {
    let rows = rows(peer, Key::new(Table::Events)).into_iter();
    let of_room = rows.filter(|row| StoredEvent::room_of(&row.value) == Some(peer.room.number));
    let numbers = of_room.map(|row| EventNumber(KeyReader::new(&row.key).number().unwrap()));
    block_on(peer.rooms.events(&peer.room, &numbers.collect::<Vec<_>>())).unwrap()
}

fn memberships(peer: &Peer, state: &State) -> BTreeMap<String, (String, OwnedEventId)> {
    let members = state.iter().filter(|((kind, _), _)| kind == "m.room.member");
    let membership = |id: &OwnedEventId| peer.stored(id).pdu.content_str("membership").unwrap();
    members.map(|((_, user), id)| (user.clone(), (membership(id), id.clone()))).collect()
}

/// Asserts that everything that is stored of a room tells the same story.
pub(super) fn check(peer: &Peer) {
    let events = events(peer);
    check_events(peer, &events);
    check_timeline(peer, &events);
    check_room_log(peer, &events);
    check_members(peer);
}

fn check_events(peer: &Peer, events: &[std::sync::Arc<StoredEvent>]) {
    let of_room = |row: &Row| {
        let mut key = KeyReader::new(&row.key);
        (key.text(), key.number()).1 == Some(peer.room.number.0)
    };
    let ids = rows(peer, Key::new(Table::EventIds)).into_iter().filter(of_room).count();
    assert_eq!(ids, events.len(), "each event has one ID");
    for event in events {
        assert_eq!(peer.stored(&event.pdu.event_id).number, event.number);
        for auth_event in &event.pdu.auth_events {
            assert!(peer.stored(auth_event).number < event.number, "numbers are an order of the graph");
        }
        let expected: Vec<_> =
            event.pdu.state_key.iter().filter(|_| !matches!(event.decided.status, Status::Rejected | Status::Outlier)).collect();
        let mut after = peer.state(event.decided.before);
        for state_key in expected {
            after.insert((event.pdu.kind.to_string(), state_key.clone()), event.pdu.event_id.clone());
        }
        assert_eq!(peer.state(event.decided.after), after);
    }
}

fn check_timeline(peer: &Peer, events: &[std::sync::Arc<StoredEvent>]) {
    let expected: BTreeSet<_> = events.iter().filter(|event| event.is_shown()).map(|event| (event.pdu.depth, event.number.0)).collect();
    let place = |row: Row| {
        let mut key = KeyReader::new(&row.key);
        let (_, depth, number) = (key.number(), key.number().unwrap(), key.number().unwrap());
        (depth, number)
    };
    let found: Vec<_> = rows(peer, Key::new(Table::Timeline).number(peer.room.number.0)).into_iter().map(place).collect();
    assert_eq!((found.len(), BTreeSet::from_iter(found)), (expected.len(), expected), "the timeline holds what is shown, once");
}

fn check_room_log(peer: &Peer, events: &[std::sync::Arc<StoredEvent>]) {
    let of_room = |output: &Output| matches!(output, Output::Event { room, .. } if *room == peer.room.number);
    let mut log = block_on(peer.log.read(Position(0), usize::MAX)).unwrap();
    log.retain(|(_, output)| of_room(output));
    let placed: BTreeMap<_, _> =
        events.iter().filter(|event| event.decided.position != Position(0)).map(|event| (event.decided.position, event.number)).collect();
    let room_log = rows(peer, Key::new(Table::RoomLog).number(peer.room.number.0));
    assert_eq!((log.len(), room_log.len()), (placed.len(), placed.len()), "each event that is told of is told once");
    let mut current: BTreeSet<EventNumber> = BTreeSet::new();
    for ((position, output), row) in log.iter().zip(&room_log) {
        let Output::Event { event, added, removed, .. } = output else { panic!("there are only events") };
        assert_eq!(placed[position], *event);
        let (logged, snapshot) = read_room_log_row(&row.value).unwrap();
        assert_eq!(logged, *event);
        removed.iter().for_each(|event| assert!(current.remove(event), "only what was there goes"));
        added.iter().for_each(|event| assert!(current.insert(*event), "only what was not there comes"));
        let state: BTreeSet<_> = peer.state(snapshot).values().map(|id| peer.stored(id).number).collect();
        assert_eq!(current, state, "what came and went adds up to the state");
    }
    let head = peer.room.head();
    assert_eq!(log.last().map(|(position, _)| *position).unwrap_or_default(), head.position);
    assert_eq!(room_log.last().map(|row| read_room_log_row(&row.value).unwrap().1).unwrap_or_default(), head.current);
}

fn check_members(peer: &Peer) {
    let memberships = memberships(peer, &peer.current());
    let count = |wanted: &str| memberships.values().filter(|(membership, _)| membership == wanted).count() as u64;
    let head = peer.room.head();
    assert_eq!((head.joined, head.invited), (count("join"), count("invite")), "counts of members");
    let member = |row: Row| {
        let mut key = KeyReader::new(&row.key);
        let (_, membership, user) = (key.number(), key.text().unwrap(), key.text().unwrap());
        let event = block_on(peer.rooms.events(&peer.room, &[EventNumber::from_bytes(&row.value).unwrap()])).unwrap().remove(0);
        (user, (membership, event.pdu.event_id.clone()))
    };
    let found: Vec<_> = rows(peer, Key::new(Table::Members).number(peer.room.number.0)).into_iter().map(member).collect();
    assert_eq!((found.len(), found.into_iter().collect()), (memberships.len(), memberships.clone()), "the table of members");
    let server = peer.server_name();
    let local: BTreeMap<_, _> = memberships.into_iter().filter(|(user, _)| user.ends_with(&server)).collect();
    let user_room = |row: Row| {
        let mut key = KeyReader::new(&row.key);
        let (user, room) = (key.text().unwrap(), key.number());
        if room != Some(peer.room.number.0) {
            return None;
        }
        let row: UserRoom = serde_json::from_slice(&row.value).unwrap();
        let event = block_on(peer.rooms.events(&peer.room, &[row.event])).unwrap().remove(0);
        Some((user, (row.membership, event.pdu.event_id.clone())))
    };
    let found: BTreeMap<_, _> = rows(peer, Key::new(Table::UserRooms)).into_iter().filter_map(user_room).collect();
    // Who is no member any more may have a row that says so.
    let found: BTreeMap<_, _> =
        found.into_iter().filter(|(user, (membership, _))| local.contains_key(user) || membership != "leave").collect();
    assert_eq!(found, local, "the rooms of local users");
}
