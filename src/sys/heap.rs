//! The heap: what is freed is overwritten first.
//!
//! Invariant: no byte that this program's code had on the heap is left there when its memory is
//! given back, also where a library made a copy: of a header, of a read buffer, of a string that
//! grew. What has a type of its own is overwritten by that as well; this is for what has none.

#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};

use nix::libc;

/// The system's allocator, which leaves nothing behind.
#[derive(Debug)]
struct Wiping;

#[global_allocator]
static HEAP: Wiping = Wiping;

// SAFETY: every call is passed on to the system's allocator with what it gave and was given;
// memory is written to only where it is owned by whoever gives it back. `realloc` is the trait's:
// it moves, and gives the old place back.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: `memory` has the size of `layout`, and nobody uses it any
        // more. This write is one that a compiler may not leave out: bzero(3).
        unsafe {
            libc::explicit_bzero(memory.cast(), layout.size());
            System.dealloc(memory, layout);
        }
    }
}

#[cfg(test)]
mod tests {
    /// Reads memory that was given back, through a pointer that the allocator still maps: a chunk
    /// of this size stays in the heap.
    #[test]
    fn what_is_freed_or_moved_is_overwritten() {
        for grow in [false, true] {
            // One behind it keeps the first from growing in its place.
            let (mut value, behind) = (vec![0xa5_u8; 4096], vec![0_u8; 64]);
            let at = value.as_ptr();
            if grow {
                value.reserve_exact(8192);
                assert!(value.as_ptr() != at && value.iter().all(|byte| *byte == 0xa5));
            } else {
                drop(value);
            }
            // SAFETY: nothing: the memory isn't ours any more. It is mapped all the same, by the
            // allocator that it was given back to, and no reference to it is made.
            let left = (64..4096).filter(|i| unsafe { at.add(*i).read_volatile() } == 0xa5);
            assert_eq!(left.count(), 0, "{grow}");
            drop(behind);
        }
    }
}
