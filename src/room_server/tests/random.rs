//! Random rooms: events by users of several servers, with and without the power for them, at random places of the graph.

use proptest::{collection::vec, prelude::*};
use ruma::OwnedEventId;
use serde_json::json;

use super::world::{ALICE, BOB, CAROL, DAVE, Recipe, World, user};
use crate::{event::NewEvent, room_server::Verdict};

pub(super) const USERS: [&str; 4] = [ALICE, BOB, CAROL, DAVE];

/// One step of a room's life.
#[derive(Clone, Debug)]
pub(super) struct Step {
    action: Action,
    sender: usize,
    /// How many events back those are that it builds on; none for the extremities.
    back: Vec<usize>,
    /// How far back the event is whose state authorises it, if not the state before it.
    stale: Option<usize>,
    /// How far back the event is that is named as authorising it without right.
    forged: Option<usize>,
    /// Whether its time is the one of the event before it.
    same_time: bool,
}

#[derive(Clone, Debug)]
enum Action {
    Message,
    Topic,
    Name,
    Join,
    Leave,
    Invite(usize),
    Kick(usize),
    Ban(usize),
    PowerLevels([i64; 3]),
    JoinRules(&'static str),
    Redact(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let level = || prop_oneof![Just(0_i64), Just(50), Just(100)];
    prop_oneof![
        2 => Just(Action::Message),
        4 => Just(Action::Topic),
        1 => Just(Action::Name),
        3 => Just(Action::Join),
        1 => Just(Action::Leave),
        2 => (0..4_usize).prop_map(Action::Invite),
        2 => (0..4_usize).prop_map(Action::Kick),
        3 => (0..4_usize).prop_map(Action::Ban),
        5 => [level(), level(), level()].prop_map(Action::PowerLevels),
        2 => prop_oneof![Just("public"), Just("invite"), Just("private")].prop_map(Action::JoinRules),
        1 => (0..10_usize).prop_map(Action::Redact),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let sender = prop_oneof![4 => Just(0_usize), 3 => Just(1), 2 => Just(2), 1 => Just(3)];
    let back = prop_oneof![2 => Just(Vec::new()), 3 => vec(0..4_usize, 1..2), 3 => vec(0..6_usize, 2..4), 1 => vec(0..30_usize, 1..3)];
    let stale = prop_oneof![9 => Just(None), 1 => (0..8_usize).prop_map(Some)];
    let forged = prop_oneof![12 => Just(None), 1 => (0..8_usize).prop_map(Some)];
    let parts = (action(), sender, back, stale, forged, any::<bool>());
    parts.prop_map(|(action, sender, back, stale, forged, same_time)| Step { action, sender, back, stale, forged, same_time })
}

pub(super) fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), count)
}

/// The room versions of which each changed how state is resolved or events are authorised.
pub(super) fn version() -> impl Strategy<Value = &'static str> {
    prop_oneof![2 => Just("1"), 1 => Just("2"), 1 => Just("6"), 2 => Just("10"), 1 => Just("11"), 4 => Just("12")]
}

/// A world in which all have joined and these steps were made.
pub(super) fn world(version: &str, steps: &[Step]) -> World {
    let world = World::new(version);
    world.make(world.power(ALICE, &[(BOB, 50), (CAROL, 100)]));
    for name in [BOB, CAROL, DAVE] {
        world.make(Recipe::member(name, name, "join"));
    }
    for (index, step) in steps.iter().enumerate() {
        take(&world, step, 100 + index as u64);
    }
    world
}

fn take(world: &World, step: &Step, at: u64) {
    let sender = USERS[step.sender];
    let member = |target: &usize, membership: &str| Recipe::member(sender, USERS[*target], membership);
    let recipe = match &step.action {
        Action::Message => Recipe::message(sender, "hello"),
        Action::Topic => Recipe::topic(sender, &at.to_string()),
        Action::Name => Recipe::of(NewEvent::state(user(sender), "m.room.name", "", json!({ "name": at.to_string() }))),
        Action::Join => member(&step.sender, "join"),
        Action::Leave => member(&step.sender, "leave"),
        Action::Invite(target) => member(target, "invite"),
        Action::Kick(target) => member(target, "leave"),
        Action::Ban(target) => member(target, "ban"),
        Action::PowerLevels(levels) => world.power(sender, &[(BOB, levels[0]), (CAROL, levels[1]), (DAVE, levels[2])]),
        Action::JoinRules(rule) => Recipe::state(sender, "m.room.join_rules", "", json!({ "join_rule": rule })),
        Action::Redact(back) => match redactable(world, *back) {
            Some(target) => Recipe::redaction(sender, &target),
            None => return,
        },
    };
    let mut recipe = recipe.at(if step.same_time { at - 1 } else { at });
    let before: Vec<_> = step.back.iter().filter_map(|back| nth_last(world, *back)).collect();
    if !before.is_empty() {
        let before: std::collections::BTreeSet<_> = before.iter().collect();
        recipe = recipe.after(&before.into_iter().collect::<Vec<_>>());
    }
    if let Some(other) = step.stale.and_then(|back| nth_last(world, back)) {
        recipe = recipe.authorised_as_after(&other);
    }
    if let Some(other) = step.forged.and_then(|back| nth_last(world, back)).filter(|id| *id != world.create()) {
        recipe = recipe.forged_with(&other);
    }
    let (_, verdict) = world.try_make(recipe);
    // The same may even be said twice at the same time and place; then it is the same event.
    assert!(!matches!(verdict, Verdict::Missing { .. }), "the workshop knows all: {verdict:?}");
}

fn nth_last(world: &World, back: usize) -> Option<OwnedEventId> {
    world.made().into_iter().rev().nth(back)
}

/// An event whose content authorises nothing.
fn redactable(world: &World, back: usize) -> Option<OwnedEventId> {
    let target = nth_last(world, back)?;
    let kind = world.event(&target).pdu().kind.to_string();
    matches!(kind.as_str(), "m.room.message" | "m.room.topic" | "m.room.name").then_some(target)
}
