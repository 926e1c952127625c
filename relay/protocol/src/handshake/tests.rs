//! What proves a node's name, and what does not.
#![allow(clippy::unwrap_used)]

use ruma::CanonicalJsonValue;

use super::*;
use crate::{
    limits::{AddressLimits, Quota, Software},
    signed::tests::server,
};

const NOW: u64 = 1_700_000_000_000;
const NODE: u8 = 1;
const RELAY: u8 = 2;

fn challenge(nonce: u8) -> Challenge {
    Challenge::new(server(RELAY).0, [nonce; 32], NOW)
}

fn answer(challenge: &Challenge, dialled: &str) -> CanonicalJsonObject {
    let (node, key) = server(NODE);
    challenge.prove(dialled, &node, &key).unwrap()
}

fn check(challenge: &Challenge, answer: &CanonicalJsonObject) -> Result<OwnedServerName, Refusal> {
    // As they travel.
    let answer: CanonicalJsonObject = serde_json::from_str(&serde_json::to_string(answer).unwrap()).unwrap();
    challenge.check(&answer, NOW + 1000, |host| host == "relay.example")
}

fn limits() -> Limits {
    let quota = Quota { entries: 1, bytes: 2 };
    Limits {
        software: Software { name: "relay".into(), version: "1".into() },
        gateway: None,
        allow_list: false,
        max_body: 1,
        max_stored_body: 1,
        mailbox: quota,
        origin: quota,
        retention_ms: 1,
        max_deposit: 1,
        request_timeout_ms: 1,
        address: AddressLimits::default(),
        node_requests_per_minute: 1,
        node_outside_per_minute: 1,
    }
}

#[test]
fn a_node_proves_its_name() {
    let challenge = challenge(1);
    assert_eq!(check(&challenge, &answer(&challenge, "relay.example")), Ok(server(NODE).0));
}

#[test]
fn below_a_gateways_domain_the_first_label_is_the_key() {
    let challenge = challenge(1);
    let name = |seed: u8| ServerName::parse(format!("{}.gateway.example", server(seed).0)).unwrap();
    let key = server(NODE).1;
    let proof = challenge.prove("relay.example", &name(NODE), &key).unwrap();
    assert_eq!(check(&challenge, &proof), Ok(name(NODE)));
    let impostor = challenge.prove("relay.example", &name(RELAY), &key).unwrap();
    assert!(check(&challenge, &impostor).is_err());
}

#[test]
fn another_relays_challenge_cannot_be_forwarded() {
    // A hostile relay dials this one, and hands the challenge on to a node that dials the hostile one.
    let challenge = challenge(1);
    assert!(check(&challenge, &answer(&challenge, "hostile.example")).unwrap_err().error.contains("hostile.example"));
}

#[test]
fn an_answer_serves_once() {
    let old = answer(&challenge(1), "relay.example");
    assert!(check(&challenge(2), &old).is_err());
}

#[test]
fn a_late_answer_is_refused() {
    let challenge = challenge(1);
    let answer = answer(&challenge, "relay.example");
    assert!(challenge.check(&answer, NOW + MAX_AGE_MS + 1, |_| true).is_err());
}

#[test]
fn nobody_proves_anothers_name() {
    let challenge = challenge(1);
    let (_, other_key) = server(3);
    let forged = challenge.prove("relay.example", &server(NODE).0, &other_key).unwrap();
    assert!(check(&challenge, &forged).is_err());
    let mut renamed = answer(&challenge, "relay.example");
    renamed.insert("node".into(), CanonicalJsonValue::String(server(3).0.to_string()));
    assert!(check(&challenge, &renamed).is_err());
}

#[test]
fn only_the_canonical_spelling_of_a_name_is_one() {
    let challenge = challenge(1);
    let (node, key) = server(NODE);
    let upper = ServerName::parse(node.as_str().to_uppercase()).unwrap();
    let answer = challenge.prove("relay.example", &upper, &key).unwrap();
    assert!(check(&challenge, &answer).is_err());
    let ordinary = ServerName::parse("matrix.example").unwrap();
    assert!(check(&challenge, &challenge.prove("relay.example", &ordinary, &key).unwrap()).is_err());
}

#[test]
fn what_was_signed_for_another_purpose_proves_nothing() {
    let challenge = challenge(1);
    let (node, key) = server(NODE);
    let proof = Proof { purpose: "another".into(), node: node.clone(), dialled: "relay.example".into(), challenge: challenge.clone() };
    assert!(check(&challenge, &signed::sign(&proof, &node, &key).unwrap()).is_err());
}

#[test]
fn a_welcome_is_the_challengers_own() {
    let (node, (_, relay_key), (_, other_key)) = (server(NODE).0, server(RELAY), server(3));
    let challenge_1 = challenge(1);
    let verdict = Welcome::sign(&challenge_1, &node, limits(), true, &relay_key).unwrap();
    let verdict: Verdict = serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
    assert!(verdict.read(&challenge_1, &node).unwrap().replaced);
    assert!(verdict.read(&challenge(2), &node).is_err());
    assert!(verdict.read(&challenge_1, &server(4).0).is_err());
    let forged = Welcome::sign(&challenge_1, &node, limits(), false, &other_key).unwrap();
    assert!(forged.read(&challenge_1, &node).is_err());
}

#[test]
fn a_refusal_says_why() {
    let refusal = Refusal::unauthorized("No.");
    let verdict: Verdict = serde_json::from_str(r#"{"refused":{"errcode":"M_UNAUTHORIZED","error":"No."}}"#).unwrap();
    assert_eq!(verdict.read(&challenge(1), &server(NODE).0), Err(refusal));
}
