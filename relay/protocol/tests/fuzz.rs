//! What comes from peers who are not trusted, as it is in the folder `corpus` and changed in every way: nothing of it makes a reader panic,
//! and nothing takes much more memory than it weighs, whatever it announces.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "fuzz/mutation.rs"]
mod mutation;

use std::{fs, path::Path};

use ed25519_dalek::SigningKey;
use futures_executor::block_on;
use inglenook_protocol::{
    answer::SignedAnswer,
    handshake::{Challenge, Verdict},
    key_name::label_of,
    message::{read_request, read_response},
    node_record::{NodeRecord, host_of},
    x_matrix::{Authorization, SignedParts},
};
use mutation::{mutated, mutations};
use peak_alloc::PeakAlloc;
use proptest::{
    prelude::any,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How often an input of each sort is changed.
const CASES: u32 = 2_000;

/// What a reader may take for each byte that it is given, a small JSON object being the worst,
const PER_BYTE: usize = 256;
/// and besides: a head of the largest size, and what the buffers hold.
const BESIDES: usize = 256 * 1024;

/// The largest body that is collected here.
const MAX_BODY: usize = 1 << 20;

/// A reader says whether the input is sound.
type Reader = fn(&[u8]) -> bool;

/// What is read, by the folder that its inputs are in, and how many of them are sound.
const READERS: [(&str, Reader, usize); 6] = [
    ("requests", request, 5),
    ("responses", response, 3),
    ("proofs", proof, 1),
    ("verdicts", verdict, 1),
    ("records", record, 2),
    ("authorizations", authorization, 3),
];

fn request(bytes: &[u8]) -> bool {
    block_on(async { read_request(bytes).await?.body.collect(MAX_BODY).await }).is_ok()
}

fn response(bytes: &[u8]) -> bool {
    block_on(async { read_response(bytes).await?.body.collect(MAX_BODY).await }).is_ok()
}

fn proof(bytes: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<CanonicalJsonObject>(bytes) else { return false };
    challenge().check(&answer, challenge().ts, |host| host == "relay.example").is_ok()
}

fn verdict(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Verdict>(bytes).is_ok_and(|verdict| verdict.read(&challenge(), &name(1)).is_ok())
}

fn record(bytes: &[u8]) -> bool {
    let Ok(object) = serde_json::from_slice::<CanonicalJsonObject>(bytes) else { return false };
    NodeRecord::verify(&object, &name(1)).is_ok_and(|record| record.relays.iter().all(|url| host_of(url).is_some()))
}

fn authorization(bytes: &[u8]) -> bool {
    let header = String::from_utf8_lossy(bytes);
    let _ = host_of(&header);
    let (asker, answerer) = (name(2), name(1));
    assert!(!SignedAnswer { uri: "/", authorization: &header, answerer: &answerer, status: 200, body: b"{}" }.is_signed(&header));
    let parts = SignedParts { method: "PUT", uri: "/", origin: answerer.as_str(), destination: asker.as_str(), content: None };
    let Ok(authorization) = Authorization::parse(&header) else { return false };
    assert!(authorization.verify(&parts, &Default::default()).is_err());
    // What is written is read again.
    Authorization::parse(&authorization.to_string()) == Ok(authorization)
}

fn name(seed: u8) -> OwnedServerName {
    ServerName::parse(label_of(&SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())).unwrap()
}

/// The one that the corpus answers.
fn challenge() -> Challenge {
    Challenge::new(name(2), [7; 32], 1_700_000_000_000)
}

fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Reads, and says how much memory that took at most.
fn weighed(read: Reader, input: &[u8]) -> (bool, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let is_sound = read(input);
    (is_sound, MEMORY.peak_usage().saturating_sub(before))
}

/// One test, since what is allocated is counted for the whole process.
#[test]
fn nothing_is_too_strange_and_nothing_takes_more_than_it_weighs() {
    for (folder, read, sound) in READERS {
        let inputs = corpus(folder);
        assert_eq!(inputs.iter().filter(|input| read(input)).count(), sound, "{folder}");
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let strange = runner.run(&(any::<Index>(), mutations()), |(which, mutations)| {
            let input = mutated(&inputs[which.index(inputs.len())], &mutations, &inputs);
            let (_, taken) = weighed(read, &input);
            assert!(taken <= PER_BYTE * input.len() + BESIDES, "{taken} bytes for {} in {folder}", input.len());
            Ok(())
        });
        strange.unwrap_or_else(|error| panic!("{folder}: {error}"));
    }
}
