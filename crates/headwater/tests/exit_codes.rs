//! What the person at the prompt gets when the program cannot start: one sentence and an exit code.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

/// Runs `headwater` to its end: its exit code, and what it wrote to standard error.
fn headwater(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A configuration file of this test.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

/// The last line; what comes before it is the log.
fn last(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

#[test]
fn a_port_in_use_is_one_sentence_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    for flags in [
        ["--rtmp", &address, "--http", free, "--admin", free],
        ["--rtmp", free, "--http", &address, "--admin", free],
        ["--rtmp", free, "--http", free, "--admin", &address],
    ] {
        let (code, text) = headwater(&[&["serve"][..], &flags].concat());
        assert_eq!(code, Some(1), "{text}");
        let said = text.lines().filter(|line| line.starts_with("headwater: ")).count();
        assert_eq!(said, 1, "{text}");
        let sentence = last(&text);
        assert!(sentence.starts_with("headwater: cannot listen for "), "{text}");
        assert!(sentence.contains(&address) && sentence.contains("in use"), "{text}");
    }
}

#[test]
fn a_bad_flag_is_a_usage_error_and_exit_code_2() {
    for flags in [&["serve", "--no-such-flag"][..], &["serve", "--latency", "lowest"], &["fly"], &[]] {
        let (code, text) = headwater(flags);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("--help"), "{text}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_sentence_and_exit_code_1() {
    let missing = headwater(&["serve", "--config", "/nonexistent/headwater.toml"]);
    assert_eq!(missing.0, Some(1), "{}", missing.1);
    assert_eq!(missing.1.lines().count(), 1, "{}", missing.1);
    assert!(missing.1.starts_with("headwater: ") && missing.1.contains("/nonexistent/headwater.toml"), "{}", missing.1);

    let config = Config::new("unknown_key", "latency = \"low\"\nlatencies = \"low\"\n");
    let (code, text) = headwater(&["serve", "--config", config.path()]);
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("line 2: ") && text.contains("latencies"), "{text}");
}

#[test]
fn a_measurement_without_the_ffmpeg_tool_or_the_file_is_one_sentence() {
    let bench = |path: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(["bench", "transcode", "no-such-clip.flv"]);
        path.map(|path| command.env("PATH", path));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = bench(Some("/no-such-folder"));
    assert_eq!(code, Some(1));
    assert!(last(&said).contains("ffmpeg does not start"), "{said}");
    let (code, said) = bench(None);
    assert_eq!(code, Some(1));
    assert!(last(&said).contains("no-such-clip.flv: No such file"), "{said}");
    let (code, said) = headwater(&["bench", "transcode", "clip.flv", "--ladder", "uhd"]);
    assert_eq!(code, Some(1));
    assert!(last(&said).contains("there is no ladder \"uhd\"; there are hd, apple, bipbop, none"), "{said}");
}
