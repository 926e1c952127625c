//! Held against the standard library's map and set, over whatever is done to both.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{OrderedMap, OrderedSet};

/// What may be done to a map.
#[derive(Clone, Debug)]
enum Change {
    Insert(u16, u8),
    Remove(u16),
    Add(u16, u8),
    PopFirst,
    PopLast,
    PopAll,
    RetainOdd,
    Double,
    Extend(Vec<(u16, u8)>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0_u16..900, any::<u8>()).prop_map(|(key, value)| Change::Insert(key, value)),
        4 => (0_u16..900).prop_map(Change::Remove),
        2 => (0_u16..900, any::<u8>()).prop_map(|(key, value)| Change::Add(key, value)),
        1 => Just(Change::PopFirst),
        1 => Just(Change::PopLast),
        1 => Just(Change::PopAll),
        1 => Just(Change::RetainOdd),
        1 => Just(Change::Double),
        1 => vec((0_u16..2_000, any::<u8>()), 0..1_200).prop_map(Change::Extend),
    ]
}

type Both = (OrderedMap<u16, u8>, BTreeMap<u16, u8>);

fn apply((ours, theirs): &mut Both, change: Change) {
    match change {
        Change::Insert(key, value) => assert_eq!(ours.insert(key, value), theirs.insert(key, value)),
        Change::Remove(key) => assert_eq!(ours.remove_entry(&key), theirs.remove_entry(&key)),
        Change::Add(key, value) => {
            let (our, their) = (ours.entry(key).or_default(), theirs.entry(key).or_default());
            (*our, *their) = (our.wrapping_add(value), their.wrapping_add(value));
        }
        Change::PopFirst => assert_eq!(ours.pop_first(), theirs.pop_first()),
        Change::PopLast => assert_eq!(ours.pop_last(), theirs.pop_last()),
        Change::PopAll => {
            while let Some(entry) = theirs.pop_first() {
                assert_eq!(ours.pop_first(), Some(entry));
            }
            assert_eq!(ours.pop_last(), None);
        }
        Change::RetainOdd => {
            ours.retain(|key, value| (u16::from(*value) + key) % 2 == 1);
            theirs.retain(|key, value| (u16::from(*value) + key) % 2 == 1);
        }
        Change::Double => {
            ours.iter_mut().for_each(|(key, value)| *value = value.wrapping_mul(2) ^ key.to_le_bytes()[0]);
            theirs.iter_mut().for_each(|(key, value)| *value = value.wrapping_mul(2) ^ key.to_le_bytes()[0]);
        }
        Change::Extend(entries) => {
            ours.extend(entries.iter().copied());
            theirs.extend(entries);
        }
    }
}

fn are_alike((ours, theirs): &Both) {
    assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
    assert_eq!(ours.iter().size_hint(), theirs.iter().size_hint());
    assert!(ours.iter().eq(theirs) && ours.iter().rev().eq(theirs.iter().rev()));
    assert!(ours.keys().eq(theirs.keys()) && ours.values().rev().eq(theirs.values().rev()));
    assert_eq!((ours.first_key_value(), ours.last_key_value()), (theirs.first_key_value(), theirs.last_key_value()));
    assert!((0..2_000).all(|key| ours.get(&key) == theirs.get(&key) && ours.contains_key(&key) == theirs.contains_key(&key)));
    // From both ends, until they meet.
    let (mut our, mut their) = (ours.iter(), theirs.iter());
    for turn in 0..theirs.len() {
        if turn % 3 == 0 { assert_eq!(our.next_back(), their.next_back()) } else { assert_eq!(our.next(), their.next()) }
    }
    assert_eq!((our.next(), our.next_back()), (None, None));
    assert!(ours.clone().into_iter().eq(theirs.clone()) && ours.clone().into_values().rev().eq(theirs.clone().into_values().rev()));
    assert_eq!(*ours, theirs.clone().into_iter().rev().collect());
    let json = serde_json::to_string(ours).unwrap();
    assert_eq!(json, serde_json::to_string(theirs).unwrap());
    assert_eq!(serde_json::from_str::<OrderedMap<u16, u8>>(&json).unwrap(), *ours);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_map_does_what_the_standard_librarys_does(changes in vec(change(), 0..60)) {
        let mut both = Both::default();
        for change in changes {
            apply(&mut both, change);
            are_alike(&both);
        }
    }

    #[test]
    fn a_set_does_what_the_standard_librarys_does(one in vec(0_u16..600, 0..900), other in vec(0_u16..600, 0..300), at in 0_u16..600) {
        let (ours, others): (OrderedSet<_>, OrderedSet<_>) = (one.iter().copied().collect(), other.iter().copied().collect());
        let (theirs, their_others): (BTreeSet<_>, BTreeSet<_>) = (one.iter().copied().collect(), other.iter().copied().collect());
        prop_assert!(ours.iter().eq(&theirs) && ours.difference(&others).eq(theirs.difference(&their_others)));
        prop_assert_eq!(ours.cmp(&others), theirs.cmp(&their_others));
        prop_assert_eq!((ours.first(), ours.last()), (theirs.first(), theirs.last()));
        let (mut below, mut their_below) = (ours.clone(), theirs.clone());
        let (above, their_above) = (below.split_off(&at), their_below.split_off(&at));
        prop_assert!(below.iter().eq(&their_below) && above.iter().eq(&their_above));
        below.append(&mut above.clone());
        prop_assert_eq!(&below, &ours);
        let json = serde_json::to_string(&ours).unwrap();
        prop_assert_eq!(&json, &serde_json::to_string(&theirs).unwrap());
        prop_assert_eq!(serde_json::from_str::<OrderedSet<u16>>(&json).unwrap(), ours);
    }
}
