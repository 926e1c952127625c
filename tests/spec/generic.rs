//! Cases that every operation has: made from the document, for the operations that are implemented.

use inglenook::http::Method;
use serde_json::{Value, json};

use super::{
    case::{Case, Content, NOBODY, Sent},
    coverage::ALWAYS_REFUSED,
    document::{Access, Document, Operation, Parameter},
    routes::{self, METHODS},
};

/// More than any JSON body may have.
const OVERSIZED: usize = (1 << 20) + 1;

/// A value for each parameter of a path with which a request gets far enough.
const PARAMETERS: [(&str, &str); 23] = [
    ("backupVersion", "1"),
    ("deviceId", "{alice.device}"),
    ("eventId", "{message}"),
    ("eventType", "m.room.message"),
    ("fileName", "file.txt"),
    ("filterId", "{filter}"),
    ("keyName", "displayname"),
    ("kind", "override"),
    ("mediaId", "media"),
    ("protocol", "irc"),
    ("receiptType", "m.read"),
    ("relType", "m.annotation"),
    ("roomAlias", "%23public%3Aexample.org"),
    ("roomId", "{public}"),
    ("roomIdOrAlias", "{public}"),
    ("ruleId", "rule"),
    ("serverName", "example.org"),
    ("sessionId", "session"),
    ("stateKey", "key"),
    ("tag", "u.work"),
    ("txnId", "generic"),
    ("type", "org.example.setting"),
    ("userId", "{alice}"),
];
/// Fields that this server does not read, since it knows no identity servers and no other networks.
const UNREAD: [(&str, &str); 5] = [
    ("deactivateAccount", "id_server"),
    ("inviteBy3PID", "id_server"),
    ("post3PIDs", "three_pid_creds"),
    ("queryPublicRooms", "include_all_networks"),
    ("queryPublicRooms", "third_party_instance_id"),
];
/// Parameters that are identifiers with a form of their own.
const IDENTIFIERS: [&str; 5] = ["eventId", "roomAlias", "roomId", "roomIdOrAlias", "userId"];

/// The cases of all operations.
pub(crate) fn cases(document: &'static Document) -> Vec<Case> {
    let of_operations =
        [token_cases(document), body_cases(document), identifier_cases(document), query_cases(document), field_cases(document)];
    of_operations.concat()
}

/// The cases of a server that lets nobody ask anything more.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>
pub(crate) fn limit_cases(document: &Document) -> Vec<Case> {
    let limited = |operation: &Operation| {
        let caller = if operation.access == Access::Public { NOBODY } else { "alice" };
        let case = Case::new(&operation.id, "past the limit", request(operation, caller, json_body(operation)));
        case.limited().refused(429, "M_LIMIT_EXCEEDED").has("/retry_after_ms")
    };
    routes::implemented(document).map(limited).collect()
}

/// The cases of authentication: no token, an unknown one.
pub(crate) fn token_cases(document: &Document) -> Vec<Case> {
    let operations = routes::implemented(document).filter(|operation| operation.access == Access::Token);
    operations
        .flat_map(|operation| {
            let case = |name, caller| Case::new(&operation.id, name, request(operation, caller, json_body(operation)));
            [
                case("without an access token", NOBODY).refused(401, "M_MISSING_TOKEN"),
                case("with an unknown access token", "stranger").refused(401, "M_UNKNOWN_TOKEN").at("/soft_logout", false),
            ]
        })
        .collect()
}

/// The cases of bodies: not JSON, not an object, too large.
pub(crate) fn body_cases(document: &Document) -> Vec<Case> {
    let operations = routes::implemented(document).filter(|operation| operation.takes_json && !is_refused_at_once(operation));
    operations
        .flat_map(|operation| {
            let caller = if operation.access == Access::Public { NOBODY } else { "alice" };
            let case = |name, body: &[u8]| {
                let body = Content::Bytes("application/json", body.into());
                Case::new(&operation.id, name, request(operation, caller, body))
            };
            let oversized = format!("{{\"a\":\"{}\"}}", "a".repeat(OVERSIZED));
            [
                case("with a body that is not JSON", b"{\"a\":").refused(400, "M_NOT_JSON"),
                case("with a body that is not UTF-8", b"{\"a\":\"\xff\"}").refused(400, "M_NOT_JSON"),
                case("with an array as body", b"[]").refused(400, "M_BAD_JSON"),
                case("with a string as body", b"\"text\"").refused(400, "M_BAD_JSON"),
                case("with an oversized body", oversized.as_bytes()).refused(413, "M_TOO_LARGE"),
            ]
        })
        .collect()
}

/// The cases of paths: identifiers that are none.
pub(crate) fn identifier_cases(document: &'static Document) -> Vec<Case> {
    let of_operation = |operation: &'static Operation| {
        let identifiers = operation.parameters().filter(|name| IDENTIFIERS.contains(name));
        identifiers.map(move |name| {
            let caller = if operation.access == Access::Public { NOBODY } else { "alice" };
            let target = target(&operation.path.replace(&format!("{{{name}}}"), "nonsense"));
            let request = Sent::new(caller, operation.method, &target, json_body(operation));
            Case::new(&operation.id, &format!("with a bad {name}"), request).refused(400, "M_INVALID_PARAM")
        })
    };
    let operations = routes::implemented(document).filter(|operation| !is_refused_at_once(operation));
    operations.flat_map(of_operation).collect()
}

/// The cases of queries: parameters that are missing, or of the wrong kind.
pub(crate) fn query_cases(document: &'static Document) -> Vec<Case> {
    let of_operation = |operation: &'static Operation| {
        operation.query.iter().filter_map(move |parameter| {
            let others = operation.query.iter().filter(|other| other.required && other.name != parameter.name);
            let others: Vec<_> = others.map(|other| format!("{}={}", other.name, valid_value(other))).collect();
            let case = |name: &str, query: String| {
                let target = format!("{}?{}&{query}", target(&operation.path), others.join("&"));
                Case::new(&operation.id, name, Sent::new("alice", operation.method, &target, json_body(operation)))
            };
            let bad = |name: &str| case(name, format!("{}=nonsense", parameter.name)).refused(400, "M_INVALID_PARAM");
            match parameter.kind.as_deref() {
                _ if parameter.is_choice => Some(bad(&format!("with a bad {}", parameter.name))),
                Some("integer" | "boolean") => Some(bad(&format!("with a bad {}", parameter.name))),
                // `/events` with a room's ID and without one are two operations.
                _ if parameter.required && operation.id != "peekEvents" => {
                    Some(case(&format!("without {}", parameter.name), String::new()).refused(400, "M_MISSING_PARAM"))
                }
                _ => None,
            }
        })
    };
    routes::implemented(document).flat_map(of_operation).collect()
}

fn valid_value(parameter: &Parameter) -> &'static str {
    match (parameter.name.as_str(), parameter.kind.as_deref()) {
        ("dir", _) => "b",
        (_, Some("integer")) => "1",
        _ => "text",
    }
}

/// The cases of fields: bodies without any of those that are required, and with one of a wrong type.
pub(crate) fn field_cases(document: &'static Document) -> Vec<Case> {
    let of_operation = |operation: &'static Operation| {
        let case = |name: &str, body: Value| {
            let codes = ["M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"];
            let caller = if operation.access == Access::Public { NOBODY } else { "alice" };
            Case::new(&operation.id, name, request(operation, caller, Content::Json(body))).refused_by_any(400, &codes)
        };
        let empty = operation.fields.iter().any(|field| field.required).then(|| case("without any field", json!({})));
        let read = operation.fields.iter().filter(|field| !UNREAD.contains(&(operation.id.as_str(), field.name.as_str())));
        let wrong = read.filter_map(move |field| {
            let value = wrong_value(field.kind.as_deref()?);
            Some(case(&format!("with a {} of a wrong type", field.name), json!({ &field.name: value })))
        });
        empty.into_iter().chain(wrong)
    };
    let operations = routes::implemented(document).filter(|operation| !is_refused_at_once(operation));
    operations.flat_map(of_operation).collect()
}

fn wrong_value(kind: &str) -> Value {
    if kind == "string" { 1.into() } else { "text".into() }
}

/// The cases of routing: methods that a path does not take, and paths that there are not.
pub(crate) fn routing_cases() -> Vec<Case> {
    let mut cases: Vec<_> = routes::paths().flat_map(|(path, taken)| wrong_methods(path, &taken)).collect();
    for path in ["/_matrix/client/v3/nothing", "/_matrix/client/v9/sync", "/_matrix/client/v3/sync/", "/_matrix/nothing", "/nothing", "/"] {
        for method in METHODS {
            let request = Sent { caller: "alice", method, target: path.into(), body: Content::None, host: None };
            cases.push(Case::new("", "an unknown path", request).refused(404, "M_UNRECOGNIZED"));
        }
    }
    cases
}

/// A preflight of every path succeeds without a token.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients>
pub(crate) fn preflight_cases() -> Vec<Case> {
    let preflight = |(path, _): (&str, Vec<Method>)| {
        let request = Sent::new(NOBODY, Method::Options, &target(path), Content::None);
        Case::new("", "a preflight", request)
    };
    routes::paths().map(preflight).collect()
}

fn wrong_methods(path: &'static str, taken: &[Method]) -> Vec<Case> {
    let wrong = METHODS.into_iter().filter(|method| !taken.contains(method));
    let case = |method| {
        let request = Sent { caller: "alice", method, target: target(path), body: Content::None, host: None };
        Case::new("", "a method that the path does not take", request).refused(405, "M_UNRECOGNIZED")
    };
    wrong.map(case).collect()
}

fn request(operation: &Operation, caller: &'static str, body: Content) -> Sent {
    Sent::new(caller, operation.method, &target(&operation.path), body)
}

/// Whether an operation's requests are refused without a look at them.
fn is_refused_at_once(operation: &Operation) -> bool {
    operation.path.contains("/admin/") && ALWAYS_REFUSED.contains(&operation.id.as_str())
}

fn json_body(operation: &Operation) -> Content {
    if operation.takes_json { Content::Json(json!({ "user_id": "{bob}", "reason": "A test", "new_version": "12" })) } else { Content::None }
}

/// A target made of a path, with values in the place of its parameters.
fn target(path: &str) -> String {
    let path = path.replace("{version}", "v3");
    PARAMETERS.iter().fold(path, |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}
