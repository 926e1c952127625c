//! Registering, logging in and out, refreshing tokens, passwords and the end of an account.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

#[path = "accounts/devices.rs"]
mod devices;
#[path = "accounts/refresh.rs"]
mod refresh;

use std::rc::Rc;

use futures_util::future::join;
use inglenook::{
    Config,
    config::Registration,
    http::Method,
    ports::Store,
    storage::{Batch, Key, Scan, Table},
};
use serde_json::{Value, json};

use self::support::{Answer, Fault, Host, PASSWORD, User, encode, request, room_path};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const DUMMY: &str = "m.login.dummy";

fn post(host: &Host, target: &str, body: Value) -> Answer {
    host.request(Method::Post, target, None, Some(body))
}

fn new_account(username: &str) -> Value {
    json!({ "username": username, "password": PASSWORD, "auth": { "type": DUMMY } })
}

fn login(user: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": password })
}

fn password_auth(user: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": password })
}

fn is_known(host: &Host, token: &str) -> bool {
    host.request(Method::Get, WHOAMI, Some(token), None).status == 200
}

fn rows(host: &Host, table: Table) -> usize {
    host.block_on(host.database().scan(&Scan::prefix(Key::new(table)))).unwrap().len()
}

#[test]
fn registering_takes_two_requests_even_across_a_restart() {
    let mut host = Host::new();
    let mut body = json!({ "username": "ada", "password": PASSWORD });
    let challenge = post(&host, REGISTER, body.clone());
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.body["flows"], json!([{ "stages": [DUMMY] }]));
    assert_eq!(challenge.body.get("errcode"), None);
    host.restart();
    body["auth"] = json!({ "type": DUMMY, "session": challenge.text("session") });
    let answer = post(&host, REGISTER, body).ok();
    assert_eq!(answer.body["user_id"], "@ada:example.org");
    assert!(answer.body.get("refresh_token").is_none() && answer.body.get("expires_in_ms").is_none());
    let whoami = host.request(Method::Get, WHOAMI, Some(&answer.text("access_token")), None).ok();
    assert_eq!(whoami.body, json!({ "user_id": "@ada:example.org", "device_id": answer.body["device_id"], "is_guest": false }));
}

#[test]
fn an_empty_registration_is_asked_for_its_stages_first() {
    let host = Host::new();
    assert_eq!(post(&host, REGISTER, json!({})).status, 401);
    let unknown = post(&host, REGISTER, json!({ "auth": { "type": "m.login.recaptcha" } }));
    unknown.refused(401, "M_UNRECOGNIZED");
    assert_eq!(unknown.body["flows"], json!([{ "stages": [DUMMY] }]));
    post(&host, REGISTER, json!({ "auth": 7 })).refused(400, "M_BAD_JSON");
    post(&host, REGISTER, json!({ "auth": { "type": DUMMY } })).refused(400, "M_MISSING_PARAM");
    post(&host, REGISTER, json!({ "auth": { "type": DUMMY }, "password": "" })).refused(400, "M_WEAK_PASSWORD");
}

#[test]
fn user_names_keep_to_the_grammar() {
    let host = Host::new();
    let longest = "a".repeat(255 - "@:example.org".len());
    for (name, id) in
        [("Ada.Lovelace", "@ada.lovelace:example.org"), ("a_=-/+9", "@a_=-/+9:example.org"), (&longest, &format!("@{longest}:example.org"))]
    {
        assert_eq!(post(&host, REGISTER, new_account(name)).ok().body["user_id"], id);
    }
    for name in ["", "ada lovelace", "ädä", "ada:example.org", "@ada", "a*", &format!("{longest}a")] {
        post(&host, REGISTER, new_account(name)).refused(400, "M_INVALID_USERNAME");
        // Before any authentication.
        post(&host, REGISTER, json!({ "username": name })).refused(400, "M_INVALID_USERNAME");
    }
}

#[test]
fn a_name_is_given_to_one_account_only() {
    let host = Host::new();
    host.register("ada");
    for name in ["ada", "ADA"] {
        post(&host, REGISTER, json!({ "username": name })).refused(400, "M_USER_IN_USE");
        post(&host, REGISTER, new_account(name)).refused(400, "M_USER_IN_USE");
    }
}

#[test]
fn of_two_registrations_at_once_one_gets_the_name() {
    let host = Host::new();
    host.store.set_slow(true);
    let server = Rc::clone(&host.server());
    let registering = || server.handle(request(Method::Post, REGISTER, None, Some(new_account("ada"))));
    let (one, other) = host.block_on(join(registering(), registering()));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[test]
fn an_account_is_made_whole_or_not_at_all() {
    for (fault, exists) in [(Fault::FailAt(1), false), (Fault::StopBefore(1), false), (Fault::StopAfter(1), true)] {
        let mut host = Host::new();
        host.store.set_fault(Some(fault));
        let mut pending = host.begin(Method::Post, REGISTER, None, Some(new_account("ada")));
        assert!(pending.answer_if_any().is_none_or(|answer| answer.status == 500));
        host.restart();
        let counts = [Table::Accounts, Table::Devices, Table::Tokens, Table::AccountData].map(|table| rows(&host, table));
        assert_eq!(counts, [usize::from(exists); 4]);
        match exists {
            true => drop(post(&host, LOGIN, login("ada", PASSWORD)).ok()),
            false => drop(host.register("ada")),
        }
    }
}

#[test]
fn what_is_acknowledged_is_on_the_disk() {
    let host = Host::new();
    let ada = host.register("ada");
    host.put(&ada, "/_matrix/client/v3/profile/@ada:example.org/displayname", json!({ "displayname": "Ada" })).ok();
    host.put(&ada, "/_matrix/client/v3/user/@ada:example.org/account_data/org.example", json!({})).ok();
    host.post(&ada, "/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!(host.store.relaxed_commits(), 0);
}

#[test]
fn a_name_is_made_up_for_who_chooses_none() {
    let host = Host::new();
    let ids: Vec<_> =
        (0..2).map(|_| post(&host, REGISTER, json!({ "password": PASSWORD, "auth": { "type": DUMMY } })).ok().text("user_id")).collect();
    assert_ne!(ids[0], ids[1]);
    post(&host, LOGIN, login(&ids[0], PASSWORD)).ok();
}

#[test]
fn a_registration_may_want_no_session_or_a_certain_device() {
    let host = Host::new();
    let mut body = new_account("ada");
    body["inhibit_login"] = true.into();
    let answer = post(&host, REGISTER, body).ok();
    assert_eq!(answer.body, json!({ "user_id": "@ada:example.org", "home_server": "example.org" }));
    assert_eq!(rows(&host, Table::Devices), 0);
    let mut body = new_account("bob");
    body["device_id"] = "PHONE".into();
    body["initial_device_display_name"] = "Bob's phone".into();
    let answer = post(&host, REGISTER, body).ok();
    assert_eq!(answer.body["device_id"], "PHONE");
    let device = host.request(Method::Get, "/_matrix/client/v3/devices/PHONE", Some(&answer.text("access_token")), None).ok();
    assert_eq!(device.body["display_name"], "Bob's phone");
}

#[test]
fn there_are_no_guests() {
    let host = Host::new();
    post(&host, "/_matrix/client/v3/register?kind=guest", json!({})).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    post(&host, "/_matrix/client/v3/register?kind=other", json!({})).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_closed_server_takes_no_accounts() {
    let host = Host::with(Config { registration: Registration::Closed, ..Config::default() });
    post(&host, REGISTER, new_account("ada")).refused(403, "M_FORBIDDEN");
    host.request(Method::Get, "/_matrix/client/v1/register/m.login.registration_token/validity?token=x", None, None)
        .refused(403, "M_FORBIDDEN");
}

/// <https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration>
#[test]
fn where_a_token_is_asked_for_nothing_else_makes_an_account() {
    let host = Host::with(Config { registration: Registration::WithToken("swordfish".into()), ..Config::default() });
    let register = |auth: Value| post(&host, REGISTER, json!({ "username": "ada", "password": "pw", "auth": auth }));
    for (auth, errcode) in [
        (json!(null), None),
        (json!({ "session": "x" }), None),
        (json!({ "type": "m.login.dummy" }), Some("M_UNRECOGNIZED")),
        (json!({ "type": "m.login.registration_token" }), Some("M_FORBIDDEN")),
        (json!({ "type": "m.login.registration_token", "token": "sword" }), Some("M_FORBIDDEN")),
    ] {
        let refused = register(auth);
        assert_eq!((refused.status, refused.body["errcode"].as_str()), (401, errcode));
        assert_eq!(refused.body["flows"], json!([{ "stages": ["m.login.registration_token"] }]));
    }
    register(json!({ "type": "m.login.registration_token", "token": "swordfish" })).ok();
    let target = "/_matrix/client/v1/register/m.login.registration_token/validity";
    for (token, valid) in [("swordfish", true), ("sword", false)] {
        let answer = host.request(Method::Get, &format!("{target}?token={token}"), None, None).ok();
        assert_eq!(answer.body, json!({ "valid": valid }));
    }
}

#[test]
fn names_can_be_asked_for() {
    let host = Host::new();
    host.register("ada");
    let available = |name: &str| host.request(Method::Get, &format!("/_matrix/client/v3/register/available?username={name}"), None, None);
    assert_eq!(available("bob").ok().body, json!({ "available": true }));
    available("Ada").refused(400, "M_USER_IN_USE");
    available("a:b").refused(400, "M_INVALID_USERNAME");
    host.request(Method::Get, "/_matrix/client/v3/register/available", None, None).refused(400, "M_MISSING_PARAM");
}

#[test]
fn no_registration_token_is_valid() {
    let host = Host::new();
    let target = "/_matrix/client/v1/register/m.login.registration_token/validity";
    assert_eq!(host.request(Method::Get, &format!("{target}?token=abc"), None, None).ok().body, json!({ "valid": false }));
    host.request(Method::Get, target, None, None).refused(400, "M_MISSING_PARAM");
}

#[test]
fn one_logs_in_by_any_form_of_ones_name() {
    let host = Host::new();
    host.register("ada");
    assert_eq!(host.request(Method::Get, LOGIN, None, None).ok().body, json!({ "flows": [{ "type": "m.login.password" }] }));
    for name in ["ada", "@ada:example.org", "Ada", "@ADA:example.org"] {
        let answer = post(&host, LOGIN, login(name, PASSWORD)).ok();
        assert_eq!(answer.body["user_id"], "@ada:example.org");
        assert!(is_known(&host, &answer.text("access_token")));
    }
    post(&host, "/_matrix/client/r0/login", json!({ "type": "m.login.password", "user": "ada", "password": PASSWORD })).ok();
}

#[test]
fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let host = Host::new();
    host.register("ada");
    let wrong_password = post(&host, LOGIN, login("ada", "wrong"));
    wrong_password.refused(403, "M_FORBIDDEN");
    for name in ["nobody", "@ada:elsewhere.org", "no:body"] {
        let wrong_name = post(&host, LOGIN, login(name, PASSWORD));
        assert_eq!((wrong_name.status, wrong_name.body), (403, wrong_password.body.clone()));
    }
    let by_mail = json!({ "type": "m.login.password", "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "a@b" }, "password": "x" });
    post(&host, LOGIN, by_mail).refused(403, "M_FORBIDDEN");
}

#[test]
fn bad_logins_are_told_apart() {
    let host = Host::new();
    post(&host, LOGIN, json!({ "type": "m.login.token", "token": "x" })).refused(400, "M_UNKNOWN");
    post(&host, LOGIN, json!({ "user": "ada" })).refused(400, "M_BAD_JSON");
    post(&host, LOGIN, json!({ "type": "m.login.password", "password": "x" })).refused(400, "M_MISSING_PARAM");
    post(&host, LOGIN, json!({ "type": "m.login.password", "user": "ada" })).refused(400, "M_MISSING_PARAM");
    post(&host, LOGIN, json!({ "type": "m.login.password", "identifier": { "type": "odd" }, "password": "x" })).refused(400, "M_UNKNOWN");
    post(&host, LOGIN, json!(["m.login.password"])).refused(400, "M_BAD_JSON");
}

#[test]
fn logging_in_on_a_known_device_replaces_its_token_and_keeps_its_name() {
    let host = Host::new();
    let ada = host.register("ada");
    let mut body = login("ada", PASSWORD);
    body["device_id"] = ada.device.clone().into();
    body["initial_device_display_name"] = "ignored".into();
    let answer = post(&host, LOGIN, body).ok();
    assert_eq!(answer.body["device_id"], ada.device);
    assert!(!is_known(&host, &ada.token));
    let devices = host.request(Method::Get, "/_matrix/client/v3/devices", Some(&answer.text("access_token")), None).ok();
    assert_eq!(devices.body["devices"].as_array().unwrap().len(), 1);
    assert!(devices.body["devices"][0].get("display_name").is_none());
}

#[test]
fn tokens_stay_valid_across_restarts_and_are_stored_only_as_hashes() {
    let mut host = Host::new();
    let ada = host.register("ada");
    host.restart();
    assert!(is_known(&host, &ada.token));
    for table in Table::ALL {
        for row in host.block_on(host.database().scan(&Scan::prefix(Key::new(*table)))).unwrap() {
            let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            for secret in [&ada.token, PASSWORD] {
                assert!(!has(&row.key, secret) && !has(&row.value, secret), "{} holds {secret}", table.name());
            }
        }
    }
}

#[test]
fn a_token_may_stand_in_the_query() {
    let host = Host::new();
    let ada = host.register("ada");
    host.request(Method::Get, &format!("{WHOAMI}?access_token={}", ada.token), None, None).ok();
    host.request(Method::Get, WHOAMI, None, None).refused(401, "M_MISSING_TOKEN");
    let unknown = host.request(Method::Get, WHOAMI, Some("nonsense"), None);
    unknown.refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(unknown.body["soft_logout"], false);
}

#[test]
fn logging_out_ends_one_session_or_all() {
    let host = Host::new();
    let first = host.register("ada");
    let (second, third) = (host.log_in(&first), host.log_in(&first));
    host.post(&first, "/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!([&first, &second, &third].map(|user| is_known(&host, &user.token)), [false, true, true]);
    assert_eq!(rows(&host, Table::Devices), 2);
    host.post(&second, "/_matrix/client/v3/logout/all", json!({})).ok();
    assert_eq!([&first, &second, &third].map(|user| is_known(&host, &user.token)), [false; 3]);
    assert_eq!((rows(&host, Table::Devices), rows(&host, Table::Tokens)), (0, 0));
}

fn change_password(host: &Host, user: &User, body: Value) -> Answer {
    host.post(user, "/_matrix/client/v3/account/password", body)
}

#[test]
fn a_password_is_changed_by_who_knows_the_old_one() {
    let host = Host::new();
    let ada = host.register("ada");
    let other = host.log_in(&ada);
    host.register("bob");
    let challenge = change_password(&host, &ada, json!({ "new_password": "new" }));
    assert_eq!((challenge.status, challenge.body.get("errcode")), (401, None));
    for auth in [password_auth("ada", "wrong"), password_auth("bob", PASSWORD), json!({ "type": "m.login.password" })] {
        let wrong = change_password(&host, &ada, json!({ "new_password": "new", "auth": auth }));
        wrong.refused(401, "M_FORBIDDEN");
        assert!(wrong.body["flows"].is_array() && wrong.body["session"].is_string());
    }
    change_password(&host, &ada, json!({ "new_password": "new", "auth": password_auth("ada", PASSWORD) })).ok();
    assert_eq!((is_known(&host, &ada.token), is_known(&host, &other.token)), (true, false));
    post(&host, LOGIN, login("ada", PASSWORD)).refused(403, "M_FORBIDDEN");
    post(&host, LOGIN, login("ada", "new")).ok();
}

#[test]
fn other_devices_can_stay_logged_in_when_the_password_changes() {
    let host = Host::new();
    let ada = host.register("ada");
    let other = host.log_in(&ada);
    let body = json!({ "new_password": "new", "logout_devices": false, "auth": password_auth(&ada.id, PASSWORD) });
    change_password(&host, &ada, body).ok();
    assert!(is_known(&host, &other.token));
    change_password(&host, &ada, json!({})).refused(400, "M_BAD_JSON");
    change_password(&host, &ada, json!({ "new_password": "" })).refused(400, "M_WEAK_PASSWORD");
}

#[test]
fn a_deactivated_account_is_gone_for_good() {
    let host = Host::new();
    let ada = host.register("ada");
    let other = host.log_in(&ada);
    let target = "/_matrix/client/v3/account/deactivate";
    assert_eq!(host.post(&ada, target, json!({})).status, 401);
    assert!(is_known(&host, &ada.token));
    let answer = host.post(&ada, target, json!({ "auth": password_auth("ada", PASSWORD) })).ok();
    assert_eq!(answer.body, json!({ "id_server_unbind_result": "success" }));
    assert!(!is_known(&host, &ada.token) && !is_known(&host, &other.token));
    post(&host, LOGIN, login("ada", PASSWORD)).refused(403, "M_USER_DEACTIVATED");
    post(&host, REGISTER, new_account("ada")).refused(400, "M_USER_IN_USE");
}

#[test]
fn erasing_takes_the_profile_and_all_account_data_along() {
    let host = Host::new();
    let ada = host.register("ada");
    host.put(&ada, "/_matrix/client/v3/profile/@ada:example.org/displayname", json!({ "displayname": "Ada" })).ok();
    host.put(&ada, "/_matrix/client/v3/user/@ada:example.org/account_data/org.example", json!({})).ok();
    host.post(&ada, "/_matrix/client/v3/user/@ada:example.org/filter", json!({})).ok();
    host.post(&ada, "/_matrix/client/v3/account/deactivate", json!({ "erase": true, "auth": password_auth("ada", PASSWORD) })).ok();
    let left = [Table::Profiles, Table::AccountData, Table::AccountDataLog, Table::Filters].map(|table| rows(&host, table));
    assert_eq!(left, [0; 4]);
}

/// Those who come later see what an erased user sent as if it was redacted; those who could see it go on seeing it.
#[test]
fn what_an_erased_user_sent_is_kept_from_those_who_come_later() {
    for erase in [true, false] {
        let mut host = Host::new();
        let [owner, ada, early, late, back] = ["owner", "ada", "early", "late", "back"].map(|name| host.register(name));
        let room = host.create_room(&owner, json!({ "preset": "public_chat" }));
        [&ada, &back].into_iter().for_each(|user| host.join(user, &room));
        host.leave(&back, &room);
        host.put(&ada, "/_matrix/client/v3/profile/@ada:example.org/displayname", json!({ "displayname": "Ada Lovelace" })).ok();
        let unseen = host.send(&ada, &room, "secret");
        let edit = json!({ "body": "* secret", "m.new_content": { "body": "secret" }, "m.relates_to": { "rel_type": "m.replace", "event_id": unseen } });
        host.send_event(&ada, &room, "m.room.message", edit);
        host.join(&early, &room);
        let others = host.send(&owner, &room, "in the open");
        host.post(&ada, "/_matrix/client/v3/account/deactivate", json!({ "erase": erase, "auth": password_auth("ada", PASSWORD) })).ok();
        [&late, &back].into_iter().for_each(|user| host.join(user, &room));
        for restarted in [false, true] {
            if restarted {
                host.restart();
            }
            for (user, may_see) in [(&owner, true), (&early, true), (&late, !erase), (&back, !erase)] {
                let targets = [
                    format!("/_matrix/client/v3/sync?filter={}", encode(r#"{"room":{"timeline":{"limit":100}}}"#)),
                    room_path(&room, "messages?dir=b&limit=100"),
                    room_path(&room, &format!("event/{}", encode(&unseen))),
                    room_path(&room, &format!("context/{}", encode(&others))),
                    room_path(&room, "members"),
                    room_path(&room, "state"),
                    room_path(&room, &format!("state/m.room.member/{}", encode(&ada.id))),
                    format!("/_matrix/client/v1/rooms/{}/relations/{}", encode(&room), encode(&unseen)),
                    format!("/_inglenook/rooms/{}/graph", encode(&room)),
                ];
                for target in &targets {
                    let told = host.get(user, target).ok().body.to_string();
                    assert!(!told.contains("secret") && !told.contains("Lovelace") || may_see, "{} {target}: {told}", user.id);
                }
                let event = host.get(user, &targets[2]).ok().body;
                assert_eq!(event["content"].get("body").is_some(), may_see, "{} {event}", user.id);
                let messages = host.get(user, &targets[1]).ok().body.to_string();
                assert_eq!((messages.contains("secret"), messages.contains("in the open")), (may_see, true), "{}", user.id);
            }
        }
    }
}

#[test]
fn nobody_has_third_party_identifiers() {
    let host = Host::new();
    let ada = host.register("ada");
    assert_eq!(host.get(&ada, "/_matrix/client/v3/account/3pid").ok().body, json!({ "threepids": [] }));
    let mail = json!({ "client_secret": "s", "email": "a@example.org", "send_attempt": 1 });
    let phone = json!({ "client_secret": "s", "country": "GB", "phone_number": "1", "send_attempt": 1 });
    for start in ["register", "account/3pid", "account/password"] {
        let target = |medium: &str| format!("/_matrix/client/v3/{start}/{medium}/requestToken");
        post(&host, &target("email"), mail.clone()).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
        post(&host, &target("msisdn"), phone.clone()).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
        post(&host, &target("email"), json!({})).refused(400, "M_BAD_JSON");
    }
    for end in ["delete", "unbind"] {
        let answer =
            host.post(&ada, &format!("/_matrix/client/v3/account/3pid/{end}"), json!({ "medium": "email", "address": "a@example.org" }));
        assert_eq!(answer.ok().body, json!({ "id_server_unbind_result": "no-support" }));
    }
    let validated = json!({ "client_secret": "s", "sid": "1", "auth": password_auth("ada", PASSWORD) });
    host.post(&ada, "/_matrix/client/v3/account/3pid/add", validated).refused(400, "M_THREEPID_AUTH_FAILED");
    let binding = json!({ "client_secret": "s", "sid": "1", "id_server": "id.example.org", "id_access_token": "t" });
    host.post(&ada, "/_matrix/client/v3/account/3pid/bind", binding).refused(400, "M_SERVER_NOT_TRUSTED");
}
