//! A room in memory: its number, version and head, and the lock under which it is changed.

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    rc::Rc,
};

use futures_util::lock::Mutex;
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};

use super::{
    auth::{Allowed, allowed_by_state},
    first_members::FirstMembers,
    head::Head,
    number::RoomNumber,
    room_log::{LogRow, RecentLog},
    snapshot::Snapshot,
    view::{Need, View},
};
use crate::event::{Pdu, RoomVersion};

/// A room of this database.
pub struct Room {
    /// Its number.
    pub number: RoomNumber,
    /// Its ID.
    pub id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersion,
    head: RefCell<Rc<Head>>,
    recent_log: RefCell<RecentLog>,
    first_members: RefCell<Option<(Snapshot, Rc<FirstMembers>)>>,
    /// Held from loading what a decision needs until its commit is done.
    pub(crate) lock: Mutex<()>,
    /// Whether another has taken its place in memory, since the room turned out to be of another version.
    pub(super) is_replaced: Cell<bool>,
}

/// A room as the table of rooms holds it.
#[derive(Serialize, Deserialize)]
pub(crate) struct RoomRow {
    #[serde(rename = "n")]
    pub(crate) number: RoomNumber,
    #[serde(rename = "v")]
    pub(crate) version: String,
}

impl Room {
    pub(crate) fn new(number: RoomNumber, id: OwnedRoomId, version: RoomVersion, head: Head) -> Self {
        let recent_log = RefCell::new(RecentLog::new(&head));
        Self {
            number,
            id,
            version,
            head: RefCell::new(Rc::new(head)),
            recent_log,
            first_members: RefCell::default(),
            lock: Mutex::new(()),
            is_replaced: Cell::default(),
        }
    }

    /// The head as of the last commit.
    pub fn head(&self) -> Rc<Head> {
        Rc::clone(&self.head.borrow())
    }

    /// Whether this server was ever in the room: the version of one that it was only told of may be wrong.
    pub(crate) fn is_entered(&self) -> bool {
        !self.head.borrow().extremities.is_empty()
    }

    pub(crate) fn advance(&self, head: Head, log: Vec<LogRow>) {
        *self.head.borrow_mut() = Rc::new(head);
        self.recent_log.borrow_mut().extend(log);
    }

    pub(super) fn recent_log(&self) -> Ref<'_, RecentLog> {
        self.recent_log.borrow()
    }

    /// Whether the room would allow an event in this state; `Err` holds the sentence that says why not.
    pub(crate) fn allows(&self, view: &View<'_>, pdu: &Pdu, state: Snapshot) -> Result<Allowed, Need> {
        allowed_by_state(view, &self.version.rules.authorization, pdu, state)
    }

    pub(super) fn recent_log_mut(&self) -> RefMut<'_, RecentLog> {
        self.recent_log.borrow_mut()
    }

    /// The first members in this state, if they were the last to be read.
    pub(super) fn first_members(&self, state: Snapshot) -> Option<Rc<FirstMembers>> {
        let kept = self.first_members.borrow();
        kept.as_ref().filter(|(of, _)| *of == state).map(|(_, members)| Rc::clone(members))
    }

    pub(super) fn keep_first_members(&self, state: Snapshot, members: Rc<FirstMembers>) {
        *self.first_members.borrow_mut() = Some((state, members));
    }

    pub(crate) fn row(&self) -> RoomRow {
        RoomRow { number: self.number, version: self.version.id.to_string() }
    }
}
