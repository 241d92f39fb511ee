//! The system calls that a confined program cannot make. They fail with "operation not permitted".
//!
//! A list of what is forbidden, not of what is allowed: a new version of an engine or of its language may use other
//! harmless calls. Files are not its business: Landlock confines them.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use serde::{Deserialize, Serialize};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

// The calls that `libc` lacks for some C library. The first has one number everywhere.
const FCHMODAT2: c_long = 452;
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: c_long = 320;
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;
#[cfg(target_arch = "x86_64")]
const SETRLIMIT: c_long = 160;
#[cfg(target_arch = "aarch64")]
const SETRLIMIT: c_long = 164;

/// The number of `RLIMIT_NOFILE`, whose type differs between C libraries.
const OPEN_FILES: u64 = 7;

/// The processes that a program can create.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Processes {
    /// The program can create threads, but no process.
    One,
    /// The program can create processes.
    Several,
}

/// The calls that fail whatever their arguments are.
const DENIED: &[c_long] = &[
    // Sockets, and the other ways to reach a server.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes: their memory, files, signals, priorities and messages.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Programs that are no file: Landlock lets every process execute them.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_execveat,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The rights and the times of files, which Landlock does not confine.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // Keys, and parts of the kernel that no engine needs.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// The old forms of these calls, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[c_long] = &[];

/// The calls that create a process and nothing else.
#[cfg(target_arch = "x86_64")]
const FORKS: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[c_long] = &[];

/// The bit that selects the second set of numbers for the same calls, if the architecture has one.
#[cfg(target_arch = "x86_64")]
const OTHER_NUMBERS: Option<c_long> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_NUMBERS: Option<c_long> = None;

/// The kinds of namespaces that a new process can be created in.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// The reason why calls cannot be denied.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotDenied(String);

/// Denies the calls to this thread, and to every thread and program that it starts.
pub(super) fn deny(processes: Processes) -> Result<(), NotDenied> {
    let not_denied = |error: &dyn std::fmt::Display| NotDenied(error.to_string());
    // The arguments of `clone3` are in memory, where no filter can look. Without it, every program uses `clone`.
    let unknown = filter([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS).map_err(|e| not_denied(&e))?;
    let denied = filter(denied(processes).map_err(|e| not_denied(&e))?, libc::EPERM).map_err(|e| not_denied(&e))?;
    for program in [unknown, denied] {
        apply_filter(&program).map_err(|e| not_denied(&e))?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Returns the rules. A call without rules is always denied, a call with rules if one of them is met.
fn denied(processes: Processes) -> Result<Rules, seccompiler::BackendError> {
    let bits = |bits: i32, value: i32| {
        let bits = u64::from(bits.cast_unsigned());
        one(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), u64::from(value.cast_unsigned()))
    };
    let mut rules: Rules = DENIED.iter().chain(DENIED_HERE).map(|call| (*call, Vec::new())).collect();
    let mut created = NAMESPACES.iter().map(|kind| bits(*kind, *kind)).collect::<Result<Vec<_>, _>>()?;
    if processes == Processes::One {
        rules.extend(FORKS.iter().map(|call| (*call, Vec::new())));
        created.push(bits(libc::CLONE_THREAD, 0)?);
        // A program sends signals to its own threads. `exec` keeps the number of a process.
        let me = u64::from(rustix::process::getpid().as_raw_nonzero().get().cast_unsigned());
        rules.insert(libc::SYS_tgkill, vec![one(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, me)?]);
    }
    rules.insert(libc::SYS_clone, created);
    // A program asks for its own limits (0 stands for it), and changes only the number of its open files, as Go does.
    // The system's administrator could lift the others.
    let of_other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    let is_not_files =
        |argument| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, OPEN_FILES);
    let is_change = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    let changed = SeccompRule::new(vec![is_not_files(1)?, is_change])?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![of_other])?, changed]);
    rules.insert(SETRLIMIT, vec![SeccompRule::new(vec![is_not_files(0)?])?]);
    Ok(rules)
}

fn one(
    argument: u8,
    length: SeccompCmpArgLen,
    is: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, is, value)?])
}

/// Returns a filter that answers these calls with an error.
fn filter(mut rules: Rules, error: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    if let Some(bit) = OTHER_NUMBERS {
        rules.extend(rules.clone().into_iter().map(|(call, rules)| (call | bit, rules)));
    }
    let error = SeccompAction::Errno(error.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, error, ARCHITECTURE)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Runs a test on a thread that can be confined without the others.
    fn on_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(test).join().unwrap()
    }

    #[test]
    fn k3_a_thread_that_is_denied_sockets_and_processes_gets_neither() {
        for processes in [Processes::One, Processes::Several] {
            let (socket, pair, program, thread) = on_a_thread(move || {
                deny(processes).unwrap();
                (
                    TcpListener::bind("127.0.0.1:0").map(drop).map_err(|error| error.kind()),
                    UnixStream::pair().map(drop).map_err(|error| error.kind()),
                    Command::new("/bin/true").status().map(|status| status.success()).map_err(|error| error.kind()),
                    thread::spawn(|| 7).join().ok(),
                )
            });
            assert_eq!(socket, Err(ErrorKind::PermissionDenied));
            assert_eq!(thread, Some(7), "a thread is no process");
            assert_eq!(pair, Err(ErrorKind::PermissionDenied));
            let expected = match processes {
                Processes::One => Err(ErrorKind::PermissionDenied),
                Processes::Several => Ok(true),
            };
            assert_eq!(program, expected, "{processes:?}");
        }
        assert!(TcpListener::bind("127.0.0.1:0").is_ok(), "no other thread is denied anything");
    }
}
