//! What relays' answers are worth: a node's own word is signed, and so is what it has left with a relay. The rest is the relay's word.

use std::cell::RefCell;

use inglenook_protocol::{
    answer::SignedAnswer,
    deposit::{Asked, DEPOSITS, Deposit},
    key_name::public_key_of,
    path::{self, Outcome},
};
use ruma::CanonicalJsonObject;
use serde_json::Map;

use crate::{
    federation_client::read,
    http::{Body, Request, Response},
    ordered::OrderedMap,
    parse,
    ports::Destination,
};

/// Of so many users' deposits it is known which were the last. Past that, all are believed that are not out of date.
const MAX_REMEMBERED: usize = 1_000;

/// What a relay said of a request.
pub(super) enum Said {
    Answered(Response),
    /// It is stored, by the relay that was asked or by the one that it names.
    Stored(Option<String>),
    /// Why not; and whether the relay has to do with the destination at all.
    Refused(String, bool),
}

/// Reads relays' answers.
#[derive(Default)]
pub(super) struct Answers {
    /// When the last deposit of a node, kind and user was made, of those that were seen.
    newest: RefCell<OrderedMap<String, u64>>,
}

impl Answers {
    /// What a relay's answer, which came at `now`, says of the request.
    pub(super) fn read(&self, to: &Destination, request: &Request, response: Response, now: u64) -> Said {
        let forged = || Said::Refused("the answer is not signed by its server".into(), false);
        match Outcome::parse(response.headers.get(path::OUTCOME_HEADER).map(String::as_str)) {
            Outcome::Answered if is_own(to, request, &response) => Said::Answered(response),
            Outcome::Answered => forged(),
            Outcome::Deposit => self.of_deposit(to, request, &response, now).map_or_else(forged, Said::Answered),
            Outcome::Stored => Said::Stored(response.headers.get(path::RELAYS_HEADER).cloned()),
            // A relay's own word of where somebody is, which proves itself.
            Outcome::Refused if response.status == 200 && request.path.starts_with(path::RECORD) => Said::Answered(response),
            Outcome::Refused => {
                let is_known = !matches!(response.status, 401 | 404);
                let why = match read(response) {
                    Ok(_) => "the relay does not say what became of the request".into(),
                    Err(error) => error.to_string(),
                };
                Said::Refused(why, is_known)
            }
        }
    }

    /// The answer that can be made of what the destination has left about those who were asked for. The relay may keep something back.
    fn of_deposit(&self, to: &Destination, request: &Request, response: &Response, now: u64) -> Option<Response> {
        let (target, asked_for, told) = (request.target(), bytes(&request.body)?, bytes(&response.body)?);
        let asked = Asked::of(request.method.as_str(), &target)?;
        let mut told: OrderedMap<String, OrderedMap<String, CanonicalJsonObject>> = parse::json(told).ok()?;
        let mut left = Map::new();
        for (user, signed) in told.remove(DEPOSITS)? {
            let deposit = Deposit::verify(&signed, &to.name, asked.kind(), &user).ok()?;
            if deposit.until < now || !self.is_newest(format!("{} {} {user}", to.name, deposit.kind), deposit.ts) {
                return None;
            }
            left.insert(user, deposit.content);
        }
        Some(Response::ok(&asked.answer(&left, asked_for).ok()?))
    }

    /// Whether none was seen that was made later: a relay must not bring back devices that are gone.
    fn is_newest(&self, of: String, ts: u64) -> bool {
        let mut newest = self.newest.borrow_mut();
        if newest.len() >= MAX_REMEMBERED {
            newest.clear();
        }
        let known = newest.entry(of).or_insert(ts);
        *known = ts.max(*known);
        *known == ts
    }
}

/// Whether the answer is the destination's own: what a relay makes up could have this server encrypt for a device of the relay's. Only
/// those sign whose name is made of their key, and not the files that they stream: nobody could check these before the end.
fn is_own(to: &Destination, request: &Request, response: &Response) -> bool {
    if public_key_of(&to.name).is_none() || matches!(response.body, Body::Coming(_)) {
        return true;
    }
    let (Some(authorization), Some(signature), Some(body)) =
        (request.header("authorization"), response.headers.get(path::ANSWER_HEADER), bytes(&response.body))
    else {
        return false;
    };
    let answer = SignedAnswer { uri: &request.target(), authorization, answerer: &to.name, status: response.status, body };
    answer.is_signed(signature)
}

fn bytes(body: &Body) -> Option<&[u8]> {
    match body {
        Body::Empty => Some(b""),
        Body::Bytes(bytes) => Some(bytes),
        Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => None,
    }
}
