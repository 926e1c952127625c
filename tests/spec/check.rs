//! Runs cases and says what is wrong with their answers.

use inglenook::http::{Body, Method, Request};
use serde_json::Value;

use super::{
    case::{Case, Content, Expectation, NOBODY, Sent},
    document::{Document, Operation, document, say},
    names::Names,
    node_host,
    scene::World,
    schema,
};
use crate::support::Answer;

/// What every response must have, so that a web page may read it.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients>
const CORS: [(&str, &[&str]); 3] = [
    ("access-control-allow-origin", &["*"]),
    ("access-control-allow-methods", &["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    ("access-control-allow-headers", &["X-Requested-With", "Content-Type", "Authorization"]),
];
/// So much of a body is shown with what is wrong with it.
const SHOWN: usize = 2_000;

/// Runs the cases of one section, and fails with everything that is wrong.
pub(crate) fn run(section: &str, cases: &[Case]) {
    let Some(document) = document() else { return say(&format!("{section}: {} cases skipped", cases.len())) };
    let played: Vec<&Case> = cases.iter().filter(|case| !is_left_out(section, case)).collect();
    let wrong: Vec<String> = played.iter().filter_map(|case| failure(document, case)).collect();
    say(&format!("{section}: {} cases", played.len()));
    assert!(wrong.is_empty(), "{} of {} cases of {section} failed\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

/// Says which cases are not played on a Node host, and why.
fn is_left_out(section: &str, case: &Case) -> bool {
    let reason = node_host::is_wanted().then(|| node_host::reason_to_leave_out(case)).flatten();
    if let Some(reason) = reason {
        say(&format!("{section}: left out on the Node host: {} ({}): {reason}", case.name, case.operation));
    }
    reason.is_some()
}

fn failure(document: &Document, case: &Case) -> Option<String> {
    let mut world = World::new(case.limited);
    if let Some(problem) = case.steps.iter().find_map(|step| world.step(step)) {
        return Some(format!("{}\n    {problem}", case.name));
    }
    let before = world.commits();
    let answer = world.send(&case.request);
    let mut problems = problems(document, case, &answer, &world.names);
    problems.extend(is_lost_with_the_power(case, &answer, before, world.commits()).then(|| "what it wrote is lost with the power".into()));
    let Sent { caller, method, target, .. } = &case.request;
    let shown = || String::from_utf8_lossy(&answer.bytes).chars().take(SHOWN).collect::<String>();
    let heading =
        || format!("{} ({})\n    {} {target} by {caller:?}: {} {}", case.name, case.operation, method.as_str(), answer.status, shown());
    (!problems.is_empty()).then(|| format!("{}\n    - {}", heading(), problems.join("\n    - ")))
}

fn problems(document: &Document, case: &Case, answer: &Answer, names: &Names) -> Vec<String> {
    let mut problems = Vec::new();
    if answer.status != case.status {
        problems.push(format!("the status should be {}", case.status));
    }
    if !case.errcodes.is_empty() && !case.errcodes.iter().any(|code| answer.body["errcode"] == *code) {
        problems.push(format!("the errcode should be {}", case.errcodes.join(" or ")));
    }
    problems.extend(header_problems(answer));
    match document.operation(&case.operation) {
        Some(operation) => problems.extend(operation_problems(operation, case, answer)),
        None if case.operation.is_empty() && answer.status < 400 => {}
        None if case.operation.is_empty() => problems.extend(schema::standard_error().problems(&answer.body)),
        None => problems.push(format!("the specification has no operation {}", case.operation)),
    }
    problems.extend(case.expectations.iter().filter_map(|expectation| unmet(expectation, answer, names)));
    problems
}

/// Whether the answer promises what was written without waiting for the disk.
fn is_lost_with_the_power(case: &Case, answer: &Answer, before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> bool {
    let (Some((strict_before, relaxed_before)), Some((strict, relaxed))) = (before, after) else { return false };
    let has_written = answer.status == 200 && case.request.method != Method::Get && (strict, relaxed) != (strict_before, relaxed_before);
    has_written && strict == strict_before
}

fn header_problems(answer: &Answer) -> impl Iterator<Item = String> {
    CORS.into_iter().filter_map(|(name, values)| {
        let header = answer.headers.get(name).map_or("", String::as_str);
        let named: Vec<_> = header.split(',').map(str::trim).collect();
        let complete = values.iter().all(|value| named.iter().any(|name| name.eq_ignore_ascii_case(value)));
        (!complete).then(|| format!("the header {name} is {header:?}"))
    })
}

fn operation_problems(operation: &Operation, case: &Case, answer: &Answer) -> Vec<String> {
    let mut problems = Vec::new();
    if case.request.method == operation.method && !operation.serves(case.request.path()) {
        problems.push(format!("the case does not ask for {}", operation.path));
    }
    let described = operation.responses.get(&answer.status);
    if described.is_none() && answer.status < 400 {
        problems.push(format!("the specification has no answer {} here", answer.status));
    }
    let missing = described.into_iter().flat_map(|described| &described.headers).filter(|name| !answer.headers.contains_key(*name));
    problems.extend(missing.map(|name| format!("the header {name} is missing")));
    if described.is_some_and(|described| described.schema.is_none() && !described.other_types.is_empty()) {
        return problems;
    }
    problems.extend(body_problems(operation, answer));
    problems
}

fn body_problems(operation: &Operation, answer: &Answer) -> Vec<String> {
    let kind = answer.headers.get("content-type").map_or("", String::as_str);
    if kind != "application/json" {
        return vec![format!("the content type is {kind:?}")];
    }
    if serde_json::from_slice::<Value>(&answer.bytes).is_err() {
        return vec!["the body is not JSON".into()];
    }
    let mut problems = Vec::new();
    if answer.status == 429 && !answer.headers.contains_key("retry-after") {
        problems.push("the header retry-after is missing".into());
    }
    // Where a 401 asks for authentication by stages, another 401 still says that the token is missing or unknown.
    let about_token = answer.status == 401 && matches!(answer.body["errcode"].as_str(), Some("M_MISSING_TOKEN" | "M_UNKNOWN_TOKEN"));
    let rules = if about_token { None } else { schema::rules(operation, answer.status) };
    match rules {
        Some(rules) => problems.extend(rules.problems(&answer.body)),
        None if answer.status >= 400 => problems.extend(schema::standard_error().problems(&answer.body)),
        None => {}
    }
    problems
}

fn unmet(expectation: &Expectation, answer: &Answer, names: &Names) -> Option<String> {
    let found = |pointer: &str| answer.body.pointer(&names.in_text(pointer));
    let members = |pointer: &str| found(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let counted = |pointer: &str| found(pointer).map(|value| value.as_array().map(Vec::len).or_else(|| Some(value.as_object()?.len())));
    let (holds, wanted) = match expectation {
        Expectation::Equals(pointer, value) => {
            let value = names.in_json(value);
            (found(pointer) == Some(&value), format!("{pointer} should be {value}"))
        }
        Expectation::Has(pointer) => (found(pointer).is_some(), format!("{pointer} should be there")),
        Expectation::Lacks(pointer) => (found(pointer).is_none(), format!("{pointer} should not be there")),
        Expectation::Counts(pointer, count) => (counted(pointer) == Some(Some(*count)), format!("{pointer} should have {count} members")),
        Expectation::Includes(pointer, element) => {
            let element = names.in_json(element);
            (members(pointer).iter().any(|member| covers(member, &element)), format!("{pointer} should include {element}"))
        }
        Expectation::Excludes(pointer, element) => {
            let element = names.in_json(element);
            let is_array = found(pointer).is_some_and(Value::is_array);
            (is_array && !members(pointer).iter().any(|member| covers(member, &element)), format!("{pointer} should not include {element}"))
        }
        Expectation::Body(text) => (answer.bytes == text.as_bytes(), format!("the body should be {text:?}")),
        Expectation::Header(name, value) => {
            (answer.headers.get(*name).is_some_and(|header| header == value), format!("the header {name} should be {value:?}"))
        }
    };
    (!holds).then_some(wanted)
}

/// Whether a value has at least what the other has.
fn covers(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(fields), Value::Object(parts)) => {
            parts.iter().all(|(name, part)| fields.get(name).is_some_and(|field| covers(field, part)))
        }
        _ => value == part,
    }
}

/// A request as it is sent, with values in the place of names.
pub(crate) fn request(sent: &Sent, names: &Names) -> Request {
    let mut request = Request::new(sent.method, &names.in_target(&sent.target));
    if sent.caller != NOBODY {
        let token = names.value(&format!("{}.token", sent.caller));
        request.headers.insert("authorization".into(), format!("Bearer {token}"));
    }
    if let Some(host) = sent.host {
        request.headers.insert("host".into(), host.into());
    }
    let (kind, bytes) = match &sent.body {
        Content::None => return request,
        Content::Json(value) => ("application/json", names.in_json(value).to_string().into_bytes()),
        Content::Bytes(kind, bytes) => (*kind, bytes.clone()),
    };
    request.headers.insert("content-type".into(), kind.into());
    request.body = Body::Bytes(bytes);
    request
}
