//! How many Deliver calls of a lane may be under way.
//!
//! The window starts at two. While full calls wait it grows by one for each finished call, until the calls of a round
//! wait at delivery for a quarter of their time; a round is as many finished calls as the window holds. From then on it
//! moves once a round: it grows by a twentieth of the most, and shrinks by the square of the part of their time that the
//! round's calls waited. Every gateway sees the same waiting, so all come to the same size, whoever was there first; one
//! alone stays at the most. When delivery has no room at all it halves, at most once a round. So calls stay full, one
//! gateway keeps all deliveries busy, several share them, and room that a new replica brings is used within seconds.

/// Part of their time that a round's calls waited for their turn, from which on the end of the room is found. One call says
/// little: where PostHog is slow, a whole round begins at once, and the few that find no turn wait for as long as it takes.
const WAITS: f64 = 0.25;
/// Part of the most by which it grows a round.
const GROWS_BY: f64 = 0.05;
/// Calls at first.
const FIRST: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    size: f64,
    /// Most calls of this lane now.
    limit: usize,
    /// Most calls of the destination.
    most: usize,
    under_way: usize,
    /// The last call that began filled it.
    was_filled: bool,
    /// The end of the room is not found yet.
    searches: bool,
    /// Finished calls that began before it last halved: they say nothing of the new size.
    stale: usize,
    round: Round,
}

/// The calls that finished since the window last moved.
#[derive(Debug)]
struct Round {
    /// It ends with so many.
    calls: usize,
    finished: usize,
    waited: f64,
    /// All of them ended while the window was full and another full call waited.
    full: bool,
}

impl Round {
    fn of(calls: usize) -> Self {
        Self { calls, finished: 0, waited: 0.0, full: true }
    }
}

/// How a Deliver call ended, as far as the window cares.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallEnd {
    /// Delivery had no room for it.
    pub(crate) overloaded: bool,
    /// Some event became final.
    pub(crate) worked: bool,
    /// As many events wait as a call holds.
    pub(crate) full_waits: bool,
    /// Part of its time that it waited for its turn.
    pub(crate) waited: f64,
}

impl Window {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let size = FIRST.min(most);
        Self {
            size: size as f64,
            limit: most,
            most,
            under_way: 0,
            was_filled: false,
            searches: true,
            stale: 0,
            round: Round::of(size),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.under_way < self.size()
    }

    /// Whether all are under way that this lane may have, however large the window is.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.under_way >= self.limit.min(self.most)
    }

    /// Calls that may be under way.
    pub(crate) fn size(&self) -> usize {
        (self.size as usize).min(self.limit).max(1)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// It is full, and as large as it can be: more calls would only wait.
    pub(crate) fn is_exhausted(&self) -> bool {
        !self.has_room() && !self.searches
    }

    /// Whether more calls than the other lanes leave could be under way.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.under_way >= self.limit && self.size as usize > self.limit
    }

    /// Says how many calls may be under way: `limit` of this lane, `most` of its destination. Where `most` has grown, there
    /// is more room to find.
    pub(crate) fn set_most(&mut self, limit: usize, most: usize) {
        if most > self.most {
            self.searches = true;
            // before deliveries have said what they work on, there is room for one
            self.size = self.size.max(FIRST.min(most) as f64);
        }
        (self.limit, self.most) = (limit, most.max(1));
        self.size = self.size.min(self.most as f64);
    }

    pub(crate) fn begin(&mut self) {
        self.under_way += 1;
        self.was_filled = !self.has_room();
    }

    /// A call is over.
    pub(crate) fn end(&mut self, call: CallEnd) {
        self.under_way = self.under_way.saturating_sub(1);
        let is_stale = self.stale > 0;
        self.stale = self.stale.saturating_sub(1);
        if call.overloaded {
            if !is_stale {
                (self.searches, self.stale) = (false, self.under_way);
                self.resize(self.size / 2.0);
            }
            return;
        }
        let grows = call.worked && call.full_waits && self.was_filled;
        if self.searches && grows {
            self.size = (self.size + 1.0).min(self.most as f64);
        }
        let round = &mut self.round;
        (round.finished, round.waited, round.full) =
            (round.finished + 1, round.waited + call.waited, round.full && grows);
        if round.finished >= round.calls {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        let waited = self.round.waited / self.round.finished.max(1) as f64;
        if self.searches && waited < WAITS {
            // it has grown with each call
            self.searches = (self.size as usize) < self.most;
            return self.resize(self.size);
        }
        let more = if self.round.full && !self.searches { GROWS_BY * self.most as f64 } else { 0.0 };
        self.searches = false;
        self.resize(self.size + more - self.size * waited * waited);
    }

    fn resize(&mut self, size: f64) {
        self.size = size.clamp(1.0, self.most as f64);
        self.round = Round::of(self.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKED: CallEnd = CallEnd { overloaded: false, worked: true, full_waits: true, waited: 0.0 };

    /// Fills the window and ends one call.
    fn run(window: &mut Window, call: CallEnd) -> usize {
        while window.has_room() {
            window.begin();
        }
        window.end(call);
        window.size()
    }

    #[test]
    fn it_grows_only_while_a_full_call_waits_and_up_to_the_most() {
        let mut window = Window::new(8);
        assert_eq!(run(&mut window, CallEnd { full_waits: false, ..WORKED }), 2);
        let grown: Vec<_> = (0..8).map(|_| run(&mut window, WORKED)).collect();
        assert_eq!(grown, [3, 4, 5, 6, 7, 8, 8, 8]);
        window.begin();
        assert!(!window.is_exhausted(), "a round of this size has not ended");
        while !window.is_exhausted() {
            run(&mut window, WORKED);
            window.begin();
        }
        window.set_most(4, 8);
        assert_eq!((window.size(), window.is_cut_short()), (4, true), "others use the rest");
        window.set_most(16, 16);
        assert!(!window.is_exhausted(), "a new replica");
        assert_eq!(run(&mut window, WORKED), 9);
    }

    #[test]
    fn it_shrinks_once_a_round_and_halves_where_there_is_no_room() {
        let mut window = Window::new(64);
        while run(&mut window, WORKED) < 64 {}
        let overloaded = CallEnd { overloaded: true, worked: false, ..WORKED };
        let sizes: Vec<_> = (0..64).map(|_| run(&mut window, overloaded)).collect();
        assert_eq!((sizes[0], sizes[63]), (32, 32), "all of one round were sent before");
        let mut round = |call| {
            for _ in 0..window.size() - 1 {
                run(&mut window, call);
            }
            run(&mut window, call)
        };
        assert_eq!(round(CallEnd { waited: 0.5, ..WORKED }), 27, "a twentieth of 64 more, a quarter of 32 less");
        assert_eq!([0, 1].map(|_| round(WORKED)), [30, 33]);
        assert_eq!(round(CallEnd { full_waits: false, ..WORKED }), 33, "nothing waits");
    }

    /// Gateways over deliveries that work on `room` calls at a time, each call for as long; the others wait in line. Gives
    /// the calls that were worked on, of what could have been, and the sizes in the end.
    fn share(room: usize, joins_at: &[usize], rounds: usize) -> (f64, Vec<usize>) {
        let mut windows: Vec<_> = joins_at.iter().map(|_| Window::new(room + room / 4)).collect();
        let mut line = std::collections::VecDeque::new();
        let (mut busy, mut counted) = (0, 0);
        for tick in 0..rounds * room {
            for (at, window) in windows.iter_mut().enumerate() {
                while tick >= joins_at[at] * room && window.has_room() {
                    window.begin();
                    line.push_back((at, tick));
                }
            }
            // in each tick one call ends: `room` ticks are the time of one call
            if tick > 10 * room {
                busy += line.len().min(room);
                counted += room;
            }
            if let Some((at, began)) = line.pop_front() {
                let took = (tick - began).max(room) as f64;
                windows[at].end(CallEnd { waited: (took - room as f64) / took, ..WORKED });
            }
        }
        (busy as f64 / counted as f64, windows.iter().map(Window::size).collect())
    }

    #[test]
    fn one_gateway_keeps_all_deliveries_busy_and_several_come_to_share_them() {
        for room in [16, 64, 256] {
            let (busy, sizes) = share(room, &[0], 60);
            assert!(busy > 0.98, "room {room}: {busy} busy, {sizes:?}");
            for joins_at in [&[0, 0][..], &[0, 30], &[0, 10, 20]] {
                let (busy, sizes) = share(room, joins_at, 200);
                let equal = room / joins_at.len();
                assert!(busy > 0.95, "room {room}: {busy} busy, {sizes:?}");
                let fair = sizes.iter().all(|size| *size > equal / 2 && *size < 3 * equal);
                assert!(fair, "room {room}, joined at {joins_at:?}: {sizes:?}");
                assert!(sizes.iter().sum::<usize>() <= 2 * room, "no more in line than under way: {sizes:?}");
            }
        }
    }
}
