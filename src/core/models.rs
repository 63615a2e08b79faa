//! The core under the model checker: every interleaving of a few threads, within a bound on preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg admit_loom" cargo test --release --lib models
//! LOOM_MAX_PREEMPTIONS=3 RUSTFLAGS="--cfg admit_loom" cargo test --release --lib models     # deeper
//! ```
//!
//! `.ci/breakages` breaks the line that each model protects, and shows that the model finds it.
//!
//! In each model somebody is patient: he waits until he is served. A wake-up that is lost shows as a deadlock; in a
//! model where everybody may give up, nobody is ever stuck. Each ends with the same look: nothing held, nobody
//! counted, no place taken, the ring bit clear.

use loom::future::block_on;
use loom::thread;

use crate::config::UserLimits;
use crate::core::word::{RETIRED, RING};
use crate::{FakeClock, LimitConfig, Limiter, OverloadPolicy, Reason, Ticket, UserHandle};

/// Preemptions explored unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 2;

/// Explores a model, and frees what it retired after each run.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(PREEMPTIONS);
    }
    builder.max_branches = 20_000;
    builder.check(move || {
        model();
        crate::sync::collect();
    });
}

struct Scene {
    clock: FakeClock,
    limiter: Limiter<u64>,
}

/// Each user may hold `slots`, all together `global`.
fn scene(slots: u32, global: u32) -> Scene {
    scene_with(LimitConfig {
        max_concurrent_per_user: slots,
        max_concurrent_global: global,
        ..LimitConfig::default()
    })
}

fn scene_with(config: LimitConfig<u64>) -> Scene {
    let clock = FakeClock::new();
    let limiter = Limiter::with_clock(config, clock.clone()).expect("in range");
    Scene { clock, limiter }
}

impl Scene {
    fn user(&self, key: u64) -> UserHandle<u64> {
        self.limiter.user(&key)
    }

    /// A ticket that is only a place.
    fn place(&self, key: u64) -> Ticket<u64> {
        let ticket = self.limiter.check_limits(&key).expect("a place");
        assert!(!ticket.is_admitted());
        ticket
    }

    /// D1 and the equation of units, at rest.
    fn at_rest(&self) {
        let core = self.limiter.core();
        let gate = core.gate();
        let word = gate.word.load();
        assert_eq!((word.held(), word.units()), (0, 0), "global: {word:?}");
        assert_eq!(gate.places().fill().waiting, 0, "global places");
        assert!(gate.deadlines().is_empty(), "a deadline of nobody");
        for user in core.all() {
            let word = user.word.load();
            assert_eq!((word.held(), word.units()), (0, 0), "user: {word:?}");
            assert!(!word.has(RING), "user: {word:?}");
            assert_eq!(user.places.fill().waiting, 0, "user places");
        }
    }
}

/// Waits until served; a lost wake-up is a deadlock.
fn patient(ticket: Ticket<u64>) {
    drop(block_on(ticket).expect("a patient one is served"));
}

/// W2, L1: who arrives while the only slot is given back gets it.
#[test]
fn an_arrival_and_a_release_do_not_miss_each_other() {
    explore(|| {
        let scene = scene(1, 1);
        let ada = scene.user(1);
        let held = ada.try_acquire().expect("a slot");
        let releases = thread::spawn(move || drop(held));
        drop(block_on(ada.acquire()).expect("served"));
        releases.join().expect("no panic");
        scene.at_rest();
    });
}

/// W3: the same over the ring, between two users.
#[test]
fn an_arrival_of_another_user_and_a_release_do_not_miss_each_other() {
    explore(|| {
        let scene = scene(1, 1);
        let (ada, bob) = (scene.user(1), scene.user(2));
        let held = ada.try_acquire().expect("a slot");
        let releases = thread::spawn(move || drop(held));
        drop(block_on(bob.acquire()).expect("served"));
        releases.join().expect("no panic");
        scene.at_rest();
    });
}

/// T2: a deadline that meets the grant takes the slot back or ends the waiter; the next in line is served either way.
#[test]
fn a_timeout_that_meets_a_grant_loses_no_slot() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let impatient = scene
            .user(1)
            .request()
            .timeout(std::time::Duration::from_secs(1))
            .check_limits()
            .expect("a place");
        let waits = scene.place(1);
        let clock = scene.clock.clone();
        let releases = thread::spawn(move || drop(held));
        let times_out = thread::spawn(move || clock.advance(std::time::Duration::from_secs(1)));
        patient(waits);
        releases.join().expect("no panic");
        times_out.join().expect("no panic");
        let ended = block_on(impatient).expect_err("not collected in time");
        assert!(matches!(ended.reason(), Reason::QueueTimeout { .. }));
        scene.at_rest();
    });
}

/// D2: the head of the line gives up while the slot comes to him; the next is served.
#[test]
fn giving_up_while_being_granted_passes_the_slot_on() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let goes = scene.place(1);
        let waits = scene.place(1);
        let releases = thread::spawn(move || drop(held));
        let gives_up = thread::spawn(move || drop(goes));
        patient(waits);
        releases.join().expect("no panic");
        gives_up.join().expect("no panic");
        scene.at_rest();
    });
}

/// D2: the only waiter gives up while the slot comes to him; the slot is not left for somebody who never comes.
#[test]
fn the_only_waiter_who_gives_up_while_being_granted_leaves_the_slot_free() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let goes = scene.place(1);
        let releases = thread::spawn(move || drop(held));
        drop(goes);
        releases.join().expect("no panic");
        drop(scene.user(1).try_acquire().expect("free again"));
        scene.at_rest();
    });
}

/// W3: who releases while other users wait puts his own next behind them, and nobody is forgotten.
#[test]
fn a_release_puts_the_users_next_into_the_ring() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let (own, other) = (scene.place(1), scene.place(2));
        let releases = thread::spawn(move || drop(held));
        let waits = thread::spawn(move || patient(own));
        patient(other);
        waits.join().expect("no panic");
        releases.join().expect("no panic");
        scene.at_rest();
    });
}

/// D2, W3: the same when the next is another user, in the ring.
#[test]
fn a_user_who_gives_up_while_served_passes_the_slot_to_the_next_user() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(3).try_acquire().expect("a slot");
        let goes = scene.place(1);
        let waits = scene.place(2);
        let releases = thread::spawn(move || drop(held));
        let gives_up = thread::spawn(move || drop(goes));
        patient(waits);
        releases.join().expect("no panic");
        gives_up.join().expect("no panic");
        scene.at_rest();
    });
}

/// D2, D3: an eviction that meets the grant. The newcomer is patient: the slot, or the place and then the slot.
#[test]
fn an_eviction_that_meets_a_grant_loses_neither_slot_nor_place() {
    explore(|| {
        let scene = scene_with(LimitConfig {
            max_concurrent_per_user: 1,
            max_queue_size_per_user: 1,
            max_concurrent_global: 1,
            overload_policy: OverloadPolicy::DropOldest,
            ..LimitConfig::default()
        });
        let ada = scene.user(1);
        let held = ada.try_acquire().expect("a slot");
        let oldest = scene.place(1);
        let releases = thread::spawn(move || drop(held));
        let newcomer = thread::spawn(move || {
            // Refused only if the oldest is being granted at this instant and there is nobody to evict.
            if let Ok(ticket) = ada.check_limits() {
                drop(block_on(ticket).expect("served"));
            }
        });
        match block_on(oldest) {
            Ok(permit) => drop(permit),
            Err(error) => assert!(matches!(error.reason(), Reason::Evicted { .. })),
        }
        releases.join().expect("no panic");
        newcomer.join().expect("no panic");
        scene.at_rest();
    });
}

/// D3: of two who arrive at one place, one evicts the other, also before he is in his cell; the place is one.
#[test]
fn evicting_somebody_who_is_still_arriving_takes_over_his_place() {
    explore(|| {
        let scene = scene_with(LimitConfig {
            max_concurrent_per_user: 1,
            max_queue_size_per_user: 1,
            max_concurrent_global: 1,
            overload_policy: OverloadPolicy::DropOldest,
            ..LimitConfig::default()
        });
        let ada = scene.user(1);
        let held = ada.try_acquire().expect("a slot");
        let other = ada.clone();
        let arrives = thread::spawn(move || other.check_limits());
        let one = ada.check_limits();
        let two = arrives.join().expect("no panic");
        let waiting = scene.limiter.core().gate().places().fill().waiting;
        assert_eq!(waiting, 1, "one place, one waiter");
        drop((one, two));
        drop(held);
        scene.at_rest();
    });
}

/// D3: an owner who goes while he is evicted takes his places with him; the newcomer does not take them over as well.
#[test]
fn who_goes_while_he_is_evicted_leaves_his_place_once() {
    explore(|| {
        let scene = scene_with(LimitConfig {
            max_concurrent_per_user: 1,
            max_concurrent_global: 1,
            max_queue_size_global: 1,
            overload_policy: OverloadPolicy::DropOldest,
            ..LimitConfig::default()
        });
        let held = scene.user(3).try_acquire().expect("a slot");
        let oldest = scene.place(1);
        let bob = scene.user(2);
        let goes = thread::spawn(move || drop(oldest));
        let newcomer = bob.check_limits();
        goes.join().expect("no panic");
        let waiting = scene.limiter.core().gate().places().fill().waiting;
        assert_eq!(
            waiting,
            u32::from(newcomer.is_ok()),
            "places of those who wait"
        );
        drop(newcomer);
        drop(held);
        scene.at_rest();
    });
}

/// W1: a limit that grows wakes whom it can, whatever is released meanwhile.
#[test]
fn growing_a_limit_while_releasing_wakes_everybody_it_can() {
    explore(|| {
        let scene = scene(1, 2);
        let held = scene.user(1).try_acquire().expect("a slot");
        let (one, two) = (scene.place(1), scene.place(1));
        let limiter = scene.limiter.clone();
        let releases = thread::spawn(move || drop(held));
        let grows = thread::spawn(move || {
            limiter
                .update(|config| config.max_concurrent_per_user = 2)
                .expect("in range");
        });
        let one = block_on(one).expect("served");
        releases.join().expect("no panic");
        grows.join().expect("no panic");
        // With two slots and one of them held, the second is served without a further release.
        let two = block_on(two).expect("served");
        drop((one, two));
        scene.at_rest();
    });
}

/// W1: a global limit that shrinks and grows again while somebody arrives and somebody leaves.
#[test]
fn a_global_limit_that_moves_strands_nobody() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let waits = scene.place(2);
        let limiter = scene.limiter.clone();
        let moves = thread::spawn(move || {
            for slots in [2, 1] {
                limiter
                    .update(|config| config.max_concurrent_global = slots)
                    .expect("in range");
            }
        });
        let releases = thread::spawn(move || drop(held));
        patient(waits);
        moves.join().expect("no panic");
        releases.join().expect("no panic");
        scene.at_rest();
    });
}

/// A user whose limit becomes 0 while he arrives: refused or ended, never left waiting.
#[test]
fn blocking_a_user_while_he_arrives_leaves_nobody_waiting() {
    explore(|| {
        let scene = scene(1, 1);
        let ada = scene.user(1);
        let held = ada.try_acquire().expect("a slot");
        let limiter = scene.limiter.clone();
        let blocks = thread::spawn(move || {
            limiter
                .update(|config| {
                    config.users.insert(1, UserLimits::new(0, 1));
                })
                .expect("in range");
        });
        let outcome = block_on(ada.acquire());
        assert!(outcome.is_err(), "the slot is held throughout");
        blocks.join().expect("no panic");
        drop(held);
        scene.at_rest();
    });
}

/// M1: a user who is forgotten while he arrives is charged in one entry only.
#[test]
fn forgetting_an_idle_user_while_he_arrives_counts_him_once() {
    explore(|| forgotten_while_he_arrives(false));
}

/// M1: the same when the sweep has marked him, which takes his arrival the long way.
#[test]
fn forgetting_a_marked_user_while_he_arrives_counts_him_once() {
    explore(|| forgotten_while_he_arrives(true));
}

fn forgotten_while_he_arrives(is_marked: bool) {
    let scene = scene(1, 2);
    let ada = scene.user(1);
    if is_marked {
        scene.clock.advance(std::time::Duration::from_secs(1));
    }
    let limiter = scene.limiter.clone();
    let sweeps = thread::spawn(move || limiter.cleanup());
    let one = ada.try_acquire();
    let held = usize::from(one.is_ok());
    assert_eq!(held, 1, "nobody else is there");
    sweeps.join().expect("no panic");
    // By name and by handle it is the same user, whose only slot is taken.
    assert!(scene.limiter.try_acquire(&1).is_err());
    assert!(scene.user(1).try_acquire().is_err());
    drop(one);
    drop(scene.limiter.try_acquire(&1).expect("free again"));
    scene.at_rest();
}

/// M1: a user whose only unit is for a moment in the hand of a deadline is not forgotten while somebody waits for him.
#[test]
fn forgetting_looks_at_the_places_of_those_who_wait() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let second = std::time::Duration::from_secs(1);
        let timed = scene.user(1).request().timeout(second);
        let timed = timed.check_limits().expect("a place");
        let waits = scene.place(1);
        let (clock, limiter) = (scene.clock.clone(), scene.limiter.clone());
        let times_out = thread::spawn(move || clock.advance(second));
        let releases = thread::spawn(move || {
            drop(held);
            drop(block_on(timed));
            limiter.cleanup();
        });
        patient(waits);
        times_out.join().expect("no panic");
        releases.join().expect("no panic");
        scene.at_rest();
    });
}

/// First come, first served: a newcomer does not pass one whose unit is for a moment in the hand of a leaver.
#[test]
fn a_newcomer_passes_nobody_while_somebody_leaves() {
    explore(|| {
        let scene = scene(2, 3);
        let ada = scene.user(1);
        let held = [
            ada.try_acquire().expect("a slot"),
            ada.try_acquire().expect("a slot"),
        ];
        let (goes, waits) = (scene.place(1), scene.place(1));
        let releases = thread::spawn(move || drop(held));
        let gives_up = thread::spawn(move || drop(goes));
        releases.join().expect("no panic");
        let newcomer = ada.try_acquire();
        if newcomer.is_ok() {
            // Who came before has been served: he knows, or is about to be told, and has no place any more.
            let waiting = |user: &crate::core::user::User<u64>| user.places.fill().waiting;
            let users = scene.limiter.core().all();
            assert!(
                waits.is_admitted() || waiting(&users[0]) == 0,
                "the newcomer came later"
            );
        }
        gives_up.join().expect("no panic");
        drop(newcomer);
        patient(waits);
        scene.at_rest();
    });
}

/// U2, G1: a permit of before a reset is inert, and a waiter is told, whatever the order.
#[test]
fn a_reset_that_meets_a_release_counts_nothing_twice() {
    explore(|| {
        let scene = scene(1, 1);
        let ada = scene.user(1);
        let held = ada.try_acquire().expect("a slot");
        let waits = scene.place(1);
        let limiter = scene.limiter.clone();
        let resets = thread::spawn(move || limiter.reset());
        let releases = thread::spawn(move || drop(held));
        match block_on(waits) {
            // Granted before the reset came to it.
            Ok(permit) => drop(permit),
            Err(error) => assert_eq!(error.reason(), Reason::Reset),
        }
        resets.join().expect("no panic");
        releases.join().expect("no panic");
        let gate = scene.limiter.core().gate();
        assert!(!gate.word.load().has(RETIRED));
        let new = ada.try_acquire().expect("a new slot");
        assert!(ada.try_acquire().is_err(), "one slot, not two");
        drop(new);
        scene.at_rest();
    });
}

/// A close that meets an arrival: refused or ended, never left waiting.
#[test]
fn a_close_that_meets_an_arrival_leaves_nobody_waiting() {
    explore(|| {
        let scene = scene(1, 1);
        let ada = scene.user(1);
        let held = ada.try_acquire().expect("a slot");
        let limiter = scene.limiter.clone();
        let closes = thread::spawn(move || limiter.close());
        let error = block_on(ada.acquire()).expect_err("the slot is held throughout");
        assert_eq!(error.reason(), Reason::Closed);
        closes.join().expect("no panic");
        drop(held);
        scene.at_rest();
    });
}

/// A close that meets the last release: who waits for the drain learns of its end, and a waiter is served or told.
#[test]
fn a_close_that_meets_the_last_release_ends_the_drain() {
    explore(|| {
        let scene = scene(1, 1);
        let held = scene.user(1).try_acquire().expect("a slot");
        let limiter = scene.limiter.clone();
        let closes = thread::spawn(move || limiter.close());
        let releases = thread::spawn(move || drop(held));
        block_on(scene.limiter.drained());
        closes.join().expect("no panic");
        releases.join().expect("no panic");
        scene.at_rest();
    });
}
