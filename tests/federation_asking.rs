//! What clients ask of other servers through their own: profiles, directories and files.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::{Body, Method, Request, Response};
use serde_json::json;
use support::{
    Host, Network, User, encode,
    network::{Carried, Treatment},
};

fn two() -> (Network, User, User) {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    (network, alice, bob)
}

fn profile(user: &User, field: &str) -> String {
    format!("/_matrix/client/v3/profile/{}{field}", encode(&user.id))
}

/// Uploads a file and returns its ID.
fn upload(host: &Host, user: &User, name: &str, kind: &str, bytes: &[u8]) -> String {
    let mut request = Request::new(Method::Post, &format!("/_matrix/media/v3/upload?filename={name}"));
    request.headers.insert("authorization".into(), format!("Bearer {}", user.token));
    request.headers.insert("content-type".into(), kind.into());
    request.body = Body::Bytes(bytes.to_vec());
    let uri = host.send_request(request).answer().unwrap().ok().text("content_uri");
    uri.rsplit('/').next().unwrap().to_owned()
}

fn download(network: &Network, id: &str, query: &str) -> String {
    format!("/_matrix/client/v1/media/download/{}/{id}{query}", encode(&network[0].name()))
}

#[test]
fn profiles_are_asked_of_their_servers() {
    let (network, alice, bob) = two();
    network[0].put(&alice, &profile(&alice, "/displayname"), json!({ "displayname": "Alice" })).ok();
    assert_eq!(network[1].get(&bob, &profile(&alice, "")).ok().body["displayname"], "Alice");
    assert_eq!(network[1].get(&bob, &profile(&alice, "/displayname")).ok().body, json!({ "displayname": "Alice" }));
    network[1].get(&bob, &profile(&alice, "/avatar_url")).refused(404, "M_NOT_FOUND");
    network[1]
        .get(&bob, &format!("/_matrix/client/v3/profile/{}", encode(&format!("@nobody:{}", network[0].name()))))
        .refused(404, "M_NOT_FOUND");
    network.cut(0, 1);
    network[1].get(&bob, &profile(&alice, "")).refused(502, "M_UNREACHABLE");
}

#[test]
fn published_rooms_of_other_servers_are_found() {
    let (network, alice, bob) = two();
    for name in ["Hall", "Attic"] {
        network[0].create_room(&alice, json!({ "preset": "public_chat", "visibility": "public", "name": name }));
    }
    let target = format!("/_matrix/client/v3/publicRooms?server={}", encode(&network[0].name()));
    assert_eq!(network[1].get(&bob, &target).ok().body["chunk"].as_array().unwrap().len(), 2);
    let search = json!({ "filter": { "generic_search_term": "hall" }, "limit": 5 });
    let found = network[1].post(&bob, &target, search).ok().body;
    assert_eq!((found["chunk"].as_array().unwrap().len(), &found["chunk"][0]["name"]), (1, &json!("Hall")));
    network[1].get(&bob, "/_matrix/client/v3/publicRooms?server=no%20name").refused(400, "M_INVALID_PARAM");
}

#[test]
fn files_are_fetched_once_and_kept() {
    let (network, alice, bob) = two();
    let id = upload(&network[0], &alice, "a%20b.txt", "text/plain", b"--\r\n\r\n--x");
    network[1].get(&bob, &download(&network, &id, "?allow_remote=false")).refused(404, "M_NOT_FOUND");
    for _ in 0..2 {
        let file = network[1].get(&bob, &download(&network, &id, "")).ok();
        assert_eq!(file.bytes, b"--\r\n\r\n--x");
        assert_eq!(file.headers["content-type"], "text/plain");
        assert!(file.headers["content-disposition"].contains("a b.txt"), "{:?}", file.headers);
        network.cut(0, 1);
    }
    network[1].get(&bob, &download(&network, "other", "")).refused(502, "M_UNREACHABLE");
    network.heal(0, 1);
    network[1].get(&bob, &download(&network, "other", "")).refused(404, "M_NOT_FOUND");
    network[1].get(&bob, &download(&network, "a%2Fb", "")).refused(404, "M_NOT_FOUND");
}

#[test]
fn what_is_no_file_is_not_served_as_one() {
    let (network, _, bob) = two();
    for (kind, body) in [
        ("application/json", "{}"),
        ("multipart/mixed; boundary=x", "--x\r\n\r\n{}\r\n--x\r\nLocation: https://a.example/\r\n\r\n\r\n--x--"),
    ] {
        network.treat(move |_: &Carried| Treatment::Answer(Response::bytes(200, kind, body.into())));
        network[1].get(&bob, &download(&network, "id", "")).refused(502, "M_UNKNOWN");
    }
}

fn thumbnail(network: &Network, id: &str, query: &str) -> String {
    format!("/_matrix/client/v1/media/thumbnail/{}/{id}?{query}", encode(&network[0].name()))
}

fn asked(network: &Network) -> Vec<String> {
    network.carried().into_iter().map(|carried| carried.target.split(['?']).next().unwrap().to_owned()).collect()
}

#[test]
fn thumbnails_are_made_where_the_file_is() {
    let (network, alice, bob) = two();
    let id = upload(&network[0], &alice, "a.png", "image/png", b"image:large");
    network.run();
    network.carried();
    for _ in 0..2 {
        let made = network[1].get(&bob, &thumbnail(&network, &id, "width=30&height=30&method=crop")).ok();
        assert_eq!((&*made.bytes, &*made.headers["content-type"]), (&b"32x32 crop"[..], "image/png"));
    }
    assert_eq!(asked(&network), [format!("/_matrix/federation/v1/media/thumbnail/{id}")], "once, and the file stays where it is");
    network[1].get(&bob, &thumbnail(&network, &id, "width=5&height=5&allow_remote=false")).refused(404, "M_NOT_FOUND");
    network[1].get(&bob, &thumbnail(&network, "other", "width=5&height=5")).refused(404, "M_NOT_FOUND");
    // Once the file itself is here, thumbnails are made of it.
    network[1].get(&bob, &download(&network, &id, "")).ok();
    network.cut(0, 1);
    assert_eq!(network[1].get(&bob, &thumbnail(&network, &id, "width=90&height=90&method=crop")).ok().bytes, b"96x96 crop");
}

#[test]
fn where_no_thumbnail_is_to_be_had_the_file_is_fetched_and_scaled_here() {
    let (network, alice, bob) = two();
    let id = upload(&network[0], &alice, "a.png", "image/png", b"image:large");
    network.treat(|carried: &Carried| match carried.target.contains("/thumbnail/") {
        true => Treatment::Answer(Response::json(413, &json!({ "errcode": "M_TOO_LARGE", "error": "no" }))),
        false => Treatment::Carry,
    });
    let made = network[1].get(&bob, &thumbnail(&network, &id, "width=30&height=30&method=scale")).ok();
    assert_eq!(made.bytes, b"320x240 scale");
}

#[test]
fn servers_of_old_are_asked_for_files_as_clients_of_old_asked() {
    let (network, _, bob) = two();
    network.treat(|carried: &Carried| match carried.target.starts_with("/_matrix/federation/") {
        true => Treatment::Answer(Response::json(404, &json!({ "errcode": "M_UNRECOGNIZED", "error": "what?" }))),
        false if carried.target.contains("allow_remote=false") => Treatment::Answer(Response::bytes(200, "text/plain", b"old".to_vec())),
        false => Treatment::Lose,
    });
    let file = network[1].get(&bob, &download(&network, "id", "?timeout_ms=5")).ok();
    assert_eq!((&*file.bytes, &*file.headers["content-type"]), (&b"old"[..], "text/plain"));
    assert_eq!(network[1].get(&bob, &thumbnail(&network, "other", "width=30&height=30")).ok().bytes, b"old");
    let legacy = |what: &str, id: &str| format!("/_matrix/media/v3/{what}/{}/{id}", network[0].name());
    let asked: Vec<_> = asked(&network).into_iter().filter(|target| target.contains("/media/v3/")).collect();
    assert_eq!(asked, [legacy("download", "id"), legacy("thumbnail", "other")]);
}
