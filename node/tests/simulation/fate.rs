//! Clock and chance of the whole process, as the simulation wants them.
//!
//! The product asks the system for the time and for random bytes, and so do tokio, openraft and the standard
//! library. None of them needs to know that it is simulated: what they ask is `clock_gettime`, `getrandom` and
//! `syscall` of libc, and this test has its own. On the simulation's thread they give virtual time and numbers of
//! the seed; on every other thread, and in every other test, they are the system's.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    /// What the wall clock of the node that runs is ahead, in milliseconds.
    static AHEAD_MS: Cell<i64> = const { Cell::new(0) };
    /// What the clock that never goes back is ahead for what runs.
    static LATER_MS: Cell<u64> = const { Cell::new(0) };
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// Lets one of two threads run: the simulation's, or the one on which a runtime reads and writes files.
///
/// tokio hands such work to a thread of its own, and whether it is done before somebody asks for it would be
/// the system's chance. So that thread works only while the runtime has nothing else to do, until nothing is
/// left for it to do; and the runtime goes on when it rests.
#[derive(Default)]
pub struct Gate {
    /// Whether somebody runs.
    taken: Mutex<bool>,
    given: Condvar,
}

thread_local! {
    /// The gate of a thread that works on files.
    static GATE: RefCell<Option<Arc<Gate>>> = const { RefCell::new(None) };
}

impl Gate {
    fn taken(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on when the other rests.
    pub fn pass(&self) {
        let taken = self.given.wait_while(self.taken(), |taken| *taken);
        *taken.unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Lets the other go on.
    pub fn leave(&self) {
        *self.taken() = false;
        self.given.notify_one();
    }

    /// A thread begins to work on files.
    pub fn enter(gate: &Arc<Gate>) {
        gate.pass();
        GATE.set(Some(Arc::clone(gate)));
    }

    /// It ends.
    pub fn exit() {
        if let Some(gate) = GATE.take() {
            gate.leave();
        }
    }
}

/// What waits for other threads, to be done while the gate of this one is open.
fn resting<T>(wait: impl FnOnce() -> T) -> T {
    // Without one for the time being: the gate's own lock comes by here.
    let gate = GATE.try_with(RefCell::take).ok().flatten();
    if let Some(gate) = &gate {
        gate.leave();
    }
    let done = wait();
    if let Some(gate) = gate {
        gate.pass();
        GATE.set(Some(gate));
    }
    done
}

/// When the simulated world begins, in milliseconds since 1970.
pub const BEGIN_MS: u64 = 1_700_000_000_000;

/// Milliseconds that the machine has been up when the world begins.
const UPTIME_MS: u64 = 1_000_000;

/// From now on this thread is simulated.
pub fn arm(seed: u64) {
    CHANCE.set(seed ^ 0x5e_ed0f_fa7e);
    NOW_MS.set(0);
    ARMED.set(true);
}

/// It is this late, in milliseconds since the begin.
pub fn now_is(now_ms: u64) {
    NOW_MS.set(now_ms);
}

/// Whose clocks are read from now on.
pub fn clocks(ahead_ms: i64, later_ms: u64) {
    AHEAD_MS.set(ahead_ms);
    LATER_MS.set(later_ms);
}

fn draw() -> u64 {
    let state = CHANCE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    CHANCE.set(state);
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// # Safety
/// `buffer` has room for `length` bytes.
unsafe fn fill(buffer: *mut c_void, length: usize) {
    let buffer: *mut u8 = buffer.cast();
    for at in 0..length {
        // SAFETY: the caller has room for so many.
        unsafe { buffer.add(at).write(draw() as u8) };
    }
}

/// The system's own function of a name.
fn real(cache: &AtomicPtr<c_void>, name: &std::ffi::CStr) -> *mut c_void {
    let known = cache.load(Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: the name ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "libc has {name:?}");
    cache.store(found, Relaxed);
    found
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut libc::timespec) -> c_int {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    if !ARMED.get() {
        type Real = unsafe extern "C" fn(c_int, *mut libc::timespec) -> c_int;
        let real = real(&REAL, c"clock_gettime");
        // SAFETY: that is its type.
        return unsafe { std::mem::transmute::<*mut c_void, Real>(real)(clock, time) };
    }
    let now_ms = NOW_MS.get();
    let ms = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            (BEGIN_MS + now_ms).saturating_add_signed(AHEAD_MS.get())
        }
        _ => UPTIME_MS + LATER_MS.get() + now_ms,
    };
    let told = libc::timespec {
        tv_sec: (ms / 1_000) as libc::time_t,
        tv_nsec: (ms % 1_000 * 1_000_000) as c_long,
    };
    // SAFETY: the caller has room for it.
    unsafe { time.write(told) };
    0
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: u32) -> isize {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    if ARMED.get() {
        // SAFETY: the caller has room for it.
        unsafe { fill(buffer, length) };
        return length as isize;
    }
    type Real = unsafe extern "C" fn(*mut c_void, usize, u32) -> isize;
    let real = real(&REAL, c"getrandom");
    // SAFETY: that is its type.
    unsafe { std::mem::transmute::<*mut c_void, Real>(real)(buffer, length, flags) }
}

/// # Safety
/// As libc's; its further arguments are words, as the system takes them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    if number == libc::SYS_getrandom && ARMED.get() {
        // SAFETY: the caller has room for it.
        unsafe { fill(a as *mut c_void, b) };
        return b as c_long;
    }
    type Real = unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;
    let real = real(&REAL, c"syscall");
    // SAFETY: words are passed on as they came.
    let call =
        || unsafe { std::mem::transmute::<*mut c_void, Real>(real)(number, a, b, c, d, e, f) };
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET];
    if number == libc::SYS_futex && waits.contains(&(b as c_int & libc::FUTEX_CMD_MASK)) {
        // What comes behind the wait may change what the wait left in `errno`.
        let (told, error) = resting(|| {
            let told = call();
            // SAFETY: it is this thread's own.
            (told, unsafe { *libc::__errno_location() })
        });
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = error };
        told
    } else {
        call()
    }
}
