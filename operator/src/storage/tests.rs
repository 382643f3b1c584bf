//! How large volumes have to be.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

proptest! {
    /// A claim that is made for buffers has room for them, and is not a unit larger than it has to be.
    #[test]
    fn claims_have_room(buffers in 0_u64..1 << 50) {
        let claim = claim_of(buffers);
        prop_assert!(usable(claim) >= buffers);
        prop_assert!(claim.is_multiple_of(1 << 30));
        prop_assert!(claim == 1 << 30 || usable(claim - (1 << 30)) < buffers);
    }
}

/// A volume that is smaller than what an engine keeps besides has no room, rather than an odd amount of it.
#[test]
fn tiny_volumes_have_no_room() {
    assert_eq!(usable(0), 0);
    assert_eq!(usable(64 << 20), 0);
    assert!(usable(128 << 20) > LEAST_DISK_SIZE);
}
