//! Processes that are still running, and ones that `strace` breaks.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{BACKHAUL, Bed, Output};

/// A child that is killed if the test ends before it does.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self { child: Some(command.spawn().expect("the binary starts")) }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("not waited for yet").id()
    }

    pub fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("not waited for yet")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child().try_wait().expect("a child").is_some()
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("not waited for yet");
        // A child that has ended and was not waited for still takes signals.
        rustix::process::kill_process(Pid::from_child(child), signal).expect("a child");
    }

    /// Waits for its end and reads what is left of its output.
    pub fn wait(mut self) -> Output {
        let child = self.child.take().expect("not waited for yet");
        Output::of(child.wait_with_output().expect("a child"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks again and again until something is so, and fails the test after some minutes: no machine is that slow.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_mins(3), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is stopped, all of it.
pub fn is_stopped(pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    status.lines().any(|line| line.starts_with("State:") && line.contains("(stopped)"))
}

/// `strace` with faults to inject.
pub struct Trace {
    arguments: Vec<String>,
    log: PathBuf,
}

impl Trace {
    pub fn is_installed() -> bool {
        let asked = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    }

    /// Traces `calls` (`fsync,fdatasync`). Counts of injections are per thread.
    pub fn new(bed: &Bed, calls: &str) -> Self {
        let log = bed.path().join("strace.log");
        let arguments = ["-f", "-qq", "-o", log.to_str().expect("UTF-8"), "-e", &format!("trace={calls}")];
        Self { arguments: arguments.map(str::to_owned).to_vec(), log }
    }

    /// Only calls on this file, which need not exist yet.
    pub fn on(mut self, path: &Path) -> Self {
        self.arguments.extend(["-P".to_owned(), path.to_str().expect("UTF-8").to_owned()]);
        self
    }

    /// `fsync:error=EIO:when=1`
    pub fn inject(mut self, fault: &str) -> Self {
        self.arguments.extend(["-e".to_owned(), format!("inject={fault}")]);
        self
    }

    /// `backhaul` with `arguments`, under this `strace`.
    pub fn command(&self, bed: &Bed, arguments: &[&str]) -> Command {
        let mut command = Command::new("strace");
        command.args(&self.arguments).arg(BACKHAUL).args(arguments);
        bed.settle(&mut command);
        command
    }

    /// Runs the bed's plan.
    pub fn run(&self, bed: &Bed) -> Output {
        let mut command = self.command(bed, &["run", "-v"]);
        Output::of(command.arg(bed.plan()).output().expect("strace starts"))
    }

    /// What it saw.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many calls were made to fail (not how many were killed at: those have no mark).
    pub fn injected(&self) -> usize {
        self.log().lines().filter(|line| line.contains("INJECTED")).count()
    }
}
