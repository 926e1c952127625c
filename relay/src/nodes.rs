//! The nodes that are attached, and who is waiting for one that is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
};

use futures_util::task::AtomicWaker;
use inglenook_protocol::tunnel::Tunnel;
use ruma::{OwnedServerName, ServerName};
use tokio::sync::Notify;

use crate::aside::Aside;

/// Of how many absent nodes it is known who waits for them. It is a courtesy: senders try again by themselves.
const EXPECTED: usize = 4_096;

/// How many nodes are told that one has come back: the members of most rooms.
const EXPECTING: usize = 64;

/// For how many absent nodes it is remembered whose mail they could not take. Of others it is tried again at once, which costs a request for
/// each sender.
const REMEMBERED: usize = 256;

/// Why a tunnel is closed, as its WebSocket's close frame says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// One of [`inglenook_protocol::handshake`]'s close codes.
    pub(crate) code: u16,
    /// A sentence for people.
    pub(crate) text: &'static str,
}

/// What a socket is told by others: that it is to close, and why.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    reason: Mutex<Option<Reason>>,
    socket: AtomicWaker,
}

impl Farewell {
    fn say(&self, reason: Reason) {
        *lock(&self.reason) = Some(reason);
        self.socket.wake();
    }

    /// The reason, once; until there is one, the task is woken for it.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Option<Reason> {
        self.socket.register(cx.waker());
        lock(&self.reason).take()
    }
}

/// A node's tunnel. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    /// The tunnel.
    pub(crate) tunnel: Tunnel,
    /// Told when something was put into the node's mailbox.
    pub(crate) mail: Arc<Notify>,
    /// Told when the tunnel is to end.
    pub(crate) closing: Arc<Notify>,
    farewell: Arc<Farewell>,
}

impl Attached {
    /// A tunnel that has just been opened, over a socket that listens to `farewell`.
    pub(crate) fn new(tunnel: Tunnel, farewell: Arc<Farewell>) -> Self {
        Self { tunnel, mail: Arc::default(), closing: Arc::default(), farewell }
    }

    /// Ends the tunnel.
    pub(crate) fn close(&self, reason: Reason) {
        self.farewell.say(reason);
        self.closing.notify_one();
    }
}

/// All attached nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    attached: BTreeMap<OwnedServerName, Attached>,
    expected: BTreeMap<OwnedServerName, BTreeSet<OwnedServerName>>,
    /// Of attached nodes, and of absent ones where somebody is aside.
    aside: BTreeMap<OwnedServerName, Arc<Aside>>,
}

impl Nodes {
    /// Notes a node's tunnel, and hands back the one that it takes the place of.
    pub(crate) fn attach(&self, node: OwnedServerName, attached: Attached) -> Option<Attached> {
        self.inner().attached.insert(node, attached)
    }

    /// Forgets a tunnel, unless another has taken its place.
    pub(crate) fn detach(&self, node: &ServerName, attached: &Attached) {
        let mut inner = self.inner();
        if inner.attached.get(node).is_some_and(|current| current.tunnel.is_same(&attached.tunnel)) {
            inner.attached.remove(node);
            inner.forget_aside(node);
        }
    }

    /// Whose mail a node could not take, and when it is tried again: the same for all of its tunnels, so that nobody gains by its coming anew.
    pub(crate) fn aside(&self, node: &ServerName) -> Arc<Aside> {
        Arc::clone(self.inner().aside.entry(node.to_owned()).or_default())
    }

    /// A node's tunnel, when it is attached.
    pub(crate) fn attached(&self, node: &ServerName) -> Option<Attached> {
        self.inner().attached.get(node).filter(|attached| !attached.tunnel.is_closed()).cloned()
    }

    /// How many nodes are attached.
    pub(crate) fn count(&self) -> usize {
        self.inner().attached.len()
    }

    /// Ends every tunnel.
    pub(crate) fn close_all(&self, reason: Reason) {
        self.inner().attached.values().for_each(|attached| attached.close(reason));
    }

    /// Notes that `sender` wants to hear when `node` is there, as far as there is room for such notes.
    pub(crate) fn expect(&self, node: &ServerName, sender: &ServerName) {
        let mut inner = self.inner();
        if inner.expected.len() >= EXPECTED && !inner.expected.contains_key(node) {
            inner.expected.pop_first();
        }
        let expecting = inner.expected.entry(node.to_owned()).or_default();
        if expecting.len() < EXPECTING {
            expecting.insert(sender.to_owned());
        }
    }

    /// Who wanted to hear that `node` is there, once.
    pub(crate) fn take_expecting(&self, node: &ServerName) -> BTreeSet<OwnedServerName> {
        self.inner().expected.remove(node).unwrap_or_default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

impl Inner {
    /// Forgets who is aside for a node that has gone, if it is nobody, or for another one when there are too many.
    fn forget_aside(&mut self, node: &ServerName) {
        if self.aside.get(node).is_some_and(|aside| aside.is_empty()) {
            self.aside.remove(node);
        }
        if self.aside.len() > self.attached.len() + REMEMBERED {
            let absent = self.aside.keys().find(|node| !self.attached.contains_key(*node)).cloned();
            absent.map(|absent| self.aside.remove(&absent));
        }
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
