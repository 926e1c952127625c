//! Cases of accounts: registration, login, tokens, passwords and the end of an account.

use inglenook::http::Method::{Get, Post};
use serde_json::{Value, json};

use super::case::{Case, NOBODY, get, post};
use crate::support::PASSWORD;

fn password_of(user: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": PASSWORD })
}

fn authenticated(mut body: Value) -> Value {
    body["auth"] = password_of("{alice}");
    body
}

fn registration(username: &str) -> Value {
    json!({ "username": username, "password": PASSWORD, "auth": { "type": "m.login.dummy" } })
}

fn wanting_refresh_token() -> Value {
    let mut login = password_of("alice");
    login["refresh_token"] = true.into();
    login
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let dummy = json!({ "type": "m.login.dummy" });
    let wrong_password = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": "wrong" });
    let old_style = json!({ "type": "m.login.password", "user": "alice", "password": PASSWORD, "device_id": "OLD", "initial_device_display_name": "Old" });
    vec![
        // Registration
        post(NOBODY, "/register", "register", "stages are asked for", json!({ "username": "dora", "password": PASSWORD })).gives(401).at("/flows/0/stages/0", "m.login.dummy").has("/session"),
        post(NOBODY, "/register", "register", "nothing given", json!({})).gives(401).has("/flows/0/stages/0"),
        post(NOBODY, "/register", "register", "an account", registration("dora")).at("/user_id", "@dora:example.org").has("/access_token").has("/device_id").lacks("/refresh_token"),
        post(NOBODY, "/_matrix/client/r0/register?kind=user", "register", "by an old path", registration("dora")).at("/user_id", "@dora:example.org"),
        post(NOBODY, "/register", "register", "with a refresh token", json!({ "username": "dora", "password": PASSWORD, "auth": dummy, "refresh_token": true })).has("/refresh_token").has("/expires_in_ms"),
        post(NOBODY, "/register", "register", "without login", json!({ "username": "dora", "password": PASSWORD, "auth": dummy, "inhibit_login": true })).at("/user_id", "@dora:example.org").lacks("/access_token").lacks("/device_id"),
        post(NOBODY, "/register", "register", "with a device ID", json!({ "username": "dora", "password": PASSWORD, "auth": dummy, "device_id": "HERS", "initial_device_display_name": "Hers" })).at("/device_id", "HERS"),
        post(NOBODY, "/register", "register", "a generated name", json!({ "password": PASSWORD, "auth": dummy })).has("/user_id"),
        post(NOBODY, "/register", "register", "a name in use", registration("alice")).refused(400, "M_USER_IN_USE"),
        post(NOBODY, "/register", "register", "a name in use, before stages", json!({ "username": "alice", "password": PASSWORD })).refused(400, "M_USER_IN_USE"),
        post(NOBODY, "/register", "register", "a name with spaces", registration("not a name")).refused(400, "M_INVALID_USERNAME"),
        post(NOBODY, "/register", "register", "a name that is too long", registration(&"a".repeat(250))).refused(400, "M_INVALID_USERNAME"),
        post(NOBODY, "/register?kind=guest", "register", "a guest", json!({})).refused(403, "M_GUEST_ACCESS_FORBIDDEN"),
        post(NOBODY, "/register?kind=other", "register", "a kind that there is not", json!({})).refused(400, "M_INVALID_PARAM"),
        post(NOBODY, "/register", "register", "wrong types", json!({ "username": 1 })).refused(400, "M_BAD_JSON"),
        post(NOBODY, "/register", "register", "an unknown stage", json!({ "username": "dora", "password": PASSWORD, "auth": { "type": "org.example" } })).gives(401).has("/flows"),
        get(NOBODY, "/register/available?username=dora", "checkUsernameAvailability", "a free name").at("/available", true),
        get(NOBODY, "/register/available?username=alice", "checkUsernameAvailability", "a name in use").refused(400, "M_USER_IN_USE"),
        get(NOBODY, "/register/available?username=%C3%A4", "checkUsernameAvailability", "no name").refused(400, "M_INVALID_USERNAME"),
        get(NOBODY, "/register/available", "checkUsernameAvailability", "without a name").refused(400, "M_MISSING_PARAM"),
        get(NOBODY, "/_matrix/client/v1/register/m.login.registration_token/validity?token=abc", "registrationTokenValidity", "a token").at("/valid", false),
        get(NOBODY, "/_matrix/client/v1/register/m.login.registration_token/validity", "registrationTokenValidity", "without a token").refused(400, "M_MISSING_PARAM"),
        // Login
        get(NOBODY, "/login", "getLoginFlows", "the flows").includes("/flows", json!({ "type": "m.login.password" })),
        post(NOBODY, "/login", "login", "by user ID", password_of("{alice}")).at("/user_id", "{alice}").has("/access_token").has("/device_id").lacks("/refresh_token"),
        post(NOBODY, "/login", "login", "by name", password_of("alice")).at("/user_id", "{alice}"),
        post(NOBODY, "/login", "login", "by a name with capitals", password_of("Alice")).at("/user_id", "{alice}"),
        post(NOBODY, "/login", "login", "as old clients do", old_style).at("/device_id", "OLD"),
        post(NOBODY, "/login", "login", "with a refresh token", wanting_refresh_token()).has("/refresh_token").has("/expires_in_ms"),
        post(NOBODY, "/login", "login", "a wrong password", wrong_password.clone()).refused(403, "M_FORBIDDEN"),
        post(NOBODY, "/login", "login", "an unknown user", password_of("nobody")).refused(403, "M_FORBIDDEN"),
        post(NOBODY, "/login", "login", "a user of another server", password_of("@alice:elsewhere.org")).refused(403, "M_FORBIDDEN"),
        post(NOBODY, "/login", "login", "a third-party identifier", json!({ "type": "m.login.password", "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "alice@example.org" }, "password": PASSWORD })).refused(403, "M_FORBIDDEN"),
        post(NOBODY, "/login", "login", "an unknown type", json!({ "type": "org.example" })).refused(400, "M_UNKNOWN"),
        post(NOBODY, "/login", "login", "without a type", json!({})).refused(400, "M_BAD_JSON"),
        post(NOBODY, "/login", "login", "without a password", json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" } })).refused(400, "M_MISSING_PARAM"),
        post(NOBODY, "/login", "login", "wrong types", json!({ "type": 1 })).refused(400, "M_BAD_JSON"),
        post(NOBODY, "/login", "login", "a deactivated account", password_of("alice")).after("alice", Post, "/account/deactivate", authenticated(json!({}))).refused(403, "M_USER_DEACTIVATED"),
        // Tokens
        post(NOBODY, "/refresh", "refresh", "tokens are exchanged", json!({ "refresh_token": "{refresh}" })).after(NOBODY, Post, "/login", wanting_refresh_token()).keeping("refresh", "/refresh_token").has("/access_token").has("/refresh_token").has("/expires_in_ms"),
        post(NOBODY, "/refresh", "refresh", "an unknown token", json!({ "refresh_token": "nonsense" })).refused(401, "M_UNKNOWN_TOKEN").at("/soft_logout", false),
        post(NOBODY, "/refresh", "refresh", "a used token", json!({ "refresh_token": "{refresh}" }))
            .after(NOBODY, Post, "/login", wanting_refresh_token()).keeping("refresh", "/refresh_token")
            .after(NOBODY, Post, "/refresh", json!({ "refresh_token": "{refresh}" })).keeping("phone.token", "/access_token")
            .after("phone", Get, "/account/whoami", json!({}))
            .refused(401, "M_UNKNOWN_TOKEN"),
        post(NOBODY, "/refresh", "refresh", "without a token", json!({})).refused(400, "M_BAD_JSON"),
        get("alice", "/account/whoami", "getTokenOwner", "a token's owner").at("/user_id", "{alice}").at("/device_id", "{alice.device}"),
        get(NOBODY, "/account/whoami?access_token={alice.token}", "getTokenOwner", "a token in the query").at("/user_id", "{alice}"),
        get("alice", "/account/whoami", "getTokenOwner", "after logout").after("alice", Post, "/logout", json!({})).refused(401, "M_UNKNOWN_TOKEN"),
        get("phone", "/account/whoami", "getTokenOwner", "after another device's logout").after("alice", Post, "/logout", json!({})).at("/device_id", "{phone.device}"),
        get("phone", "/account/whoami", "getTokenOwner", "after logout of all").after("alice", Post, "/logout/all", json!({})).refused(401, "M_UNKNOWN_TOKEN"),
        post("alice", "/logout", "logout", "one device", json!({})).counts("", 0),
        post("alice", "/logout/all", "logout_all", "all devices", json!({})).counts("", 0),
        // Password and deactivation
        post("alice", "/account/password", "changePassword", "stages are asked for", json!({ "new_password": "another one" })).gives(401).at("/flows/0/stages/0", "m.login.password").has("/session"),
        post("alice", "/account/password", "changePassword", "with the password", authenticated(json!({ "new_password": "another one" }))).counts("", 0),
        post("alice", "/account/password", "changePassword", "with a wrong password", json!({ "new_password": "another one", "auth": wrong_password })).gives(401).at("/errcode", "M_FORBIDDEN").has("/flows"),
        post("alice", "/account/password", "changePassword", "with another user's password", json!({ "new_password": "another one", "auth": password_of("bob") })).gives(401).at("/errcode", "M_FORBIDDEN"),
        post("alice", "/account/password", "changePassword", "without a new one", authenticated(json!({}))).refused(400, "M_BAD_JSON"),
        post(NOBODY, "/account/password", "changePassword", "without a token", authenticated(json!({ "new_password": "another one" }))).refused(401, "M_MISSING_TOKEN"),
        get("phone", "/account/whoami", "getTokenOwner", "after a change of password").after("alice", Post, "/account/password", authenticated(json!({ "new_password": "another one" }))).refused(401, "M_UNKNOWN_TOKEN"),
        get("phone", "/account/whoami", "getTokenOwner", "after a change of password that keeps devices").after("alice", Post, "/account/password", authenticated(json!({ "new_password": "another one", "logout_devices": false }))).at("/user_id", "{alice}"),
        post("alice", "/account/deactivate", "deactivateAccount", "stages are asked for", json!({})).gives(401).at("/flows/0/stages/0", "m.login.password"),
        post("alice", "/account/deactivate", "deactivateAccount", "with the password", authenticated(json!({}))).at("/id_server_unbind_result", "success"),
        post("alice", "/account/deactivate", "deactivateAccount", "with erasure", authenticated(json!({ "erase": true }))).has("/id_server_unbind_result"),
        post(NOBODY, "/account/deactivate", "deactivateAccount", "without a token", json!({})).refused(401, "M_MISSING_TOKEN"),
    ]
}
