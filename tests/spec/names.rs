//! Names that cases use for what the scene made: users, tokens, rooms, events.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::encode;

/// Names and what they stand for.
#[derive(Clone, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// Gives something a name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    /// What the name stands for.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("nothing is called {name:?}"))
    }

    /// A target with percent-encoded values in the place of names.
    pub(crate) fn in_target(&self, target: &str) -> String {
        let filled = self.0.iter().fold(target.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &encode(value)));
        assert!(!filled.split('?').next().unwrap_or_default().contains('{'), "{target} has an unknown name");
        filled
    }

    /// JSON with values in the place of names, in strings and in keys.
    pub(crate) fn in_json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.in_text(text).into(),
            Value::Array(values) => values.iter().map(|value| self.in_json(value)).collect(),
            Value::Object(fields) => fields.iter().map(|(name, value)| (self.in_text(name), self.in_json(value))).collect(),
            other => other.clone(),
        }
    }

    /// Text with values in the place of names.
    pub(crate) fn in_text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
}
