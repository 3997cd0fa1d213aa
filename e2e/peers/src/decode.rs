//! FFmpeg as the judge of what was served.

use std::path::Path;
use std::time::Duration;

use crate::program::Program;

/// Long enough for ten seconds of small pictures on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Decodes a file or a URL to its end, which must give no message.
#[track_caller]
pub fn decode_silently(input: &str) {
    let arguments = ["-xerror", "-err_detect", "explode", "-i", input, "-map", "0", "-f", "null", "-"];
    Program::ffmpeg(arguments).finish(LIMIT).expect_silent();
}

/// Decodes `seconds` of a live stream, which must give no message.
#[track_caller]
pub fn decode_live_silently(url: &str, seconds: u32) {
    let seconds = seconds.to_string();
    let input = ["-xerror", "-err_detect", "explode", "-i", url, "-map", "0"];
    Program::ffmpeg(input.into_iter().chain(["-t", &seconds, "-f", "null", "-"])).finish(LIMIT).expect_silent();
}

/// What ffprobe says of `entries`, one value a line.
#[track_caller]
pub fn probe(input: &str, arguments: &[&str], entries: &str) -> String {
    let mut command = std::process::Command::new("ffprobe");
    command.args(["-v", "error"]).args(arguments).args(["-show_entries", entries]);
    command.args(["-of", "default=noprint_wrappers=1:nokey=1", input]);
    Program::start(&mut command).finish(LIMIT).expect_silent().out.trim().to_owned()
}

/// Pictures that a decoder gets out of a file.
#[track_caller]
pub fn count_frames(file: &Path) -> usize {
    let count = probe(text(file), &["-count_frames", "-select_streams", "v"], "stream=nb_read_frames");
    count.parse().unwrap_or_else(|error| panic!("{count:?}: {error}"))
}

/// Checksums of a file's decoded pictures, or of its coded audio frames.
#[track_caller]
pub fn checksums(file: &Path, what: &[&str]) -> Vec<String> {
    let arguments = ["-i", text(file)].into_iter().chain(what.iter().copied()).chain(["-f", "framemd5", "-"]);
    let out = Program::ffmpeg(arguments).finish(LIMIT).expect_success().out;
    let lines = out.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// The average PSNR of `file` against `source` scaled to its size, picture by picture in their order, in dB.
#[track_caller]
pub fn psnr(file: &Path, source: &Path, (width, height): (u32, u32)) -> f64 {
    let filter = format!(
        "[0:v]setpts=N/TB[file];[1:v]setpts=N/TB,scale={width}:{height}:flags=bicubic[source];[file][source]psnr"
    );
    let inputs = ["-i", text(file), "-i", text(source), "-lavfi", &filter, "-f", "null", "-"];
    let command = ["-nostdin", "-hide_banner", "-v", "info", "-nostats"].into_iter().chain(inputs);
    let err = Program::start(std::process::Command::new("ffmpeg").args(command)).finish(LIMIT).expect_success().err;
    let average = err.rsplit_once("average:").and_then(|(_, rest)| rest.split_whitespace().next());
    match average {
        Some("inf") => f64::INFINITY,
        Some(number) => number.parse().unwrap(),
        None => panic!("no PSNR in: {err}"),
    }
}
