//! A WebSocket of the browser as a stream and a sink of messages, with back-pressure both ways as far as browsers have it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_util::{Sink, Stream, future::LocalBoxFuture};
use inglenook_protocol::handshake::CLOSE_SUPERSEDED;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BinaryType, CloseEvent, MessageEvent};

use super::panic::message;
use crate::{
    ports::Clock,
    relays::{Message, SUPERSEDED},
};

/// What waits to be sent before the writer is asked to wait: enough to keep a fast line busy.
const MAX_UNSENT: u32 = 1 << 20;

/// How soon a writer that waits looks again: browsers do not say when they have sent.
const LOOK_AGAIN_MILLIS: u64 = 10;

/// What may wait to be read. The streams within have credits far below this; who sends more does not keep to them.
const MAX_UNREAD: usize = 32 << 20;

/// An open WebSocket, or one that is opening: its first message is awaited in either case.
pub(super) struct WebSocket {
    socket: web_sys::WebSocket,
    inbox: Rc<Inbox>,
    clock: Rc<dyn Clock>,
    waiting: Option<LocalBoxFuture<'static, ()>>,
    _listeners: Listeners,
}

struct Listeners {
    _opened: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _closed: Closure<dyn FnMut(CloseEvent)>,
}

#[derive(Default)]
struct Inbox {
    messages: RefCell<VecDeque<Message>>,
    unread: Cell<usize>,
    end: RefCell<Option<String>>,
    is_superseded: Cell<bool>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

impl Inbox {
    fn receive(&self, data: &wasm_bindgen::JsValue) {
        let message = match data.as_string() {
            Some(text) => Message::Text(text),
            None => Message::Bytes(Uint8Array::new(data.unchecked_ref::<ArrayBuffer>()).to_vec()),
        };
        self.unread.set(self.unread.get() + length(&message));
        self.messages.borrow_mut().push_back(message);
        self.wake();
    }

    fn close(&self, reason: String) {
        self.end.borrow_mut().get_or_insert(reason);
        self.wake();
    }

    fn wake(&self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Bytes(bytes) => bytes.len(),
    }
}

impl WebSocket {
    /// Dials a URL. Whether anybody answers shows when the first message is awaited.
    pub(super) fn dial(url: &str, clock: Rc<dyn Clock>) -> io::Result<Self> {
        let socket = web_sys::WebSocket::new(url).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, message(&error)))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let inbox = Rc::<Inbox>::default();
        let listeners = listen(&socket, &inbox);
        Ok(Self { socket, inbox, clock, waiting: None, _listeners: listeners })
    }

    fn ended(&self) -> Option<io::Error> {
        let end = self.inbox.end.borrow();
        let kind = if self.inbox.is_superseded.get() { SUPERSEDED } else { io::ErrorKind::ConnectionReset };
        end.as_ref().map(|reason| io::Error::new(kind, reason.clone()))
    }
}

fn listen(socket: &web_sys::WebSocket, inbox: &Rc<Inbox>) -> Listeners {
    let (of_opened, of_message, of_closed) = (Rc::clone(inbox), Rc::clone(inbox), Rc::clone(inbox));
    let opened = Closure::new(move || of_opened.wake());
    let message = Closure::new(move |event: MessageEvent| of_message.receive(&event.data()));
    let closed = Closure::new(move |event: CloseEvent| {
        of_closed.is_superseded.set(event.code() == CLOSE_SUPERSEDED);
        of_closed.close(reason_of(&event));
    });
    socket.set_onopen(Some(opened.as_ref().unchecked_ref()));
    socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
    socket.set_onclose(Some(closed.as_ref().unchecked_ref()));
    Listeners { _opened: opened, _message: message, _closed: closed }
}

fn reason_of(event: &CloseEvent) -> String {
    if event.reason().is_empty() { format!("the connection was closed ({})", event.code()) } else { event.reason() }
}

impl Stream for WebSocket {
    type Item = io::Result<Message>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inbox = &self.inbox;
        if inbox.unread.get() > MAX_UNREAD {
            return Poll::Ready(Some(Err(io::Error::other("the other end sends more than it may"))));
        }
        let next = inbox.messages.borrow_mut().pop_front();
        if let Some(message) = next {
            inbox.unread.set(inbox.unread.get().saturating_sub(length(&message)));
            return Poll::Ready(Some(Ok(message)));
        }
        if let Some(error) = self.ended() {
            return Poll::Ready((error.kind() == SUPERSEDED).then_some(Err(error)));
        }
        inbox.reader.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Sink<Message> for WebSocket {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.ended() {
            return Poll::Ready(Err(error));
        }
        if self.socket.ready_state() == web_sys::WebSocket::CONNECTING {
            self.inbox.writer.set(Some(context.waker().clone()));
            return Poll::Pending;
        }
        while self.socket.buffered_amount() > MAX_UNSENT {
            let clock = Rc::clone(&self.clock);
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { clock.sleep(LOOK_AGAIN_MILLIS).await }));
            if waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        let sent = match &message {
            Message::Text(text) => self.socket.send_with_str(text),
            Message::Bytes(bytes) => self.socket.send_with_u8_array(bytes),
        };
        sent.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, self::message(&error)))
    }

    /// What was handed to the browser is out of our hands.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket that is closed already cannot be closed again, and need not.
        let _ = self.socket.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}
