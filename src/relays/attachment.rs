//! One tunnel: dialled, proven, kept, and dialled again when it ends.

use std::{io, rc::Rc};

use futures_util::{
    FutureExt, SinkExt, StreamExt,
    future::{Either, select},
};
use inglenook_protocol::{
    handshake::{Challenge, MAX_MESSAGE, Verdict, Welcome},
    node_record::host_of,
    path,
    socket::ByteSocket,
    tunnel::{self, Side, Tunnel},
};
use ruma::OwnedServerName;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    inbound,
    socket::{Message, Socket, Sockets, Watched, binary},
};
use crate::server::Server;

/// The first pause before a relay is dialled again.
const FIRST_PAUSE_MILLIS: u64 = 1_000;

/// The longest: a relay that is back after a night should not wait for long, and a dial costs little.
const LONGEST_PAUSE_MILLIS: u64 = 60_000;

/// How long a relay may take to let this server in. A browser would wait for minutes for a host that swallows what it is sent.
const PATIENCE_MILLIS: u64 = 20_000;

/// How a tunnel to a relay stands.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It is being dialled.
    #[default]
    Connecting,
    /// It is there.
    Attached {
        /// Since when, in milliseconds since the Unix epoch.
        since: u64,
        /// The relay's own server name.
        relay: OwnedServerName,
        /// What the relay takes.
        limits: Box<inglenook_protocol::limits::Limits>,
    },
    /// Another holder of this server's key has taken its place. It is dialled again much later, or the two would take it from each other
    /// for ever.
    Superseded {
        /// Until when, in milliseconds since the Unix epoch.
        until: u64,
    },
    /// It is dialled again later.
    Waiting {
        /// When, in milliseconds since the Unix epoch.
        until: u64,
        /// Why it ended, or never began.
        reason: String,
    },
}

/// How long to wait after so many attempts in vain, with `chance` between 0 and 1 to spread the many that lost one relay.
pub(super) fn pause(attempts: u32, chance: f64) -> u64 {
    let longest = FIRST_PAUSE_MILLIS.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE_MILLIS);
    longest / 2 + (longest as f64 / 2.0 * chance) as u64
}

/// How long to leave the tunnel to another holder of this server's key who has taken it so many times.
pub(super) fn pause_after_another(times: u32, chance: f64) -> u64 {
    let least = LONGEST_PAUSE_MILLIS << times.min(3);
    least + (least as f64 * chance) as u64
}

/// A tunnel that was opened.
pub(super) struct Attached<D> {
    pub(super) tunnel: Tunnel,
    pub(super) welcome: Welcome,
    /// It must be polled for the tunnel to live.
    pub(super) driver: D,
    pub(super) socket: Rc<Watched>,
}

/// Dials a relay and proves who this server is.
pub(super) async fn attach(
    sockets: &dyn Sockets,
    server: &Rc<Server>,
    base_url: &str,
) -> io::Result<Attached<impl Future<Output = tunnel::Ended> + use<>>> {
    let host = host_of(base_url).ok_or_else(|| io::Error::other("this is no relay's URL"))?;
    let entering = enter(sockets, server, base_url, &host).boxed_local();
    let (socket, welcome) = match select(entering, server.ports.clock.sleep(PATIENCE_MILLIS)).await {
        Either::Left((entered, _)) => entered?,
        Either::Right(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the relay does not answer")),
    };
    let server = Rc::clone(server);
    let answer = move |request| inbound::answer(Rc::clone(&server), request);
    let watched = Rc::<Watched>::default();
    let (tunnel, driver) = tunnel::start(ByteSocket::new(binary(socket, &watched)), Side::Node, answer);
    Ok(Attached { tunnel, welcome, driver, socket: watched })
}

/// The handshake.
async fn enter(sockets: &dyn Sockets, server: &Server, base_url: &str, host: &str) -> io::Result<(Box<dyn Socket>, Welcome)> {
    let mut socket = sockets.dial(&tunnel_url(base_url)).await?;
    let challenge: Challenge = receive(&mut *socket).await?;
    let name = server.identity.server_name();
    let proof = challenge.prove(host, name, &*server.identity).map_err(io::Error::other)?;
    send(&mut *socket, &proof).await?;
    let verdict: Verdict = receive(&mut *socket).await?;
    let welcome = verdict.read(&challenge, name).map_err(io::Error::other)?;
    Ok((socket, welcome))
}

/// A WebSocket's URL has a scheme of its own.
fn tunnel_url(base_url: &str) -> String {
    let base_url = base_url.trim_end_matches('/');
    let url = base_url.strip_prefix("http").map_or_else(|| base_url.to_owned(), |rest| format!("ws{rest}"));
    format!("{url}{}", path::TUNNEL)
}

async fn receive<T: DeserializeOwned>(socket: &mut dyn Socket) -> io::Result<T> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) if text.len() <= MAX_MESSAGE => serde_json::from_str(&text).map_err(io::Error::other),
        Some(Ok(_)) => Err(io::Error::other("the relay does not keep to the handshake")),
        Some(Err(error)) => Err(error),
        None => Err(io::Error::other("the relay closed the connection")),
    }
}

async fn send(socket: &mut dyn Socket, message: &impl Serialize) -> io::Result<()> {
    socket.send(Message::Text(serde_json::to_string(message).map_err(io::Error::other)?)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_are_spread() {
        assert_eq!((pause(0, 0.0), pause(0, 1.0)), (500, 1_000));
        assert_eq!((pause(3, 0.0), pause(3, 1.0)), (4_000, 8_000));
        assert_eq!((pause(99, 0.0), pause(99, 1.0)), (30_000, 60_000));
    }

    #[test]
    fn who_was_superseded_waits_for_a_minute_and_more_but_less_than_a_tunnel_takes_to_be_undisputed() {
        assert_eq!((pause_after_another(0, 0.0), pause_after_another(0, 1.0)), (60_000, 120_000));
        assert_eq!((pause_after_another(9, 0.0), pause_after_another(9, 1.0)), (480_000, 960_000));
    }

    #[test]
    fn a_tunnel_is_dialled_by_the_scheme_of_sockets() {
        assert_eq!(tunnel_url("https://relay.example/base/"), "wss://relay.example/base/_inglenook/relay/v1/tunnel");
        assert_eq!(tunnel_url("http://localhost:80"), "ws://localhost:80/_inglenook/relay/v1/tunnel");
    }
}
