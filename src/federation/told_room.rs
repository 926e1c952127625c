//! A room as another server tells it: its events checked and stored in chunks, so that memory is bounded however large it is.

use std::rc::Rc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedRoomId, RoomId, ServerName};
use serde_json::value::RawValue;

use super::malformed;
use crate::{
    error::Error,
    event::{CheckedPdu, Pdu, RawPdu, RoomVersion},
    federation_receiver::{check, check_by, wanted_keys},
    gather::Gather,
    identity::key_ring::{FoundKeys, WantedKey},
    ordered::{OrderedMap, OrderedSet},
    room_server::{Draft, Input, InputKind, Room, Undecided, Verdict, import::ToldEvent},
    server::Server,
};

/// So many bytes of events are parsed, checked and committed at once: few commits, each of which waits for the disk, and some MB
/// of memory.
const CHUNK_BYTES: usize = 512 * 1024;

/// The events of a room that were told, as they were told.
pub(super) struct ToldRoom<'a> {
    id: OwnedRoomId,
    version: RoomVersion,
    events: OrderedMap<OwnedEventId, Told<'a>>,
    state: OrderedSet<OwnedEventId>,
    create: Option<OwnedEventId>,
}

/// What is known of an event before it is checked.
struct Told<'a> {
    json: &'a RawValue,
    auth_events: Vec<OwnedEventId>,
    keys: Vec<WantedKey>,
}

impl<'a> ToldRoom<'a> {
    pub(super) fn new(id: &RoomId, version: RoomVersion) -> Self {
        Self { id: id.to_owned(), version, events: OrderedMap::new(), state: OrderedSet::new(), create: None }
    }

    /// Adds events that authorise others. What cannot be read is left out, as are events of other rooms.
    pub(super) fn add_auth_chain(&mut self, events: &[&'a RawValue]) {
        events.iter().for_each(|json| drop(self.add(json)));
    }

    /// Adds events that make up the state.
    pub(super) fn add_state(&mut self, events: &[&'a RawValue]) {
        let ids: Vec<_> = events.iter().filter_map(|json| self.add(json)).collect();
        self.state.extend(ids);
    }

    fn add(&mut self, json: &'a RawValue) -> Option<OwnedEventId> {
        let raw = RawPdu::parse(json.get().as_bytes()).ok()?;
        let id = raw.event_id(&self.version).ok()?;
        let is_create = raw.field("type").and_then(CanonicalJsonValue::as_str) == Some("m.room.create");
        let room = match raw.room_id() {
            None if is_create && self.version.room_id_is_create_hash() => RoomId::parse(id.as_str().replacen('$', "!", 1)).ok()?,
            room => RoomId::parse(room?).ok()?,
        };
        if room != self.id {
            return None;
        }
        if is_create {
            self.create = Some(id.clone());
        }
        let keys = wanted_keys(&raw, &self.version);
        self.events.insert(id.clone(), Told { json, auth_events: raw.auth_events(), keys });
        Some(id)
    }

    /// Stores what `teller` has told, and enters the room by `event`, or by several commits changes nothing that anybody sees.
    pub(super) async fn enter(&self, server: &Server, event: &CheckedPdu, teller: &ServerName) -> Result<Rc<Room>, Error> {
        let create = self.create.as_ref().filter(|create| self.state.contains(*create));
        let create = create.ok_or_else(|| malformed("the room has no create event"))?;
        let keys = self.events.values().flat_map(|told| told.keys.iter().cloned()).gather();
        let keys = server.keys.find_for_events(&keys, &self.id, Some(teller)).await;
        let create = self.check(&keys, std::slice::from_ref(create));
        if !create.first().is_some_and(|create| states_version(create, &self.version)) {
            return Err(malformed("the create event is not of the version that was told"));
        }
        let room = server.rooms.room_of_version(&self.id, &self.version).await?;
        // Nothing is kept of a room whose create event is not right: its version would be believed later.
        let found = server.rooms.transact_in(&room, |draft| {
            let told = draft.take_in(&create)?.pop().flatten();
            told.ok_or_else(|| malformed("the create event is not one that the rules allow").into())
        });
        let mut state = vec![found.await?];
        let others: Vec<_> = self.in_order().into_iter().filter(|id| self.create.as_ref() != Some(id)).collect();
        let mut others = others.as_slice();
        while !others.is_empty() {
            let (chunk, rest) = others.split_at(self.chunk(others));
            state.extend(self.take_in(server, &room, self.check(&keys, chunk)).await?);
            others = rest;
        }
        let is_resident = server.rooms.is_resident(&room, server.identity.server_name()).await?;
        let entered = server
            .rooms
            .transact_in(&room, |draft| if is_resident { receive(draft, event, &self.state) } else { Ok(draft.enter(event, &state)?) });
        entered.await?.map_err(malformed)?;
        // Whoever told a room that could not be entered must not stand in the way of those who are asked next.
        server.keys.keep_vouched(&self.id, &keys).await;
        Ok(room)
    }

    /// How many of these events are taken in together: one at least.
    fn chunk(&self, ids: &[OwnedEventId]) -> usize {
        let sizes = ids.iter().map(|id| self.events.get(id).map_or(0, |told| told.json.get().len()));
        let bytes = sizes.scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        });
        bytes.take_while(|bytes| *bytes <= CHUNK_BYTES).count().max(1)
    }

    /// Stores events, and returns those that may stand in the told state and do.
    async fn take_in(&self, server: &Server, room: &Rc<Room>, events: Vec<CheckedPdu>) -> Result<Vec<ToldEvent>, Error> {
        let told = server.rooms.transact_in(room, |draft| draft.take_in(&events)).await?;
        let in_state = events.iter().zip(told).filter(|(event, _)| self.state.contains(&event.pdu().event_id));
        Ok(in_state.filter_map(|(_, told)| told).collect())
    }

    /// Those of the events that are what they seem.
    fn check(&self, keys: &FoundKeys, ids: &[OwnedEventId]) -> Vec<CheckedPdu> {
        let raw = ids.iter().filter_map(|id| RawPdu::parse(self.events.get(id)?.json.get().as_bytes()).ok());
        let checked = check_by(keys, &self.version, raw.collect());
        checked.into_iter().flatten().filter(|event| event.pdu().room_id == self.id).collect()
    }

    /// The events, each behind those that authorise it. Events that authorise each other in a circle are in no order, and are
    /// left out.
    fn in_order(&self) -> Vec<OwnedEventId> {
        let mut waiting: OrderedMap<&EventId, usize> = OrderedMap::new();
        let mut leads_to: OrderedMap<&EventId, Vec<&EventId>> = OrderedMap::new();
        for (id, told) in &self.events {
            let known: OrderedSet<_> = told.auth_events.iter().filter(|auth_event| self.events.contains_key(*auth_event)).gather();
            waiting.insert(id, known.len());
            known.into_iter().for_each(|auth_event| leads_to.entry(auth_event).or_default().push(id));
        }
        let mut ready: Vec<_> = waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
        let mut ordered = Vec::with_capacity(self.events.len());
        while let Some(id) = ready.pop() {
            ordered.push(id.to_owned());
            for next in leads_to.remove(id).unwrap_or_default() {
                let count = waiting.entry(next).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ready.push(next);
                }
            }
        }
        ordered
    }
}

/// The event that this server has made, with the signatures that others have added to it.
pub(super) async fn signed_by_others(
    server: &Server,
    version: &RoomVersion,
    own: &CheckedPdu,
    signed: &RawValue,
) -> Result<CheckedPdu, Error> {
    let raw = RawPdu::parse(signed.get().as_bytes()).map_err(malformed)?;
    let checked = check(server, (&own.pdu().room_id, version), vec![raw]).await.pop().and_then(Result::ok);
    let signed = checked.ok_or_else(|| malformed("the event came back without the signatures that it needs"))?;
    if unsigned(own.pdu())? == unsigned(signed.pdu())? { Ok(signed) } else { Err(malformed("the event came back as another")) }
}

/// Receives the event in a room that this server is in: it is one event among others, and settles nothing but itself.
fn receive(draft: &mut Draft<'_>, event: &CheckedPdu, state: &OrderedSet<OwnedEventId>) -> Result<Result<(), String>, Undecided> {
    let mut input = Input { event: event.clone(), kind: InputKind::New, state_before: None };
    let mut verdict = draft.receive(&input)?;
    if let Verdict::Missing { auth_events, .. } = &verdict
        && auth_events.is_empty()
    {
        input.state_before = Some(state.iter().cloned().collect());
        verdict = draft.receive(&input)?;
    }
    match verdict {
        Verdict::Missing { .. } => Ok(Err("not all of the state was told".into())),
        Verdict::Stored(crate::room_server::stored::Status::Rejected) => Ok(Err("the room's state does not allow the event".into())),
        Verdict::Stored(_) | Verdict::Known => Ok(Ok(())),
    }
}

/// Whether a create event says that its room is of this version. One that says nothing says the first.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mroomcreate>
fn states_version(create: &CheckedPdu, version: &RoomVersion) -> bool {
    create.pdu().content_str("room_version").as_deref().unwrap_or("1") == version.id.as_str()
}

fn unsigned(pdu: &Pdu) -> Result<CanonicalJsonObject, Error> {
    let mut object: CanonicalJsonObject = serde_json::from_str(pdu.json.get()).map_err(|error| Error::bug(error.to_string()))?;
    object.remove("signatures");
    Ok(object)
}
