//! The order of slots.

use std::cmp::Ordering;

/// A part of the order has so many slots at most: few enough that to move them costs nothing beside finding a place, and so many that an
/// order of a million slots has few thousand parts.
const PART: usize = 512;

/// Compares what stands in a slot with what is looked for.
pub(super) type Compare<'a> = &'a dyn Fn(u32) -> Ordering;

/// Which slot comes when, and which are free.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// The slots in their order, in parts of which none is empty.
    parts: Vec<Vec<u32>>,
    free: Vec<u32>,
    count: usize,
}

/// Where in the order something stands, or would stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    part: usize,
    index: usize,
}

impl Order {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Where something is and in which slot, or where it would have to be.
    pub(super) fn find(&self, compare: Compare<'_>) -> Result<(Place, u32), Place> {
        // What comes in order is found at the end.
        let Some(last) = self.last() else { return Err(Place { part: 0, index: 0 }) };
        match compare(last.1) {
            Ordering::Less => return Err(Place { index: last.0.index + 1, ..last.0 }),
            Ordering::Equal => return Ok(last),
            Ordering::Greater => {}
        }
        let is_before = |part: &Vec<u32>| part.last().is_some_and(|slot| compare(*slot) == Ordering::Less);
        let part = self.parts.partition_point(is_before);
        let slots = self.parts.get(part).map_or(&[][..], Vec::as_slice);
        let index = slots.partition_point(|slot| compare(*slot) == Ordering::Less);
        let place = Place { part, index };
        match slots.get(index) {
            Some(slot) if compare(*slot) == Ordering::Equal => Ok((place, *slot)),
            _ => Err(place),
        }
    }

    /// Puts a slot at a place, and says which: a free one, or the one behind all.
    pub(super) fn add(&mut self, place: Place) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| u32::try_from(self.count).unwrap_or(u32::MAX));
        self.count += 1;
        let Some(part) = self.parts.get_mut(place.part) else {
            self.parts.push(vec![slot]);
            return slot;
        };
        part.insert(place.index.min(part.len()), slot);
        if part.len() > PART {
            // What comes in order leaves full parts behind.
            let at = if place.index == PART { PART } else { PART / 2 };
            let rest = part.split_off(at);
            self.parts.insert(place.part + 1, rest);
        }
        slot
    }

    /// Takes away what stands at a place.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(part) = self.parts.get_mut(place.part).filter(|part| place.index < part.len()) else { return };
        self.free.push(part.remove(place.index));
        self.count -= 1;
        if part.is_empty() {
            self.parts.remove(place.part);
        }
    }

    pub(super) fn first(&self) -> Option<(Place, u32)> {
        Some((Place { part: 0, index: 0 }, *self.parts.first()?.first()?))
    }

    pub(super) fn last(&self) -> Option<(Place, u32)> {
        let part = self.parts.last()?;
        Some((Place { part: self.parts.len() - 1, index: part.len() - 1 }, *part.last()?))
    }

    /// The slots in their order.
    pub(super) fn slots(&self) -> Slots<'_> {
        Slots {
            order: self,
            front: 0,
            back: self.count,
            front_place: Place { part: 0, index: 0 },
            back_part: self.parts.len(),
            back_index: 0,
        }
    }
}

/// The slots of an order, from either end.
#[derive(Clone, Debug)]
pub(super) struct Slots<'a> {
    order: &'a Order,
    front: usize,
    back: usize,
    front_place: Place,
    /// The part before which the next from the back is looked for when `back_index` is none of the part's.
    back_part: usize,
    back_index: usize,
}

impl Iterator for Slots<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.front == self.back {
            return None;
        }
        self.front += 1;
        let mut place = self.front_place;
        if self.order.parts.get(place.part).is_some_and(|part| place.index == part.len()) {
            place = Place { part: place.part + 1, index: 0 };
        }
        self.front_place = Place { index: place.index + 1, ..place };
        self.order.parts.get(place.part)?.get(place.index).copied()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.back - self.front;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Slots<'_> {
    fn next_back(&mut self) -> Option<u32> {
        if self.front == self.back {
            return None;
        }
        self.back -= 1;
        if self.back_index == 0 {
            self.back_part -= 1;
            self.back_index = self.order.parts.get(self.back_part)?.len();
        }
        self.back_index -= 1;
        self.order.parts.get(self.back_part)?.get(self.back_index).copied()
    }
}
