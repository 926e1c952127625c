//! A case: one request, who makes it in which situation, and what the answer must be.
//!
//! `{name}` in targets, bodies and expected values stands for what the scene, or a step before, calls so.

use inglenook::http::Method;
use serde_json::Value;

/// Nobody: a request without an access token.
pub(crate) const NOBODY: &str = "";

/// One case.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The operation's ID in the specification.
    pub(crate) operation: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) request: Sent,
    /// Whether the server's limits are used up.
    pub(crate) limited: bool,
    pub(crate) status: u16,
    /// The `errcode`, or any of several.
    pub(crate) errcodes: Vec<&'static str>,
    pub(crate) expectations: Vec<Expectation>,
}

/// A request as a table says it.
#[derive(Clone)]
pub(crate) struct Sent {
    /// The caller's name in the scene, or [`NOBODY`].
    pub(crate) caller: &'static str,
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) body: Content,
    /// The name under which the client reaches the server.
    pub(crate) host: Option<&'static str>,
}

/// A request's body.
#[derive(Clone)]
pub(crate) enum Content {
    None,
    Json(Value),
    Bytes(&'static str, Vec<u8>),
}

/// A request that must succeed before the case's own.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) request: Sent,
    /// Names for parts of the answer: the name and a JSON pointer.
    pub(crate) kept: Vec<(&'static str, &'static str)>,
}

/// What must hold of the answer's body, at a JSON pointer.
#[derive(Clone)]
pub(crate) enum Expectation {
    Equals(&'static str, Value),
    Has(&'static str),
    Lacks(&'static str),
    Counts(&'static str, usize),
    /// An array has an element with at least these fields.
    Includes(&'static str, Value),
    /// An array has no element with these fields.
    Excludes(&'static str, Value),
    Header(&'static str, &'static str),
    Body(&'static str),
}

/// A `GET`.
pub(crate) fn get(caller: &'static str, target: &str, operation: &str, name: &str) -> Case {
    Case::new(operation, name, Sent::new(caller, Method::Get, target, Content::None))
}

/// A `POST`.
pub(crate) fn post(caller: &'static str, target: &str, operation: &str, name: &str, body: Value) -> Case {
    Case::new(operation, name, Sent::new(caller, Method::Post, target, Content::Json(body)))
}

/// A `PUT`.
pub(crate) fn put(caller: &'static str, target: &str, operation: &str, name: &str, body: Value) -> Case {
    Case::new(operation, name, Sent::new(caller, Method::Put, target, Content::Json(body)))
}

/// A `DELETE` without a body.
pub(crate) fn delete(caller: &'static str, target: &str, operation: &str, name: &str) -> Case {
    Case::new(operation, name, Sent::new(caller, Method::Delete, target, Content::None))
}

impl Sent {
    pub(crate) fn new(caller: &'static str, method: Method, target: &str, body: Content) -> Self {
        let whole = target.starts_with("/_matrix/") || target.starts_with("/.well-known/");
        let target = if whole { target.into() } else { format!("/_matrix/client/v3{target}") };
        Self { caller, method, target, body, host: None }
    }

    /// The target's path.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

impl Case {
    pub(crate) fn new(operation: &str, name: &str, request: Sent) -> Self {
        let (steps, expectations) = (Vec::new(), Vec::new());
        Self {
            name: name.into(),
            operation: operation.into(),
            steps,
            request,
            limited: false,
            status: 200,
            errcodes: Vec::new(),
            expectations,
        }
    }

    /// The same with this body.
    pub(crate) fn sending(mut self, body: Content) -> Self {
        self.request.body = body;
        self
    }

    /// The same where the server's limits are used up.
    pub(crate) fn limited(mut self) -> Self {
        self.limited = true;
        self
    }

    /// The same, sent to the server under this name.
    pub(crate) fn reached_as(mut self, host: &'static str) -> Self {
        self.request.host = Some(host);
        self
    }

    /// The same after this request, which must succeed.
    pub(crate) fn after(mut self, caller: &'static str, method: Method, target: &str, body: Value) -> Self {
        let body = if method == Method::Get { Content::None } else { Content::Json(body) };
        self.steps.push(Step { request: Sent::new(caller, method, target, body), kept: Vec::new() });
        self
    }

    /// The same after this upload, whose medium is `{media}`.
    pub(crate) fn after_upload(mut self, caller: &'static str, kind: &'static str, bytes: &[u8]) -> Self {
        let request = Sent::new(caller, Method::Post, "/_matrix/media/v3/upload?filename=a%20file.txt", Content::Bytes(kind, bytes.into()));
        self.steps.push(Step { request, kept: vec![("media", "/content_uri")] });
        self
    }

    /// Gives a part of the last step's answer a name.
    pub(crate) fn keeping(mut self, name: &'static str, pointer: &'static str) -> Self {
        self.steps.last_mut().unwrap().kept.push((name, pointer));
        self
    }

    /// The answer has this status instead of 200.
    pub(crate) fn gives(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The answer is an error with this status and `errcode`.
    pub(crate) fn refused(self, status: u16, errcode: &'static str) -> Self {
        self.refused_by_any(status, &[errcode])
    }

    /// The answer is an error with this status and one of these `errcode`s.
    pub(crate) fn refused_by_any(mut self, status: u16, errcodes: &[&'static str]) -> Self {
        self.status = status;
        self.errcodes = errcodes.into();
        self
    }

    /// The body has this value there.
    pub(crate) fn at(self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.expect(Expectation::Equals(pointer, value.into()))
    }

    /// The body has something there.
    pub(crate) fn has(self, pointer: &'static str) -> Self {
        self.expect(Expectation::Has(pointer))
    }

    /// The body has nothing there.
    pub(crate) fn lacks(self, pointer: &'static str) -> Self {
        self.expect(Expectation::Lacks(pointer))
    }

    /// The body has an array or object of so many members there.
    pub(crate) fn counts(self, pointer: &'static str, count: usize) -> Self {
        self.expect(Expectation::Counts(pointer, count))
    }

    /// The body has an array there with an element that has at least these fields.
    pub(crate) fn includes(self, pointer: &'static str, element: Value) -> Self {
        self.expect(Expectation::Includes(pointer, element))
    }

    /// The body has an array there without any element that has these fields.
    pub(crate) fn excludes(self, pointer: &'static str, element: Value) -> Self {
        self.expect(Expectation::Excludes(pointer, element))
    }

    /// The answer has this header.
    pub(crate) fn header(self, name: &'static str, value: &'static str) -> Self {
        self.expect(Expectation::Header(name, value))
    }

    /// The body is this text.
    pub(crate) fn body(self, text: &'static str) -> Self {
        self.expect(Expectation::Body(text))
    }

    fn expect(mut self, expectation: Expectation) -> Self {
        self.expectations.push(expectation);
        self
    }
}
