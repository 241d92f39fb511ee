//! Starts the control plane of the tests manually, for demonstrations, benchmarks and experiments.
//!
//! `cargo run --example controlplane` prints `KUBECONFIG=…` and `KUBECTL=…` once the control plane is ready. It runs
//! until its standard input ends or it receives SIGTERM or SIGINT. In a script:
//!
//! ```bash
//! coproc PLANE { cargo run --quiet --example controlplane; }
//! read -r kubeconfig <&"${PLANE[0]}" && export "${kubeconfig?}"
//! read -r kubectl <&"${PLANE[0]}" && export "${kubectl?}"
//! ```

use std::{
    io::{self, Write},
    process::ExitCode,
};

use support::controlplane::{ControlPlane, User, sentence};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let plane = match ControlPlane::start() {
        Ok(plane) => plane,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", sentence(&error));
            return ExitCode::FAILURE;
        }
    };
    match stay(&plane) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "failed to wait for the end: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn stay(plane: &ControlPlane) -> io::Result<()> {
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    writeln!(io::stdout(), "KUBECONFIG={}", plane.kubeconfig(User::Admin).display())?;
    writeln!(io::stdout(), "KUBECTL={}", plane.kubectl_path().display())?;
    // The read has its own thread, because a read of standard input cannot be canceled. The process does not wait for
    // this thread when it ends.
    let (ended, input_ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || ended.send(io::copy(&mut io::stdin(), &mut io::sink())));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = input_ended => {}
    }
    Ok(())
}
