//! Serving connections: each by a task of its own, until all are to end. No request's head may take longer to come than it is given, and a
//! connection that is silent ends after that time, too.

use std::{future::Future, pin::pin, time::Duration};

use axum::{Router, body::Body as HttpBody, extract::ConnectInfo, http::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::watch, task::JoinSet};
use tower::ServiceExt;

use crate::listen::{Addresses, Listening, Stream};

/// Takes connections until `stop`, and lets the requests end that are under way then.
pub(crate) async fn serve(mut listening: Listening, app: Router, slowest_head: Duration, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            (stream, addresses) = listening.accept() => {
                connections.spawn(connection(stream, addresses, app.clone(), slowest_head, stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut stop => break,
        }
    }
    drop((listening, stopping));
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: Box<dyn Stream>, addresses: Addresses, app: Router, slowest_head: Duration, mut stopped: watch::Receiver<()>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(HttpBody::new);
        request.extensions_mut().insert(ConnectInfo(addresses));
        app.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    // Without a timer, none of its times holds.
    builder.timer(TokioTimer::new()).header_read_timeout(slowest_head);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // There is nothing to be told but that the sender is gone.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection has failed");
    }
}
