//! The federation receiver: takes in what other servers send, whatever the order, and sees to it that nothing of it is lost.
//!
//! What can be judged at once is handed to the room server, many events in one commit. What lacks events before it is stored
//! as it came and acknowledged; a task beside the requests then asks for what is missing, again and again for as long as it
//! takes. No room waits for another, and no server's events wait for what another server has sent.

mod ask;
mod bridge;
mod check;
mod deliver;
mod edus;
mod fill;
mod gap;
mod helpers;
mod intake;
mod merge;
mod order;
mod outside;
mod schedule;
mod told_state;
mod transactions;
mod waiting;

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use ruma::{OwnedEventId, OwnedServerName, RoomId, ServerName};

pub(crate) use self::{
    check::{Unchecked, check, check_by, check_told, wanted_keys},
    edus::{Edu, receive_edus},
    fill::fill_before,
    intake::{Received, receive_pdus},
    order::in_order,
    told_state::{fetch_single, told_state},
};
use self::{
    fill::{Filled, fill},
    schedule::{GapId, Schedule},
    transactions::ReceivedTransactions,
    waiting::Waiting,
};
use crate::{error::Error, locks::Locks, ordered::OrderedSet, ports::Store, room_server::Room, server::Server, server_acl};

/// The federation receiver's memory.
pub(crate) struct Receiver {
    waiting: Waiting,
    schedule: RefCell<Schedule>,
    /// Gaps of rooms into which the server is being brought.
    awaiting_entry: RefCell<OrderedSet<GapId>>,
    /// Wakes the task that closes gaps.
    waker: RefCell<Option<oneshot::Sender<()>>>,
    pub(crate) transactions: ReceivedTransactions,
    /// What one server sends is taken in one transaction after the other, in order.
    pub(crate) origins: Locks<OwnedServerName>,
}

impl Receiver {
    /// Reads what waits since earlier.
    pub(crate) async fn open(store: Rc<dyn Store>) -> Result<Self, Error> {
        let waiting = Waiting::open(Rc::clone(&store)).await?;
        let mut schedule = Schedule::default();
        waiting.gaps().iter().for_each(|gap| schedule.heard(0, gap));
        Ok(Self {
            waiting,
            schedule: RefCell::new(schedule),
            awaiting_entry: RefCell::default(),
            waker: RefCell::default(),
            transactions: ReceivedTransactions::new(store),
            origins: Locks::default(),
        })
    }

    /// Something was heard from a server: what it sent before may be placed now.
    pub(crate) fn heard_from(&self, now: u64, origin: &ServerName) {
        self.heard(now, &self.waiting.gaps_of(origin));
    }

    /// Events got their place, for which others may have waited.
    pub(crate) fn placed(&self, now: u64, room: &RoomId, events: &OrderedSet<OwnedEventId>) {
        self.heard(now, &self.waiting.gaps_behind(room, events));
    }

    fn heard(&self, now: u64, gaps: &[GapId]) {
        if gaps.is_empty() {
            return;
        }
        gaps.iter().for_each(|gap| self.schedule.borrow_mut().heard(now, gap));
        self.wake();
    }

    /// Notes of the server of a gap whether it is known to be in the room. Who is makes room for those who are not.
    fn note_stranger(&self, gap: &GapId, is_stranger: bool) {
        self.waiting.note_stranger(gap, is_stranger);
        self.schedule.borrow_mut().note_stranger(gap, is_stranger);
        self.wake();
    }

    /// Makes the task look what is due.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            // A task that is gone need not be woken.
            let _ = waker.send(());
        }
    }
}

/// Closes gaps when they are due, for as long as the server lives.
pub(crate) async fn run(server: Weak<Server>) {
    loop {
        let (woken, clock, deadline) = {
            let Some(server) = server.upgrade().filter(|server| !server.is_stopping()) else { return };
            let now = server.now();
            for gap in server.receiver.schedule.borrow_mut().begin(now) {
                server.spawn(attempt(Rc::clone(&server), gap));
            }
            let (sender, receiver) = oneshot::channel();
            *server.receiver.waker.borrow_mut() = Some(sender);
            let deadline = server.receiver.schedule.borrow().next_deadline();
            (receiver, Rc::clone(&server.ports.clock), deadline.map(|deadline| deadline.saturating_sub(now)))
        };
        match deadline {
            Some(millis) => match select(woken, clock.sleep(millis)).await {
                Either::Left(_) | Either::Right(_) => {}
            },
            // The sender is dropped with the server, and then there is nothing left to do.
            None => drop(woken.await),
        }
    }
}

async fn attempt(server: Rc<Server>, gap: GapId) {
    if awaits_entry(&server, &gap.0).await.unwrap_or_default() {
        resume_after_entry(&server, gap.clone());
        server.receiver.schedule.borrow_mut().ended(server.now(), &gap, true, true);
        return server.receiver.wake();
    }
    let filled = attempted(&server, &gap).await.unwrap_or_default();
    server.receiver.schedule.borrow_mut().ended(server.now(), &gap, filled.progressed, filled.is_closed);
    server.receiver.wake();
}

async fn attempted(server: &Server, gap: &GapId) -> Result<Filled, Error> {
    match server.rooms.room(&gap.0).await? {
        Some(room) if is_heard(server, &room, &gap.1).await? => fill(server, &room, gap).await,
        None if server.pending_joins.is_pending(&gap.0) => Ok(Filled::default()),
        // What waited for this server to be in the room, or to know whom the room shuts out, has waited in vain.
        _ => {
            server.receiver.waiting.clear(gap).await?;
            Ok(Filled { progressed: false, is_closed: true })
        }
    }
}

/// Whether this server is being brought into a room in which it is not yet.
async fn awaits_entry(server: &Server, id: &RoomId) -> Result<bool, Error> {
    if !server.federation.is_entering(id) {
        return Ok(false);
    }
    match server.rooms.room(id).await? {
        Some(room) => Ok(!server.rooms.is_resident(&room, server.identity.server_name()).await?),
        None => Ok(true),
    }
}

/// Sees to a gap when the server was brought into its room, or was not.
fn resume_after_entry(server: &Rc<Server>, gap: GapId) {
    if server.receiver.awaiting_entry.borrow_mut().insert(gap.clone()) {
        let later = Rc::clone(server);
        server.spawn(async move {
            drop(later.federation.entering(&gap.0).await);
            later.receiver.awaiting_entry.borrow_mut().remove(&gap);
            later.receiver.heard(later.now(), &[gap]);
        });
    }
}

/// Whether the room does not shut the server out.
async fn is_heard(server: &Server, room: &Room, origin: &ServerName) -> Result<bool, Error> {
    let current = room.head().current;
    server.rooms.ask(room, |view| server_acl::allows(view, current, origin)).await
}
