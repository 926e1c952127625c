//! Media: uploads, reservations, downloads whole and in part, thumbnails, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use inglenook::{
    http::{Body, Method, Request},
    storage::{Key, Scan, Table},
};
use serde_json::json;
use support::{Answer, Fault, Host, User, request};

const DAY: u64 = 24 * 60 * 60 * 1_000;

fn upload_request(method: Method, user: &User, target: &str, content_type: Option<&str>, bytes: &[u8]) -> Request {
    let mut request = request(method, target, Some(&user.token), None);
    if let Some(content_type) = content_type {
        request.headers.insert("content-type".into(), content_type.into());
    }
    request.body = Body::Bytes(bytes.into());
    request
}

fn upload(host: &Host, user: &User, query: &str, content_type: Option<&str>, bytes: &[u8]) -> Answer {
    let target = format!("/_matrix/media/v3/upload{query}");
    host.send_request(upload_request(Method::Post, user, &target, content_type, bytes)).answer().unwrap()
}

/// Server name and media ID of an upload.
fn path_of(answer: &Answer) -> String {
    answer.text("content_uri").strip_prefix("mxc://").unwrap().to_owned()
}

fn fetch(host: &Host, user: &User, method: Method, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = request(method, target, Some(&user.token), None);
    request.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    host.send_request(request).answer().unwrap()
}

fn download(host: &Host, user: &User, path: &str, headers: &[(&str, &str)]) -> Answer {
    fetch(host, user, Method::Get, &format!("/_matrix/client/v1/media/download/{path}"), headers)
}

fn thumbnail(host: &Host, user: &User, path: &str, query: &str) -> Answer {
    fetch(host, user, Method::Get, &format!("/_matrix/client/v1/media/thumbnail/{path}?{query}"), &[])
}

fn reserve(host: &Host, user: &User) -> Answer {
    host.post(user, "/_matrix/media/v1/create", json!({}))
}

fn put(host: &Host, user: &User, path: &str, bytes: &[u8]) -> Answer {
    let target = format!("/_matrix/media/v3/upload/{path}");
    host.send_request(upload_request(Method::Put, user, &target, Some("text/plain"), bytes)).answer().unwrap()
}

fn media_rows(host: &Host) -> usize {
    use inglenook::ports::Store;
    host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::Media)))).unwrap().len()
}

#[test]
fn what_was_uploaded_comes_back() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let answer = upload(&host, &alice, "?filename=a%20b.png", Some("image/png"), b"0123456789").ok();
    assert!(answer.text("content_uri").starts_with("mxc://example.org/"));
    let path = path_of(&answer);
    host.restart();
    let whole = download(&host, &alice, &path, &[]).ok();
    assert_eq!(whole.bytes, b"0123456789");
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "10"),
        ("content-disposition", "inline; filename=\"a b.png\""),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(whole.headers[name], value, "{name}");
    }
    assert!(whole.headers["content-security-policy"].starts_with("sandbox; default-src 'none';"));
    let renamed = download(&host, &alice, &format!("{path}/%C3%A4.png"), &[]).ok();
    assert_eq!(renamed.headers["content-disposition"], "inline; filename*=utf-8''%C3%A4.png");
    // The older paths need no access token.
    for old in ["v3", "r0", "v1"] {
        let target = format!("/_matrix/media/{old}/download/{path}");
        assert_eq!(host.request(Method::Get, &target, None, None).ok().bytes, b"0123456789");
    }
    host.request(Method::Get, &format!("/_matrix/client/v1/media/download/{path}"), None, None).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn what_could_run_is_not_shown_in_place() {
    let host = Host::new();
    let alice = host.register("alice");
    for (content_type, kind, disposition) in [
        (Some("text/html"), "text/html", "attachment"),
        (Some("image/svg+xml"), "image/svg+xml", "attachment"),
        (Some("text/plain; charset=utf-8"), "text/plain; charset=utf-8", "inline"),
        (None, "application/octet-stream", "attachment"),
        (Some(""), "application/octet-stream", "attachment"),
    ] {
        let path = path_of(&upload(&host, &alice, "", content_type, b"x").ok());
        let answer = download(&host, &alice, &path, &[]).ok();
        assert_eq!((&*answer.headers["content-type"], &*answer.headers["content-disposition"]), (kind, disposition));
    }
}

#[test]
fn parts_heads_and_what_the_client_has() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&upload(&host, &alice, "", Some("video/mp4"), b"0123456789").ok());
    let part = download(&host, &alice, &path, &[("range", "bytes=2-4")]);
    assert_eq!((part.status, &*part.bytes, &*part.headers["content-range"]), (206, &b"234"[..], "bytes 2-4/10"));
    assert_eq!(part.headers["content-length"], "3");
    let tail = download(&host, &alice, &path, &[("range", "bytes=-2")]);
    assert_eq!((tail.status, &*tail.bytes, &*tail.headers["content-range"]), (206, &b"89"[..], "bytes 8-9/10"));
    let outside = download(&host, &alice, &path, &[("range", "bytes=10-")]);
    assert_eq!((outside.status, &*outside.headers["content-range"]), (416, "bytes */10"));
    assert_eq!(download(&host, &alice, &path, &[("range", "bytes=0-1,3-4")]).ok().bytes, b"0123456789");
    assert_eq!(download(&host, &alice, &path, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]).ok().bytes, b"0123456789");

    let target = format!("/_matrix/client/v1/media/download/{path}");
    let head = fetch(&host, &alice, Method::Head, &target, &[]).ok();
    assert_eq!((head.bytes.len(), &*head.headers["content-length"]), (0, "10"));
    let etag = head.headers["etag"].clone();
    assert_eq!(download(&host, &alice, &path, &[("range", "bytes=0-1"), ("if-range", &etag)]).status, 206);
    for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".into()] {
        let answer = download(&host, &alice, &path, &[("if-none-match", &known)]);
        assert_eq!((answer.status, answer.bytes.len(), &answer.headers["etag"]), (304, 0, &etag), "{known}");
    }
    download(&host, &alice, &path, &[("if-none-match", "\"x\"")]).ok();
}

#[test]
fn an_empty_file_is_a_file() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&upload(&host, &alice, "", Some("text/plain"), b"").ok());
    assert_eq!(download(&host, &alice, &path, &[]).ok().bytes, b"");
    assert_eq!(download(&host, &alice, &path, &[("range", "bytes=0-")]).status, 416);
}

#[test]
fn what_is_not_here_is_not_found() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&upload(&host, &alice, "", None, b"x").ok());
    let id = path.strip_prefix("example.org/").unwrap();
    download(&host, &alice, &format!("elsewhere.org/{id}"), &[]).refused(502, "M_UNREACHABLE");
    for path in ["example.org/unknown", "example.org/..%2Fx", "example.org/%00"] {
        download(&host, &alice, path, &[]).refused(404, "M_NOT_FOUND");
        thumbnail(&host, &alice, path, "width=32&height=32").refused(404, "M_NOT_FOUND");
    }
}

#[test]
fn a_file_that_is_too_large_leaves_nothing() {
    let host = Host::new();
    let alice = host.register("alice");
    let limit = host.get(&alice, "/_matrix/client/v1/media/config").ok().body["m.upload.size"].as_u64().unwrap();
    assert_eq!(host.get(&alice, "/_matrix/media/v3/config").ok().body["m.upload.size"].as_u64(), Some(limit));
    let too_large = vec![0; usize::try_from(limit).unwrap() + 1];
    upload(&host, &alice, "", None, &too_large).refused(413, "M_TOO_LARGE");
    assert_eq!((host.blobs.names().len(), media_rows(&host)), (0, 0));
    let mut announced = upload_request(Method::Post, &alice, "/_matrix/media/v3/upload", None, b"x");
    announced.headers.insert("content-length".into(), (limit + 1).to_string());
    host.send_request(announced).answer().unwrap().refused(413, "M_TOO_LARGE");
    upload(&host, &alice, "", None, &too_large[1..]).ok();
}

#[test]
fn an_upload_whose_commit_fails_leaves_no_blob() {
    let host = Host::new();
    let alice = host.register("alice");
    // The first commit notes the upload, the second ends it.
    host.store.set_fault(Some(Fault::FailAt(2)));
    assert_eq!(upload(&host, &alice, "", None, b"x").status, 500);
    assert_eq!((host.blobs.names().len(), media_rows(&host)), (0, 0));
}

#[test]
fn an_upload_that_the_power_ended_is_removed_when_its_time_is_over() {
    let mut host = Host::new();
    let alice = host.register("alice");
    host.store.set_fault(Some(Fault::StopBefore(2)));
    let pending = host.send_request(upload_request(Method::Post, &alice, "/_matrix/media/v3/upload", None, b"x")).answer_if_any();
    assert!(pending.is_none());
    host.restart();
    assert_eq!(host.blobs.names().len(), 1, "the blob was stored");
    host.advance(DAY + 1);
    let kept = path_of(&upload(&host, &alice, "", None, b"y").ok());
    assert_eq!(host.blobs.names(), [kept.strip_prefix("example.org/").unwrap()]);
    assert_eq!(media_rows(&host), 1);
}

#[test]
fn a_reserved_id_is_uploaded_to_once_and_by_its_owner() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let reserved = reserve(&host, &alice).ok();
    let path = path_of(&reserved);
    assert_eq!(reserved.body["unused_expires_at"].as_u64(), Some(1_700_000_000_000 + DAY));
    put(&host, &bob, &path, b"bob's").refused(403, "M_FORBIDDEN");
    put(&host, &alice, "example.org/unknown", b"x").refused(404, "M_NOT_FOUND");
    put(&host, &alice, &path.replace("example.org", "elsewhere.org"), b"x").refused(404, "M_NOT_FOUND");
    let target = format!("/_matrix/client/v1/media/download/{path}?timeout_ms=0");
    fetch(&host, &bob, Method::Get, &target, &[]).refused(504, "M_NOT_YET_UPLOADED");
    assert_eq!(put(&host, &alice, &path, b"alice's").ok().body, json!({}));
    put(&host, &alice, &path, b"again").refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert_eq!(download(&host, &bob, &path, &[]).ok().bytes, b"alice's");
}

#[test]
fn two_uploads_to_one_id_at_once_make_one_file() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&reserve(&host, &alice).ok());
    let server = std::rc::Rc::clone(&host.server());
    let target = format!("/_matrix/media/v3/upload/{path}");
    let answers = [b"one", b"two"].map(|bytes| server.handle(upload_request(Method::Put, &alice, &target, None, bytes)));
    host.store.set_slow(true);
    let answers = host.block_on(futures_util::future::join_all(answers));
    host.store.set_slow(false);
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    let winner = if statuses[0] == 200 { b"one" } else { b"two" };
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(download(&host, &alice, &path, &[]).ok().bytes, winner);
}

#[test]
fn a_download_waits_for_the_upload() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&reserve(&host, &alice).ok());
    let target = |query: &str| format!("/_matrix/client/v1/media/download/{path}{query}");
    let mut waiting = host.begin(Method::Get, &target(""), Some(&alice.token), None);
    let mut impatient = host.begin(Method::Get, &target("?timeout_ms=1000"), Some(&alice.token), None);
    host.advance(1_001);
    impatient.answer().expect("its time is over").refused(504, "M_NOT_YET_UPLOADED");
    assert!(waiting.answer().is_none());
    put(&host, &alice, &path, b"at last").ok();
    host.run();
    assert_eq!(waiting.answer().expect("it is there").ok().bytes, b"at last");
}

#[test]
fn reservations_expire_and_are_bounded() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let first = path_of(&reserve(&host, &alice).ok());
    for _ in 1..100 {
        reserve(&host, &alice).ok();
    }
    let refused = reserve(&host, &alice);
    refused.refused(429, "M_LIMIT_EXCEEDED");
    assert!(refused.headers.contains_key("retry-after"));
    reserve(&host, &bob).ok();
    put(&host, &alice, &first, b"x").ok();
    let second = path_of(&reserve(&host, &alice).ok());
    host.advance(DAY + 1);
    put(&host, &alice, &second, b"too late").refused(404, "M_NOT_FOUND");
    download(&host, &alice, &second, &[]).refused(404, "M_NOT_FOUND");
    for _ in 0..20 {
        upload(&host, &alice, "", None, b"x").ok();
    }
    assert_eq!(media_rows(&host), 21, "what expired is gone, what was uploaded stays");
    assert_eq!(download(&host, &alice, &first, &[]).ok().bytes, b"x");
}

#[test]
fn thumbnails_are_made_in_few_sizes_and_once() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&upload(&host, &alice, "", Some("image/jpeg"), b"image: a very large one").ok());
    for (query, made) in [
        ("width=32&height=32&method=crop", "32x32 crop"),
        ("width=20&height=31&method=crop", "32x32 crop"),
        ("width=33&height=1&method=crop", "96x96 crop"),
        ("width=300&height=200&method=crop", "320x240 crop"),
        ("width=200&height=300&method=crop", "240x320 crop"),
        ("width=1&height=1", "320x240 scale"),
        ("width=320&height=241&method=scale", "320x320 scale"),
        ("width=321&height=241&method=scale", "640x480 scale"),
        ("width=800&height=600&method=scale&animated=true", "800x600 scale"),
        ("width=800&height=800&method=scale", "800x800 scale"),
        ("width=600&height=800&method=crop", "800x800 crop"),
        ("width=1600&height=1200&method=scale", "1600x1200 scale"),
    ] {
        let answer = thumbnail(&host, &alice, &path, query).ok();
        assert_eq!(String::from_utf8(answer.bytes).unwrap(), made, "{query}");
        assert_eq!(answer.headers["content-type"], "image/png");
        assert_eq!(answer.headers["content-disposition"], "inline; filename=\"thumbnail.png\"");
    }
    let made = host.blobs.names().len();
    assert_eq!(made, 1 + 11);
    host.restart();
    host.store.set_fault(None);
    thumbnail(&host, &alice, &path, "width=10&height=10&method=crop").ok();
    assert_eq!((host.blobs.names().len(), host.store.commits()), (made, 0), "it is there already");
    let largest = thumbnail(&host, &alice, &path, "width=2000&height=1000").ok();
    assert_eq!(largest.bytes, b"image: a very large one", "nothing smaller than asked for");
    host.request(Method::Get, &format!("/_matrix/media/v3/thumbnail/{path}?width=1&height=1"), None, None).ok();
    host.request(Method::Get, &format!("/_matrix/client/v1/media/thumbnail/{path}?width=1&height=1"), None, None)
        .refused(401, "M_MISSING_TOKEN");
}

#[test]
fn where_the_image_itself_will_not_do_the_largest_thumbnail_does() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&upload(&host, &alice, "", Some("image/webp"), b"image: not of a type that every client shows").ok());
    for (query, made) in [
        ("width=800&height=800&method=scale", "800x800 scale"),
        ("width=9000&height=10&method=scale", "1600x1600 scale"),
        ("width=9000&height=10&method=crop", "800x800 crop"),
    ] {
        let answer = thumbnail(&host, &alice, &path, query).ok();
        assert_eq!(
            (String::from_utf8(answer.bytes).unwrap().as_str(), answer.headers["content-type"].as_str()),
            (made, "image/png"),
            "{query}"
        );
    }
}

#[test]
fn what_cannot_be_scaled_is_refused() {
    let host = Host::new();
    let alice = host.register("alice");
    let path = path_of(&upload(&host, &alice, "", Some("text/html"), b"<script>").ok());
    thumbnail(&host, &alice, &path, "width=32&height=32").refused(400, "M_UNKNOWN");
    for (query, code) in [
        ("width=9999&height=1", "M_UNKNOWN"),
        ("height=32", "M_MISSING_PARAM"),
        ("width=32", "M_MISSING_PARAM"),
        ("width=-1&height=32", "M_INVALID_PARAM"),
        ("width=0&height=32", "M_INVALID_PARAM"),
        ("width=3.5&height=32", "M_INVALID_PARAM"),
        ("width=32&height=32&method=stretch", "M_INVALID_PARAM"),
        ("width=32&height=32&animated=maybe", "M_INVALID_PARAM"),
        ("width=32&height=32&timeout_ms=soon", "M_INVALID_PARAM"),
    ] {
        let answer = thumbnail(&host, &alice, &path, query);
        assert_eq!((answer.status, answer.body["errcode"].as_str()), (400, Some(code)), "{query}");
    }
    let huge = [&b"image:"[..], &vec![0; 41 << 20]].concat();
    let path = path_of(&upload(&host, &alice, "", Some("image/png"), &huge).ok());
    thumbnail(&host, &alice, &path, "width=32&height=32").refused(413, "M_TOO_LARGE");
}

#[test]
fn there_are_no_previews() {
    let host = Host::new();
    let alice = host.register("alice");
    for path in ["/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url"] {
        host.get(&alice, path).refused(400, "M_MISSING_PARAM");
        host.get(&alice, &format!("{path}?url=https%3A%2F%2Fexample.com")).refused(404, "M_UNRECOGNIZED");
    }
}
