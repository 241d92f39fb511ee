//! The confinement of engines: real programs, started by the built `ktor`, try to leave it.

mod bounds;
mod stale;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ktor_action::process::confine::{Confinement, FileRule, Limits, NOT_CONFINED, NOT_STARTED, PREFIX, Processes};
use tempfile::TempDir;

/// Probes are Python programs, because Python can make any system call. They need its files besides their inputs.
struct Probe {
    inputs: TempDir,
    confinement: Confinement,
}

impl Probe {
    fn new() -> Self {
        let inputs = tempfile::tempdir().unwrap();
        let system = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"].map(PathBuf::from);
        let system: Vec<PathBuf> = system.into_iter().filter(|path| path.exists()).collect();
        let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1"];
        let loader = loader.map(PathBuf::from).into_iter().filter(|path| path.exists());
        let confinement = Confinement {
            read: system.into_iter().chain([inputs.path().to_owned()]).collect(),
            execute: [python()].into_iter().chain(loader).collect(),
            write: Vec::new(),
            files: FileRule::Confined,
            processes: Processes::One,
            limits: Limits { cpu_seconds: 20, address_space: 1 << 30, file_size: 1 << 20 },
        };
        Self { inputs, confinement }
    }

    /// Runs a script and returns what it printed. `attempt(f)` prints the name of the error that `f` ends with.
    fn says(&self, script: &str) -> String {
        let output = self.run(script);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {out}{err}", output.status);
        out.trim().to_owned()
    }

    fn run(&self, script: &str) -> Output {
        let script = format!(
            "import ctypes, errno, os, signal, socket, sys\n\
             call = ctypes.CDLL(None, use_errno=True).syscall\n\
             def raw(*arguments):\n    \
                 if call(*arguments) < 0: raise OSError(ctypes.get_errno(), 'refused')\n\
             def attempt(f):\n    \
                 try: print('done', f())\n    \
                 except OSError as e: print(errno.errorcode[e.errno])\n\
             {script}"
        );
        launch(&self.confinement, python().as_os_str(), &["-I".as_ref(), "-S".as_ref(), "-c".as_ref(), script.as_ref()])
    }
}

/// Returns the file of the system's Python, without links.
fn python() -> PathBuf {
    Path::new("/usr/bin/python3").canonicalize().expect("the probes need /usr/bin/python3")
}

/// Starts a program with the built `ktor`, as the adapter for engines does.
fn launch(confinement: &Confinement, program: &OsStr, arguments: &[&OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ktor"))
        .arg("confine")
        .arg(serde_json::to_string(confinement).unwrap())
        .arg("--")
        .arg(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn k3_a_confined_program_reads_its_inputs_and_no_other_file() {
    let probe = Probe::new();
    let inputs = probe.inputs.path().display().to_string();
    std::fs::write(probe.inputs.path().join("a"), "input").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", probe.inputs.path().join("link")).unwrap();
    let read = |path: &str| probe.says(&format!("attempt(lambda: open('{path}').read())"));
    assert_eq!(read(&format!("{inputs}/a")), "done input");
    let secret = tempfile::NamedTempFile::new().unwrap();
    let secret = secret.path().display().to_string();
    for path in ["/etc/passwd", &format!("{inputs}/link"), &format!("{inputs}/../../etc/passwd"), &secret] {
        assert_eq!(read(path), "EACCES", "{path}");
    }
    for path in ["/proc/self/environ", "/proc/1/cmdline", "/dev/null"] {
        assert_eq!(read(path), "EACCES", "{path}");
    }
    for directory in ["/", "/tmp", "/proc"] {
        assert_eq!(probe.says(&format!("attempt(lambda: os.listdir('{directory}'))")), "EACCES", "{directory}");
    }
}

#[test]
fn k3_a_confined_program_changes_no_file() {
    let probe = Probe::new();
    let file = probe.inputs.path().join("a");
    std::fs::write(&file, "input").unwrap();
    let before = std::fs::metadata(&file).unwrap().permissions();
    let inputs = probe.inputs.path().display().to_string();
    for (attempt, expected) in [
        ("open(d + '/a', 'w')", "EACCES"),
        ("open(d + '/a', 'r+')", "EACCES"),
        ("os.truncate(d + '/a', 0)", "EACCES"),
        ("open(d + '/new', 'x')", "EACCES"),
        ("os.mkdir(d + '/new')", "EACCES"),
        ("os.symlink('a', d + '/new')", "EACCES"),
        ("os.link(d + '/a', d + '/new')", "EACCES"),
        ("os.rename(d + '/a', d + '/new')", "EACCES"),
        ("os.unlink(d + '/a')", "EACCES"),
        ("os.mkfifo(d + '/new')", "EACCES"),
        ("os.chmod(d + '/a', 0o777)", "EPERM"),
        ("os.chown(d + '/a', 0, 0)", "EPERM"),
        ("os.utime(d + '/a', (0, 0))", "EPERM"),
    ] {
        assert_eq!(probe.says(&format!("d = '{inputs}'\nattempt(lambda: {attempt})")), expected, "{attempt}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "input");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions(), before);
    assert_eq!(std::fs::read_dir(probe.inputs.path()).unwrap().count(), 1);
}

#[test]
fn k3_a_directory_to_write_in_is_the_only_one() {
    let mut probe = Probe::new();
    let scratch = tempfile::tempdir().unwrap();
    probe.confinement.write = vec![scratch.path().to_owned()];
    let (written, inputs) = (scratch.path().display(), probe.inputs.path().display());
    assert_eq!(probe.says(&format!("attempt(lambda: open('{written}/a', 'w').write('x'))")), "done 1");
    assert_eq!(probe.says(&format!("attempt(lambda: open('{inputs}/a', 'w').write('x'))")), "EACCES");
    // A program that it writes is no program that it can start.
    let script = format!(
        "import shutil\nshutil.copyfile('/usr/bin/env', '{written}/env')\n\
         attempt(lambda: os.execv('{written}/env', ['env']))"
    );
    assert_eq!(probe.says(&script), "EACCES");
    let long = probe.run(&format!(
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
         f = open('{written}/long', 'wb', 0)\n\
         attempt(lambda: [f.write(b'x' * (1 << 20)) for _ in range(2)])"
    ));
    assert_eq!(String::from_utf8_lossy(&long.stdout).trim(), "EFBIG");
}

#[test]
fn k3_a_confined_program_starts_no_program_and_no_process() {
    let probe = Probe::new();
    for (attempt, expected) in [
        ("os.execv('/bin/sh', ['sh', '-c', 'true'])", "EACCES"),
        ("os.execv('/usr/bin/env', ['env'])", "EACCES"),
        ("os.memfd_create('x')", "EPERM"),
        ("os.fork()", "EPERM"),
        ("os.posix_spawn('/bin/sh', ['sh'], {})", "EPERM"),
        ("os.kill(os.getppid(), 0)", "EPERM"),
        ("os.kill(1, 0)", "EPERM"),
        ("os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)", "EPERM"),
    ] {
        assert_eq!(probe.says(&format!("attempt(lambda: {attempt})")), expected, "{attempt}");
    }
    let threads = "import threading\nt = threading.Thread(target=lambda: print('thread'))\nt.start()\nt.join()";
    assert_eq!(probe.says(threads), "thread");
}

#[test]
fn k3_a_confined_program_has_no_network() {
    let probe = Probe::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for attempt in [
        &*format!("socket.create_connection(('127.0.0.1', {port}))"),
        "socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socketpair()",
        // io_uring_setup has the same number on every architecture, and could open sockets without these calls.
        "raw(425, 8, ctypes.create_string_buffer(120))",
        "raw(426, 0, 0, 0, 0, 0)",
        "raw(427, 0, 0, 0, 0)",
    ] {
        assert_eq!(probe.says(&format!("attempt(lambda: {attempt})")), "EPERM", "{attempt}");
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn k3_the_calls_that_would_lift_the_confinement_are_denied_under_both_of_their_numbers() {
    let probe = Probe::new();
    // ptrace, bpf, unshare, keyctl, mount, socket, vfork, setns.
    for call in [101, 321, 272, 250, 165, 41, 58, 308] {
        for number in [call, call | 0x4000_0000] {
            assert_eq!(probe.says(&format!("attempt(lambda: raw({number}, 0, 0, 0, 0, 0))")), "EPERM", "{number}");
        }
    }
    // clone3 is unknown, so that programs use clone, whose arguments a filter sees.
    assert_eq!(probe.says("attempt(lambda: raw(435, 0, 0))"), "ENOSYS");
    // A new user namespace, with and without a new process.
    assert_eq!(probe.says("attempt(lambda: raw(56, 0x10000000, 0, 0, 0, 0))"), "EPERM");
    // The limits of another process.
    assert_eq!(probe.says("attempt(lambda: raw(302, os.getppid(), 0, 0, 0))"), "EPERM");
    assert_eq!(probe.says("attempt(lambda: raw(302, 0, 0, 0, 0))"), "done None");
}

#[test]
fn k3_a_process_that_cannot_start_the_program_says_so_with_its_own_exit_code() {
    let probe = Probe::new();
    let check = |confinement: &Confinement, program: &str, expected: &str| {
        let output = launch(confinement, program.as_ref(), &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(NOT_STARTED.into()), "{text}");
        assert!(text.starts_with(PREFIX) && text.contains(expected), "{text}");
    };
    check(&probe.confinement, "/no/such/program", "start /no/such/program");
    check(&probe.confinement, "/bin/sh", "start /bin/sh: Permission denied");
    let missing = Confinement { read: vec!["/no/such/input".into()], ..probe.confinement.clone() };
    check(&missing, "/bin/sh", "open /no/such/input");
    let own = probe.run("sys.exit(125)");
    assert_eq!((own.status.code(), own.stderr.len()), (Some(NOT_CONFINED.into()), 0));
}

/// Runs `work` in a thread whose children see a kernel without Landlock.
fn without_landlock<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    // These numbers are the same on every architecture.
    let rules = [444, 445, 446].map(|call| (call, Vec::new())).into();
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let unknown = SeccompAction::Errno(38);
    let filter: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture).unwrap().try_into().unwrap();
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                apply_filter(&filter).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

#[test]
fn k3_a_kernel_without_landlock_is_refused_and_what_is_left_still_holds() {
    let mut probe = Probe::new();
    let refused = without_landlock(|| probe.run("print('started')"));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(NOT_CONFINED.into()), 0), "{text}");
    assert!(text.starts_with(&format!("{PREFIX}it lacks Landlock of Linux 6.2 or newer")), "{text}");
    probe.confinement.files = FileRule::Open;
    without_landlock(|| {
        assert_eq!(probe.says("attempt(lambda: len(open('/etc/passwd').read()) > 0)"), "done True");
        assert_eq!(probe.says("attempt(lambda: socket.socket())"), "EPERM");
        assert_eq!(probe.says("attempt(lambda: os.fork())"), "EPERM");
    });
}
