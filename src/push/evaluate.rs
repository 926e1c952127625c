//! What a user's push rules make of an event: a pure function of the two and of what the room is like at the time.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use ruma::UserId;
use serde_json::Value;

use super::glob::{Pattern, lower_case};
use crate::room_server::PowerLevels;

/// What rules may ask beside the event.
#[derive(Clone, Copy)]
pub(crate) struct PushContext<'a> {
    /// Whose rules they are.
    pub(crate) user_id: &'a UserId,
    /// The user's display name in the room.
    pub(crate) display_name: Option<&'a str>,
    /// How many members the room has.
    pub(crate) member_count: u64,
    pub(crate) power_levels: &'a PowerLevels,
}

/// What is to be done about an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions {
    pub(crate) notify: bool,
    pub(crate) highlight: bool,
}

/// The kinds of rules, the most important one first.
pub(crate) const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

/// Numbers beyond this are no integers of canonical JSON.
///
/// <https://spec.matrix.org/v1.19/appendices/#canonical-json>
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Evaluates the content of `m.push_rules` for an event in the format for clients, which must name its room.
pub(crate) fn evaluate(rules: &Value, event: &Value, context: &PushContext<'_>) -> Actions {
    if event.get("sender").and_then(Value::as_str) == Some(context.user_id.as_str()) {
        return Actions::default();
    }
    let global = rules.get("global");
    let of_kind = |kind: &'static str| {
        let rules = global.and_then(|global| global.get(kind)).and_then(Value::as_array).into_iter().flatten();
        rules.map(move |rule| (kind, rule))
    };
    let mut rules = KINDS.into_iter().flat_map(of_kind);
    rules.find(|(kind, rule)| matches(kind, rule, event, context)).map(|(_, rule)| actions(rule)).unwrap_or_default()
}

fn matches(kind: &str, rule: &Value, event: &Value, context: &PushContext<'_>) -> bool {
    if rule.get("enabled").and_then(Value::as_bool) != Some(true) {
        return false;
    }
    let rule_id = rule.get("rule_id").and_then(Value::as_str);
    let is_rule_id = |key: &str| rule_id.is_some() && event.get(key).and_then(Value::as_str) == rule_id;
    match kind {
        "content" => str_of(rule, "pattern").is_some_and(|pattern| event_match(event, "content.body", pattern)),
        "room" => is_rule_id("room_id"),
        "sender" => is_rule_id("sender"),
        _ => match rule.get("conditions") {
            None | Some(Value::Null) => true,
            Some(conditions) => conditions.as_array().is_some_and(|all| all.iter().all(|condition| holds(condition, event, context))),
        },
    }
}

/// Whether a condition holds. One that is not known or not complete never does.
fn holds(condition: &Value, event: &Value, context: &PushContext<'_>) -> bool {
    let key = str_of(condition, "key");
    let held = match str_of(condition, "kind") {
        Some("event_match") => key.zip(str_of(condition, "pattern")).map(|(key, pattern)| event_match(event, key, pattern)),
        Some("event_property_is") => key.zip(condition.get("value")).map(|(key, value)| property_is(event, key, value)),
        Some("event_property_contains") => key.zip(condition.get("value")).map(|(key, value)| property_contains(event, key, value)),
        Some("contains_display_name") => Some(contains_display_name(event, context.display_name)),
        Some("room_member_count") => str_of(condition, "is").map(|is| member_count_is(context.member_count, is)),
        Some("sender_notification_permission") => key.map(|key| sender_may_notify(event, key, context.power_levels)),
        _ => None,
    };
    held.unwrap_or(false)
}

fn event_match(event: &Value, key: &str, pattern: &str) -> bool {
    let Some(text) = property(event, key).and_then(Value::as_str) else { return false };
    match key {
        "content.body" => Pattern::glob(pattern).matches_words(text),
        // Most patterns are names, which most events have not: that is seen by their first letters.
        _ if !pattern.contains(['*', '?']) => lower_case(pattern).eq(lower_case(text)),
        _ => Pattern::glob(pattern).matches(text),
    }
}

fn property_is(event: &Value, key: &str, value: &Value) -> bool {
    property(event, key).is_some_and(|found| is_simple(found) && found == value)
}

fn property_contains(event: &Value, key: &str, value: &Value) -> bool {
    let Some(elements) = property(event, key).and_then(Value::as_array) else { return false };
    elements.iter().any(|element| is_simple(element) && element == value)
}

fn contains_display_name(event: &Value, display_name: Option<&str>) -> bool {
    let body = property(event, "content.body").and_then(Value::as_str);
    let name = display_name.filter(|name| !name.is_empty());
    body.zip(name).is_some_and(|(body, name)| Pattern::literal(name).matches_words(body))
}

fn member_count_is(count: u64, is: &str) -> bool {
    let number_at = is.find(|character: char| character.is_ascii_digit()).unwrap_or(is.len());
    let (operator, number) = is.split_at(number_at);
    let Ok(number) = number.parse::<u64>() else { return false };
    match operator {
        "" | "==" => count == number,
        "<" => count < number,
        ">" => count > number,
        "<=" => count <= number,
        ">=" => count >= number,
        _ => false,
    }
}

fn sender_may_notify(event: &Value, key: &str, power_levels: &PowerLevels) -> bool {
    let sender = event.get("sender").and_then(Value::as_str).and_then(|sender| UserId::parse(sender).ok());
    sender.is_some_and(|sender| power_levels.user(&sender) >= power_levels.notification(key))
}

/// Values that canonical JSON has and that are not made of others.
fn is_simple(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.as_i64().is_some_and(|number| number.unsigned_abs() <= MAX_INTEGER),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The property at a path of names that are divided by dots; a backslash escapes a dot or a backslash in a name.
///
/// <https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths>
fn property<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    let below = |value: &'a Value, name: &str| value.as_object()?.get(name);
    match path.contains('\\') {
        true => crate::filter::split_path(path).iter().try_fold(event, |value, name| below(value, name)),
        false => path.split('.').try_fold(event, below),
    }
}

fn actions(rule: &Value) -> Actions {
    let actions = rule.get("actions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let notify = actions.iter().any(|action| action == "notify");
    let highlights =
        |action: &Value| str_of(action, "set_tweak") == Some("highlight") && action.get("value").is_none_or(|value| value == true);
    Actions { notify, highlight: notify && actions.iter().any(highlights) }
}

fn str_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests;
