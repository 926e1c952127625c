//! Looking for the node records of servers to which no way is known, among those who may know one: servers in the same rooms, and
//! relays. A record proves itself, so that it does not matter who brings it, and the highest number holds.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use futures_util::{
    FutureExt,
    future::{join_all, select},
};
use inglenook_protocol::{key_name::public_key_of, path::RECORD};
use ruma::{OwnedServerName, ServerName};

use crate::{
    error::Error,
    federation_client::read,
    federation_sender::{Backoff, between},
    http::{Method, Request},
    ordered::OrderedMap,
    parse,
    ports::{Destination, Reply},
    server::Server,
    signal::Signal,
};

/// In front of a server's name: its node record, asked for at another node. Relays would answer the path that they have for it
/// themselves.
const RECORD_AT_NODE: &str = "/_matrix/federation/unstable/im.inglenook/record/";

/// So many servers are asked for a record at a time, others the next time. Those in a room have most likely met.
const MAX_ASKED: usize = 4;

/// So many records are looked for at a time.
const AT_A_TIME: usize = 16;

/// So many servers are known to be looked for. Past that, all begin anew.
const MAX_WANTED: usize = 1_000;

/// How long those who are asked may take.
const PATIENCE_MILLIS: u64 = 10_000;

/// Servers to which no way is known.
#[derive(Default)]
pub(super) struct Wanted {
    servers: RefCell<OrderedMap<OwnedServerName, Search>>,
    woken: Signal,
}

#[derive(Default)]
struct Search {
    /// Whether something could not be sent since the last search.
    is_wanted: bool,
    backoff: Backoff,
}

impl Wanted {
    /// Somebody has found no way to a server. It is looked for, unless that was in vain only just.
    pub(super) fn add(&self, server: &ServerName) {
        if public_key_of(server).is_none() {
            return;
        }
        let mut servers = self.servers.borrow_mut();
        if servers.len() >= MAX_WANTED && !servers.contains_key(server) {
            servers.clear();
        }
        servers.entry(server.to_owned()).or_default().is_wanted = true;
        self.woken.raise();
    }

    /// Its record is known.
    pub(super) fn remove(&self, server: &ServerName) {
        self.servers.borrow_mut().remove(server);
    }

    pub(super) fn wake(&self) {
        self.woken.raise();
    }

    /// Those that are to be looked for now. Who is wanted again before the pause is over is wanted by whoever tries again later.
    fn begin(&self, server: &Server) -> Vec<OwnedServerName> {
        let now = server.now();
        let mut servers = self.servers.borrow_mut();
        let due = servers.iter_mut().filter(|(_, search)| search.is_wanted && search.backoff.deadline(now).is_none());
        let due = due.take(AT_A_TIME).map(|(name, search)| {
            search.is_wanted = false;
            search.backoff.fail(now, 0, u64::from_be_bytes(server.random()));
            name.clone()
        });
        due.collect()
    }
}

/// Looks for whom is wanted, for the server's life.
pub(crate) async fn run(server: Weak<Server>) {
    loop {
        let woken = {
            let Some(server) = server.upgrade().filter(|server| !server.is_stopping()) else { return };
            let woken = server.records.wanted.woken.raised();
            loop {
                let due = server.records.wanted.begin(&server);
                if due.is_empty() || server.is_stopping() {
                    break;
                }
                let searches = join_all(due.iter().map(|name| seek(&server, name).boxed_local()));
                select(searches, server.ports.clock.sleep(PATIENCE_MILLIS)).await;
            }
            woken
        };
        woken.await;
    }
}

/// Asks all who may know at once. Each answer counts as soon as it comes.
async fn seek(server: &Rc<Server>, name: &ServerName) {
    let neighbours = neighbours(server, name).await.unwrap_or_default();
    let mut asked = vec![ask_relays(server, name).boxed_local()];
    asked.extend(neighbours.iter().map(|neighbour| ask(server, neighbour, name).boxed_local()));
    join_all(asked).await;
}

/// Some of those that share a room with both, if a way to them is known. Others are asked the next time.
async fn neighbours(server: &Server, name: &ServerName) -> Result<Vec<OwnedServerName>, Error> {
    let mut found: Vec<_> = between(server, name).await?.into_iter().collect();
    let start = u32::from_be_bytes(server.random()) as usize % found.len().max(1);
    found.rotate_left(start);
    let mut reached = Vec::new();
    for neighbour in found {
        if public_key_of(&neighbour).is_none() || !server.records.relays_of(&neighbour).await?.is_empty() {
            reached.push(neighbour);
        }
        if reached.len() == MAX_ASKED {
            break;
        }
    }
    Ok(reached)
}

/// Asks a server that may have met the other.
async fn ask(server: &Server, neighbour: &ServerName, name: &ServerName) {
    if let Ok(answer) = server.federation_client.get(neighbour, &format!("{RECORD_AT_NODE}{name}")).await {
        take(server, name, &answer).await;
    }
}

/// Asks the relays of which the server has said that it can be found there, and this server's own.
async fn ask_relays(server: &Server, name: &ServerName) {
    let relays = server.records.relays_of(name).await.unwrap_or_default();
    let to = Destination { name: name.to_owned(), relays };
    let request = Request::new(Method::Get, &format!("{RECORD}{name}"));
    if let Ok(Reply::Answered(response)) = server.ports.transport.send(&to, request).await
        && let Ok(answer) = read(response)
    {
        take(server, name, &answer).await;
    }
}

/// Whatever waits for the server is tried at once where the record is news.
async fn take(server: &Server, name: &ServerName, answer: &[u8]) {
    let Ok(record) = parse::json(answer) else { return };
    let is_stranger = !server.federation_sender.knows(name);
    if server.records.learn(name, &record, is_stranger).await.unwrap_or(false) {
        server.federation_sender.heard_from(server.now(), name, false);
    }
}
