//! The crate's route table, and which of the specification's operations it implements.

use std::collections::BTreeMap;

use inglenook::http::Method;

use super::document::{Document, Operation};

/// Where the server shows its owner what it does; the specification knows nothing of it.
const OWN: &str = "/_inglenook/";

/// All methods that a client's request may have.
pub(crate) const METHODS: [Method; 4] = [Method::Get, Method::Post, Method::Put, Method::Delete];

/// The operations that a route answers.
pub(crate) fn implemented(document: &Document) -> impl Iterator<Item = &Operation> {
    document.operations.iter().filter(|operation| is_implemented(operation))
}

/// Whether a route answers this operation.
pub(crate) fn is_implemented(operation: &Operation) -> bool {
    inglenook::routes().any(|(method, path)| answers(method, path, operation))
}

/// The paths of all routes, with the methods that they take.
pub(crate) fn paths() -> impl Iterator<Item = (&'static str, Vec<Method>)> {
    let mut paths = BTreeMap::<_, Vec<_>>::new();
    for (method, path) in inglenook::routes() {
        paths.entry(path).or_default().push(method);
    }
    paths.into_iter()
}

/// The routes that answer no operation of the specification, and are not the server's own.
pub(crate) fn unspecified(document: &Document) -> impl Iterator<Item = String> {
    let is_specified = |method, path| document.operations.iter().any(|operation| answers(method, path, operation));
    let unspecified = inglenook::routes().filter(move |(method, path)| !path.starts_with(OWN) && !is_specified(*method, path));
    unspecified.map(|(method, path)| format!("{} {path}", method.as_str()))
}

fn answers(method: Method, path: &str, operation: &Operation) -> bool {
    operation.method == method && operation.serves(path)
}
