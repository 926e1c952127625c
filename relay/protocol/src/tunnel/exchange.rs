//! One request and its answer, on one stream, seen from either end.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures_util::{
    AsyncRead, AsyncReadExt,
    future::{Either, select},
    io::ReadHalf,
};

use super::{Slot, TunnelBody, TunnelError};
use crate::message::{Body, Request, Response, WriteError, read_request, read_response, write_request, write_response};

/// The half of a stream that is read.
#[derive(Debug)]
pub struct Half {
    stream: ReadHalf<yamux::Stream>,
    /// Of a request that we opened.
    _slot: Option<Slot>,
}

impl AsyncRead for Half {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// Sends a request; the answer may come before all of it is sent.
pub(super) async fn exchange<B: Body>(stream: yamux::Stream, slot: Slot, request: Request<B>) -> Result<Response<TunnelBody>, TunnelError> {
    let (reader, writer) = stream.split();
    let send = pin!(write_request(writer, request));
    let receive = pin!(read_response(Half { stream: reader, _slot: Some(slot) }));
    let response = match select(send, receive).await {
        Either::Left((Err(WriteError::Message(error)), _)) => return Err(TunnelError::Body(error)),
        // A peer that stopped reading may have answered why.
        Either::Left((_, receive)) => receive.await,
        Either::Right((response, _)) => response,
    };
    response.map_err(TunnelError::Peer)
}

/// Answers a request. Whatever goes wrong resets the stream, which tells the peer.
pub(super) async fn serve<F, B>(stream: yamux::Stream, handler: impl Fn(Request<TunnelBody>) -> F)
where
    F: Future<Output = Response<B>>,
    B: Body,
{
    let (reader, writer) = stream.split();
    if let Ok(request) = read_request(Half { stream: reader, _slot: None }).await {
        let response = handler(request).await;
        let _ = write_response(writer, response).await;
    }
}
