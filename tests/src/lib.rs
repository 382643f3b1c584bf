//! Whole-program tests live in `tests/`; this library is empty so that the package can be one.
