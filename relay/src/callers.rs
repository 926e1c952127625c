//! What those who call may take: so many requests and connections by address, so many requests by node, and so many bytes of requests in
//! memory for all together.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    io,
    net::IpAddr,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName};
use futures_util::StreamExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use inglenook_protocol::limits::Limits;
use ruma::OwnedServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use crate::{
    address::Address,
    reply::{Body, boxed},
};

/// How many requests over HTTP are under way at a time. [`Callers::counted`] counts what of them is in memory.
const MAX_STRANGERS: usize = 1_024;

/// How many of them are one address's: so many that a large server is not held up, and so few that nobody takes them all.
const SHARE_OF_STRANGERS: usize = MAX_STRANGERS / 8;

/// How many connections, or requests, each address has.
type Taken = Arc<Mutex<HashMap<Address, usize>>>;

/// What callers have taken.
pub(crate) struct Callers {
    requests: Option<DefaultKeyedRateLimiter<Address>>,
    /// Of a node, up its tunnel, and what of that leaves the relay.
    node: Option<DefaultKeyedRateLimiter<OwnedServerName>>,
    outside: Option<DefaultKeyedRateLimiter<OwnedServerName>>,
    /// How many connections of an address there may be; zero for any number.
    most: usize,
    connections: Taken,
    strangers: Arc<Semaphore>,
    under_way: Taken,
    /// The header in which a proxy says whom it calls for.
    forwarded: Option<HeaderName>,
    bytes: Arc<Semaphore>,
}

impl Callers {
    /// Nobody has taken anything. A limit of zero is none.
    pub(crate) fn new(limits: &Limits, forwarded: Option<HeaderName>, bytes: usize) -> Self {
        Self {
            requests: per_minute(limits.address.requests_per_minute),
            node: per_minute(limits.node_requests_per_minute),
            outside: per_minute(limits.node_outside_per_minute),
            most: usize::try_from(limits.address.connections).unwrap_or(usize::MAX),
            connections: Arc::default(),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            under_way: Arc::default(),
            forwarded,
            bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Who has sent a request: whom the proxy names last, which is what the proxy itself has seen, or else who has connected.
    pub(crate) fn who(&self, headers: &HeaderMap, connected: Option<IpAddr>) -> Option<Address> {
        let named = self.forwarded.as_ref().and_then(|name| headers.get_all(name).iter().next_back()?.to_str().ok());
        let named = named.and_then(|list| list.rsplit(',').next()?.trim().trim_matches(['[', ']']).parse().ok());
        Address::of(named.or(connected)?)
    }

    /// Counts a request; in how many milliseconds the next one may come where this one is too many.
    pub(crate) fn request(&self, who: Option<Address>) -> Result<(), u64> {
        let Some(who) = who else { return Ok(()) };
        check(self.requests.as_ref(), &who)
    }

    /// The same of a request that has come up a node's tunnel.
    pub(crate) fn node(&self, node: &OwnedServerName) -> Result<(), u64> {
        check(self.node.as_ref(), node)
    }

    /// The same of one that goes to another server or relay, which others have to bear.
    pub(crate) fn outside(&self, node: &OwnedServerName) -> Result<(), u64> {
        check(self.outside.as_ref(), node)
    }

    /// Counts a connection, unless a proxy stands in front, which connects for all.
    pub(crate) fn connect(&self, from: IpAddr) -> Option<Place> {
        if self.forwarded.is_some() { Some(Place(None)) } else { take(&self.connections, Address::of(from), self.most) }
    }

    /// Counts a tunnel that comes through a proxy. One without is counted as a connection.
    pub(crate) fn tunnel(&self, who: Option<Address>) -> Option<Place> {
        if self.forwarded.is_some() { take(&self.connections, who, self.most) } else { Some(Place(None)) }
    }

    /// Counts a request over HTTP that is under way.
    pub(crate) fn slot(&self, who: Option<Address>) -> Option<Slot> {
        let share = take(&self.under_way, who, SHARE_OF_STRANGERS)?;
        Arc::clone(&self.strangers).try_acquire_owned().ok().map(|permit| Slot { _permit: permit, _share: share })
    }

    /// Forgets who has not called for long enough to have everything again.
    pub(crate) fn forget(&self) {
        forget(self.requests.as_ref());
        forget(self.node.as_ref());
        forget(self.outside.as_ref());
    }

    /// The same body, whose bytes are counted for as long as what is returned with it lives. It fails where there is no more room.
    pub(crate) fn counted(&self, mut body: Body) -> (Body, Held) {
        let held = Held::default();
        let (count, bytes) = (held.clone(), Arc::clone(&self.bytes));
        let body = futures_util::stream::poll_fn(move |context| {
            let piece = ready!(body.poll_next_unpin(context));
            Poll::Ready(piece.map(|piece| piece.and_then(|piece| count.add(&bytes, piece.len()).map(|()| piece))))
        });
        (boxed(body), held)
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> usize {
        self.bytes.available_permits()
    }
}

fn per_minute<K: Clone + Eq + Hash>(rate: u64) -> Option<DefaultKeyedRateLimiter<K>> {
    NonZeroU32::new(u32::try_from(rate).unwrap_or(u32::MAX)).map(|rate| RateLimiter::keyed(Quota::per_minute(rate)))
}

fn check<K: Clone + Eq + Hash>(limiter: Option<&DefaultKeyedRateLimiter<K>>, who: &K) -> Result<(), u64> {
    let Some(limiter) = limiter else { return Ok(()) };
    let too_many = limiter.check_key(who).err();
    let wait = too_many.map(|until| until.wait_time_from(limiter.clock().now()));
    wait.map_or(Ok(()), |wait| Err(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)))
}

fn forget<K: Clone + Eq + Hash>(limiter: Option<&DefaultKeyedRateLimiter<K>>) {
    if let Some(limiter) = limiter {
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }
}

/// Counts one more of an address, up to so many; of nobody in particular, or without a limit, nothing is counted.
fn take(taken: &Taken, who: Option<Address>, most: usize) -> Option<Place> {
    let Some(who) = who.filter(|_| most > 0) else { return Some(Place(None)) };
    let mut counts = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(who).or_default();
    if *count >= most {
        return None;
    }
    *count += 1;
    Some(Place(Some((who, Arc::clone(taken)))))
}

/// A request that is under way. Dropping it gives the place back.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _share: Place,
}

/// One of the connections, or requests, of an address. Dropping it gives it back.
pub(crate) struct Place(Option<(Address, Taken)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((who, taken)) = self.0.take() else { return };
        let mut counts = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&who);
            }
        }
    }
}

/// Bytes that are counted. Dropping the last of its clones gives them back.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Held {
    fn add(&self, all: &Arc<Semaphore>, bytes: usize) -> io::Result<()> {
        let more = u32::try_from(bytes).ok().and_then(|bytes| Arc::clone(all).try_acquire_many_owned(bytes).ok());
        let more = more.ok_or(io::ErrorKind::OutOfMemory)?;
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// How long the other side may read nothing of what is written to it: as long as a tunnel may be silent.
const UNREAD: Duration = Duration::from_secs(75);

/// A connection that is counted until it ends, at the latest when its other side has not read for too long.
pub(crate) struct Counted<S> {
    stream: S,
    _place: Place,
    /// Runs while something cannot be written.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Counted<S> {
    /// A new connection.
    pub(crate) fn new(stream: S, place: Place) -> Self {
        Self { stream, _place: place, stuck: None }
    }

    /// What came of writing, which must not wait for too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(UNREAD)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.in_time(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use inglenook_protocol::limits::AddressLimits;
    use ruma::ServerName;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::config::Config;

    fn callers(requests_per_minute: u64, connections: u64, forwarded: Option<&'static str>, bytes: usize) -> Callers {
        let address = AddressLimits { requests_per_minute, connections, ..AddressLimits::default() };
        let limits = Limits { address, node_requests_per_minute: 3, node_outside_per_minute: 2, ..Config::default().limits() };
        Callers::new(&limits, forwarded.map(HeaderName::from_static), bytes)
    }

    fn address(text: &str) -> Option<Address> {
        Address::of(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_requests_and_others_have_their_own() {
        let callers = callers(3, 0, None, 0);
        let (one, other) = (address("1.1.1.1"), address("1.1.1.2"));
        assert!((0..3).all(|_| callers.request(one).is_ok()));
        let wait = callers.request(one).unwrap_err();
        assert!((1..=20_000).contains(&wait), "{wait}");
        callers.forget();
        assert!(callers.request(one).is_err(), "who has just called is not forgotten");
        assert!(callers.request(other).is_ok());
        assert!((0..100).all(|_| callers.request(None).is_ok()));
    }

    #[test]
    fn a_node_has_so_many_requests_and_fewer_that_leave_the_relay() {
        let callers = callers(1, 0, None, 0);
        let (one, other) = (ServerName::parse("one").unwrap(), ServerName::parse("other").unwrap());
        assert!((0..3).all(|_| callers.node(&one).is_ok()) && callers.node(&one).is_err());
        assert!((0..2).all(|_| callers.outside(&one).is_ok()) && callers.outside(&one).is_err());
        callers.forget();
        assert!(callers.node(&one).is_err() && callers.outside(&one).is_err(), "who has just called is not forgotten");
        assert!(callers.node(&other).is_ok() && callers.outside(&other).is_ok());
    }

    #[test]
    fn an_address_has_a_share_of_the_requests_under_way() {
        let callers = callers(0, 0, None, 0);
        let (one, other) = (address("1.1.1.1"), address("1.1.1.2"));
        let mut slots: Vec<_> = (0..SHARE_OF_STRANGERS).map(|_| callers.slot(one).unwrap()).collect();
        assert!(callers.slot(one).is_none());
        assert!(callers.slot(other).is_some());
        slots.pop();
        assert!(callers.slot(one).is_some());
        slots.clear();
        assert!(callers.under_way.lock().unwrap().is_empty(), "who has gone is forgotten");
        slots.extend((0..MAX_STRANGERS).map(|_| callers.slot(None).unwrap()));
        assert!(callers.slot(None).is_none() && callers.slot(one).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_reads_ends() {
        let (stream, _unread) = tokio::io::duplex(1);
        let mut counted = Counted::new(stream, Place(None));
        assert_eq!(counted.write(b"x").await.unwrap(), 1);
        assert!(counted.write(b"x").now_or_never().is_none());
        assert!(counted.stuck.is_some());
        // As if it had been so long.
        counted.stuck = Some(Box::pin(tokio::time::sleep(Duration::ZERO)));
        assert_eq!(counted.write(b"x").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_address_has_so_many_connections_at_a_time() {
        let callers = callers(0, 2, None, 0);
        let from = |text: &str| callers.connect(text.parse().unwrap());
        let (first, _second) = (from("1.1.1.1").unwrap(), from("1.1.1.1").unwrap());
        assert!(from("1.1.1.1").is_none());
        assert!(from("1.1.1.2").is_some());
        drop(first);
        assert!(from("1.1.1.1").is_some());
        assert!((0..9).map(|_| from("127.0.0.1")).all(|place| place.is_some()));
        assert_eq!(callers.connections.lock().unwrap().len(), 1, "who has gone is forgotten");
    }

    #[test]
    fn a_proxy_is_believed_where_the_operator_says_so() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            headers
        };
        let (proxied, open) = (callers(1, 1, Some("x-forwarded-for"), 0), callers(1, 1, None, 0));
        let proxy = Some("10.0.0.1".parse().unwrap());
        assert_eq!(proxied.who(&headers(&["9.9.9.9, 1.1.1.1"]), proxy), address("1.1.1.1"), "what came before the last is anybody's word");
        assert_eq!(proxied.who(&headers(&["9.9.9.9", "1.1.1.1"]), proxy), address("1.1.1.1"));
        assert_eq!(proxied.who(&headers(&["[2a00::1]"]), proxy), address("2a00::1"));
        assert_eq!(proxied.who(&headers(&["unknown"]), proxy), None);
        assert_eq!(proxied.who(&headers(&[]), Some("1.1.1.2".parse().unwrap())), address("1.1.1.2"));
        assert_eq!(open.who(&headers(&["1.1.1.1"]), proxy), None);
        assert!((0..9).map(|_| proxied.connect("1.1.1.1".parse().unwrap())).all(|place| place.is_some()));
        let _tunnel = proxied.tunnel(address("1.1.1.1")).unwrap();
        assert!(proxied.tunnel(address("1.1.1.1")).is_none());
    }

    #[tokio::test]
    async fn bytes_are_counted_until_they_are_let_go() {
        let callers = callers(0, 0, None, 10);
        let body = |pieces: &[usize]| boxed(stream::iter(pieces.iter().map(|&piece| Ok(vec![0; piece])).collect::<Vec<_>>()));
        let (first, held) = callers.counted(body(&[4, 4]));
        assert_eq!(first.filter(|piece| std::future::ready(piece.is_ok())).count().await, 2);
        assert_eq!(callers.room(), 2);
        let (mut second, _held) = callers.counted(body(&[1, 2]));
        assert!(second.next().await.unwrap().is_ok());
        assert_eq!(second.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        drop(held);
        assert_eq!(callers.room(), 9);
    }
}
