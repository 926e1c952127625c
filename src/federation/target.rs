//! The targets of requests: paths and queries with what stands in them encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a segment of a path as it is.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of the federation API: the endpoint with its version, and the parameters behind it.
pub(super) fn path(endpoint: &str, parameters: &[&str]) -> String {
    encoded(&format!("/_matrix/federation/{endpoint}"), parameters)
}

/// A path with parameters behind it.
pub(super) fn encoded(endpoint: &str, parameters: &[&str]) -> String {
    let mut path = endpoint.to_owned();
    for parameter in parameters {
        path.push('/');
        path.extend(utf8_percent_encode(parameter, ENCODED));
    }
    path
}

/// The path with a query.
pub(super) fn with_query<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{path}?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_path_is_encoded() {
        let path = path("v1/make_join", &["!room:a.example", "@a/b:c"]);
        assert_eq!(path, "/_matrix/federation/v1/make_join/%21room%3Aa.example/%40a%2Fb%3Ac");
        assert_eq!(with_query("/a", [("v", "$x"), ("v", "y z")]), "/a?v=%24x&v=y+z");
    }
}
