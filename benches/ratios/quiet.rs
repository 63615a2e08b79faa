//! Whether a thread had its core to itself.

use std::time::Duration;

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps the calling thread on one core, the `number`th of those it may use.
#[cfg(target_os = "linux")]
pub(crate) fn pin_to(number: usize) {
    // SAFETY: a `cpu_set_t` is a bit set, for which all zeroes is the empty one; both calls are given its size and only
    // read or write within it; 0 names the calling thread.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed) != 0 {
            return;
        }
        let nth = (0..libc::CPU_SETSIZE as usize)
            .filter(|&core| libc::CPU_ISSET(core, &allowed))
            .nth(number);
        if let Some(core) = nth {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut one);
            libc::sched_setaffinity(0, size_of_val(&one), &one);
        }
    }
}

/// The time the calling thread has spent on a core.
#[cfg(target_os = "linux")]
pub(crate) fn busy() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one `timespec`, which is there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Ticks that a hypervisor gave to others, over all cores.
#[cfg(target_os = "linux")]
pub(crate) fn stolen() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal
    let first = stat.lines().next().unwrap_or_default();
    let steal = first.split_whitespace().nth(8);
    steal.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

// Elsewhere nothing is thrown away: the medians have to do alone.

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_to(_number: usize) {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn busy() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stolen() -> u64 {
    0
}
