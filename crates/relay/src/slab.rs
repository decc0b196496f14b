//! A place for many values that come and go, each found by a small number.

/// The number of a value in a [`Slab`]; it is used again once the value is gone.
pub(crate) type Key = u32;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Key>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        match self.free.pop() {
            Some(key) => {
                self.places[key as usize] = Some(value);
                key
            }
            None => {
                self.places.push(Some(value));
                (self.places.len() - 1) as Key
            }
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.places.get(key as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.places.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let value = self.places.get_mut(key as usize)?.take()?;
        self.free.push(key);
        if self.free.len() == self.places.len() && self.places.len() > 4096 {
            // an emptied slab gives back what a peak took
            *self = Self::new();
        }
        Some(value)
    }

    /// All values with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(key, value)| Some((key as Key, value.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_only_when_its_value_is_gone() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert("c");
        assert_eq!((c, slab.get(b), slab.get(c), slab.len()), (a, Some(&"b"), Some(&"c"), 2));
    }
}
