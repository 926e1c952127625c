//! The binary itself: its ready line, its end, and what it keeps when it is killed.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use inglenook_protocol::message::{CONTENT_TYPE, read_response, whole, write_request};
use ruma::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{ordinary::Authority, support::*};

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(data: &Path) -> Process {
    start_with(data, &[])
}

fn start_with(data: &Path, arguments: &[&str]) -> Process {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inglenook-relay"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(arguments)
        .env("INGLENOOK_RELAY_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit("://").next().unwrap().parse().unwrap_or_else(|_| panic!("a ready line: {line:?}"));
    Process { child, address }
}

/// Stores a transaction; `None` when the relay died meanwhile.
async fn store(address: SocketAddr, origin: &Key, id: &str, destination: &ServerName) -> Option<u16> {
    let mut message = Vec::new();
    write_request(&mut message, origin.transaction(id, destination).map_body(whole)).await.unwrap();
    let mut socket = TcpStream::connect(address).await.ok()?;
    let uri = inglenook_protocol::path::FORWARD;
    let from = format!("{FORWARDED}: 1.1.1.1\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\n", message.len());
    let head = format!("POST {uri} HTTP/1.0\r\n{from}\r\n");
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(&message).await.ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok()?;
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    read_response(&answer[at + 4..]).await.ok().map(|response| response.status)
}

/// Attaches until the node has nothing left to be handed, and says what it was.
async fn drain(address: SocketAddr, key: &Key) -> Vec<String> {
    let host = Host::over(address);
    let mut node = key.attach(&host).await;
    let mut received = Vec::new();
    while let Ok(Some(request)) = tokio::time::timeout(Duration::from_secs(1), node.inbox.recv()).await {
        received.push(request.uri);
    }
    node.vanish(&host).await;
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::of(2);
    drain(start(folder.path()).address, &key).await;
    let mut acknowledged = Vec::new();
    for round in 0..8_u64 {
        let mut process = start(folder.path());
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..8 {
            let (address, destination) = (process.address, key.name());
            senders.spawn(async move {
                let mut stored = Vec::new();
                for number in 0.. {
                    let id = format!("{round}-{sender}-{number}");
                    match store(address, &Key::of(100 + sender), &id, &destination).await {
                        Some(202) => stored.push(send_uri(&id)),
                        Some(status) => panic!("{status}"),
                        None => break,
                    }
                }
                stored
            });
        }
        // Never twice at the same moment.
        tokio::time::sleep(Duration::from_millis(150 + round * 37)).await;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        while let Some(stored) = senders.join_next().await {
            acknowledged.extend(stored.unwrap());
        }
    }
    assert!(acknowledged.len() > 200, "only {} were stored: the test tests nothing", acknowledged.len());
    let received = drain(start(folder.path()).address, &key).await;
    let missing: Vec<_> = acknowledged.iter().filter(|uri| !received.contains(uri)).collect();
    assert!(missing.is_empty(), "{} of {} lost: {missing:?}", missing.len(), acknowledged.len());
    let distinct: std::collections::BTreeSet<_> = received.iter().collect();
    assert_eq!(distinct.len(), received.len(), "something was handed over twice");
}

/// Stores until an address has no more room, all of it of one size, and says how much waits then.
async fn fill(address: SocketAddr, round: u32, destination: &ServerName) -> u64 {
    for number in 0.. {
        match store(address, &Key::of(99), &format!("{round:02}-99-{number:04}"), destination).await {
            Some(202) => {}
            status => {
                assert_eq!(status, Some(429));
                break;
            }
        }
    }
    metric(&Host::over(address), "inglenook_relay_waiting").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_for_an_address_is_what_is_there_after_kill_9() {
    let (fresh, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = |data: &Path| start_with(data, &["--forwarded-header", FORWARDED, "--address-bytes", "400000", "--address-requests", "0"]);
    let key = Key::of(2);
    let process = start(fresh.path());
    drain(process.address, &key).await;
    let all = fill(process.address, 0, &key.name()).await;
    assert!(all > 100, "{all}");
    drain(start(folder.path()).address, &key).await;
    for round in 0..4_u32 {
        let mut process = start(folder.path());
        let address = process.address;
        // Every other time what was stored before is handed over meanwhile.
        let _node = if round % 2 == 1 { Some(key.attach(&Host::over(address)).await) } else { None };
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..8 {
            let destination = key.name();
            senders.spawn(async move {
                for number in 0.. {
                    let id = format!("{round:02}-{sender:02}-{number:04}");
                    if !matches!(store(address, &Key::of(100 + sender), &id, &destination).await, Some(200 | 202)) {
                        break;
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(100 + u64::from(round) * 37)).await;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        senders.join_all().await;
    }
    let process = start(folder.path());
    assert_eq!(fill(process.address, 90, &key.name()).await, all);
    drain(process.address, &key).await;
    assert_eq!(fill(process.address, 91, &key.name()).await, all);
}

/// What a process holds in memory, in bytes.
fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// All of them attach at the same moment, as they do when a relay has been restarted.
async fn storm(host: &Host, seeds: std::ops::Range<u32>) -> Vec<Node> {
    futures_util::future::join_all(seeds.map(|seed| async move { Key::numbered(seed).attach(host).await })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_costs_little_and_a_reconnect_storm_passes() {
    const NODES: u32 = 400;
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let host = Host::over(process.address);
    // What the first ones cost is the process's own warming up.
    let first = storm(&host, 0..100).await;
    let before = resident(&process);
    let nodes = storm(&host, 100..100 + NODES).await;
    let each = resident(&process).saturating_sub(before) / u64::from(NODES);
    println!("{each} bytes for each idle node");
    assert!(each < 100 * 1024, "{each} bytes for each idle node");
    // All at once again, each in place of its older self.
    let again = storm(&host, 100..100 + NODES).await;
    assert!(again.iter().all(|node| node.welcome.replaced));
    let (one, mut other) = (&first[0], again.into_iter().next().unwrap());
    assert_eq!(one.send(one.key.transaction("1", &other.name())).await.status, 200);
    assert_eq!(other.next().await.uri, send_uri("1"));
    drop((first, nodes));
}

#[tokio::test]
async fn sigterm_ends_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path());
    let node = Key::of(1).attach(&Host::over(process.address)).await;
    Command::new("kill").arg(process.child.id().to_string()).status().unwrap();
    assert_eq!(node.ended().await.1, Some(inglenook_protocol::handshake::CLOSE_STOPPING));
    let status = soon(tokio::task::spawn_blocking(move || process.child.wait().unwrap())).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn sighup_renews_the_certificate_and_breaks_nothing_off() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (chain, key) = authority.issue(&["before.example"]);
    let files = ["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let process = start_with(folder.path(), &files);
    let socket = authority.connect(process.address, "before.example").await.unwrap();
    authority.issue(&["after.example"]);
    Command::new("kill").args(["-HUP", &process.child.id().to_string()]).status().unwrap();
    soon(async {
        while authority.connect(process.address, "after.example").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(http_over(socket, "before.example", "GET", "/health", &[], b"").await.status, 200);
}

#[test]
fn wrong_settings_are_explained() {
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_inglenook-relay")).args(arguments).output().unwrap();
    let output = run(&["--public-url", "relay.example"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("public_url"));
    assert!(!run(&["--listen", "nowhere"]).status.success());
}
