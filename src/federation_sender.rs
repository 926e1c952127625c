//! The federation sender: a reader of the log that tells other servers what they may see, each from its own place on.
//!
//! The outbox is the log itself. Nothing is written for a destination when an event is made; what is written is how far a
//! destination has come, once it has come further. All destinations that lack nothing share one place in the log, so that the
//! log is read once for them. A destination that lacks something has a row with a place of its own, and nothing is ever given
//! up: it is tried for as long as it takes, and gets every event that it may see, in order.
//!
//! Rows are committed with relaxed durability. What is lost with the power makes the sender repeat itself, which does no
//! harm: it cannot make a destination seem to have come further than it has, for a row is written after what it tells of.

mod audience;
mod backoff;
pub(crate) mod delivery;
mod destination;
mod greeting;
mod notes;
mod progress;
mod reader;
pub(crate) mod received;
mod room_servers;
mod sending;
mod transaction;
mod typing;

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures_util::{
    FutureExt,
    future::{select, select_all},
};
use inglenook_protocol::key_name::public_key_of;
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};

pub(crate) use self::backoff::Backoff;
pub(crate) use self::greeting::{between, shares_room};
pub(crate) use self::notes::NODE_RECORD;
use self::{
    destination::Destination, greeting::SILENCE_MILLIS, notes::Greeting, progress::Progress, room_servers::RoomServers, typing::TypingTold,
};
use crate::{
    error::Error,
    log::Log,
    ordered::{OrderedMap, OrderedSet},
    parse,
    ports::{Store, StoreError},
    room_server::Position,
    server::Server,
    signal::Signal,
    storage::{Batch, Key, KeyReader, Scan, Table},
    to_device,
};

/// The name of the row that holds the shared place.
const ROW: &str = "federation_sender";

/// After storage has failed it is tried again in so many milliseconds.
const STORAGE_PAUSE_MILLIS: u64 = 5_000;

/// The shared place is written again when it has moved so far, so that a restart reads no more than that again.
const MAX_UNWRITTEN: u64 = 512;

/// A transaction that is answered within so many milliseconds is not written down as under way, but with what came of it: that halves what
/// a message writes, and keeps the disk free for whoever takes the message in on the same machine.
const UNWRITTEN_MILLIS: u64 = 500;

/// So many servers that were heard of for the first time are looked at before the next turn.
const MAX_STRANGERS: usize = 100;

/// What the sender knows.
pub(crate) struct FederationSender {
    destinations: RefCell<OrderedMap<OwnedServerName, Destination>>,
    room_servers: RefCell<RoomServers>,
    /// How far the log was read for all.
    read_upto: Cell<Position>,
    /// How far the index of rooms and servers was folded.
    indexed_upto: Cell<Position>,
    /// The shared place, as it is stored.
    stored_place: Cell<Place>,
    /// When what is not written yet must be, in milliseconds since the Unix epoch.
    write_by: Cell<Option<u64>>,
    typing: RefCell<TypingTold>,
    /// Servers that have sent something and are no destinations yet.
    strangers: RefCell<OrderedSet<OwnedServerName>>,
    /// Whether this server may have missed something, and is to greet those with which it shares rooms.
    is_returning: Cell<bool>,
    notes: Cell<u64>,
    /// Raised when something may be sent, or has come back.
    woken: Signal,
    /// Raised when the delivery of something has come further.
    pub(crate) deliveries: Signal,
}

/// The place of all destinations that lack nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Up to here, everything was told to everybody who has no place of their own.
    #[serde(rename = "t")]
    told_upto: Position,
    /// Up to here, the index of rooms and servers was folded.
    #[serde(rename = "i")]
    indexed_upto: Position,
}

impl FederationSender {
    /// Reads how far the destinations have come.
    pub(crate) async fn open(store: &dyn Store, log: &Log) -> Result<Self, Error> {
        let end = log.end();
        let row = store.get_many(&[place_key()]).await?.pop().flatten();
        let place: Place = row.and_then(|row| parse::json(&row).ok()).unwrap_or_default();
        let mut destinations = OrderedMap::new();
        for row in store.scan(&Scan::prefix(Key::new(Table::Destinations))).await? {
            let name = KeyReader::new(&row.key).text().and_then(|name| ServerName::parse(name).ok());
            let name = name.ok_or_else(|| Error::bug("a stored destination has no name"))?;
            let progress: Progress = parse::json(&row.value).map_err(|error| Error::bug(format!("{name}: {error}")))?;
            destinations.insert(name, Destination::restored(progress, end));
        }
        let read_upto = place.told_upto.min(place.indexed_upto).min(end);
        for row in store.scan(&Scan::prefix(Key::new(Table::Acknowledgements))).await? {
            let mut key = KeyReader::new(&row.key);
            let name = key.text().and_then(|name| ServerName::parse(name).ok());
            let (Some(name), Some(id)) = (name, key.text()) else { return Err(Error::bug("a stored acknowledgement")) };
            let destination = destinations.entry(name).or_insert_with(|| Destination::current_at(read_upto));
            destination.note(|notes| notes.acknowledged.extend([id]));
        }
        Ok(Self {
            destinations: RefCell::new(destinations),
            room_servers: RefCell::default(),
            // What was read, but lost with the power since, is read when it is there again.
            read_upto: Cell::new(read_upto),
            indexed_upto: Cell::new(place.indexed_upto.min(end)),
            stored_place: Cell::new(place),
            write_by: Cell::default(),
            typing: RefCell::default(),
            strangers: RefCell::default(),
            is_returning: Cell::new(true),
            notes: Cell::new(0),
            woken: Signal::default(),
            deliveries: Signal::default(),
        })
    }

    /// There is reason to think that this server can be reached: it has sent something, or a relay says that it is back. `is_there` is
    /// false where a mailbox kept it, or somebody else has said where the server is.
    pub(crate) fn heard_from(&self, now: u64, name: &ServerName, is_there: bool) {
        let is_news = self.with(name, |destination| destination.hear(now, is_there));
        let mut strangers = self.strangers.borrow_mut();
        let is_stranger = is_news.is_none() && strangers.len() < MAX_STRANGERS && strangers.insert(name.to_owned());
        if is_stranger || is_news == Some(true) {
            self.woken.raise();
        }
    }

    /// The network is back: every server is tried at once, and some are asked by a greeting what was missed.
    pub(crate) fn network_is_back(&self) {
        self.destinations.borrow_mut().values_mut().for_each(|destination| {
            destination.wake();
        });
        self.is_returning.set(true);
        self.woken.raise();
    }

    /// These servers have not met this one yet, and are to learn where it is.
    pub(crate) fn introduce_to<'a>(&self, names: impl Iterator<Item = &'a OwnedServerName>) {
        names.for_each(|name| self.with_new(name, |_| ()));
        self.woken.raise();
    }

    /// A relay of this server's is there again: those that are found there are tried, and those that are found by its help alone. Some are
    /// asked by a greeting what was missed.
    pub(crate) async fn way_is_back(&self, server: &Server, relay: &str, is_gateway: bool) {
        let failing: Vec<_> = {
            let destinations = self.destinations.borrow();
            destinations.iter().filter(|(_, destination)| destination.is_failing()).map(|(name, _)| name.clone()).collect()
        };
        for name in failing {
            let relays = server.records.relays_of(&name).await.unwrap_or_default();
            let is_found_here = match public_key_of(&name) {
                Some(_) => relays.is_empty() || relays.iter().any(|other| other == relay),
                None => is_gateway,
            };
            if is_found_here {
                self.with(&name, Destination::wake);
            }
        }
        self.is_returning.set(true);
        self.woken.raise();
    }

    /// Whether this server has, or had, something to tell that one.
    pub(crate) fn knows(&self, name: &ServerName) -> bool {
        self.destinations.borrow().contains_key(name)
    }

    fn next_notes(&self) -> u64 {
        self.notes.set(self.notes.get() + 1);
        self.notes.get()
    }

    /// A server as a destination, from now on if it was none.
    fn with_new<T>(&self, name: &ServerName, act: impl FnOnce(&mut Destination) -> T) -> T {
        let mut destinations = self.destinations.borrow_mut();
        act(destinations.entry(name.to_owned()).or_insert_with(|| Destination::current_at(self.read_upto.get())))
    }

    fn with<T>(&self, name: &ServerName, act: impl FnOnce(&mut Destination) -> T) -> Option<T> {
        self.destinations.borrow_mut().get_mut(name).map(act)
    }

    /// The shared place: before the first thing that waits for a destination without a place of its own.
    fn told_upto(&self) -> Position {
        let destinations = self.destinations.borrow();
        let held_back = destinations.values().filter_map(Destination::holds_back).min();
        held_back.map_or(self.read_upto.get(), |first| Position(first.0 - 1))
    }

    fn deadline(&self, now: u64) -> Option<u64> {
        let destinations = self.destinations.borrow();
        let of_destinations = destinations.values().filter_map(|destination| destination.deadline(now));
        of_destinations.chain(self.typing.borrow().deadline()).chain(self.write_by.get()).min()
    }

    /// Whether what has changed is to be written now. Where it is, all of it is: the shared place may not pass a change that is not.
    fn is_to_be_written(&self, now: u64, place: Place) -> bool {
        let destinations = self.destinations.borrow();
        let mut changed = destinations.values().filter(|destination| destination.has_changed).peekable();
        let waits = changed.peek().is_some() && changed.all(Destination::is_under_way);
        let by = self.write_by.get().unwrap_or(now + UNWRITTEN_MILLIS);
        let is_due = !waits || by <= now || place.told_upto.0 >= self.stored_place.get().told_upto.0 + MAX_UNWRITTEN;
        self.write_by.set((!is_due).then_some(by));
        is_due
    }

    /// When any destination last answered, in milliseconds since the Unix epoch.
    fn last_answer(&self) -> u64 {
        self.destinations.borrow().values().map(|destination| destination.progress.answered_at).max().unwrap_or_default()
    }
}

fn place_key() -> Key {
    Key::new(Table::Meta).text(ROW)
}

/// Sends what there is to send, for the server's life.
pub(crate) async fn run(server: Rc<Server>) {
    while !server.is_stopping() {
        let sender = &server.federation_sender;
        let (grown, woken, moved) = (server.log.changed(), sender.woken.raised(), server.own_relays.changed.raised());
        let pause = match turn(&server).await {
            Ok(()) => sender.deadline(server.now()).map(|deadline| deadline.saturating_sub(server.now())),
            Err(Error::Storage(error)) if *error == StoreError::Superseded => return,
            // The reader stays where it is and tries again; it skips nothing.
            Err(_) => Some(STORAGE_PAUSE_MILLIS),
        };
        let news = select_all([grown.boxed_local(), woken.boxed_local(), moved.boxed_local()]);
        match pause {
            Some(millis) => drop(select(news, server.ports.clock.sleep(millis)).await),
            None => drop(news.await),
        }
    }
}

/// Reads what is new, sends what is due, and writes how far everybody has come.
async fn turn(server: &Rc<Server>) -> Result<(), Error> {
    while reader::read_on(server).await? {}
    meet(server).await?;
    typing::note(server).await?;
    let begun = sending::begin_all(server).await?;
    for transaction in begun {
        server.spawn(transaction.send(Rc::clone(server)));
    }
    write(server).await
}

/// Messages to devices go when their server has them.
async fn forget_mail(server: &Server, batch: &mut Batch) -> Result<(), Error> {
    let of_mail = |(name, destination): (&OwnedServerName, &Destination)| {
        let is_due = destination.has_changed && destination.has_mail;
        is_due.then(|| (name.clone(), destination.progress.acknowledged()))
    };
    let due: Vec<_> = server.federation_sender.destinations.borrow().iter().filter_map(of_mail).collect();
    for (name, upto) in due {
        to_device::forget_outgoing(&*server.ports.store, &name, upto, batch).await?;
    }
    Ok(())
}

/// Notes who lacks this server's node record, and, when this server was away, shows those with which it shares rooms where the
/// rooms have come to. Who is heard of for the first time is shown it after their next silence.
async fn meet(server: &Server) -> Result<(), Error> {
    let sender = &server.federation_sender;
    if sender.is_returning.replace(false) && sender.last_answer() + SILENCE_MILLIS <= server.now() {
        for name in greeting::neighbours(server).await? {
            sender.with_new(&name, |destination| destination.greet(Greeting::All));
        }
    }
    let seq = server.own_relays.seq();
    sender.destinations.borrow_mut().values_mut().for_each(|destination| destination.tell_record(seq));
    let strangers = sender.strangers.take();
    for name in strangers {
        if greeting::shares_room(server, &name).await? {
            sender.with_new(&name, |destination| destination.meet(server.now()));
        }
    }
    Ok(())
}

async fn write(server: &Server) -> Result<(), Error> {
    let sender = &server.federation_sender;
    let place = Place { told_upto: sender.told_upto(), indexed_upto: sender.indexed_upto.get() };
    if !sender.is_to_be_written(server.now(), place) {
        return Ok(());
    }
    let stored = sender.stored_place.get();
    let mut batch = Batch::relaxed();
    sender.room_servers.borrow().write(&mut batch);
    forget_mail(server, &mut batch).await?;
    let mut written = Vec::new();
    for (name, destination) in sender.destinations.borrow_mut().iter_mut().filter(|(_, destination)| destination.has_changed) {
        batch.put_json(Key::new(Table::Destinations).text(name.as_str()), &destination.progress);
        for id in &destination.acknowledgements_told {
            batch.delete(received::acknowledgement_key(name, id));
        }
        destination.has_changed = false;
        written.push(name.clone());
    }
    if batch.is_empty() && place.told_upto.0 < stored.told_upto.0 + MAX_UNWRITTEN {
        return Ok(());
    }
    batch.put_json(place_key(), &place);
    if let Err(error) = server.ports.store.commit(batch).await {
        for name in &written {
            sender.with(name, |destination| destination.has_changed = true);
        }
        return Err(error.into());
    }
    sender.room_servers.borrow_mut().is_written();
    for name in written {
        sender.with(&name, Destination::is_written);
    }
    sender.stored_place.set(place);
    Ok(())
}
