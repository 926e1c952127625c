//! Holds the answers of the server-server API against the specification's own schemas, one operation after the other.
//!
//! The folder with the specification's OpenAPI document is named by the variable `MATRIX_SPEC`; without it these tests say that they were skipped.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod spec {
    pub(crate) mod document;
    pub(crate) mod schema;
}

use std::{cell::RefCell, collections::BTreeSet};

use inglenook::http::{Body, Method, Request};
use serde_json::{Value, json};
use support::{Answer, Network, User, encode, peer::Peer, request};

use self::spec::{
    document::{Document, Operation, federation_document},
    schema,
};

/// Operations whose answers have fields that the document does not name: whole events, and a server's name.
const WITH_OTHER_FIELDS: [&str; 12] = [
    "askPolicyServerToSign",
    "backfillRoom",
    "getEvent",
    "getEventAuth",
    "getMissingPreviousEvents",
    "getRoomState",
    "makeJoin",
    "makeKnock",
    "makeLeave",
    "sendInviteV1",
    "sendInviteV2",
    "sendKnock",
];

/// Routes of older versions of the specification, for servers that speak no newer one, and one as it is in use.
const UNSPECIFIED: [(Method, &str); 4] = [
    (Method::Put, "/_matrix/federation/v1/send_join/{roomId}/{eventId}"),
    (Method::Put, "/_matrix/federation/v1/send_leave/{roomId}/{eventId}"),
    (Method::Post, "/_matrix/federation/v1/3pid/onbind"),
    (Method::Put, "/_matrix/federation/v1/send_relay/{txnId}/{userId}"),
];

/// Where this server's own routes are: those that a relay has as well, and those that it hands on.
const OWN: [&str; 2] = ["/_inglenook/", "/_matrix/federation/unstable/im.inglenook/"];

/// What this server refuses whoever asks: there are no queries but those that have operations of their own.
const ALWAYS_REFUSED: [&str; 1] = ["queryInfo"];

/// So much of a body is shown with what is wrong with it.
const SHOWN: usize = 2_000;

/// A host with a user and a room, another server, and what was asked so far.
struct Scene {
    document: &'static Document,
    network: Network,
    alice: User,
    peer: Peer,
    room: String,
    succeeded: RefCell<BTreeSet<String>>,
}

impl Scene {
    fn new(document: &'static Document) -> Self {
        let network = Network::of_keys(1);
        let alice = network[0].register("alice");
        // A room large enough for joins without its members.
        let rows = (0..100).map(|number| json!({ "type": "com.example.row", "state_key": number.to_string(), "content": {} }));
        let body = json!({
            "preset": "public_chat", "visibility": "public", "name": "Hall", "topic": "Talk", "room_alias_name": "hall",
            "initial_state": rows.collect::<Value>(),
        });
        let room = network[0].create_room(&alice, body);
        Self { document, network, alice, peer: Peer::new(7), room, succeeded: RefCell::default() }
    }

    fn bob(&self) -> String {
        self.peer.user("bob")
    }

    /// Sends a request of the other server, and checks what it is answered.
    #[track_caller]
    fn ask(&self, id: &str, method: Method, target: &str, body: Option<Value>) -> Answer {
        self.check(id, self.peer.request(&self.network[0], method, target, body.as_ref()))
    }

    #[track_caller]
    fn get(&self, id: &str, target: &str) -> Answer {
        self.ask(id, Method::Get, &format!("/_matrix/federation/{target}"), None)
    }

    #[track_caller]
    fn put(&self, id: &str, target: &str, body: Value) -> Answer {
        self.ask(id, Method::Put, &format!("/_matrix/federation/{target}"), Some(body))
    }

    #[track_caller]
    fn post(&self, id: &str, target: &str, body: Value) -> Answer {
        self.ask(id, Method::Post, &format!("/_matrix/federation/{target}"), Some(body))
    }

    #[track_caller]
    fn check(&self, id: &str, request: Request) -> Answer {
        let operation = self.document.operation(id).unwrap_or_else(|| panic!("the specification has no {id}"));
        assert!(operation.method == request.method && operation.serves(&request.path), "{} is not {}", request.path, operation.path);
        let answer = self.network[0].federation(request);
        let problems = problems(operation, &answer);
        let shown: String = answer.body.to_string().chars().take(SHOWN).collect();
        assert!(problems.is_empty(), "{id}: {} {shown}\n{}", answer.status, problems.join("\n"));
        if answer.status < 400 {
            self.succeeded.borrow_mut().insert(id.into());
        }
        answer
    }
}

fn problems(operation: &Operation, answer: &Answer) -> Vec<String> {
    let described = operation.responses.get(&answer.status);
    if described.is_none() && answer.status < 400 {
        return vec![format!("the specification has no answer {} here", answer.status)];
    }
    if described.is_some_and(|described| described.schema.is_none() && !described.other_types.is_empty()) {
        return Vec::new();
    }
    match schema::rules(operation, answer.status) {
        Some(rules) if answer.status >= 400 || WITH_OTHER_FIELDS.contains(&&*operation.id) => {
            rules.problems_with_named_fields(&answer.body)
        }
        Some(rules) => rules.problems(&answer.body),
        None if answer.status >= 400 => schema::standard_error().problems(&answer.body),
        None => Vec::new(),
    }
}

fn handshakes(scene: &Scene) {
    let (room, bob) = (encode(&scene.room), encode(&scene.bob()));
    scene.get("makeJoin", &format!("v1/make_join/{room}/{bob}?ver=1")).refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    scene.get("makeJoin", &format!("v1/make_join/!no/{bob}?ver=1")).refused(404, "M_NOT_FOUND");
    for omit in ["", "?omit_members=true"] {
        let made = scene.get("makeJoin", &format!("v1/make_join/{room}/{bob}?ver=12")).ok();
        let (id, event) = scene.peer.sign(made.body["event"].clone(), "12");
        scene.put("sendJoinV2", &format!("v2/send_join/{room}/{}{omit}", encode(&id)), event.clone()).ok();
        scene.put("sendJoinV2", &format!("v2/send_join/{room}/$other"), event).refused(400, "M_INVALID_PARAM");
        let made = scene.get("makeLeave", &format!("v1/make_leave/{room}/{bob}")).ok();
        let (id, event) = scene.peer.sign(made.body["event"].clone(), "12");
        scene.put("sendLeaveV2", &format!("v2/send_leave/{room}/{}", encode(&id)), event).ok();
    }
    scene.get("makeLeave", &format!("v1/make_leave/{room}/{bob}")).refused(403, "M_FORBIDDEN");
    scene.get("makeKnock", &format!("v1/make_knock/{room}/{bob}?ver=12")).refused(403, "M_FORBIDDEN");
    scene.network[0].put_state(&scene.alice, &scene.room, "m.room.join_rules", "", json!({ "join_rule": "knock" }));
    let made = scene.get("makeKnock", &format!("v1/make_knock/{room}/{bob}?ver=12")).ok();
    let (id, event) = scene.peer.sign(made.body["event"].clone(), "12");
    scene.put("sendKnock", &format!("v1/send_knock/{room}/{}", encode(&id)), event).ok();
    scene.peer.shake(&scene.network[0], "leave", &scene.room, &scene.bob()).1.ok();
    scene.network[0].put_state(&scene.alice, &scene.room, "m.room.join_rules", "", json!({ "join_rule": "public" }));
}

fn events(scene: &Scene) {
    scene.peer.join(&scene.network[0], &scene.room, &scene.bob());
    let (room, id) = (encode(&scene.room), scene.network[0].send(&scene.alice, &scene.room, "hello"));
    let event = encode(&id);
    scene.get("getEvent", &format!("v1/event/{event}")).ok();
    scene.get("getEvent", "v1/event/$unknown").refused(404, "M_NOT_FOUND");
    scene.get("getRoomState", &format!("v1/state/{room}?event_id={event}")).ok();
    scene.get("getRoomStateIds", &format!("v1/state_ids/{room}?event_id={event}")).ok();
    scene.get("getRoomStateIds", &format!("v1/state_ids/{room}?event_id=$unknown")).refused(404, "M_NOT_FOUND");
    scene.get("getEventAuth", &format!("v1/event_auth/{room}/{event}")).ok();
    scene.get("backfillRoom", &format!("v1/backfill/{room}?v={event}&limit=5")).ok();
    let body = json!({ "earliest_events": [], "latest_events": [id] });
    scene.post("getMissingPreviousEvents", &format!("v1/get_missing_events/{room}"), body).ok();
    scene.get("getEventByTimestamp", &format!("v1/timestamp_to_event/{room}?ts=0&dir=f")).ok();
    scene.get("getEventByTimestamp", &format!("v1/timestamp_to_event/{room}?ts=0&dir=b")).refused(404, "M_NOT_FOUND");
    let (_, message) = scene.peer.sign(support::peer::message(&scene.room, &scene.bob(), std::slice::from_ref(&id), &[], 100), "12");
    let transaction = json!({ "origin": scene.peer.name(), "origin_server_ts": 1, "pdus": [message], "edus": [] });
    scene.put("sendTransaction", "v1/send/t1", transaction).ok();
}

fn invitations(scene: &Scene) {
    let peer = &scene.peer;
    let create = |version: &str| {
        let mut create = json!({
            "type": "m.room.create", "state_key": "", "sender": scene.bob(), "content": { "room_version": version },
            "origin_server_ts": 1, "depth": 1, "prev_events": [], "auth_events": [],
        });
        if version != "12" {
            create["room_id"] = format!("!room:{}", peer.name()).into();
        }
        peer.sign(create, version)
    };
    let invite = |room: &str, version: &str| {
        let event = json!({
            "type": "m.room.member", "state_key": scene.alice.id, "room_id": room, "sender": scene.bob(), "origin": peer.name(),
            "content": { "membership": "invite" }, "origin_server_ts": 3, "depth": 3, "prev_events": [], "auth_events": [],
        });
        peer.sign(event, version)
    };
    let (create_id, create_event) = create("12");
    let room = create_id.replacen('$', "!", 1);
    let (id, event) = invite(&room, "12");
    let body = json!({ "room_version": "12", "event": event, "invite_room_state": [create_event] });
    scene.put("sendInviteV2", &format!("v2/invite/{}/{}", encode(&room), encode(&id)), body.clone()).ok();
    let mut unknown = body;
    unknown["room_version"] = "99".into();
    let target = format!("v2/invite/{}/{}", encode(&room), encode(&id));
    scene.put("sendInviteV2", &target, unknown).refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    let room = create("1").1["room_id"].as_str().unwrap().to_owned();
    let (id, event) = invite(&room, "1");
    scene.put("sendInviteV1", &format!("v1/invite/{}/{}", encode(&room), encode(&id)), event).ok();
}

fn third_party_invitations(scene: &Scene) {
    let carol = scene.network[0].register("carol");
    let identity_server = Peer::new(9);
    let key = identity_server.public_key();
    let content =
        json!({ "display_name": "c", "key_validity_url": "https://x.example", "public_key": key, "public_keys": [{ "public_key": key }] });
    scene.network[0].put_state(&scene.alice, &scene.room, "m.room.third_party_invite", "token", content);
    let signed = identity_server.sign_json(json!({ "mxid": carol.id, "token": "token" }));
    let content = json!({ "membership": "invite", "third_party_invite": { "display_name": "c", "signed": signed } });
    let event =
        json!({ "type": "m.room.member", "room_id": scene.room, "sender": scene.alice.id, "state_key": carol.id, "content": content });
    scene.put("exchangeThirdPartyInvite", &format!("v1/exchange_third_party_invite/{}", encode(&scene.room)), event).ok();
    let mut request = Request::new(Method::Put, "/_matrix/federation/v1/3pid/onbind");
    request.body = Body::Bytes(json!({ "medium": "email", "address": "a", "mxid": carol.id, "invites": [] }).to_string().into_bytes());
    scene.check("onBindThirdPartyIdentifier", request).ok();
}

fn queries(scene: &Scene) {
    let host = &scene.network[0];
    let (alice, room) = (encode(&scene.alice.id), encode(&scene.room));
    host.put(&scene.alice, &format!("/_matrix/client/v3/profile/{alice}/displayname"), json!({ "displayname": "Alice" })).ok();
    scene.get("queryProfile", &format!("v1/query/profile?user_id={alice}")).ok();
    scene.get("queryProfile", "v1/query/profile?user_id=nobody").refused(400, "M_INVALID_PARAM");
    scene.get("queryRoomDirectory", &format!("v1/query/directory?room_alias={}", encode(&format!("#hall:{}", host.name())))).ok();
    scene.get("queryInfo", "v1/query/anything").refused(404, "M_UNRECOGNIZED");
    scene.get("getPublicRooms", "v1/publicRooms").ok();
    scene.post("queryPublicRooms", "v1/publicRooms", json!({ "limit": 1 })).ok();
    let space = host.create_room(&scene.alice, json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } }));
    host.put_state(&scene.alice, &space, "m.space.child", &scene.room, json!({ "via": [host.name()] }));
    assert_eq!(scene.get("getSpaceHierarchy", &format!("v1/hierarchy/{}", encode(&space))).ok().body["children"][0]["room_id"], scene.room);
    scene.get("getSpaceHierarchy", &format!("v1/hierarchy/{room}")).ok();
    scene.get("getSpaceHierarchy", "v1/hierarchy/!no").refused(404, "M_NOT_FOUND");
    let target = format!("/_matrix/client/v3/user/{alice}/openid/request_token");
    let token = host.post(&scene.alice, &target, json!({})).ok().text("access_token");
    scene.get("exchangeOpenIdToken", &format!("v1/openid/userinfo?access_token={}", encode(&token))).ok();
    scene.get("exchangeOpenIdToken", "v1/openid/userinfo?access_token=no").refused(401, "M_UNKNOWN_TOKEN");
}

fn devices(scene: &Scene) {
    let (host, alice) = (&scene.network[0], &scene.alice);
    let keys = json!({
        "device_id": alice.device, "user_id": alice.id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("curve25519:{}", alice.device): "c", format!("ed25519:{}", alice.device): "e" },
        "signatures": { &alice.id: { format!("ed25519:{}", alice.device): "s" } },
    });
    host.post(
        alice,
        "/_matrix/client/v3/keys/upload",
        json!({ "device_keys": keys, "one_time_keys": { "signed_curve25519:A": { "key": "k", "signatures": {} } } }),
    );
    scene.get("getUserDevices", &format!("v1/user/devices/{}", encode(&alice.id))).ok();
    scene.post("queryUserEncryptionKeys", "v1/user/keys/query", json!({ "device_keys": { &alice.id: [] } })).ok();
    let claim = json!({ "one_time_keys": { &alice.id: { &alice.device: "signed_curve25519" } } });
    scene.post("claimUserEncryptionKeys", "v1/user/keys/claim", claim).ok();
}

fn media(scene: &Scene) {
    let mut upload = request(Method::Post, "/_matrix/media/v3/upload", Some(&scene.alice.token), None);
    upload.headers.insert("content-type".into(), "image/png".into());
    upload.body = Body::Bytes(b"image:x".to_vec());
    let uri = scene.network[0].send_request(upload).answer().unwrap().ok().text("content_uri");
    let id = uri.rsplit('/').next().unwrap();
    let answer = scene.get("getContent", &format!("v1/media/download/{id}")).ok();
    assert!(answer.headers["content-type"].starts_with("multipart/mixed; boundary="));
    scene.get("getContentThumbnail", &format!("v1/media/thumbnail/{id}?width=32&height=32&method=crop")).ok();
    scene.get("getContent", "v1/media/download/none").refused(404, "M_NOT_FOUND");
}

fn policies(scene: &Scene) {
    let host = &scene.network[0];
    let (_, message) = scene.peer.sign(support::peer::message(&scene.room, &scene.bob(), &["$x".into()], &["$x".into()], 9), "12");
    let sign = || scene.ask("askPolicyServerToSign", Method::Post, "/_matrix/policy/v1/sign", Some(message.clone()));
    sign().refused(404, "M_NOT_FOUND");
    let key = host.request(Method::Get, "/.well-known/matrix/policy_server", None, None).ok().body;
    let content = json!({ "via": host.name(), "public_keys": key["public_keys"] });
    host.put_state(&scene.alice, &scene.room, "m.room.policy", "", content);
    sign().ok();
    let body = Some(json!({ "room_id": scene.room }));
    scene.ask("askPolicyServerToSign", Method::Post, "/_matrix/policy/v1/sign", body).refused(400, "M_BAD_JSON");
}

fn servers(scene: &Scene) {
    scene.check("getVersion", Request::new(Method::Get, "/_matrix/federation/v1/version")).ok();
    scene.check("getWellKnown", Request::new(Method::Get, "/.well-known/matrix/server")).ok();
    scene.check("getServerKey", Request::new(Method::Get, "/_matrix/key/v2/server")).ok();
    let name = scene.network[0].name();
    scene.check("perspectivesKeyQuery", Request::new(Method::Get, &format!("/_matrix/key/v2/query/{name}"))).ok();
    let mut request = Request::new(Method::Post, "/_matrix/key/v2/query");
    request.body =
        Body::Bytes(json!({ "server_keys": { name: { "ed25519:1": { "minimum_valid_until_ts": 1 } } } }).to_string().into_bytes());
    scene.check("bulkPerspectivesKeyQuery", request).ok();
}

#[test]
fn every_operation_is_served_as_specified() {
    let Some(document) = federation_document() else { return };
    let scene = Scene::new(document);
    for part in [handshakes, events, invitations, third_party_invitations, queries, devices, media, policies, servers] {
        part(&scene);
    }
    let succeeded = scene.succeeded.borrow();
    let missing: Vec<_> = document.operations.iter().map(|operation| &operation.id).filter(|id| !succeeded.contains(*id)).collect();
    let refused: Vec<_> = ALWAYS_REFUSED.iter().collect();
    assert_eq!(missing.iter().map(|id| id.as_str()).collect::<BTreeSet<_>>(), refused.into_iter().copied().collect());
    // No route answers what the specification does not know, but for this server's own.
    let is_own = |path: &str| OWN.iter().any(|own| path.starts_with(own));
    for (method, path) in inglenook::federation_routes().filter(|route| !UNSPECIFIED.contains(route) && !is_own(route.1)) {
        let is_specified = document.operations.iter().any(|operation| operation.method == method && operation.serves(path));
        assert!(is_specified, "{} {path}", method.as_str());
    }
}

#[test]
fn signatures_are_asked_for_before_anything_else() {
    let Some(document) = federation_document() else { return };
    let scene = Scene::new(document);
    const PUBLIC: [&str; 7] = [
        "getWellKnown",
        "onBindThirdPartyIdentifier",
        "exchangeOpenIdToken",
        "getVersion",
        "getServerKey",
        "perspectivesKeyQuery",
        "bulkPerspectivesKeyQuery",
    ];
    for operation in document.operations.iter().filter(|operation| !PUBLIC.contains(&&*operation.id)) {
        let request = Request::new(operation.method, &operation.path);
        scene.check(&operation.id, request.clone()).refused(401, "M_UNAUTHORIZED");
        let mut misdirected = scene.peer.request(&scene.network[0], operation.method, &operation.path, None);
        let header = misdirected.headers["authorization"].replace(&scene.network[0].name(), &scene.peer.name());
        misdirected.headers.insert("authorization".into(), header);
        scene.check(&operation.id, misdirected).refused(401, "M_UNAUTHORIZED");
        // The same signature on another body is none.
        let mut altered = scene.peer.request(&scene.network[0], operation.method, &operation.path, None);
        altered.body = Body::Bytes(b"{\"a\":1}".to_vec());
        scene.check(&operation.id, altered).refused(401, "M_UNAUTHORIZED");
    }
}

/// Operations that this server asks no other server for: clients and identity servers ask for the first two, and whoever carries its requests
/// finds the way.
const NOT_ASKED: [&str; 3] = ["exchangeOpenIdToken", "onBindThirdPartyIdentifier", "getWellKnown"];

/// Whether some of the sources that speak to other servers names the operation.
fn is_asked(sources: &[String], path: &str) -> bool {
    let before_parameters = path.split("/{").next().unwrap_or(path);
    let endpoint = before_parameters.strip_prefix("/_matrix/federation/").unwrap_or(before_parameters);
    let name = endpoint.rsplit('/').next().unwrap_or(endpoint);
    let mut ends = ["\"", "/", "?"].into_iter().map(|end| format!("{endpoint}{end}")).chain([format!("\"{name}\"")]);
    ends.any(|text| sources.iter().any(|source| source.contains(&text)))
}

#[test]
fn the_operations_that_are_asked_of_others_are_known() {
    let Some(document) = federation_document() else { return };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<_> =
        ["federation", "federation_receiver", "federation_sender", "identity", "keys", "relays"].map(|name| root.join(name)).into();
    let mut sources = vec![std::fs::read_to_string(root.join("policy_servers.rs")).unwrap()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("tests") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                // What tests say is behind this.
                let source = std::fs::read_to_string(entry).unwrap();
                sources.push(source.split("#[cfg(test)]").next().unwrap().to_owned());
            }
        }
    }
    let comments = |source: &String| source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let sources: Vec<_> = sources.iter().map(comments).collect();
    let not_asked: BTreeSet<_> =
        document.operations.iter().filter(|operation| !is_asked(&sources, &operation.path)).map(|operation| &*operation.id).collect();
    assert_eq!(not_asked, NOT_ASKED.into_iter().collect());
}
