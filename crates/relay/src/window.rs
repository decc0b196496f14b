//! How many Deliver calls of a lane may be under way.

/// Starts at two, grows by one for a finished call while a full one waits, halves when delivery is overloaded. So calls
/// stay full, and room that a new replica brings is used within seconds.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    max: usize,
    under_way: usize,
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self { size: 2.min(max), max, under_way: 0 }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.under_way < self.size
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(crate) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// A call is over. `full_waits`: as many events wait as a call holds.
    pub(crate) fn end(&mut self, overloaded: bool, worked: bool, full_waits: bool) {
        if overloaded {
            self.size = (self.size / 2).max(1);
        } else if worked && full_waits && self.under_way >= self.size {
            self.size = (self.size + 1).min(self.max);
        }
        self.under_way = self.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_only_while_a_full_call_waits_and_halves_when_delivery_is_overloaded() {
        let mut window = Window::new(8);
        let run = |window: &mut Window, overloaded, full| {
            while window.has_room() {
                window.begin();
            }
            window.end(overloaded, !overloaded, full);
            window.size()
        };
        assert_eq!(run(&mut window, false, false), 2);
        let grown: Vec<_> = (0..8).map(|_| run(&mut window, false, true)).collect();
        assert_eq!(grown, [3, 4, 5, 6, 7, 8, 8, 8]);
        assert_eq!([run(&mut window, true, true), run(&mut window, true, true)], [4, 2]);
        assert_eq!([run(&mut window, true, true), run(&mut window, true, true)], [1, 1]);
    }
}
