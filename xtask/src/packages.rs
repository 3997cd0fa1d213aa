//! The system packages that building, the demo and the tests need, from apt.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{is_there, say, succeed};

/// To build `headwater`: a C tool chain, libclang for the declarations of libav, libav itself, zimg, which scales
/// pictures, and what makes Rust of gRPC's messages.
const BUILD: [&str; 12] = [
    "build-essential",
    "pkg-config",
    "clang",
    "libclang-dev",
    "libavcodec-dev",
    "libavfilter-dev",
    "libavutil-dev",
    "libswscale-dev",
    "libswresample-dev",
    "libzimg-dev",
    "protobuf-compiler",
    "libprotobuf-dev",
];
/// To publish the test picture.
const DEMO: [&str; 1] = ["ffmpeg"];
/// To play it back in the tests, to publish and play with GStreamer, and to share streams between machines.
const TEST: [&str; 9] = [
    "chromium",
    "fonts-dejavu-core",
    "gstreamer1.0-tools",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-libav",
    "etcd-server",
];
/// To play in other browsers, which only `cargo xtask e2e --cold` does.
const PLAYERS: [&str; 1] = ["firefox-esr"];

/// To measure beside, and to count instructions, which only `cargo xtask bench-*` does.
const PEERS: [&str; 2] = ["nginx", "libnginx-mod-rtmp"];
const COUNTING: [&str; 1] = ["valgrind"];

/// To part nodes from each other, which only `cargo xtask faults` does.
const FAULTS: [&str; 4] = ["etcd-server", "ffmpeg", "iproute2", "nftables"];

/// What the packages are for.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// Building and running the program.
    Building,
    /// Building and publishing a test picture.
    Demo,
    /// Everything that `cargo xtask test` needs.
    Tests,
    /// The same and other browsers.
    Players,
    /// Building, and servers to measure beside.
    Peers,
    /// Building, and counting instructions.
    Counting,
    /// Building, and parting nodes from each other.
    Faults,
}

impl For {
    fn packages(self) -> Vec<&'static str> {
        let more: &[&[&str]] = match self {
            Self::Building => &[],
            Self::Demo => &[&DEMO],
            Self::Tests => &[&DEMO, &TEST],
            Self::Players => &[&DEMO, &TEST, &PLAYERS],
            Self::Peers => &[&PEERS],
            Self::Counting => &[&COUNTING],
            Self::Faults => &[&FAULTS],
        };
        [&BUILD[..], &more.concat()].concat()
    }
}

/// Installs what is missing; does and says nothing when nothing is.
pub(crate) fn ensure(purpose: For) -> Result<()> {
    let mut packages = purpose.packages();
    for (variable, browser) in [("CHROME", "chromium"), ("FIREFOX", "firefox-esr")] {
        if std::env::var_os(variable).is_some() {
            packages.retain(|package| *package != browser);
        }
    }
    if !is_there("dpkg-query", "--version") {
        return without_apt(&packages);
    }
    let installed = installed(&packages)?;
    let missing: Vec<&str> = packages.into_iter().filter(|package| !installed.contains(*package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if missing.contains(&"chromium") && is_ubuntu() {
        bail!(
            "Ubuntu's own chromium is a snap, which the tests cannot drive: install Chrome or Chromium another way and \
             set CHROME to its path"
        );
    }
    install(&missing)
}

fn install(missing: &[&str]) -> Result<()> {
    // The owner of one's own entry in /proc is one's own user.
    let root = std::fs::metadata("/proc/self").context("reading /proc/self")?.uid() == 0;
    let through = if root { "" } else { "sudo " };
    say(&format!("Installing with {through}apt-get: {}", missing.join(" ")));
    let apt = |arguments: &[&str]| {
        let mut words = if root { vec![] } else { vec!["sudo"] };
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]);
        words.extend(arguments);
        succeed(Command::new(words[0]).args(&words[1..]))
    };
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing].concat())
}

/// Those of `packages` that are installed.
fn installed(packages: &[&str]) -> Result<HashSet<String>> {
    // It fails when one of them is not known at all, and still lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .output()
        .context("starting dpkg-query")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect())
}

/// Elsewhere nothing is installed: what is plainly missing is named.
fn without_apt(packages: &[&str]) -> Result<()> {
    let libav = ["libavcodec", "libavfilter", "libavutil", "libswscale", "libswresample", "zimg"];
    let found = Command::new("pkg-config").arg("--exists").args(libav).status().is_ok_and(|status| status.success());
    let ffmpeg = !packages.contains(&"ffmpeg") || is_there("ffmpeg", "-version");
    if found && ffmpeg && is_there("clang", "--version") && is_there("protoc", "--version") {
        return Ok(());
    }
    bail!(
        "this system has no apt; install what these Debian packages hold, so that pkg-config finds libav, and try \
         again: {}",
        packages.join(" ")
    )
}

fn is_ubuntu() -> bool {
    std::fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=ubuntu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_adds_to_the_one_before() {
        let sizes = [For::Building, For::Demo, For::Tests, For::Players].map(|purpose| purpose.packages().len());
        let tests = BUILD.len() + 1 + TEST.len();
        assert_eq!(sizes, [BUILD.len(), BUILD.len() + 1, tests, tests + 1]);
    }
}
