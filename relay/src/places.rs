//! Places by name: each name has so many, and who comes beyond waits for one of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is taken, by name. A name of which nothing is taken is not kept.
type Taken<K> = Arc<Mutex<BTreeMap<K, Arc<Semaphore>>>>;

/// All places.
pub(crate) struct Places<K: Clone + Ord> {
    each: usize,
    taken: Taken<K>,
}

/// One of them, until it is dropped.
pub(crate) struct Place<K: Clone + Ord> {
    /// Given back before the name is.
    _permit: OwnedSemaphorePermit,
    _name: Name<K>,
}

/// A name that somebody has a place of, or waits for.
struct Name<K: Clone + Ord> {
    taken: Taken<K>,
    name: K,
    places: Arc<Semaphore>,
}

impl<K: Clone + Ord> Places<K> {
    /// So many for each name.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, taken: Arc::default() }
    }

    /// One of a name's, as soon as there is one.
    pub(crate) async fn take(&self, name: &K) -> Option<Place<K>> {
        let name = self.name(name);
        let permit = Arc::clone(&name.places).acquire_owned().await.ok()?;
        Some(Place { _permit: permit, _name: name })
    }

    fn name(&self, name: &K) -> Name<K> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let places = taken.entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Name { places: Arc::clone(places), name: name.clone(), taken: Arc::clone(&self.taken) }
    }
}

impl<K: Clone + Ord> Drop for Name<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // One is the map's, one is ours, and without the lock there are no more.
        if Arc::strong_count(&self.places) <= 2 {
            taken.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn each_name_has_so_many_places_and_is_forgotten() {
        let places = Places::new(2);
        let first = places.take(&"a").await;
        let _second = places.take(&"a").await;
        let mut third = Box::pin(places.take(&"a"));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(places.take(&"b").now_or_never().is_some());
        drop(first);
        assert!(third.await.is_some());
        // Who gives up waiting leaves nothing either.
        let full = [places.take(&"c").await, places.take(&"c").await];
        assert!(places.take(&"c").now_or_never().is_none());
        drop(full);
        assert_eq!(places.taken.lock().unwrap().keys().collect::<Vec<_>>(), [&"a"]);
        drop(_second);
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
