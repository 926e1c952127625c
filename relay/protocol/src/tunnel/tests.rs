//! Two ends of a tunnel over a connection in memory.
#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_executor::block_on;
use futures_util::{
    FutureExt, SinkExt, Stream,
    future::{BoxFuture, join, join_all, select},
    pin_mut, stream,
    stream::BoxStream,
};

use super::*;
use crate::{
    message::{Headers, whole},
    socket::{ByteSocket, tests::pair},
};

const LARGE: u64 = 50 * 1024 * 1024;

type Chunks = BoxStream<'static, io::Result<Vec<u8>>>;

fn request(uri: &str, body: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static) -> Request<Chunks> {
    let headers = Headers::from_iter([("content-type", "application/json")]);
    Request { method: "PUT".into(), authority: "there.example".into(), uri: uri.into(), headers, body: body.boxed() }
}

fn response(status: u16, body: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static) -> Response<Chunks> {
    Response { status, headers: Headers::default(), body: body.boxed() }
}

/// Answers with the method, the URI and the body, backwards.
fn echo(request: Request<TunnelBody>) -> BoxFuture<'static, Response<Chunks>> {
    async move {
        let mut text = format!("{} {}\n", request.method, request.uri).into_bytes();
        text.extend(request.body.collect(1 << 20).await.unwrap_or_default());
        response(200, whole(text))
    }
    .boxed()
}

/// Runs `test` between the node's end, whose requests `relay` answers, and the relay's, whose requests `echo` answers.
fn between<H, F>(relay: H, test: impl AsyncFnOnce(Tunnel, Tunnel))
where
    H: Fn(Request<TunnelBody>) -> F,
    F: Future<Output = Response<Chunks>>,
{
    let (here, there) = pair();
    let (node, node_driver) = start(ByteSocket::new(here), Side::Node, echo);
    let (relay, relay_driver) = start(ByteSocket::new(there), Side::Relay, relay);
    let drivers = join(node_driver, relay_driver);
    block_on(async {
        pin_mut!(drivers);
        let test = test(node, relay);
        pin_mut!(test);
        match select(test, drivers).await {
            futures_util::future::Either::Left(_) => {}
            futures_util::future::Either::Right((_, test)) => test.await,
        }
    });
}

/// A body of `LARGE` bytes that counts what was taken of it.
fn large(taken: &Arc<AtomicU64>) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + use<> {
    let taken = taken.clone();
    stream::iter(0..LARGE / 65_536).map(move |number| {
        taken.fetch_add(65_536, Ordering::Relaxed);
        Ok(vec![number as u8; 65_536])
    })
}

#[test]
fn both_ends_ask_and_answer() {
    between(echo, async |node, relay| {
        let (up, down) = join(node.request(request("/up", whole("abc"))), relay.request(request("/down", whole("")))).await;
        let (up, down) = (up.unwrap(), down.unwrap());
        assert_eq!((up.status, down.status), (200, 200));
        assert_eq!(up.body.collect(100).await.unwrap(), b"PUT /up\nabc");
        assert_eq!(down.body.collect(100).await.unwrap(), b"PUT /down\n");
    });
}

#[test]
fn more_requests_than_slots_wait_and_are_all_answered() {
    between(echo, async |node, _| {
        let ask = async |number: usize| node.request(request("/", whole(number.to_string()))).await.unwrap().body.collect(100).await;
        let answers = join_all((0..3 * MAX_OPEN).map(ask)).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), format!("PUT /\n{number}").into_bytes());
        }
    });
}

#[test]
fn too_many_waiting_requests_are_refused_at_once() {
    let silent = |_| futures_util::future::pending();
    between(silent, async |node, _| {
        let mut asked = Vec::new();
        for _ in 0..MAX_OPEN + MAX_WAITING {
            let mut request = node.request(request("/", whole(""))).boxed_local();
            assert!((&mut request).now_or_never().is_none());
            asked.push(request);
            // The driver takes as many as there are slots.
            yield_now().await;
        }
        assert!(matches!(node.request(request("/", whole(""))).await, Err(TunnelError::Busy)));
        drop(asked);
        let mut again = node.request(request("/", whole(""))).boxed_local();
        yield_now().await;
        assert!((&mut again).now_or_never().is_none());
    });
}

#[test]
fn a_large_body_neither_delays_a_small_message_nor_fills_memory() {
    let consumed = Arc::new(AtomicU64::new(0));
    let produced = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (count, made, peak) = (consumed.clone(), produced.clone(), most.clone());
    let relay = move |request: Request<TunnelBody>| {
        let (count, made, peak) = (count.clone(), made.clone(), peak.clone());
        async move {
            let mut body = request.body;
            while let Some(chunk) = body.next().await {
                count.fetch_add(chunk.unwrap().len() as u64, Ordering::Relaxed);
                peak.fetch_max(made.load(Ordering::Relaxed).saturating_sub(count.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
            response(200, whole(request.uri))
        }
    };
    between(relay, async |node, _| {
        let upload = async {
            let answer = node.request(request("/large", large(&produced))).await.unwrap();
            assert_eq!(answer.body.collect(100).await.unwrap(), b"/large");
        };
        let message = async {
            // In the middle of the upload.
            while consumed.load(Ordering::Relaxed) < LARGE / 4 {
                yield_now().await;
            }
            let before = consumed.load(Ordering::Relaxed);
            let answer = node.request(request("/small", whole("x"))).await.unwrap();
            assert_eq!(answer.body.collect(100).await.unwrap(), b"/small");
            let meanwhile = consumed.load(Ordering::Relaxed) - before;
            assert!(meanwhile < 2 * 1024 * 1024, "{meanwhile} bytes went before a small message");
        };
        join(upload, message).await;
    });
    assert_eq!(consumed.load(Ordering::Relaxed), LARGE + 1);
    let most = most.load(Ordering::Relaxed);
    assert!(most < 1024 * 1024, "{most} bytes were under way");
}

#[test]
fn a_slow_reader_is_not_buffered_for() {
    let taken = Arc::new(AtomicU64::new(0));
    let body = taken.clone();
    let relay = move |_| {
        let body = large(&body);
        async move { response(200, body) }
    };
    between(relay, async |node, _| {
        let mut answer = node.request(request("/", whole(""))).await.unwrap();
        for _ in 0..1000 {
            yield_now().await;
        }
        let ahead = taken.load(Ordering::Relaxed);
        assert!(ahead < 1024 * 1024, "{ahead} bytes were made for nobody");
        let mut total = 0;
        while let Some(chunk) = answer.body.next().await {
            total += chunk.unwrap().len() as u64;
        }
        assert_eq!(total, LARGE);
    });
}

#[test]
fn an_answer_may_come_before_the_request_is_whole() {
    let refuse = |_| async { response(413, whole("too much")) };
    between(refuse, async |node, _| {
        let endless = stream::repeat_with(|| Ok(vec![0; 1024]));
        let answer = node.request(request("/", endless)).await.unwrap();
        assert_eq!((answer.status, answer.body.collect(100).await.unwrap()), (413, b"too much".to_vec()));
        // Its slot and its stream are free again.
        for _ in 0..3 * MAX_STREAMS {
            let answer = node.request(request("/", whole(""))).await.unwrap();
            assert_eq!(answer.status, 413);
        }
    });
}

#[test]
fn a_body_that_is_cut_off_is_not_taken_for_whole() {
    let relay = |request: Request<TunnelBody>| async {
        let complete = request.body.collect(1 << 20).await.is_ok();
        response(if complete { 200 } else { 400 }, stream::iter([Ok(vec![1; 100]), Err(io::ErrorKind::Other.into())]))
    };
    between(relay, async |node, _| {
        let failing = stream::iter([Ok(vec![0; 100]), Err(io::ErrorKind::Other.into())]);
        assert!(matches!(node.request(request("/", failing)).await, Err(TunnelError::Body(_))));
        let answer = node.request(request("/", whole("abc"))).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.collect(1000).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn closing_ends_both_ends_and_fails_what_is_under_way() {
    let (here, there) = pair();
    let (node, node_driver) = start(ByteSocket::new(here), Side::Node, echo);
    let silent = |_| futures_util::future::pending::<Response<Chunks>>();
    let (relay, relay_driver) = start(ByteSocket::new(there), Side::Relay, silent);
    let asked = node.request(request("/", whole("")));
    let close = async {
        yield_now().await;
        relay.close();
    };
    let ((ended_there, ended_here), (answer, ())) = block_on(join(join(relay_driver, node_driver), join(asked, close)));
    assert_eq!(ended_there, Ended::Here);
    assert_ne!(ended_here, Ended::Here);
    assert!(answer.is_err());
    assert!(node.is_closed() && relay.is_closed());
    assert!(matches!(block_on(node.request(request("/", whole("")))), Err(TunnelError::Closed)));
}

#[test]
fn an_abrupt_end_fails_what_is_under_way() {
    let (here, there) = pair();
    let (node, driver) = start(ByteSocket::new(here), Side::Node, echo);
    let asked = node.request(request("/", whole("")));
    let (ended, (answer, ())) = block_on(join(driver, join(asked, async { drop(there) })));
    assert_ne!(ended, Ended::Here);
    assert!(answer.is_err());
}

#[test]
fn garbage_ends_the_tunnel_and_nothing_else() {
    for garbage in [vec![0xff; 1000], b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0, 9, 9, 9], (0..=255).collect()] {
        let (here, mut there) = pair();
        let (node, driver) = start(ByteSocket::new(here), Side::Relay, echo);
        let send = async {
            let _ = there.send(garbage).await;
            let _ = there.close().await;
            // Whatever is answered has to be read for the other side to go on.
            while there.next().await.is_some() {}
        };
        let (ended, ()) = block_on(join(driver, send));
        assert_ne!(ended, Ended::Here);
        assert!(node.is_closed());
    }
}

/// Lets everything else run once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
