//! The binary: chooses the allocator and hands over to the command line.

mod allocator;

fn main() -> std::process::ExitCode {
    engine::cli::main(allocator::give_back)
}
