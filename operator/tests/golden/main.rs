//! Plans as text: what stands in `cases/NAME.yaml` gives `cases/NAME.golden`, byte for byte. Each case is named after what it
//! shows. `UPDATE_GOLDENS=1` writes them anew; a change of them is a change of what runs for users.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cases;
mod durable;
mod health;
mod limits;
mod order;
mod pods;
mod rights;
mod samples;
