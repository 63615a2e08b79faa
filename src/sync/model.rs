//! The primitives as the model checker explores them. Containers are ideal: each call is one step under loom's lock.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as Plain, Ordering as PlainOrdering};

use loom::sync::Mutex;

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
};

loom::lazy_static! {
    /// Steps of the reclamation clock: retiring comes before every pin that counts later, as the fences of an epoch
    /// make it.
    static ref CLOCK: AtomicU64 = AtomicU64::new(1);
}

/// A pin. What is retired is kept until the end of the run; a pin proves instead that it reaches nothing that was
/// retired before it.
#[derive(Debug)]
pub(crate) struct Guard {
    since: u64,
}

pub(crate) fn pin() -> Guard {
    // Ordering: Acquire pairs with the Release of `RetiredAt::set`, and with nothing else: pins do not order pins.
    Guard {
        since: CLOCK.fetch_add(1, Ordering::Acquire),
    }
}

/// What has been retired in this run, freed at its end. loom runs all threads of a model on one thread of the system.
type Retired = std::cell::RefCell<Vec<Box<dyn FnOnce()>>>;

thread_local! {
    static RETIRED: Retired = const { Retired::new(Vec::new()) };
}

/// Frees what this run has retired; called when all its threads have ended.
#[cfg(test)]
pub(crate) fn collect() {
    loop {
        let retired = RETIRED.take();
        if retired.is_empty() {
            return;
        }
        for free in retired {
            free();
        }
    }
}

fn retire(free: impl FnOnce() + 'static) {
    RETIRED.with_borrow_mut(|retired| retired.push(Box::new(free)));
}

impl Guard {
    /// # Safety
    /// As in production.
    pub(crate) unsafe fn retire_box<T: Send + 'static>(&self, boxed: *mut T) {
        // SAFETY: the caller's promise.
        retire(move || drop(unsafe { Box::from_raw(boxed) }));
    }

    /// # Safety
    /// As in production.
    pub(crate) unsafe fn retire_arc<T: Send + Sync + 'static>(&self, count: *const T) {
        // SAFETY: the caller's promise.
        retire(move || drop(unsafe { Arc::from_raw(count) }));
    }

    pub(crate) fn check(&self, retired_at: &RetiredAt) {
        let at = retired_at.0.load(PlainOrdering::Relaxed);
        assert!(
            at == 0 || self.since < at,
            "L4: a pin reached what had been retired before it"
        );
    }
}

#[derive(Debug)]
pub(crate) struct RetiredAt(Plain);

impl RetiredAt {
    pub(crate) const fn new() -> Self {
        Self(Plain::new(0))
    }

    pub(crate) fn set(&self) {
        // Ordering: Release pairs with the Acquire of `pin`.
        let at = CLOCK.fetch_add(1, Ordering::Release);
        self.0.store(at, PlainOrdering::Relaxed);
    }
}

pub(crate) trait Keyed: Send + Sync {
    type Key: Hash + Eq;
    fn key(&self) -> &Self::Key;
}

/// The users by name: a list, looked through under one lock.
pub(crate) struct Map<E: Keyed>(Mutex<Vec<Arc<E>>>);

impl<E: Keyed> Map<E> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, Vec<Arc<E>>> {
        self.0.lock().expect("no model panics under the lock")
    }

    pub(crate) fn find<Q, R>(&self, key: &Q, f: impl FnOnce(&Arc<E>) -> R) -> Option<R>
    where
        E::Key: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.lock()
            .iter()
            .find(|entry| entry.key().borrow() == key)
            .map(f)
    }

    pub(crate) fn insert(&self, entry: &Arc<E>, valid: impl FnOnce() -> bool) -> Inserted<E> {
        let mut all = self.lock();
        if let Some(found) = all.iter().find(|found| found.key() == entry.key()) {
            return Inserted::Found(found.clone());
        }
        if valid() {
            all.push(entry.clone());
            Inserted::New
        } else {
            Inserted::Outdated
        }
    }

    pub(crate) fn remove(&self, entry: &Arc<E>, dies: impl FnOnce() -> bool) -> bool {
        let mut all = self.lock();
        let Some(at) = all.iter().position(|found| Arc::ptr_eq(found, entry)) else {
            return false;
        };
        if !dies() {
            return false;
        }
        let gone = all.swap_remove(at);
        drop(all);
        drop(gone);
        true
    }

    pub(crate) fn all(&self) -> Vec<Arc<E>> {
        self.lock().clone()
    }
}

pub(crate) enum Inserted<E> {
    New,
    Found(Arc<E>),
    Outdated,
}

pub(crate) struct Ordered<K, V>(Mutex<BTreeMap<K, V>>);

impl<K: Ord + Copy, V: Clone> Ordered<K, V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, BTreeMap<K, V>> {
        self.0.lock().expect("no model panics under the lock")
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.lock().insert(key, value);
    }

    pub(crate) fn remove(&self, key: K) -> bool {
        let gone = self.lock().remove(&key);
        gone.is_some()
    }

    pub(crate) fn first(&self) -> Option<(K, V)> {
        self.lock()
            .first_key_value()
            .map(|(key, value)| (*key, value.clone()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

pub(crate) struct Queue<T>(Mutex<VecDeque<T>>);

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, VecDeque<T>> {
        self.0.lock().expect("no model panics under the lock")
    }

    pub(crate) fn push(&self, value: T) {
        self.lock().push_back(value);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.lock().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

pub(crate) struct Swap<T>(Mutex<Arc<T>>);

impl<T> Swap<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Mutex::new(value))
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, Arc<T>> {
        self.0.lock().expect("no model panics under the lock")
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.lock().clone()
    }

    pub(crate) fn peek<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.get())
    }

    pub(crate) fn set(&self, value: Arc<T>) -> Arc<T> {
        std::mem::replace(&mut *self.lock(), value)
    }

    pub(crate) fn replace(&self, old: &Arc<T>, new: Arc<T>) -> bool {
        let mut current = self.lock();
        if !Arc::ptr_eq(&current, old) {
            return false;
        }
        let old = std::mem::replace(&mut *current, new);
        drop(current);
        drop(old);
        true
    }

    pub(crate) fn is(&self, value: &Arc<T>) -> bool {
        Arc::ptr_eq(&self.lock(), value)
    }
}
