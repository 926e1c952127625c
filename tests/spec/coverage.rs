//! Which of the specification's operations are implemented, and whether the cases show it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{
    case::Case,
    document::{Document, Operation, say},
    routes,
};

/// Operations that this server refuses whoever asks: it has no administrators, sends no mail, reads no web pages,
/// and knows no other networks.
pub(crate) const ALWAYS_REFUSED: [&str; 23] = [
    "add3PID",
    "bind3PID",
    "getAdminLockUser",
    "getAdminSuspendUser",
    "getAuthMetadata",
    "getProtocolMetadata",
    "getTurnServer",
    "getUrlPreview",
    "getUrlPreviewAuthed",
    "getWellknownSupport",
    "post3PIDs",
    "queryLocationByAlias",
    "queryLocationByProtocol",
    "queryUserByID",
    "queryUserByProtocol",
    "requestTokenTo3PIDEmail",
    "requestTokenTo3PIDMSISDN",
    "requestTokenToRegisterEmail",
    "requestTokenToRegisterMSISDN",
    "requestTokenToResetPasswordEmail",
    "requestTokenToResetPasswordMSISDN",
    "setAdminLockUser",
    "setAdminSuspendUser",
];

/// Says what is missing: operations without a case that succeeds, cases without an operation, routes without either.
pub(crate) fn problems(document: &Document, cases: &[Case]) -> Vec<String> {
    let succeeds = |case: &&Case| case.status < 400 || ALWAYS_REFUSED.contains(&case.operation.as_str());
    let succeeding: BTreeSet<_> = cases.iter().filter(succeeds).map(|case| case.operation.as_str()).collect();
    let has_case = |operation: &Operation| alternatives(document, operation).any(|other| succeeding.contains(other.id.as_str()));
    let shown = routes::implemented(document).filter(|operation| !has_case(operation));
    let without_case = shown.map(|operation| format!("{} is implemented and has no case that succeeds", operation.id));
    let named: BTreeSet<_> = cases.iter().map(|case| case.operation.as_str()).filter(|id| !id.is_empty()).collect();
    let is_implemented = |id: &str| document.operation(id).is_some_and(routes::is_implemented);
    let without_route = named.iter().filter(|id| !is_implemented(id)).map(|id| format!("{id} has a case and is not implemented"));
    let unspecified = routes::unspecified(document).map(|route| format!("{route} is no operation of the specification"));
    without_case.chain(without_route).chain(unspecified).collect()
}

/// Prints which operations there are, by section, and which answers no case gets.
pub(crate) fn print(document: &Document, cases: &[Case]) {
    let mut sections = BTreeMap::<&str, BTreeMap<(&str, &str), (bool, Vec<&str>)>>::new();
    for operation in &document.operations {
        let section = sections.entry(&operation.section).or_default();
        let row = section.entry((&operation.path, operation.method.as_str())).or_default();
        row.0 = routes::is_implemented(operation);
        row.1.push(&operation.id);
    }
    let mut table = String::new();
    for (section, rows) in &sections {
        let done = rows.values().filter(|(done, _)| *done).count();
        writeln!(table, "\n{section}: {done} of {}", rows.len()).unwrap();
        for ((path, method), (done, ids)) in rows {
            writeln!(table, "  {} {method:6} {path} ({})", if *done { "yes" } else { " - " }, ids.join(", ")).unwrap();
        }
    }
    println!("{table}\nAnswers that the specification describes, and no case gets:\n{}", ungotten(document, cases).join("\n"));
    let all: Vec<_> = sections.values().flat_map(BTreeMap::values).collect();
    let done = all.iter().filter(|(done, _)| *done).count();
    say(&format!("{done} of {} operations are implemented (cargo test --test spec coverage -- --nocapture shows which)", all.len()));
}

/// The operations that share method and path with this one, itself included.
fn alternatives<'a>(document: &'a Document, operation: &'a Operation) -> impl Iterator<Item = &'a Operation> {
    document.operations.iter().filter(|other| (other.method, &other.path) == (operation.method, &operation.path))
}

/// Statuses of implemented operations that no case gets.
fn ungotten(document: &Document, cases: &[Case]) -> Vec<String> {
    let gotten: BTreeSet<_> = cases.iter().map(|case| (case.operation.as_str(), case.status)).collect();
    let missing = |operation: &Operation| {
        // Any operation may be limited; one test of its own shows what that looks like.
        let statuses = operation.responses.keys().filter(|status| **status != 429);
        let missing = statuses.filter(|status| !gotten.contains(&(operation.id.as_str(), **status)));
        missing.map(|status| format!("  {} {status}", operation.id)).collect::<Vec<_>>()
    };
    routes::implemented(document).flat_map(missing).collect()
}
