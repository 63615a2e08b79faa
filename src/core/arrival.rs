//! A request arrives: a slot, a place, or a refusal.
//!
//! The order of the steps: slot of the user, slot of all; else a place at the user, a place of all; then it is counted
//! in the user's word, and only then takes its cell. Whatever was taken before a step fails is given back at once.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::deadline;
use super::dispatch::{Inherit, Spent, Wakes, Work, with_duty};
use super::gate::{Gate, GateRef};
use super::line::{Occupant, Position};
use super::totals::Tally;
use super::user::User;
use super::waiter::{Outcome, State, Waiter};
use super::word::{CLOSED, DEAD, Fill, MARK, RETIRED, Word};
use crate::UserKey;
use crate::error::{Level, OverloadError, Reason};
use crate::policy::OverloadPolicy;
use crate::sync::{Ordering, fence};

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// A slot now or nothing.
    Now,
    /// A slot or a place; the time it may wait, if not the configured one.
    Queue(Option<Duration>),
}

/// What it gets.
#[derive(Debug)]
pub(crate) enum Admission<K: UserKey> {
    /// A slot of both levels, owned by whoever has this.
    Slot(NonNull<User<K>>, Duration),
    Waiting(Arc<Waiter<K>>),
}

/// Why it gets nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The entry was forgotten or reset: to be looked up afresh.
    Stale,
    Because(Reason),
}

/// Why there is no slot at the moment.
enum NoSlot {
    User(Word),
    Global(Word),
}

impl NoSlot {
    fn reason(&self) -> Reason {
        match self {
            Self::User(word) => Reason::UserLimit {
                count: word.held(),
                limit: word.limit(),
            },
            Self::Global(word) => Reason::GlobalLimit {
                count: word.held(),
                limit: word.limit(),
            },
        }
    }
}

/// A slot of both levels, in the common case: nothing waits, nothing is unusual, and the caller's look at the entry is
/// all that keeps it.
#[inline]
pub(crate) fn take_plain<K: UserKey>(user: &User<K>) -> Option<NonNull<User<K>>> {
    // Looked at first, so that nobody who cannot run holds a slot of his user, not even for a moment.
    if user.gate.word.load().is_open() && user.take_plain() {
        Some(NonNull::from(user))
    } else {
        None
    }
}

/// The second half of [`take_plain`]: the global slot. On failure the user's slot is still the caller's.
///
/// # Safety
/// The caller owns a slot of `user` at the user's level.
#[inline]
pub(crate) unsafe fn take_global<K: UserKey>(user: NonNull<User<K>>) -> bool {
    // SAFETY: the slot keeps the entry (U1), and the entry keeps the gate.
    let gate: &Gate<K> = unsafe { &user.as_ref().gate };
    if gate.take().is_err() {
        return false;
    }
    gate.shared().tallies.count(Tally::Admitted);
    true
}

/// Both halves for somebody who has the entry at hand.
#[inline]
pub(crate) fn take_at_once<K: UserKey>(user: &Arc<User<K>>) -> Option<NonNull<User<K>>> {
    let slot = take_plain(user)?;
    // SAFETY: the slot just taken.
    if unsafe { take_global(slot) } {
        return Some(slot);
    }
    untake(user);
    None
}

/// The answer to somebody who asks for a slot now, if it is plainly no.
#[cold]
pub(crate) fn refuse_at_once<K: UserKey>(user: &User<K>) -> Option<OverloadError> {
    let reason = match look(user) {
        Ok(None) | Err(Refused::Stale) => return None,
        Ok(Some(no_slot)) => no_slot.reason(),
        Err(Refused::Because(reason)) => reason,
    };
    user.gate.shared().tallies.count(Tally::of(reason));
    Some(refusal(user, reason))
}

pub(crate) fn refusal<K: UserKey>(user: &User<K>, reason: Reason) -> OverloadError {
    OverloadError::new(reason, Duration::from_nanos(user.gate.retry_after()))
}

/// Gives back a slot that was taken at the user's level only.
#[cold]
pub(crate) fn untake<K: UserKey>(user: &Arc<User<K>>) {
    let mut work = Work::new(user.gate.clone());
    work.put_user(user);
    work.run();
}

/// The whole of an arrival. What it hands out is bare, so the waking of others is left to the caller, who first makes
/// sure that a panic of theirs does not lose it.
pub(crate) fn arrive<K: UserKey>(
    user: &Arc<User<K>>,
    ask: Ask,
    wakes: &mut Wakes,
) -> Result<Admission<K>, Refused> {
    let gate = &user.gate;
    let no_slot = match take_both(user) {
        Ok(Ok(())) => return Ok(admitted(user, Duration::ZERO)),
        Ok(Err(no_slot)) => no_slot,
        Err(Refused::Stale) => return Err(Refused::Stale),
        Err(Refused::Because(reason)) => return Err(refuse(gate, reason)),
    };
    match ask {
        Ask::Now => Err(refuse(gate, no_slot.reason())),
        Ask::Queue(timeout) => queue(user, timeout, wakes),
    }
}

fn admitted<K: UserKey>(user: &Arc<User<K>>, waited: Duration) -> Admission<K> {
    user.gate.shared().tallies.count(Tally::Admitted);
    Admission::Slot(NonNull::from(&**user), waited)
}

fn refuse<K: UserKey>(gate: &GateRef<K>, reason: Reason) -> Refused {
    gate.shared().tallies.count(Tally::of(reason));
    Refused::Because(reason)
}

/// Why the words bar this arrival altogether, if they do.
fn barred<K: UserKey>(gate: &GateRef<K>, user: Word) -> Option<Refused> {
    let global = gate.word.load();
    if global.has(RETIRED) || user.has(DEAD) {
        Some(Refused::Stale)
    } else if global.has(CLOSED) {
        Some(Refused::Because(Reason::Closed))
    } else if user.limit() == 0 {
        Some(Refused::Because(NoSlot::User(user).reason()))
    } else {
        None
    }
}

/// Whether a slot of both levels is to be had at this moment.
fn look<K: UserKey>(user: &User<K>) -> Result<Option<NoSlot>, Refused> {
    let word = user.word.load();
    if let Some(refused) = barred(&user.gate, word) {
        return Err(refused);
    }
    if !user.is_open(word, 0) {
        return Ok(Some(NoSlot::User(word)));
    }
    let global = user.gate.word.load();
    Ok((!global.is_open()).then_some(NoSlot::Global(global)))
}

fn take_both<K: UserKey>(user: &Arc<User<K>>) -> Result<Result<(), NoSlot>, Refused> {
    loop {
        if let Some(no_slot) = look(user)? {
            return Ok(Err(no_slot));
        }
        let taken = user.step(|word| {
            user.is_open(word, 0)
                .then(|| word.without(MARK).more_held())
        });
        if taken.is_err() {
            continue;
        }
        match user.gate.take() {
            Ok(()) => return Ok(Ok(())),
            Err(_) => untake(user),
        }
    }
}

/// No slot: a place at both levels, or a refusal.
fn queue<K: UserKey>(
    user: &Arc<User<K>>,
    timeout: Option<Duration>,
    wakes: &mut Wakes,
) -> Result<Admission<K>, Refused> {
    let gate = &user.gate;
    let (policy, timeout) = gate.shared().config.peek(|config| {
        (
            config.overload_policy,
            timeout.unwrap_or(config.queue_timeout),
        )
    });
    let mut work = Work::new(gate.clone());
    let now = work.now();
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    if let Err(reason) = take_places(&mut work, user, policy, now) {
        work.finish(wakes);
        return Err(refuse(gate, reason));
    }
    let waiter = Arc::new(Waiter::new(
        user.clone(),
        now,
        now.saturating_add(timeout),
        gate.next_number(),
    ));
    match count(&mut work, user) {
        Counted::Unit => {}
        Counted::Slot => {
            give_places(user);
            work.finish(wakes);
            return Ok(admitted(user, Duration::ZERO));
        }
        Counted::Not(word) => {
            give_places(user);
            work.finish(wakes);
            // Who is barred no more was barred a moment ago: he tries again from the start.
            return Err(match barred(gate, word) {
                Some(Refused::Because(reason)) => refuse(gate, reason),
                Some(Refused::Stale) | None => Refused::Stale,
            });
        }
    }
    gate.shared().tallies.count(Tally::Queued);
    let left_for_us = enrol(&mut work, &waiter);
    work.settle();
    if let Some(outcome) = left_for_us {
        let waited = Duration::from_nanos(gate.shared().clock.now().saturating_sub(now));
        work.finish(wakes);
        return if outcome.is_granted() {
            Ok(admitted(user, waited))
        } else {
            Err(refuse(gate, outcome.reason(waiter.timeout())))
        };
    }
    let admission = match waiter.state() {
        State::Granted if waiter.collect() => Ok(admitted(user, waiter.waited())),
        // Counted by whoever ended it.
        State::Ended(outcome) => Err(Refused::Because(outcome.reason(waiter.timeout()))),
        _ => {
            watch(&mut work, &waiter);
            Ok(Admission::Waiting(waiter))
        }
    };
    work.finish(wakes);
    admission
}

/// How the step into the word went.
enum Counted {
    Unit,
    /// A slot of both levels after all.
    Slot,
    Not(Word),
}

/// A newcomer who is to be counted has a place himself.
const OWN_PLACE: u32 = 1;

/// Counts a waiter in his user's word, or takes the slot that became free meanwhile.
fn count<K: UserKey>(work: &mut Work<K>, user: &Arc<User<K>>) -> Counted {
    let is_barred = |word: Word| word.has(DEAD) || word.limit() == 0;
    let global_is_open = work.gate().word.load().is_open();
    let counted = user.step(|word| {
        if is_barred(word) {
            None
        } else if global_is_open && user.is_open(word, OWN_PLACE) {
            Some(word.without(MARK).more_held())
        } else {
            Some(with_duty(word.without(MARK).more_units()))
        }
    });
    let moved = match counted {
        Ok(moved) => moved,
        Err(word) => return Counted::Not(word),
    };
    if moved.1.held() == moved.0.held() {
        work.owe(user, moved);
        return Counted::Unit;
    }
    let Err(global) = work.gate().take() else {
        return Counted::Slot;
    };
    // A slot of the user and none of all: one step turns it into a unit.
    let turned = if global.has(RETIRED) || global.has(CLOSED) {
        Err(moved.1)
    } else {
        user.step(|word| (!is_barred(word)).then(|| with_duty(word.less_held().more_units())))
    };
    match turned {
        Ok(moved) => {
            work.owe(user, moved);
            Counted::Unit
        }
        Err(word) => {
            work.put_user(user);
            Counted::Not(word)
        }
    }
}

/// A counted waiter takes its cell; returns what a server left there for it.
fn enrol<K: UserKey>(work: &mut Work<K>, waiter: &Arc<Waiter<K>>) -> Option<Outcome> {
    let user = &waiter.user;
    // The cell of the user's line has a strong count; the line of arrivals shares it.
    let counted = Arc::into_raw(waiter.clone());
    let occupant = Occupant::of(counted);
    let arrival = work.gate().arrivals().enrol(
        occupant,
        |position| waiter.arrival.set(position),
        work.guard(),
    );
    debug_assert!(arrival.is_ok(), "nobody is served in the order of arrival");
    let enrolled = user
        .line()
        .enrol(occupant, |position| waiter.cell.set(position), work.guard());
    let (message, position) = enrolled.err()?;
    let outcome = Outcome::from_message(message);
    waiter.cell.set(Position::NONE);
    work.leave_arrivals(waiter, occupant);
    user.line().settle(position, work.guard());
    if !outcome.is_eviction() {
        give_places(user);
    }
    // SAFETY: the cell did not take the count; a scan of the arrivals may still look at the waiter.
    unsafe { work.guard().retire_arc(counted) };
    Some(outcome)
}

fn give_places<K: UserKey>(user: &User<K>) {
    user.places.give();
    user.gate.places().give();
}

/// From now on the deadline of `waiter` holds, whether or not anybody polls.
fn watch<K: UserKey>(work: &mut Work<K>, waiter: &Arc<Waiter<K>>) {
    if waiter.deadline <= waiter.arrived {
        // It may not wait at all.
        work.expire(waiter);
        return;
    }
    let gate = work.gate();
    gate.deadlines()
        .insert((waiter.deadline, waiter.number), waiter.clone());
    // Ordering: SeqCst pairs with the fence of `forget_deadline`.
    fence(Ordering::SeqCst);
    if matches!(waiter.state(), State::Ended(_)) {
        gate.deadlines().remove((waiter.deadline, waiter.number));
    } else if gate.shared().clock.has_passed(waiter.deadline) {
        // Moved past it before it was entered.
        let now = waiter.deadline;
        work.expire_due(now);
    } else {
        deadline::watch(&waiter.user.gate, waiter.deadline);
    }
}

/// A place at both levels: taken, or taken over from somebody evicted.
fn take_places<K: UserKey>(
    work: &mut Work<K>,
    user: &Arc<User<K>>,
    policy: OverloadPolicy,
    now: u64,
) -> Result<(), Reason> {
    let blocks = policy == OverloadPolicy::Block;
    let evicts = |fill: Fill| policy == OverloadPolicy::DropOldest && fill.bound > 0;
    let mut looked_at_deadlines = false;
    loop {
        let fill = match user.places.take(blocks) {
            Ok(_) => break,
            Err(fill) => fill,
        };
        if !looked_at_deadlines {
            looked_at_deadlines = true;
            work.expire_due(now);
            continue;
        }
        let evicted = if evicts(fill) {
            evict_own(work, user, Level::User, fill)
        } else {
            Evicted::Nobody
        };
        match evicted {
            Evicted::One => return Ok(()),
            Evicted::Retry => {}
            Evicted::Nobody => {
                return Err(Reason::UserQueueFull {
                    count: fill.waiting,
                    limit: fill.bound,
                });
            }
        }
    }
    let mut passed_over = 0;
    loop {
        let fill = match user.gate.places().take(blocks) {
            Ok(fill) => {
                user.gate.note_waiting(fill.queued());
                return Ok(());
            }
            Err(fill) => fill,
        };
        if !looked_at_deadlines {
            looked_at_deadlines = true;
            work.expire_due(now);
            continue;
        }
        let evicted = if evicts(fill) {
            match evict_own(work, user, Level::Global, fill) {
                Evicted::One => {
                    // The victim's place at the user came with it: one too many.
                    user.places.give();
                    Evicted::One
                }
                Evicted::Nobody => evict_oldest(work, fill, &mut passed_over),
                Evicted::Retry => Evicted::Retry,
            }
        } else {
            Evicted::Nobody
        };
        match evicted {
            Evicted::One => return Ok(()),
            Evicted::Retry => {}
            Evicted::Nobody => {
                user.places.give();
                work.leave_if_unready(user);
                return Err(Reason::GlobalQueueFull {
                    count: fill.waiting,
                    limit: fill.bound,
                });
            }
        }
    }
}

enum Evicted {
    /// Its places are the newcomer's.
    One,
    /// The victim had ended by itself, and its places are free.
    Retry,
    Nobody,
}

/// The first in the user's own line goes; both its places are taken over.
fn evict_own<K: UserKey>(
    work: &mut Work<K>,
    user: &Arc<User<K>>,
    level: Level,
    fill: Fill,
) -> Evicted {
    if !user.word.take_unit() {
        return Evicted::Nobody;
    }
    let inherit = Inherit {
        user: true,
        global: true,
    };
    match work.spend(user, Outcome::evicted(level, fill), inherit) {
        Spent::Used | Spent::Lapsed => Evicted::One,
        Spent::Unpaid => Evicted::Retry,
    }
}

/// The oldest of all goes; its place at the global level is taken over. Those who are being told something else at
/// this moment are passed over, so that nobody waits for them here.
fn evict_oldest<K: UserKey>(work: &mut Work<K>, fill: Fill, passed_over: &mut usize) -> Evicted {
    let mut skip = *passed_over;
    let mut victim = None;
    work.gate().arrivals().scan(
        |occupant, _| {
            let pointer = occupant.pointer::<Waiter<K>>();
            // SAFETY: the count behind this cell is retired after the cell was left, and the guard is older than this
            // look at it.
            let waiter = unsafe { &*pointer };
            if waiter.state() != State::Pending || waiter.cell.get().is_none() {
                return false;
            }
            if skip > 0 {
                skip -= 1;
                return false;
            }
            // SAFETY: as above: the count is not zero.
            victim = Some(unsafe {
                Arc::increment_strong_count(pointer);
                Arc::from_raw(pointer)
            });
            true
        },
        work.guard(),
    );
    let Some(victim) = victim else {
        return Evicted::Nobody;
    };
    let inherit = Inherit {
        user: false,
        global: true,
    };
    match work.withdraw(&victim, Outcome::evicted(Level::Global, fill), inherit) {
        Some(Spent::Used | Spent::Lapsed) => Evicted::One,
        // It went by itself, and took its places with it.
        Some(Spent::Unpaid) => Evicted::Retry,
        None => {
            *passed_over += 1;
            Evicted::Retry
        }
    }
}
