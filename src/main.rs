//! The `ktor` binary. Everything is in the library; `cli::run` is where to begin.

fn main() -> std::process::ExitCode {
    ktor_action::cli::run()
}
