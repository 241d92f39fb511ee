//! The `ktor` binary. All code is in the library. Start reading at `cli::run`.

/// The allocator of the binary. The one of musl takes a fifth of the time of a plan.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ktor_action::cli::run()
}
