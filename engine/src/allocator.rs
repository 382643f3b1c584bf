//! The allocator of the binary, and the one thing about it that Rust's interface has no word for.
#![allow(unsafe_code, reason = "the allocator's own functions are foreign ones")]

/// Returns memory to the system soon after bursts and is faster than the system's on small, short-lived allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives what is free back to the system at once. By itself the allocator keeps it for a second, to use it again.
pub(crate) fn give_back() {
    // SAFETY: may be called by any thread at any time; it takes and returns nothing.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
