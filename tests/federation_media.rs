//! Files of other servers that are large: they pass through the tunnels, and not through memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

// Other tests do more with both.
#[path = "hostile_relay/relay.rs"]
#[allow(dead_code)]
mod relay;
#[path = "hostile_relay/scene.rs"]
#[allow(dead_code)]
mod scene;

use inglenook::http::{Body, Method, Request};

use self::{
    relay::Deed,
    scene::{GOOD, Scene},
};
use support::{Pending, encode};

const MB: usize = 1 << 20;

/// What may be under way between two nodes: a stream's window of 256 kB at each of the three ends, what is written ahead of it, and
/// what the tunnels' sockets gather. It does not depend on the file.
const UNDER_WAY: u64 = 2 << 20;

/// Two nodes behind one relay, and a file of the first.
fn scene(size: usize) -> (Scene, Vec<u8>, String) {
    let scene = Scene::new(2, &[GOOD]);
    let file: Vec<_> = (0..size).map(|at| (at / 1_000) as u8).collect();
    let mut request = Request::new(Method::Post, "/_matrix/media/v3/upload?filename=film");
    request.headers.insert("authorization".into(), format!("Bearer {}", scene.users[0].token));
    request.body = Body::Bytes(file.clone());
    let uri = scene.hosts[0].send_request(request).answer().unwrap().ok().text("content_uri");
    let id = uri.rsplit('/').next().unwrap();
    let target = format!("/_matrix/client/v1/media/download/{}/{id}", encode(&scene.name(0)));
    (scene, file, target)
}

fn download(scene: &Scene, target: &str) -> Pending {
    let pending = scene.hosts[1].begin(Method::Get, target, Some(&scene.users[1].token), None);
    scene.run();
    pending
}

#[test]
fn a_large_file_neither_delays_messages_nor_fills_memory() {
    let (scene, file, target) = scene(50 * MB);
    let held = scene.hosts[1].blobs.hold();
    let mut pending = download(&scene, &target);
    let sent = |number: usize| {
        let events = [(0, 1), (1, 0)].map(|(from, to)| (scene.say(from, &format!("{number} from {from}")), from, to));
        for (event, from, to) in &events {
            assert_eq!(scene.delivery(*from, event, *to), "delivered");
        }
    };
    (0..10).for_each(sent);
    assert!(pending.answer().is_none());
    let read = scene.hosts[0].blobs.read.get();
    assert!((1..UNDER_WAY).contains(&read), "{read} bytes were read while nobody took them");
    drop(held);
    scene.run();
    let answer = pending.answer().unwrap().ok();
    assert!(answer.bytes == file, "{} bytes", answer.bytes.len());
    let largest = scene.hosts[1].blobs.largest_piece.get();
    assert!(largest <= 1 << 20, "{largest} bytes came at once");
    assert_eq!((scene.seen(0).len(), scene.seen(1).len()), (20, 20));
}

#[test]
fn a_file_that_is_cut_off_or_stands_still_leaves_nothing_and_is_fetched_again() {
    for deed in [Deed::CutOff(9), Deed::StandStill(9), Deed::StandStill(0)] {
        let (scene, file, target) = scene(2 * MB);
        scene.good.does(deed);
        let mut pending = download(&scene, &target);
        scene.minutes(2);
        pending.answer().unwrap().refused(502, "M_UNKNOWN");
        assert_eq!(scene.hosts[1].blobs.names(), [] as [&str; 0]);
        scene.good.does(Deed::Pass);
        assert!(download(&scene, &target).answer().unwrap().ok().bytes == file);
    }
}
