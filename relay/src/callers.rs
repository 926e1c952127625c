//! What those who call may take: so many requests and connections by address, and so many bytes of requests in memory for all together.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::http::{HeaderMap, HeaderName};
use futures_util::StreamExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use inglenook_protocol::limits::AddressLimits;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    address::is_public,
    reply::{Body, boxed},
};

/// Who calls, as far as limits go: an address, or the network that one household has of the sixth version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// Addresses that are not public are nobody's in particular: a proxy's in front of the relay, or the operator's own network.
    fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        is_public(address).then_some(Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        }))
    }
}

/// How many connections each address has.
type Connections = Arc<Mutex<HashMap<Address, usize>>>;

/// What callers have taken.
pub(crate) struct Callers {
    requests: Option<DefaultKeyedRateLimiter<Address>>,
    /// How many connections of an address there may be; zero for any number.
    most: usize,
    connections: Connections,
    /// The header in which a proxy says whom it calls for.
    forwarded: Option<HeaderName>,
    bytes: Arc<Semaphore>,
}

impl Callers {
    /// Nobody has taken anything. A limit of zero is none.
    pub(crate) fn new(limits: AddressLimits, forwarded: Option<HeaderName>, bytes: usize) -> Self {
        let rate = u32::try_from(limits.requests_per_minute).unwrap_or(u32::MAX);
        Self {
            requests: NonZeroU32::new(rate).map(|rate| RateLimiter::keyed(Quota::per_minute(rate))),
            most: usize::try_from(limits.connections).unwrap_or(usize::MAX),
            connections: Arc::default(),
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
        let (Some(requests), Some(who)) = (&self.requests, who) else { return Ok(()) };
        let too_many = requests.check_key(&who).err();
        let wait = too_many.map(|until| until.wait_time_from(requests.clock().now()));
        wait.map_or(Ok(()), |wait| Err(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)))
    }

    /// Counts a connection, unless a proxy stands in front, which connects for all.
    pub(crate) fn connect(&self, from: IpAddr) -> Option<Place> {
        if self.forwarded.is_some() { Some(Place(None)) } else { self.take(Address::of(from)) }
    }

    /// Counts a tunnel that comes through a proxy. One without is counted as a connection.
    pub(crate) fn tunnel(&self, who: Option<Address>) -> Option<Place> {
        if self.forwarded.is_some() { self.take(who) } else { Some(Place(None)) }
    }

    fn take(&self, who: Option<Address>) -> Option<Place> {
        let Some(who) = who.filter(|_| self.most > 0) else { return Some(Place(None)) };
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(who).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((who, Arc::clone(&self.connections)))))
    }

    /// Forgets who has not called for long enough to have everything again.
    pub(crate) fn forget(&self) {
        if let Some(requests) = &self.requests {
            requests.retain_recent();
            requests.shrink_to_fit();
        }
    }

    /// The same body, whose bytes are counted for as long as what is returned with it lives. It fails where there is no more room.
    pub(crate) fn counted(&self, mut body: Body) -> (Body, Held) {
        let held = Held::default();
        let (count, bytes) = (held.clone(), Arc::clone(&self.bytes));
        let body = futures_util::stream::poll_fn(move |context| {
            let piece = std::task::ready!(body.poll_next_unpin(context));
            Poll::Ready(piece.map(|piece| piece.and_then(|piece| count.add(&bytes, piece.len()).map(|()| piece))))
        });
        (boxed(body), held)
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> usize {
        self.bytes.available_permits()
    }
}

/// One of the connections of an address. Dropping it gives it back.
pub(crate) struct Place(Option<(Address, Connections)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((who, connections)) = self.0.take() else { return };
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&who);
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

/// A connection that is counted until it ends.
pub(crate) struct Counted<S> {
    pub(crate) stream: S,
    pub(crate) _place: Place,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn callers(requests_per_minute: u64, connections: u64, forwarded: Option<&'static str>, bytes: usize) -> Callers {
        Callers::new(AddressLimits { requests_per_minute, connections }, forwarded.map(HeaderName::from_static), bytes)
    }

    fn address(text: &str) -> Option<Address> {
        Address::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_household_are_one() {
        assert_eq!(address("2a00:1450:1:2::1"), address("2a00:1450:1:2:ffff::9"));
        assert_ne!(address("2a00:1450:1:2::1"), address("2a00:1450:1:3::1"));
        assert_eq!(address("::ffff:1.1.1.1"), address("1.1.1.1"));
        assert_ne!(address("1.1.1.1"), address("1.1.1.2"));
        assert_eq!((address("127.0.0.1"), address("192.168.0.1"), address("::1")), (None, None, None));
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
