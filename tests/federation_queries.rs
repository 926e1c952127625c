//! What other servers ask of this one beside rooms' events: users, aliases, published rooms, spaces, media, tokens and keys.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;

use inglenook::http::{Body, Method, Request};
use serde_json::{Value, json};
use support::{Host, Network, User, encode, network::Treatment, peer::Peer, request};

fn host() -> (Network, User, Peer) {
    let network = Network::of_keys(1);
    let alice = network[0].register("alice");
    (network, alice, Peer::new(7))
}

fn public(host: &Host, target: &str) -> support::Answer {
    host.federation(Request::new(Method::Get, target))
}

#[test]
fn profiles_are_told_of_local_users() {
    let (network, alice, peer) = host();
    let host = &network[0];
    host.put(&alice, &format!("/_matrix/client/v3/profile/{}/displayname", encode(&alice.id)), json!({ "displayname": "Alice" })).ok();
    let ask = |query: String| peer.get(host, &format!("/v1/query/profile?user_id={query}"));
    assert_eq!(ask(encode(&alice.id)).ok().body, json!({ "displayname": "Alice" }));
    assert_eq!(ask(format!("{}&field=displayname", encode(&alice.id))).ok().body, json!({ "displayname": "Alice" }));
    assert_eq!(ask(format!("{}&field=avatar_url", encode(&alice.id))).ok().body, json!({}));
    ask(encode(&format!("@nobody:{}", host.name()))).refused(404, "M_NOT_FOUND");
    ask(encode(&peer.user("bob"))).refused(400, "M_INVALID_PARAM");
    ask("nobody".into()).refused(400, "M_INVALID_PARAM");
    peer.get(host, "/v1/query/profile").refused(400, "M_MISSING_PARAM");
    peer.get(host, "/v1/query/something").refused(404, "M_UNRECOGNIZED");
    public(host, &format!("/_matrix/federation/v1/query/profile?user_id={}", encode(&alice.id))).refused(401, "M_UNAUTHORIZED");
}

#[test]
fn an_alias_leads_to_its_room_and_to_who_is_there() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "room_alias_name": "hall" }));
    let ask = |alias: &str| peer.get(host, &format!("/v1/query/directory?room_alias={}", encode(alias)));
    let alias = format!("#hall:{}", host.name());
    assert_eq!(ask(&alias).ok().body, json!({ "room_id": room, "servers": [host.name()] }));
    peer.join(host, &room, &peer.user("bob"));
    assert_eq!(ask(&alias).ok().body, json!({ "room_id": room, "servers": [host.name(), peer.name()] }));
    peer.shake(host, "leave", &room, &peer.user("bob")).1.ok();
    assert_eq!(ask(&alias).ok().body["servers"], json!([host.name()]));
    ask(&format!("#nothing:{}", host.name())).refused(404, "M_NOT_FOUND");
    ask("hall").refused(400, "M_INVALID_PARAM");
}

#[test]
fn published_rooms_are_listed_and_searched() {
    let (network, alice, peer) = host();
    let host = &network[0];
    for name in ["Garden", "Kitchen", "Attic"] {
        host.create_room(&alice, json!({ "preset": "public_chat", "visibility": "public", "name": name }));
    }
    host.create_room(&alice, json!({ "preset": "public_chat", "name": "unlisted" }));
    let all = peer.get(host, "/v1/publicRooms").ok().body;
    assert_eq!((all["chunk"].as_array().unwrap().len(), &all["total_room_count_estimate"]), (3, &json!(3)));
    assert_eq!(peer.get(host, "/v1/publicRooms?limit=0").ok().body["chunk"], all["chunk"], "zero is no limit");
    let first = peer.get(host, "/v1/publicRooms?limit=2").ok().body;
    let next = first["next_batch"].as_str().unwrap();
    let rest = peer.get(host, &format!("/v1/publicRooms?limit=2&since={}", encode(next))).ok().body;
    let both: Vec<_> = [&first, &rest].iter().flat_map(|page| page["chunk"].as_array().unwrap().clone()).collect();
    assert_eq!(Value::from(both), all["chunk"]);
    let found = peer.post(host, "/v1/publicRooms", &json!({ "filter": { "generic_search_term": "kit" } })).ok().body;
    assert_eq!((found["chunk"].as_array().unwrap().len(), &found["chunk"][0]["name"]), (1, &json!("Kitchen")));
}

#[test]
fn a_space_shows_what_the_other_servers_users_could_see() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let open = host.create_room(&alice, json!({ "preset": "public_chat", "name": "open" }));
    let closed = host.create_room(&alice, json!({ "preset": "private_chat", "name": "closed" }));
    let space = host.create_room(&alice, json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } }));
    let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
    let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "restricted", "allow": allow } }]);
    let restricted = host.create_room(&alice, json!({ "preset": "private_chat", "initial_state": rules }));
    for (room, suggested) in [(&open, false), (&closed, true), (&restricted, true), (&"!elsewhere:far.example".to_owned(), false)] {
        host.put_state(&alice, &space, "m.space.child", room, json!({ "via": [host.name()], "suggested": suggested }));
    }
    let ask = |query: &str| peer.get(host, &format!("/v1/hierarchy/{}{query}", encode(&space))).ok().body;
    let rooms = |list: &Value| list.as_array().unwrap().iter().map(|room| room["room_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let seen = ask("");
    assert_eq!((seen["room"]["room_id"].as_str(), seen["room"]["children_state"].as_array().unwrap().len()), (Some(&*space), 4));
    assert_eq!(rooms(&seen["children"]), std::slice::from_ref(&open));
    let sorted = |list: &Value| list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&seen["inaccessible_children"]), BTreeSet::from([closed.clone(), restricted.clone()]));
    assert!(seen["room"]["children_state"][0]["origin_server_ts"].is_u64());
    peer.join(host, &space, &peer.user("bob"));
    let seen = ask("?suggested_only=true");
    assert_eq!((rooms(&seen["children"]), &seen["inaccessible_children"]), (vec![restricted], &json!([closed])));
    peer.get(host, &format!("/v1/hierarchy/{}", encode(&closed))).refused(404, "M_NOT_FOUND");
    host.put_state(&alice, &space, "m.room.server_acl", "", json!({ "allow": ["*"], "deny": [peer.name()] }));
    peer.get(host, &format!("/v1/hierarchy/{}", encode(&space))).refused(404, "M_NOT_FOUND");
}

fn upload(host: &Host, user: &User, kind: &str, bytes: &[u8]) -> String {
    let mut request = request(Method::Post, "/_matrix/media/v3/upload?filename=a%20file.txt", Some(&user.token), None);
    request.headers.insert("content-type".into(), kind.into());
    request.body = Body::Bytes(bytes.to_vec());
    let uri = host.send_request(request).answer().unwrap().ok().text("content_uri");
    uri.rsplit('/').next().unwrap().to_owned()
}

/// The two parts of a multipart answer: headers and body of each.
fn parts(answer: &support::Answer) -> Vec<(String, Vec<u8>)> {
    let kind = &answer.headers["content-type"];
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").unwrap();
    let text: String = answer.bytes.iter().map(|byte| char::from(*byte)).collect();
    let whole = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap().strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let part = |part: &str| {
        let (headers, body) = part.split_once("\r\n\r\n").unwrap();
        (headers.to_owned(), body.chars().map(|byte| byte as u8).collect())
    };
    whole.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

#[test]
fn media_come_with_their_description() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let bytes: Vec<u8> = (0..=255).collect();
    let id = upload(host, &alice, "text/plain", &bytes);
    let answer = peer.get(host, &format!("/v1/media/download/{id}")).ok();
    let found = parts(&answer);
    assert_eq!(found[0], ("Content-Type: application/json".into(), b"{}".to_vec()));
    assert_eq!(found[1], ("Content-Type: text/plain\r\nContent-Disposition: inline; filename=\"a file.txt\"".into(), bytes));
    assert_eq!(found.len(), 2);
    peer.get(host, "/v1/media/download/nothing").refused(404, "M_NOT_FOUND");
    public(host, &format!("/_matrix/federation/v1/media/download/{id}")).refused(401, "M_UNAUTHORIZED");
}

#[test]
fn thumbnails_are_made_for_others_too() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let id = upload(host, &alice, "image/png", b"image:something");
    let target = format!("/v1/media/thumbnail/{id}");
    let found = parts(&peer.get(host, &format!("{target}?width=30&height=30&method=crop")).ok());
    assert_eq!(found[1].1, b"32x32 crop");
    let found = parts(&peer.get(host, &format!("{target}?width=5000&height=5000")).ok());
    assert_eq!(found[1].1, b"image:something", "a still image stands for itself");
    peer.get(host, &target).refused(400, "M_MISSING_PARAM");
    peer.get(host, &format!("{target}?width=0&height=1")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn what_is_announced_is_waited_for() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let created = host.request(Method::Post, "/_matrix/media/v1/create", Some(&alice.token), None).ok();
    let id = created.text("content_uri").rsplit('/').next().unwrap().to_owned();
    let target = format!("/_matrix/federation/v1/media/download/{id}?timeout_ms=0");
    host.federation(peer.request(host, Method::Get, &target, None)).refused(504, "M_NOT_YET_UPLOADED");
}

#[test]
fn a_type_cannot_end_its_header() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let id = upload(host, &alice, "text/plain\r\nX-Evil: 1", b"x");
    let found = parts(&peer.get(host, &format!("/v1/media/download/{id}")).ok());
    assert!(found[1].0.starts_with("Content-Type: application/octet-stream\r\n"), "{:?}", found[1].0);
}

#[test]
fn an_openid_token_names_its_user() {
    let (network, alice, _) = host();
    let host = &network[0];
    let target = format!("/_matrix/client/v3/user/{}/openid/request_token", encode(&alice.id));
    let token = host.post(&alice, &target, json!({})).ok().text("access_token");
    let ask = |token: &str| public(host, &format!("/_matrix/federation/v1/openid/userinfo?access_token={}", encode(token)));
    assert_eq!(ask(&token).ok().body, json!({ "sub": alice.id }));
    ask("nonsense").refused(401, "M_UNKNOWN_TOKEN");
    public(host, "/_matrix/federation/v1/openid/userinfo").refused(401, "M_MISSING_TOKEN");
    host.advance(3_600_000);
    ask(&token).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn the_notary_vouches_for_what_others_publish() {
    let network = Network::new(&["notary.example", "other.example"]);
    let (notary, other) = (&network[0], &network[1]);
    let own = notary.federation(Request::new(Method::Get, "/_matrix/key/v2/query/notary.example")).ok().body;
    assert_eq!(own["server_keys"][0]["server_name"], "notary.example");
    let asked = notary.federation(Request::new(Method::Get, "/_matrix/key/v2/query/other.example")).ok().body;
    let keys = &asked["server_keys"][0];
    let published = other.federation(Request::new(Method::Get, "/_matrix/key/v2/server")).ok().body;
    assert_eq!(keys["verify_keys"], published["verify_keys"]);
    assert_eq!(keys["signatures"]["other.example"], published["signatures"]["other.example"]);
    let own_keys = own["server_keys"][0]["verify_keys"].as_object().unwrap();
    let signatures = keys["signatures"]["notary.example"].as_object().unwrap();
    assert!(signatures.keys().eq(own_keys.keys()));

    // What is known is told while the other server is away, and the other is asked no more than need be.
    network.carried();
    network.cut(0, 1);
    let mut request = Request::new(Method::Post, "/_matrix/key/v2/query");
    request.body = Body::Bytes(json!({ "server_keys": { "other.example": {}, "gone.example": {} } }).to_string().into_bytes());
    let answer = notary.federation(request.clone()).ok().body;
    assert_eq!(answer["server_keys"].as_array().unwrap().len(), 1);
    notary.federation(request).ok();
    let asked: Vec<_> = network.carried().into_iter().map(|carried| carried.to).collect();
    assert_eq!(asked, ["gone.example"]);
    public(notary, "/_matrix/key/v2/query/not%20a%20name").refused(400, "M_INVALID_PARAM");
}

#[test]
fn the_notary_does_not_vouch_for_a_lie() {
    let network = Network::new(&["notary.example", "other.example", "liar.example"]);
    let lie = network[2].federation(Request::new(Method::Get, "/_matrix/key/v2/server")).ok();
    let mut body = lie.body.clone();
    body["server_name"] = "other.example".into();
    network.treat(move |_| Treatment::Answer(inglenook::http::Response::ok(&body)));
    let answer = network[0].federation(Request::new(Method::Get, "/_matrix/key/v2/query/other.example")).ok().body;
    assert_eq!(answer, json!({ "server_keys": [] }));
}

#[test]
fn the_server_says_where_it_is() {
    let network = Network::new(&["home.example", "other.example:8000"]);
    for (index, place) in ["home.example:443", "other.example:8000"].iter().enumerate() {
        assert_eq!(public(&network[index], "/.well-known/matrix/server").ok().body, json!({ "m.server": place }));
    }
    public(&network[0], "/_matrix/federation/v1/nothing").refused(404, "M_UNRECOGNIZED");
    network[0].federation(Request::new(Method::Delete, "/_matrix/federation/v1/version")).refused(405, "M_UNRECOGNIZED");
}

#[test]
fn an_event_is_found_by_its_time() {
    let (network, alice, peer) = host();
    let host = &network[0];
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    peer.join(host, &room, &peer.user("bob"));
    network.advance(10_000);
    let event = host.send(&alice, &room, "hello");
    let time = peer.get(host, &format!("/v1/event/{}", encode(&event))).ok().body["pdus"][0]["origin_server_ts"].as_u64().unwrap();
    let ask = |query: String| peer.get(host, &format!("/v1/timestamp_to_event/{}{query}", encode(&room)));
    assert_eq!(ask(format!("?ts={}&dir=f", time - 5_000)).ok().body, json!({ "event_id": event, "origin_server_ts": time }));
    assert_eq!(ask(format!("?ts={}&dir=b", time + 5_000)).ok().body["event_id"], event);
    ask(format!("?ts={}&dir=f", time + 5_000)).refused(404, "M_NOT_FOUND");
    ask("?dir=f".into()).refused(400, "M_MISSING_PARAM");
    let stranger = Peer::new(9);
    stranger.get(host, &format!("/v1/timestamp_to_event/{}?ts=1&dir=f", encode(&room))).refused(403, "M_FORBIDDEN");
}
