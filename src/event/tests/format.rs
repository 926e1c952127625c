//! Formats, sizes and signatures: what is an event of a room version, and why something is none.

use serde_json::{Value, json};

use super::{SERVER, check, identity, message, signed, versions};
use crate::{
    error::Error,
    event::{NewEvent, Placement, RawPdu, RoomVersion, Unfit},
};

/// A change to the JSON of an event.
type Change = fn(&mut Value);

fn changed(change: impl Fn(&mut Value), version: &RoomVersion) -> Result<crate::event::CheckedPdu, Unfit> {
    let mut event = message(version);
    change(&mut event);
    check(&signed(&event, version), version)
}

#[test]
fn a_good_event_is_fit_in_every_version() {
    for (_, version) in versions() {
        changed(|_| (), &version).unwrap_or_else(|unfit| panic!("version {}: {unfit}", version.id));
    }
}

/// <https://spec.matrix.org/v1.19/rooms/v1/#event-ids> and the sections on event IDs of versions 3 and 4.
#[test]
fn an_events_id_is_its_own_until_version_2_and_its_hash_from_then_on() {
    for (number, version) in versions() {
        let (mut plus_or_slash, mut minus_or_underscore) = (false, false);
        for serial in 0..40 {
            let event = changed(|event| event["content"]["serial"] = serial.into(), &version).unwrap();
            let id = event.pdu().event_id.as_str().to_owned();
            if number <= 2 {
                assert_eq!(id, "$e:a.example");
            } else {
                assert_eq!((id.len(), id.contains(':')), (44, false), "a hash of 32 bytes in base 64");
            }
            plus_or_slash |= id.contains(['+', '/']);
            minus_or_underscore |= id.contains(['-', '_']);
        }
        assert_eq!(plus_or_slash, number == 3, "version {number}");
        assert_eq!(minus_or_underscore, number >= 4, "version {number}");
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#size-limits>
#[test]
fn an_event_has_65536_bytes_at_most() {
    for (number, version) in versions() {
        let sized = |size: usize| {
            let mut event = message(&version);
            event["content"]["body"] = "".into();
            let rest = signed(&event, &version).to_string().len();
            event["content"]["body"] = "x".repeat(size - rest).into();
            let event = signed(&event, &version);
            assert_eq!(event.to_string().len(), size);
            check(&event, &version)
        };
        assert!(sized(65_536).is_ok(), "version {number}: {:?}", sized(65_536).err());
        assert!(matches!(sized(65_537), Err(Unfit::TooLarge(_))), "version {number}");
    }
}

/// Only what is too large is called so.
#[test]
fn what_cannot_be_made_an_event_is_refused_for_its_own_reason() {
    let status = |content: Value, kind: &str, auth_events: usize, version: &RoomVersion| {
        let auth_events = (0..auth_events).map(|number| ruma::EventId::parse(format!("$e{number}:a.example")).unwrap()).collect();
        let room_id = ruma::RoomId::parse("!r:a.example").ok();
        let placement = Placement { room_id, auth_events, depth: 1, localpart: "e".into(), ..Placement::default() };
        let event = NewEvent::message(ruma::UserId::parse("@u:a.example").unwrap(), kind, content);
        match event.build(placement, version, &identity(SERVER, [1; 32])) {
            Ok(_) => (200, String::new()),
            Err(Error::Refused(refusal)) => (refusal.status, refusal.code.into_owned()),
            Err(error) => panic!("{error}"),
        }
    };
    for (number, version) in versions() {
        let status = |content, kind: &str, auth_events| status(content, kind, auth_events, &version);
        assert_eq!(status(json!({}), "m", 10), (200, "".into()), "version {number}");
        assert_eq!(status(json!({}), "m", 11), (400, "M_BAD_JSON".into()), "version {number}");
        assert_eq!(status(json!({}), &"m".repeat(256), 1), (413, "M_TOO_LARGE".into()), "version {number}");
        assert_eq!(status(json!({ "body": "x".repeat(65_536) }), "m", 1), (413, "M_TOO_LARGE".into()), "version {number}");
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#size-limits>
#[test]
fn short_fields_have_255_bytes_at_most() {
    let user = |length: usize| format!("@{}:a.example", "u".repeat(length - "@:a.example".len()));
    for (number, version) in versions() {
        let with = |field: &'static str, value: String| changed(|event| event[field] = value.clone().into(), &version);
        for (field, fit, unfit) in [
            ("type", "x".repeat(255), "x".repeat(256)),
            ("state_key", "x".repeat(255), "x".repeat(256)),
            ("state_key", "é".repeat(127), "é".repeat(128)),
            ("sender", user(255), user(256)),
        ] {
            assert!(with(field, fit).is_ok(), "version {number}: {field}");
            assert!(matches!(with(field, unfit), Err(Unfit::TooLarge(_))), "version {number}: {field}");
        }
    }
}

#[test]
fn what_has_not_the_format_of_an_event_is_unfit() {
    let changes: &[(&str, Change)] = &[
        ("no type", |event| drop(event.as_object_mut().unwrap().remove("type"))),
        ("type is a number", |event| event["type"] = 1.into()),
        ("no sender", |event| drop(event.as_object_mut().unwrap().remove("sender"))),
        ("no room", |event| drop(event.as_object_mut().unwrap().remove("room_id"))),
        ("room is null", |event| event["room_id"] = Value::Null),
        ("no content", |event| drop(event.as_object_mut().unwrap().remove("content"))),
        ("content is a string", |event| event["content"] = "x".into()),
        ("content is a list", |event| event["content"] = json!([])),
        ("state key is a number", |event| event["state_key"] = 1.into()),
        ("state key is null", |event| event["state_key"] = Value::Null),
        ("no previous events", |event| drop(event.as_object_mut().unwrap().remove("prev_events"))),
        ("previous events are a string", |event| event["prev_events"] = "$p".into()),
        ("previous events are numbers", |event| event["prev_events"] = json!([1])),
        ("no authorising events", |event| drop(event.as_object_mut().unwrap().remove("auth_events"))),
        ("authorising events are objects", |event| event["auth_events"] = json!([{}])),
        ("no depth", |event| drop(event.as_object_mut().unwrap().remove("depth"))),
        ("depth is negative", |event| event["depth"] = (-1).into()),
        ("depth is a string", |event| event["depth"] = "1".into()),
        ("no time", |event| drop(event.as_object_mut().unwrap().remove("origin_server_ts"))),
        ("time is a string", |event| event["origin_server_ts"] = "1".into()),
        ("21 previous events", |event| {
            let one = event["prev_events"][0].clone();
            event["prev_events"] = vec![one; 21].into();
        }),
        ("11 authorising events", |event| {
            let one = event["auth_events"][0].clone();
            event["auth_events"] = vec![one; 11].into();
        }),
    ];
    for (number, version) in versions() {
        for (name, change) in changes {
            // Signed before it is spoilt, since not all of this can be signed.
            let mut event = signed(&message(&version), &version);
            change(&mut event);
            let unfit = check(&event, &version).err();
            assert!(matches!(unfit, Some(Unfit::Format(_) | Unfit::Signature(_))), "version {number}, {name}: {unfit:?}");
        }
    }
}

/// <https://spec.matrix.org/v1.19/rooms/v1/#event-format> and <https://spec.matrix.org/v1.19/rooms/v3/#event-format>
#[test]
fn references_of_another_version_are_unfit() {
    for (number, version) in versions() {
        let wrong = if number <= 2 { json!(["$p:a.example"]) } else { json!([["$p", { "sha256": "x" }]]) };
        for field in ["prev_events", "auth_events"] {
            let unfit = changed(|event| event[field] = wrong.clone(), &version).err();
            assert!(matches!(unfit, Some(Unfit::Format(_))), "version {number}, {field}: {unfit:?}");
        }
    }
}

/// <https://spec.matrix.org/v1.19/rooms/v12/#event-format>
#[test]
fn the_create_event_authorises_unnamed_from_version_12_on() {
    for (number, version) in versions().filter(|(number, _)| *number >= 3) {
        let unfit = changed(
            |event| {
                event["room_id"] = "!createhash".into();
                event["auth_events"] = json!(["$createhash"]);
            },
            &version,
        );
        assert_eq!(matches!(unfit, Err(Unfit::Format(_))), number >= 12, "version {number}: {unfit:?}");
    }
}

#[test]
fn what_is_not_json_of_an_object_is_unfit() {
    for text in ["", "{", "[]", "null", "\"x\"", "{\"a\":1} x"] {
        assert!(matches!(RawPdu::parse(text.as_bytes()), Err(Unfit::Json(_))), "{text}");
    }
}

#[test]
fn an_event_that_its_senders_server_has_not_signed_is_unfit() {
    let changes: &[(&str, Change)] = &[
        ("another's user", |event| event["sender"] = "@u:b.example".into()),
        ("no signatures", |event| event["signatures"] = json!({})),
        ("another's signature", |event| {
            let mine = event["signatures"]["a.example"].clone();
            event["signatures"] = json!({ "b.example": mine });
        }),
        ("a signature of something else", |event| event["signatures"]["a.example"]["ed25519:1"] = "A".repeat(86).into()),
        ("a type that was not signed", |event| event["type"] = "m.room.topic".into()),
        ("a time that was not signed", |event| event["origin_server_ts"] = 7.into()),
    ];
    for (number, version) in versions() {
        for (name, change) in changes {
            let mut event = signed(&message(&version), &version);
            change(&mut event);
            let unfit = check(&event, &version).err();
            assert!(matches!(unfit, Some(Unfit::Signature(_))), "version {number}, {name}: {unfit:?}");
        }
    }
}

/// The server that gave the event its ID must have signed it as well, where IDs are given.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>
#[test]
fn the_server_that_named_an_event_must_have_signed_it() {
    for (number, version) in versions().filter(|(number, _)| *number <= 2) {
        let unfit = changed(|event| event["event_id"] = "$e:b.example".into(), &version).err();
        assert!(matches!(unfit, Some(Unfit::Signature(_))), "version {number}: {unfit:?}");
    }
}

/// <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu> (3)
#[test]
fn an_event_whose_content_was_changed_is_taken_redacted() {
    for (number, version) in versions() {
        let mut event = signed(&message(&version), &version);
        event["content"]["body"] = "something else".into();
        let redacted = check(&event, &version).unwrap();
        assert_eq!(redacted.pdu().content.get(), "{}", "version {number}");
        let untouched = check(&signed(&message(&version), &version), &version).unwrap();
        assert_eq!(redacted.pdu().event_id, untouched.pdu().event_id, "version {number}: the ID does not cover the content");
    }
}

#[test]
fn what_stands_in_unsigned_is_dropped_and_changes_nothing() {
    for (number, version) in versions() {
        let mut event = signed(&message(&version), &version);
        event["unsigned"] = json!({ "age": 5, "redacted_because": { "content": {} } });
        let checked = check(&event, &version).unwrap();
        assert!(!checked.pdu().json.get().contains("unsigned"), "version {number}");
        assert_eq!(checked.pdu().content_str("body").as_deref(), Some("hello"), "version {number}");
    }
}
