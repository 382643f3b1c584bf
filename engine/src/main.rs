//! The binary: chooses the allocator and hands over to the command line.

/// Returns memory to the system soon after bursts and is faster than the system's on small, short-lived allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    engine::cli::main()
}
