//! Closing a gap: fetching what is before events that wait, in bounded rounds, and where the gap is too wide, the state at it.

use std::rc::Rc;

use futures_util::FutureExt;
use ruma::{EventId, OwnedEventId, ServerName};

use super::{
    ask::{self, MAX_MISSING},
    check::{Unchecked, check},
    deliver::{Arrival, Kept, Outcome, as_recommended, deliver},
    gap::Gap,
    helpers::Helpers,
    merge::merge,
    schedule::GapId,
    told_state::{absent, ask_state, check_in_order, fetch_single, store, take_state},
};
use crate::{
    error::Error,
    event::{CheckedPdu, RawPdu},
    gather::Gather,
    ordered::OrderedSet,
    policy_servers::recommended,
    room_server::{Room, Verdict, stored::Status},
    server::Server,
    storage::{Key, KeyReader, Scan, Table},
};

/// So often the events before what was found so far are asked for. Servers answer with 20 at a time or more.
const MAX_ROUNDS: usize = 20;

/// For so many events the state before them is asked for in one attempt.
const MAX_EDGES: usize = 5;

/// So often, and so many events at most, are asked for that authorise others, before whole chains are.
const MAX_AUTH_ROUNDS: usize = 5;
const MAX_AUTH_EVENTS: usize = 200;

/// What an attempt came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    /// Whether anything got its place.
    pub(super) progressed: bool,
    /// Whether nothing waits any longer.
    pub(super) is_closed: bool,
}

/// One attempt to place what a server has sent of a room.
pub(super) async fn fill(server: &Server, room: &Rc<Room>, id: &GapId) -> Result<Filled, Error> {
    let mut filling = Filling::of(server, room, id).await?;
    server.receiver.note_stranger(id, !filling.is_resident);
    filling.load().await?;
    filling.find_missing().await?;
    filling.place().await?;
    filling.bridge().await?;
    merge(server, room).await?;
    let progressed = !filling.placed.is_empty();
    server.receiver.waiting.forget(id, |event| filling.placed.contains(event));
    Ok(Filled { progressed, is_closed: server.receiver.waiting.is_empty(id) })
}

/// Fetches and places what is missing before an event that a server has handed in, within the bounds of one attempt. The event itself
/// is left to who asks, and so is what authorises it where that is not stored yet.
pub(crate) async fn fill_before(
    server: &Server,
    room: &Rc<Room>,
    origin: &ServerName,
    event: &CheckedPdu,
) -> Result<Vec<CheckedPdu>, Error> {
    let id = (room.id.clone(), origin.to_owned());
    let mut filling = Filling::of(server, room, &id).await?;
    let arrival = Arrival { event: event.clone(), row: None };
    filling.gap.insert(arrival.clone());
    let missing = filling.gap.missing(server, room).await?;
    filling.gap.remove(&event.pdu().event_id);
    // The others do not know the event yet, but those that it names.
    filling.fetch_named(missing).await?;
    filling.find_missing().await?;
    let authorising = filling.find_auth_events(&[arrival]).await?;
    filling.place().await?;
    filling.bridge().await?;
    server.receiver.placed(server.now(), &room.id, &filling.placed);
    Ok(authorising)
}

pub(super) struct Filling<'a> {
    pub(super) server: &'a Server,
    pub(super) room: &'a Rc<Room>,
    pub(super) id: &'a GapId,
    /// Whether the server is in the room that has sent what waits. Of another, nothing is kept that is not accepted.
    is_resident: bool,
    pub(super) helpers: Helpers,
    pub(super) gap: Gap,
    /// Events that wait no longer.
    pub(super) placed: OrderedSet<OwnedEventId>,
}

impl<'a> Filling<'a> {
    async fn of(server: &'a Server, room: &'a Rc<Room>, id: &'a GapId) -> Result<Self, Error> {
        let helpers = Helpers::of(server, room, &id.1).await?;
        let is_resident = server.rooms.is_resident(room, &id.1).await?;
        Ok(Self { server, room, id, is_resident, helpers, gap: Gap::default(), placed: OrderedSet::new() })
    }

    /// Checks what waits. What turns out to be no event waits no longer.
    async fn load(&mut self) -> Result<(), Error> {
        let (events, rows): (Vec<_>, Vec<Key>) = self.server.receiver.waiting.read(self.id).await?.into_iter().unzip();
        let ids: Vec<_> = events.iter().map(|raw| raw.event_id(&self.room.version)).collect();
        let mut unfit = Vec::new();
        for ((checked, id), row) in check(self.server, (&self.room.id, &self.room.version), events).await.into_iter().zip(ids).zip(rows) {
            match checked {
                Ok(event) if event.pdu().room_id == self.room.id => self.gap.insert(Arrival { event, row: Some(row) }),
                Err(Unchecked::NoKey) => {}
                Ok(_) | Err(Unchecked::Unfit(_)) => {
                    self.placed.extend(id.ok());
                    unfit.push(row);
                }
            }
        }
        self.server.receiver.waiting.delete(unfit).await
    }

    /// Fetches these events, one by one.
    async fn fetch_named(&mut self, mut wanted: OrderedSet<OwnedEventId>) -> Result<(), Error> {
        for peer in self.helpers.present() {
            if wanted.is_empty() {
                break;
            }
            let told = self.fetch_single(&peer, &wanted).await;
            for event in check(self.server, (&self.room.id, &self.room.version), told).await.into_iter().flatten() {
                if event.pdu().room_id == self.room.id && wanted.remove(&event.pdu().event_id) {
                    self.gap.insert(Arrival { event, row: None });
                }
            }
        }
        Ok(())
    }

    /// Those of the events that a server gives in time.
    async fn fetch_single(&self, peer: &ServerName, wanted: &OrderedSet<OwnedEventId>) -> Vec<RawPdu> {
        let asking = fetch_single(self.server, self.room, peer, wanted).map(Ok);
        self.helpers.ask(peer, asking).await.unwrap_or_default()
    }

    /// Asks for the events before those that wait, until something that is known is reached or there were enough rounds.
    async fn find_missing(&mut self) -> Result<(), Error> {
        let min_depth = first_depth(self.server, self.room).await?;
        for _ in 0..MAX_ROUNDS {
            let missing = self.gap.missing(self.server, self.room).await?;
            if missing.is_empty() || self.ask_for(&missing, min_depth).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Asks one server after the other until one knows some of the missing events, and returns how many there were.
    async fn ask_for(&mut self, missing: &OrderedSet<OwnedEventId>, min_depth: u64) -> Result<usize, Error> {
        let earliest: Vec<_> = self.room.head().extremities.iter().map(|extremity| extremity.id.clone()).collect();
        let mut latest = self.gap.builders_on(missing);
        latest.truncate(MAX_MISSING);
        for peer in self.helpers.present() {
            let asking = ask::missing_events(self.server, &peer, &self.room.id, &earliest, &latest, min_depth);
            let answer = self.helpers.ask(&peer, asking).await;
            let Some(events) = self.helpers.heard(&peer, answer)? else { continue };
            let checked = check(self.server, (&self.room.id, &self.room.version), events).await.into_iter().flatten();
            let of_room = checked.filter(|event| event.pdu().room_id == self.room.id).collect();
            let added = self.gap.add_missing(of_room, missing, min_depth);
            if added > 0 {
                return Ok(added);
            }
        }
        Ok(0)
    }

    /// Places everything before which nothing is missing.
    async fn place(&mut self) -> Result<(), Error> {
        let circular = self.gap.take_circular();
        self.placed.extend(circular.iter().map(|arrival| arrival.event.pdu().event_id.clone()));
        self.server.receiver.waiting.delete(circular.into_iter().filter_map(|arrival| arrival.row).collect()).await?;
        let missing = self.gap.missing(self.server, self.room).await?;
        let placeable = self.gap.take_placeable(&missing);
        if placeable.is_empty() {
            return Ok(());
        }
        let authorising = self.find_auth_events(&placeable).await?;
        let kept = if self.is_resident { Kept::All } else { Kept::Accepted(&authorising) };
        let outcomes = deliver(self.server, self.room, placeable.clone(), kept).await?;
        // What was only found on the way and is refused is no progress: whoever is asked could go on for ever.
        let is_done = |arrival: &Arrival| match outcomes.get(&arrival.event.pdu().event_id) {
            Some(Outcome::Placed) => true,
            Some(Outcome::Refused) => arrival.row.is_some(),
            _ => false,
        };
        let done = placeable.iter().filter(|arrival| is_done(arrival));
        self.placed.extend(done.map(|arrival| arrival.event.pdu().event_id.clone()));
        // What lacks authorising events, or failed, is tried again the next time.
        Ok(())
    }

    /// Fetches the events that authorise these, as far as they are not here and can be had, and stores them, or returns those that are to
    /// be stored together with what they authorise.
    pub(super) async fn find_auth_events(&self, events: &[Arrival]) -> Result<Vec<CheckedPdu>, Error> {
        let among: OrderedSet<_> = events.iter().map(|arrival| &arrival.event.pdu().event_id).gather();
        let named = events.iter().flat_map(|arrival| &arrival.event.pdu().auth_events).filter(|id| !among.contains(id));
        let wanted = absent(self.server, self.room, &ask::unique(named.cloned())).await?;
        let (found, is_all) = self.fetch_auth_events(wanted.clone()).await?;
        if !self.is_resident {
            return Ok(check_in_order(self.server, self.room, found).await);
        }
        store(self.server, self.room, found).await?;
        let named_by = events.iter().find(|arrival| arrival.event.pdu().auth_events.iter().any(|id| wanted.contains(id)));
        let Some(event) = named_by.filter(|_| !is_all) else { return Ok(Vec::new()) };
        for peer in self.helpers.present() {
            let asking = ask::event_auth(self.server, &peer, &self.room.id, &event.event.pdu().event_id);
            let answer = self.helpers.ask(&peer, asking).await;
            if let Some(chain) = self.helpers.heard(&peer, answer)? {
                store(self.server, self.room, chain).await?;
                break;
            }
        }
        Ok(Vec::new())
    }

    /// Fetches events and those that authorise them, one by one. Returns them, and whether that led to what is known.
    async fn fetch_auth_events(&self, mut wanted: OrderedSet<OwnedEventId>) -> Result<(Vec<RawPdu>, bool), Error> {
        let mut found = Vec::new();
        let mut seen = wanted.clone();
        for _ in 0..MAX_AUTH_ROUNDS {
            if wanted.is_empty() || seen.len() > MAX_AUTH_EVENTS {
                break;
            }
            let mut fetched = Vec::new();
            for peer in self.helpers.present() {
                fetched = self.fetch_single(&peer, &wanted).await;
                if !fetched.is_empty() {
                    break;
                }
            }
            let named: Vec<_> = fetched.iter().flat_map(|raw| raw.auth_events()).filter(|id| !seen.contains(id)).collect();
            let got: OrderedSet<_> = fetched.iter().filter_map(|raw| raw.event_id(&self.room.version).ok()).gather();
            if got.len() < wanted.len() {
                return Ok((Vec::new(), false));
            }
            found.extend(fetched);
            wanted = absent(self.server, self.room, &ask::unique(named)).await?;
            seen.extend(wanted.iter().cloned());
        }
        Ok((found, wanted.is_empty()))
    }

    /// Where events before others cannot be had, goes on from the state there as others tell it.
    async fn bridge(&mut self) -> Result<(), Error> {
        let mut skipped = OrderedSet::new();
        for _ in 0..MAX_EDGES {
            let missing = self.gap.missing(self.server, self.room).await?;
            let Some(edge) = self.gap.edge(&missing, &skipped) else { break };
            let is_placed =
                if self.is_resident { self.place_edge(&edge).await? } else { self.place_with_what_follows(&edge, &missing).await? };
            if is_placed {
                self.placed.insert(edge.clone());
                self.gap.remove(&edge);
                self.place().await?;
            } else {
                skipped.insert(edge);
            }
            if self.gap.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Places an event before which events are missing, upon the state that a server tells.
    async fn place_edge(&self, id: &EventId) -> Result<bool, Error> {
        let Some(arrival) = self.gap.get(id).cloned() else { return Ok(false) };
        self.find_auth_events(std::slice::from_ref(&arrival)).await?;
        let judged = recommended(self.server, self.room, vec![arrival.event.clone()]).await?.pop();
        let Some((event, is_recommended)) = judged else { return Ok(false) };
        let kind = as_recommended(is_recommended);
        let own_server = arrival.event.pdu().sender.server_name().to_owned();
        // Whoever is not in the room any more could tell whatever there is to be stored.
        let is_there = self.server.rooms.is_resident(self.room, &own_server).await?;
        let peers = self.helpers.present_beginning_with(if is_there { &own_server } else { &self.id.1 });
        let mut refusals = 0;
        for peer in &peers {
            let asked = self.helpers.ask(peer, ask_state(self.server, self.room, peer, id)).await;
            let told = match asked {
                Ok(asked) => take_state(self.server, self.room, asked).await,
                Err(error) => Err(error),
            };
            let Some(state) = self.helpers.heard(peer, told)? else { continue };
            refusals += 1;
            // By telling a wrong state, a server could have others' events refused here for ever.
            let is_believed = *peer == own_server || self.helpers.are_only(peer) || (refusals == peers.len() && refusals > 1);
            let decided = self.server.rooms.transact_in(self.room, |draft| {
                let verdict = draft.receive_told(&event, kind, &state)?;
                let is_refused = verdict == Verdict::Stored(Status::Rejected) && !draft.is_rejected_by_itself(&arrival.event)?;
                if is_refused && !is_believed {
                    draft.restart();
                    return Ok(false);
                }
                if let (Some(row), false) = (&arrival.row, matches!(verdict, Verdict::Missing { .. })) {
                    draft.rows().delete(row.clone());
                }
                Ok(!matches!(verdict, Verdict::Missing { .. }))
            });
            if decided.await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The depth at which the room's history begins here. What is before it is for those to ask for who page back.
pub(super) async fn first_depth(server: &Server, room: &Room) -> Result<u64, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::Timeline).number(room.number.0)).limited(1)).await?;
    let depth = rows.first().and_then(|row| {
        let mut key = KeyReader::new(&row.key);
        key.number().and_then(|_| key.number())
    });
    Ok(depth.unwrap_or(0))
}
