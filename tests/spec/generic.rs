//! Cases that every operation has: made from the document, for the operations that are implemented.

use inglenook::http::Method;
use serde_json::json;

use super::{
    case::{Case, Content, NOBODY, Sent},
    document::{Access, Document, Operation},
    routes::{self, METHODS},
};

/// More than any JSON body may have.
const OVERSIZED: usize = (1 << 20) + 1;

/// A value for each parameter of a path with which a request gets far enough.
const PARAMETERS: [(&str, &str); 18] = [
    ("deviceId", "{alice.device}"),
    ("eventId", "{message}"),
    ("eventType", "m.room.message"),
    ("fileName", "file.txt"),
    ("filterId", "{filter}"),
    ("keyName", "displayname"),
    ("mediaId", "media"),
    ("receiptType", "m.read"),
    ("relType", "m.annotation"),
    ("roomAlias", "%23public%3Aexample.org"),
    ("roomId", "{public}"),
    ("roomIdOrAlias", "{public}"),
    ("serverName", "example.org"),
    ("stateKey", "key"),
    ("tag", "u.work"),
    ("txnId", "generic"),
    ("type", "org.example.setting"),
    ("userId", "{alice}"),
];
/// Parameters that are identifiers with a form of their own.
const IDENTIFIERS: [&str; 5] = ["eventId", "roomAlias", "roomId", "roomIdOrAlias", "userId"];

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
    let operations = routes::implemented(document).filter(|operation| operation.takes_json);
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
    routes::implemented(document).flat_map(of_operation).collect()
}

/// The cases of routing: methods that a path does not take, and paths that there are not.
pub(crate) fn routing_cases() -> Vec<Case> {
    let mut cases: Vec<_> = routes::paths().flat_map(|(path, taken)| wrong_methods(path, &taken)).collect();
    for path in ["/_matrix/client/v3/nothing", "/_matrix/client/v9/sync", "/_matrix/client/v3/sync/", "/_matrix/nothing", "/nothing", "/"] {
        for method in METHODS {
            let request = Sent { caller: "alice", method, target: path.into(), body: Content::None };
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
        let request = Sent { caller: "alice", method, target: target(path), body: Content::None };
        Case::new("", "a method that the path does not take", request).refused(405, "M_UNRECOGNIZED")
    };
    wrong.map(case).collect()
}

fn request(operation: &Operation, caller: &'static str, body: Content) -> Sent {
    Sent::new(caller, operation.method, &target(&operation.path), body)
}

fn json_body(operation: &Operation) -> Content {
    if operation.takes_json { Content::Json(json!({})) } else { Content::None }
}

/// A target made of a path, with values in the place of its parameters.
fn target(path: &str) -> String {
    let path = path.replace("{version}", "v3");
    PARAMETERS.iter().fold(path, |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}
