//! The manager in a real cluster, as users have it: installed from `config/`, and told what to do with `kubectl` alone.
//!
//! Each scenario begins where nothing but the manager runs, judges by what backends got and by what the conditions say, and
//! takes away what it has made.

mod broken;
mod clients;
mod durable;
mod installed;
mod lifecycle;
mod restarts;
mod rotation;
mod scenario;
mod selections;
mod signals;
