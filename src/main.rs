//! The `ktor` binary. All code is in the library. Start reading at `cli::run`.

fn main() -> std::process::ExitCode {
    ktor_action::cli::run()
}
