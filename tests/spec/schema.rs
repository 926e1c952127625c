//! Validators made of the document's schemas, each built once, when it is first needed.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::{Validator, draft202012};
use serde_json::{Value, json};

use super::document::Operation;

/// Keywords that say nothing about what is valid, or that a validator would take for something else.
const ANNOTATIONS: [&str; 7] = ["$schema", "deprecated", "description", "example", "examples", "title", "externalDocs"];
/// Fields that are described beside the schemas: aggregations, redactions for clients of old, fallback keys, whose presence it is.
const IN_PROSE: [&str; 5] = ["m.relations", "redacts", "device_unused_fallback_key_types", "fallback", "sender"];

type Cache = BTreeMap<(String, u16), Arc<Rules>>;
static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);
static STANDARD_ERROR: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let text = json!({ "type": "string", "minLength": 1 });
    Arc::new(Rules::new(
        &json!({ "type": "object", "required": ["errcode", "error"], "properties": { "errcode": text, "error": text } }),
        false,
    ))
});

/// What a response's body must be.
pub(crate) struct Rules {
    specified: Validator,
    /// The same, with nothing but what the specification names.
    closed: Option<Validator>,
}

/// The rules for an operation's responses of this status, or `None` where the document says nothing of a body.
pub(crate) fn rules(operation: &Operation, status: u16) -> Option<Arc<Rules>> {
    let schema = operation.responses.get(&status)?.schema.as_ref()?;
    let mut cache = CACHE.lock().unwrap();
    let rules = cache.entry((operation.id.clone(), status)).or_insert_with(|| Arc::new(Rules::new(schema, status < 300)));
    Some(Arc::clone(rules))
}

/// The rules for an error that an operation's description does not mention.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>
pub(crate) fn standard_error() -> Arc<Rules> {
    Arc::clone(&STANDARD_ERROR)
}

impl Rules {
    fn new(schema: &Value, closed: bool) -> Self {
        let schema = without_annotations(schema);
        Self { specified: build(&schema), closed: closed.then(|| build(&closed_schema(&schema))) }
    }

    /// Everything that is wrong with a body: which rule, and where.
    pub(crate) fn problems(&self, body: &Value) -> Vec<String> {
        let found = self.problems_with_named_fields(body);
        match &self.closed {
            Some(closed) if found.is_empty() => problems(closed, body),
            _ => found,
        }
    }

    /// The same, where there may be fields that the specification does not name.
    pub(crate) fn problems_with_named_fields(&self, body: &Value) -> Vec<String> {
        problems(&self.specified, body)
    }
}

fn problems(validator: &Validator, body: &Value) -> Vec<String> {
    let errors = validator.iter_errors(body);
    errors.map(|error| format!("{error}\n      at {:?}, by the schema's {}", error.instance_path().as_str(), error.schema_path())).collect()
}

fn build(schema: &Value) -> Validator {
    let options = draft202012::options().should_validate_formats(true);
    let options = options
        .with_format("mx-user-id", |text: &str| ruma::UserId::parse(text).is_ok())
        .with_format("mx-room-id", |text: &str| ruma::RoomId::parse(text).is_ok())
        .with_format("mx-event-id", |text: &str| ruma::EventId::parse(text).is_ok())
        .with_format("mx-room-alias", |text: &str| ruma::RoomAliasId::parse(text).is_ok())
        .with_format("mx-server-name", |text: &str| ruma::ServerName::parse(text).is_ok())
        .with_format("mx-mxc-uri", |text: &str| ruma::MxcUri::validate(text.into()).is_ok());
    options.build(schema).unwrap_or_else(|error| panic!("a schema of the specification is none: {error} in {schema}"))
}

/// The schemas inside a schema, changed by `change`.
fn map_schemas(schema: &Value, change: &impl Fn(&str, &Value) -> Value) -> Value {
    let Some(keywords) = schema.as_object() else { return schema.clone() };
    let within = |(keyword, value): (&String, &Value)| {
        let value = match (keyword.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(named)) => {
                named.iter().map(|(name, value)| (name.clone(), change(keyword, value))).collect()
            }
            ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(schemas)) => {
                schemas.iter().map(|schema| change(keyword, schema)).collect()
            }
            ("items" | "additionalProperties" | "not", value) => change(keyword, value),
            (_, value) => value.clone(),
        };
        (keyword.clone(), value)
    };
    Value::Object(keywords.iter().map(within).collect())
}

fn without_annotations(schema: &Value) -> Value {
    let mut schema = map_schemas(schema, &|_, schema| without_annotations(schema));
    if let Some(keywords) = schema.as_object_mut() {
        // Where either a whole event or its content may come, the content's schema takes any object: both fit.
        if let Some(alternatives) = keywords.remove("oneOf") {
            keywords.insert("anyOf".into(), alternatives);
        }
        keywords.retain(|keyword, _| !ANNOTATIONS.contains(&keyword.as_str()) && !keyword.starts_with("x-"));
    }
    schema
}

/// The schema with every object that has named properties closed, so that a misspelt field is found.
fn closed_schema(schema: &Value) -> Value {
    let mut closed = map_schemas(&merged(schema), &|_, schema| closed_schema(schema));
    let keywords = closed.as_object_mut().filter(|keywords| keywords.contains_key("properties"));
    if let Some(keywords) = keywords {
        keywords.entry("additionalProperties").or_insert(false.into());
        if let Some(named) = keywords.get_mut("properties").and_then(Value::as_object_mut) {
            for field in IN_PROSE {
                named.entry(field).or_insert(true.into());
            }
        }
    }
    closed
}

/// One schema in the place of several that describe the same object: only together do they name all of its properties.
fn merged(schema: &Value) -> Value {
    let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { return schema.clone() };
    let mut whole = schema.clone();
    whole.as_object_mut().map(|whole| whole.remove("allOf"));
    parts.iter().fold(whole, |whole, part| merge(whole, &merged(part)))
}

fn merge(whole: Value, part: &Value) -> Value {
    match (whole, part) {
        (Value::Object(mut fields), Value::Object(parts)) => {
            for (name, part) in parts {
                let field = fields.remove(name).map_or_else(|| part.clone(), |field| merge(field, part));
                fields.insert(name.clone(), field);
            }
            Value::Object(fields)
        }
        (whole, _) => whole,
    }
}
