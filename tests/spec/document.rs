//! The specification's OpenAPI document: where it is, and the operations that it describes.
// Each test reads one of the documents.
#![allow(dead_code)]

use std::{collections::BTreeMap, fs, io::Write, path::Path, sync::LazyLock};

use inglenook::http::Method;
use serde_json::Value;

/// The variable that names the folder in which the document lies.
const FOLDER: &str = "MATRIX_SPEC";

static DOCUMENT: LazyLock<Option<Document>> = LazyLock::new(|| Document::load("client-server"));
static FEDERATION_DOCUMENT: LazyLock<Option<Document>> = LazyLock::new(|| Document::load("server-server"));

/// The specification of an API.
pub(crate) struct Document {
    pub(crate) operations: Vec<Operation>,
}

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Public,
    OptionalToken,
    Token,
    /// Whoever proves to be an application service or another server.
    Other,
}

/// One operation: a method on a path.
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    /// The path, with `{name}` where a parameter stands.
    pub(crate) path: String,
    /// The section of the specification.
    pub(crate) section: String,
    pub(crate) access: Access,
    pub(crate) takes_json: bool,
    /// The parameters of the query.
    pub(crate) query: Vec<Parameter>,
    /// The fields of the JSON body that the document names.
    pub(crate) fields: Vec<Parameter>,
    pub(crate) responses: BTreeMap<u16, Described>,
}

/// A parameter of a query, or a field of a body.
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) required: bool,
    /// The JSON type, where there is one only.
    pub(crate) kind: Option<String>,
    /// Whether only some values are allowed.
    pub(crate) is_choice: bool,
}

/// What the document says of the responses with one status.
pub(crate) struct Described {
    /// The JSON schema of the body, where it is JSON.
    pub(crate) schema: Option<Value>,
    /// The content types besides JSON.
    pub(crate) other_types: Vec<String>,
    /// The headers that must be there.
    pub(crate) headers: Vec<String>,
}

/// The document of the client-server API, or `None` where there is none; then the tests that need it are skipped.
pub(crate) fn document() -> Option<&'static Document> {
    DOCUMENT.as_ref()
}

/// The same of the server-server API.
pub(crate) fn federation_document() -> Option<&'static Document> {
    FEDERATION_DOCUMENT.as_ref()
}

/// Tells whoever runs the tests, also where a test's output is captured.
pub(crate) fn say(line: &str) {
    // Who cannot be told anything need not be.
    let _ = writeln!(std::io::stderr(), "spec: {line}");
}

impl Document {
    /// Reads the document of that name in the folder.
    fn load(name: &str) -> Option<Self> {
        let (file, source) = (format!("{name}.openapi.json"), format!("https://spec.matrix.org/v1.19/{name}-api/api.json"));
        let Some(folder) = std::env::var_os(FOLDER) else {
            say(&format!("skipped, since {FOLDER} is not set: save {source} as {file} in a folder, and name the folder in {FOLDER}"));
            return None;
        };
        let file = Path::new(&folder).join(file);
        let text = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Some(Self::read(&serde_json::from_slice(&text).unwrap()))
    }

    fn read(document: &Value) -> Self {
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.filter_map(move |(method, operation)| Operation::read(method, path, operation))
        });
        Self { operations: operations.collect() }
    }

    /// The operation of that name.
    pub(crate) fn operation(&self, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }
}

impl Operation {
    fn read(method: &str, path: &str, operation: &Value) -> Option<Self> {
        let method = Method::parse(&method.to_uppercase())?;
        let responses = operation["responses"].as_object().unwrap().iter();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let body = &operation["requestBody"]["content"]["application/json"];
        Some(Self {
            id: operation["operationId"].as_str().unwrap().into(),
            method,
            // Two operations on one path are told apart by a space behind the path.
            path: path.trim().into(),
            section: operation["tags"][0].as_str().unwrap_or("Other").into(),
            access: Access::read(&operation["security"]),
            takes_json: !body.is_null(),
            query: parameters.filter(|parameter| parameter["in"] == "query").map(Parameter::of_query).collect(),
            fields: Parameter::fields(&body["schema"]),
            responses: responses.map(|(status, response)| (status.parse().unwrap(), Described::read(response))).collect(),
        })
    }

    /// Whether a request's path, or a route's, is one of this operation's.
    ///
    /// Clients of all ages ask under different versions; an empty state key, and a slash at the end, may be left out.
    pub(crate) fn serves(&self, path: &str) -> bool {
        let template = segments(&self.path);
        let shorter = template.strip_suffix(&["{stateKey}"]).or(template.strip_suffix(&[""])).unwrap_or(&template);
        let path = segments(path);
        let agrees = |template: &[&str]| {
            let mut pairs = template.iter().zip(&path).enumerate();
            template.len() == path.len() && pairs.all(|(at, (part, segment))| agree(at, part, segment))
        };
        agrees(&template) || agrees(shorter)
    }

    /// The names of the path's parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        segments(&self.path).into_iter().filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

impl Access {
    fn read(security: &Value) -> Self {
        let Some(kinds) = security.as_array() else { return Self::Public };
        let takes = |kind: &str| kinds.iter().any(|one| one.get(kind).is_some());
        let optional = kinds.iter().any(|one| one.as_object().is_some_and(|one| one.is_empty()));
        match (takes("accessTokenBearer"), optional) {
            (true, false) => Self::Token,
            (true, true) => Self::OptionalToken,
            (false, _) => Self::Other,
        }
    }
}

impl Parameter {
    fn of_query(parameter: &Value) -> Self {
        Self::new(parameter["name"].as_str().unwrap(), parameter["required"] == true, &parameter["schema"])
    }

    fn fields(schema: &Value) -> Vec<Self> {
        let required = |name: &str| schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name));
        let fields = schema["properties"].as_object().into_iter().flatten();
        fields.map(|(name, schema)| Self::new(name, required(name), schema)).collect()
    }

    fn new(name: &str, required: bool, schema: &Value) -> Self {
        let kind = schema["type"].as_str().map(str::to_owned);
        Self { name: name.into(), required, kind, is_choice: schema["enum"].is_array() }
    }
}

impl Described {
    fn read(response: &Value) -> Self {
        let empty = serde_json::Map::new();
        let types = response["content"].as_object().unwrap_or(&empty);
        let headers = response["headers"].as_object().unwrap_or(&empty);
        Self {
            schema: types.get("application/json").and_then(|json| json.get("schema")).cloned(),
            other_types: types.keys().filter(|kind| *kind != "application/json").cloned().collect(),
            headers: headers.iter().filter(|(_, header)| header["required"] == true).map(|(name, _)| name.to_lowercase()).collect(),
        }
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').collect()
}

/// Whether a part of a template, or of a route, stands for this segment of a path, or part of a template.
fn agree(at: usize, part: &str, segment: &str) -> bool {
    const VERSIONS: [&str; 4] = ["{version}", "v3", "v1", "r0"];
    let version = at == 3 && VERSIONS.contains(&part) && VERSIONS.contains(&segment);
    version || part.starts_with('{') || part == segment
}
