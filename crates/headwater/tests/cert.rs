//! `headwater cert` at the prompt.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// What it prints, or what it says when it fails.
fn cert(folder: &Path, nodes: &[&str]) -> Result<String, String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_headwater"));
    program.arg("cert").arg(folder);
    for node in nodes {
        program.args(["--node", node]);
    }
    let output = program.output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// OpenSSL, which is what others check certificates with, says that the authority signed it.
fn is_signed(folder: &Path, node: &str) -> bool {
    let verify = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"];
    let verify = Command::new("openssl").args(verify).arg(folder.join("ca.pem")).arg(folder.join(node)).output();
    verify.unwrap().status.success()
}

#[test]
fn an_authority_is_made_once_and_signs_what_comes_later_too() {
    let folder = folder("cert-authority");
    let text = cert(&folder, &["127.0.1.1,node-1.example"]).unwrap();
    let files: Vec<&str> = text.lines().filter_map(|line| line.rsplit('/').next()).collect();
    assert_eq!(files, ["ca.key", "ca.pem", "127.0.1.1.key", "127.0.1.1.pem"]);
    for (file, mode) in files.iter().zip([0o600, 0o644, 0o600, 0o644]) {
        assert_eq!(std::fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
    let authority = std::fs::read(folder.join("ca.pem")).unwrap();
    assert_eq!(cert(&folder, &["node-2", "node-3"]).unwrap().lines().count(), 4);
    assert_eq!(std::fs::read(folder.join("ca.pem")).unwrap(), authority);
    for node in ["127.0.1.1.pem", "node-2.pem", "node-3.pem"] {
        assert!(is_signed(&folder, node), "{node}");
    }
}

#[test]
fn nothing_is_written_over() {
    let folder = folder("cert-over");
    cert(&folder, &["node-1"]).unwrap();
    let before = std::fs::read(folder.join("node-1.key")).unwrap();
    let error = cert(&folder, &["node-2", "node-1"]).unwrap_err();
    assert!(error.contains("node-1.pem is there already"), "{error}");
    assert_eq!(std::fs::read(folder.join("node-1.key")).unwrap(), before);
    assert!(!folder.join("node-2.key").exists(), "all or nothing");
    std::fs::remove_file(folder.join("ca.key")).unwrap();
    let error = cert(&folder, &["node-2"]).unwrap_err();
    assert!(error.contains("ca.pem is there, but not"), "{error}");
}
