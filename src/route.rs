//! Routes: which handler answers which method and path.

use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode_str;

use crate::{
    error::Error,
    http::{Method, Response},
};

/// What answers a request. All handlers of an API have this one type, so that generics stop at the door.
pub(crate) type Handler<Call> = fn(Call) -> LocalBoxFuture<'static, Result<Response, Error>>;

/// One route of an API, with what it makes of a request and who may call.
pub(crate) struct Route<Call, Access> {
    pub(crate) method: Method,
    /// The path, with `{name}` where a parameter stands; `{version}` stands for any version of the API under which one handler answers.
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

/// The versions under which clients of all ages ask for the same thing.
const VERSIONS: [&str; 3] = ["v3", "r0", "v1"];

/// The route of a request, and its parameters.
///
/// 404 for a path that there is not, 405 for one that has no such method.
pub(crate) fn find<Call, Access>(
    routes: &'static [&'static [Route<Call, Access>]],
    method: Method,
    path: &str,
) -> Result<(&'static Route<Call, Access>, Params), Error> {
    let method = if method == Method::Head { Method::Get } else { method };
    let mut path_exists = false;
    for route in routes.iter().copied().flatten() {
        let Some(params) = params(route.path, path) else { continue };
        if route.method == method {
            return Ok((route, params.into_iter().map(decode).collect::<Result<_, _>>()?));
        }
        path_exists = true;
    }
    if path_exists {
        return Err(Error::refused(405, "M_UNRECOGNIZED", format!("{path} does not take {}.", method.as_str())));
    }
    Err(Error::refused(404, "M_UNRECOGNIZED", format!("There is no {path} here.")))
}

fn params<'a>(template: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for part in template.split('/') {
        let segment = segments.next()?;
        if part == "{version}" {
            VERSIONS.contains(&segment).then_some(())?;
        } else if part.starts_with('{') {
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
