//! Requests between servers: signed by their origin, for their destination, and refused otherwise.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::{Method, Request};
use support::Network;

#[test]
fn a_server_tells_its_version_and_its_keys() {
    let network = Network::of_keys(1);
    let host = &network[0];
    let version = host.federation(Request::new(Method::Get, "/_matrix/federation/v1/version")).ok();
    assert_eq!(version.body["server"]["name"], "Inglenook");
    let keys = host.federation(Request::new(Method::Get, "/_matrix/key/v2/server")).ok();
    assert_eq!(keys.body["server_name"], host.name());
    assert!(keys.body["signatures"][host.name()]["ed25519:1"].is_string());
}
