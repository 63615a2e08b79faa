//! The line by itself against a queue, one caller, step by step: for the fuzz targets.
//!
//! The script plays both sides of the line's protocol: whoever arrives is counted first and takes a cell second, whoever
//! serves takes a unit out of the count first and spends it second. So a server can come to a cell before its occupant,
//! and a leaver can find that his unit is in somebody's hand, as they do in a race.
//!
//! What is asserted after every step: who is served, and who is ahead of whom, is as in a queue; the row has no segment
//! but those that a cell or a pin keeps, linked both ways.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::mem::ManuallyDrop;

use super::{CELLS, Line, Message, Occupant, Position, Segment, Served};
use crate::sync::{Guard, Ordering, pin};

/// The segments that stay without a cell to keep them: those of `head` and `tail`, and the last one, whose cells nobody
/// has come to.
const WITHOUT_A_CELL: usize = 3;

/// Runs a script: each byte is a step, with the next byte as its argument where it needs one.
///
/// # Panics
/// If the line does anything that a queue would not.
pub fn run(script: &[u8]) {
    let mut both = Both::new();
    let mut bytes = script.iter().copied();
    while let Some(byte) = bytes.next() {
        // The lower bits are the step, the upper ones say how often.
        let times = 1 + byte / 16;
        let guard = pin();
        match byte % 16 {
            0 => (0..times).for_each(|_| both.count()),
            1 | 2 => (0..times).for_each(|_| both.enrol(&guard)),
            3 | 4 => (0..times).for_each(|_| {
                both.count();
                both.enrol(&guard);
            }),
            5 => (0..times).for_each(|_| both.take_unit()),
            6 => (0..times).for_each(|_| both.next(&guard)),
            7 => (0..times).for_each(|_| {
                both.take_unit();
                both.next(&guard);
            }),
            8 | 9 => {
                let which = argument(&mut bytes);
                (0..times).for_each(|_| both.settle(which, &guard));
            }
            10 => {
                let which = argument(&mut bytes);
                (0..times).for_each(|_| both.withdraw(which, &guard));
            }
            11 | 12 => {
                let which = argument(&mut bytes);
                (0..times).for_each(|_| both.leave(which, &guard));
            }
            13 => {
                let which = argument(&mut bytes);
                (0..times).for_each(|_| {
                    both.withdraw(which, &guard);
                    both.leave(usize::MAX, &guard);
                });
            }
            14 => both.withdraw_taken(argument(&mut bytes), &guard),
            _ => both.scan(argument(&mut bytes), &guard),
        }
        both.check(&guard);
    }
    both.finish();
}

fn argument(bytes: &mut impl Iterator<Item = u8>) -> usize {
    bytes.next().unwrap_or(0).into()
}

/// One who has taken a cell that nobody served yet.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    number: usize,
    position: Position,
    /// Gave up, and somebody has his unit.
    is_unpaid: bool,
}

/// One who gave up and has not told so yet.
#[derive(Clone, Copy, Debug)]
struct Leaver {
    number: usize,
    position: Position,
    is_paid: bool,
    /// The unit that pays for him has come meanwhile.
    is_met: bool,
}

/// The line and the queue it has to look like.
struct Both {
    /// A failed assertion leaves it: a line that ends does not like to have people in it.
    line: ManuallyDrop<Line>,
    /// Units in the word: those counted, less those whom somebody serves or who took their own back.
    word: usize,
    /// Units in somebody's hand.
    hand: usize,
    /// Counted, and not yet in a cell.
    counted: usize,
    /// In their cells, first to last.
    row: VecDeque<Waiter>,
    /// Messages for those who have not come yet.
    left: VecDeque<u64>,
    /// Served, to be told.
    taken: VecDeque<(usize, Position)>,
    leavers: VecDeque<Leaver>,
    /// Those in the row who gave up.
    unpaid: usize,
    /// Those of them who have told so.
    gone_unpaid: usize,
    /// Names for occupants and messages.
    names: usize,
}

impl Both {
    fn new() -> Self {
        Self {
            line: ManuallyDrop::new(Line::new()),
            word: 0,
            hand: 0,
            counted: 0,
            row: VecDeque::new(),
            left: VecDeque::new(),
            taken: VecDeque::new(),
            leavers: VecDeque::new(),
            unpaid: 0,
            gone_unpaid: 0,
            names: 0,
        }
    }

    fn name(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    /// Somebody arrives.
    fn count(&mut self) {
        self.word += 1;
        self.counted += 1;
    }

    /// Somebody who has arrived takes the next cell.
    fn enrol(&mut self, guard: &Guard) {
        if self.counted == 0 {
            return;
        }
        self.counted -= 1;
        let number = self.name();
        let mut known = None;
        let enrolled = self.line.enrol(
            occupant(number),
            |position| same(known.replace(position), None),
            guard,
        );
        match enrolled {
            Ok(position) => {
                same(self.left.front(), None);
                same(known, Some(position));
                self.row.push_back(Waiter {
                    number,
                    position,
                    is_unpaid: false,
                });
            }
            Err((message, position)) => {
                same(Some(message.payload()), self.left.pop_front());
                same(known, Some(position));
                self.line.settle(position, guard);
            }
        }
    }

    /// A server takes a unit out of the word.
    fn take_unit(&mut self) {
        if self.word > 0 {
            self.word -= 1;
            self.hand += 1;
        }
    }

    /// A server spends his unit.
    fn next(&mut self, guard: &Guard) {
        if self.hand == 0 {
            return;
        }
        self.hand -= 1;
        let payload = self.name() as u64;
        let served = self.line.next(Message::new(payload), guard);
        match self.row.pop_front() {
            None => {
                same(served, Served::Left);
                self.left.push_back(payload);
            }
            Some(waiter) if waiter.is_unpaid => {
                same(served, Served::Unpaid);
                self.unpaid -= 1;
                let leaver = self
                    .leavers
                    .iter_mut()
                    .find(|leaver| leaver.number == waiter.number);
                match leaver {
                    Some(leaver) => leaver.is_met = true,
                    None => self.gone_unpaid -= 1,
                }
            }
            Some(waiter) => {
                same(
                    served,
                    Served::Waiter(occupant(waiter.number), waiter.position),
                );
                self.taken.push_back((waiter.number, waiter.position));
            }
        }
    }

    /// A server is done with whom he told.
    fn settle(&mut self, which: usize, guard: &Guard) {
        if let Some((_, position)) = pick(&mut self.taken, which) {
            self.line.settle(position, guard);
        }
    }

    /// Somebody who waits gives up. He takes his unit out of the word; if there is none, all are in servers' hands, and
    /// he leaves without.
    fn withdraw(&mut self, which: usize, guard: &Guard) {
        let len = self.row.len();
        let mut from_there = (0..len).map(|step| (which + step) % len);
        let Some(at) = from_there.find(|&at| !self.row[at].is_unpaid) else {
            return;
        };
        let Waiter {
            number, position, ..
        } = self.row[at];
        let is_paid = self.word > 0;
        let is_gone = self
            .line
            .withdraw(position, occupant(number), is_paid, guard);
        same(is_gone, true);
        if is_paid {
            self.word -= 1;
            self.row.remove(at);
        } else {
            self.row[at].is_unpaid = true;
            self.unpaid += 1;
        }
        self.leavers.push_back(Leaver {
            number,
            position,
            is_paid,
            is_met: false,
        });
    }

    /// A leaver is done.
    fn leave(&mut self, which: usize, guard: &Guard) {
        if let Some(leaver) = pick(&mut self.leavers, which) {
            self.line.leave(leaver.position, leaver.is_paid, guard);
            self.gone_unpaid += usize::from(!leaver.is_paid && !leaver.is_met);
        }
    }

    /// Somebody gives up who has been served and not told yet: too late.
    fn withdraw_taken(&mut self, which: usize, guard: &Guard) {
        let Some(which) = which.checked_rem(self.taken.len()) else {
            return;
        };
        let (number, position) = self.taken[which];
        // His unit, if he had one, would go on in his hand: here it stays where it was.
        let is_gone = self
            .line
            .withdraw(position, occupant(number), which % 2 == 0, guard);
        same(is_gone, false);
    }

    /// Looks at the first few.
    fn scan(&mut self, most: usize, guard: &Guard) {
        let mut seen = Vec::new();
        self.line.scan(
            |occupant, position| {
                seen.push((occupant, position));
                seen.len() > most
            },
            guard,
        );
        let waiting = self
            .row
            .iter()
            .filter(|waiter| !waiter.is_unpaid)
            .map(|waiter| (occupant(waiter.number), waiter.position))
            .take(most + 1)
            .collect();
        same(seen, waiting);
    }

    fn check(&self, guard: &Guard) {
        same(
            self.word + self.hand + self.left.len(),
            self.counted + self.row.len(),
        );
        // Each look costs a walk: a few at the front, and the last.
        let waiting = self.row.iter().filter(|waiter| !waiter.is_unpaid);
        for (ahead, waiter) in waiting.take(4).enumerate() {
            same(self.line.ahead(waiter.position, guard), ahead);
        }
        if let Some(last) = self.row.back().filter(|last| !last.is_unpaid) {
            let waiting = self.row.len() - self.unpaid;
            same(self.line.ahead(last.position, guard), waiting - 1);
        }
        let to_settle = self
            .leavers
            .iter()
            .filter(|leaver| leaver.is_paid || leaver.is_met)
            .count();
        let unsettled = self.row.len() + self.left.len() + self.taken.len() + to_settle;
        let segments = self.segments(guard);
        assert!(
            segments <= unsettled + WITHOUT_A_CELL,
            "{segments} segments for {unsettled} cells"
        );
    }

    /// How many segments the row has, which is looked through from one end to the other.
    fn segments(&self, guard: &Guard) -> usize {
        let line = &self.line;
        let head = line.see(line.head.load(Ordering::Acquire), guard);
        let tail = line.see(line.tail.load(Ordering::Acquire), guard);
        let mut pins = 0;
        let mut settled = 0;
        let mut look = |segment: &Segment| {
            let state = segment.state.load(Ordering::Acquire);
            assert!(state != CELLS, "a removed segment is out of the row");
            pins += state / super::PIN;
            settled += state % super::PIN;
        };
        let mut count = 1;
        look(head);
        for forwards in [true, false] {
            let mut at = head;
            loop {
                let link = if forwards { &at.next } else { &at.prev };
                let other = link.load(Ordering::Acquire);
                if other.is_null() {
                    break;
                }
                let other = line.see(other, guard);
                let back = if forwards { &other.prev } else { &other.next };
                assert!(
                    std::ptr::eq(back.load(Ordering::Acquire), at),
                    "neighbours link to each other"
                );
                assert_eq!(other.id > at.id, forwards, "ids rise along the row");
                look(other);
                count += 1;
                at = other;
            }
        }
        same(pins, 2);
        assert!(settled <= count * CELLS);
        assert!(!tail.is_removed());
        count
    }

    /// Everybody comes, is served or gives up, and is done.
    fn finish(mut self) {
        let guard = pin();
        while self.counted > 0 {
            self.enrol(&guard);
        }
        while self.hand > 0 {
            self.next(&guard);
        }
        while self.word > 0 {
            self.withdraw(0, &guard);
        }
        while !self.leavers.is_empty() {
            self.leave(0, &guard);
        }
        while !self.taken.is_empty() {
            self.settle(0, &guard);
        }
        self.check(&guard);
        same(self.row.len() + self.left.len() + self.gone_unpaid, 0);
        self.scan(0, &guard);
        let segments = self.segments(&guard);
        assert!(segments <= WITHOUT_A_CELL, "{segments} segments for nobody");
        drop(ManuallyDrop::into_inner(self.line));
    }
}

/// One of several, the last by a number that is too large.
fn pick<T>(several: &mut VecDeque<T>, which: usize) -> Option<T> {
    several.remove(which.min(several.len().checked_sub(1)?))
}

fn occupant(number: usize) -> Occupant {
    // Nobody looks at it: any address does that is aligned.
    Occupant::of(std::ptr::without_provenance::<u64>(number * 16))
}

#[track_caller]
fn same<T: PartialEq + Debug>(line: T, queue: T) {
    assert_eq!(line, queue, "the line on the left, a queue on the right");
}
