//! Cases of push notifications: rules and pushers.

use inglenook::http::{
    Method,
    Method::{Post, Put},
};
use serde_json::{Value, json};

use super::case::{Case, delete, get, post, put};

fn pusher() -> Value {
    json!({
        "kind": "http", "app_id": "org.example.app", "pushkey": "key", "app_display_name": "App", "device_display_name": "Phone", "lang": "en",
        "data": { "url": "https://push.example.org/_matrix/push/v1/notify" },
    })
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let rule = "/pushrules/global/content/tea";
    let tea = json!({ "actions": ["notify"], "pattern": "tea" });
    let mut without_kind = pusher();
    without_kind.as_object_mut().unwrap().remove("kind");
    vec![
        get("alice", "/pushrules/", "getPushRules", "the rules").includes("/global/override", json!({ "rule_id": ".m.rule.master", "enabled": false, "default": true })),
        get("alice", "/pushrules/global/", "getPushRulesGlobal", "the rules").includes("/underride", json!({ "rule_id": ".m.rule.message" })),
        get("alice", "/pushrules/global/override/.m.rule.master", "getPushRule", "one rule").at("/rule_id", ".m.rule.master"),
        get("alice", "/pushrules/global/override/none", "getPushRule", "an unknown rule").refused(404, "M_NOT_FOUND"),
        put("alice", rule, "setPushRule", "a new rule", tea.clone()).counts("", 0),
        put("alice", rule, "setPushRule", "without actions", json!({ "pattern": "tea" })).refused(400, "M_BAD_JSON"),
        put("alice", rule, "setPushRule", "without a pattern", json!({ "actions": [] })).refused(400, "M_MISSING_PARAM"),
        put("alice", "/pushrules/global/content/.tea", "setPushRule", "with an ID of the server's", tea.clone()).refused(400, "M_INVALID_PARAM"),
        put("alice", "/pushrules/global/content/coffee?after=none", "setPushRule", "after an unknown rule", tea.clone()).refused(400, "M_UNKNOWN"),
        put("alice", "/pushrules/global/override/tea", "setPushRule", "with conditions", json!({ "actions": ["notify", { "set_tweak": "highlight" }], "conditions": [{ "kind": "event_match", "key": "type", "pattern": "m.room.*" }] })).counts("", 0),
        get("alice", rule, "getPushRule", "a rule of one's own").after("alice", Put, rule, tea.clone()).at("/pattern", "tea").at("/enabled", true).at("/default", false),
        delete("alice", rule, "deletePushRule", "a rule").after("alice", Put, rule, tea.clone()).counts("", 0),
        delete("alice", rule, "deletePushRule", "an unknown rule").refused(404, "M_NOT_FOUND"),
        get("alice", rule, "getPushRule", "after it was deleted").after("alice", Put, rule, tea.clone()).after("alice", Method::Delete, rule, json!({})).refused(404, "M_NOT_FOUND"),
        get("alice", "/pushrules/global/override/.m.rule.master/enabled", "isPushRuleEnabled", "a rule that is not").at("/enabled", false),
        get("alice", "/pushrules/global/override/none/enabled", "isPushRuleEnabled", "an unknown rule").refused(404, "M_NOT_FOUND"),
        put("alice", "/pushrules/global/override/.m.rule.master/enabled", "setPushRuleEnabled", "a rule", json!({ "enabled": true })).counts("", 0),
        put("alice", "/pushrules/global/override/none/enabled", "setPushRuleEnabled", "an unknown rule", json!({ "enabled": true })).refused(404, "M_NOT_FOUND"),
        put("alice", "/pushrules/global/override/.m.rule.master/enabled", "setPushRuleEnabled", "wrong types", json!({ "enabled": "yes" })).refused(400, "M_BAD_JSON"),
        get("alice", "/pushrules/global/override/.m.rule.master/enabled", "isPushRuleEnabled", "after a change").after("alice", Put, "/pushrules/global/override/.m.rule.master/enabled", json!({ "enabled": true })).at("/enabled", true),
        get("alice", "/pushrules/global/underride/.m.rule.message/actions", "getPushRuleActions", "what a rule does").at("/actions/0", "notify"),
        get("alice", "/pushrules/global/underride/none/actions", "getPushRuleActions", "an unknown rule").refused(404, "M_NOT_FOUND"),
        put("alice", "/pushrules/global/underride/.m.rule.message/actions", "setPushRuleActions", "what a rule does", json!({ "actions": [] })).counts("", 0),
        put("alice", "/pushrules/global/underride/none/actions", "setPushRuleActions", "an unknown rule", json!({ "actions": [] })).refused(404, "M_NOT_FOUND"),
        get("alice", "/pushers", "getPushers", "none").counts("/pushers", 0),
        get("alice", "/pushers", "getPushers", "one").after("alice", Post, "/pushers/set", pusher()).counts("/pushers", 1).at("/pushers/0/pushkey", "key").at("/pushers/0/data/url", "https://push.example.org/_matrix/push/v1/notify"),
        get("alice", "/pushers", "getPushers", "after it was removed").after("alice", Post, "/pushers/set", pusher()).after("alice", Post, "/pushers/set", json!({ "kind": null, "app_id": "org.example.app", "pushkey": "key" })).counts("/pushers", 0),
        post("alice", "/pushers/set", "postPusher", "a pusher", pusher()).counts("", 0),
        post("alice", "/pushers/set", "postPusher", "without a kind", without_kind).refused(400, "M_MISSING_PARAM"),
    ]
}
