use ruma::user_id;
use serde_json::json;

use super::{super::rules, *};

const QUIET: Actions = Actions { notify: false, highlight: false };
const NOTIFY: Actions = Actions { notify: true, highlight: false };
const HIGHLIGHT: Actions = Actions { notify: true, highlight: true };

fn event(kind: &str, content: Value) -> Value {
    json!({ "type": kind, "sender": "@bob:example.org", "room_id": "!room:example.org", "event_id": "$e", "content": content })
}

fn text(body: &str) -> Value {
    event("m.room.message", json!({ "msgtype": "m.text", "body": body }))
}

fn with(mut event: Value, key: &str, value: Value) -> Value {
    event[key] = value;
    event
}

fn evaluate_in(rules: &Value, event: &Value, member_count: u64, bobs_level: i64) -> Actions {
    let power_levels = PowerLevels::of_content(json!({ "users": { "@bob:example.org": bobs_level } }));
    let context = PushContext {
        user_id: user_id!("@ada:example.org"),
        display_name: Some("Ada Lovelace"),
        member_count,
        power_levels: &power_levels,
    };
    evaluate(rules, event, &context)
}

fn by_predefined(event: &Value) -> Actions {
    evaluate_in(&rules::predefined(user_id!("@ada:example.org")), event, 3, 0)
}

/// Whether one rule of that kind notifies of an event.
fn fires(kind: &str, mut rule: Value, event: &Value) -> bool {
    rule["enabled"] = true.into();
    rule["actions"] = json!(["notify"]);
    evaluate_in(&json!({ "global": { kind: [rule] } }), event, 3, 0).notify
}

fn condition_holds(condition: Value, event: &Value) -> bool {
    fires("override", json!({ "rule_id": "r", "conditions": [condition] }), event)
}

#[test]
fn the_predefined_rules_do_what_they_say() {
    let member = |membership: &str, user: &str| with(event("m.room.member", json!({ "membership": membership })), "state_key", user.into());
    let mention = |mentions: Value| event("m.room.message", json!({ "msgtype": "m.text", "body": "x", "m.mentions": mentions }));
    for (event, expected) in [
        (text("hello"), NOTIFY),
        (event("m.room.encrypted", json!({})), NOTIFY),
        (event("m.call.invite", json!({})), NOTIFY),
        (event("m.room.message", json!({ "msgtype": "m.notice", "body": "x" })), QUIET),
        (member("invite", "@ada:example.org"), NOTIFY),
        (member("invite", "@eve:example.org"), QUIET),
        (member("join", "@ada:example.org"), QUIET),
        (mention(json!({ "user_ids": ["@ada:example.org"] })), HIGHLIGHT),
        (mention(json!({ "user_ids": ["@eve:example.org"] })), NOTIFY),
        (mention(json!({ "room": true })), NOTIFY),
        (with(event("m.room.tombstone", json!({})), "state_key", "".into()), HIGHLIGHT),
        (event("m.room.tombstone", json!({})), QUIET),
        (event("m.reaction", json!({})), QUIET),
        (with(event("m.room.server_acl", json!({})), "state_key", "".into()), QUIET),
        (event("m.room.message", json!({ "msgtype": "m.text", "m.relates_to": { "rel_type": "m.replace" } })), QUIET),
        (event("org.example.other", json!({})), QUIET),
    ] {
        assert_eq!(by_predefined(&event), expected, "{event}");
    }
}

#[test]
fn a_room_mention_needs_power() {
    let rules = rules::predefined(user_id!("@ada:example.org"));
    let event = event("m.room.message", json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "room": true } }));
    assert_eq!(evaluate_in(&rules, &event, 3, 49), NOTIFY);
    assert_eq!(evaluate_in(&rules, &event, 3, 50), HIGHLIGHT);
}

#[test]
fn the_master_rule_silences_all() {
    let mut rules = rules::predefined(user_id!("@ada:example.org"));
    rules["global"]["override"][0]["enabled"] = true.into();
    let event = event("m.room.message", json!({ "m.mentions": { "user_ids": ["@ada:example.org"] } }));
    assert_eq!(evaluate_in(&rules, &event, 3, 0), QUIET);
}

#[test]
fn ones_own_events_never_notify() {
    assert_eq!(by_predefined(&with(text("x"), "sender", "@ada:example.org".into())), QUIET);
}

#[test]
fn kinds_come_in_their_order_and_the_first_match_decides() {
    let rule = |id: &str, actions: Value| json!({ "rule_id": id, "enabled": true, "pattern": "tea", "actions": actions });
    let mut rules = json!({ "global": {
        "underride": [rule("u", json!(["notify"]))],
        "sender": [rule("@bob:example.org", json!([]))],
        "room": [rule("!room:example.org", json!(["notify", { "set_tweak": "highlight" }]))],
        "content": [rule("c", json!(["dont_notify"])), rule("d", json!(["notify"]))],
    } });
    assert_eq!(evaluate_in(&rules, &text("tea?"), 3, 0), QUIET);
    rules["global"]["content"][0]["enabled"] = false.into();
    assert_eq!(evaluate_in(&rules, &text("tea?"), 3, 0), NOTIFY);
    rules["global"]["content"] = json!([]);
    assert_eq!(evaluate_in(&rules, &text("tea?"), 3, 0), HIGHLIGHT);
    rules["global"]["room"] = json!([]);
    assert_eq!(evaluate_in(&rules, &text("tea?"), 3, 0), QUIET);
    rules["global"]["sender"] = json!([]);
    assert_eq!(evaluate_in(&rules, &text("tea?"), 3, 0), NOTIFY);
}

#[test]
fn an_event_match_needs_a_string_as_a_whole_except_in_a_body() {
    let topic = |topic: Value| event("m.room.topic", json!({ "topic": topic, "body": "my lunch box", "a.b": { "c\\d": "x" } }));
    let matching = |key: &str, pattern: &str| json!({ "kind": "event_match", "key": key, "pattern": pattern });
    let lunch = topic("Lunch plans".into());
    assert!(condition_holds(matching("content.topic", "lunc?*"), &lunch));
    assert!(!condition_holds(matching("content.topic", "lunch"), &lunch));
    assert!(condition_holds(matching("content.body", "lunch"), &lunch));
    assert!(condition_holds(matching("content.a\\.b.c\\\\d", "x"), &lunch));
    assert!(!condition_holds(matching("content.a.b", "*"), &lunch));
    for absent in [topic(Value::Null), topic(7.into()), text("x")] {
        assert!(!condition_holds(matching("content.topic", "*"), &absent), "{absent}");
    }
}

#[test]
fn properties_are_compared_without_casting() {
    let event = event("m.room.create", json!({ "m.federate": true, "n": 1, "f": 1.5, "nothing": null, "all": [1, "a", ["b"], null] }));
    let is = |key: &str, value: Value| condition_holds(json!({ "kind": "event_property_is", "key": key, "value": value }), &event);
    assert!(is("content.m\\.federate", true.into()));
    assert!(!is("content.m\\.federate", "true".into()));
    assert!(!is("content.m\\.federate", 1.into()));
    assert!(is("content.n", 1.into()));
    assert!(!is("content.f", 1.5.into()));
    assert!(is("content.nothing", Value::Null));
    assert!(!is("content.absent", Value::Null));
    assert!(!is("content.all", json!([1, "a", ["b"], null])));
    let contains =
        |key: &str, value: Value| condition_holds(json!({ "kind": "event_property_contains", "key": key, "value": value }), &event);
    assert!(contains("content.all", "a".into()));
    assert!(contains("content.all", Value::Null));
    assert!(!contains("content.all", "b".into()));
    assert!(!contains("content.all", json!(["b"])));
    assert!(!contains("content.n", 1.into()));
}

#[test]
fn members_are_counted() {
    for (is, expected) in
        [("3", true), ("==3", true), ("2", false), ("<3", false), ("<=3", true), (">2", true), (">=4", false), ("~3", false), ("", false)]
    {
        assert_eq!(condition_holds(json!({ "kind": "room_member_count", "is": is }), &text("x")), expected, "{is:?}");
    }
}

#[test]
fn a_display_name_counts_as_words() {
    let condition = json!({ "kind": "contains_display_name" });
    assert!(condition_holds(condition.clone(), &text("ask ada lovelace!")));
    assert!(!condition_holds(condition.clone(), &text("ask ada lovelaces")));
    assert!(!condition_holds(condition, &text("ask ada")));
}

#[test]
fn an_unknown_or_incomplete_condition_never_holds() {
    assert!(fires("override", json!({ "rule_id": "r" }), &text("x")));
    assert!(fires("underride", json!({ "rule_id": "r", "conditions": [] }), &text("x")));
    for condition in [json!({ "kind": "org.example.new" }), json!({ "kind": "event_match", "key": "type" }), json!(7)] {
        assert!(!condition_holds(condition.clone(), &text("x")), "{condition}");
    }
}

#[test]
fn a_highlight_is_set_unless_it_says_no() {
    for (tweak, expected) in [
        (json!({ "set_tweak": "highlight" }), true),
        (json!({ "set_tweak": "highlight", "value": true }), true),
        (json!({ "set_tweak": "highlight", "value": false }), false),
        (json!({ "set_tweak": "sound", "value": "default" }), false),
    ] {
        let rules = json!({ "global": { "override": [{ "rule_id": "r", "enabled": true, "actions": ["notify", tweak] }] } });
        assert_eq!(evaluate_in(&rules, &text("x"), 3, 0).highlight, expected, "{rules}");
    }
}
