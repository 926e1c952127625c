//! Parts of an answer that are JSON already: an event goes into its section as it was stored, without becoming a value first.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::ordered::OrderedMap;

/// An object on its way into an answer, put together from sections of whatever type.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Sections(OrderedMap<String, Box<RawValue>>);

impl Sections {
    /// Puts a section in, in place of one of the same name.
    pub(crate) fn insert(&mut self, name: &str, section: &(impl Serialize + ?Sized)) {
        // What is told has string keys throughout, so that it can always be written.
        self.0.insert(name.to_owned(), to_raw_value(section).unwrap_or_default());
    }

    /// The object with this one section.
    pub(crate) fn of(name: &str, section: &impl Serialize) -> Self {
        let mut sections = Self::default();
        sections.insert(name, section);
        sections
    }

    /// The same of a section that may not be.
    pub(crate) fn insert_some(&mut self, name: &str, section: Option<impl Serialize>) {
        if let Some(section) = section {
            self.insert(name, &section);
        }
    }

    /// Whether there is a section of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
