//! Relays between simulated hosts: they pass requests on, and keep the transactions for whoever does not answer.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use futures_util::future::join_all;
use inglenook::{
    http::{Request, Response},
    ports::{Clock, Destination, Reply},
};

use super::network::{NO_ROUTE, Wires};

/// How often a relay offers what a host has not taken.
const OFFER_MILLIS: u64 = 1_000;

/// A relay with a disk that outlasts its crashes.
#[derive(Default)]
pub(crate) struct Relay {
    is_down: Cell<bool>,
    /// What is kept for each host, the oldest first: who sent it, and the request.
    mail: RefCell<BTreeMap<String, VecDeque<(String, Request)>>>,
}

/// What a relay made of a request.
enum Passed {
    Answered(Response),
    Kept,
    Refused,
}

impl Relay {
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.get()
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// Loses whatever it keeps.
    pub(crate) fn lose_mail(&self) {
        self.mail.borrow_mut().clear();
    }

    async fn pass(&self, wires: &Wires, from: &str, to: &str, request: &Request) -> Passed {
        if self.is_down() {
            return Passed::Refused;
        }
        // What one host has sent another keeps its order.
        if !self.keeps_of(from, to)
            && let Ok(response) = wires.deliver(from, to, request.clone()).await
        {
            return Passed::Answered(response);
        }
        if self.is_down() || !request.path.starts_with("/_matrix/federation/v1/send/") {
            return Passed::Refused;
        }
        self.mail.borrow_mut().entry(to.to_owned()).or_default().push_back((from.to_owned(), request.clone()));
        Passed::Kept
    }

    fn keeps_of(&self, from: &str, to: &str) -> bool {
        self.mail.borrow().get(to).is_some_and(|mail| mail.iter().any(|(origin, _)| origin == from))
    }

    /// Offers what it keeps, for as long as the simulation lives.
    pub(crate) async fn run(self: Rc<Self>, wires: Rc<Wires>) {
        loop {
            wires.clock.sleep(OFFER_MILLIS).await;
            let hosts: Vec<_> = self.mail.borrow().keys().cloned().collect();
            join_all(hosts.iter().map(|host| self.hand_over(&wires, host))).await;
        }
    }

    async fn hand_over(&self, wires: &Wires, to: &str) {
        loop {
            let oldest = self.mail.borrow().get(to).and_then(|mail| mail.front().cloned());
            let Some((_, mut request)) = oldest.filter(|_| !self.is_down()) else { return };
            request.headers.insert("inglenook-mailbox".into(), "1".into());
            // A relay is no wire: whoever is cut off from a host may be heard of through it.
            let answer = wires.hand(to, request).await;
            if self.is_down() || !answer.is_ok_and(|response| response.status == 200) {
                return;
            }
            self.mail.borrow_mut().get_mut(to).and_then(VecDeque::pop_front);
        }
    }
}

/// Asks the destination's relays one after the other; `None` where none of them is a relay of the simulation.
pub(super) async fn through(
    wires: &Wires,
    relays: &BTreeMap<String, Rc<Relay>>,
    from: &str,
    destination: &Destination,
    request: &Request,
) -> Option<Result<Reply, &'static str>> {
    let known: Vec<_> = destination.relays.iter().filter_map(|url| Some((url.clone(), relays.get(url)?))).collect();
    if known.is_empty() {
        return None;
    }
    if known.iter().all(|(_, relay)| relay.is_down()) {
        return Some(Err(NO_ROUTE));
    }
    let mut kept = Vec::new();
    for (url, relay) in known {
        match relay.pass(wires, from, destination.name.as_str(), request).await {
            Passed::Answered(response) => return Some(Ok(Reply::Answered(response))),
            Passed::Kept => kept.push(url),
            Passed::Refused => {}
        }
    }
    Some(if kept.is_empty() { Err("no relay takes it") } else { Ok(Reply::Kept { relays: kept, retention: None }) })
}
