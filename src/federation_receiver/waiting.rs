//! Events that wait for what is before them, durably: whoever sent them will not send them again.

use std::{cell::RefCell, rc::Rc};

use ruma::{OwnedEventId, OwnedRoomId, RoomId, ServerName};

use super::schedule::GapId;
use crate::{
    error::Error,
    event::{CheckedPdu, RawPdu},
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
    ports::Store,
    storage::{Batch, Key, KeyReader, Row, Scan, Table},
};

/// What a server of the room may have waiting in it. What it sends beyond that drives out what others that wait name as before
/// them, since that can be asked for again; and nothing of anybody else's.
const MAX_EVENTS: usize = 500;
const MAX_BYTES: usize = 4 << 20;

/// The same for a server that is not known to be in the room: it may be, by an event that is missing.
const MAX_EVENTS_OF_STRANGER: usize = 20;

/// So many servers that are not known to be in the room may have events waiting in it.
const MAX_STRANGERS: usize = 10;

/// What one server may have waiting in all rooms together.
const MAX_BYTES_OF_ORIGIN: usize = 8 << 20;

/// What may wait in all rooms together: a small part of what a browser stores for a site.
const MAX_BYTES_IN_ALL: usize = 64 << 20;

/// An event that is to wait.
#[derive(Clone, Debug)]
pub(super) struct NewWaiting {
    pub(super) id: OwnedEventId,
    pub(super) prev_events: Vec<OwnedEventId>,
    /// The event as it came.
    pub(super) json: String,
}

/// The events that wait, and what is known of them without reading them.
pub(crate) struct Waiting {
    store: Rc<dyn Store>,
    gaps: RefCell<OrderedMap<GapId, Briefs>>,
    /// Those of servers that were not known to be in the room when something came or was tried last, since the start.
    strangers: RefCell<OrderedSet<GapId>>,
}

/// The events of a gap.
type Briefs = OrderedMap<OwnedEventId, Brief>;

/// Tells whether the last attempt to close a gap was in vain.
pub(super) type HasFailed<'a> = &'a dyn Fn(&GapId) -> bool;

#[derive(Clone, Debug)]
struct Brief {
    bytes: usize,
    prev_events: Vec<OwnedEventId>,
}

impl NewWaiting {
    /// An event whose keys could not be had.
    pub(super) fn unchecked(id: OwnedEventId, raw: &RawPdu) -> Self {
        Self { id, prev_events: raw.prev_events(), json: raw.to_json() }
    }

    /// An event that lacks what is before it.
    pub(super) fn checked(event: &CheckedPdu) -> Self {
        let pdu = event.pdu();
        Self { id: pdu.event_id.clone(), prev_events: pdu.prev_events.clone(), json: pdu.json.get().to_owned() }
    }
}

impl Waiting {
    /// Reads what waits since earlier.
    pub(super) async fn open(store: Rc<dyn Store>) -> Result<Self, Error> {
        let rows = store.scan(&Scan::prefix(Key::new(Table::Waiting))).await?;
        let mut gaps: OrderedMap<GapId, Briefs> = OrderedMap::new();
        for (gap, id, row) in rows.iter().filter_map(|row| read_key(row).map(|(gap, id)| (gap, id, row))) {
            let prev_events = RawPdu::parse(&row.value).map(|raw| raw.prev_events()).unwrap_or_default();
            gaps.entry(gap).or_default().insert(id, Brief { bytes: row.value.len(), prev_events });
        }
        Ok(Self { store, gaps: RefCell::new(gaps), strangers: RefCell::default() })
    }

    /// Where events wait.
    pub(super) fn gaps(&self) -> Vec<GapId> {
        self.gaps.borrow().keys().cloned().collect()
    }

    /// Where events of a server wait.
    pub(super) fn gaps_of(&self, origin: &ServerName) -> Vec<GapId> {
        self.gaps.borrow().keys().filter(|(_, server)| server == origin).cloned().collect()
    }

    /// Where events of a room wait for one of these.
    pub(super) fn gaps_behind(&self, room: &RoomId, placed: &OrderedSet<OwnedEventId>) -> Vec<GapId> {
        let gaps = self.gaps.borrow();
        let is_behind = |events: &Briefs| events.values().any(|brief| brief.prev_events.iter().any(|previous| placed.contains(previous)));
        gaps.iter().filter(|(gap, events)| gap.0 == *room && is_behind(events)).map(|(gap, _)| gap.clone()).collect()
    }

    /// Whether nothing waits there.
    pub(super) fn is_empty(&self, gap: &GapId) -> bool {
        !self.gaps.borrow().contains_key(gap)
    }

    /// Stores events that wait from here on, and says whether there was space for all of them. For its sake those gaps are given up that
    /// take up most, of those that nobody could close when it was last tried.
    pub(super) async fn add(
        &self,
        gap: &GapId,
        events: Vec<NewWaiting>,
        is_resident: bool,
        has_failed: HasFailed<'_>,
    ) -> Result<bool, Error> {
        let (mut batch, mut all_fit) = (Batch::new(), true);
        let mut after = self.gaps.borrow().get(gap).cloned().unwrap_or_default();
        let coming = events.iter().map(|event| event.json.len()).sum::<usize>() + bytes_of(&after);
        let given_up = self.make_space(gap, coming.min(MAX_BYTES), is_resident, has_failed);
        given_up.iter().for_each(|(gap, events)| events.keys().for_each(|id| batch.delete(row_key(gap, id))));
        let elsewhere = self.bytes_elsewhere(gap);
        let strangers_fit = is_resident || self.strangers_beside(gap) < MAX_STRANGERS;
        for event in events.into_iter().filter(|event| !self.has(gap, &event.id)) {
            let brief = Brief { bytes: event.json.len(), prev_events: event.prev_events };
            after.insert(event.id.clone(), brief);
            if !fits(&after, is_resident, &elsewhere) {
                for id in named_by_others(&after) {
                    after.remove(&id);
                    batch.delete(row_key(gap, &id));
                }
            }
            if !after.contains_key(&event.id) {
                // Others that wait name it, so that it can be asked for.
                continue;
            }
            if strangers_fit && fits(&after, is_resident, &elsewhere) {
                batch.put(row_key(gap, &event.id), event.json);
            } else {
                after.remove(&event.id);
                all_fit = false;
            }
        }
        if !batch.is_empty() {
            if let Err(error) = self.store.commit(batch).await {
                given_up.into_iter().for_each(|(gap, events)| self.gaps.borrow_mut().entry(gap).or_default().extend(events));
                return Err(error.into());
            }
            // What was placed meanwhile is found to be gone when it is read.
            if !after.is_empty() {
                self.gaps.borrow_mut().insert(gap.clone(), after);
                self.note_stranger(gap, !is_resident);
            }
        }
        Ok(all_fit)
    }

    /// Forgets other gaps, until there is space for so many bytes or nothing that may go. Servers that are not known to be in a room make space
    /// among themselves only: anybody can be one.
    fn make_space(&self, gap: &GapId, coming: usize, is_resident: bool, has_failed: HasFailed<'_>) -> Vec<(GapId, Briefs)> {
        let mut given_up = Vec::new();
        loop {
            let elsewhere = self.bytes_elsewhere(gap);
            let is_full = coming + elsewhere.in_all > MAX_BYTES_IN_ALL;
            let is_origin_full = coming + elsewhere.of_origin > MAX_BYTES_OF_ORIGIN;
            let is_room_full = !is_resident && self.strangers_beside(gap) >= MAX_STRANGERS;
            let strangers = self.strangers.borrow();
            let may_go = |other: &GapId| {
                let helps = is_full || (is_origin_full && other.1 == gap.1) || (is_room_full && other.0 == gap.0);
                helps && other != gap && (is_resident || other.1 == gap.1 || strangers.contains(other)) && has_failed(other)
            };
            let mut gaps = self.gaps.borrow_mut();
            let largest = gaps.iter().filter(|(other, _)| may_go(other)).max_by_key(|(_, events)| bytes_of(events));
            let Some(largest) = largest.map(|(other, _)| other.clone()) else { return given_up };
            given_up.extend(gaps.remove_entry(&largest));
        }
    }

    /// Gives up whatever waits there.
    pub(super) async fn clear(&self, gap: &GapId) -> Result<(), Error> {
        let rows = self.store.scan(&Scan::prefix(gap_prefix(gap))).await?;
        self.delete(rows.iter().map(|row| Key::new(Table::Waiting).raw(&row.key)).collect()).await?;
        self.forget(gap, |_| true);
        Ok(())
    }

    /// Notes of the server of a gap whether it is known to be in the room.
    pub(super) fn note_stranger(&self, gap: &GapId, is_stranger: bool) {
        let mut strangers = self.strangers.borrow_mut();
        if is_stranger {
            let gaps = self.gaps.borrow();
            strangers.retain(|stranger| gaps.contains_key(stranger));
            strangers.insert(gap.clone());
        } else {
            strangers.remove(gap);
        }
    }

    fn has(&self, gap: &GapId, id: &OwnedEventId) -> bool {
        self.gaps.borrow().get(gap).is_some_and(|events| events.contains_key(id))
    }

    fn bytes_elsewhere(&self, gap: &GapId) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        for (other, events) in self.gaps.borrow().iter().filter(|(other, _)| *other != gap) {
            let bytes = bytes_of(events);
            elsewhere.in_all += bytes;
            elsewhere.of_origin += if other.1 == gap.1 { bytes } else { 0 };
        }
        elsewhere
    }

    /// How many other servers that are not known to be in the room have events waiting in it.
    fn strangers_beside(&self, gap: &GapId) -> usize {
        let (gaps, strangers) = (self.gaps.borrow(), self.strangers.borrow());
        strangers.iter().filter(|other| other.0 == gap.0 && *other != gap && gaps.contains_key(*other)).count()
    }

    /// The events that wait there, with their rows.
    pub(super) async fn read(&self, gap: &GapId) -> Result<Vec<(RawPdu, Key)>, Error> {
        let rows = self.store.scan(&Scan::prefix(gap_prefix(gap))).await?;
        let stored: OrderedSet<OwnedEventId> = rows.iter().filter_map(|row| read_key(row).map(|(_, id)| id)).gather();
        self.forget(gap, |id| !stored.contains(id));
        let event = |row: &Row| Some((RawPdu::parse(&row.value).ok()?, row_key(gap, &read_key(row)?.1)));
        Ok(rows.iter().filter_map(event).collect())
    }

    /// Events whose rows are gone.
    pub(super) fn forget(&self, gap: &GapId, is_gone: impl Fn(&OwnedEventId) -> bool) {
        let mut gaps = self.gaps.borrow_mut();
        if let Some(events) = gaps.get_mut(gap) {
            events.retain(|id, _| !is_gone(id));
            if events.is_empty() {
                gaps.remove(gap);
            }
        }
    }

    /// Deletes rows of events that need not wait any longer.
    pub(super) async fn delete(&self, rows: Vec<Key>) -> Result<(), Error> {
        let mut batch = Batch::relaxed();
        rows.into_iter().for_each(|row| batch.delete(row));
        if batch.is_empty() { Ok(()) } else { Ok(self.store.commit(batch).await?) }
    }
}

/// What waits in other gaps, in bytes.
#[derive(Default)]
struct Elsewhere {
    in_all: usize,
    of_origin: usize,
}

fn bytes_of(events: &Briefs) -> usize {
    events.values().map(|brief| brief.bytes).sum()
}

fn fits(events: &Briefs, is_resident: bool, elsewhere: &Elsewhere) -> bool {
    let bytes = bytes_of(events);
    let max_events = if is_resident { MAX_EVENTS } else { MAX_EVENTS_OF_STRANGER };
    let fits_elsewhere = bytes + elsewhere.in_all <= MAX_BYTES_IN_ALL && bytes + elsewhere.of_origin <= MAX_BYTES_OF_ORIGIN;
    events.len() <= max_events && bytes <= MAX_BYTES && fits_elsewhere
}

/// Events that others that wait name as before them.
fn named_by_others(events: &Briefs) -> Vec<OwnedEventId> {
    let named: OrderedSet<_> = events.values().flat_map(|brief| &brief.prev_events).gather();
    events.keys().filter(|id| named.contains(id)).cloned().collect()
}

fn gap_prefix((room, origin): &GapId) -> Key {
    Key::new(Table::Waiting).text(room.as_str()).text(origin.as_str())
}

fn row_key(gap: &GapId, id: &OwnedEventId) -> Key {
    gap_prefix(gap).text(id.as_str())
}

fn read_key(row: &Row) -> Option<(GapId, OwnedEventId)> {
    let mut key = KeyReader::new(&row.key);
    let room: OwnedRoomId = RoomId::parse(key.text()?).ok()?;
    let origin = ServerName::parse(key.text()?).ok()?;
    Some(((room, origin), ruma::EventId::parse(key.text()?).ok()?))
}
