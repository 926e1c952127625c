//! What users keep and say about themselves: profiles, account data, tags, filters and push rules.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use futures_util::future::join;
use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};

use self::support::{Answer, Host, User, encode, request};

fn rows(host: &Host, table: Table) -> usize {
    host.block_on(host.database().scan(&Scan::prefix(Key::new(table)))).unwrap().len()
}

fn user_path(user: &User, below: &str) -> String {
    format!("/_matrix/client/v3/user/{}/{below}", encode(&user.id))
}

fn profile_path(user: &User, field: &str) -> String {
    format!("/_matrix/client/v3/profile/{}/{}", encode(&user.id), encode(field))
}

fn profile(host: &Host, user: &User) -> Answer {
    host.request(Method::Get, &format!("/_matrix/client/v3/profile/{}", encode(&user.id)), None, None)
}

fn set_field(host: &Host, user: &User, field: &str, value: Value) -> Answer {
    host.put(user, &profile_path(user, field), json!({ field: value }))
}

#[test]
fn profile_fields_are_set_read_and_deleted() {
    let mut host = Host::new();
    let ada = host.register("ada");
    assert_eq!(profile(&host, &ada).ok().body, json!({}));
    let fields = json!({
        "displayname": "Ada", "avatar_url": "mxc://example.org/a", "m.tz": "Europe/London",
        "org.example.pronouns": [{ "summary": "she" }], "org.example.nothing": null,
    });
    for (field, value) in fields.as_object().unwrap() {
        set_field(&host, &ada, field, value.clone()).ok();
    }
    host.restart();
    assert_eq!(profile(&host, &ada).ok().body, fields);
    let one = host.request(Method::Get, &profile_path(&ada, "displayname"), None, None).ok();
    assert_eq!(one.body, json!({ "displayname": "Ada" }));
    host.delete(&ada, &profile_path(&ada, "displayname"), None).ok();
    host.delete(&ada, &profile_path(&ada, "displayname"), None).ok();
    host.request(Method::Get, &profile_path(&ada, "displayname"), None, None).refused(404, "M_NOT_FOUND");
    set_field(&host, &ada, "avatar_url", "".into()).ok();
    assert!(profile(&host, &ada).ok().body.get("avatar_url").is_none());
}

#[test]
fn profiles_have_limits() {
    let host = Host::new();
    let ada = host.register("ada");
    for (field, value, code) in [
        ("displayname", json!(7), "M_BAD_JSON"),
        ("displayname", json!(null), "M_BAD_JSON"),
        ("displayname", json!("a".repeat(1025)), "M_INVALID_PARAM"),
        ("avatar_url", json!("https://example.org/a.png"), "M_INVALID_PARAM"),
        ("m.tz", json!({}), "M_BAD_JSON"),
        ("Upper", json!(1), "M_INVALID_PARAM"),
        ("9lives", json!(1), "M_INVALID_PARAM"),
        ("with space", json!(1), "M_INVALID_PARAM"),
        (&"a".repeat(256), json!(1), "M_KEY_TOO_LARGE"),
        ("org.example.large", json!("a".repeat(64 * 1024)), "M_PROFILE_TOO_LARGE"),
    ] {
        set_field(&host, &ada, field, value).refused(400, code);
    }
    set_field(&host, &ada, &"a".repeat(255), json!(1)).ok();
    set_field(&host, &ada, "org.example.a", "a".repeat(40_000).into()).ok();
    set_field(&host, &ada, "org.example.b", "a".repeat(40_000).into()).refused(400, "M_PROFILE_TOO_LARGE");
    host.put(&ada, &profile_path(&ada, "displayname"), json!({ "other": "x" })).refused(400, "M_MISSING_PARAM");
    host.put(&ada, &profile_path(&ada, "displayname"), json!("x")).refused(400, "M_BAD_JSON");
    host.delete(&ada, &profile_path(&ada, "Upper"), None).refused(400, "M_INVALID_PARAM");
}

#[test]
fn ones_profile_is_ones_own_and_strangers_have_none() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    host.put(&bob, &profile_path(&ada, "displayname"), json!({ "displayname": "x" })).refused(403, "M_FORBIDDEN");
    host.delete(&bob, &profile_path(&ada, "displayname"), None).refused(403, "M_FORBIDDEN");
    let get = |user: &str| host.request(Method::Get, &format!("/_matrix/client/v3/profile/{user}"), None, None);
    get("@nobody:example.org").refused(404, "M_NOT_FOUND");
    get("@ada:elsewhere.org").refused(502, "M_UNREACHABLE");
    get("nonsense").refused(400, "M_INVALID_PARAM");
}

#[test]
fn two_changes_of_a_profile_at_once_are_both_kept() {
    let host = Host::new();
    let ada = host.register("ada");
    host.store.set_slow(true);
    let server = Rc::clone(&host.server());
    let set = |field: &str| {
        let target = profile_path(&ada, field);
        server.handle(request(Method::Put, &target, Some(&ada.token), Some(json!({ field: "x" }))))
    };
    host.block_on(join(set("org.example.a"), set("org.example.b")));
    assert_eq!(profile(&host, &ada).ok().body, json!({ "org.example.a": "x", "org.example.b": "x" }));
}

#[test]
fn account_data_is_kept_for_the_account_and_for_rooms() {
    let mut host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let global = user_path(&ada, "account_data/org.example.a");
    let of_room = user_path(&ada, "rooms/%21r%3Aexample.org/account_data/org.example.a");
    for target in [&global, &of_room] {
        host.get(&ada, target).refused(404, "M_NOT_FOUND");
    }
    host.put(&ada, &global, json!({ "n": 1 })).ok();
    host.put(&ada, &of_room, json!({ "n": 2 })).ok();
    host.restart();
    assert_eq!(host.get(&ada, &global).ok().body, json!({ "n": 1 }));
    assert_eq!(host.get(&ada, &of_room).ok().body, json!({ "n": 2 }));
    for target in [&global, &of_room] {
        host.get(&bob, target).refused(403, "M_FORBIDDEN");
        host.put(&bob, target, json!({})).refused(403, "M_FORBIDDEN");
        host.put(&ada, target, json!([])).refused(400, "M_BAD_JSON");
    }
    let bad_room = user_path(&ada, "rooms/nonsense/account_data/org.example.a");
    host.put(&ada, &bad_room, json!({})).refused(400, "M_INVALID_PARAM");
    host.get(&ada, &bad_room).refused(400, "M_INVALID_PARAM");
}

#[test]
fn what_the_server_keeps_itself_is_not_set_as_account_data() {
    let host = Host::new();
    let ada = host.register("ada");
    for kind in ["m.fully_read", "m.push_rules"] {
        host.put(&ada, &user_path(&ada, &format!("account_data/{kind}")), json!({})).refused(405, "M_BAD_JSON");
        host.put(&ada, &user_path(&ada, &format!("rooms/%21r%3Aexample.org/account_data/{kind}")), json!({})).refused(405, "M_BAD_JSON");
    }
    let rules = host.get(&ada, &user_path(&ada, "account_data/m.push_rules")).ok();
    assert_eq!(rules.body["global"]["override"][0]["rule_id"], ".m.rule.master");
}

#[test]
fn a_change_of_account_data_leaves_one_row_of_its_history() {
    let host = Host::new();
    let ada = host.register("ada");
    let before = rows(&host, Table::AccountDataLog);
    for n in 0..3 {
        host.put(&ada, &user_path(&ada, "account_data/org.example.a"), json!({ "n": n })).ok();
        host.put(&ada, &user_path(&ada, "account_data/org.example.b"), json!({ "n": n })).ok();
    }
    assert_eq!(rows(&host, Table::AccountDataLog), before + 2);
    let prefix = Key::new(Table::AccountDataLog).text(&ada.id);
    let newest = host.block_on(host.database().scan(&Scan::prefix(prefix).reversed().limited(1))).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&newest[0].value).unwrap(), json!({ "k": "org.example.b" }));
}

#[test]
fn rooms_are_tagged() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let tags = user_path(&ada, "rooms/%21r%3Aexample.org/tags");
    assert_eq!(host.get(&ada, &tags).ok().body, json!({ "tags": {} }));
    host.put(&ada, &format!("{tags}/m.favourite"), json!({ "order": 0.25 })).ok();
    host.put(&ada, &format!("{tags}/u.work"), json!({})).ok();
    host.put(&ada, &format!("{tags}/u.work"), json!({ "order": 1 })).ok();
    let expected = json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": { "order": 1 } } });
    assert_eq!(host.get(&ada, &tags).ok().body, expected);
    assert_eq!(host.get(&ada, &user_path(&ada, "rooms/%21r%3Aexample.org/account_data/m.tag")).ok().body, expected);
    host.delete(&ada, &format!("{tags}/u.work"), None).ok();
    host.delete(&ada, &format!("{tags}/u.work"), None).ok();
    assert_eq!(host.get(&ada, &tags).ok().body, json!({ "tags": { "m.favourite": { "order": 0.25 } } }));
    for body in [json!({ "order": 1.5 }), json!({ "order": -0.1 }), json!({ "order": "0.5" })] {
        host.put(&ada, &format!("{tags}/u.work"), body).refused(400, "M_INVALID_PARAM");
    }
    host.put(&ada, &format!("{tags}/{}", "a".repeat(256)), json!({})).refused(400, "M_INVALID_PARAM");
    host.put(&bob, &format!("{tags}/u.work"), json!({})).refused(403, "M_FORBIDDEN");
    host.get(&bob, &tags).refused(403, "M_FORBIDDEN");
    host.delete(&bob, &format!("{tags}/u.work"), None).refused(403, "M_FORBIDDEN");
}

#[test]
fn two_tags_at_once_are_both_kept() {
    let host = Host::new();
    let ada = host.register("ada");
    host.store.set_slow(true);
    let server = Rc::clone(&host.server());
    let set = |tag: &str| {
        let target = user_path(&ada, &format!("rooms/%21r%3Aexample.org/tags/{tag}"));
        server.handle(request(Method::Put, &target, Some(&ada.token), Some(json!({}))))
    };
    host.block_on(join(set("u.a"), set("u.b")));
    let tags = host.get(&ada, &user_path(&ada, "rooms/%21r%3Aexample.org/tags")).ok();
    assert_eq!(tags.body, json!({ "tags": { "u.a": {}, "u.b": {} } }));
}

#[test]
fn filters_are_defined_once_and_read_back() {
    let mut host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let filter = json!({ "room": { "timeline": { "limit": 5, "types": ["m.*"] } }, "org.example.unknown": 1 });
    let define = |host: &Host, filter: &Value| host.post(&ada, &user_path(&ada, "filter"), filter.clone()).ok().text("filter_id");
    let id = define(&host, &filter);
    assert!(!id.starts_with('{'));
    assert_eq!(define(&host, &filter), id);
    assert_ne!(define(&host, &json!({})), id);
    assert_eq!(rows(&host, Table::Filters), 2);
    host.restart();
    assert_eq!(host.get(&ada, &user_path(&ada, &format!("filter/{id}"))).ok().body, filter);
    host.get(&ada, &user_path(&ada, "filter/none")).refused(404, "M_NOT_FOUND");
    host.get(&bob, &user_path(&ada, &format!("filter/{id}"))).refused(403, "M_FORBIDDEN");
    host.get(&bob, &user_path(&bob, &format!("filter/{id}"))).refused(404, "M_NOT_FOUND");
    host.post(&bob, &user_path(&ada, "filter"), json!({})).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_filter_has_the_right_shape() {
    let host = Host::new();
    let ada = host.register("ada");
    for filter in [
        json!([]),
        json!({ "room": 7 }),
        json!({ "room": { "timeline": { "limit": "many" } } }),
        json!({ "room": { "timeline": { "limit": 0 } } }),
        json!({ "room": { "rooms": ["nonsense"] } }),
        json!({ "room": { "state": { "not_rooms": ["nonsense"] } } }),
        json!({ "presence": { "senders": ["nonsense"] } }),
        json!({ "account_data": { "types": "m.*" } }),
        json!({ "event_format": "other" }),
        json!({ "event_fields": "type" }),
    ] {
        host.post(&ada, &user_path(&ada, "filter"), filter).refused(400, "M_BAD_JSON");
    }
}

const RULES: &str = "/_matrix/client/v3/pushrules/";

fn rule_ids(host: &Host, user: &User, kind: &str) -> Vec<String> {
    let rules = host.get(user, &format!("{RULES}global/")).ok().body;
    rules[kind].as_array().unwrap().iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn everybody_begins_with_the_predefined_push_rules() {
    let host = Host::new();
    let ada = host.register("ada");
    let rules = host.get(&ada, RULES).ok().body;
    assert_eq!(rules["global"], host.get(&ada, &format!("{RULES}global/")).ok().body);
    let invite = host.get(&ada, &format!("{RULES}global/override/.m.rule.invite_for_me")).ok().body;
    assert_eq!(invite["conditions"][2], json!({ "kind": "event_match", "key": "state_key", "pattern": "@ada:example.org" }));
    let kinds: Vec<_> =
        rules["global"].as_object().unwrap().iter().map(|(kind, rules)| (kind.as_str(), rules.as_array().unwrap().len())).collect();
    assert_eq!(kinds, [("content", 0), ("override", 10), ("room", 0), ("sender", 0), ("underride", 5)]);
}

#[test]
fn push_rules_are_made_changed_moved_and_removed() {
    let mut host = Host::new();
    let ada = host.register("ada");
    let put = |host: &Host, id: &str, query: &str| {
        let body = json!({ "pattern": "cake", "actions": ["notify", "dont_notify", { "set_tweak": "sound", "value": "bing" }] });
        host.put(&ada, &format!("{RULES}global/content/{id}{query}"), body).ok()
    };
    put(&host, "a", "");
    put(&host, "b", "");
    put(&host, "c", "?after=a");
    put(&host, "d", "?before=a");
    host.restart();
    assert_eq!(rule_ids(&host, &ada, "content"), ["b", "d", "a", "c"]);
    let expected = json!({
        "rule_id": "a", "default": false, "enabled": true, "pattern": "cake",
        "actions": ["notify", { "set_tweak": "sound", "value": "bing" }],
    });
    assert_eq!(host.get(&ada, &format!("{RULES}global/content/a")).ok().body, expected);
    host.delete(&ada, &format!("{RULES}global/content/d"), None).ok();
    assert_eq!(rule_ids(&host, &ada, "content"), ["b", "a", "c"]);
    host.get(&ada, &format!("{RULES}global/content/d")).refused(404, "M_NOT_FOUND");
}

#[test]
fn push_rules_are_enabled_and_their_actions_set() {
    let host = Host::new();
    let ada = host.register("ada");
    let master = format!("{RULES}global/override/.m.rule.master");
    assert_eq!(host.get(&ada, &format!("{master}/enabled")).ok().body, json!({ "enabled": false }));
    host.put(&ada, &format!("{master}/enabled"), json!({ "enabled": true })).ok();
    assert_eq!(host.get(&ada, &format!("{master}/enabled")).ok().body, json!({ "enabled": true }));
    host.put(&ada, &format!("{master}/actions"), json!({ "actions": ["notify"] })).ok();
    assert_eq!(host.get(&ada, &format!("{master}/actions")).ok().body, json!({ "actions": ["notify"] }));
    for field in ["enabled", "actions"] {
        let missing = format!("{RULES}global/room/none/{field}");
        host.get(&ada, &missing).refused(404, "M_NOT_FOUND");
        host.put(&ada, &missing, json!({ "enabled": true, "actions": [] })).refused(404, "M_NOT_FOUND");
        host.put(&ada, &format!("{master}/{field}"), json!({})).refused(400, "M_BAD_JSON");
    }
}

#[test]
fn bad_push_rules_are_refused() {
    let host = Host::new();
    let ada = host.register("ada");
    let put = |target: &str, body: Value| host.put(&ada, &format!("{RULES}global/{target}"), body);
    let rule = || json!({ "actions": ["notify"] });
    put("override/.mine", rule()).refused(400, "M_INVALID_PARAM");
    put("override/a%2Fb", rule()).refused(400, "M_INVALID_PARAM");
    put("other/a", rule()).refused(400, "M_INVALID_PARAM");
    put("content/a", rule()).refused(400, "M_MISSING_PARAM");
    put("override/a", json!({})).refused(400, "M_BAD_JSON");
    put("override/a", json!({ "actions": ["shout"] })).refused(400, "M_BAD_JSON");
    put("override/a", json!({ "actions": [{ "value": 1 }] })).refused(400, "M_BAD_JSON");
    put("override/a", json!({ "actions": [], "conditions": [{ "key": "type" }] })).refused(400, "M_BAD_JSON");
    put("override/a?before=none", rule()).refused(400, "M_UNKNOWN");
    put("override/a?after=.m.rule.master", rule()).refused(400, "M_UNKNOWN");
    assert_eq!(rule_ids(&host, &ada, "override")[0..2], [".m.rule.master", ".m.rule.suppress_notices"]);
    host.delete(&ada, &format!("{RULES}global/override/.m.rule.master"), None).refused(400, "M_INVALID_PARAM");
    host.delete(&ada, &format!("{RULES}global/override/none"), None).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_changed_push_rule_is_told_as_account_data() {
    let host = Host::new();
    let ada = host.register("ada");
    host.put(&ada, &format!("{RULES}global/room/%21r%3Aexample.org"), json!({ "actions": [] })).ok();
    let content = host.get(&ada, &user_path(&ada, "account_data/m.push_rules")).ok().body;
    assert_eq!(content, host.get(&ada, RULES).ok().body);
    assert_eq!(content["global"]["room"][0]["rule_id"], "!r:example.org");
}
