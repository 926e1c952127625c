//! What the server says of itself, and what is not configured here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::{
    Config,
    config::RateLimits,
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};

use self::support::{Answer, CrossSigner, Host, PASSWORD, User, request};

fn get(host: &Host, target: &str) -> Answer {
    host.request(Method::Get, target, None, None)
}

#[test]
fn the_versions_of_the_specification_are_listed() {
    let host = Host::new();
    let body = get(&host, "/_matrix/client/versions").ok().body;
    let versions: Vec<_> = (1..=19).map(|minor| format!("v1.{minor}")).collect();
    assert_eq!(body, json!({ "versions": versions, "unstable_features": {} }));
}

#[test]
fn the_server_says_where_it_is() {
    let host = Host::new();
    get(&host, "/.well-known/matrix/client").refused(404, "M_NOT_FOUND");
    let mut asked = request(Method::Get, "/.well-known/matrix/client", None, None);
    asked.headers.insert("host".into(), "chat.example.org".into());
    let answer = host.send_request(asked.clone()).answer().unwrap().ok();
    assert_eq!(answer.body, json!({ "m.homeserver": { "base_url": "https://chat.example.org" } }));
    let host = Host::with(Config { base_url: Some("https://example.org/matrix".into()), ..Config::default() });
    let answer = host.send_request(asked).answer().unwrap().ok();
    assert_eq!(answer.body, json!({ "m.homeserver": { "base_url": "https://example.org/matrix" } }));
}

#[test]
fn what_is_not_there_is_said_not_to_be() {
    let host = Host::new();
    let ada = host.register("ada");
    get(&host, "/.well-known/matrix/support").refused(404, "M_NOT_FOUND");
    get(&host, "/_matrix/client/v1/auth_metadata").refused(404, "M_UNRECOGNIZED");
    host.get(&ada, "/_matrix/client/v3/voip/turnServer").refused(404, "M_NOT_FOUND");
    assert_eq!(host.get(&ada, "/_matrix/client/v3/thirdparty/protocols").ok().body, json!({}));
    for path in ["protocol/irc", "location/irc", "user/irc", "location?alias=%23a%3Ab", "user?userid=%40a%3Ab"] {
        host.get(&ada, &format!("/_matrix/client/v3/thirdparty/{path}")).refused(404, "M_NOT_FOUND");
    }
    for path in ["location", "user"] {
        host.get(&ada, &format!("/_matrix/client/v3/thirdparty/{path}")).refused(400, "M_MISSING_PARAM");
    }
}

#[test]
fn the_capabilities_are_told_to_users() {
    let host = Host::new();
    get(&host, "/_matrix/client/v3/capabilities").refused(401, "M_MISSING_TOKEN");
    let ada = host.register("ada");
    let body = host.get(&ada, "/_matrix/client/v3/capabilities").ok().body;
    let capabilities = &body["capabilities"];
    assert_eq!(capabilities["m.room_versions"]["default"], "12");
    assert_eq!(capabilities["m.room_versions"]["available"].as_object().unwrap().len(), 12);
    for (name, enabled) in [
        ("m.change_password", true),
        ("m.set_displayname", true),
        ("m.set_avatar_url", true),
        ("m.profile_fields", true),
        ("m.3pid_changes", false),
        ("m.get_login_token", false),
        ("m.forget_forced_upon_leave", false),
    ] {
        assert_eq!(capabilities[name], json!({ "enabled": enabled }), "{name}");
    }
}

#[test]
fn openid_tokens_are_given_to_their_own_user() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let target = "/_matrix/client/v3/user/%40ada%3Aexample.org/openid/request_token";
    let answer = host.post(&ada, target, json!({})).ok();
    assert_eq!((&answer.body["token_type"], &answer.body["matrix_server_name"]), (&json!("Bearer"), &json!("example.org")));
    assert!(answer.body["expires_in"].is_u64());
    host.request(Method::Get, "/_matrix/client/v3/account/whoami", Some(&answer.text("access_token")), None)
        .refused(401, "M_UNKNOWN_TOKEN");
    host.post(&bob, target, json!({})).refused(403, "M_FORBIDDEN");
    host.post(&ada, target, json!([])).refused(400, "M_BAD_JSON");
}

#[test]
fn nobody_is_an_administrator_and_all_may_look_at_themselves() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let target = "/_matrix/client/v3/admin/whois/%40ada%3Aexample.org";
    let body = host.get(&ada, target).ok().body;
    assert_eq!(body["user_id"], "@ada:example.org");
    assert!(body["devices"][&ada.device]["sessions"][0]["connections"][0]["last_seen"].is_u64());
    host.get(&bob, target).refused(403, "M_FORBIDDEN");
    for action in ["lock", "suspend"] {
        let target = format!("/_matrix/client/v1/admin/{action}/%40ada%3Aexample.org");
        host.get(&bob, &target).refused(403, "M_FORBIDDEN");
        host.put(&bob, &target, json!({ "locked": true, "suspended": true })).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn reports_of_users_are_kept() {
    let host = Host::new();
    let (ada, _bob) = (host.register("ada"), host.register("bob"));
    let report = |user: &str, body: Value| host.post(&ada, &format!("/_matrix/client/v3/users/{user}/report"), body);
    report("@bob:example.org", json!({ "reason": "rude" })).ok();
    report("@nobody:example.org", json!({ "reason": "" })).refused(404, "M_NOT_FOUND");
    report("@bob:example.org", json!({})).refused(400, "M_BAD_JSON");
    host.post(&ada, "/_matrix/client/v3/rooms/%21none%3Aexample.org/report", json!({ "reason": "" })).refused(404, "M_NOT_FOUND");
    host.post(&ada, "/_matrix/client/v3/rooms/%21none%3Aexample.org/report/%24e", json!({})).refused(404, "M_NOT_FOUND");
    let kept = host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::Reports)))).unwrap();
    let kept: Vec<Value> = kept.iter().map(|row| serde_json::from_slice(&row.value).unwrap()).collect();
    assert_eq!(kept, [json!({ "reporter": "@ada:example.org", "user_id": "@bob:example.org", "reason": "rude" })]);
}

fn search(host: &Host, user: &User, body: Value) -> Value {
    host.post(user, "/_matrix/client/v3/user_directory/search", body).ok().body
}

#[test]
fn local_users_are_found_by_name() {
    let host = Host::new();
    let ada = host.register("ada");
    for (name, display_name) in [("bob", "Robert Ada"), ("adam", ""), ("eve", "Madam Eve"), ("zoe", "Zoë")] {
        let user = host.register(name);
        let target = format!("/_matrix/client/v3/profile/@{name}:example.org/displayname");
        host.put(&user, &target, json!({ "displayname": display_name })).ok();
    }
    let found = search(&host, &ada, json!({ "search_term": "aDA" }));
    assert_eq!(
        found,
        json!({ "limited": false, "results": [
            { "user_id": "@adam:example.org" },
            { "user_id": "@bob:example.org", "display_name": "Robert Ada" },
            { "user_id": "@eve:example.org", "display_name": "Madam Eve" },
        ] })
    );
    let found = search(&host, &ada, json!({ "search_term": "ada", "limit": 1 }));
    assert_eq!((found["results"].as_array().unwrap().len(), &found["limited"]), (1, &json!(true)));
    assert_eq!(search(&host, &ada, json!({ "search_term": "@zoe:example.org" }))["results"][0]["display_name"], "Zoë");
    assert_eq!(search(&host, &ada, json!({ "search_term": "" })), json!({ "limited": false, "results": [] }));
    host.post(&ada, "/_matrix/client/v3/user_directory/search", json!({})).refused(400, "M_BAD_JSON");
}

#[test]
fn deactivated_users_are_not_found() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let auth = json!({ "type": "m.login.password", "user": "bob", "password": PASSWORD });
    host.post(&bob, "/_matrix/client/v3/account/deactivate", json!({ "auth": auth })).ok();
    assert_eq!(search(&host, &ada, json!({ "search_term": "bob" }))["results"], json!([]));
}

#[test]
fn a_server_that_cannot_read_what_it_keeps_is_not_healthy() {
    let host = Host::new();
    host.store.set_unreadable(true);
    get(&host, "/_inglenook/health").refused(500, "M_UNKNOWN");
    host.store.set_unreadable(false);
    assert_eq!(get(&host, "/_inglenook/health").ok().body, json!({ "ok": true }));
}

#[test]
fn the_server_shows_what_it_holds_and_does() {
    let host = Host::new();
    assert_eq!(get(&host, "/_inglenook/health").ok().body, json!({ "ok": true }));
    get(&host, "/_inglenook/status").refused(401, "M_MISSING_TOKEN");
    let ada = host.register("ada");
    host.put(&ada, "/_matrix/client/v3/user/@ada:example.org/account_data/org.example", json!({})).ok();
    let status = host.get(&ada, "/_inglenook/status").ok().body;
    assert_eq!((&status["server_name"], &status["users"], &status["rooms"]), (&json!("example.org"), &json!(1), &json!(0)));
    assert!(status["tables"].as_array().unwrap().iter().any(|table| table["name"] == "accounts" && table["rows"] == 1));
    let measured = host.get(&ada, "/_inglenook/status?bytes=true").ok().body;
    let has_bytes = |status: &Value| status["tables"].as_array().unwrap().iter().all(|table| table.get("bytes").is_some());
    assert!(has_bytes(&measured) && !has_bytes(&status), "they cost reading everything");
    let log = host.get(&ada, "/_inglenook/log?from=1&limit=10").ok().body;
    assert_eq!(log["end"], status["log_position"]);
    let last = host.get(&ada, "/_inglenook/log?limit=1").ok().body;
    assert_eq!((last["entries"].as_array().unwrap().len(), &last["entries"][0]["position"]), (1, &log["end"]), "without a place, the last");
    assert_eq!(
        log["entries"],
        json!([
            { "position": 1, "kind": "devices", "user_id": "@ada:example.org", "device_id": ada.device },
            { "position": 2, "kind": "account_data", "user_id": "@ada:example.org" },
            { "position": 3, "kind": "account_data", "user_id": "@ada:example.org" },
        ])
    );
    assert_eq!(host.get(&ada, "/_inglenook/log?from=2&limit=1").ok().body["entries"][0]["position"], 2);
    host.get(&ada, "/_inglenook/log?from=x").refused(400, "M_INVALID_PARAM");
    let requests = host.get(&ada, "/_inglenook/requests").ok().body;
    assert_eq!((&requests["requests"][0]["path"], &requests["requests"][0]["status"]), (&json!("/_inglenook/log"), &json!(400)));
}

fn limited() -> Host {
    let rate_limits = RateLimits { burst: 3, per_second: 1, sign_ins: 2, sign_ins_per_minute: 2 };
    Host::with(Config { server_name: Some("example.org".into()), rate_limits: Some(rate_limits), ..Config::default() })
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let host = limited();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let whoami = |user: &User| host.get(user, "/_matrix/client/v3/account/whoami");
    for _ in 0..3 {
        whoami(&ada).ok();
    }
    let refused = whoami(&ada);
    refused.refused(429, "M_LIMIT_EXCEEDED");
    assert_eq!((&refused.body["retry_after_ms"], refused.headers["retry-after"].as_str()), (&json!(1000), "1"));
    whoami(&bob).ok();
    host.put(&ada, "/_matrix/client/v3/user/@ada:example.org/account_data/org.example", json!({})).ok();
    host.advance(1000);
    whoami(&ada).ok();
    whoami(&ada).refused(429, "M_LIMIT_EXCEEDED");
}

#[test]
fn passwords_cannot_be_tried_at_will() {
    let host = limited();
    let ada = host.register("ada");
    let log_in = |name: &str| {
        let body = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": "wrong" });
        host.request(Method::Post, "/_matrix/client/v3/login", None, Some(body))
    };
    host.advance(60_000);
    log_in("ada").refused(403, "M_FORBIDDEN");
    log_in("@ADA:example.org").refused(403, "M_FORBIDDEN");
    log_in("ada").refused(429, "M_LIMIT_EXCEEDED");
    log_in("bob").refused(403, "M_FORBIDDEN");
    let change = || host.post(&ada, "/_matrix/client/v3/account/password", json!({ "new_password": "x" })).status;
    assert_eq!(change(), 429);
    host.advance(60_000);
    assert_eq!([change(), change(), change()], [401, 401, 429]);
}

/// Whatever asks for the password may be used to guess it.
#[test]
fn passwords_cannot_be_tried_at_will_by_whatever_asks_for_them() {
    let requests = [
        (Method::Post, "/_matrix/client/v3/account/password", json!({ "new_password": "x" })),
        (Method::Post, "/_matrix/client/v3/account/deactivate", json!({})),
        (Method::Post, "/_matrix/client/v3/account/3pid/add", json!({ "client_secret": "s", "sid": "1" })),
        (Method::Post, "/_matrix/client/v3/keys/device_signing/upload", json!({})),
        (Method::Post, "/_matrix/client/v3/delete_devices", json!({ "devices": ["A"] })),
        (Method::Delete, "/_matrix/client/v3/devices/A", json!({})),
    ];
    for (method, target, mut body) in requests {
        let host = limited();
        let ada = host.register("ada");
        if target.ends_with("device_signing/upload") {
            host.post(&ada, target, CrossSigner::new(&ada.id, 10).upload()).ok();
            body = CrossSigner::new(&ada.id, 20).upload();
        }
        host.advance(60_000);
        body["auth"] = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": ada.id }, "password": "wrong" });
        let guess = || host.request(method, target, Some(&ada.token), Some(body.clone())).status;
        assert_eq!([guess(), guess(), guess()], [401, 401, 429], "{target}");
    }
}

#[test]
fn without_limits_nobody_is_slowed_down() {
    let host = Host::new();
    let ada = host.register("ada");
    for _ in 0..500 {
        host.get(&ada, "/_matrix/client/v3/account/whoami").ok();
    }
}
