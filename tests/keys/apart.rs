//! Keys of users of other servers.

use super::*;

/// Two servers, with Alice at the first and Bob at the second, who share a room.
fn apart() -> (Network, User, User, String) {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    join_via(&network, 1, &bob, &room, 0);
    (network, alice, bob, room)
}

fn join_via(network: &Network, host: usize, user: &User, room: &str, via: usize) {
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(room), encode(&network[via].name()));
    network[host].post(user, &target, json!({})).ok();
    network.run();
}

fn devices(told: &Value, of: &User) -> Vec<String> {
    assert!(told.get("failures").is_none(), "{told}");
    told["device_keys"][&of.id].as_object().into_iter().flatten().map(|(id, _)| id.clone()).collect()
}

/// How many requests of this kind were sent since the last call.
fn asked(network: &Network, about: &str) -> usize {
    network.carried().iter().filter(|carried| carried.target.contains(about)).count()
}

/// Nobody is told of the devices of users with whom they share no room any more: what was known of them is no answer then, nor when they meet
/// again.
#[test]
fn a_device_that_came_after_the_last_shared_room_had_ended_is_found() {
    for who_leaves in [0, 1] {
        let (network, alice, bob, room) = apart();
        let new_device = |seed: u8| {
            let device = network[1].log_in(&bob);
            upload_device(&network[1], &device, seed);
            network.run();
            device.device
        };
        upload_device(&network[1], &bob, 2);
        network.run();
        assert_eq!(devices(&query(&network[0], &alice, &bob), &bob), std::slice::from_ref(&bob.device));
        network.carried();
        assert_eq!(devices(&query(&network[0], &alice, &bob), &bob), std::slice::from_ref(&bob.device));
        assert_eq!(asked(&network, "/user/"), 0, "what is followed is not asked for again");
        let user = [&alice, &bob][who_leaves];
        network[who_leaves].leave(user, &room);
        network.run();
        let mut expected = vec![bob.device.clone(), new_device(3)];
        expected.sort();
        assert_eq!(devices(&query(&network[0], &alice, &bob), &bob), expected, "{who_leaves} has left");
        join_via(&network, who_leaves, user, &room, 1 - who_leaves);
        expected.push(new_device(4));
        expected.sort();
        assert_eq!(devices(&query(&network[0], &alice, &bob), &bob), expected, "{who_leaves} is back");
        network.carried();
        assert_eq!(devices(&query(&network[0], &alice, &bob), &bob), expected);
        assert_eq!(asked(&network, "/user/"), 0);
    }
}

#[test]
fn keys_of_users_who_share_no_room_are_asked_for_together() {
    let network = Network::of_keys(2);
    let (alice, bob, carol) = (network[0].register("alice"), network[1].register("bob"), network[1].register("carol"));
    for (user, seed) in [(&bob, 2), (&carol, 3)] {
        upload_device(&network[1], user, seed);
        cross_sign(&network[1], user, seed + 10);
    }
    network.carried();
    let nobody = format!("@nobody:{}", network[1].name());
    let body = json!({ "device_keys": { &bob.id: [], &carol.id: [carol.device], nobody: [] } });
    let told = keys(&network[0], &alice, "query", body).ok().body;
    for user in [&bob, &carol] {
        assert_eq!(devices(&told, user), std::slice::from_ref(&user.device));
        assert!(told["master_keys"][&user.id].is_object() && told["self_signing_keys"][&user.id].is_object());
    }
    let carried: Vec<_> = network.carried().into_iter().filter(|carried| carried.target.contains("/user/")).collect();
    assert_eq!(carried.len(), 1);
    assert_eq!((carried[0].method, &*carried[0].target), ("POST", "/_matrix/federation/v1/user/keys/query"));
    let of = |user: &User, seed: u8| Signer::of_device(&user.id, &user.device, seed).device_keys();
    let forged =
        json!({ "device_keys": { &bob.id: { &bob.device: of(&carol, 9), "OTHER": of(&bob, 9) }, &alice.id: { "A": of(&alice, 9) } } });
    network.treat(move |_| Treatment::Answer(Response::ok(&forged)));
    let told = keys(&network[0], &alice, "query", json!({ "device_keys": { &bob.id: [] } })).ok().body;
    assert_eq!(told["device_keys"], json!({ &bob.id: {} }), "what is not right is left out");
    network.treat(|_| Treatment::Lose);
    assert!(query(&network[0], &alice, &bob)["failures"][network[1].name()].is_object());
}

/// Whoever carries a signed claim can repeat it.
#[test]
fn a_claim_that_is_repeated_without_end_leaves_one_time_keys_for_others() {
    let network = Network::of_keys(1);
    let (host, alice) = (&network[0], network[0].register("alice"));
    let of_alice = upload_device(host, &alice, 1);
    let names: Vec<_> = (0..50).map(|number| format!("K{number:02}")).collect();
    let one_time_keys = of_alice.one_time_keys(&names.iter().map(String::as_str).collect::<Vec<_>>());
    keys(host, &alice, "upload", json!({ "one_time_keys": one_time_keys })).ok();
    let left = || host.sync(&alice, None)["device_one_time_keys_count"]["signed_curve25519"].as_u64().unwrap();
    let body = json!({ "one_time_keys": { &alice.id: { &alice.device: "signed_curve25519" } } });
    let claim_by = |peer: &Peer| {
        let answer = peer.post(host, "/v1/user/keys/claim", &body).ok().body;
        claimed_name(&answer["one_time_keys"][&alice.id][&alice.device]).unwrap()
    };
    let peer = Peer::new(7);
    let mut claimed: Vec<_> = (0..20).map(|_| claim_by(&peer)).collect();
    claimed.dedup();
    assert_eq!((claimed.len(), left()), (20, 30), "nobody goes away with nothing, nor with what another has");
    keys(host, &alice, "upload", json!({ "fallback_keys": of_alice.fallback_key("F") })).ok();
    assert!((0..100).all(|_| claim_by(&peer) == "F"), "what comes on and on gets the key that is for many");
    assert_eq!(left(), 30);
    assert_eq!(claim_by(&Peer::new(8)), "K20", "and others get one of their own");
    host.advance(60 * 60 * 1000);
    assert_eq!(claim_by(&peer), "K21");
}

/// A client that was away while its user left and came back does not know that there was a time of which nobody has told.
#[test]
fn who_was_in_the_room_all_along_may_have_other_devices_for_whom_has_left_and_come_back() {
    let (network, alice, bob, room) = apart();
    let token = |sync: &Value| sync["next_batch"].as_str().unwrap().to_owned();
    let since = token(&network[1].sync(&bob, None));
    network[1].leave(&bob, &room);
    network.run();
    let device = network[0].log_in(&alice);
    upload_device(&network[0], &device, 3);
    network.run();
    join_via(&network, 1, &bob, &room, 0);
    let sync = network[1].sync(&bob, Some(&since));
    assert_eq!(lists(&sync), (vec![alice.id.as_str()], vec![]));
    let later = network[1].sync(&bob, Some(&token(&sync)));
    assert_eq!(lists(&later), (vec![], vec![]));
}

/// The same where the other server has not heard that the user was out, and has told of the device meanwhile.
#[test]
fn what_was_told_while_one_was_out_is_asked_for_by_whom_others_never_saw_leave() {
    let (network, alice, bob, room) = apart();
    let since = network[1].sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
    let bobs = network[1].name();
    network.treat(move |carried| {
        let is_lost = carried.from == bobs && carried.target.contains("/send/");
        if is_lost { Treatment::Lose } else { Treatment::Carry }
    });
    network[1].leave(&bob, &room);
    network.run();
    upload_device(&network[0], &network[0].log_in(&alice), 3);
    network.run();
    join_via(&network, 1, &bob, &room, 0);
    assert_eq!(lists(&network[1].sync(&bob, Some(&since))), (vec![alice.id.as_str()], vec![]));
}

#[test]
fn another_name_is_no_reason_to_ask_for_keys_again() {
    let (network, _, bob, _) = apart();
    let since = network[1].sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
    let target = format!("/_matrix/client/v3/profile/{}/displayname", encode(&bob.id));
    network[1].put(&bob, &target, json!({ "displayname": "Bob" })).ok();
    network.run();
    assert_eq!(lists(&network[1].sync(&bob, Some(&since))), (vec![], vec![]));
}
