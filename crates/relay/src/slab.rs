//! A place for many values that come and go, each found by a small number.

use slab::Slab;

/// The number of a value; it is used again once the value is gone.
pub(crate) type Key = usize;

/// So many places are kept by a slab that is empty.
const KEPT: usize = 4096;

/// Takes a value out. An emptied slab gives back what a peak took.
pub(crate) fn take<T>(slab: &mut Slab<T>, key: Key) -> Option<T> {
    let value = slab.try_remove(key)?;
    if slab.is_empty() && slab.capacity() > KEPT {
        *slab = Slab::new();
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_slab_gives_back_what_a_peak_took() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..2 * KEPT).map(|number| slab.insert(number)).collect();
        for key in &keys {
            assert!(slab.capacity() >= 2 * KEPT);
            assert!(take(&mut slab, *key).is_some() && take(&mut slab, *key).is_none());
        }
        assert_eq!(slab.capacity(), 0);
    }
}
