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
