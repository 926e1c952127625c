//! Which of its limits a request counts against.

use super::Call;
use crate::{accounts::usernames, error::Error, http::Method, rate_limits::Class};

/// Refuses a request that comes too soon after others.
pub(super) fn check(call: &Call) -> Result<(), Error> {
    let Some(limits) = &call.server.config.rate_limits else { return Ok(()) };
    let (class, who) = counted(call);
    call.server.rate_limits.borrow_mut().take(limits, class, &who, call.server.now())
}

/// Refuses a request for which the caller's password is asked, if it comes too soon after others by which it could be guessed.
pub(super) fn check_password(call: &Call) -> Result<(), Error> {
    let Some(limits) = &call.server.config.rate_limits else { return Ok(()) };
    call.server.rate_limits.borrow_mut().take(limits, Class::SignIn, call.user()?.as_str(), call.server.now())
}

fn counted(call: &Call) -> (Class, String) {
    let (method, path) = (call.request.method, call.request.path.as_str());
    let user = call.caller().map(|caller| caller.user.to_string());
    let ends_with_any = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
    if method == Method::Post && ends_with_any(&["/login", "/register"]) {
        (Class::SignIn, name(call))
    } else if ends_with_any(&["/m.login.registration_token/validity"]) {
        (Class::SignIn, user.unwrap_or_default())
    } else if matches!(method, Method::Get | Method::Head) {
        (Class::Read, user.unwrap_or_default())
    } else {
        (Class::Write, user.unwrap_or_default())
    }
}

/// The name that somebody tries, in whatever form and place they give it.
fn name(call: &Call) -> String {
    let body = call.json().unwrap_or_default();
    let name = body.pointer("/identifier/user").or_else(|| body.get("user")).or_else(|| body.get("username"));
    let name = name.and_then(|name| name.as_str()).unwrap_or_default().to_ascii_lowercase();
    let user = Some(&name).filter(|name| !name.is_empty()).and_then(|name| usernames::named_user_id(&call.server, name));
    user.map_or(name, |user| user.to_string())
}
