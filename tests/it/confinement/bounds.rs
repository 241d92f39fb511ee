//! The bounds of a confined program: time, memory, and its life.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use ktor_action::process::confine::Limits;

use super::Probe;

#[test]
fn k3_time_and_memory_have_bounds() {
    let mut probe = Probe::new();
    probe.confinement.limits = Limits { cpu_seconds: 1, ..probe.confinement.limits };
    let start = Instant::now();
    let busy = probe.run("while True: pass");
    assert_eq!(busy.status.signal(), Some(9), "{busy:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
    let most = probe.confinement.limits.address_space;
    let greedy = probe.run(&format!("try: print(len(bytearray({most})))\nexcept MemoryError: print('refused')"));
    assert_eq!(String::from_utf8_lossy(&greedy.stdout).trim(), "refused", "{greedy:?}");
    // The limits cannot be raised again.
    let raised =
        "import resource\ntry: resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\nexcept ValueError: print('no')";
    assert_eq!(probe.says(raised), "no");
}
