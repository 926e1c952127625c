//! What people do, and what happens to their nodes.

use inglenook::http::Method;
use serde_json::json;

use super::world::{Acknowledged, World};
use crate::support::{Answer, Fault, encode};

impl World {
    /// Does one thing.
    pub(crate) fn act(&mut self) {
        let up = self.up();
        let Some(node) = up.get(self.chance.index(up.len())).copied() else { return self.restart_one() };
        match self.chance.below(100) {
            0..26 => self.speak_somewhere(node),
            26..29 => self.whisper(node),
            29..35 => self.set_topic(node),
            35..45 => self.come_or_go(node),
            45..50 => self.kick(node),
            50..54 => self.promote(node),
            54..58 => self.redact(node),
            58..62 => self.change_join_rule(node),
            62..66 => self.answer_a_knock(node),
            66..67 => self.upgrade(node),
            67..69 => self.follow(node),
            69..72 => self.read_somewhere(node),
            72..75 => self.change_devices(node),
            75..80 => self.cut_or_heal(),
            80..85 => self.crash(node),
            85..90 => self.restart_one(),
            90..94 => self.trouble_a_relay(),
            _ => {
                let millis = 1 + self.chance.below(120_000);
                self.tell(format!("{millis} ms pass"));
                self.settle(millis);
            }
        }
        self.restart_stopped();
    }

    /// Notes an answer, and what it promises.
    pub(crate) fn note(&mut self, node: usize, room: usize, what: &str, answer: Option<Answer>) {
        self.tell_of(node, &format!("{what} in room {room}"), answer.as_ref());
        if let Some(answer) = answer.filter(|answer| answer.status == 200)
            && let Some(event) = answer.body["event_id"].as_str()
        {
            self.acknowledged.push(Acknowledged { node, room, event: event.to_owned() });
        }
    }

    /// Notes what a node's user has done, and what became of it.
    pub(crate) fn tell_of(&self, node: usize, what: &str, answer: Option<&Answer>) {
        let code = |answer: &Answer| answer.body["errcode"].as_str().unwrap_or_default().to_owned();
        let status = answer.map_or("nothing".into(), |answer| format!("{} {}", answer.status, code(answer)));
        self.tell(format!("node {node}: {what} → {status}"));
    }

    pub(crate) fn transaction(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    pub(crate) fn speak_somewhere(&mut self, node: usize) {
        let room = self.some_room(node);
        self.say(node, room);
    }

    /// Says something, or takes another name where only some may speak.
    pub(crate) fn speak_up(&mut self, node: usize, room: usize) {
        if !self.say(node, room) {
            self.take_another_name(node, room);
        }
    }

    /// Says something, and returns whether that was allowed.
    fn say(&mut self, node: usize, room: usize) -> bool {
        let transaction = self.transaction();
        let body = json!({ "msgtype": "m.text", "body": format!("message {transaction}") });
        let answer = self.in_room(node, room, Method::Put, &format!("send/m.room.message/{transaction}"), body);
        let is_said = answer.as_ref().is_some_and(|answer| answer.status == 200);
        self.note(node, room, &format!("says {transaction}"), answer);
        is_said
    }

    fn take_another_name(&mut self, node: usize, room: usize) {
        let (transaction, user) = (self.transaction(), encode(&self.users[node].id));
        let content = json!({ "membership": "join", "displayname": format!("Name {transaction}") });
        let answer = self.in_room(node, room, Method::Put, &format!("state/m.room.member/{user}"), content);
        self.note(node, room, &format!("takes name {transaction}"), answer);
    }

    /// Sends somebody a message from device to device, who may be in the room or not.
    fn whisper(&mut self, node: usize) {
        let (other, number) = (self.chance.index(self.users.len()), self.transaction());
        let body = json!({ "messages": { &self.users[other].id: { "*": { "number": number } } } });
        let answer = self.request(node, Method::Put, &format!("/_matrix/client/v3/sendToDevice/m.whisper/{number}"), body);
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            self.whispers.push((other, number));
        }
        self.tell_of(node, &format!("whispers {number} to {other}"), answer.as_ref());
    }

    fn set_topic(&mut self, node: usize) {
        let (room, transaction) = (self.some_room(node), self.transaction());
        let answer = self.in_room(node, room, Method::Put, "state/m.room.topic", json!({ "topic": format!("topic {transaction}") }));
        self.note(node, room, &format!("sets topic {transaction}"), answer);
    }

    fn kick(&mut self, node: usize) {
        let (room, other) = (self.some_room(node), self.chance.index(self.users.len()));
        if other == node || other == self.rooms[room].founder {
            return;
        }
        let verb = ["kick", "ban", "unban", "invite"][self.chance.index(4)];
        if matches!(verb, "kick" | "ban") {
            self.moved.insert((room, other));
        }
        let answer = self.in_room(node, room, Method::Post, verb, json!({ "user_id": self.users[other].id }));
        self.note(node, room, &format!("{verb}s {other}"), answer);
    }

    fn promote(&mut self, node: usize) {
        let (room, other) = (self.some_room(node), self.chance.index(self.users.len()));
        let levels = self.in_room(node, room, Method::Get, "state/m.room.power_levels/", json!({}));
        let Some(answer) = levels.filter(|answer| answer.status == 200) else { return };
        let mut levels = answer.body;
        levels["users"][&self.users[other].id] = json!([0, 50, 100][self.chance.index(3)]);
        let answer = self.in_room(node, room, Method::Put, "state/m.room.power_levels/", levels);
        self.note(node, room, &format!("changes the power of {other}"), answer);
    }

    fn redact(&mut self, node: usize) {
        let Some(target) = self.acknowledged.get(self.chance.index(self.acknowledged.len())).cloned() else { return };
        let (room, transaction) = (target.room, self.transaction());
        let answer = self.in_room(node, room, Method::Put, &format!("redact/{}/{transaction}", encode(&target.event)), json!({}));
        self.note(node, room, &format!("redacts {}", target.event), answer);
    }

    fn cut_or_heal(&mut self) {
        let (one, other) = (self.chance.index(self.users.len()), self.chance.index(self.users.len()));
        if one == other {
            return;
        }
        let wire = (one.min(other), one.max(other));
        if self.cut.remove(&wire) {
            self.network.heal(one, other);
            self.tell(format!("{one} and {other} reach each other again"));
        } else {
            self.cut.insert(wire);
            self.network.cut(one, other);
            self.tell(format!("{one} and {other} are cut off from each other"));
        }
    }

    /// The power of a node will go at one of its next commits, or goes at once.
    fn crash(&mut self, node: usize) {
        let commit = 1 + self.chance.below(6);
        let fault = [Fault::StopBefore(commit), Fault::StopAfter(commit), Fault::FailAt(commit)][self.chance.index(3)];
        if self.chance.percent(30) {
            self.tell(format!("node {node} is killed"));
            self.network[node].kill();
            self.down.insert(node);
        } else {
            self.tell(format!("node {node} will see {fault:?}"));
            self.network[node].store.set_fault(Some(fault));
        }
    }

    /// A relay crashes, or is back; once in a while its disk is lost.
    fn trouble_a_relay(&mut self) {
        let number = self.chance.index(self.relays.len());
        let Some(relay) = self.relays.get(number) else { return };
        relay.set_down(!relay.is_down());
        let is_lost = self.chance.percent(20);
        if is_lost {
            relay.lose_mail();
        }
        let (state, disk) = (if relay.is_down() { "crashes" } else { "is back" }, if is_lost { ", its disk is lost" } else { "" });
        self.tell(format!("relay {number} {state}{disk}"));
    }

    fn restart_one(&mut self) {
        if let Some(node) = self.down.pop_first() {
            self.tell(format!("node {node} starts again"));
            self.network[node].restart();
        }
    }

    /// A node without power starts again sooner or later.
    fn restart_stopped(&mut self) {
        for node in 0..self.users.len() {
            if self.network[node].store.is_stopped() && !self.down.contains(&node) && self.chance.percent(30) {
                self.tell(format!("node {node} starts again after the power went"));
                self.network[node].restart();
            }
        }
    }
}
