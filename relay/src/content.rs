//! What a stored transaction is worth, and for how long: read once, when it comes.
//!
//! A transaction is signed as a whole, so the relay never takes anything out of one. It drops a transaction in which nothing is of use
//! any more; within the others, the receiver tells what is too old.

use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{store::Content, weight::is_light};

/// After which time nobody wants to know who was typing.
const TYPING_MS: u64 = 60_000;
/// After which time presence says nothing.
const PRESENCE_MS: u64 = 10 * 60_000;

/// <https://spec.matrix.org/v1.19/server-server-api/#transactions>
pub(crate) const MAX_PDUS: usize = 50;
/// Likewise.
pub(crate) const MAX_EDUS: usize = 100;

/// How many receipts of a transaction are told apart, one for each EDU, and how long what tells one apart may be: two rows hold it, each may
/// replace one of another transaction, and they come in the smallest of requests.
const MAX_RECEIPTS: usize = MAX_EDUS;
/// Likewise: four names of the specification's length.
const MAX_RECEIPT: usize = 4 * 256;

/// A transaction's own parts.
#[derive(Debug, Deserialize)]
pub(crate) struct Transaction<'b> {
    /// Its events, which nobody reads here.
    #[serde(borrow)]
    pub(crate) pdus: Vec<&'b RawValue>,
    /// Its ephemeral data.
    #[serde(borrow, default)]
    pub(crate) edus: Vec<&'b RawValue>,
}

/// What can happen to an EDU as time goes by.
enum Edu {
    Expires(u64),
    Receipts(Vec<String>),
    Lasts,
}

impl<'b> Transaction<'b> {
    /// Reads one; `None` where the body is none, or holds more than one may.
    pub(crate) fn read(body: &'b [u8]) -> Option<Self> {
        let read: Self = is_light(body).then(|| serde_json::from_slice(body).ok())??;
        (read.pdus.len() <= MAX_PDUS && read.edus.len() <= MAX_EDUS).then_some(read)
    }

    /// What is known of it.
    pub(crate) fn content(&self) -> Content {
        let mut content = Content { lifetime: Some(0), ..Content::default() };
        for edu in &self.edus {
            match read(&serde_json::from_str(edu.get()).unwrap_or_default()) {
                Edu::Expires(after) => content.lifetime = content.lifetime.map(|lifetime| lifetime.max(after)),
                Edu::Receipts(receipts) => content.receipts.extend(receipts),
                Edu::Lasts => content.lifetime = None,
            }
        }
        if !self.pdus.is_empty() || self.edus.is_empty() {
            content.lifetime = None;
        }
        if !content.receipts.is_empty() {
            content.only_receipts = content.lifetime.is_some();
            content.lifetime = None;
        }
        content.receipts.sort();
        content.receipts.dedup();
        let is_borne = content.receipts.len() <= MAX_RECEIPTS && content.receipts.iter().all(|receipt| receipt.len() <= MAX_RECEIPT);
        // Of others nothing is known, so that they last.
        if is_borne { content } else { Content::default() }
    }
}

fn read(edu: &Value) -> Edu {
    match edu.get("edu_type").and_then(Value::as_str) {
        Some("m.typing") => Edu::Expires(TYPING_MS),
        Some("m.presence") => Edu::Expires(PRESENCE_MS),
        Some("m.receipt") => receipts(edu).map_or(Edu::Lasts, Edu::Receipts),
        _ => Edu::Lasts,
    }
}

/// Room, type, user and thread of each receipt: there is one receipt for each of these.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#receipts>
fn receipts(edu: &Value) -> Option<Vec<String>> {
    let mut receipts = Vec::new();
    for (room, types) in edu.get("content")?.as_object()? {
        OwnedRoomId::try_from(room.as_str()).ok()?;
        for (kind, users) in types.as_object()? {
            for (user, receipt) in users.as_object()? {
                let thread = receipt.get("data").and_then(|data| data.get("thread_id")).and_then(Value::as_str);
                receipts.push(serde_json::to_string(&(room, kind, user, thread)).ok()?);
            }
        }
    }
    Some(receipts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// JSON that has to do with transactions, in no particular order.
    fn strange() -> impl Strategy<Value = Value> {
        let words = ["pdus", "edus", "edu_type", "content", "m.receipt", "m.typing", "!a:b", "m.read", "data", "thread_id", "", "\u{0}"];
        let word = proptest::sample::select(words.to_vec());
        let leaf = prop_oneof![word.clone().prop_map(|word| json!(word)), any::<i64>().prop_map(|number| json!(number)), Just(Value::Null)];
        leaf.prop_recursive(8, 64, 8, move |inner| {
            let fields = proptest::collection::vec((word.clone(), inner.clone()), 0..8);
            prop_oneof![
                proptest::collection::vec(inner, 0..8).prop_map(Value::Array),
                fields.prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(edus in proptest::collection::vec(strange(), 0..4), pdus in strange(), other in strange(), cut in any::<prop::sample::Index>()) {
            let edus: Vec<Value> = edus.into_iter().map(|content| json!({ "edu_type": "m.receipt", "content": content })).collect();
            for body in [json!({ "pdus": [], "edus": edus }), json!({ "pdus": pdus, "edus": other }), other] {
                let mut bytes = serde_json::to_vec(&body).unwrap();
                if let Some(read) = Transaction::read(&bytes) {
                    let content = read.content();
                    // What is noted of a transaction weighs no more than some times what it does.
                    prop_assert!(content.receipts.iter().map(String::len).sum::<usize>() <= 8 * bytes.len());
                    prop_assert!(content.lifetime.is_none() || read.pdus.is_empty());
                }
                bytes.truncate(cut.index(bytes.len() + 1));
                let _ = Transaction::read(&bytes);
            }
        }
    }

    fn content(pdus: usize, edus: &[Value]) -> Content {
        let body = json!({ "pdus": vec![json!({}); pdus], "edus": edus });
        Transaction::read(&serde_json::to_vec(&body).unwrap()).unwrap().content()
    }

    fn edu(kind: &str) -> Value {
        json!({ "edu_type": kind, "content": {} })
    }

    fn receipt(user: &str, thread: Option<&str>) -> Value {
        let data = json!({ "ts": 1, "thread_id": thread });
        json!({ "edu_type": "m.receipt", "content": { "!a:b": { "m.read": { user: { "event_ids": ["$a"], "data": data } } } } })
    }

    #[test]
    fn typing_and_presence_expire_and_nothing_else_does() {
        assert_eq!(content(0, &[edu("m.typing")]).lifetime, Some(TYPING_MS));
        assert_eq!(content(0, &[edu("m.presence"), edu("m.typing")]).lifetime, Some(PRESENCE_MS));
        for lasting in ["m.direct_to_device", "m.device_list_update", "m.signing_key_update", "org.example.unknown"] {
            assert_eq!(content(0, &[edu("m.typing"), edu(lasting)]).lifetime, None, "{lasting}");
        }
        assert_eq!(content(1, &[edu("m.typing")]).lifetime, None);
        assert_eq!(content(0, &[]).lifetime, None);
    }

    #[test]
    fn receipts_are_told_apart_by_what_they_replace() {
        let one = content(0, &[receipt("@a:b", None), edu("m.typing")]);
        assert!(one.only_receipts && one.lifetime.is_none());
        assert_eq!(one.receipts, content(0, &[receipt("@a:b", None), receipt("@a:b", None)]).receipts);
        assert_ne!(one.receipts, content(0, &[receipt("@b:b", None)]).receipts);
        assert_ne!(one.receipts, content(0, &[receipt("@a:b", Some("main"))]).receipts);
        assert!(!content(1, &[receipt("@a:b", None)]).only_receipts);
        assert!(!content(0, &[receipt("@a:b", None), edu("m.direct_to_device")]).only_receipts);
    }

    #[test]
    fn more_receipts_than_others_have_to_bear_are_not_told_apart() {
        let receipts = |count: usize, user: &str| {
            let users: serde_json::Map<String, Value> = (0..count).map(|number| (format!("@{user}{number}:b"), json!({}))).collect();
            content(0, &[json!({ "edu_type": "m.receipt", "content": { "!a:b": { "m.read": users } } })])
        };
        let most = receipts(100, "u");
        assert_eq!((most.receipts.len(), most.only_receipts), (100, true));
        // They last, like everything of which nothing is known.
        assert_eq!(receipts(101, "u"), Content::default());
        assert_eq!(receipts(1, &"u".repeat(2_000)), Content::default());
    }

    #[test]
    fn a_transaction_has_a_size() {
        let is_read = |pdus, edus| {
            let body = serde_json::to_vec(&json!({ "pdus": vec![1; pdus], "edus": vec![1; edus] })).unwrap();
            Transaction::read(&body).is_some()
        };
        assert!(is_read(MAX_PDUS, MAX_EDUS));
        assert!(!is_read(MAX_PDUS + 1, 0));
        assert!(!is_read(0, MAX_EDUS + 1));
        assert!(Transaction::read(b"{}").is_none());
    }
}
