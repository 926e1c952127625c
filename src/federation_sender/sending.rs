//! Making transactions of what waits, sending them, and judging what comes back.

use std::rc::Rc;

use ruma::{OwnedEventId, OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::{
    destination::{Destination, Item, MAX_ITEMS, Outcome},
    progress::{InFlight, Keeping, Refused, Stretch},
    reader,
    transaction::{self, Content, id_of, id_of_notes},
};
use crate::{
    arrange::Arrange,
    error::Error,
    federation_client::{PeerError, read},
    http::{Body, Method, Response},
    parse,
    ports::Reply,
    room_server::Position,
    server::Server,
};

/// So many transactions are under way at a time, for all destinations together.
const MAX_UNDER_WAY: usize = 16;

/// So many of them may be for destinations that have failed or are slow: those that hang, until they time out or nearly so, must not hold
/// up the others.
const MAX_UNDER_WAY_TO_SLUGGISH: usize = 8;

/// So much is kept of what a destination says of an event that it has not taken: a sentence.
const MAX_REASON_CHARS: usize = 200;

/// Entries that are read at a time for a stretch that is sent again.
const CHUNK: usize = 256;

/// A transaction that is ready to be sent.
pub(super) struct Ready {
    to: OwnedServerName,
    target: String,
    body: Value,
    kind: Kind,
}

/// What a transaction tells.
enum Kind {
    /// A stretch of the log, with these events.
    Log(Vec<(OwnedEventId, Position)>),
    /// What has no place in the log.
    Notes,
    /// A stretch that some relays keep, to those that lack it.
    Spread(Vec<(OwnedEventId, Position)>, Vec<String>),
}

/// Makes the transactions that are due.
pub(super) async fn begin_all(server: &Server) -> Result<Vec<Ready>, Error> {
    let mut begun = Vec::new();
    for name in due(server) {
        match begin(server, &name).await {
            Ok(ready) => begun.extend(ready),
            Err(error @ Error::Storage(_)) => return Err(error),
            // Whatever is wrong with what is stored for one destination, the others go on.
            Err(_) => drop(server.federation_sender.with(&name, |destination| destination.stumble(server.now()))),
        }
    }
    Ok(begun)
}

/// The destinations whose turn it is, those that answer soon first, and among them those that were served longest ago.
fn due(server: &Server) -> Vec<OwnedServerName> {
    let (sender, now) = (&server.federation_sender, server.now());
    let mut destinations = sender.destinations.borrow_mut();
    for destination in destinations.values_mut() {
        destination.requeue_lost(now);
    }
    let has_any = |destination: &Destination| destination.has_work() || destination.has_notes() || destination.is_to_spread(now);
    let is_due = |destination: &Destination| has_any(destination) && destination.is_ready(now);
    let of_kind = |sluggish: bool, most: usize| {
        let under_way = |all: bool| destinations.values().filter(|each| each.is_under_way() && (all || each.is_sluggish())).count();
        let free = most.saturating_sub(under_way(!sluggish));
        let mut due: Vec<_> = destinations.iter().filter(|(_, each)| each.is_sluggish() == sluggish && is_due(each)).collect();
        due.arrange_by_key(|(_, each)| each.served_at());
        due.into_iter().take(free).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let mut due = of_kind(false, MAX_UNDER_WAY);
    due.extend(of_kind(true, MAX_UNDER_WAY_TO_SLUGGISH));
    due
}

/// Makes the next transaction of a destination, if there is anything to tell.
async fn begin(server: &Server, name: &ServerName) -> Result<Option<Ready>, Error> {
    let sender = &server.federation_sender;
    loop {
        reader::catch_up(server, name).await?;
        let Some(plan) = sender.with(name, |destination| Plan::of(destination)).flatten() else {
            let has_more = sender.with(name, |destination| destination.wants_reading()).flatten().is_some();
            if has_more {
                // The rest of the log is read in the next turn.
                sender.woken.raise();
                return Ok(None);
            }
            return match begin_notes(server, name).await? {
                Some(ready) => Ok(Some(ready)),
                None => begin_spreading(server, name).await,
            };
        };
        let items = plan.items(server, name).await?;
        let content = Content::of(server, &items.items).await?;
        if content.is_empty() {
            let upto = items.upto;
            sender.with(name, |destination| destination.skip(plan.after, upto));
            continue;
        }
        let last = content.positions.last().copied().unwrap_or(items.upto);
        let upto = if content.is_cut || plan.upto.is_none() { last } else { items.upto };
        let repeated = plan.repeated.clone().filter(|in_flight| in_flight.stretch.upto == upto);
        let in_flight = repeated.unwrap_or_else(|| InFlight {
            stretch: Stretch { after: plan.after, upto, start: server.boot.clone() },
            made_at: server.now(),
        });
        return Ok(Some(ready(server, name, in_flight, content)));
    }
}

/// What relays keep already, once more for those of the destination's relays that have not taken it: whichever is lost or never
/// asked, another has it.
async fn begin_spreading(server: &Server, name: &ServerName) -> Result<Option<Ready>, Error> {
    let (sender, now) = (&server.federation_sender, server.now());
    let lacking = |destination: &mut Destination| {
        let (stretch, relays) = destination.progress.first_lacking().filter(|_| destination.is_to_spread(now))?;
        Some((stretch, relays.to_vec(), destination.most()))
    };
    let Some((stretch, relays, most)) = sender.with(name, lacking).flatten() else { return Ok(None) };
    let known = server.records.relays_of(name).await?;
    let relays: Vec<_> = relays.into_iter().filter(|relay| known.contains(relay)).collect();
    let plan = Plan { after: stretch.after, upto: Some(stretch.upto), repeated: None, waiting: None, most };
    let items = plan.items(server, name).await?;
    let content = Content::of(server, &items.items).await?;
    let upto = if content.is_cut { content.positions.last().copied().unwrap_or(items.upto) } else { items.upto };
    let stretch = Stretch { upto, ..stretch };
    if relays.is_empty() || content.is_empty() {
        sender.with(name, |destination| {
            destination.progress.lack(&stretch, &[]);
            destination.has_changed = true;
        });
        sender.woken.raise();
        return Ok(None);
    }
    let target = format!("/_matrix/federation/v1/send/{}", id_of(&stretch, &server.identity));
    let events = content.events.clone();
    let body = content.body(now, server.identity.server_name());
    sender.with(name, |destination| destination.begin_spreading(stretch));
    Ok(Some(Ready { to: name.to_owned(), target, body, kind: Kind::Spread(events, relays) }))
}

/// What is to be told beside the log, once nothing of the log is to be sent.
async fn begin_notes(server: &Server, name: &ServerName) -> Result<Option<Ready>, Error> {
    let sender = &server.federation_sender;
    let Some(notes) = sender.with(name, |destination| destination.has_notes().then(|| destination.begin_notes())).flatten() else {
        return Ok(None);
    };
    let content = match notes.content(server, name).await {
        Ok(content) => content,
        Err(error) => {
            sender.with(name, Destination::abandon);
            return Err(error);
        }
    };
    let (pdus, edus) = content;
    if pdus.is_empty() && edus.is_empty() {
        sender.with(name, Destination::forget_notes);
        return Ok(None);
    }
    let serial = sender.next_notes();
    let target = format!("/_matrix/federation/v1/send/{}", id_of_notes(server, serial));
    let body = transaction::body(server.identity.server_name(), server.now(), pdus, edus);
    Ok(Some(Ready { to: name.to_owned(), target, body, kind: Kind::Notes }))
}

fn ready(server: &Server, name: &ServerName, in_flight: InFlight, content: Content) -> Ready {
    let (positions, events) = (content.positions.clone(), content.events.clone());
    let id = id_of(&in_flight.stretch, &server.identity);
    let body = content.body(in_flight.made_at, server.identity.server_name());
    server.federation_sender.with(name, |destination| destination.begin(in_flight, positions));
    Ready { to: name.to_owned(), target: format!("/_matrix/federation/v1/send/{id}"), body, kind: Kind::Log(events) }
}

/// What the next transaction is to tell.
struct Plan {
    after: Position,
    /// The end of a stretch that is told again.
    upto: Option<Position>,
    /// The transaction that is repeated as it was.
    repeated: Option<InFlight>,
    /// What waits in memory, for a transaction about what is new.
    waiting: Option<Vec<Item>>,
    most: usize,
}

struct Items {
    items: Vec<Item>,
    upto: Position,
}

impl Plan {
    fn of(destination: &Destination) -> Option<Self> {
        let repeated = destination.progress.in_flight.clone();
        let next = destination.progress.next_part();
        let (after, upto) = repeated.as_ref().map_or(next, |in_flight| (in_flight.stretch.after, Some(in_flight.stretch.upto)));
        let most = if repeated.is_some() { MAX_ITEMS } else { destination.most() };
        let is_new = after == destination.progress.frontier();
        let wanted = |item: &&Item| item.0 > after && upto.is_none_or(|upto| item.0 <= upto);
        let waiting = is_new.then(|| destination.waiting().filter(wanted).take(most).cloned().collect::<Vec<_>>());
        if upto.is_none() && waiting.as_ref().is_none_or(Vec::is_empty) {
            return None;
        }
        Some(Self { after, upto, repeated, waiting, most })
    }

    async fn items(&self, server: &Server, name: &ServerName) -> Result<Items, Error> {
        if let Some(waiting) = &self.waiting {
            let last = waiting.last().map(|(position, _)| *position);
            return Ok(Items { items: waiting.clone(), upto: self.upto.or(last).unwrap_or(self.after) });
        }
        let end = self.upto.unwrap_or(self.after);
        let (mut items, mut upto) = (Vec::new(), self.after);
        while upto < end && items.len() < self.most {
            let (more, reached) = reader::read_for(server, name, upto, end, CHUNK).await?;
            items.extend(more);
            upto = reached;
        }
        if items.len() > self.most {
            items.truncate(self.most);
        }
        if items.len() == self.most {
            upto = items.last().map_or(upto, |(position, _)| *position);
        }
        Ok(Items { items, upto })
    }
}

impl Ready {
    /// Sends it and takes note of what becomes of it.
    pub(super) async fn send(self, server: Rc<Server>) {
        let begun_at = server.now();
        let outcome = self.outcome(&server).await;
        let random = u64::from_le_bytes(server.random());
        let sender = &server.federation_sender;
        let finish = |destination: &mut Destination| match &self.kind {
            Kind::Notes => destination.finish_notes(server.now(), random, &outcome),
            Kind::Log(_) => destination.finish(server.now(), random, outcome),
            Kind::Spread(_, relays) => {
                let still = if let Outcome::Kept(keeping) = &outcome { &keeping.lacking } else { relays };
                destination.finish_spreading(server.now(), random, &outcome, still);
            }
        };
        sender.with(&self.to, |destination| {
            destination.serve(begun_at, server.now());
            finish(destination);
        });
        sender.deliveries.raise();
        sender.woken.raise();
    }

    async fn outcome(&self, server: &Server) -> Outcome {
        let client = &server.federation_client;
        let request = match client.signed(&self.to, Method::Put, &self.target, Some(&self.body)) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        // Where the destination's relays are not known now, none of them is known to lack anything.
        let relays = match &self.kind {
            Kind::Spread(_, relays) => relays.clone(),
            Kind::Log(_) | Kind::Notes => server.records.relays_of(&self.to).await.unwrap_or_default(),
        };
        match client.send_by(&self.to, relays.clone(), request).await {
            Ok(Reply::Kept { relays: kept, retention }) => {
                let lacking = relays.into_iter().filter(|relay| !kept.contains(relay)).collect();
                Outcome::Kept(Keeping { lacking, retention })
            }
            Ok(Reply::Answered(response)) => self.judge(response),
            Err(_) => Outcome::Failed(0),
        }
    }

    fn judge(&self, response: Response) -> Outcome {
        let pause = asked_pause(&response);
        match read(response) {
            Ok(answer) => Outcome::Delivered(self.refused(&answer)),
            Err(PeerError::Refused { status, code, message }) if is_final(status) => {
                Outcome::Refused(format!("{status} {code}: {message}"))
            }
            Err(_) => Outcome::Failed(pause),
        }
    }

    /// The events of the transaction that the destination says it has not taken. What it says of others does not matter.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid_response-200_pdu-processing-result>
    fn refused(&self, answer: &[u8]) -> Vec<Refused> {
        let (Kind::Log(events) | Kind::Spread(events, _)) = &self.kind else { return Vec::new() };
        let answer: Value = parse::json(answer).unwrap_or_default();
        let refused = |(id, position): &(OwnedEventId, Position)| {
            let reason = answer.get("pdus")?.get(id.as_str())?.get("error")?.as_str()?;
            Some(Refused { position: *position, reason: reason.chars().take(MAX_REASON_CHARS).collect() })
        };
        events.iter().filter_map(refused).collect()
    }
}

/// Whether a status will be the same however often the same request is made. The rest passes: a record that is out of date, a
/// quota, a server that is ill.
fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 404 | 408 | 429)
}

/// How long a server that is asked too much wants to be left alone, within reason.
fn asked_pause(response: &Response) -> u64 {
    const MAX_PAUSE_MILLIS: u64 = 3_600_000;
    #[derive(Deserialize)]
    struct Limited {
        retry_after_ms: Option<u64>,
    }
    let Body::Bytes(bytes) = &response.body else { return 0 };
    let of_body = parse::json::<Limited>(bytes).ok().and_then(|limited| limited.retry_after_ms);
    let of_header = || response.headers.get("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()).map(|seconds| seconds * 1000);
    of_body.or_else(of_header).unwrap_or(0).min(MAX_PAUSE_MILLIS)
}
