//! The node as JavaScript sees it: requests and responses of fetch.

use inglenook::wasm::Node;
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::{Request, Response};

use super::{fresh_name, script};

async fn node() -> Node {
    node_on(&fresh_name()).await
}

/// A node over the database of that name.
pub(super) async fn node_on(database: &str) -> Node {
    let options = script("({})");
    Reflect::set(&options, &"database".into(), &database.into()).expect("sets");
    Node::start(options).await.expect("starts")
}

/// What a request is answered.
pub(super) async fn call(node: &Node, method: &str, target: &str, body: &str) -> serde_json::Value {
    let body = Some(body.as_bytes()).filter(|body| !body.is_empty());
    let response = answer(node, request(method), target, body).await;
    let text = JsFuture::from(response.text().expect("has a body")).await.expect("reads");
    serde_json::from_str(&text.as_string().expect("is text")).expect("is JSON")
}

fn request(method: &str) -> Request {
    script(&format!("new Request(self.origin + '/', {{ method: '{method}' }})")).unchecked_into()
}

async fn answer(node: &Node, request: Request, target: &str, body: Option<&[u8]>) -> Response {
    let body = body.map(Uint8Array::from);
    JsFuture::from(node.handle(request, target.into(), body)).await.expect("answers").unchecked_into()
}

async fn json(response: &Response) -> JsValue {
    JsFuture::from(response.json().expect("has a body")).await.expect("is JSON")
}

async fn errcode(response: &Response) -> String {
    Reflect::get(&json(response).await, &"errcode".into()).ok().and_then(|errcode| errcode.as_string()).unwrap_or_default()
}

#[wasm_bindgen_test]
async fn an_unknown_path_is_answered_with_json() {
    let response = answer(&node().await, request("GET"), "/_matrix/nothing", None).await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers().get("content-type"), Ok(Some("application/json".into())));
    assert_eq!(errcode(&response).await, "M_UNRECOGNIZED");
}

#[wasm_bindgen_test]
async fn head_is_answered_as_get_without_its_body() {
    let node = node().await;
    let whole = answer(&node, request("GET"), "/_matrix/nothing", None).await;
    let head = answer(&node, request("HEAD"), "/_matrix/nothing", None).await;
    assert_eq!(head.status(), whole.status());
    assert_eq!(head.headers().get("content-length"), whole.headers().get("content-length"));
    let text = JsFuture::from(head.text().expect("readable")).await.expect("reads");
    assert_eq!(text, "");
}

#[wasm_bindgen_test]
async fn a_body_past_the_limit_is_refused() {
    let node = node().await;
    let response = answer(&node, request("POST"), "/_matrix/nothing", Some(&vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(response.status(), 413);
    assert_eq!(errcode(&response).await, "M_TOO_LARGE");
    let response = answer(&node, request("POST"), "/_matrix/nothing", Some(&vec![b' '; 1 << 20])).await;
    assert_ne!(response.status(), 413);
}

#[wasm_bindgen_test]
async fn an_unknown_method_is_refused() {
    let response = answer(&node().await, request("PATCH"), "/_matrix/nothing", None).await;
    assert_eq!(response.status(), 405);
    assert_eq!(errcode(&response).await, "M_UNRECOGNIZED");
}

#[wasm_bindgen_test]
async fn wrong_options_are_named() {
    let Err(error) = Node::start(script("({ serverName: 'x' })")).await else { panic!("started without a database") };
    let message = Reflect::get(&error, &"message".into()).ok().and_then(|message| message.as_string()).unwrap_or_default();
    assert!(message.contains("database"), "unclear: {message}");
}
