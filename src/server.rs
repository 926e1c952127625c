//! The server: wires the rooms together and answers requests.

use std::{cell::Cell, rc::Rc};

use crate::{
    config::Config,
    error::Error,
    http::{Request, Response},
    ports::{Blobs, Clock, Entropy, Store, Transport},
};

/// The adapters of the world that the server runs in.
#[derive(Clone)]
pub struct Ports {
    /// Where rows are kept.
    pub store: Rc<dyn Store>,
    /// Where media are kept.
    pub blobs: Rc<dyn Blobs>,
    /// How other servers are reached.
    pub transport: Rc<dyn Transport>,
    /// Time.
    pub clock: Rc<dyn Clock>,
    /// Randomness.
    pub entropy: Rc<dyn Entropy>,
}

/// A homeserver.
pub struct Server {
    ports: Ports,
    stopping: Cell<bool>,
}

impl Server {
    /// Claims the database, reads or makes the server's identity and is ready to answer.
    pub async fn start(ports: Ports, _config: Config) -> Result<Rc<Self>, Error> {
        ports.store.claim().await?;
        Ok(Rc::new(Self { ports, stopping: Cell::new(false) }))
    }

    /// Answers a request. Never fails: what goes wrong is in the response.
    pub async fn handle(&self, _request: Request) -> Response {
        Response::json(404, &serde_json::json!({ "errcode": "M_UNRECOGNIZED", "error": "There is no such endpoint." }))
    }

    /// Ends waiting polls at once and refuses what comes later, so that another instance can take over.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        "localhost"
    }
}
