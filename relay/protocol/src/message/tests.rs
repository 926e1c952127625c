//! Messages against bhttp's own reading and writing, in pieces, cut off, and as garbage.
#![allow(clippy::unwrap_used)]

use std::{
    io::Cursor,
    pin::Pin,
    task::{Context, Poll},
};

use bhttp::{Message, Mode, StatusCode};
use futures_executor::block_on;
use futures_util::{AsyncRead, AsyncWrite};
use proptest::prelude::*;

use super::*;

/// A reader that hands out one byte at a time, and is not ready before each.
struct Dribble<'a>(&'a [u8], bool);

impl AsyncRead for Dribble<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let one = buffer.len().min(1);
        let mut reader = self.0;
        let read = Pin::new(&mut reader).poll_read(cx, &mut buffer[..one]);
        self.0 = reader;
        read
    }
}

fn written(request: Request<impl Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    block_on(write_request(&mut bytes, request)).unwrap();
    bytes
}

fn request(body: impl Body) -> Request<impl Body> {
    let headers = Headers::from_iter([("authorization", "X-Matrix a=\"b\""), ("content-type", "application/json"), ("x", "")]);
    Request { method: "PUT".into(), authority: "b.example:8448".into(), uri: "/_matrix/x?y=%20".into(), headers, body }
}

fn read(bytes: &[u8]) -> io::Result<Request<Vec<u8>>> {
    block_on(async {
        let request = read_request(Dribble(bytes, false)).await?;
        let Request { method, authority, uri, headers, body } = request;
        Ok(Request { method, authority, uri, headers, body: collect(body, 1 << 20).await? })
    })
}

fn same(one: &Request<Vec<u8>>, body: &[u8]) {
    assert_eq!((one.method.as_str(), one.authority.as_str(), one.uri.as_str()), ("PUT", "b.example:8448", "/_matrix/x?y=%20"));
    assert_eq!(one.headers, request(whole("")).headers);
    assert_eq!(one.body, body);
}

#[test]
fn another_implementation_reads_what_is_written() {
    let body = stream::iter([Ok(b"ab".to_vec()), Ok(vec![]), Ok(vec![7; 70_000])]);
    let message = Message::read_bhttp(&mut Cursor::new(written(request(body)))).unwrap();
    assert_eq!(message.control().path(), Some(b"/_matrix/x?y=%20".as_slice()));
    assert_eq!(message.control().authority(), Some(b"b.example:8448".as_slice()));
    assert_eq!(message.header().get(b"authorization"), Some(b"X-Matrix a=\"b\"".as_slice()));
    assert_eq!(message.content(), [b"ab".as_slice(), &[7; 70_000]].concat());
}

/// A writer that counts how often it is written to.
#[derive(Default)]
struct Frames(usize);

impl AsyncWrite for Frames {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0 += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Each write becomes a frame of the multiplexer's and a message of the socket's.
#[test]
fn a_small_message_goes_out_in_one_piece() {
    let mut frames = Frames::default();
    block_on(write_request(&mut frames, request(whole("{}")))).unwrap();
    assert_eq!(frames.0, 1);
}

#[test]
fn what_another_implementation_writes_is_read_in_both_forms() {
    for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
        for content in [vec![], b"x".to_vec(), vec![9; 20_000]] {
            let mut message =
                Message::request(b"PUT".to_vec(), b"https".to_vec(), b"b.example:8448".to_vec(), b"/_matrix/x?y=%20".to_vec());
            for (name, value) in request(whole("")).headers.iter() {
                message.put_header(name, value);
            }
            message.write_content(&content);
            let mut bytes = Vec::new();
            message.write_bhttp(mode, &mut bytes).unwrap();
            same(&read(&bytes).unwrap(), &content);
        }
    }
}

#[test]
fn a_response_is_read_behind_informational_ones() {
    let bytes = b"\x03\x40\x66\x01a\x01b\x00\x40\xc8\x00\x02hi\x00\x00";
    let response = block_on(read_response(Dribble(bytes, false))).unwrap();
    assert_eq!((response.status, response.headers), (200, Headers::default()));
    assert_eq!(block_on(collect(response.body, 10)).unwrap(), b"hi");
}

#[test]
fn a_response_keeps_its_bytes() {
    let response = Response { status: 404, headers: Headers::default().with("a", "b"), body: whole("{}") };
    let mut bytes = Vec::new();
    block_on(write_response(&mut bytes, response)).unwrap();
    assert_eq!(bytes, b"\x03\x41\x94\x01a\x01b\x00\x02{}\x00\x00");
    assert_eq!(Message::read_bhttp(&mut Cursor::new(bytes)).unwrap().control().status(), Some(StatusCode::try_from(404_u64).unwrap()));
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_an_error() {
    let bytes = written(request(whole("abc")));
    same(&read(&bytes).unwrap(), b"abc");
    // The last byte is the empty section of trailers, which nobody waits for.
    for length in 0..bytes.len() - 1 {
        assert_eq!(read(&bytes[..length]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{length}");
    }
}

#[test]
fn announced_lengths_are_not_believed() {
    for bytes in [
        // A method of 2^62 - 1 bytes, a header section of 2^30 - 1, and a body above the limit.
        b"\x02\xff\xff\xff\xff\xff\xff\xff\xff".as_slice(),
        b"\x00\x03GET\x05https\x01a\x01/\xbf\xff\xff\xff",
        b"\x02\x03GET\x05https\x01a\x01/\x00\x86\x40\x00\x01",
    ] {
        assert_eq!(read(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_head_has_a_size() {
    let mut large = request(whole(""));
    large.headers.push("large", "x".repeat(MAX_HEAD));
    assert_eq!(read(&written(large)).unwrap_err().kind(), io::ErrorKind::InvalidData);
    let mut many = request(whole(""));
    (0..MAX_HEAD / 4).for_each(|_| many.headers.push("many", ""));
    assert_eq!(read(&written(many)).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn headers_cannot_end_the_head() {
    for (name, value) in [("a", "b\r\nc: d"), ("a", "\0"), ("a b", ""), ("a:", ""), ("A", ""), ("a\n", "")] {
        let mut forged = request(whole(""));
        forged.headers.push(name, value);
        assert!(read(&written(forged)).is_err(), "{name:?}: {value:?}");
    }
    for (method, uri) in [("PUT /", "/"), ("put", "/"), ("", "/"), ("GET", "x"), ("GET", "/ HTTP/1.1"), ("GET", "/\n")] {
        let forged = Request { method: method.into(), uri: uri.into(), ..request(whole("")) };
        assert!(read(&written(forged)).is_err(), "{method:?} {uri:?}");
    }
}

#[test]
fn a_body_that_is_larger_than_wanted_is_refused() {
    let bytes = written(request(whole(vec![0; 100])));
    let body = block_on(read_request(bytes.as_slice())).unwrap().body;
    assert!(block_on(body.collect(99)).is_err());
    let body = block_on(read_request(bytes.as_slice())).unwrap().body;
    assert_eq!(block_on(body.collect(100)).unwrap().len(), 100);
}

proptest! {
    #[test]
    fn nothing_is_too_strange(form in 0_u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[form], bytes.as_slice()].concat();
        let _ = read(&bytes);
        if let Ok(response) = block_on(read_response(bytes.as_slice())) {
            let _ = block_on(response.body.collect(1 << 20));
        }
    }

    #[test]
    fn any_chunks_come_back(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6)) {
        let body = stream::iter(chunks.clone().into_iter().map(Ok));
        same(&read(&written(request(body))).unwrap(), &chunks.concat());
    }
}
