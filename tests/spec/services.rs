//! Cases of what a server in a browser has little to say of: third parties, calls, administration, reports.

use serde_json::json;

use super::case::{Case, NOBODY, get, post, put};

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let email = json!({ "client_secret": "secret", "email": "alice@example.org", "send_attempt": 1 });
    let phone = json!({ "client_secret": "secret", "country": "GB", "phone_number": "07700900001", "send_attempt": 1 });
    let removal = json!({ "medium": "email", "address": "alice@example.org" });
    vec![
        get("alice", "/account/3pid", "getAccount3PIDs", "none").counts("/threepids", 0),
        post("alice", "/account/3pid", "post3PIDs", "by an identity server", json!({ "three_pid_creds": { "client_secret": "secret", "id_server": "id.example.org", "id_access_token": "token", "sid": "session" } })).refused(403, "M_THREEPID_AUTH_FAILED"),
        post("alice", "/account/3pid/add", "add3PID", "stages are asked for", json!({ "client_secret": "secret", "sid": "session" })).gives(401).has("/flows"),
        post("alice", "/account/3pid/bind", "bind3PID", "at an identity server", json!({ "client_secret": "secret", "sid": "session", "id_server": "id.example.org", "id_access_token": "token" })).refused(400, "M_SERVER_NOT_TRUSTED"),
        post("alice", "/account/3pid/delete", "delete3pidFromAccount", "what is not there", removal.clone()).at("/id_server_unbind_result", "no-support"),
        post("alice", "/account/3pid/unbind", "unbind3pidFromAccount", "what is not there", removal).at("/id_server_unbind_result", "no-support"),
        post(NOBODY, "/account/3pid/email/requestToken", "requestTokenTo3PIDEmail", "mail", email.clone()).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        post(NOBODY, "/account/3pid/msisdn/requestToken", "requestTokenTo3PIDMSISDN", "a text message", phone.clone()).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        post(NOBODY, "/account/password/email/requestToken", "requestTokenToResetPasswordEmail", "mail", email.clone()).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        post(NOBODY, "/account/password/msisdn/requestToken", "requestTokenToResetPasswordMSISDN", "a text message", phone.clone()).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        post(NOBODY, "/register/email/requestToken", "requestTokenToRegisterEmail", "mail", email).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        post(NOBODY, "/register/msisdn/requestToken", "requestTokenToRegisterMSISDN", "a text message", phone).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        get("alice", "/thirdparty/protocols", "getProtocols", "none").counts("", 0),
        get("alice", "/thirdparty/protocol/irc", "getProtocolMetadata", "an unknown network").refused(404, "M_NOT_FOUND"),
        get("alice", "/thirdparty/location/irc", "queryLocationByProtocol", "an unknown network").refused(404, "M_NOT_FOUND"),
        get("alice", "/thirdparty/user/irc", "queryUserByProtocol", "an unknown network").refused(404, "M_NOT_FOUND"),
        get("alice", "/thirdparty/location?alias=%23public%3Aexample.org", "queryLocationByAlias", "an alias").refused(404, "M_NOT_FOUND"),
        get("alice", "/thirdparty/location", "queryLocationByAlias", "without an alias").refused(400, "M_MISSING_PARAM"),
        get("alice", "/thirdparty/user?userid={bob}", "queryUserByID", "a user").refused(404, "M_NOT_FOUND"),
        get("alice", "/thirdparty/user", "queryUserByID", "without a user").refused(400, "M_MISSING_PARAM"),
        get("alice", "/voip/turnServer", "getTurnServer", "none").refused(404, "M_NOT_FOUND"),
        get("alice", "/admin/whois/{alice}", "getWhoIs", "oneself").at("/user_id", "{alice}").counts("/devices", 2),
        get("alice", "/admin/whois/{bob}", "getWhoIs", "another").refused(403, "M_FORBIDDEN"),
        get("alice", "/_matrix/client/v1/admin/lock/{bob}", "getAdminLockUser", "by a user").refused(403, "M_FORBIDDEN"),
        put("alice", "/_matrix/client/v1/admin/lock/{bob}", "setAdminLockUser", "by a user", json!({ "locked": true })).refused(403, "M_FORBIDDEN"),
        get("alice", "/_matrix/client/v1/admin/suspend/{bob}", "getAdminSuspendUser", "by a user").refused(403, "M_FORBIDDEN"),
        put("alice", "/_matrix/client/v1/admin/suspend/{bob}", "setAdminSuspendUser", "by a user", json!({ "suspended": true })).refused(403, "M_FORBIDDEN"),
        post("alice", "/user/{alice}/openid/request_token", "requestOpenIdToken", "one's own", json!({})).at("/token_type", "Bearer").at("/matrix_server_name", "example.org").has("/expires_in"),
        post("alice", "/user/{bob}/openid/request_token", "requestOpenIdToken", "another's", json!({})).refused(403, "M_FORBIDDEN"),
        post("bob", "/user_directory/search", "searchUserDirectory", "by name", json!({ "search_term": "ali", "limit": 5 })).at("/results/0", json!({ "user_id": "{alice}", "display_name": "Alice", "avatar_url": "mxc://example.org/alice" })).at("/limited", false),
        post("bob", "/user_directory/search", "searchUserDirectory", "nobody", json!({ "search_term": "nobody of that name" })).counts("/results", 0),
        post("bob", "/user_directory/search", "searchUserDirectory", "without a term", json!({})).refused(400, "M_BAD_JSON"),
        post("bob", "/rooms/{public}/report", "reportRoom", "a room", json!({ "reason": "A test" })).counts("", 0),
        post("bob", "/rooms/!none:example.org/report", "reportRoom", "an unknown room", json!({ "reason": "A test" })).refused(404, "M_NOT_FOUND"),
        post("bob", "/rooms/{public}/report/{message}", "reportEvent", "an event", json!({ "reason": "A test", "score": -100 })).counts("", 0),
        post("carol", "/rooms/{private}/report/{secret}", "reportEvent", "an event that one cannot see", json!({ "reason": "A test" })).refused(404, "M_NOT_FOUND"),
        post("bob", "/users/{alice}/report", "reportUser", "a user", json!({ "reason": "A test" })).counts("", 0),
        post("bob", "/users/@nobody:example.org/report", "reportUser", "an unknown user", json!({ "reason": "A test" })).refused(404, "M_NOT_FOUND"),
    ]
}
