//! The map.

use std::{borrow::Borrow, cmp::Ordering, fmt, marker::PhantomData, ops::Index};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::order::{Order, Place, Slots};

/// So many slots are kept for what comes next when a map has become empty; more are given back.
const KEPT_SLOTS: usize = 64;

/// An ordered map.
#[derive(Clone)]
pub struct OrderedMap<K, V> {
    order: Order,
    /// What stands in each slot, and nothing in those that are free.
    keys: Vec<Option<K>>,
    values: Vec<Option<V>>,
}

impl<K, V> OrderedMap<K, V> {
    /// A map without entries.
    pub fn new() -> Self {
        Self { order: Order::default(), keys: Vec::new(), values: Vec::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.order.count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { slots: self.order.slots(), keys: &self.keys, values: &self.values }
    }

    /// The keys in their order.
    pub fn keys(&self) -> Keys<'_, K> {
        Keys { slots: self.order.slots(), keys: &self.keys }
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> Values<'_, V> {
        Values { slots: self.order.slots(), values: &self.values }
    }

    /// The values, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.iter_mut().flatten()
    }

    /// The entries in the order of their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let mut values: Vec<_> = self.values.iter_mut().map(Option::as_mut).collect();
        let keys = &self.keys;
        self.order.slots().filter_map(move |slot| Some((at(keys, slot)?, values.get_mut(slot as usize)?.take()?)))
    }

    /// The keys in their order.
    pub fn into_keys(mut self) -> impl DoubleEndedIterator<Item = K> {
        let slots: Vec<_> = self.order.slots().collect();
        slots.into_iter().filter_map(move |slot| take(&mut self.keys, slot))
    }

    /// The values in the order of their keys.
    pub fn into_values(mut self) -> impl DoubleEndedIterator<Item = V> {
        let slots: Vec<_> = self.order.slots().collect();
        slots.into_iter().filter_map(move |slot| take(&mut self.values, slot))
    }

    /// The entry with the least key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.entry_at(self.order.first()?.1)
    }

    /// The entry with the greatest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.entry_at(self.order.last()?.1)
    }

    /// Removes the entry with the least key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.remove_at(self.order.first()?)
    }

    /// Removes the entry with the greatest key.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.remove_at(self.order.last()?)
    }

    /// Removes the entries of which this is not so, which are shown in the order of their keys.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&K, &mut V) -> bool) {
        let old = std::mem::take(self);
        for (key, mut value) in old {
            if is_kept(&key, &mut value) {
                self.push(key, value);
            }
        }
    }

    fn entry_at(&self, slot: u32) -> Option<(&K, &V)> {
        Some((at(&self.keys, slot)?, at(&self.values, slot)?))
    }

    fn remove_at(&mut self, (place, slot): (Place, u32)) -> Option<(K, V)> {
        self.order.remove(place);
        let entry = (take(&mut self.keys, slot)?, take(&mut self.values, slot)?);
        if self.is_empty() && self.keys.len() > KEPT_SLOTS {
            self.clear();
        }
        Some(entry)
    }

    fn add(&mut self, place: Place, key: K, value: V) -> u32 {
        let slot = self.order.add(place);
        put(&mut self.keys, slot, key);
        put(&mut self.values, slot, value);
        slot
    }

    /// Adds an entry behind all others.
    fn push(&mut self, key: K, value: V) {
        // Whatever is looked for is behind everything.
        if let Err(place) = self.order.find(&|_| Ordering::Less) {
            self.add(place, key, value);
        }
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<(Place, u32), Place>
    where
        K: Borrow<Q>,
    {
        find(&self.order, &self.keys, key)
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        at(&self.values, self.find(key).ok()?.1)
    }

    /// The value of a key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (_, slot) = self.find(key).ok()?;
        self.values.get_mut(slot as usize)?.as_mut()
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets the value of a key, and returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((_, slot)) => self.values.get_mut(slot as usize)?.replace(value),
            Err(place) => {
                self.add(place, key, value);
                None
            }
        }
    }

    /// Removes a key, and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes a key, and returns it and its value.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let found = self.find(key).ok()?;
        self.remove_at(found)
    }

    /// The place of a key, whether it is there or not.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let found = self.find(&key).map(|(_, slot)| slot);
        Entry { map: self, key, found }
    }
}

/// Where a slot's content is found in an order: one piece of code for each type of key.
pub(super) fn find<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(order: &Order, keys: &[Option<K>], key: &Q) -> Result<(Place, u32), Place> {
    order.find(&|slot| at(keys, slot).map_or(Ordering::Less, |other| other.borrow().cmp(key)))
}

fn at<T>(slots: &[Option<T>], slot: u32) -> Option<&T> {
    slots.get(slot as usize)?.as_ref()
}

fn take<T>(slots: &mut [Option<T>], slot: u32) -> Option<T> {
    slots.get_mut(slot as usize)?.take()
}

fn put<T>(slots: &mut Vec<Option<T>>, slot: u32, content: T) {
    match slots.get_mut(slot as usize) {
        Some(free) => *free = Some(content),
        None => slots.push(Some(content)),
    }
}

/// The place of a key.
pub struct Entry<'a, K, V> {
    map: &'a mut OrderedMap<K, V>,
    key: K,
    found: Result<u32, Place>,
}

impl<'a, K, V> Entry<'a, K, V> {
    /// The key's value, which is made if there is none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let slot = match self.found {
            Ok(slot) => slot,
            Err(place) => self.map.add(place, self.key, make()),
        };
        let values = &mut self.map.values;
        #[allow(clippy::expect_used, reason = "a slot of the order holds a value, and there is none to return in its place")]
        values.get_mut(slot as usize).and_then(Option::as_mut).expect("a slot of the order holds a value")
    }

    /// The key's value, which is this one if there is none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The key's value, which is the type's own if there is none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

/// The entries of a map.
pub struct Iter<'a, K, V> {
    slots: Slots<'a>,
    keys: &'a [Option<K>],
    values: &'a [Option<V>],
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), ..*self }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.slots.next()?;
        Some((at(self.keys, slot)?, at(self.values, slot)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let slot = self.slots.next_back()?;
        Some((at(self.keys, slot)?, at(self.values, slot)?))
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

macro_rules! one_half {
    ($(#[$doc:meta])* $name:ident, $field:ident, $item:ident) => {
        $(#[$doc])*
        pub struct $name<'a, $item> {
            slots: Slots<'a>,
            $field: &'a [Option<$item>],
        }

        impl<$item> Clone for $name<'_, $item> {
            fn clone(&self) -> Self {
                Self { slots: self.slots.clone(), $field: self.$field }
            }
        }

        impl<'a, $item> Iterator for $name<'a, $item> {
            type Item = &'a $item;

            fn next(&mut self) -> Option<Self::Item> {
                at(self.$field, self.slots.next()?)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.slots.size_hint()
            }
        }

        impl<$item> DoubleEndedIterator for $name<'_, $item> {
            fn next_back(&mut self) -> Option<Self::Item> {
                at(self.$field, self.slots.next_back()?)
            }
        }

        impl<$item> ExactSizeIterator for $name<'_, $item> {}
    };
}

one_half! {
    /// The keys of a map.
    Keys, keys, K
}

one_half! {
    /// The values of a map.
    Values, values, V
}

/// The entries of a map that is used up.
pub struct IntoIter<K, V> {
    slots: std::vec::IntoIter<u32>,
    keys: Vec<Option<K>>,
    values: Vec<Option<V>>,
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.slots.next()?;
        Some((take(&mut self.keys, slot)?, take(&mut self.values, slot)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl<K, V> DoubleEndedIterator for IntoIter<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let slot = self.slots.next_back()?;
        Some((take(&mut self.keys, slot)?, take(&mut self.values, slot)?))
    }
}

impl<K, V> ExactSizeIterator for IntoIter<K, V> {}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        let slots: Vec<_> = self.order.slots().collect();
        IntoIter { slots: slots.into_iter(), keys: self.keys, values: self.values }
    }
}

impl<'a, K, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K: Ord, V> Extend<(K, V)> for OrderedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for OrderedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for OrderedMap<K, V> {
    type Output = V;

    /// The value of a key that is there.
    fn index(&self, key: &Q) -> &V {
        #[allow(clippy::expect_used, reason = "who is not sure that the key is there calls `get`")]
        self.get(key).expect("there is no such key")
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrderedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for OrderedMap<K, V> {}

impl<K: Serialize, V: Serialize> Serialize for OrderedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for OrderedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = OrderedMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = OrderedMap::new();
        while let Some((key, value)) = access.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}
