//! The specification's own test vectors.
//!
//! <https://spec.matrix.org/v1.19/appendices/>

use ruma::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
    signatures,
};
use serde_json::{Value, json};

use super::{canonical, identity, keys, versions};
use crate::{
    event::{RawPdu, RoomVersion, Unfit},
    identity::Identity,
};

const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

/// <https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors>
fn domain() -> Identity {
    identity("domain", Base64::<Standard>::parse(SEED).unwrap().as_bytes().try_into().unwrap())
}

/// The signature that the server named "domain" puts on a JSON object.
fn signature(mut object: CanonicalJsonObject) -> String {
    signatures::sign_json("domain", &domain(), &mut object).unwrap();
    serde_json::to_value(&object).unwrap()["signatures"]["domain"]["ed25519:1"].as_str().unwrap().to_owned()
}

/// <https://spec.matrix.org/v1.19/appendices/#unpadded-base64>
#[test]
fn unpadded_base64() {
    for (bytes, text) in
        [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy")]
    {
        assert_eq!(Base64::<Standard>::new(bytes.as_bytes().to_vec()).encode(), text);
        assert_eq!(Base64::<Standard>::parse(text).unwrap().as_bytes(), bytes.as_bytes());
    }
    assert_eq!(Base64::<Standard>::parse("Zg==").unwrap().as_bytes(), b"f", "padding is accepted");
}

/// <https://spec.matrix.org/v1.19/appendices/#examples>
#[test]
fn canonical_json() {
    for (given, expected) in [
        ("{}", "{}"),
        (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{ "b": "2", "a": "1" }"#, r#"{"a":"1","b":"2"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{ "auth": { "success": true, "mxid": "@john.doe:example.com", "profile": { "display_name": "John Doe", "three_pids": [
                { "medium": "email", "address": "john.doe@example.org" }, { "medium": "msisdn", "address": "123456789" } ] } } }"#,
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
        ),
        (r#"{ "a": "日本語" }"#, r#"{"a":"日本語"}"#),
        (r#"{ "本": 2, "日": 1 }"#, r#"{"日":1,"本":2}"#),
        (r#"{ "a": "\u65E5" }"#, r#"{"a":"日"}"#),
        (r#"{ "a": null }"#, r#"{"a":null}"#),
        (r#"{ "a": "\u0000\u0008\u001f\n\"\\/\u007f" }"#, "{\"a\":\"\\u0000\\b\\u001f\\n\\\"\\\\/\u{7f}\"}"),
    ] {
        let object: CanonicalJsonObject = serde_json::from_str(given).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), expected);
    }
}

/// From room version 6 on, an event whose numbers are not canonical is no event; older versions should take it "where possible".
///
/// <https://spec.matrix.org/v1.19/rooms/v6/#canonical-json>
#[test]
fn numbers_that_are_not_canonical_are_refused() {
    for number in ["1.5", "9007199254740992", "-9007199254740992", "1e100"] {
        let parsed = RawPdu::parse(format!(r#"{{"content":{{"n":{number}}}}}"#).as_bytes());
        assert!(matches!(parsed, Err(Unfit::Json(_))), "{number}");
    }
    for number in ["9007199254740991", "-9007199254740991", "0"] {
        assert!(RawPdu::parse(format!(r#"{{"content":{{"n":{number}}}}}"#).as_bytes()).is_ok(), "{number}");
    }
}

/// <https://spec.matrix.org/v1.19/appendices/#json-signing>
#[test]
fn json_signing() {
    assert_eq!(
        signature(CanonicalJsonObject::new()),
        "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
    );
    assert_eq!(
        signature(canonical(&json!({ "one": 1, "two": "Two" }))),
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"
    );
}

fn minimal() -> Value {
    json!({
        "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "origin_server_ts": 1_000_000, "signatures": {}, "hashes": {},
        "type": "X", "content": {}, "prev_events": [], "auth_events": [], "depth": 3, "unsigned": { "age_ts": 1_000_000 },
    })
}

fn redactable() -> Value {
    json!({
        "content": { "body": "Here is the message content" }, "event_id": "$0:domain", "origin": "domain", "origin_server_ts": 1_000_000,
        "type": "m.room.message", "room_id": "!r:domain", "sender": "@u:domain", "signatures": {}, "unsigned": { "age_ts": 1_000_000 },
    })
}

fn event_signed(event: &Value, version: &RoomVersion) -> Value {
    let mut object = canonical(event);
    signatures::hash_and_sign_event("domain", &domain(), &mut object, &version.rules.redaction).unwrap();
    serde_json::to_value(object).unwrap()
}

/// The vectors were made by the rules of room version 1, which changed in nothing that they show until version 11.
///
/// <https://spec.matrix.org/v1.19/appendices/#event-signing>
#[test]
fn event_signing() {
    for (_, version) in versions().take_while(|(number, _)| *number < 11) {
        let minimal = event_signed(&minimal(), &version);
        assert_eq!(minimal["hashes"]["sha256"], "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
        assert_eq!(
            minimal["signatures"]["domain"]["ed25519:1"],
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
        );
        let redactable = event_signed(&redactable(), &version);
        assert_eq!(redactable["hashes"]["sha256"], "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g");
        assert_eq!(
            redactable["signatures"]["domain"]["ed25519:1"],
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
        );
    }
}

/// The vector of the minimal event, read as a server that receives it reads it.
#[test]
fn a_signed_vector_passes_the_checks() {
    let version = RoomVersion::parse("5").unwrap();
    let event = event_signed(&minimal(), &version);
    let checked = RawPdu::parse(event.to_string().as_bytes()).unwrap().check(&version, &keys(&[&domain()])).unwrap();
    assert_eq!(checked.pdu().content.get(), "{}");
    assert_eq!(checked.pdu().origin_server_ts, 1_000_000);
}
