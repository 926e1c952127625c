//! Access tokens that expire, and the tokens that renew them.

use super::*;

fn refreshable(host: &Host) -> Answer {
    host.register("ada");
    let mut body = login("ada", PASSWORD);
    body["refresh_token"] = true.into();
    post(host, LOGIN, body).ok()
}

fn refresh(host: &Host, token: &str) -> Answer {
    post(host, "/_matrix/client/v3/refresh", json!({ "refresh_token": token }))
}

#[test]
fn an_access_token_that_expires_can_be_refreshed() {
    let host = Host::new();
    let first = refreshable(&host);
    let lifetime = first.body["expires_in_ms"].as_u64().unwrap();
    assert!(is_known(&host, &first.text("access_token")));
    host.advance(lifetime - 1);
    assert!(is_known(&host, &first.text("access_token")));
    host.advance(1);
    let expired = host.request(Method::Get, WHOAMI, Some(&first.text("access_token")), None);
    expired.refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(expired.body["soft_logout"], true);
    let second = refresh(&host, &first.text("refresh_token")).ok();
    assert_eq!(second.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["access_token", "expires_in_ms", "refresh_token"]);
    let whoami = host.request(Method::Get, WHOAMI, Some(&second.text("access_token")), None).ok();
    assert_eq!(whoami.body["device_id"], first.body["device_id"]);
}

#[test]
fn an_old_refresh_token_is_valid_until_a_new_token_is_used() {
    let mut host = Host::new();
    let first = refreshable(&host);
    let lost = refresh(&host, &first.text("refresh_token")).ok();
    host.restart();
    let second = refresh(&host, &first.text("refresh_token")).ok();
    assert!(!is_known(&host, &lost.text("access_token")));
    assert!(is_known(&host, &first.text("access_token")));
    assert!(is_known(&host, &second.text("access_token")));
    assert!(!is_known(&host, &first.text("access_token")));
    refresh(&host, &first.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    refresh(&host, &lost.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    let third = refresh(&host, &second.text("refresh_token")).ok();
    let fourth = refresh(&host, &third.text("refresh_token")).ok();
    refresh(&host, &second.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    assert!(is_known(&host, &fourth.text("access_token")));
}

#[test]
fn each_kind_of_token_is_good_for_its_own_purpose_only() {
    let host = Host::new();
    let first = refreshable(&host);
    assert!(!is_known(&host, &first.text("refresh_token")));
    refresh(&host, &first.text("access_token")).refused(401, "M_UNKNOWN_TOKEN");
    refresh(&host, "nonsense").refused(401, "M_UNKNOWN_TOKEN");
    post(&host, "/_matrix/client/v3/refresh", json!({})).refused(400, "M_BAD_JSON");
}

#[test]
fn logging_out_withdraws_refreshed_tokens_too() {
    let host = Host::new();
    let first = refreshable(&host);
    let second = refresh(&host, &first.text("refresh_token")).ok();
    host.request(Method::Post, "/_matrix/client/v3/logout", Some(&first.text("access_token")), None).ok();
    refresh(&host, &first.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    refresh(&host, &second.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    assert!(!is_known(&host, &second.text("access_token")));
}
