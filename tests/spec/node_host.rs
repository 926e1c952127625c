//! The same scene on a Node host, over HTTP: a process makes a host of the scene's rows for each case.
//!
//! The variable `NODE_HOST_CASES`, with any value, has the cases played there; the package must be built (`cargo xtask test node`).

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use inglenook::{
    http::{Body, Headers, Request, Response},
    storage::Key,
};

use super::case::Case;
use crate::support::Answer;

const VARIABLE: &str = "NODE_HOST_CASES";
const SCRIPT: &str = "tests-wasm/node/scenes.mjs";

thread_local! {
    static PROCESS: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// Whether the cases are played on a Node host.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Why a case is not played there.
pub(crate) fn reason_to_leave_out(case: &Case) -> Option<&'static str> {
    let has_no_host = case.operation == "getWellknown" && case.request.host.is_none();
    let reasons = [
        (case.limited, "its limits are wide, and fill again by a clock that goes on"),
        (has_no_host, "a request over HTTP says under which name it reaches the server"),
    ];
    reasons.into_iter().find_map(|(applies, reason)| applies.then_some(reason))
}

/// A host that has just been started.
pub(crate) struct NodeHost {
    address: String,
}

impl NodeHost {
    /// A host with the scene's rows.
    pub(crate) fn start(rows: &[(Key, Vec<u8>)]) -> Self {
        PROCESS.with_borrow_mut(|process| Self { address: process.get_or_insert_with(|| Process::start(rows)).next() })
    }

    /// Sends a request and returns its answer.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("the host listens");
        let body = if let Body::Bytes(bytes) = &request.body { bytes.as_slice() } else { &[] };
        let head =
            format!("{} {} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", request.method.as_str(), request.target(), body.len());
        let host = if request.headers.contains_key("host") { String::new() } else { format!("host: {}\r\n", self.address) };
        let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        stream.write_all(&[format!("{head}{host}{headers}\r\n").as_bytes(), body].concat()).expect("the host reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the host answers");
        Answer::of_bytes(read(&answer).expect("the answer is HTTP"))
    }
}

/// An answer after which the connection is closed.
fn read(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let (first, lines) = head.split_once("\r\n")?;
    let status = first.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: Headers = lines.split("\r\n").map(header).collect::<Option<_>>()?;
    assert!(!headers.contains_key("transfer-encoding"), "the length of every answer is known");
    Some(Response { status, headers, body: Body::Bytes(answer[end + 4..].to_vec()) })
}

/// The process that makes one host after the other.
struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    fn start(rows: &[(Key, Vec<u8>)]) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // As the host's store has it: behind the table's name and a zero.
        let row = |(key, value): &(Key, Vec<u8>)| format!("{}00{} {}\n", hex(key.table.name().as_bytes()), hex(&key.bytes), hex(value));
        let thread = std::thread::current();
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scene-{}", thread.name().unwrap_or_default()));
        std::fs::write(&file, rows.iter().map(row).collect::<String>()).expect("the folder for tests can be written to");
        let mut command = Command::new("node");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).arg(SCRIPT).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Node.js is installed");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").expect("the process lives");
        let mut address = String::new();
        self.lines.read_line(&mut address).expect("the process lives");
        assert!(!address.is_empty(), "no host was started: is the package built?");
        address.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
