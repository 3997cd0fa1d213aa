//! Other people's programs as children.

use std::ffi::OsStr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::log::Lines;

/// A running program; it ends with this value.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    /// What it writes to standard output.
    pub out: Lines,
    /// What it writes to standard error.
    pub err: Lines,
}

/// What came of a program.
#[derive(Debug)]
pub struct Finished {
    name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Program {
    /// Starts `command`, its output taken, its input closed.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Self { name, child, out, err }
    }

    /// FFmpeg that writes nothing but warnings.
    #[track_caller]
    pub fn ffmpeg<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start(Command::new("ffmpeg").args(["-nostdin", "-hide_banner", "-v", "warning"]).args(arguments))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let ended = self.err.ended(limit) && self.out.ended(limit);
        let name = self.name.clone();
        assert!(ended, "{name} still runs after {} s: {}", limit.as_secs(), self.err.text());
        let status = self.child.wait().unwrap();
        Finished { name, status, out: self.out.text(), err: self.err.text() }
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends SIGHUP: the configuration is to be read again.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGSTOP: it does nothing from now on, and its connections stay open.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Sends SIGCONT: a frozen program goes on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Sends SIGKILL: the program has no chance to say goodbye.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// It succeeded and had nothing to say on standard error.
    #[track_caller]
    pub fn expect_silent(self) -> Self {
        assert!(self.status.success() && self.err.trim().is_empty(), "{}: {}\n{}", self.name, self.status, self.err);
        self
    }

    /// It succeeded.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "{}: {}\n{}{}", self.name, self.status, self.err, self.out);
        self
    }
}
