//! How many bytes the current thread holds: what it has allocated and not given back. For tests of code that runs on one
//! thread; others' threads don't disturb them.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Bytes held now, and the most since it was last asked.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(bytes: isize) {
    // A thread that ends may allocate still, and is counted no more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now + bytes;
        held.set((now, most.max(now)));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator, whose guarantees hold for it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `run` held at once, beyond what was held before it.
pub(crate) fn most_held<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    let value = run();
    let most = HELD.with(|held| held.get().1);
    (value, usize::try_from(most - before).unwrap_or(0))
}

/// The bytes that the thread holds now.
pub(crate) fn held() -> isize {
    HELD.with(|held| held.get().0)
}

#[test]
fn what_a_thread_holds_is_counted_at_its_peak() {
    let ((), most) = most_held(|| drop(vec![0_u8; 3_000_000]));
    assert!((3_000_000..3_100_000).contains(&most), "{most}");
    let (kept, most) = most_held(|| vec![0_u8; 1_000]);
    assert!((1_000..10_000).contains(&most), "{most}");
    drop(kept);
}
