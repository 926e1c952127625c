//! People's devices and the keys of these, and what others know of them.

use std::collections::BTreeSet;

use inglenook::http::Method;
use serde_json::{Value, json};

use super::world::World;
use crate::support::{PASSWORD, Signer, User, encode};

/// A user logs in on so many devices more at most.
const MAX_MORE: usize = 2;

/// The sessions of a node's user beside the first, and what the first one's client knows.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    more: Vec<User>,
    /// Up to where the client was told of others' devices, before any of them changed.
    since: String,
    /// Whether a device came or went since, as was acknowledged to a client.
    has_changed: bool,
}

impl World {
    /// Everybody's device has keys before anybody knows of it.
    pub(crate) fn upload_first_keys(&self) {
        for (node, user) in self.users.iter().enumerate() {
            self.upload_keys(node, user).expect("an answer").ok();
        }
    }

    /// From now on everybody's client hears of others' devices.
    pub(crate) fn begin_sessions(&mut self) {
        for node in 0..self.users.len() {
            let told = self.network[node].sync(&self.users[node], None);
            let since = told["next_batch"].as_str().expect("a token").to_owned();
            self.sessions.push(Sessions { since, ..Sessions::default() });
        }
    }

    fn upload_keys(&self, node: usize, session: &User) -> Option<crate::support::Answer> {
        let seed = u8::try_from(self.chance.below(256)).unwrap_or_default();
        let keys = Signer::of_device(&session.id, &session.device, seed).device_keys();
        self.request_with(node, &session.token, Method::Post, "/_matrix/client/v3/keys/upload", json!({ "device_keys": keys }))
    }

    pub(crate) fn change_devices(&mut self, node: usize) {
        match self.chance.below(5) {
            0 => self.log_in(node),
            1 => self.log_out(node),
            2 | 3 => self.rename_a_device(node),
            _ => self.ask_for_keys(node),
        }
    }

    pub(crate) fn log_in(&mut self, node: usize) {
        if self.sessions[node].more.len() == MAX_MORE {
            return;
        }
        let identifier = json!({ "type": "m.id.user", "user": self.users[node].id });
        let body = json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD });
        let answer = self.request(node, Method::Post, "/_matrix/client/v3/login", body);
        self.tell_of(node, "logs in once more", answer.as_ref());
        let Some(answer) = answer.filter(|answer| answer.status == 200) else { return };
        let session = User { id: self.users[node].id.clone(), token: answer.text("access_token"), device: answer.text("device_id") };
        let answer = self.upload_keys(node, &session);
        self.note_change(node, &format!("uploads the keys of {}", session.device), answer.as_ref());
        self.sessions[node].more.push(session);
    }

    fn log_out(&mut self, node: usize) {
        let Some(session) = self.sessions[node].more.last().cloned() else { return self.log_in(node) };
        let answer = self.request_with(node, &session.token, Method::Post, "/_matrix/client/v3/logout", json!({}));
        self.note_change(node, &format!("logs {} out", session.device), answer.as_ref());
        if answer.is_some_and(|answer| matches!(answer.status, 200 | 401)) {
            self.sessions[node].more.pop();
        }
    }

    fn note_change(&mut self, node: usize, what: &str, answer: Option<&crate::support::Answer>) {
        self.tell_of(node, what, answer);
        self.sessions[node].has_changed |= answer.is_some_and(|answer| answer.status == 200);
    }

    fn rename_a_device(&mut self, node: usize) {
        let own = std::iter::once(&self.users[node]).chain(&self.sessions[node].more).map(|session| session.device.clone());
        let own: Vec<_> = own.collect();
        let (device, number) = (&own[self.chance.index(own.len())], self.transaction());
        let body = json!({ "display_name": format!("Device {number}") });
        let answer = self.request(node, Method::Put, &format!("/_matrix/client/v3/devices/{}", encode(device)), body);
        self.tell_of(node, &format!("calls {device} {number}"), answer.as_ref());
    }

    fn ask_for_keys(&mut self, node: usize) {
        let answer = self.request(node, Method::Post, "/_matrix/client/v3/keys/query", keys_of(self.users.iter()));
        self.tell_of(node, "asks for everybody's keys", answer.as_ref());
    }
}

fn keys_of<'a>(users: impl Iterator<Item = &'a User>) -> Value {
    let wanted: serde_json::Map<_, _> = users.map(|user| (user.id.clone(), json!([]))).collect();
    json!({ "device_keys": wanted })
}

/// Who shares a room knows the other's devices as the other's server does, and was told of it when one came or went.
pub(crate) fn those_of_others_are_known(world: &World, members_of_rooms: &[Vec<usize>]) {
    let everybody = 0..world.users.len();
    // Whoever asks hears of changes by that as well.
    let changes: Vec<_> = everybody.clone().map(|node| told_changes(world, node)).collect();
    let known: Vec<_> = everybody.clone().map(|node| known_devices(world, node)).collect();
    for viewer in everybody.clone() {
        let shared = members_of_rooms.iter().filter(|joined| joined.contains(&viewer));
        let others: BTreeSet<_> = shared.flatten().copied().filter(|other| *other != viewer).collect();
        for other in others {
            let user = &world.users[other].id;
            assert_eq!(known[viewer][user], known[other][user], "the devices of node {other}'s user as node {viewer} knows them");
            let is_told = changes[viewer].contains(user);
            assert!(is_told || !world.sessions[other].has_changed, "node {viewer} was not told that node {other}'s devices have changed");
        }
    }
}

fn known_devices(world: &World, node: usize) -> Value {
    let target = "/_matrix/client/v3/keys/query";
    world.request(node, Method::Post, target, keys_of(world.users.iter())).expect("an answer").ok().body["device_keys"].clone()
}

/// Whose devices a client is told to have changed since the beginning.
fn told_changes(world: &World, node: usize) -> BTreeSet<String> {
    let now = world.network[node].sync(&world.users[node], None)["next_batch"].as_str().expect("a token").to_owned();
    let target = format!("/_matrix/client/v3/keys/changes?from={}&to={}", encode(&world.sessions[node].since), encode(&now));
    let answer = world.request(node, Method::Get, &target, json!({})).expect("an answer").ok();
    answer.body["changed"].as_array().into_iter().flatten().filter_map(|user| Some(user.as_str()?.to_owned())).collect()
}
