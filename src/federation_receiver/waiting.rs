//! Events that wait for what is before them, durably: whoever sent them will not send them again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use ruma::{OwnedEventId, OwnedRoomId, RoomId, ServerName};

use super::schedule::GapId;
use crate::{
    error::Error,
    event::{CheckedPdu, RawPdu},
    gather::Gather,
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
    gaps: RefCell<BTreeMap<GapId, BTreeMap<OwnedEventId, Brief>>>,
}

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
        let mut gaps: BTreeMap<GapId, BTreeMap<OwnedEventId, Brief>> = BTreeMap::new();
        for (gap, id, row) in rows.iter().filter_map(|row| read_key(row).map(|(gap, id)| (gap, id, row))) {
            let prev_events = RawPdu::parse(&row.value).map(|raw| raw.prev_events()).unwrap_or_default();
            gaps.entry(gap).or_default().insert(id, Brief { bytes: row.value.len(), prev_events });
        }
        Ok(Self { store, gaps: RefCell::new(gaps) })
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
    pub(super) fn gaps_behind(&self, room: &RoomId, placed: &BTreeSet<OwnedEventId>) -> Vec<GapId> {
        let gaps = self.gaps.borrow();
        let is_behind = |events: &BTreeMap<OwnedEventId, Brief>| {
            events.values().any(|brief| brief.prev_events.iter().any(|previous| placed.contains(previous)))
        };
        gaps.iter().filter(|(gap, events)| gap.0 == *room && is_behind(events)).map(|(gap, _)| gap.clone()).collect()
    }

    /// Whether nothing waits there.
    pub(super) fn is_empty(&self, gap: &GapId) -> bool {
        !self.gaps.borrow().contains_key(gap)
    }

    /// Stores events that wait from here on, and returns those for which there was no room.
    pub(super) async fn add(&self, gap: &GapId, events: Vec<NewWaiting>, is_resident: bool) -> Result<Vec<OwnedEventId>, Error> {
        let (mut batch, mut refused) = (Batch::new(), Vec::new());
        let mut after = self.gaps.borrow().get(gap).cloned().unwrap_or_default();
        let elsewhere = self.bytes_elsewhere(gap);
        let strangers_fit = is_resident || !after.is_empty() || self.strangers_in(&gap.0) < MAX_STRANGERS;
        for event in events.into_iter().filter(|event| !self.has(gap, &event.id)) {
            let brief = Brief { bytes: event.json.len(), prev_events: event.prev_events };
            after.insert(event.id.clone(), brief);
            if !fits(&after, is_resident, elsewhere) {
                for id in named_by_others(&after) {
                    after.remove(&id);
                    batch.delete(row_key(gap, &id));
                }
            }
            if !after.contains_key(&event.id) {
                // Others that wait name it, so that it can be asked for.
                continue;
            }
            if strangers_fit && fits(&after, is_resident, elsewhere) {
                batch.put(row_key(gap, &event.id), event.json);
            } else {
                after.remove(&event.id);
                refused.push(event.id);
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
            // What was placed meanwhile is found to be gone when it is read.
            if !after.is_empty() {
                self.gaps.borrow_mut().insert(gap.clone(), after);
            }
        }
        Ok(refused)
    }

    fn has(&self, gap: &GapId, id: &OwnedEventId) -> bool {
        self.gaps.borrow().get(gap).is_some_and(|events| events.contains_key(id))
    }

    fn bytes_elsewhere(&self, gap: &GapId) -> usize {
        let gaps = self.gaps.borrow();
        gaps.iter().filter(|(other, _)| *other != gap).flat_map(|(_, events)| events.values()).map(|brief| brief.bytes).sum()
    }

    fn strangers_in(&self, room: &RoomId) -> usize {
        self.gaps.borrow().keys().filter(|(other, _)| other == room).count()
    }

    /// The events that wait there, with their rows.
    pub(super) async fn read(&self, gap: &GapId) -> Result<Vec<(RawPdu, Key)>, Error> {
        let rows = self.store.scan(&Scan::prefix(gap_prefix(gap))).await?;
        let stored: BTreeSet<OwnedEventId> = rows.iter().filter_map(|row| read_key(row).map(|(_, id)| id)).gather();
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

fn fits(events: &BTreeMap<OwnedEventId, Brief>, is_resident: bool, elsewhere: usize) -> bool {
    let bytes: usize = events.values().map(|brief| brief.bytes).sum();
    let max_events = if is_resident { MAX_EVENTS } else { MAX_EVENTS_OF_STRANGER };
    events.len() <= max_events && bytes <= MAX_BYTES && bytes + elsewhere <= MAX_BYTES_IN_ALL
}

/// Events that others that wait name as before them.
fn named_by_others(events: &BTreeMap<OwnedEventId, Brief>) -> Vec<OwnedEventId> {
    let named: BTreeSet<_> = events.values().flat_map(|brief| &brief.prev_events).gather();
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
