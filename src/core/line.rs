//! A line: an endless row of cells, each filled once, served in order, left from anywhere.
//!
//! After *CQS: A Formally-Verified Framework for Fair and Abortable Synchronization* (Koval, Khalanskiy, Alistarh,
//! PLDI 2023), with a reclamation of its own.
//!
//! Who waits is counted in a word first and takes the next cell second ([`Line::enrol`]). Who serves takes a unit out
//! of the word first and the next cell second ([`Line::next`]). Whoever comes second to a cell finds what the first
//! one left: so the order is the order of the cells, and nobody is overtaken between his two steps.
//!
//! # A cell
//! | from | to | by | meaning |
//! | --- | --- | --- | --- |
//! | `EMPTY` | a pointer | `enrol` | somebody waits |
//! | `EMPTY` | a message | `next` | served before he arrived; `enrol` returns the message |
//! | a pointer | `TAKEN` | `next` | served: the pointer, and the duty to tell, are the server's |
//! | a pointer | `SKIP` | `withdraw` | gave up, and his unit is gone with him; `next` passes over it |
//! | a pointer | `UNPAID` | `withdraw` | gave up, his unit is in somebody's hand: the `next` that comes here used it up |
//! | `UNPAID` | `PAID` | `next` | it came, before the leaver had told the waiter |
//! | `UNPAID` | `LEFT` | `leave` | the leaver has told, before it came |
//!
//! A cell is *settled* when nobody will look at it again, and never before whoever can name its position has been told:
//! by the server for `TAKEN` once he has told the waiter, by the leaver for `SKIP` and `PAID` once he has told, by
//! `next` for `LEFT`, by the one who finds a message once he has withdrawn the position.
//!
//! # The row
//! Cells stand in segments, linked both ways. `head` and `tail` are where to start looking for the next cell to serve
//! and to fill. A segment counts its settled cells and the pins that `head` and `tail` have on it, in one word. When
//! all cells are settled and no pin is left it is **removed**, for ever; the one thread whose step made it so unlinks
//! and retires it. So a row is no longer than its live waiters, however many gave up behind a head that does not move.
//!
//! Invariants:
//! - **L1** each cell is taken by at most one server, and each unit resolves exactly one cell.
//! - **L2** a removed segment has a successor: the last one is pinned by `tail`, which moves on only to a later one.
//! - **L3** ids along `next` rise, along `prev` fall; `next` of a segment only rises, `prev` only falls.
//! - **L4** a link is written only to a segment that the writer has pinned, so never to a removed one; and only over
//!   removed ones. Before a segment is retired, its remover has had both neighbours pinned at one instant, the left
//!   one's `next` passing it by and the right one's `prev`. No path from `head` or `tail` gets around a segment that is
//!   alive, so no pin taken later reaches what was retired.

use std::ptr;

use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Guard, Ordering, RetiredAt};

#[cfg(feature = "spec")]
#[path = "line_script.rs"]
pub(crate) mod script;

/// Cells in a segment.
#[cfg(not(admit_loom))]
const CELLS: usize = 16;
#[cfg(admit_loom)]
const CELLS: usize = 2;

const EMPTY: u64 = 0;
// Whatever is odd is no pointer.
const SKIP: u64 = 1;
const UNPAID: u64 = 3;
const TAKEN: u64 = 5;
const PAID: u64 = 9;
const LEFT: u64 = 11;

/// A message left in a cell: odd, and none of the marks above, which do not end in 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message(u64);

impl Message {
    pub(crate) const fn new(payload: u64) -> Self {
        debug_assert!(payload < 1 << 60);
        Self(payload << 3 | 7)
    }

    pub(crate) const fn payload(self) -> u64 {
        self.0 >> 3
    }
}

/// Whoever waits in a cell: a pointer to something at least two bytes aligned, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupant(u64);

impl Occupant {
    pub(crate) fn of<T>(pointer: *const T) -> Self {
        const { assert!(align_of::<T>() >= 8) };
        Self(pointer.expose_provenance() as u64)
    }

    pub(crate) fn pointer<T>(self) -> *const T {
        ptr::with_exposed_provenance(self.0 as usize)
    }
}

/// Where a cell is. Good while the cell is not settled, or while a guard is held that was taken before it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(usize);

impl Position {
    /// No cell.
    pub(crate) const NONE: Self = Self(0);

    fn new(segment: *const Segment, cell: usize) -> Self {
        debug_assert!(cell < CELLS);
        Self(segment.expose_provenance() | cell)
    }

    fn segment(self) -> *const Segment {
        ptr::with_exposed_provenance(self.0 & !(CELLS - 1))
    }

    fn cell(self) -> usize {
        self.0 & (CELLS - 1)
    }
}

/// A place to remember a [`Position`].
#[derive(Debug)]
pub(crate) struct AtomicPosition(AtomicUsize);

impl AtomicPosition {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub(crate) fn get(&self) -> Option<Position> {
        // Ordering: Acquire pairs with the Release of `set`: the segment that it names is set up.
        let raw = self.0.load(Ordering::Acquire);
        (raw != 0).then_some(Position(raw))
    }

    pub(crate) fn set(&self, position: Position) {
        // Ordering: Release pairs with the Acquire of `get`.
        self.0.store(position.0, Ordering::Release);
    }
}

#[repr(align(16))]
struct Segment {
    id: u64,
    next: AtomicPtr<Segment>,
    prev: AtomicPtr<Segment>,
    /// Settled cells, plus `PIN` for each of `head` and `tail` that stands here.
    state: AtomicUsize,
    cells: [AtomicU64; CELLS],
    retired_at: RetiredAt,
}

const PIN: usize = 1 << 16;

const _: () = assert!(CELLS.is_power_of_two() && CELLS <= align_of::<Segment>());

impl Segment {
    fn new(id: u64, prev: *mut Segment, pins: usize) -> Box<Self> {
        Box::new(Self {
            id,
            next: AtomicPtr::new(ptr::null_mut()),
            prev: AtomicPtr::new(prev),
            state: AtomicUsize::new(pins * PIN),
            cells: std::array::from_fn(|_| AtomicU64::new(EMPTY)),
            retired_at: RetiredAt::new(),
        })
    }

    fn is_removed(&self) -> bool {
        // Ordering: Acquire pairs with the AcqRel of `settle` and `unpin`.
        self.state.load(Ordering::Acquire) == CELLS
    }

    /// Keeps the segment in the row; false if it has been removed.
    fn try_pin(&self) -> bool {
        // Ordering: Relaxed suffices: a pin only has to be counted, and the count is one word.
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                (state != CELLS).then_some(state + PIN)
            })
            .is_ok()
    }
}

/// What a unit in hand met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Somebody who waits. He is the caller's to tell, and then to [`Line::settle`].
    Waiter(Occupant, Position),
    /// Nobody yet: the message was left for him.
    Left,
    /// Somebody who had given up without a unit: the caller's has paid for him.
    Unpaid,
}

/// See the module.
pub(crate) struct Line {
    head: AtomicPtr<Segment>,
    tail: AtomicPtr<Segment>,
    /// The next cell to fill.
    filled: AtomicU64,
    /// The next cell to serve.
    served: AtomicU64,
}

impl Line {
    pub(crate) fn new() -> Self {
        let first = Box::into_raw(Segment::new(0, ptr::null_mut(), 2));
        Self {
            head: AtomicPtr::new(first),
            tail: AtomicPtr::new(first),
            filled: AtomicU64::new(0),
            served: AtomicU64::new(0),
        }
    }

    /// Takes the next cell for `occupant`, who has been counted. `known` learns the position before anybody can meet
    /// the occupant there. `Err` is the message that a server had left in the cell, which the caller settles once
    /// nobody can learn the position any more.
    pub(crate) fn enrol(
        &self,
        occupant: Occupant,
        known: impl FnOnce(Position),
        guard: &Guard,
    ) -> Result<Position, (Message, Position)> {
        // Ordering: Acquire, before the index is taken: `tail` then stands at or before the segment of that index,
        // since it was moved only for smaller ones.
        let start = self.tail.load(Ordering::Acquire);
        // Ordering: AcqRel keeps the load above before, and the cell after.
        let index = self.filled.fetch_add(1, Ordering::AcqRel);
        let segment = self.seek(&self.tail, start, index / CELLS as u64, guard);
        debug_assert_eq!(
            segment.id,
            index / CELLS as u64,
            "our own cell is not settled"
        );
        let position = Position::new(segment, (index % CELLS as u64) as usize);
        known(position);
        let cell = &segment.cells[position.cell()];
        // Ordering: AcqRel. Release shows the occupant to the server who takes it; Acquire pairs with the server who
        // left a message.
        match cell.compare_exchange(EMPTY, occupant.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(position),
            Err(message) => {
                debug_assert_eq!(message & 7, 7);
                Err((Message(message), position))
            }
        }
    }

    /// Spends the unit in the caller's hand on the first cell that is not resolved; `message` is left for its
    /// occupant if he has not come yet.
    pub(crate) fn next(&self, message: Message, guard: &Guard) -> Served {
        loop {
            // Ordering: as in `enrol`, with `head`.
            let start = self.head.load(Ordering::Acquire);
            let index = self.served.fetch_add(1, Ordering::AcqRel);
            let segment = self.seek(&self.head, start, index / CELLS as u64, guard);
            if segment.id != index / CELLS as u64 {
                // All cells up to this segment were settled by those who gave up: pass over them at one stroke.
                // Ordering: Relaxed, an index alone; it only rises.
                self.served
                    .fetch_max(segment.id * CELLS as u64, Ordering::Relaxed);
                continue;
            }
            let position = Position::new(segment, (index % CELLS as u64) as usize);
            let cell = &segment.cells[position.cell()];
            let mut seen = cell.load(Ordering::Acquire);
            loop {
                let (to, served) = match seen {
                    EMPTY => (message.0, Served::Left),
                    SKIP => break,
                    LEFT => {
                        self.settle(position, guard);
                        return Served::Unpaid;
                    }
                    UNPAID => (PAID, Served::Unpaid),
                    occupant => {
                        debug_assert_eq!(occupant & 1, 0, "a cell is served once");
                        (TAKEN, Served::Waiter(Occupant(occupant), position))
                    }
                };
                // Ordering: AcqRel. Acquire shows the occupant as he was enrolled; Release shows the one who finds
                // the message what was done before it was left.
                match cell.compare_exchange(seen, to, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return served,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// Gives up the cell, with a unit in hand (`paid`) or without. False if it was resolved meanwhile. Once the occupant
    /// has been told, the caller finishes with [`leave`](Self::leave).
    pub(crate) fn withdraw(
        &self,
        position: Position,
        occupant: Occupant,
        paid: bool,
        guard: &Guard,
    ) -> bool {
        let segment = self.at(position, guard);
        let to = if paid { SKIP } else { UNPAID };
        // Ordering: AcqRel. Who passes over the cell later comes after what the leaver did before; a failure shows
        // what the server did.
        segment.cells[position.cell()]
            .compare_exchange(occupant.0, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The second half of `withdraw`: the occupant has been told.
    pub(crate) fn leave(&self, position: Position, paid: bool, guard: &Guard) {
        let segment = self.at(position, guard);
        // Ordering: AcqRel: whichever of the two comes second settles, after what the first one did.
        let is_ours = paid
            || segment.cells[position.cell()]
                .compare_exchange(UNPAID, LEFT, Ordering::AcqRel, Ordering::Acquire)
                .is_err();
        if is_ours {
            self.settle(position, guard);
        }
    }

    /// Nobody will look at this cell again.
    pub(crate) fn settle(&self, position: Position, guard: &Guard) {
        let segment = self.at(position, guard);
        // Ordering: AcqRel: the last to settle, who removes the segment, comes after all others.
        let before = segment.state.fetch_add(1, Ordering::AcqRel);
        debug_assert!(before % PIN < CELLS, "a cell is settled once");
        if before + 1 == CELLS {
            self.unlink(segment, guard);
        }
    }

    /// Looks at those who wait, first to last, until `look` says stop.
    pub(crate) fn scan(&self, mut look: impl FnMut(Occupant, Position) -> bool, guard: &Guard) {
        let mut at = self.head.load(Ordering::Acquire);
        let mut leads = true;
        loop {
            let segment = self.see(at, guard);
            let next = segment.next.load(Ordering::Acquire);
            leads &= !next.is_null() && segment.state.load(Ordering::Acquire) % PIN == CELLS;
            if leads {
                // Only a scan moves the head of a row that is never served, and only over what is settled.
                self.advance(&self.head, next, guard);
            }
            for (number, cell) in segment.cells.iter().enumerate() {
                let seen = cell.load(Ordering::Acquire);
                if seen & 1 == 0
                    && seen != EMPTY
                    && look(Occupant(seen), Position::new(segment, number))
                {
                    return;
                }
            }
            if next.is_null() {
                return;
            }
            at = next;
        }
    }

    /// How many cells before `position` are not resolved. A snapshot: others move meanwhile.
    pub(crate) fn ahead(&self, position: Position, guard: &Guard) -> usize {
        let own = self.at(position, guard);
        let mut ahead = 0;
        // Ordering: Acquire: the segment is set up. The head stands at or before whoever waits.
        let mut at = self.head.load(Ordering::Acquire);
        let served = self.served.load(Ordering::Acquire);
        loop {
            let segment = self.see(at, guard);
            if segment.id > own.id {
                return ahead;
            }
            for (number, cell) in segment.cells.iter().enumerate() {
                if segment.id == own.id && number == position.cell() {
                    return ahead;
                }
                let seen = cell.load(Ordering::Acquire);
                let waits = seen & 1 == 0
                    && (seen != EMPTY || segment.id * CELLS as u64 + number as u64 >= served);
                ahead += usize::from(waits);
            }
            at = segment.next.load(Ordering::Acquire);
            if at.is_null() {
                return ahead;
            }
        }
    }

    fn at<'g>(&self, position: Position, guard: &'g Guard) -> &'g Segment {
        self.see(position.segment().cast_mut(), guard)
    }

    fn see<'g>(&self, segment: *mut Segment, guard: &'g Guard) -> &'g Segment {
        debug_assert!(!segment.is_null());
        // SAFETY: L4 for links, the unsettled cell for positions: a segment reached under a guard was not retired
        // before the guard was taken, so it is freed only after the guard is let go.
        let segment = unsafe { &*segment };
        guard.check(&segment.retired_at);
        segment
    }

    /// The segment `id`, made if the row is still shorter, or the first one behind it if it has been removed; moves
    /// `place` up to it.
    fn seek<'g>(
        &self,
        place: &AtomicPtr<Segment>,
        start: *mut Segment,
        id: u64,
        guard: &'g Guard,
    ) -> &'g Segment {
        let mut at = start;
        loop {
            at = self.find(at, id, guard);
            if self.advance(place, at, guard) {
                return self.see(at, guard);
            }
        }
    }

    fn find(&self, mut at: *mut Segment, id: u64, guard: &Guard) -> *mut Segment {
        loop {
            let segment = self.see(at, guard);
            // Looked at before its successor: removed later, it has got one later.
            let is_removed = segment.is_removed();
            if segment.id >= id && !is_removed {
                return at;
            }
            // Ordering: Acquire: the next segment is set up.
            let mut next = segment.next.load(Ordering::Acquire);
            if next.is_null() {
                debug_assert!(!is_removed, "L2");
                let new = Box::into_raw(Segment::new(segment.id + 1, at, 0));
                // Ordering: AcqRel: shows the new segment set up; a failure shows the other one.
                match segment
                    .next
                    .compare_exchange(next, new, Ordering::AcqRel, Ordering::Acquire)
                {
                    Ok(_) => next = new,
                    Err(other) => {
                        // SAFETY: made above and never shown to anybody.
                        drop(unsafe { Box::from_raw(new) });
                        next = other;
                    }
                }
            }
            at = next;
        }
    }

    /// Moves `place` up to the segment `to`, or finds it there or further on. False if `to` has been removed.
    fn advance(&self, place: &AtomicPtr<Segment>, to: *mut Segment, guard: &Guard) -> bool {
        let target = self.see(to, guard);
        let mut at = place.load(Ordering::Acquire);
        loop {
            let current = self.see(at, guard);
            if current.id >= target.id {
                return true;
            }
            if !target.try_pin() {
                return false;
            }
            // Ordering: AcqRel: who starts from the new place sees the segments linked up to it.
            match place.compare_exchange(at, to, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.unpin(current, guard);
                    return true;
                }
                Err(now) => {
                    self.unpin(target, guard);
                    at = now;
                }
            }
        }
    }

    fn unpin(&self, segment: &Segment, guard: &Guard) {
        // Ordering: AcqRel: as in `settle`.
        if segment.state.fetch_sub(PIN, Ordering::AcqRel) - PIN == CELLS {
            self.unlink(segment, guard);
        }
    }

    /// Takes a removed segment out of the row and retires it. Called once for each, by whoever removed it.
    fn unlink(&self, segment: &Segment, guard: &Guard) {
        let (left, right) = self.pin_neighbours(segment, guard);
        let to_right = ptr::from_ref(right).cast_mut();
        let to_left = left.map_or(ptr::null_mut(), |left| ptr::from_ref(left).cast_mut());
        if let Some(left) = left {
            self.relink(&left.next, to_right, |at| at.id <= segment.id, guard);
        }
        self.relink(&right.prev, to_left, |at| at.id >= segment.id, guard);
        segment.retired_at.set();
        // SAFETY: made by `Box::into_raw` in `new` or `find`; removal happens once, so this is called once; L4 says
        // that a later pin does not reach it.
        unsafe { guard.retire_box(ptr::from_ref(segment).cast_mut()) };
        // A neighbour that was removed but for our pin is ours to unlink. That takes somebody else's step between our
        // two, so this does not go deep.
        self.unpin(right, guard);
        if let Some(left) = left {
            self.unpin(left, guard);
        }
    }

    /// The nearest segments that are alive, kept so: all between them have been removed. None on the left if all there
    /// have been.
    fn pin_neighbours<'g>(
        &self,
        segment: &Segment,
        guard: &'g Guard,
    ) -> (Option<&'g Segment>, &'g Segment) {
        loop {
            let right = self.alive_right(segment, guard);
            if !right.try_pin() {
                continue;
            }
            let left = self.alive_left(segment, guard);
            if left.is_none_or(Segment::try_pin) {
                return (left, right);
            }
            self.unpin(right, guard);
        }
    }

    /// Moves a link past the removed segments that it still leads to. Null leads past everything on the left.
    fn relink(
        &self,
        link: &AtomicPtr<Segment>,
        to: *mut Segment,
        leads_to_removed: impl Fn(&Segment) -> bool,
        guard: &Guard,
    ) {
        // Ordering: AcqRel and Acquire: who follows the link sees the segment set up.
        let mut at = link.load(Ordering::Acquire);
        while !at.is_null() && leads_to_removed(self.see(at, guard)) {
            match link.compare_exchange(at, to, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => at = now,
            }
        }
    }

    fn alive_left<'g>(&self, segment: &Segment, guard: &'g Guard) -> Option<&'g Segment> {
        let mut at = segment.prev.load(Ordering::Acquire);
        while !at.is_null() {
            let left = self.see(at, guard);
            if !left.is_removed() {
                return Some(left);
            }
            at = left.prev.load(Ordering::Acquire);
        }
        None
    }

    fn alive_right<'g>(&self, segment: &Segment, guard: &'g Guard) -> &'g Segment {
        let mut at = segment.next.load(Ordering::Acquire);
        loop {
            let right = self.see(at, guard);
            if !right.is_removed() {
                return right;
            }
            at = right.next.load(Ordering::Acquire);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut first = self.head.load(Ordering::Relaxed);
        // SAFETY: nobody else has the line. Removed segments were unlinked and retired by their removers, so what the
        // links reach is what is left, each once.
        unsafe {
            loop {
                let prev = (*first).prev.load(Ordering::Relaxed);
                if prev.is_null() {
                    break;
                }
                first = prev;
            }
            while !first.is_null() {
                let segment = Box::from_raw(first);
                debug_assert!(
                    segment.cells.iter().all(|cell| {
                        matches!(cell.load(Ordering::Relaxed), EMPTY)
                            || cell.load(Ordering::Relaxed) & 1 == 1
                    }),
                    "nobody is left in a line that ends"
                );
                first = segment.next.load(Ordering::Relaxed);
            }
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

#[cfg(all(test, admit_loom))]
#[path = "line_models.rs"]
mod models;
