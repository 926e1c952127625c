//! What people do, and what happens to their nodes.

use inglenook::http::Method;
use serde_json::json;

use super::world::World;
use crate::support::{Fault, encode};

impl World {
    /// Does one thing.
    pub(crate) fn act(&mut self) {
        let up = self.up();
        let Some(node) = up.get(self.chance.index(up.len())).copied() else { return self.restart_one() };
        match self.chance.below(100) {
            0..35 => self.say(node),
            35..40 => self.whisper(node),
            40..52 => self.set_topic(node),
            52..57 => self.leave_or_join(node),
            57..62 => self.kick(node),
            62..67 => self.promote(node),
            67..72 => self.redact(node),
            72..79 => self.cut_or_heal(),
            79..84 => self.crash(node),
            84..89 => self.restart_one(),
            89..93 => self.trouble_a_relay(),
            _ => {
                let millis = 1 + self.chance.below(120_000);
                self.tell(format!("{millis} ms pass"));
                self.settle(millis);
            }
        }
        self.restart_stopped();
    }

    /// Notes an answer, and what it promises.
    fn note(&mut self, node: usize, what: &str, answer: Option<crate::support::Answer>) {
        let status = answer.as_ref().map(|answer| answer.status);
        self.tell(format!("node {node}: {what} → {}", status.map_or("nothing".into(), |status| status.to_string())));
        if let Some(answer) = answer.filter(|answer| answer.status == 200)
            && let Some(event_id) = answer.body["event_id"].as_str()
        {
            self.acknowledged.push((node, event_id.to_owned()));
        }
    }

    fn transaction(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    pub(crate) fn say(&mut self, node: usize) {
        let transaction = self.transaction();
        let body = json!({ "msgtype": "m.text", "body": format!("message {transaction}") });
        let answer = self.in_room(node, Method::Put, &format!("send/m.room.message/{transaction}"), body);
        self.note(node, &format!("says {transaction}"), answer);
    }

    /// Sends somebody a message from device to device, who may be in the room or not.
    fn whisper(&mut self, node: usize) {
        let (other, number) = (self.chance.index(self.users.len()), self.transaction());
        let body = json!({ "messages": { &self.users[other].id: { "*": { "number": number } } } });
        let answer = self.request(node, Method::Put, &format!("/_matrix/client/v3/sendToDevice/m.whisper/{number}"), body);
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            self.whispers.push((other, number));
        }
        self.note(node, &format!("whispers {number} to {other}"), answer);
    }

    fn set_topic(&mut self, node: usize) {
        let transaction = self.transaction();
        let answer = self.in_room(node, Method::Put, "state/m.room.topic", json!({ "topic": format!("topic {transaction}") }));
        self.note(node, &format!("sets topic {transaction}"), answer);
    }

    fn leave_or_join(&mut self, node: usize) {
        let joined = self.in_room(node, Method::Get, "state/m.room.create/", json!({})).is_some_and(|answer| answer.status == 200);
        if joined && node > 0 && self.chance.percent(50) {
            let answer = self.in_room(node, Method::Post, "leave", json!({}));
            return self.note(node, "leaves", answer);
        }
        self.returned.insert(node);
        let answer = self.join(node);
        self.note(node, "joins", answer);
    }

    fn kick(&mut self, node: usize) {
        let other = self.chance.index(self.users.len());
        if other == node || other == 0 {
            return;
        }
        let verb = ["kick", "ban", "unban", "invite"][self.chance.index(4)];
        let answer = self.in_room(node, Method::Post, verb, json!({ "user_id": self.users[other].id }));
        self.note(node, &format!("{verb}s {other}"), answer);
    }

    fn promote(&mut self, node: usize) {
        let other = self.chance.index(self.users.len());
        let Some(answer) = self.in_room(node, Method::Get, "state/m.room.power_levels/", json!({})).filter(|answer| answer.status == 200)
        else {
            return;
        };
        let mut levels = answer.body;
        levels["users"][&self.users[other].id] = json!([0, 50, 100][self.chance.index(3)]);
        let answer = self.in_room(node, Method::Put, "state/m.room.power_levels/", levels);
        self.note(node, &format!("changes the power of {other}"), answer);
    }

    fn redact(&mut self, node: usize) {
        let Some((_, target)) = self.acknowledged.get(self.chance.index(self.acknowledged.len())).cloned() else { return };
        let transaction = self.transaction();
        let answer = self.in_room(node, Method::Put, &format!("redact/{}/{transaction}", encode(&target)), json!({}));
        self.note(node, &format!("redacts {target}"), answer);
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
