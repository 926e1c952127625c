//! Cases of the content repository: uploads, downloads, thumbnails, and the older paths of each.

use inglenook::http::Method::Post;
use serde_json::json;

use super::case::{Case, Content, NOBODY, Sent, get, post, put};

pub(crate) fn cases() -> Vec<Case> {
    [uploads(), downloads(), thumbnails()].concat()
}

fn text() -> Content {
    Content::Bytes("text/plain", b"Some text".into())
}

#[rustfmt::skip]
fn uploads() -> Vec<Case> {
    let reserved = |caller, name: &str| put(caller, "/_matrix/media/v3/upload/example.org/{media}", "uploadContentToMXC", name, json!({})).sending(text()).after("alice", Post, "/_matrix/media/v1/create", json!({})).keeping("media", "/content_uri");
    vec![
        post("alice", "/_matrix/media/v3/upload?filename=a%20file.txt", "uploadContent", "a file", json!({})).sending(text()).has("/content_uri"),
        post("alice", "/_matrix/media/r0/upload", "uploadContent", "by an old path", json!({})).sending(text()).has("/content_uri"),
        post("alice", "/_matrix/media/v3/upload", "uploadContent", "nothing", json!({})).sending(Content::None).has("/content_uri"),
        Case::new("createContent", "an ID for later", Sent::new("alice", Post, "/_matrix/media/v1/create", Content::None)).has("/content_uri").has("/unused_expires_at"),
        reserved("alice", "a file").counts("", 0),
        reserved("bob", "under another's ID").refused(403, "M_FORBIDDEN"),
        put("alice", "/_matrix/media/v3/upload/example.org/none", "uploadContentToMXC", "under an unknown ID", json!({})).sending(text()).refused(404, "M_NOT_FOUND"),
        put("alice", "/_matrix/media/v3/upload/elsewhere.org/media", "uploadContentToMXC", "under another server's ID", json!({})).sending(text()).refused(404, "M_NOT_FOUND"),
        put("alice", "/_matrix/media/v3/upload/example.org/{media}", "uploadContentToMXC", "once more", json!({})).sending(text()).after_upload("alice", "text/plain", b"Some text").refused(409, "M_CANNOT_OVERWRITE_MEDIA"),
        get("alice", "/_matrix/client/v1/media/config", "getConfigAuthed", "the largest upload").has("/m.upload.size"),
        get("alice", "/_matrix/media/v3/config", "getConfig", "the largest upload").has("/m.upload.size"),
        get("alice", "/_matrix/client/v1/media/preview_url?url=https%3A%2F%2Fexample.org", "getUrlPreviewAuthed", "none").refused(404, "M_UNRECOGNIZED"),
        get("alice", "/_matrix/media/v3/preview_url?url=https%3A%2F%2Fexample.org", "getUrlPreview", "none").refused(404, "M_UNRECOGNIZED"),
    ]
}

#[rustfmt::skip]
fn downloads() -> Vec<Case> {
    let authenticated = ("bob", "/_matrix/client/v1/media", "getContentAuthed", "getContentOverrideNameAuthed");
    let old = (NOBODY, "/_matrix/media/v3", "getContent", "getContentOverrideName");
    let of_path = |(caller, path, plain, named): (&'static str, &str, &str, &str)| {
        let content = |case: Case| case.after_upload("alice", "text/plain", b"Some text").header("content-type", "text/plain").body("Some text");
        let reserved = |case: Case| case.after("alice", Post, "/_matrix/media/v1/create", json!({})).keeping("media", "/content_uri").refused(504, "M_NOT_YET_UPLOADED");
        vec![
            content(get(caller, &format!("{path}/download/example.org/{{media}}"), plain, "a file")),
            content(get(caller, &format!("{path}/download/example.org/{{media}}/other.txt"), named, "a file")).header("content-disposition", "inline; filename=\"other.txt\""),
            get(caller, &format!("{path}/download/example.org/none"), plain, "an unknown file").refused(404, "M_NOT_FOUND"),
            get(caller, &format!("{path}/download/elsewhere.org/none"), plain, "of another server").refused(502, "M_UNREACHABLE"),
            get(caller, &format!("{path}/download/example.org/none/other.txt"), named, "an unknown file").refused(404, "M_NOT_FOUND"),
            get(caller, &format!("{path}/download/elsewhere.org/none/other.txt"), named, "of another server").refused(502, "M_UNREACHABLE"),
            reserved(get(caller, &format!("{path}/download/example.org/{{media}}?timeout_ms=0"), plain, "what is not uploaded yet")),
            reserved(get(caller, &format!("{path}/download/example.org/{{media}}/other.txt?timeout_ms=0"), named, "what is not uploaded yet")),
        ]
    };
    [of_path(authenticated), of_path(old)].concat()
}

#[rustfmt::skip]
fn thumbnails() -> Vec<Case> {
    let of_path = |(caller, path, operation): (&'static str, &str, &str)| {
        let thumbnail = |media: &str, query: &str, name: &str| get(caller, &format!("{path}/thumbnail/example.org/{media}?{query}"), operation, name);
        let not_yet = thumbnail("{media}", "width=32&height=32&timeout_ms=0", "of what is not uploaded yet").after("alice", Post, "/_matrix/media/v1/create", json!({})).keeping("media", "/content_uri");
        vec![
            thumbnail("{media}", "width=4000&height=4000", "as large as the image").after_upload("alice", "image/png", b"an image").header("content-type", "image/png").body("an image"),
            thumbnail("{media}", "width=32&height=32", "of what is no image").after_upload("alice", "text/plain", b"Some text").refused(400, "M_UNKNOWN"),
            thumbnail("{media}", "width=0&height=32", "of no width").after_upload("alice", "image/png", b"an image").refused(400, "M_INVALID_PARAM"),
            thumbnail("none", "width=32&height=32", "of an unknown file").refused(404, "M_NOT_FOUND"),
            get(caller, &format!("{path}/thumbnail/elsewhere.org/none?width=32&height=32"), operation, "of another server").refused(502, "M_UNREACHABLE"),
            not_yet.refused(504, "M_NOT_YET_UPLOADED"),
        ]
    };
    [of_path(("bob", "/_matrix/client/v1/media", "getContentThumbnailAuthed")), of_path((NOBODY, "/_matrix/media/v3", "getContentThumbnail"))].concat()
}
