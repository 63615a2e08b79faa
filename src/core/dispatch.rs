//! Hand-over: who gets a slot that is free now, and how somebody leaves a line.
//!
//! Every operation that frees a slot, makes somebody ready or takes somebody out ends in one loop, [`Work::run`], over
//! what the operation still owes: a place in the ring for one user, and global slots in hand. Each turn of the loop is
//! a few steps on one word, so a thread that is stopped anywhere holds up nobody else's next step.
//!
//! Invariants, beside those of the words and the line:
//! - **D1** nothing in hand is dropped: `run` ends with no user owed and no slot in hand.
//! - **D2** a unit is taken before its cell, by those who serve and by those who leave. Taking the cell first and 'its'
//!   unit later would take a unit that a server had already spent on that cell: somebody else's.
//! - **D3** places are free before their waiter can learn that he is out.
//! - **D4** wakers run last, with nothing in hand, nothing pinned and nothing locked.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use super::gate::{Gate, GateRef};
use super::line::{Occupant, Position, Served};
use super::totals::Tally;
use super::user::User;
use super::waiter::{Outcome, State, Told, Waiter};
use super::word::{CLOSED, DEAD, RETIRED, RING, Word};
use crate::UserKey;
use crate::sync::{Guard, Ordering, fence, pin};

/// What one operation still owes.
pub(crate) struct Work<K: UserKey> {
    gate: GateRef<K>,
    guard: Guard,
    /// A user whose ring bit is ours to honour.
    owed: Option<Arc<User<K>>>,
    /// More of them, when one operation makes many users ready; they are honoured in turn.
    owed_too: VecDeque<Arc<User<K>>>,
    /// Global slots in hand.
    slots: u32,
    wakes: Wakes,
    /// The waker of one who left by himself; dropped last, since that is other people's code too.
    unneeded: Option<Waker>,
    now: Option<u64>,
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// Somebody was told, or will find it.
    Used,
    /// The waiter it came to had gone or timed out after his cell was claimed.
    Lapsed,
    /// It paid for somebody who had left by himself, with his places.
    Unpaid,
}

/// Places that do not become free because somebody else takes them over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inherit {
    pub(crate) user: bool,
    pub(crate) global: bool,
}

impl Inherit {
    pub(crate) const NOTHING: Self = Self {
        user: false,
        global: false,
    };
}

/// Gives back a slot of both levels.
///
/// # Safety
/// The caller owns a slot of `user`, taken at both levels, and spends it here.
#[inline]
pub(crate) unsafe fn release<K: UserKey>(user: NonNull<User<K>>) {
    // SAFETY: the slot keeps the entry (U1, U2).
    let entry = unsafe { user.as_ref() };
    let gate = entry.gate.as_ptr();
    if entry.put_plain() {
        // The entry may be gone from here on; the gate is kept by the global slot (G1).
        // SAFETY: as said.
        if !unsafe { gate.as_ref() }.put_plain() {
            // SAFETY: the global slot is still in hand.
            unsafe { release_global(gate) };
        }
    } else {
        // SAFETY: the slot is still the caller's, and spent there.
        unsafe { release_to_others(user) };
    }
}

/// [`release`] when something is unusual: kept apart, so that the usual case sets up nothing for it.
///
/// # Safety
/// As for [`release`].
#[cold]
#[inline(never)]
unsafe fn release_to_others<K: UserKey>(user: NonNull<User<K>>) {
    // SAFETY: the slot keeps the entry, so its count is not zero.
    let user = unsafe {
        Arc::increment_strong_count(user.as_ptr());
        Arc::from_raw(user.as_ptr().cast_const())
    };
    let mut work = Work::new(user.gate.clone());
    work.release(&user);
    drop(user);
    work.run();
}

/// # Safety
/// The caller owns a slot of `gate` and spends it here.
#[cold]
#[inline(never)]
unsafe fn release_global<K: UserKey>(gate: NonNull<Gate<K>>) {
    // SAFETY: the caller's slot.
    match unsafe { GateRef::from_slot(gate) } {
        Some(gate) => {
            let mut work = Work::new(gate);
            work.slots = 1;
            work.run();
        }
        // SAFETY: the caller's slot, spent here; no reference is left.
        None => unsafe { GateRef::put_abandoned(gate) },
    }
}

impl<K: UserKey> Work<K> {
    pub(crate) fn new(gate: GateRef<K>) -> Self {
        Self {
            gate,
            guard: pin(),
            owed: None,
            owed_too: VecDeque::new(),
            slots: 0,
            wakes: Wakes::default(),
            unneeded: None,
            now: None,
        }
    }

    pub(crate) fn gate(&self) -> &Gate<K> {
        &self.gate
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The time of this operation; the clock is read once, when first asked.
    pub(crate) fn now(&mut self) -> u64 {
        *self
            .now
            .get_or_insert_with(|| self.gate.shared().clock.now())
    }

    /// Honours all that is owed, then wakes. Only for a caller who has nothing in hand and nothing locked: a waker is
    /// somebody else's code, and may panic or call the limiter.
    pub(crate) fn run(self) {
        let mut wakes = Wakes::default();
        self.finish(&mut wakes);
        wakes.wake();
    }

    /// Honours all that is owed, and leaves the waking to the caller.
    pub(crate) fn finish(mut self, wakes: &mut Wakes) {
        self.settle();
        wakes.append(&mut self.wakes);
    }

    /// Honours all that is owed.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(user) = self.next_owed() {
                self.enter(user);
            } else if self.slots > 0 {
                self.slots -= 1;
                self.pass_on();
            } else {
                break;
            }
        }
    }

    fn next_owed(&mut self) -> Option<Arc<User<K>>> {
        match self.owed.take() {
            Some(user) if self.owed_too.is_empty() => Some(user),
            user => {
                self.owed_too.extend(user);
                self.owed_too.pop_front()
            }
        }
    }

    /// Owes `user` a place in the ring, if the step that returned `moved` set his bit.
    pub(crate) fn owe(&mut self, user: &Arc<User<K>>, moved: (Word, Word)) {
        if moved.1.has(RING) && !moved.0.has(RING) {
            debug_assert!(self.owed.is_none(), "one user at a time");
            self.owed = Some(user.clone());
        }
    }

    /// Gives back a slot of both levels: straight to the user's next if nobody else has a claim, else the user's first
    /// and the global one through the ring.
    pub(crate) fn release(&mut self, user: &Arc<User<K>>) {
        let global = self.gate.word.load();
        if global.units() == 0 && global.held() <= global.limit() {
            let fused = user.word.update(|word| {
                (word.units() > 0
                    && word.held() <= word.limit()
                    && !word.has(RING)
                    && !word.has(DEAD))
                .then(|| word.less_units())
            });
            if fused.is_ok() && self.spend(user, Outcome::GRANTED, Inherit::NOTHING) == Spent::Used
            {
                return;
            }
        }
        self.put_user(user);
        self.slots += 1;
    }

    /// Gives back a slot of the user's level.
    pub(crate) fn put_user(&mut self, user: &Arc<User<K>>) {
        if let Ok(moved) = user.step(|word| Some(with_duty(word.less_held()))) {
            self.owe(user, moved);
        }
    }

    /// A place in the ring for a user whose bit is ours: a slot at once, or a cell.
    fn enter(&mut self, user: Arc<User<K>>) {
        let (old, new) = self.gate.word.apply(|word| {
            if word.units() == 0 && word.held() < word.limit() {
                word.more_held()
            } else {
                word.more_units()
            }
        });
        if new.held() > old.held() {
            self.gate.note_held(new);
            self.serve(user);
            return;
        }
        // Counted: now a cell. The ring has a count of its own.
        let counted = Arc::into_raw(user.clone());
        let enrolled = self.gate.ring().enrol(
            Occupant::of(counted),
            |position| user.ring().set(position),
            &self.guard,
        );
        match enrolled {
            Ok(_) => {
                // Ordering: SeqCst pairs with the fence of `leave_ring`: a user who stopped being ready before he was
                // in his cell is seen here, or the one who made him so finds the cell.
                fence(Ordering::SeqCst);
                if !user.word.load().is_ready() {
                    self.leave_ring(&user);
                }
            }
            Err((_granted, position)) => {
                user.ring().set(Position::NONE);
                self.gate.ring().settle(position, &self.guard);
                // SAFETY: the cell did not take the count.
                drop(unsafe { Arc::from_raw(counted) });
                self.serve(user);
            }
        }
    }

    /// A global slot in hand: to the next in the ring, or back.
    fn pass_on(&mut self) {
        let (old, new) = self.gate.word.apply(|word| {
            if word.units() > 0 && word.held() <= word.limit() {
                word.less_units()
            } else {
                word.less_held()
            }
        });
        if new.units() < old.units() {
            self.serve_next();
        } else if new.held() == 0 && new.has(CLOSED) {
            let wakes = &mut self.wakes;
            self.gate.shared().drained(|waker| wakes.push(waker));
        }
    }

    /// A global slot and a unit of the ring in hand: the next user gets the slot.
    fn serve_next(&mut self) {
        match self
            .gate
            .ring()
            .next(Outcome::GRANTED.message(), &self.guard)
        {
            Served::Waiter(occupant, position) => {
                // SAFETY: the count that `enter` put into the cell, taken out with it.
                let user = unsafe { Arc::from_raw(occupant.pointer::<User<K>>()) };
                // Before the cell is settled: who reads a position reads one that is good.
                user.ring().set(Position::NONE);
                self.gate.ring().settle(position, &self.guard);
                self.serve(user);
            }
            Served::Left => {}
            // Nobody leaves the ring without a unit; were it so, the slot would go on.
            Served::Unpaid => self.slots += 1,
        }
    }

    /// A global slot for `user`, whose ring bit is ours.
    fn serve(&mut self, user: Arc<User<K>>) {
        let served = user.step(|word| {
            Some(if word.is_ready() {
                let next = word.more_held().less_units();
                if next.is_ready() {
                    next
                } else {
                    next.without(RING)
                }
            } else {
                word.without(RING)
            })
        });
        let Ok((old, new)) = served else { return };
        if new.held() == old.held() {
            self.slots += 1;
            return;
        }
        let spent = self.spend(&user, Outcome::GRANTED, Inherit::NOTHING);
        if spent != Spent::Used {
            self.put_user(&user);
            self.slots += 1;
        }
        if new.has(RING) {
            debug_assert!(self.owed.is_none());
            self.owed = Some(user);
        }
    }

    /// A unit of `user` in hand: the first in his line is told `outcome`.
    pub(crate) fn spend(
        &mut self,
        user: &Arc<User<K>>,
        outcome: Outcome,
        inherit: Inherit,
    ) -> Spent {
        match user.line().next(outcome.message(), &self.guard) {
            Served::Left => Spent::Used,
            Served::Unpaid => Spent::Unpaid,
            Served::Waiter(occupant, position) => {
                let pointer = occupant.pointer::<Waiter<K>>();
                // SAFETY: the count that was put into the cell, now ours; given back below.
                let waiter = unsafe { &*pointer };
                let told = self.tell(waiter, occupant, outcome, inherit);
                // After telling: who finds the waiter pending may still look at its cell.
                user.line().settle(position, &self.guard);
                // SAFETY: that count; `withdraw` and `scan` may still look at the waiter under an older guard.
                unsafe { self.guard.retire_arc(pointer) };
                told
            }
        }
    }

    /// Tells a waiter whose cell is claimed, its places first (D3).
    fn tell(
        &mut self,
        waiter: &Waiter<K>,
        occupant: Occupant,
        outcome: Outcome,
        inherit: Inherit,
    ) -> Spent {
        let has_places = waiter.take_places();
        if has_places {
            if !inherit.user {
                waiter.user.places.give();
            }
            if !inherit.global {
                self.gate.places().give();
            }
        }
        self.leave_arrivals(waiter, occupant);
        let now = if outcome.is_granted() { self.now() } else { 0 };
        match waiter.tell(outcome, now) {
            Told::Yes(waker) => {
                if outcome == Outcome::ABANDONED {
                    // Nobody has to be woken who left by himself.
                    self.unneeded = waker;
                } else {
                    self.wakes.extend(waker);
                }
                if !outcome.is_granted() {
                    self.forget_deadline(waiter);
                    if outcome != Outcome::ABANDONED {
                        self.count_end(waiter, outcome);
                    }
                }
                Spent::Used
            }
            Told::TimedOut(waker) => {
                self.wakes.extend(waker);
                self.gate.shared().tallies.count(Tally::TimedOut);
                Spent::Lapsed
            }
            // Its places went with its owner: nothing was taken over.
            Told::Gone if !has_places => Spent::Unpaid,
            Told::Gone => Spent::Lapsed,
        }
    }

    pub(crate) fn leave_arrivals(&self, waiter: &Waiter<K>, occupant: Occupant) {
        if let Some(position) = waiter.arrival.get() {
            let left = self
                .gate
                .arrivals()
                .withdraw(position, occupant, true, &self.guard);
            debug_assert!(left, "only the one who claimed a waiter takes it out");
            self.gate.arrivals().leave(position, true, &self.guard);
        }
    }

    fn count_end(&self, waiter: &Waiter<K>, outcome: Outcome) {
        let reason = outcome.reason(waiter.timeout());
        self.gate.shared().tallies.count(Tally::of(reason));
    }

    pub(crate) fn forget_deadline(&self, waiter: &Waiter<K>) {
        // Ordering: SeqCst pairs with the fence after the deadline was entered: it is found here, or its owner sees
        // that the waiter has been told.
        fence(Ordering::SeqCst);
        self.gate
            .deadlines()
            .remove((waiter.deadline, waiter.number));
    }

    /// Takes a waiter out of the middle: the unit first, the cell second (D2). What became of it, with its places;
    /// none if it was claimed meanwhile.
    pub(crate) fn withdraw(
        &mut self,
        waiter: &Arc<Waiter<K>>,
        outcome: Outcome,
        inherit: Inherit,
    ) -> Option<Spent> {
        // The guard is older than this look, so the cell's segment stays even if the waiter is told right after.
        if waiter.state() != State::Pending {
            return None;
        }
        let position = waiter.cell.get()?;
        let user = &waiter.user;
        let paid = user.word.take_unit();
        if !user
            .line()
            .withdraw(position, waiter.occupant(), paid, &self.guard)
        {
            if paid {
                self.return_unit(user);
            }
            return None;
        }
        let told = self.tell(waiter, waiter.occupant(), outcome, inherit);
        user.line().leave(position, paid, &self.guard);
        // SAFETY: the count of the cell, which is ours with the cell.
        unsafe { self.guard.retire_arc(Arc::as_ptr(waiter)) };
        self.leave_if_unready(user);
        Some(told)
    }

    /// A unit that was not used after all goes back, as if just counted.
    fn return_unit(&mut self, user: &Arc<User<K>>) {
        let moved = user.word.apply(|word| with_duty(word.more_units()));
        self.owe(user, moved);
        if moved.1.limit() == 0 || moved.1.has(DEAD) {
            self.close_line(user, self.end_of(user));
        }
        self.settle();
    }

    /// Why nobody may wait in the line of a user with no slots.
    pub(crate) fn end_of(&self, user: &User<K>) -> Outcome {
        let global = self.gate.word.load();
        if global.has(RETIRED) {
            Outcome::RESET
        } else if global.has(CLOSED) {
            Outcome::CLOSED
        } else {
            let word = user.word.load();
            Outcome::user_limit(word.held(), 0)
        }
    }

    /// Ends all who wait for `user`, if nobody may: all units in one step, then as many cells.
    pub(crate) fn close_line(&mut self, user: &Arc<User<K>>, outcome: Outcome) {
        // The step looks at the limit too: who came after it was raised again stays.
        let taken = user
            .word
            .update(|word| (word.limit() == 0 || word.has(DEAD)).then(|| word.without_units()));
        if let Ok((old, _)) = taken {
            for _ in 0..old.units() {
                self.spend(user, outcome, Inherit::NOTHING);
            }
        }
        self.leave_if_unready(user);
    }

    pub(crate) fn leave_if_unready(&mut self, user: &Arc<User<K>>) {
        let word = user.word.load();
        if word.has(RING) && !word.is_ready() {
            // Ordering: SeqCst pairs with the fence of `enter`.
            fence(Ordering::SeqCst);
            self.leave_ring(user);
            self.settle();
        }
    }

    /// A user who is not ready any more leaves the ring: the unit first, then the cell, then the word.
    fn leave_ring(&mut self, user: &Arc<User<K>>) {
        if !self.gate.word.take_unit() {
            // All units of the ring are in somebody's hand: he will be popped.
            return;
        }
        let left = user.ring().get().is_some_and(|position| {
            let left = self
                .gate
                .ring()
                .withdraw(position, user.occupant(), true, &self.guard);
            if left {
                user.ring().set(Position::NONE);
                self.gate.ring().leave(position, true, &self.guard);
                // SAFETY: the count of the cell, which is ours with the cell; `user` keeps its own.
                unsafe { Arc::decrement_strong_count(Arc::as_ptr(user)) };
            }
            left
        });
        if left {
            let kept = user
                .word
                .update(|word| (!word.is_ready()).then(|| word.without(RING)));
            if kept.is_err() {
                // Ready again, and his bit is still ours.
                debug_assert!(self.owed.is_none());
                self.owed = Some(user.clone());
            }
        } else {
            // The unit goes back as if just counted: to the next, if there is a slot for him.
            let (old, new) = self.gate.word.apply(|word| {
                if word.held() < word.limit() {
                    word.more_held()
                } else {
                    word.more_units()
                }
            });
            if new.held() > old.held() {
                self.gate.note_held(new);
                self.serve_next();
            }
        }
    }

    /// A new limit at the global level.
    pub(crate) fn set_global_limit(&mut self, limit: u32) {
        self.gate.word.apply(|word| word.with_limit(limit));
        while let Ok((_, new)) = self.gate.word.update(|word| {
            (word.units() > 0 && word.held() < word.limit()).then(|| word.less_units().more_held())
        }) {
            self.gate.note_held(new);
            self.serve_next();
            self.settle();
        }
    }

    /// A new limit for one user that is no higher than the old one.
    pub(crate) fn shrink_user(&mut self, user: &Arc<User<K>>, limit: u32) {
        user.word.apply(|word| word.with_limit(limit));
        if limit == 0 {
            self.close_line(user, self.end_of(user));
        }
        self.leave_if_unready(user);
    }

    /// A new limit for one user that is higher. Those who become ready by it are served when all have been told, each
    /// in turn.
    pub(crate) fn grow_user(&mut self, user: &Arc<User<K>>, limit: u32) {
        let (old, new) = user.word.apply(|word| with_duty(word.with_limit(limit)));
        if new.has(RING) && !old.has(RING) {
            self.owed_too.push_back(user.clone());
        }
    }

    /// The deadline of a waiter has passed.
    pub(crate) fn expire(&mut self, waiter: &Arc<Waiter<K>>) {
        loop {
            match waiter.state() {
                State::Pending => {
                    if self
                        .withdraw(waiter, Outcome::TIMED_OUT, Inherit::NOTHING)
                        .is_some()
                        || waiter.expire()
                    {
                        return;
                    }
                }
                State::Granted => {
                    if waiter.take_back() {
                        self.gate.shared().tallies.count(Tally::TimedOut);
                        self.release(&waiter.user);
                        self.settle();
                        return;
                    }
                }
                State::Ended(_) => return,
            }
        }
    }

    /// The owner of a waiter goes before the end.
    pub(crate) fn abandon(&mut self, waiter: &Arc<Waiter<K>>) {
        loop {
            match waiter.state() {
                State::Pending => {
                    if self
                        .withdraw(waiter, Outcome::ABANDONED, Inherit::NOTHING)
                        .is_some()
                    {
                        break;
                    }
                    if let Some(waker) = waiter.abandon() {
                        self.unneeded = waker;
                        // D3 for the owner himself: when the drop returns, his places are free.
                        if waiter.take_places() {
                            waiter.user.places.give();
                            self.gate.places().give();
                        }
                        self.forget_deadline(waiter);
                        break;
                    }
                }
                State::Granted => {
                    if waiter.collect() {
                        self.forget_deadline(waiter);
                        self.release(&waiter.user);
                        self.settle();
                        break;
                    }
                }
                State::Ended(_) => return,
            }
        }
        self.gate.shared().tallies.count(Tally::Abandoned);
    }

    /// The owner of a granted waiter has collected its slot.
    pub(crate) fn collected(waiter: &Waiter<K>) {
        let gate = &waiter.user.gate;
        gate.deadlines().remove((waiter.deadline, waiter.number));
        gate.shared().tallies.count(Tally::Admitted);
    }

    /// How many of his user are before a waiter.
    pub(crate) fn position(waiter: &Waiter<K>) -> Option<usize> {
        let guard = pin();
        // The guard is older than this look, so the cell is still there.
        if waiter.state() != State::Pending {
            return None;
        }
        let position = waiter.cell.get()?;
        Some(waiter.user.line().ahead(position, &guard))
    }

    /// Ends everything whose deadline has passed; called before anybody is refused, and by the timer.
    pub(crate) fn expire_due(&mut self, now: u64) -> bool {
        let mut any = false;
        while let Some((key, waiter)) = self.gate.deadlines().first() {
            if key.0 > now {
                break;
            }
            if self.gate.deadlines().remove(key) {
                self.expire(&waiter);
                any = true;
            }
        }
        any
    }
}

impl<K: UserKey> Drop for Work<K> {
    /// D1 also when somebody else's code has panicked on the way.
    fn drop(&mut self) {
        self.settle();
    }
}

/// A step that may make a user ready takes the duty to put him into the ring with it (W3).
pub(crate) fn with_duty(word: Word) -> Word {
    if word.is_ready() {
        word.with(RING)
    } else {
        word
    }
}

/// Wakers to be called when nothing is held any more. One fits without an allocation.
///
/// Those that nobody has called are called when it is dropped: a panic on the way must not leave anybody asleep.
#[derive(Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.more.push(waker);
        }
    }

    fn extend(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(waker);
        }
    }

    fn append(&mut self, other: &mut Self) {
        self.extend(other.first.take());
        self.more.append(&mut other.more);
    }

    /// Wakes all.
    ///
    /// # Panics
    /// If a waker does, after the others have been called; not if a panic is under way already.
    pub(crate) fn wake(self) {
        drop(self);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        let mut panic = None;
        for waker in self.first.take().into_iter().chain(self.more.drain(..)) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panic.get_or_insert(payload);
            }
        }
        if let Some(payload) = panic {
            if !std::thread::panicking() {
                resume_unwind(payload);
            }
        }
    }
}
