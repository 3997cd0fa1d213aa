//! Running other programs, and saying what is being done and how long it took.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One line to whoever started xtask. Standard error, because `clock` writes its picture to standard output.
#[expect(clippy::print_stderr, reason = "xtask talks to a terminal; it has no log")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask/ is a folder of the repository").to_owned()
}

/// Where cargo puts what it builds in `profile` ("debug", "release"): beside the profile that xtask itself lies in.
pub(crate) fn built(profile: &str, program: &str) -> Result<PathBuf> {
    let itself = std::env::current_exe().context("finding the folder that cargo builds into")?;
    let target = itself.parent().and_then(Path::parent).context("xtask does not lie in cargo's target folder")?;
    Ok(target.join(profile).join(program))
}

/// The cargo that started xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// The clock: xtask has no service whose `clock.rs` could read it.
#[expect(clippy::disallowed_methods, reason = "nothing here is a library or a service that would be handed its time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs `command` and fails unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", describe(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// What `command` writes to standard output; fails unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {}", describe(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", describe(command), output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `program` can be started at all.
pub(crate) fn is_there(program: &str, version_argument: &str) -> bool {
    Command::new(program).arg(version_argument).output().is_ok_and(|output| output.status.success())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Named steps whose seconds are printed as they end and once more together.
#[derive(Default)]
pub(crate) struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    /// Does one step and notes its time.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        say(&format!("--- {name}"));
        let begin = now();
        let result = work();
        let seconds = begin.elapsed();
        self.0.push((name, seconds));
        say(&format!("--- {name}: {:.1} s", seconds.as_secs_f64()));
        result.with_context(|| format!("the step `{name}` failed"))
    }

    /// Prints all steps with their seconds.
    pub(crate) fn summary(&self) {
        for (name, seconds) in &self.0 {
            say(&format!("{:>8.1} s  {name}", seconds.as_secs_f64()));
        }
        let total: Duration = self.0.iter().map(|(_, seconds)| *seconds).sum();
        say(&format!("{:>8.1} s  in all", total.as_secs_f64()));
    }
}

/// A program that xtask started and ends again, whatever happens: asked first, forced after a while.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
}

/// How long a program gets to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How often a program is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(50);

impl Running {
    /// Starts `command` in a process group of its own, so that a Ctrl-C in the terminal reaches xtask alone, which
    /// then ends its programs in order.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = command.process_group(0).spawn().with_context(|| format!("starting {}", describe(command)))?;
        Ok(Self { name, child })
    }

    /// The program, to take its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails when the program has ended by itself.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself with {status}", self.name),
        }
    }

    /// Asks the program to end and waits for it.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        // The shell's own `kill` is there on systems without procps, and signals need no unsafe code this way.
        let pid = self.child.id().to_string();
        Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status()?;
        let begin = now();
        while begin.elapsed() < GRACE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK);
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("{} did not end within {} s of being asked to", self.name, GRACE.as_secs())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            say(&format!("{error:#}"));
        }
    }
}
