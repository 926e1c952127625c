//! The situation in which every case begins: a few users, rooms and events, made once, and copied for each case.

use std::sync::LazyLock;

use inglenook::{
    Config,
    config::RateLimits,
    http::Method,
    ports::Store,
    storage::{Batch, Key, Scan, Table},
};
use serde_json::json;

use super::{
    case::{Content, NOBODY, Sent, Step},
    check,
    names::Names,
    node_host::{self, NodeHost},
};
use crate::support::{Answer, CrossSigner, Host, Signer, User, encode, room_path};

/// One request of each kind that is limited apart, by alice and by nobody.
const USED_UP_BY: [(&str, Method, &str); 7] = [
    ("alice", Method::Get, "/account/whoami"),
    ("alice", Method::Put, "/profile/{alice}/displayname"),
    ("alice", Method::Post, "/delete_devices"),
    (NOBODY, Method::Get, "/login"),
    (NOBODY, Method::Post, "/refresh"),
    (NOBODY, Method::Post, "/login"),
    (NOBODY, Method::Get, "/_matrix/client/v1/register/m.login.registration_token/validity"),
];

static SCENE: LazyLock<Scene> = LazyLock::new(Scene::make);

/// The scene's database, and what its parts are called.
struct Scene {
    rows: Vec<(Key, Vec<u8>)>,
    names: Names,
}

/// A copy of the scene for one case.
pub(crate) struct World {
    home: Home,
    pub(crate) names: Names,
}

/// Where a copy of the scene is.
enum Home {
    Here(Box<Host>),
    Node(NodeHost),
}

impl World {
    /// A copy of the scene, in which alice and nobody may ask no more where it is `limited`.
    pub(crate) fn new(limited: bool) -> Self {
        let home = if node_host::is_wanted() { Home::Node(NodeHost::start(&SCENE.rows)) } else { Home::Here(Box::new(copy(limited))) };
        let world = Self { home, names: SCENE.names.clone() };
        if limited {
            USED_UP_BY.iter().for_each(|(caller, method, target)| {
                world.send(&Sent::new(caller, *method, target, Content::None));
            });
        }
        world
    }

    /// Sends a request and returns its answer.
    pub(crate) fn send(&self, sent: &Sent) -> Answer {
        let request = check::request(sent, &self.names);
        match &self.home {
            Home::Here(host) => {
                let answer = host.send_request(request).answer();
                answer.unwrap_or_else(|| panic!("{} {} is not answered", sent.method.as_str(), sent.target))
            }
            Home::Node(host) => host.send(&request),
        }
    }

    /// How many commits there were, strict ones and others; nobody knows on a Node host.
    pub(crate) fn commits(&self) -> Option<(u64, u64)> {
        match &self.home {
            Home::Here(host) => Some((host.store.strict_commits(), host.store.relaxed_commits())),
            Home::Node(_) => None,
        }
    }

    /// Takes a step before a case, and says what is wrong with its answer.
    pub(crate) fn step(&mut self, step: &Step) -> Option<String> {
        let answer = self.send(&step.request);
        if answer.status != 200 {
            return Some(format!(
                "a step before: {} {}: {} {}",
                step.request.method.as_str(),
                step.request.target,
                answer.status,
                answer.body
            ));
        }
        for (name, pointer) in &step.kept {
            let Some(value) = answer.body.pointer(pointer) else { return Some(format!("a step before: no {pointer} in {}", answer.body)) };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // What stands in paths is a medium's ID, not its address.
            self.names.set(name, text.strip_prefix("mxc://example.org/").unwrap_or(&text));
        }
        None
    }
}

/// A host with the scene's rows.
fn copy(limited: bool) -> Host {
    let limits = RateLimits { burst: 1, sign_ins: 1, ..RateLimits::default() };
    // With the scene's own seed, what is new would get the IDs of what is there.
    let mut host = Host::seeded(Config { rate_limits: limited.then_some(limits), ..config() }, 2);
    let database = host.database().another_instance();
    let mut batch = Batch::new();
    for (key, value) in &SCENE.rows {
        batch.put(key.clone(), value.clone());
    }
    host.block_on(async {
        database.claim().await?;
        database.commit(batch).await
    })
    .unwrap();
    host.restart();
    host
}

/// The settings of the scene and its copies.
fn config() -> Config {
    Config { server_name: Some("example.org".into()), ..Config::default() }
}

impl Scene {
    fn make() -> Self {
        let host = Host::with(config());
        let mut names = Names::default();
        let users = Users { alice: host.register("alice"), bob: host.register("bob"), carol: host.register("carol") };
        let phone = host.log_in(&users.alice);
        let callers = [("alice", &users.alice), ("bob", &users.bob), ("carol", &users.carol), ("phone", &phone)];
        for (name, user) in callers {
            names.set(name, &user.id);
            names.set(&format!("{name}.token"), &user.token);
            names.set(&format!("{name}.device"), &user.device);
        }
        // A caller whose token is none.
        names.set("stranger.token", "nonsense");
        make_own_data(&host, &users.alice, &mut names);
        make_keys(&host, &users.alice, &mut names);
        make_rooms(&host, &users, &mut names);
        make_events(&host, &users, &mut names);
        Self { rows: rows(&host), names }
    }
}

struct Users {
    alice: User,
    bob: User,
    carol: User,
}

/// Profile, account data and a filter of one user's own.
fn make_own_data(host: &Host, user: &User, names: &mut Names) {
    let own = |below: &str| format!("/_matrix/client/v3/user/{}/{below}", user.id);
    host.put(user, &format!("/_matrix/client/v3/profile/{}/displayname", user.id), json!({ "displayname": "Alice" })).ok();
    host.put(user, &format!("/_matrix/client/v3/profile/{}/avatar_url", user.id), json!({ "avatar_url": "mxc://example.org/alice" })).ok();
    host.put(user, &own("account_data/org.example.setting"), json!({ "theme": "dark" })).ok();
    let filter = json!({ "room": { "timeline": { "limit": 3 }, "state": { "lazy_load_members": true } } });
    names.set("filter", &host.post(user, &own("filter"), filter).ok().text("filter_id"));
}

/// Keys of a device, and cross-signing keys.
fn make_keys(host: &Host, user: &User, names: &mut Names) {
    let (device, cross_signer) = (Signer::of_device(&user.id, &user.device, 1), CrossSigner::new(&user.id, 10));
    let keys = json!({
        "device_keys": cross_signer.self_signing.sign(device.device_keys()),
        "one_time_keys": device.one_time_keys(&["A"]), "fallback_keys": device.fallback_key("F"),
    });
    host.post(user, "/_matrix/client/v3/keys/upload", keys).ok();
    host.post(user, "/_matrix/client/v3/keys/device_signing/upload", cross_signer.upload()).ok();
    names.set("alice.master", &cross_signer.master.public());
}

/// Rooms in which bob is joined, invited, gone or banned; all are alice's.
fn make_rooms(host: &Host, users: &Users, names: &mut Names) {
    let Users { alice, bob, .. } = users;
    let mut make = |name: &str, options| {
        let room = host.create_room(alice, options);
        names.set(name, &room);
        room
    };
    let public = make(
        "public",
        json!({ "preset": "public_chat", "visibility": "public", "room_alias_name": "public", "name": "The public room", "topic": "Everything" }),
    );
    host.join(bob, &public);
    let private = make("private", json!({ "preset": "private_chat", "invite": [bob.id], "is_direct": true }));
    host.join(bob, &private);
    make("invited", json!({ "preset": "private_chat", "invite": [bob.id], "name": "The other room" }));
    let left = make("left", json!({ "preset": "public_chat" }));
    host.join(bob, &left);
    host.leave(bob, &left);
    let banned = make("banned", json!({ "preset": "public_chat" }));
    host.post(alice, &room_path(&banned, "ban"), json!({ "user_id": bob.id, "reason": "A test" })).ok();
    make("knocked", json!({ "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }] }));
    let tag = format!("/_matrix/client/v3/user/{}/rooms/{}", alice.id, encode(&public));
    host.put(alice, &format!("{tag}/tags/u.work"), json!({ "order": 0.5 })).ok();
    host.put(alice, &format!("{tag}/account_data/org.example.colour"), json!({ "colour": "green" })).ok();
}

/// Messages of all kinds.
fn make_events(host: &Host, users: &Users, names: &mut Names) {
    let Users { alice, bob, .. } = users;
    let public = names.value("public").to_owned();
    let relates = |kind: &str, to: &str| json!({ "rel_type": kind, "event_id": to });
    let text = |text: &str| json!({ "msgtype": "m.text", "body": text });
    let related = |body: &str, relation: serde_json::Value| json!({ "msgtype": "m.text", "body": body, "m.relates_to": relation });
    let message = host.send(alice, &public, "Hello");
    let reply = related("Hello to you", json!({ "m.in_reply_to": { "event_id": message } }));
    let reply = host.send_event(bob, &public, "m.room.message", reply);
    let mut reaction = relates("m.annotation", &message);
    reaction["key"] = "👍".into();
    let reaction = host.send_event(bob, &public, "m.reaction", json!({ "m.relates_to": reaction }));
    let mut edit = related("* Hello there", relates("m.replace", &message));
    edit["m.new_content"] = text("Hello there");
    let edit = host.send_event(alice, &public, "m.room.message", edit);
    let thread = host.send_event(bob, &public, "m.room.message", related("In a thread", relates("m.thread", &message)));
    let redacted = host.send(bob, &public, "A slip");
    let redaction = host.put(bob, &room_path(&public, &format!("redact/{}/r1", encode(&redacted))), json!({ "reason": "A slip" }));
    let redaction = redaction.ok().text("event_id");
    let last = host.send(bob, &public, "Goodbye");
    let secret = host.send(alice, names.value("private"), "Between us");
    let unseen = host.send(alice, names.value("left"), "After bob left");
    let events =
        [("message", message), ("reply", reply), ("reaction", reaction), ("edit", edit), ("thread", thread), ("redacted", redacted)];
    let events = events.into_iter().chain([("redaction", redaction), ("last", last), ("secret", secret), ("unseen", unseen)]);
    events.for_each(|(name, event)| names.set(name, &event));
}

/// All that is in a host's database.
fn rows(host: &Host) -> Vec<(Key, Vec<u8>)> {
    let database = host.database();
    let table = |table: &Table| {
        let rows = host.block_on(database.scan(&Scan::prefix(Key::new(*table)))).unwrap();
        rows.into_iter().map(|row| (Key { table: *table, bytes: row.key }, row.value)).collect::<Vec<_>>()
    };
    Table::ALL.iter().flat_map(table).collect()
}
