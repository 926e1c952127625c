//! Push rules as clients set and get them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    account_data,
    error::Error,
    http::{Method, Response},
    push::{
        rules,
        ruleset::{self, NewRule, Place},
    },
};

macro_rules! route {
    ($method:ident, $path:literal, $handler:ident) => {
        Route {
            method: Method::$method,
            path: concat!("/_matrix/client/{version}/pushrules", $path),
            access: Access::Token,
            handler: handler!($handler),
        }
    };
}

pub(super) const ROUTES: &[Route] = &[
    route!(Get, "", all),
    route!(Get, "/", all),
    route!(Get, "/global", global),
    route!(Get, "/global/", global),
    route!(Get, "/global/{kind}/{ruleId}", one),
    route!(Put, "/global/{kind}/{ruleId}", put),
    route!(Delete, "/global/{kind}/{ruleId}", delete),
    route!(Get, "/global/{kind}/{ruleId}/enabled", is_enabled),
    route!(Put, "/global/{kind}/{ruleId}/enabled", set_enabled),
    route!(Get, "/global/{kind}/{ruleId}/actions", actions),
    route!(Put, "/global/{kind}/{ruleId}/actions", set_actions),
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules>
async fn all(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&read(&call).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal>
async fn global(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&read(&call).await?.get("global")))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid>
async fn one(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&rule(&call).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled>
async fn is_enabled(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "enabled": rule(&call).await?.get("enabled") })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions>
async fn actions(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "actions": rule(&call).await?.get("actions") })))
}

#[derive(Deserialize)]
struct Rule {
    actions: Vec<Value>,
    conditions: Option<Vec<Condition>>,
    pattern: Option<String>,
}

/// A condition may have any parameters; which ones it needs, its kind says.
#[derive(Deserialize, serde::Serialize)]
struct Condition {
    kind: String,
    #[serde(flatten)]
    parameters: serde_json::Map<String, Value>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid>
async fn put(call: Call) -> Result<Response, Error> {
    let (kind, rule_id) = (call.param(0), call.param(1));
    check_rule_id(rule_id)?;
    let Rule { actions, conditions, pattern } = call.body()?;
    if kind == "content" && pattern.is_none() {
        return Err(Error::missing_param("A rule about content needs a pattern."));
    }
    let has_conditions = matches!(kind, "override" | "underride");
    let new = NewRule {
        rule_id: rule_id.to_owned(),
        actions: checked_actions(actions)?,
        conditions: has_conditions.then(|| json!(conditions.unwrap_or_default())),
        pattern: pattern.filter(|_| kind == "content"),
    };
    let place = Place { before: call.query("before"), after: call.query("after") };
    change(&call, Box::new(|content| ruleset::put(content, kind, new, &place))).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid>
async fn delete(call: Call) -> Result<Response, Error> {
    change(&call, Box::new(|content| ruleset::remove(content, call.param(0), call.param(1)))).await
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled>
async fn set_enabled(call: Call) -> Result<Response, Error> {
    let Enabled { enabled } = call.body()?;
    change(&call, Box::new(|content| ruleset::set_field(content, call.param(0), call.param(1), "enabled", enabled.into()))).await
}

#[derive(Deserialize)]
struct Actions {
    actions: Vec<Value>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions>
async fn set_actions(call: Call) -> Result<Response, Error> {
    let Actions { actions } = call.body()?;
    let actions = checked_actions(actions)?;
    change(&call, Box::new(|content| ruleset::set_field(content, call.param(0), call.param(1), "actions", actions))).await
}

async fn read(call: &Call) -> Result<Value, Error> {
    let stored = account_data::read(&call.server, call.user()?, None, rules::KIND).await?;
    Ok(stored.unwrap_or(rules::predefined(call.user()?)))
}

async fn rule(call: &Call) -> Result<Value, Error> {
    let content = read(call).await?;
    ruleset::find(&content, call.param(0), call.param(1)).cloned()
}

/// What becomes of a user's rules.
type Change<'a> = Box<dyn FnOnce(&mut Value) -> Result<(), Error> + 'a>;

async fn change(call: &Call, change: Change<'_>) -> Result<Response, Error> {
    let user = call.user()?;
    let changing = account_data::change(&call.server, user, None, rules::KIND, |old| {
        let mut content = old.unwrap_or_else(|| rules::predefined(user));
        change(&mut content)?;
        Ok(Some(content))
    });
    changing.await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid> (`ruleId`)
fn check_rule_id(rule_id: &str) -> Result<(), Error> {
    match rule_id {
        "" => Err(Error::invalid_param("A rule needs an ID.")),
        id if id.starts_with('.') => Err(Error::invalid_param("IDs that begin with a dot are for the server's rules.")),
        id if id.contains(['/', '\\']) => Err(Error::invalid_param("A rule's ID has no slashes.")),
        _ => Ok(()),
    }
}

/// The actions without those that mean nothing any more.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#historical-actions>
fn checked_actions(actions: Vec<Value>) -> Result<Value, Error> {
    let mut kept = Vec::new();
    for action in actions {
        match action.as_str() {
            Some("dont_notify" | "coalesce") => {}
            Some("notify") => kept.push(action),
            None if action.get("set_tweak").is_some_and(Value::is_string) => kept.push(action),
            _ => return Err(Error::bad_json(format!("{action} is no action."))),
        }
    }
    Ok(kept.into())
}
