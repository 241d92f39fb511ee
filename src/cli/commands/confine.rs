//! `ktor confine`: confines this process and replaces it with an engine. Users do not call it.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::args::ConfineArgs;
use crate::conclusion::exit::Exit;
use crate::process::confine::PREFIX;

/// Replaces this process with a confined program. Returns only if that fails.
pub(crate) fn run(args: &ConfineArgs) -> ExitCode {
    let [program, arguments @ ..] = &args.program[..] else { return Exit::Usage.into() };
    let error = args.confinement.replace(Path::new(program), arguments);
    // Nobody else can hear it if this fails.
    drop(writeln!(std::io::stderr(), "{PREFIX}{error}"));
    ExitCode::from(error.exit_code())
}
