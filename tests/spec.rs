//! Holds every response of the client-server API against the specification's own schemas: one table of cases, section by section.
//!
//! The folder with the specification's OpenAPI document is named by the variable `MATRIX_SPEC`; without it these tests say that they were skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod spec {
    pub(crate) mod case;
    pub(crate) mod check;
    pub(crate) mod coverage;
    pub(crate) mod document;
    pub(crate) mod generic;
    pub(crate) mod names;
    pub(crate) mod node_host;
    pub(crate) mod routes;
    pub(crate) mod scene;
    pub(crate) mod schema;

    pub(crate) mod accounts;
    pub(crate) mod devices;
    pub(crate) mod encryption;
    pub(crate) mod events;
    pub(crate) mod media;
    pub(crate) mod membership;
    pub(crate) mod push;
    pub(crate) mod rooms;
    pub(crate) mod server_administration;
    pub(crate) mod services;
    pub(crate) mod syncing;
    pub(crate) mod user_data;
}

use serde_json::json;

use self::spec::{case::Case, check, coverage, document::document, generic, schema};

/// The sections of the table, each a test of its own.
macro_rules! sections {
    ($($section:ident,)*) => {
        $(
            #[test]
            fn $section() {
                check::run(stringify!($section), &spec::$section::cases());
            }
        )*

        fn all_cases() -> Vec<Case> {
            let sections: Vec<Vec<Case>> = vec![$(spec::$section::cases()),*];
            sections.concat()
        }
    };
}

sections! { accounts, devices, encryption, events, media, membership, push, rooms, server_administration, services, syncing, user_data, }

#[test]
fn every_implemented_operation_has_a_case() {
    let Some(document) = document() else { return };
    let cases = all_cases();
    coverage::print(document);
    let mut problems = coverage::problems(document, &cases);
    problems.extend(coverage::ungotten_problems(document, &[cases, generic::cases(document)].concat()));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn names_of_cases_differ() {
    let cases = all_cases();
    let mut names: Vec<_> = cases.iter().map(|case| (&case.operation, &case.name)).collect();
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn tokens_are_asked_for() {
    let Some(document) = document() else { return };
    check::run("tokens", &generic::token_cases(document));
}

#[test]
fn limits_are_kept() {
    let Some(document) = document() else { return };
    check::run("limits", &generic::limit_cases(document));
}

#[test]
fn bodies_are_checked() {
    let Some(document) = document() else { return };
    check::run("bodies", &generic::body_cases(document));
}

#[test]
fn identifiers_are_checked() {
    let Some(document) = document() else { return };
    check::run("identifiers", &generic::identifier_cases(document));
}

#[test]
fn queries_are_checked() {
    let Some(document) = document() else { return };
    check::run("queries", &generic::query_cases(document));
}

#[test]
fn fields_are_checked() {
    let Some(document) = document() else { return };
    check::run("fields", &generic::field_cases(document));
}

#[test]
fn routes_are_checked() {
    check::run("routes", &generic::routing_cases());
}

#[test]
fn preflights_are_answered() {
    check::run("preflights", &generic::preflight_cases());
}

#[test]
fn every_schema_makes_a_validator() {
    let Some(document) = document() else { return };
    let responses = document.operations.iter().flat_map(|operation| operation.responses.keys().map(move |status| (operation, *status)));
    let rules = responses.filter_map(|(operation, status)| schema::rules(operation, status)).count();
    assert!(rules > 300, "{rules}");
}

#[test]
fn wrong_bodies_are_found() {
    let Some(document) = document() else { return };
    let rules = schema::rules(document.operation("getTokenOwner").unwrap(), 200).unwrap();
    assert_eq!(rules.problems(&json!({ "user_id": "@alice:example.org", "device_id": "A" })), [""; 0]);
    for body in
        [json!({}), json!({ "user_id": 1 }), json!({ "user_id": "@alice" }), json!({ "user_id": "@alice:example.org", "devise_id": "A" })]
    {
        assert!(!rules.problems(&body).is_empty(), "{body}");
    }
}
