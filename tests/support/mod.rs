//! A host for tests: a server over a store in memory, with a clock in hand, seeded randomness and one thread, driven step by step.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod executor;
mod failing_store;
pub(crate) mod network;
pub(crate) mod peer;
mod ports;
pub(crate) mod relay;
mod signing;
pub(crate) mod socket;

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
};

use futures_channel::{mpsc, oneshot};
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, select},
};
use inglenook::{
    Config, Ports, Server,
    error::Error,
    http::{Body, Headers, Method, Request, Response},
    ports::Transport,
    storage::MemoryStore,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

pub(crate) use self::{
    executor::{Executor, Life},
    failing_store::{FailingStore, Fault, Work},
    network::{Network, Wires},
    ports::{ManualClock, MemoryBlobs, NoTransport, SeededEntropy},
    signing::{CrossSigner, Signer},
};

/// The password of every user that [`Host::register`] makes.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A server and the world around it.
pub(crate) struct Host {
    database: MemoryStore,
    pub(crate) store: FailingStore,
    pub(crate) clock: Rc<ManualClock>,
    pub(crate) blobs: Rc<MemoryBlobs>,
    entropy: Rc<SeededEntropy>,
    config: Config,
    server: RefCell<Rc<Server>>,
    executor: Rc<Executor>,
    life: Life,
    wires: Option<Rc<Wires>>,
    transport: Rc<dyn Transport>,
    name: Rc<RefCell<String>>,
}

/// How a host reaches others, and is reached.
struct Way {
    wires: Option<Rc<Wires>>,
    transport: Rc<dyn Transport>,
    /// The host's name, known only after its start.
    name: Rc<RefCell<String>>,
}

/// A local user with one session.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) device: String,
}

/// What a request was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    /// The JSON body, or null where the body is none.
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

/// A request that was sent and may not be answered yet.
pub(crate) struct Pending {
    receiver: oneshot::Receiver<Response>,
    blobs: Rc<MemoryBlobs>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A server named `example.org` on an empty database.
    pub(crate) fn new() -> Self {
        Self::with(Config { server_name: Some("example.org".into()), ..Config::default() })
    }

    /// A server with these settings on an empty database.
    pub(crate) fn with(config: Config) -> Self {
        Self::seeded(config, 1)
    }

    /// The same with other randomness.
    pub(crate) fn seeded(config: Config, seed: u64) -> Self {
        Self::try_start(config, seed, None).unwrap_or_else(|error| panic!("the server did not start: {error}"))
    }

    /// A server whose store has a fault from the start.
    pub(crate) fn try_start(config: Config, seed: u64, fault: Option<Fault>) -> Result<Self, Error> {
        let way = Way { wires: None, transport: Rc::new(NoTransport), name: Rc::default() };
        Self::begin_on(Executor::new(), Rc::new(ManualClock::new()), way, config, seed, fault)
    }

    /// A server that shares its executor and its clock, and is reached by wires.
    pub(crate) fn on(executor: Rc<Executor>, clock: Rc<ManualClock>, wires: Option<Rc<Wires>>, config: Config, seed: u64) -> Self {
        let name = Rc::default();
        let transport = transport(wires.as_ref(), &name);
        Self::begin_on(executor, clock, Way { wires, transport, name }, config, seed, None)
            .unwrap_or_else(|error| panic!("the server did not start: {error}"))
    }

    /// A server that shares its executor and its clock, and has a transport of the test's own.
    pub(crate) fn over(executor: Rc<Executor>, clock: Rc<ManualClock>, transport: Rc<dyn Transport>, config: Config, seed: u64) -> Self {
        let way = Way { wires: None, transport, name: Rc::default() };
        Self::begin_on(executor, clock, way, config, seed, None).unwrap_or_else(|error| panic!("the server did not start: {error}"))
    }

    fn begin_on(
        executor: Rc<Executor>,
        clock: Rc<ManualClock>,
        Way { wires, transport, name }: Way,
        config: Config,
        seed: u64,
        fault: Option<Fault>,
    ) -> Result<Self, Error> {
        let database = MemoryStore::new();
        let store = FailingStore::new(database.another_instance());
        store.set_fault(fault);
        let (blobs, entropy) = (Rc::default(), Rc::new(SeededEntropy::new(seed)));
        let ports = ports(&store, &clock, &blobs, &entropy, Rc::clone(&transport));
        let server = executor.block_on(Server::start(ports, config.clone()))?;
        *name.borrow_mut() = server.name().to_owned();
        let life = executor.begin();
        let host =
            Self { database, store, clock, blobs, entropy, config, server: RefCell::new(server), executor, life, wires, transport, name };
        host.open();
        Ok(host)
    }

    /// Runs what the server does by itself, and opens the door to other servers.
    fn open(&self) {
        self.life.spawn(Rc::clone(&self.server()).run());
        let Some(wires) = &self.wires else { return };
        let (door, requests) = mpsc::unbounded();
        wires.open(&self.name(), door);
        if !self.config.relays.is_empty() && self.config.server_name.is_none() {
            wires.put_behind_relays(&self.name());
        }
        let (server, blobs) = (Rc::clone(&self.server()), Rc::clone(&self.blobs));
        self.life.spawn(requests.for_each_concurrent(None, move |(request, mut answer): (Request, oneshot::Sender<Response>)| {
            let (server, blobs) = (Rc::clone(&server), Rc::clone(&blobs));
            async move {
                // A host drops what nobody waits for any more, as it does with a connection that breaks.
                let answered = select(server.federation(request).boxed_local(), answer.cancellation()).await;
                if let Either::Left((response, _)) = answered {
                    drop(answer.send(network::on_the_wire(response, &blobs)));
                }
            }
        }));
    }

    /// Runs a task for as long as the host lives.
    pub(crate) fn drive(&self, task: impl Future<Output = ()> + 'static) {
        self.life.spawn(task);
    }

    /// The server's name.
    pub(crate) fn name(&self) -> String {
        self.name.borrow().clone()
    }

    /// Kills the server where it stands. What is under way is dropped, and nobody answers for it.
    pub(crate) fn kill(&self) {
        self.life.kill();
        if let Some(wires) = &self.wires {
            wires.close(&self.name());
        }
        self.executor.run();
    }

    /// Kills the server where it stands and starts another on the same database, without faults.
    ///
    /// What is under way is dropped, and every request of before is given up.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.store = FailingStore::new(self.database.another_instance());
        let ports = ports(&self.store, &self.clock, &self.blobs, &self.entropy, Rc::clone(&self.transport));
        *self.server.get_mut() = self.executor.block_on(Server::start(ports, self.config.clone())).expect("the server starts again");
        self.life = self.executor.begin();
        self.open();
    }

    /// The server.
    pub(crate) fn server(&self) -> Ref<'_, Rc<Server>> {
        self.server.borrow()
    }

    /// A handle to the database of its own, for looking into it.
    pub(crate) fn database(&self) -> MemoryStore {
        self.database.clone()
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.executor.block_on(future)
    }

    /// The network of the machine came back.
    pub(crate) fn network_is_back(&self) {
        self.server().network_is_back();
        self.run();
    }

    /// Lets everything run that can.
    pub(crate) fn run(&self) {
        self.executor.run();
    }

    /// Moves the clock, and lets everything run that can.
    pub(crate) fn advance(&self, millis: u64) {
        self.clock.advance(millis);
        self.run();
    }

    /// Sends a request and lets everything run that can.
    pub(crate) fn send_request(&self, request: Request) -> Pending {
        let pending = self.spawn(request);
        self.run();
        pending
    }

    fn spawn(&self, request: Request) -> Pending {
        let (sender, receiver) = oneshot::channel();
        let server = Rc::clone(&self.server.borrow());
        let answering = async move {
            // Whoever asked may have gone.
            let _ = sender.send(server.handle(request).await);
        };
        self.life.spawn(answering);
        Pending { receiver, blobs: Rc::clone(&self.blobs) }
    }

    /// Answers another server's request, which must come without the clock moving.
    pub(crate) fn federation(&self, request: Request) -> Answer {
        let server = Rc::clone(&self.server());
        let response = self.block_on(async move { server.federation(request).await });
        Answer::of(response, &self.blobs)
    }

    /// Sends requests at once: none runs before all are there.
    pub(crate) fn send_requests(&self, requests: impl Iterator<Item = Request>) -> Vec<Pending> {
        let pending = requests.map(|request| self.spawn(request)).collect();
        self.run();
        pending
    }

    /// Sends a request that may have to wait: a long poll, or one among several at once.
    pub(crate) fn begin(&self, method: Method, target: &str, token: Option<&str>, body: Option<Value>) -> Pending {
        self.send_request(request(method, target, token, body))
    }

    /// Sends a request and returns its answer, which must come without the clock moving.
    pub(crate) fn request(&self, method: Method, target: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut pending = self.begin(method, target, token, body);
        pending.answer().unwrap_or_else(|| panic!("{} {target} is not answered yet", method.as_str()))
    }

    /// `GET` by a user.
    pub(crate) fn get(&self, user: &User, target: &str) -> Answer {
        self.request(Method::Get, target, Some(&user.token), None)
    }

    /// `POST` by a user.
    pub(crate) fn post(&self, user: &User, target: &str, body: Value) -> Answer {
        self.request(Method::Post, target, Some(&user.token), Some(body))
    }

    /// `PUT` by a user.
    pub(crate) fn put(&self, user: &User, target: &str, body: Value) -> Answer {
        self.request(Method::Put, target, Some(&user.token), Some(body))
    }

    /// `DELETE` by a user.
    pub(crate) fn delete(&self, user: &User, target: &str, body: Option<Value>) -> Answer {
        self.request(Method::Delete, target, Some(&user.token), body)
    }

    /// Makes an account with [`PASSWORD`] and a session.
    pub(crate) fn register(&self, name: &str) -> User {
        let mut body = json!({ "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
        let mut answer = self.request(Method::Post, "/_matrix/client/v3/register", None, Some(body.clone()));
        if answer.status == 401 {
            body["auth"]["session"] = answer.body["session"].clone();
            answer = self.request(Method::Post, "/_matrix/client/v3/register", None, Some(body));
        }
        answer.ok().session()
    }

    /// Logs a user in once more, on a new device.
    pub(crate) fn log_in(&self, user: &User) -> User {
        let body = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user.id }, "password": PASSWORD });
        self.request(Method::Post, "/_matrix/client/v3/login", None, Some(body)).ok().session()
    }

    /// Creates a room and returns its ID.
    pub(crate) fn create_room(&self, user: &User, body: Value) -> String {
        self.post(user, "/_matrix/client/v3/createRoom", body).ok().text("room_id")
    }

    /// Invites somebody.
    pub(crate) fn invite(&self, user: &User, room: &str, invited: &User) {
        self.post(user, &room_path(room, "invite"), json!({ "user_id": invited.id })).ok();
    }

    /// Joins a room.
    pub(crate) fn join(&self, user: &User, room: &str) {
        self.post(user, &room_path(room, "join"), json!({})).ok();
    }

    /// Leaves a room.
    pub(crate) fn leave(&self, user: &User, room: &str) {
        self.post(user, &room_path(room, "leave"), json!({})).ok();
    }

    /// Sends a text message and returns its event ID.
    pub(crate) fn send(&self, user: &User, room: &str, text: &str) -> String {
        self.send_event(user, room, "m.room.message", json!({ "msgtype": "m.text", "body": text }))
    }

    /// Sends a message-like event under a transaction ID of its own and returns its event ID.
    pub(crate) fn send_event(&self, user: &User, room: &str, kind: &str, content: Value) -> String {
        let transaction = self.entropy.next();
        self.send_as(user, room, kind, &format!("t{transaction}"), content).ok().text("event_id")
    }

    /// Sends a message-like event under this transaction ID.
    pub(crate) fn send_as(&self, user: &User, room: &str, kind: &str, transaction: &str, content: Value) -> Answer {
        self.put(user, &room_path(room, &format!("send/{}/{}", encode(kind), encode(transaction))), content)
    }

    /// Sets a state event and returns its event ID.
    pub(crate) fn put_state(&self, user: &User, room: &str, kind: &str, state_key: &str, content: Value) -> String {
        let target = room_path(room, &format!("state/{}/{}", encode(kind), encode(state_key)));
        self.put(user, &target, content).ok().text("event_id")
    }

    /// The content of a state event.
    pub(crate) fn state(&self, user: &User, room: &str, kind: &str, state_key: &str) -> Answer {
        self.get(user, &room_path(room, &format!("state/{}/{}", encode(kind), encode(state_key))))
    }

    /// A sync that does not wait, from the beginning or from a token. It shows nobody that the user is there.
    pub(crate) fn sync(&self, user: &User, since: Option<&str>) -> Value {
        self.get(user, &sync_target(since, 0)).ok().body
    }

    /// A sync that waits for so many milliseconds if there is nothing to say.
    pub(crate) fn begin_sync(&self, user: &User, since: Option<&str>, timeout: u64) -> Pending {
        self.begin(Method::Get, &sync_target(since, timeout), Some(&user.token), None)
    }
}

impl Pending {
    /// The response as the server gave it, which must have come without the clock moving.
    pub(crate) fn response(&mut self) -> Response {
        self.receiver.try_recv().expect("the request was dropped, or answered before").expect("the request is answered")
    }

    /// The answer, or `None` while there is none.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let response = self.receiver.try_recv().expect("the request was dropped, or answered before")?;
        Some(Answer::of(response, &self.blobs))
    }

    /// The answer, or `None` where there is none because the server was killed.
    pub(crate) fn answer_if_any(&mut self) -> Option<Answer> {
        let response = self.receiver.try_recv().ok().flatten()?;
        Some(Answer::of(response, &self.blobs))
    }
}

impl Answer {
    fn of(response: Response, blobs: &MemoryBlobs) -> Self {
        let bytes = network::whole(response.body, blobs);
        Self::of_bytes(Response { body: Body::Bytes(bytes), ..response })
    }

    /// The answer of a response with its whole body.
    pub(crate) fn of_bytes(response: Response) -> Self {
        let bytes = if let Body::Bytes(bytes) = response.body { bytes } else { Vec::new() };
        let is_json = response.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        let body = if is_json { serde_json::from_slice(&bytes).unwrap_or_default() } else { Value::Null };
        Self { status: response.status, headers: response.headers, body, bytes }
    }

    /// The same, which must be a 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }

    /// Asserts the status and the `errcode`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["errcode"].as_str()), (status, Some(code)), "{}", self.body);
    }

    /// A string of the body.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no string {field} in {}", self.body)).to_owned()
    }

    fn session(&self) -> User {
        User { id: self.text("user_id"), token: self.text("access_token"), device: self.text("device_id") }
    }
}

/// A request as a client makes it.
pub(crate) fn request(method: Method, target: &str, token: Option<&str>, body: Option<Value>) -> Request {
    let mut request = Request::new(method, target);
    if let Some(token) = token {
        request.headers.insert("authorization".into(), format!("Bearer {token}"));
    }
    if let Some(body) = body {
        request.headers.insert("content-type".into(), "application/json".into());
        request.body = Body::Bytes(body.to_string().into_bytes());
    }
    request
}

/// A path below a room.
pub(crate) fn room_path(room: &str, below: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/{below}", encode(room))
}

/// A path's segment.
pub(crate) fn encode(segment: &str) -> String {
    utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()
}

fn sync_target(since: Option<&str>, timeout: u64) -> String {
    let since = since.map_or_else(String::new, |since| format!("&since={}", encode(since)));
    format!("/_matrix/client/v3/sync?set_presence=offline&timeout={timeout}{since}")
}

fn transport(wires: Option<&Rc<Wires>>, name: &Rc<RefCell<String>>) -> Rc<dyn Transport> {
    match wires {
        Some(wires) => Rc::new(network::Wire::new(wires, Rc::clone(name))),
        None => Rc::new(NoTransport),
    }
}

fn ports(
    store: &FailingStore,
    clock: &Rc<ManualClock>,
    blobs: &Rc<MemoryBlobs>,
    entropy: &Rc<SeededEntropy>,
    transport: Rc<dyn Transport>,
) -> Ports {
    Ports {
        store: Rc::new(store.clone()),
        blobs: Rc::clone(blobs) as _,
        transport,
        clock: Rc::clone(clock) as _,
        entropy: Rc::clone(entropy) as _,
    }
}
