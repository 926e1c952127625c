//! Routes: which handler answers which method and path.

use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode_str;
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::{
    error::Error,
    http::{Method, Request, Response},
};

/// What answers a request. All handlers of an API have this one type, so that generics stop at the door.
pub(crate) type Handler<Call> = fn(Call) -> LocalBoxFuture<'static, Result<Response, Error>>;

/// One route of an API, with what it makes of a request and who may call.
pub(crate) struct Route<Call, Access> {
    pub(crate) method: Method,
    /// The path, with `{name}` where a parameter stands; behind the API's name, `{version}` stands for any version of it under
    /// which one handler answers.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) handler: Handler<Call>,
}

/// Makes a route's handler of an `async fn(Call)`.
macro_rules! handler {
    ($function:path) => {{
        fn boxed(call: Call) -> ::futures_util::future::LocalBoxFuture<'static, Result<$crate::http::Response, $crate::error::Error>> {
            Box::pin($function(call))
        }
        boxed
    }};
}
pub(crate) use handler;

/// Parameters in the order of the path.
pub(crate) type Params = Vec<String>;

/// What stands in a request's target beside the route: the parameters of the path, and the query.
pub(crate) struct Target {
    params: Params,
    query: Vec<(String, String)>,
}

impl Target {
    pub(crate) fn new(params: Params, request: &Request) -> Self {
        Self { params, query: form_urlencoded::parse(request.query.as_bytes()).into_owned().collect() }
    }

    /// The parameter at this place of the path.
    pub(crate) fn param(&self, index: usize) -> &str {
        self.params.get(index).map(String::as_str).unwrap_or_default()
    }

    /// The room ID at this place of the path.
    pub(crate) fn room_id(&self, index: usize) -> Result<OwnedRoomId, Error> {
        let text = self.param(index);
        RoomId::parse(text).map_err(|_| Error::invalid_param(format!("{text:?} is no room ID.")))
    }

    /// The event ID at this place of the path.
    pub(crate) fn event_id(&self, index: usize) -> Result<OwnedEventId, Error> {
        let text = self.param(index);
        EventId::parse(text).map_err(|_| Error::invalid_param(format!("{text:?} is no event ID.")))
    }

    /// The user ID at this place of the path.
    pub(crate) fn user_id(&self, index: usize) -> Result<OwnedUserId, Error> {
        let text = self.param(index);
        UserId::parse(text).map_err(|_| Error::invalid_param(format!("{text:?} is no user ID.")))
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a query parameter.
    pub(crate) fn query_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter that is a number.
    pub(crate) fn query_number(&self, name: &str) -> Result<Option<u64>, Error> {
        let number = |text: &str| text.parse().map_err(|_| Error::invalid_param(format!("{name} must be a number that is not negative.")));
        self.query(name).map(number).transpose()
    }

    /// A query parameter that is a truth value.
    pub(crate) fn query_bool(&self, name: &str) -> Result<Option<bool>, Error> {
        let truth = |text: &str| text.parse().map_err(|_| Error::invalid_param(format!("{name} must be true or false.")));
        self.query(name).map(truth).transpose()
    }
}

/// The versions under which clients of all ages ask for the same thing.
const VERSIONS: [&str; 3] = ["v3", "r0", "v1"];

/// Where in a path the API's version stands, counted in segments: `/_matrix/client/{version}`.
const VERSION_PLACE: usize = 3;

/// The route of a request, and its parameters. Where several answer the path, the first segment in which they differ decides:
/// what is spelt out goes before a parameter.
///
/// 404 for a path that there is not, 405 for one that has no such method.
pub(crate) fn find<Call, Access>(
    routes: &'static [&'static [Route<Call, Access>]],
    method: Method,
    path: &str,
) -> Result<(&'static Route<Call, Access>, Params), Error> {
    let method = if method == Method::Head { Method::Get } else { method };
    let mut path_exists = false;
    let mut found: Option<(&Route<Call, Access>, Vec<&str>)> = None;
    for route in routes.iter().copied().flatten() {
        let Some(params) = params(route.path, path) else { continue };
        path_exists = true;
        if route.method == method && found.as_ref().is_none_or(|(other, _)| goes_before(route.path, other.path)) {
            found = Some((route, params));
        }
    }
    if let Some((route, params)) = found {
        return Ok((route, params.into_iter().map(decode).collect::<Result<_, _>>()?));
    }
    if path_exists {
        return Err(Error::refused(405, "M_UNRECOGNIZED", format!("{path} does not take {}.", method.as_str())));
    }
    Err(Error::refused(404, "M_UNRECOGNIZED", format!("There is no {path} here.")))
}

fn goes_before(path: &str, other: &str) -> bool {
    path.split('/').map(is_placeholder).lt(other.split('/').map(is_placeholder))
}

fn is_placeholder(part: &str) -> bool {
    part.starts_with('{')
}

fn params<'a>(template: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for (place, part) in template.split('/').enumerate() {
        let segment = segments.next()?;
        if place == VERSION_PLACE && part == "{version}" {
            VERSIONS.contains(&segment).then_some(())?;
        } else if is_placeholder(part) {
            found.push(segment);
        } else if part != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(found)
}

fn decode(segment: &str) -> Result<String, Error> {
    let text = percent_decode_str(segment).decode_utf8().map_err(|_| Error::invalid_param("The path is not UTF-8."))?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use crate::ordered::OrderedSet;

    use super::*;

    const fn route(method: Method, path: &'static str) -> Route<(), ()> {
        fn handler((): ()) -> LocalBoxFuture<'static, Result<Response, Error>> {
            Box::pin(async { Ok(Response::empty()) })
        }
        Route { method, path, access: (), handler }
    }

    const VERSION: &str = "/_matrix/client/{version}/room_keys/version/{version}";
    const KEYS: &str = "/_matrix/client/{version}/room_keys/{kind}/{roomId}";
    const ALL: &str = "/_matrix/client/{version}/room_keys/{kind}/all";
    const OLD: &str = "/_matrix/client/r0/room_keys/{kind}/{roomId}";

    /// In whichever order the routes stand.
    const TABLES: [&[&[Route<(), ()>]]; 2] = [
        &[&[
            route(Method::Get, VERSION),
            route(Method::Put, KEYS),
            route(Method::Get, KEYS),
            route(Method::Get, ALL),
            route(Method::Get, OLD),
        ]],
        &[&[
            route(Method::Get, OLD),
            route(Method::Get, ALL),
            route(Method::Get, KEYS),
            route(Method::Put, KEYS),
            route(Method::Get, VERSION),
        ]],
    ];

    #[test]
    fn what_is_spelt_out_goes_before_a_parameter() {
        for table in TABLES {
            for (method, path, expected, params) in [
                (Method::Get, "/_matrix/client/v3/room_keys/version/7", VERSION, &["7"] as &[&str]),
                (Method::Get, "/_matrix/client/v3/room_keys/version/v1", VERSION, &["v1"]),
                (Method::Get, "/_matrix/client/v3/room_keys/version/all", VERSION, &["all"]),
                (Method::Head, "/_matrix/client/v1/room_keys/keys/!r", KEYS, &["keys", "!r"]),
                (Method::Get, "/_matrix/client/v3/room_keys/keys/all", ALL, &["keys"]),
                (Method::Get, "/_matrix/client/r0/room_keys/keys/all", OLD, &["keys", "all"]),
                // Only a parameter's route takes this method.
                (Method::Put, "/_matrix/client/v3/room_keys/version/7", KEYS, &["version", "7"]),
            ] {
                let (route, found) = find(table, method, path).unwrap_or_else(|error| panic!("{path}: {error}"));
                assert_eq!((route.path, found.iter().map(String::as_str).collect::<Vec<_>>().as_slice()), (expected, params), "{path}");
            }
            let status = |method, path| find(table, method, path).err().map(|error| error.response().status);
            assert_eq!(status(Method::Delete, "/_matrix/client/v3/room_keys/version/7"), Some(405));
            assert_eq!(status(Method::Get, "/_matrix/client/v9/room_keys/version/7"), Some(404));
            assert_eq!(status(Method::Get, "/_matrix/client/v3/room_keys/version"), Some(404));
        }
    }

    /// Two routes of one shape and method could not be told apart.
    #[test]
    fn no_two_routes_have_one_shape() {
        let routes: Vec<_> = crate::client_api::routes().chain(crate::federation_api::routes()).collect();
        let shape = |path: &'static str| {
            let parts = path.split('/').enumerate();
            parts.map(|(place, part)| if is_placeholder(part) && place != VERSION_PLACE { "{}" } else { part }).collect::<Vec<_>>()
        };
        let shapes: OrderedSet<_> = routes.iter().map(|(method, path)| (*method, shape(path))).collect();
        assert_eq!(shapes.len(), routes.len());
    }
}
