//! The server: wires the rooms together and answers requests.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::{
    accounts::Accounts,
    background::{Background, ToItsEnd},
    client_api::{self, Outbox},
    config::Config,
    directory::Directory,
    error::Error,
    federation::Federation,
    federation_api,
    federation_client::{FederationClient, Relays},
    federation_receiver::{self, Receiver},
    federation_sender::{self, FederationSender},
    http::{Request, Response},
    identity::{Identity, key_ring::KeyRing},
    keys::{one_time::KnownCounts, repeated::RepeatedClaims},
    log::Log,
    media::MediaInMemory,
    notary::Notary,
    pending_joins::{self, PendingJoins},
    policy_servers::PolicyClient,
    ports::{Blobs, Clock, Entropy, Store, Transport},
    presence::LocalPresence,
    push::unread::UnreadCounts,
    rate_limits::Buckets,
    receipts::KeptReceipts,
    recent_requests::RecentRequests,
    relays::{NodeRecords, OwnRelays, seek_records},
    room_server::RoomServer,
    signal::Signal,
    sync::Turns,
    to_device::{Inboxes, ReceivedMessages},
    transactions::Transactions,
    typing::Typing,
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
    pub(crate) ports: Ports,
    pub(crate) config: Config,
    pub(crate) identity: Rc<Identity>,
    pub(crate) log: Rc<Log>,
    pub(crate) rooms: RoomServer,
    pub(crate) federation_client: Rc<FederationClient>,
    pub(crate) own_relays: Rc<OwnRelays>,
    pub(crate) records: Rc<NodeRecords>,
    /// Raised when what relays keep for this server has changed.
    pub(crate) deposits_changed: Signal,
    pub(crate) federation_sender: FederationSender,
    pub(crate) keys: KeyRing,
    pub(crate) receiver: Receiver,
    pub(crate) notary: Notary,
    pub(crate) federation: Federation,
    pub(crate) pending_joins: PendingJoins,
    background: Rc<Background>,
    pub(crate) accounts: Accounts,
    pub(crate) directory: Directory,
    pub(crate) typing: RefCell<Typing>,
    pub(crate) recent_requests: RefCell<RecentRequests>,
    pub(crate) rate_limits: RefCell<Buckets>,
    pub(crate) presence: LocalPresence,
    pub(crate) unread: RefCell<UnreadCounts>,
    pub(crate) receipts: Rc<RefCell<KeptReceipts>>,
    pub(crate) key_counts: KnownCounts,
    pub(crate) repeated_claims: RefCell<RepeatedClaims>,
    pub(crate) inboxes: Inboxes,
    pub(crate) received_messages: ReceivedMessages,
    pub(crate) sync_turns: Turns,
    pub(crate) started_at: u64,
    /// When the last room was made: two rooms of one moment and maker could have one ID.
    pub(crate) last_creation: Cell<u64>,
    pub(crate) transactions: Rc<Transactions>,
    pub(crate) outbox: Outbox,
    pub(crate) media: MediaInMemory,
    /// Tells this start of the server from others, in tokens that hold what is known in memory only.
    pub(crate) boot: String,
    stopping: Cell<bool>,
}

impl Server {
    /// Claims the database, reads or makes the server's identity and is ready to answer.
    pub async fn start(ports: Ports, config: Config) -> Result<Rc<Self>, Error> {
        ports.store.claim().await?;
        let identity = Rc::new(Identity::load_or_make(&*ports.store, &*ports.entropy, config.name()).await?);
        let log = Rc::new(Log::open(Rc::clone(&ports.store)).await?);
        let rooms = RoomServer::open(Rc::clone(&ports.store), Rc::clone(&log), Rc::clone(&identity), Rc::clone(&ports.clock)).await?;
        let records = Rc::new(NodeRecords::new(Rc::clone(&ports.store)));
        let own_relays = Rc::new(OwnRelays::open(Rc::clone(&ports.store), Rc::clone(&identity), &config.relays, ports.clock.now()).await?);
        let relays = Relays { own: Rc::clone(&own_relays), records: Rc::clone(&records) };
        let (transport, clock, entropy) = (Rc::clone(&ports.transport), Rc::clone(&ports.clock), Rc::clone(&ports.entropy));
        let federation_client = Rc::new(FederationClient::new(transport, clock, entropy, Rc::clone(&identity), relays));
        rooms.ask_policy_servers(Rc::new(PolicyClient {
            client: Rc::clone(&federation_client),
            identity: Rc::clone(&identity),
            clock: Rc::clone(&ports.clock),
        }));
        let federation_sender = FederationSender::open(&*ports.store, &log).await?;
        let server = Rc::new(Self {
            keys: KeyRing::new(
                Rc::clone(&federation_client),
                Rc::clone(&identity),
                Rc::clone(&ports.store),
                Rc::clone(&ports.clock),
                config.notaries.clone(),
            ),
            receiver: Receiver::open(Rc::clone(&ports.store)).await?,
            federation_client,
            own_relays,
            records,
            deposits_changed: Signal::default(),
            federation_sender,
            notary: Notary::default(),
            federation: Federation::default(),
            pending_joins: PendingJoins::open(&*ports.store).await?,
            background: Rc::default(),
            accounts: Accounts::new(Rc::clone(&ports.store)),
            directory: Directory::new(Rc::clone(&ports.store)),
            last_creation: Cell::new(0),
            transactions: Transactions::new(Rc::clone(&ports.store)),
            outbox: Outbox::default(),
            media: MediaInMemory::default(),
            started_at: ports.clock.now(),
            boot: boot(&*ports.entropy),
            received_messages: ReceivedMessages::new(&ports.store),
            ports,
            config,
            identity,
            log,
            rooms,
            typing: RefCell::default(),
            presence: LocalPresence::default(),
            unread: RefCell::default(),
            receipts: Rc::default(),
            key_counts: KnownCounts::default(),
            repeated_claims: RefCell::default(),
            inboxes: Inboxes::default(),
            sync_turns: Turns::default(),
            recent_requests: RefCell::default(),
            rate_limits: RefCell::default(),
            stopping: Cell::new(false),
        });
        server.spawn(federation_receiver::run(Rc::downgrade(&server)));
        server.spawn(pending_joins::run(Rc::downgrade(&server)));
        server.spawn(seek_records(Rc::downgrade(&server)));
        Ok(server)
    }

    /// Answers a request. Never fails: what goes wrong is in the response.
    pub async fn handle(self: &Rc<Self>, request: Request) -> Response {
        let server = Rc::clone(self);
        self.to_its_end(async move { client_api::answer(&server, request).await }).await
    }

    /// Answers another server's request. Never fails: what goes wrong is in the response.
    pub async fn federation(self: &Rc<Self>, request: Request) -> Response {
        let server = Rc::clone(self);
        self.to_its_end(async move { federation_api::answer(&server, request).await }).await
    }

    /// Does the work that goes on beside requests. The host drives it for as long as the server lives.
    pub async fn run(self: Rc<Self>) {
        self.spawn(federation_sender::run(Rc::clone(&self)));
        self.background.run().await;
    }

    /// Leaves a task to [`Server::run`].
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.background.spawn(task);
    }

    /// Does the work to its end, also where whoever waits for it goes away.
    pub(crate) fn to_its_end<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> ToItsEnd<T> {
        ToItsEnd::new(work, Rc::clone(&self.background))
    }

    /// Ends waiting polls at once, so that another instance can take over.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.own_relays.changed.raise();
        self.background.close();
        self.receiver.wake();
        self.pending_joins.wake();
        self.records.wake();
        self.log.wake();
    }

    /// The machine has a network again: other servers are tried at once.
    pub fn network_is_back(&self) {
        self.federation_sender.network_is_back();
    }

    /// Whether [`Server::stop`] was called.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        self.identity.server_name().as_str()
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.ports.clock.now()
    }

    /// `N` random bytes.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.ports.entropy.fill(&mut bytes);
        bytes
    }
}

fn boot(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    format!("{:08x}", u32::from_be_bytes(bytes))
}
