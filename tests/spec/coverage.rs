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

/// Answers that the specification describes and no case gets, beside those of operations that are always refused, and why.
const CANNOT_BE_GOTTEN: [(&str, &[(&str, u16)]); 12] = [
    ("nobody is invited by an address, since no identity server is trusted", &[("inviteBy3PID", 200), ("inviteBy3PID", 403)]),
    (
        "files are nowhere else",
        &[
            ("getContent", 307),
            ("getContent", 308),
            ("getContentAuthed", 307),
            ("getContentAuthed", 308),
            ("getContentOverrideName", 307),
            ("getContentOverrideName", 308),
            ("getContentOverrideNameAuthed", 307),
            ("getContentOverrideNameAuthed", 308),
            ("getContentThumbnail", 307),
            ("getContentThumbnail", 308),
            ("getContentThumbnailAuthed", 307),
            ("getContentThumbnailAuthed", 308),
        ],
    ),
    (
        "it takes a larger file than cases have: `tests/media.rs` has it",
        &[("uploadContent", 413), ("uploadContentToMXC", 413), ("getContentThumbnail", 413), ("getContentThumbnailAuthed", 413)],
    ),
    ("every user may upload", &[("createContent", 403), ("uploadContent", 403)]),
    ("a rule that is set need not have been there", &[("setPushRule", 404)]),
    ("it has no avatar in it, whatever the specification says", &[("initialSync", 404)]),
    ("the server always has a key to sign with", &[("getWellknownPolicy", 404)]),
    ("it takes another server's user in a room of one's own", &[("getPresence", 404)]),
    ("this way of logging in is there", &[("getLoginFlows", 404), ("registrationTokenValidity", 403)]),
    ("there are no application services", &[("getTokenOwner", 403), ("updateDevice", 201)]),
    ("profiles are told to everybody", &[("getUserProfile", 403), ("getProfileField", 403)]),
    ("nobody blocks invitations here", &[("createRoom", 403)]),
];

/// Says which answers no case gets, and which of these are excused without need.
pub(crate) fn ungotten_problems(document: &Document, cases: &[Case]) -> Vec<String> {
    let excused: BTreeSet<_> = CANNOT_BE_GOTTEN.iter().flat_map(|(_, answers)| *answers).copied().collect();
    let ungotten: BTreeSet<_> = ungotten(document, cases).into_iter().filter(|(id, _)| !ALWAYS_REFUSED.contains(id)).collect();
    let missing = ungotten.difference(&excused).map(|(id, status)| format!("no case gets a {status} of {id}"));
    missing.chain(excused.difference(&ungotten).map(|(id, status)| format!("a {status} of {id} need not be excused"))).collect()
}

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

/// Prints which operations there are, by section.
pub(crate) fn print(document: &Document) {
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
    println!("{table}");
    let all: Vec<_> = sections.values().flat_map(BTreeMap::values).collect();
    let done = all.iter().filter(|(done, _)| *done).count();
    say(&format!("{done} of {} operations are implemented (cargo test --test spec coverage -- --nocapture shows which)", all.len()));
}

/// The operations that share method and path with this one, itself included.
fn alternatives<'a>(document: &'a Document, operation: &'a Operation) -> impl Iterator<Item = &'a Operation> {
    document.operations.iter().filter(|other| (other.method, &other.path) == (operation.method, &operation.path))
}

/// Statuses of implemented operations that no case gets.
fn ungotten<'a>(document: &'a Document, cases: &[Case]) -> Vec<(&'a str, u16)> {
    let gotten: BTreeSet<_> = cases.iter().map(|case| (case.operation.as_str(), case.status)).collect();
    let missing = |operation: &'a Operation| {
        // Any operation may be limited; one test of its own shows what that looks like.
        let statuses = operation.responses.keys().filter(|status| **status != 429);
        let missing = statuses.filter(|status| !gotten.contains(&(operation.id.as_str(), **status)));
        missing.map(|status| (operation.id.as_str(), *status)).collect::<Vec<_>>()
    };
    routes::implemented(document).flat_map(missing).collect()
}
