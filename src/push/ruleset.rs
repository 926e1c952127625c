//! Changes of a user's push rules: pure functions of the content of `m.push_rules`.

use serde_json::{Map, Value, json};

use super::{evaluate::KINDS, rules::MASTER};
use crate::error::Error;

/// A rule that a user wants to have.
pub(crate) struct NewRule {
    pub(crate) rule_id: String,
    pub(crate) actions: Value,
    pub(crate) conditions: Option<Value>,
    pub(crate) pattern: Option<String>,
}

/// Where among the rules of its kind a rule is to stand.
#[derive(Default)]
pub(crate) struct Place<'a> {
    /// The rule that it comes right before.
    pub(crate) before: Option<&'a str>,
    /// The rule that it comes right after.
    pub(crate) after: Option<&'a str>,
}

/// One rule.
pub(crate) fn find<'a>(content: &'a Value, kind: &str, rule_id: &str) -> Result<&'a Value, Error> {
    let rules = content.get("global").and_then(|global| global.get(kind)).and_then(Value::as_array);
    rules.into_iter().flatten().find(|rule| is(rule, rule_id)).ok_or_else(not_found)
}

/// Sets one field of a rule.
pub(crate) fn set_field(content: &mut Value, kind: &str, rule_id: &str, field: &str, value: Value) -> Result<(), Error> {
    let rule = of_kind(content, kind)?.iter_mut().find(|rule| is(rule, rule_id)).ok_or_else(not_found)?;
    if let Some(rule) = rule.as_object_mut() {
        rule.insert(field.to_owned(), value);
    }
    Ok(())
}

/// Makes a user's rule, or changes the one of that ID; a rule that exists stays enabled or disabled as it was.
pub(crate) fn put(content: &mut Value, kind: &str, new: NewRule, place: &Place<'_>) -> Result<(), Error> {
    let rules = of_kind(content, kind)?;
    let old = rules.iter().position(|rule| is(rule, &new.rule_id));
    let enabled = old.and_then(|index| rules.get(index)).and_then(|rule| rule.get("enabled")).cloned().unwrap_or(true.into());
    let rule = new.into_rule(enabled);
    match (old, place.before.or(place.after)) {
        (Some(index), None) => {
            if let Some(old) = rules.get_mut(index) {
                *old = rule;
            }
        }
        (None, None) => rules.insert(most_important(rules), rule),
        (old, Some(_)) => {
            if let Some(index) = old {
                rules.remove(index);
            }
            let index = index_of(rules, place)?;
            rules.insert(index, rule);
        }
    }
    Ok(())
}

/// Removes a user's rule.
pub(crate) fn remove(content: &mut Value, kind: &str, rule_id: &str) -> Result<(), Error> {
    let rules = of_kind(content, kind)?;
    let index = rules.iter().position(|rule| is(rule, rule_id)).ok_or_else(not_found)?;
    if rules.get(index).is_some_and(is_predefined) {
        return Err(Error::invalid_param("Predefined rules can be disabled, but not removed."));
    }
    rules.remove(index);
    Ok(())
}

impl NewRule {
    fn into_rule(self, enabled: Value) -> Value {
        let mut rule = Map::new();
        rule.insert("rule_id".into(), self.rule_id.into());
        rule.insert("default".into(), false.into());
        rule.insert("enabled".into(), enabled);
        rule.insert("actions".into(), self.actions);
        if let Some(conditions) = self.conditions {
            rule.insert("conditions".into(), conditions);
        }
        if let Some(pattern) = self.pattern {
            rule.insert("pattern".into(), pattern.into());
        }
        rule.into()
    }
}

fn of_kind<'a>(content: &'a mut Value, kind: &str) -> Result<&'a mut Vec<Value>, Error> {
    if !KINDS.contains(&kind) {
        return Err(Error::invalid_param(format!("There are no push rules of the kind {kind:?}.")));
    }
    let rules = content.get_mut("global").and_then(Value::as_object_mut);
    let rules = rules.map(|global| global.entry(kind).or_insert_with(|| json!([])));
    rules.and_then(Value::as_array_mut).ok_or_else(|| Error::bug("stored push rules of another shape"))
}

/// The place of the most important rule that is the user's own.
fn most_important(rules: &[Value]) -> usize {
    usize::from(rules.first().is_some_and(|rule| is(rule, MASTER)))
}

fn index_of(rules: &[Value], place: &Place<'_>) -> Result<usize, Error> {
    let (id, offset) = match (place.before, place.after) {
        (Some(before), _) => (before, 0),
        (None, after) => (after.unwrap_or_default(), 1),
    };
    let index = rules.iter().position(|rule| is(rule, id) && !is_predefined(rule));
    let index = index.ok_or_else(|| Error::refused(400, "M_UNKNOWN", format!("You have no rule {id:?} of this kind to stand beside.")))?;
    Ok(index + offset)
}

fn is(rule: &Value, rule_id: &str) -> bool {
    rule.get("rule_id").and_then(Value::as_str) == Some(rule_id)
}

fn is_predefined(rule: &Value) -> bool {
    rule.get("default") == Some(&Value::Bool(true))
}

fn not_found() -> Error {
    Error::not_found("There is no such push rule.")
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{super::rules::predefined, *};

    fn ids(content: &Value, kind: &str) -> Vec<String> {
        content["global"][kind].as_array().unwrap().iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
    }

    fn rule(id: &str) -> NewRule {
        NewRule { rule_id: id.into(), actions: json!(["notify"]), conditions: None, pattern: None }
    }

    fn content() -> Value {
        predefined(user_id!("@ada:example.org"))
    }

    #[test]
    fn new_rules_come_first_but_behind_the_master() {
        let mut content = content();
        put(&mut content, "override", rule("a"), &Place::default()).unwrap();
        put(&mut content, "override", rule("b"), &Place::default()).unwrap();
        put(&mut content, "underride", rule("c"), &Place::default()).unwrap();
        assert_eq!(ids(&content, "override")[..4], [".m.rule.master", "b", "a", ".m.rule.suppress_notices"]);
        assert_eq!(ids(&content, "underride")[..2], ["c", ".m.rule.call"]);
    }

    #[test]
    fn rules_move_before_and_after_others() {
        let mut content = content();
        for id in ["c", "b", "a"] {
            put(&mut content, "content", rule(id), &Place::default()).unwrap();
        }
        put(&mut content, "content", rule("d"), &Place { before: Some("b"), after: Some("c") }).unwrap();
        assert_eq!(ids(&content, "content"), ["a", "d", "b", "c"]);
        put(&mut content, "content", rule("a"), &Place { before: None, after: Some("b") }).unwrap();
        assert_eq!(ids(&content, "content"), ["d", "b", "a", "c"]);
        put(&mut content, "content", rule("b"), &Place::default()).unwrap();
        assert_eq!(ids(&content, "content"), ["d", "b", "a", "c"]);
    }

    #[test]
    fn no_rule_stands_beside_a_predefined_or_missing_one() {
        let mut content = content();
        for id in [".m.rule.master", "missing"] {
            let before = Place { before: Some(id), after: None };
            assert!(put(&mut content, "override", rule("a"), &before).is_err());
        }
    }

    #[test]
    fn a_changed_rule_stays_disabled() {
        let mut content = content();
        put(&mut content, "room", rule("a"), &Place::default()).unwrap();
        set_field(&mut content, "room", "a", "enabled", false.into()).unwrap();
        put(&mut content, "room", rule("a"), &Place::default()).unwrap();
        assert_eq!(find(&content, "room", "a").unwrap()["enabled"], false);
    }

    #[test]
    fn only_ones_own_rules_are_removed() {
        let mut content = content();
        put(&mut content, "sender", rule("a"), &Place::default()).unwrap();
        remove(&mut content, "sender", "a").unwrap();
        assert!(find(&content, "sender", "a").is_err());
        assert!(remove(&mut content, "sender", "a").is_err());
        assert!(remove(&mut content, "override", ".m.rule.master").is_err());
        assert!(remove(&mut content, "other", "a").is_err());
    }
}
