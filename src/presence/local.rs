//! What local users do, and the state that follows from it: a pure machine that is told the time.

use std::cell::{Cell, RefCell};

use futures_util::lock::Mutex;
use ruma::{OwnedUserId, UserId};

use super::{State, Told};

use crate::ordered::OrderedMap;

/// Who has not been active for so long is idle, in milliseconds.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#idle-timeout>
const IDLE_AFTER: u64 = 5 * 60 * 1000;

/// A device counts as connected for so long behind the end of its last sync, in milliseconds: clients sync again at once.
pub(super) const CONNECTED_FOR: u64 = 30_000;

/// Who stays online is told so again this often, in milliseconds, so that other servers do not take silence for absence.
const TOLD_EVERY: u64 = 25 * 60 * 1000;

/// The local users of whom there is something to say.
#[derive(Default)]
pub(crate) struct LocalPresence {
    pub(super) users: RefCell<OrderedMap<OwnedUserId, LocalUser>>,
    /// Whether what was told before this start was read.
    pub(super) loaded: Mutex<bool>,
    /// Until when nothing is told, since the storage failed.
    pub(super) paused_until: Cell<u64>,
}

impl LocalPresence {
    /// What is known of a user now.
    pub(super) fn of(&self, user: &UserId, now: u64) -> Option<Told> {
        Some(self.users.borrow().get(user)?.now(now))
    }

    /// When something changes by itself next, in milliseconds since the Unix epoch.
    pub(crate) fn next_change(&self, now: u64) -> Option<u64> {
        self.users.borrow().values().filter_map(|user| user.next_change(now)).min()
    }

    /// The users of whom there is something new to tell.
    pub(super) fn due(&self, now: u64) -> Vec<OwnedUserId> {
        let users = self.users.borrow();
        users.iter().filter(|(_, user)| user.is_due(now)).map(|(id, _)| id.clone()).collect()
    }
}

/// A local user.
#[derive(Default)]
pub(super) struct LocalUser {
    devices: OrderedMap<String, Connection>,
    /// What the user has said to be, other than online, until they do something or go.
    chosen: Option<State>,
    last_active: u64,
    status_msg: Option<String>,
    /// What others were told last.
    pub(super) told: Option<Told>,
}

/// A device that syncs.
struct Connection {
    until: u64,
    state: State,
}

impl LocalUser {
    /// A user as they were told to be before this start: there still, until they are not heard of.
    pub(super) fn of_told(told: Told, now: u64) -> Self {
        let mut user = Self { last_active: told.last_active, status_msg: told.status_msg.clone(), ..Self::default() };
        if told.state != State::Offline {
            user.devices.insert(String::new(), Connection { until: now + CONNECTED_FOR, state: told.state });
        }
        if told.state == State::Online {
            // Activity is not stored as it happens. It is rather late than early that somebody seems idle.
            user.last_active = now;
        }
        user.told = Some(told);
        user
    }

    /// A device syncs until then, as `wanted` or, if it does not say, online.
    pub(super) fn sync(&mut self, device: &str, wanted: Option<State>, until: u64, now: u64) {
        self.forget_gone(now);
        let state = wanted.unwrap_or(State::Online);
        // To begin is to do something; to go on is not.
        if state == State::Online && self.devices.get(device).is_none_or(|known| known.state != State::Online) {
            self.last_active = now;
        }
        if wanted == Some(State::Online) {
            self.chosen = None;
        }
        self.devices.insert(device.to_owned(), Connection { until, state });
    }

    /// The user says what they are.
    pub(super) fn set(&mut self, device: &str, state: State, status_msg: Option<String>, now: u64) {
        self.forget_gone(now);
        self.status_msg = status_msg;
        self.last_active = now;
        self.chosen = Some(state).filter(|state| *state != State::Online);
        let until = self.devices.get(device).map_or(0, |known| known.until).max(now + CONNECTED_FOR);
        self.devices.insert(device.to_owned(), Connection { until, state });
    }

    /// The user does something.
    pub(super) fn act(&mut self, now: u64) {
        self.forget_gone(now);
        self.last_active = now;
        if self.chosen == Some(State::Unavailable) {
            self.chosen = None;
        }
        for device in self.devices.values_mut().filter(|device| device.state == State::Unavailable) {
            device.state = State::Online;
        }
    }

    /// The user is gone for good.
    pub(super) fn end(&mut self) {
        self.devices.clear();
        self.status_msg = None;
    }

    fn forget_gone(&mut self, now: u64) {
        self.devices.retain(|_, device| device.until > now);
        if self.devices.is_empty() {
            self.chosen = None;
        }
    }

    fn connected(&self, now: u64) -> impl Iterator<Item = &Connection> {
        self.devices.values().filter(move |device| device.until > now && device.state != State::Offline)
    }

    fn is_connected(&self, now: u64) -> bool {
        self.connected(now).next().is_some()
    }

    fn state(&self, now: u64) -> State {
        let is_idle = now.saturating_sub(self.last_active) >= IDLE_AFTER;
        match self.chosen {
            _ if !self.is_connected(now) => State::Offline,
            Some(chosen) => chosen,
            None if is_idle || self.connected(now).all(|device| device.state == State::Unavailable) => State::Unavailable,
            None => State::Online,
        }
    }

    /// What can be told now.
    pub(super) fn now(&self, now: u64) -> Told {
        let Self { last_active, status_msg, .. } = self;
        Told { state: self.state(now), status_msg: status_msg.clone(), last_active: *last_active, at: now, ..Told::default() }
    }

    /// Whether what was told is not true any more, or long ago.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let offline = Told::default();
        let told = self.told.as_ref().unwrap_or(&offline);
        let state = self.state(now);
        let is_long_ago = state == State::Online && now.saturating_sub(told.at) >= TOLD_EVERY;
        state != told.state || self.status_msg != told.status_msg || is_long_ago
    }

    fn next_change(&self, now: u64) -> Option<u64> {
        let ends = self.connected(now).map(|device| device.until);
        let is_online = self.state(now) == State::Online;
        let idle = is_online.then_some(self.last_active + IDLE_AFTER);
        let again = self.told.as_ref().filter(|_| is_online).map(|told| told.at + TOLD_EVERY);
        ends.chain(idle).chain(again).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;
    const MINUTE: u64 = 60_000;

    fn syncing(until: u64) -> LocalUser {
        let mut user = LocalUser::default();
        user.sync("A", None, until, START);
        user
    }

    #[test]
    fn a_user_is_online_while_syncing_and_offline_after_that() {
        let user = syncing(START + 30_000);
        assert_eq!((user.state(START), user.state(START + 29_999)), (State::Online, State::Online));
        assert_eq!((user.next_change(START), user.state(START + 30_000)), (Some(START + 30_000), State::Offline));
    }

    #[test]
    fn a_user_who_does_nothing_is_idle_and_wakes_by_doing_something() {
        let mut user = syncing(START + 60 * MINUTE);
        assert_eq!((user.next_change(START), user.state(START + 5 * MINUTE)), (Some(START + 5 * MINUTE), State::Unavailable));
        user.sync("A", None, START + 60 * MINUTE, START + 6 * MINUTE);
        assert_eq!(user.state(START + 6 * MINUTE), State::Unavailable, "a sync is nothing that a person does");
        user.act(START + 6 * MINUTE);
        assert_eq!((user.state(START + 6 * MINUTE), user.state(START + 11 * MINUTE)), (State::Online, State::Unavailable));
    }

    #[test]
    fn the_most_present_device_counts() {
        let mut user = LocalUser::default();
        user.sync("A", Some(State::Offline), START + MINUTE, START);
        assert_eq!(user.state(START), State::Offline);
        user.sync("B", Some(State::Unavailable), START + 2 * MINUTE, START);
        assert_eq!(user.state(START), State::Unavailable);
        user.sync("C", Some(State::Online), START + MINUTE, START);
        assert_eq!((user.state(START), user.state(START + MINUTE)), (State::Online, State::Unavailable));
    }

    #[test]
    fn what_the_user_says_holds_until_they_act_or_go() {
        let mut user = syncing(START + MINUTE);
        user.set("A", State::Unavailable, None, START);
        user.sync("A", None, START + MINUTE, START + 1);
        assert_eq!(user.state(START + 1), State::Unavailable, "a client that goes on syncing does not contradict");
        user.act(START + 2);
        assert_eq!(user.state(START + 2), State::Online);
        user.set("A", State::Offline, None, START + 3);
        user.act(START + 4);
        assert_eq!(user.state(START + 4), State::Offline, "who hides is not shown by what they do");
        user.sync("A", None, START + 9 * MINUTE, START + 5 * MINUTE);
        assert_eq!(user.state(START + 5 * MINUTE), State::Online, "who comes back begins anew");
        user.set("A", State::Unavailable, None, START + 5 * MINUTE);
        user.sync("A", Some(State::Online), START + 9 * MINUTE, START + 5 * MINUTE);
        assert_eq!(user.state(START + 5 * MINUTE), State::Online, "a client that says so is believed");
    }

    #[test]
    fn who_stays_online_is_told_so_again() {
        let mut user = syncing(START + 60 * MINUTE);
        user.told = Some(user.now(START));
        user.act(START + 24 * MINUTE);
        assert!(!user.is_due(START + 24 * MINUTE));
        assert_eq!(user.next_change(START + 24 * MINUTE), Some(START + 25 * MINUTE));
        assert!(user.is_due(START + 25 * MINUTE));
    }
}
