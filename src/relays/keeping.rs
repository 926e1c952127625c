//! Keeping a tunnel to each of the server's relays: when to dial, and whether a tunnel that is there still leads anywhere.

use std::rc::Rc;

use futures_util::{
    FutureExt,
    future::{Either, join_all, select},
};
use inglenook_protocol::{
    message::{self, Headers},
    path::LIMITS,
    tunnel::{Ended, Tunnel},
};

use super::{
    attachment::{Attached, Standing, attach, pause, pause_after_another},
    deposits,
    transport::{RelayTransport, Way},
};
use crate::{server::Server, signal::Signal};

/// A tunnel that has lived for so long was worth dialling: the next attempt after it is as the first.
const SETTLED_MILLIS: u64 = 60_000;

/// The same of one that another holder of the key might have taken: longer than one waits then.
const UNDISPUTED_MILLIS: u64 = 20 * 60_000;

/// A tunnel in which nothing has come for so long is tried: nobody says that a network has swallowed it, and the relay's own pings do
/// not show.
const IDLE_MILLIS: u64 = 60_000;

/// How long a relay may take to show that it is there.
const PROBE_MILLIS: u64 = 5_000;

/// How often a relay was dialled in vain.
#[derive(Default)]
struct Attempts {
    failed: u32,
    /// How often another holder of this server's key has taken the tunnel.
    taken: u32,
}

impl RelayTransport {
    /// Keeps a tunnel to each of the server's relays, for the server's life.
    pub async fn run(self: Rc<Self>, server: Rc<Server>) {
        *self.clock.borrow_mut() = Some(Rc::clone(&server.ports.clock));
        while !server.is_stopping() {
            let changed = server.own_relays.changed.raised();
            let urls = server.own_relays.urls();
            let kept = join_all(urls.iter().map(|url| self.keep_attached(&server, url)));
            // With no relay there is nothing to keep, and nothing but a change to wait for.
            let kept = kept.then(|_| std::future::pending::<()>());
            select(kept.boxed_local(), changed.boxed_local()).await;
            // The tunnels' drivers were dropped, which ends them.
            self.tunnels.borrow_mut().clear();
        }
    }

    /// The network is back: whatever waits is dialled at once, and tunnels that may lead nowhere any more are tried.
    pub fn hurry(&self) {
        self.hurry.raise();
    }

    async fn keep_attached(&self, server: &Rc<Server>, url: &str) {
        let mut attempts = Attempts::default();
        loop {
            // What is heard while it is dialled counts as well: the dial may have begun before there was a network.
            let hurried = self.hurry.raised();
            server.own_relays.note(url, Standing::Connecting);
            let (reason, is_taken) = match attach(&*self.sockets, server, url).await {
                Ok(attached) => self.live(server, url, attached, &mut attempts).await,
                Err(error) => (error.to_string(), false),
            };
            if is_taken {
                let millis = pause_after_another(attempts.taken, chance(server));
                attempts.taken += 1;
                server.own_relays.note(url, Standing::Superseded { until: server.now() + millis });
                server.ports.clock.sleep(millis).await;
                continue;
            }
            let millis = pause(attempts.failed, chance(server));
            attempts.failed += 1;
            server.own_relays.note(url, Standing::Waiting { until: server.now() + millis, reason });
            if let Either::Right(_) = select(server.ports.clock.sleep(millis), hurried.boxed_local()).await {
                attempts.failed = 0;
            }
        }
    }

    /// Lives with a tunnel to its end. Returns why it ended, and whether another holder of this server's key has taken its place.
    async fn live(
        &self,
        server: &Rc<Server>,
        url: &str,
        attached: Attached<impl Future<Output = Ended>>,
        attempts: &mut Attempts,
    ) -> (String, bool) {
        let Attached { tunnel, welcome, driver, socket } = attached;
        let (since, is_gateway) = (server.now(), server.own_relays.is_gateway(url, welcome.limits.gateway.as_deref()).await);
        self.keep_retention(url, Some(welcome.limits.retention_ms));
        server.own_relays.note(url, Standing::Attached { since, relay: welcome.challenge.relay, limits: Box::new(welcome.limits) });
        self.tunnels.borrow_mut().insert(url.to_owned(), Way { tunnel: tunnel.clone(), is_gateway });
        let silent = self.watch(server, &tunnel, &socket.heard);
        let beside = async {
            server.federation_sender.way_is_back(server, url, is_gateway).await;
            deposits::keep(server, &tunnel).await;
        };
        let ended = driven(driver, silent, beside).await;
        self.tunnels.borrow_mut().remove(url);
        let lived = server.now().saturating_sub(since);
        if lived >= SETTLED_MILLIS {
            attempts.failed = 0;
        }
        if lived >= UNDISPUTED_MILLIS {
            attempts.taken = 0;
        }
        (ended, socket.is_superseded.get())
    }

    /// Ends when the relay does not answer any more.
    async fn watch(&self, server: &Server, tunnel: &Tunnel, heard: &Signal) {
        let clock = &server.ports.clock;
        loop {
            let before = heard.count();
            let (hurried, idle) = (self.hurry.raised().boxed_local(), clock.sleep(IDLE_MILLIS));
            let is_hurried = matches!(select(hurried, idle).await, Either::Left(_));
            if !is_hurried && heard.count() != before {
                continue;
            }
            let before = heard.count();
            let answered = matches!(select(probe(tunnel).boxed_local(), clock.sleep(PROBE_MILLIS)).await, Either::Left(_));
            // A line that is busy with a file may take its time for the answer, and is no dead one.
            if !answered && heard.count() == before {
                return;
            }
        }
    }
}

/// Asks a relay something that costs it little.
async fn probe(tunnel: &Tunnel) {
    let (method, uri) = ("GET".to_owned(), LIMITS.to_owned());
    let request = message::Request { method, authority: String::new(), uri, headers: Headers::default(), body: message::whole(Vec::new()) };
    // A tunnel that fails ends by itself.
    let _ = tunnel.request(request).await;
}

/// Drives a tunnel to its end, or until its relay is silent, and beside it what is to be done while it lives. Returns why it ended.
async fn driven(driver: impl Future<Output = Ended>, silent: impl Future<Output = ()>, beside: impl Future<Output = ()>) -> String {
    let beside = beside.then(|()| std::future::pending::<Ended>());
    let silent = silent.map(|()| Ended::Failed("the relay does not answer any more".into()));
    let watched = select(silent.boxed_local(), beside.boxed_local()).map(|ended| ended.factor_first().0);
    match select(driver.boxed_local(), watched.boxed_local()).await.factor_first().0 {
        Ended::Here => "this server has closed the tunnel".into(),
        Ended::ByPeer => "the relay has closed the tunnel".into(),
        Ended::Failed(why) => why,
    }
}

/// A number between 0 and 1.
fn chance(server: &Server) -> f64 {
    f64::from(u32::from_be_bytes(server.random())) / f64::from(u32::MAX)
}
