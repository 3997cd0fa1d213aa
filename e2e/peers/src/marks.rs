//! Clips with a mark in picture and sound at each whole second, and where these marks are in what was served: so that it
//! can be measured whether sound and picture belong together.

use std::path::Path;
use std::time::Duration;

use headwater_flv::Tag;

use crate::program::Program;
use crate::publisher::tags;
use crate::server::Folder;

/// Long enough for ten seconds of small pictures on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Mean brightness that only a flash has.
const FLASH: f64 = 200.0;
/// A sample as large as only those of a beep are.
const BEEP: u16 = 3000;
/// Nothing that comes sooner than this after a mark is another one, in milliseconds.
const APART: f64 = 400.0;

/// A test picture that is white for a tenth of a second at each whole second.
pub fn picture(size: &str, rate: &str) -> String {
    format!("testsrc2=size={size}:rate={rate},drawbox=w=iw:h=ih:color=white:t=fill:enable='lt(mod(t,1),0.1)'")
}

/// A tone of a tenth of a second at each whole second, and silence.
pub fn sound(sample_rate: u32) -> String {
    format!("aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s={sample_rate}")
}

/// What FFmpeg makes of its `arguments`, which say all but the output.
#[track_caller]
pub fn clip(arguments: &[&str]) -> Vec<Tag> {
    let folder = Folder::new();
    let file = folder.path().join("clip.flv");
    let output = ["-f", "flv", file.to_str().unwrap()];
    Program::ffmpeg([arguments, &output].concat()).finish(LIMIT).expect_success();
    tags(&file)
}

/// When flashes begin in a file's video, in milliseconds of its own time. It must decode without a message.
#[track_caller]
pub fn flashes(file: &Path) -> Vec<f64> {
    let print = "signalstats,metadata=mode=print:key=lavfi.signalstats.YAVG:file=-";
    let output = ["-map", "v", "-fps_mode", "vfr", "-enc_time_base", "1:120000", "-vf", print, "-f", "null", "-"];
    let (mut at, mut marks) = (0.0, Marks::default());
    for line in decode(file, &output).lines() {
        if let Some((_, time)) = line.split_once("pts_time:") {
            at = 1000.0 * time.trim().parse::<f64>().unwrap();
        } else if let Some((_, value)) = line.split_once('=') {
            marks.look(at, value.trim().parse::<f64>().is_ok_and(|value| value > FLASH));
        }
    }
    marks.found
}

/// When beeps begin in a file's sound, in milliseconds of its own time. It must decode without a message.
#[track_caller]
pub fn beeps(file: &Path) -> Vec<f64> {
    let samples = file.with_extension("raw");
    // Where there is no sound there is silence, from time 0 on.
    let laid = "aresample=48000:async=1:min_hard_comp=0.001:first_pts=0,aformat=s16:48000:mono";
    decode(file, &["-map", "a", "-af", laid, "-f", "s16le", samples.to_str().unwrap()]);
    let bytes = std::fs::read(samples).unwrap();
    let mut marks = Marks::default();
    for (sample, bytes) in (0u32..).zip(bytes.as_chunks::<2>().0) {
        marks.look(f64::from(sample) / 48.0, i16::from_le_bytes(*bytes).unsigned_abs() > BEEP);
    }
    marks.found
}

#[track_caller]
fn decode(file: &Path, output: &[&str]) -> String {
    let input = ["-xerror", "-err_detect", "explode", "-copyts", "-i", file.to_str().unwrap()];
    Program::ffmpeg([&input[..], output].concat()).finish(LIMIT).expect_silent().out
}

/// Marks as they are found.
#[derive(Default)]
struct Marks {
    found: Vec<f64>,
    last: Option<f64>,
}

impl Marks {
    fn look(&mut self, at: f64, is_mark: bool) {
        if is_mark {
            if self.last.is_none_or(|last| at - last > APART) {
                self.found.push(at);
            }
            self.last = Some(at);
        }
    }
}
