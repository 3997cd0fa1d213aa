//! Node's part of the set-up: the page that is built into the program, and the browser tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::fingerprint;
use crate::process::{output, root, say, succeed};

/// Builds the page when its sources changed since it was last built.
pub(crate) fn ensure_page() -> Result<()> {
    node_is_new_enough()?;
    let web = root().join("web");
    install(&web)?;
    let stamp = web.join("node_modules/.headwater-page");
    if !web.join("dist/index.html").is_file() && stamp.exists() {
        std::fs::remove_file(&stamp).with_context(|| format!("removing {}", stamp.display()))?;
    }
    let inputs = fingerprint::of(std::slice::from_ref(&web), &["node_modules", "dist"])?;
    fingerprint::once(&stamp, &inputs, || {
        say("Building the player page in web/");
        npm(&web, &["run", "--silent", "build"])
    })
}

/// The page's unit tests.
pub(crate) fn test_page() -> Result<()> {
    npm(&root().join("web"), &["test", "--silent"])
}

/// Installs what the browser tests need from npm.
pub(crate) fn ensure_browser_tests() -> Result<PathBuf> {
    node_is_new_enough()?;
    let e2e = root().join("e2e");
    if e2e.join("package-lock.json").is_file() {
        install(&e2e)?;
    }
    Ok(e2e)
}

/// `npm ci`, when the lock file is not the one that was installed.
fn install(folder: &Path) -> Result<()> {
    let inputs = fingerprint::of(&[folder.join("package.json"), folder.join("package-lock.json")], &[])?;
    fingerprint::once(&folder.join("node_modules/.headwater-installed"), &inputs, || {
        say(&format!("Installing npm packages in {}/", folder.file_name().unwrap_or_default().to_string_lossy()));
        npm(folder, &["ci", "--no-audit", "--no-fund", "--loglevel=error"])?;
        // Nothing to install leaves no folder for the stamp.
        std::fs::create_dir_all(folder.join("node_modules")).context("making node_modules")
    })
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<()> {
    succeed(Command::new("npm").current_dir(folder).args(arguments))
}

fn node_is_new_enough() -> Result<()> {
    let needed = "Node 20.19 or newer is needed (of Node 22: 22.12), with npm; see https://nodejs.org";
    let Ok(version) = output(Command::new("node").arg("--version")) else {
        bail!("{needed}; no `node` was found");
    };
    if !is_supported(version.trim()) {
        bail!("{needed}; `node --version` says {}", version.trim());
    }
    if output(Command::new("npm").arg("--version")).is_err() {
        bail!("{needed}; no `npm` was found");
    }
    Ok(())
}

/// The versions that Vite runs on.
fn is_supported(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) {
        (20, minor) => minor >= 19,
        (22, minor) => minor >= 12,
        (major, _) => major > 22,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_vite_runs_on_are_taken() {
        for version in ["v20.19.0", "v20.20.2", "v22.12.0", "v24.1.0"] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["v18.20.4", "v20.18.1", "v21.7.0", "v22.11.0", ""] {
            assert!(!is_supported(version), "{version}");
        }
    }
}
