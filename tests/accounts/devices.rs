//! Devices and their pushers.

use super::*;

#[test]
fn devices_are_listed_named_and_deleted() {
    let host = Host::new();
    let ada = host.register("ada");
    let other = host.log_in(&ada);
    let path = |device: &str| format!("/_matrix/client/v3/devices/{device}");
    host.put(&ada, &path(&other.device), json!({ "display_name": "Laptop" })).ok();
    host.put(&ada, &path(&other.device), json!({})).ok();
    assert_eq!(host.get(&ada, &path(&other.device)).ok().body["display_name"], "Laptop");
    host.put(&ada, &path("NONE"), json!({ "display_name": "x" })).refused(404, "M_NOT_FOUND");
    host.get(&ada, &path("NONE")).refused(404, "M_NOT_FOUND");
    assert_eq!(host.get(&ada, "/_matrix/client/v3/devices").ok().body["devices"].as_array().unwrap().len(), 2);
    assert_eq!(host.delete(&ada, &path(&other.device), None).status, 401);
    assert!(is_known(&host, &other.token));
    let auth = json!({ "auth": password_auth("ada", PASSWORD) });
    host.delete(&ada, &path(&other.device), Some(auth.clone())).ok();
    assert!(!is_known(&host, &other.token));
    host.delete(&ada, &path(&other.device), Some(auth)).ok();
}

#[test]
fn several_devices_are_deleted_at_once_and_strangers_are_not() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let (second, third) = (host.log_in(&ada), host.log_in(&ada));
    let target = "/_matrix/client/v3/delete_devices";
    let devices = json!([second.device, third.device, bob.device, "NONE"]);
    assert_eq!(host.post(&ada, target, json!({ "devices": devices })).status, 401);
    host.post(&ada, target, json!({ "devices": devices, "auth": password_auth("ada", PASSWORD) })).ok();
    assert_eq!([&ada, &second, &third, &bob].map(|user| is_known(&host, &user.token)), [true, false, false, true]);
    host.post(&ada, target, json!({})).refused(400, "M_BAD_JSON");
}

#[test]
fn a_deleted_device_takes_its_transactions_and_pushers_along() {
    let host = Host::new();
    let ada = host.register("ada");
    let other = host.log_in(&ada);
    let mut batch = Batch::new();
    for device in [&ada.device, &other.device] {
        batch.put(Key::new(Table::Transactions).text(&ada.id).text(device).text("send").text("t1"), *b"{}");
    }
    host.block_on(host.store.commit(batch)).unwrap();
    for (user, key) in [(&ada, "one"), (&other, "two")] {
        host.post(user, "/_matrix/client/v3/pushers/set", pusher(key)).ok();
    }
    host.post(&other, "/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!((rows(&host, Table::Transactions), rows(&host, Table::Pushers)), (1, 1));
    assert_eq!(host.get(&ada, "/_matrix/client/v3/pushers").ok().body["pushers"][0]["pushkey"], "one");
}

/// What a device sent before it was deleted says nothing about one that is made by the same name.
#[test]
fn a_new_device_of_an_old_name_begins_anew() {
    let host = Host::new();
    let ada = host.register("ada");
    let room = host.create_room(&ada, json!({}));
    let log_in = || {
        let mut body = login("ada", PASSWORD);
        body["device_id"] = "PHONE".into();
        let token = post(&host, LOGIN, body).ok().text("access_token");
        User { token, device: "PHONE".into(), ..ada.clone() }
    };
    let send = |user: &User| host.send_as(user, &room, "m.room.message", "t", json!({ "body": "x" })).ok().text("event_id");
    let phone = log_in();
    let first = send(&phone);
    assert_eq!(send(&phone), first);
    let sent = rows(&host, Table::Transactions);
    host.post(&phone, "/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!((sent, rows(&host, Table::Transactions)), (1, 0));
    assert_ne!(send(&log_in()), first);
    host.post(&ada, "/_matrix/client/v3/account/deactivate", json!({ "auth": password_auth("ada", PASSWORD) })).ok();
    assert_eq!(rows(&host, Table::Transactions), 0);
}

fn pusher(pushkey: &str) -> Value {
    json!({
        "app_display_name": "App", "app_id": "org.example.app", "device_display_name": "Phone", "kind": "http", "lang": "en",
        "pushkey": pushkey, "data": { "url": "https://push.example.org/_matrix/push/v1/notify" },
    })
}

#[test]
fn pushers_are_kept_replaced_and_removed() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let set = "/_matrix/client/v3/pushers/set";
    let list = |user: &User| host.get(user, "/_matrix/client/v3/pushers").ok().body["pushers"].clone();
    assert_eq!(list(&ada), json!([]));
    host.post(&ada, set, pusher("k")).ok();
    assert_eq!(list(&ada), json!([pusher("k")]));
    let mut beside = pusher("k");
    beside["append"] = true.into();
    host.post(&bob, set, beside).ok();
    assert_eq!((list(&ada), list(&bob)), (json!([pusher("k")]), json!([pusher("k")])));
    host.post(&bob, set, pusher("k")).ok();
    assert_eq!(list(&ada), json!([]));
    host.post(&bob, set, json!({ "app_id": "org.example.app", "pushkey": "k", "kind": null })).ok();
    assert_eq!(list(&bob), json!([]));
    for (field, value, code) in [
        ("lang", None, "M_MISSING_PARAM"),
        ("data", None, "M_MISSING_PARAM"),
        ("kind", None, "M_MISSING_PARAM"),
        ("kind", Some(json!("email")), "M_INVALID_PARAM"),
        ("app_id", Some("a".repeat(65).into()), "M_INVALID_PARAM"),
        ("pushkey", Some("a".repeat(513).into()), "M_INVALID_PARAM"),
        ("data", Some(json!({ "url": "http://push.example.org/_matrix/push/v1/notify" })), "M_INVALID_PARAM"),
        ("pushkey", Some(7.into()), "M_BAD_JSON"),
    ] {
        let mut body = pusher("k");
        match value {
            Some(value) => body[field] = value,
            None => drop(body.as_object_mut().unwrap().remove(field)),
        }
        host.post(&ada, set, body).refused(400, code);
    }
}

#[test]
fn when_a_device_was_seen_is_noted_every_few_minutes() {
    let mut host = Host::new();
    let ada = host.register("ada");
    let seen = |host: &Host| host.get(&ada, "/_matrix/client/v3/devices").ok().body["devices"][0]["last_seen_ts"].as_u64().unwrap();
    let first = seen(&host);
    host.advance(9 * 60 * 1000);
    assert_eq!(seen(&host), first);
    host.advance(60 * 1000);
    assert_eq!(seen(&host), first + 10 * 60 * 1000);
    host.restart();
    assert_eq!(seen(&host), first + 10 * 60 * 1000);
}
