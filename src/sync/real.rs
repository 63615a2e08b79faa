//! The primitives as they run in production.

use std::borrow::Borrow;
use std::hash::{Hash, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam::epoch;
use dashmap::DashMap;

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
};

/// `std::cell::UnsafeCell` with loom's calling convention.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Exclusive access; that it is exclusive is the caller's claim.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// A pinned epoch: what was reachable when it was taken stays allocated while it lives.
#[derive(Debug)]
pub(crate) struct Guard(epoch::Guard);

/// Pins this thread's epoch.
pub(crate) fn pin() -> Guard {
    Guard(epoch::pin())
}

/// Carries a raw pointer into a deferred function.
struct Carry<T: ?Sized>(*const T);
// SAFETY: a carried pointer is only ever turned back into the owner it was made from, once, by `Guard`'s deferred
// functions; the types behind it are checked to be `Send` by the bounds of those functions.
unsafe impl<T: ?Sized> Send for Carry<T> {}

impl Guard {
    /// Frees `boxed` once every thread pinned now has let go.
    ///
    /// # Safety
    /// `boxed` came from `Box::into_raw`, is retired once, and cannot be reached any more by a thread that pins later.
    pub(crate) unsafe fn retire_box<T: Send + 'static>(&self, boxed: *mut T) {
        let carried = Carry(boxed.cast_const());
        // SAFETY: the caller's promise is exactly what `defer_unchecked` asks for; the closure owns the box.
        unsafe {
            self.0.defer_unchecked(move || {
                let carried = carried;
                drop(Box::from_raw(carried.0.cast_mut()));
            });
        }
    }

    /// Gives back one strong count of an `Arc` once every thread pinned now has let go.
    ///
    /// # Safety
    /// `count` came from `Arc::into_raw` and that count is given back only here.
    pub(crate) unsafe fn retire_arc<T: Send + Sync + 'static>(&self, count: *const T) {
        let carried = Carry(count);
        // SAFETY: as above; the closure owns one strong count.
        unsafe {
            self.0.defer_unchecked(move || {
                let carried = carried;
                let owned = Arc::from_raw(carried.0);
                // The last count ends a user's key, which is other people's code: a panic of theirs, heard of by the
                // panic hook, must not come out of whoever happens to collect here.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(owned)));
            });
        }
    }

    /// Asserts, in the model only, that something retired at `retired_at` may still be looked at.
    #[inline]
    pub(crate) fn check(&self, _retired_at: &RetiredAt) {}
}

/// When a segment was retired; carries nothing outside the model.
#[derive(Debug)]
pub(crate) struct RetiredAt;

impl RetiredAt {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline]
    pub(crate) fn set(&self) {}
}

/// Borrowed look-up key: lets a map of entries be searched by a part of the entry.
#[derive(PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Lookup<Q: ?Sized>(Q);

impl<Q: ?Sized> Lookup<Q> {
    pub(crate) fn of(key: &Q) -> &Self {
        // SAFETY: `Lookup` is a transparent wrapper, so both references have the same layout, metadata and lifetime.
        unsafe { &*(std::ptr::from_ref(key) as *const Self) }
    }
}

/// An entry of a [`Map`]: knows its own key.
pub(crate) trait Keyed: Send + Sync {
    type Key: Hash + Eq;
    fn key(&self) -> &Self::Key;
}

/// A slot of the map: a shared entry, hashed and compared by its key.
struct Slot<E>(Arc<E>);

impl<E: Keyed> Hash for Slot<E> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}
impl<E: Keyed> PartialEq for Slot<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}
impl<E: Keyed> Eq for Slot<E> {}
impl<E: Keyed, Q: ?Sized> Borrow<Lookup<Q>> for Slot<E>
where
    E::Key: Borrow<Q>,
{
    fn borrow(&self) -> &Lookup<Q> {
        Lookup::of(self.0.key().borrow())
    }
}

/// The users by name. Sharded; keyed at random, since names come from strangers.
pub(crate) struct Map<E: Keyed>(DashMap<Slot<E>, (), RandomState>);

/// More shards than cores: a scan holds one shard for a small part of the users only.
const SHARDS: usize = 128;

impl<E: Keyed> Map<E> {
    pub(crate) fn new() -> Self {
        Self(DashMap::with_capacity_and_hasher_and_shard_amount(
            0,
            RandomState::new(),
            SHARDS,
        ))
    }

    /// Runs `f` on the entry of `key` while its shard is locked for reading.
    #[inline]
    pub(crate) fn find<Q, R>(&self, key: &Q, f: impl FnOnce(&Arc<E>) -> R) -> Option<R>
    where
        E::Key: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(Lookup::of(key)).map(|found| f(&found.key().0))
    }

    /// Puts `entry` in if its key is free and `valid` still holds; both are looked at under the shard's lock.
    pub(crate) fn insert(&self, entry: &Arc<E>, valid: impl FnOnce() -> bool) -> Inserted<E> {
        use dashmap::mapref::entry::Entry;
        match self.0.entry(Slot(entry.clone())) {
            Entry::Occupied(found) => Inserted::Found(found.key().0.clone()),
            Entry::Vacant(free) if valid() => {
                free.insert(());
                Inserted::New
            }
            Entry::Vacant(_) => Inserted::Outdated,
        }
    }

    /// Takes `entry` itself out if `dies` agrees, asked under the shard's lock; says whether it did.
    pub(crate) fn remove(&self, entry: &Arc<E>, dies: impl FnOnce() -> bool) -> bool {
        let taken = self
            .0
            .remove_if(Lookup::<E::Key>::of(entry.key()), |found, ()| {
                Arc::ptr_eq(&found.0, entry) && dies()
            });
        // The entry is dropped here, after the shard was unlocked.
        taken.is_some()
    }

    /// All entries, one shard locked for reading at a time.
    pub(crate) fn all(&self) -> Vec<Arc<E>> {
        let mut all = Vec::with_capacity(self.0.len());
        all.extend(self.0.iter().map(|found| found.key().0.clone()));
        all
    }
}

/// What became of an insertion.
pub(crate) enum Inserted<E> {
    New,
    Found(Arc<E>),
    Outdated,
}

/// A map in key order.
pub(crate) struct Ordered<K: Ord + Send + 'static, V: Clone + Send + 'static>(
    crossbeam_skiplist::SkipMap<K, V>,
);

impl<K: Ord + Copy + Send + 'static, V: Clone + Send + 'static> Ordered<K, V> {
    pub(crate) fn new() -> Self {
        Self(crossbeam_skiplist::SkipMap::new())
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    /// True for the one caller who took the key out.
    pub(crate) fn remove(&self, key: K) -> bool {
        self.0.remove(&key).is_some()
    }

    pub(crate) fn first(&self) -> Option<(K, V)> {
        self.0
            .front()
            .map(|entry| (*entry.key(), entry.value().clone()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A queue for any number of producers and consumers.
pub(crate) struct Queue<T>(crossbeam::queue::SegQueue<T>);

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self(crossbeam::queue::SegQueue::new())
    }

    pub(crate) fn push(&self, value: T) {
        self.0.push(value);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.pop()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A shared value that is replaced whole.
pub(crate) struct Swap<T>(arc_swap::ArcSwap<T>);

impl<T> Swap<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Reads without taking a count; for a short look.
    pub(crate) fn peek<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.0.load())
    }

    /// Returns what was there.
    pub(crate) fn set(&self, value: Arc<T>) -> Arc<T> {
        self.0.swap(value)
    }

    /// Replaces `old` by `new` if `old` is still there.
    pub(crate) fn replace(&self, old: &Arc<T>, new: Arc<T>) -> bool {
        let previous = self.0.compare_and_swap(old, new);
        Arc::ptr_eq(&previous, old)
    }

    pub(crate) fn is(&self, value: &Arc<T>) -> bool {
        std::ptr::eq(&raw const **self.0.load(), Arc::as_ptr(value))
    }
}
