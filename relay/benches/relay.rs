//! How much a relay carries: thousands of idle tunnels, and requests through some of them, with the relay in a process of its own.
//!
//! Prints one JSON object a line. `cargo xtask bench relay [--quick]` runs it over a release build.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "../tests/relay/support.rs"]
mod support;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Instant,
};

use futures_util::{StreamExt, stream};
use serde_json::json;
use support::{Host, Key};

/// Tunnels, and how many are being dialled at a time.
const SOCKETS: u32 = 5_000;
const DIALLING: usize = 64;

/// Requests through the relay, and how many are under way at a time.
const REQUESTS: usize = 20_000;
const UNDER_WAY: usize = 64;

struct Process {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Process {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_inglenook-relay"))
            // One node sends it all.
            .args(["--listen", "127.0.0.1:0", "--node-requests", "0", "--log", "error", "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
        Self { child, address, _data: data }
    }

    /// What the process holds in memory, in bytes; nothing where the system does not say.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (sockets, requests) = if quick { (500, 2_000) } else { (SOCKETS, REQUESTS) };
    // A file for each socket, here as in the relay.
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(files > u64::from(sockets) + 100, "the system allows {files} open files, which is too few: see ulimit -Hn");
    let relay = Process::start();
    let host = Host::over(relay.address);

    let (before, begun) = (relay.memory(), Instant::now());
    let attaching = stream::iter(0..sockets).map(|number| {
        let host = &host;
        async move { Key::numbered(number).attach(host).await }
    });
    let nodes: Vec<_> = attaching.buffer_unordered(DIALLING).collect().await;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{}", json!({ "name": "reconnect storm", "sockets": nodes.len(), "unit": "s", "value": round(seconds) }));
    let each = relay.memory().saturating_sub(before) / u64::from(sockets);
    println!("{}", json!({ "name": "memory of an idle node", "unit": "bytes", "value": each, "relay": relay.memory() }));

    let sender = &nodes[0];
    let body = format!(r#"{{"pdus":[{{"content":"{}"}}]}}"#, "x".repeat(1_000));
    let (begun, mut times) = (Instant::now(), Vec::new());
    let asking = stream::iter(0..requests).map(|number| {
        let to = Key::numbered(1 + number as u32 % (sockets - 1)).name();
        let request = Key::numbered(0).request("PUT", &format!("/_matrix/federation/v1/send/t{number}"), &to, body.as_bytes());
        async move {
            let begun = Instant::now();
            assert_eq!(sender.send(request).await.status, 200);
            begun.elapsed().as_secs_f64() * 1e3
        }
    });
    let mut asking = asking.buffer_unordered(UNDER_WAY);
    while let Some(time) = asking.next().await {
        times.push(time);
    }
    let throughput = requests as f64 / begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| round(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "{}",
        json!({ "name": "live requests of 1 kB, 32 under way", "unit": "1/s", "value": round(throughput), "p50_ms": at(0.5), "p95_ms": at(0.95) })
    );
    println!("{}", json!({ "name": "memory after that", "unit": "bytes", "value": relay.memory() }));
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
