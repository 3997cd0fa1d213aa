//! The same renditions by one `ffmpeg` process with one decode.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use headwater_media::{FrameRate, RenditionName};
use headwater_router::Gear;

use crate::BenchError;

/// How the tool's filters are put together. Each size is scaled once in both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Graph {
    /// Every size from the source.
    Split,
    /// Each size from the one before, largest first.
    Chain,
}

impl Graph {
    pub(crate) const ALL: [Self; 2] = [Self::Split, Self::Chain];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Chain => "chain",
        }
    }

    /// Where it writes a gear.
    pub(crate) fn path(self, folder: &Path, gear: &RenditionName) -> PathBuf {
        folder.join(format!("{}-{gear}.mp4", self.name()))
    }

    /// What the tool is told. Decoder, filters and each encoder have one thread, as ours have: more cost more.
    pub(crate) fn arguments(self, clip: &Path, gears: &[Gear], rate: FrameRate, folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = ["-nostdin", "-v", "error", "-y", "-threads", "1", "-i"].map(str::to_owned).into();
        all.push(clip.display().to_string());
        all.extend(["-filter_complex_threads", "1", "-filter_complex"].map(str::to_owned));
        all.push(self.filters(gears, rate));
        for (index, gear) in gears.iter().enumerate() {
            let (frames, per) = gear.frame_rate(rate).fraction();
            // Two seconds, rounded: 60 at 29.97.
            let interval = (2 * frames + per / 2) / per;
            let average = gear.average_bps() / 1000;
            let text = format!(
                "-map [o{index}] -c:v libx264 -preset {} -tune {} -profile:v {} -threads 1 -b:v {average}k -maxrate {}k \
                 -bufsize {}k -g {interval} -keyint_min {interval} -sc_threshold 0 -bf 0 -f mp4 -movflags \
                 +empty_moov+default_base_moof -frag_duration 200000",
                gear.preset, gear.tune, gear.profile, gear.maxrate_kbps, gear.bufsize_kbit,
            );
            all.extend(text.split_whitespace().map(str::to_owned));
            all.push(self.path(folder, &gear.name).display().to_string());
        }
        all
    }

    /// Gears of one size and rate share their scaler's pictures. In the chain, the pictures that halved gears leave out
    /// are left out once, before the first of them.
    fn filters(self, gears: &[Gear], rate: FrameRate) -> String {
        let halved = |gear: &Gear| gear.frame_rate(rate) != rate;
        let mut groups: Vec<(&Gear, Vec<usize>)> = Vec::new();
        for (index, gear) in gears.iter().enumerate() {
            let same = |(other, _): &&mut (&Gear, Vec<usize>)| {
                (other.width, other.height, halved(other)) == (gear.width, gear.height, halved(gear))
            };
            match groups.iter_mut().find(same) {
                Some((_, members)) => members.push(index),
                None => groups.push((gear, vec![index])),
            }
        }
        let mut text = String::new();
        let mut last = "0:v".to_owned();
        if self == Self::Split {
            let pads: String = (0..groups.len()).map(|group| format!("[s{group}]")).collect();
            let _ = write!(text, "[0:v]split={}{pads};", groups.len());
        }
        let mut step_due = true;
        for (number, (gear, members)) in groups.iter().enumerate() {
            let from = if self == Self::Split { format!("s{number}") } else { last.clone() };
            let step = if halved(gear) && (step_due || self == Self::Split) { "framestep=2," } else { "" };
            step_due &= !halved(gear);
            let more = self == Self::Chain && number + 1 < groups.len();
            let mut pads: String = members.iter().map(|index| format!("[o{index}]")).collect();
            if more {
                last = format!("c{number}");
                let _ = write!(pads, "[{last}]");
            }
            let outputs = members.len() + usize::from(more);
            let _ = write!(text, "[{from}]{step}scale={}:{},split={outputs}{pads};", gear.width, gear.height);
        }
        text.pop();
        text
    }
}

/// Whether the tools are there.
pub(crate) fn find() -> Result<(), BenchError> {
    for program in ["ffmpeg", "ffprobe"] {
        let started = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        started.map_err(|error| BenchError::NoFfmpeg { program, error })?;
    }
    Ok(())
}

/// Runs a program to its end.
pub(crate) fn output(program: &Path, arguments: &[String]) -> Result<Output, BenchError> {
    let name = program.display().to_string();
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| BenchError::Child { program: name.clone(), text: error.to_string() })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let text = text.trim_end().lines().next_back().unwrap_or("without a word").to_owned();
        return Err(BenchError::Child { program: name, text });
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(graph: Graph, gears: &[Gear], fps: f64) -> String {
        graph.filters(gears, FrameRate::snap(fps).unwrap())
    }

    fn three() -> Vec<Gear> {
        vec![
            Gear::new(1280, 720, 3000, "superfast"),
            Gear::new(1280, 720, 2000, "superfast"),
            Gear { halve: true, ..Gear::new(640, 360, 700, "superfast") },
        ]
    }

    #[test]
    fn each_size_is_scaled_once() {
        assert_eq!(
            filters(Graph::Split, &three(), 30.0),
            "[0:v]split=2[s0][s1];[s0]scale=1280:720,split=2[o0][o1];[s1]scale=640:360,split=1[o2]"
        );
        assert_eq!(
            filters(Graph::Chain, &three(), 30.0),
            "[0:v]scale=1280:720,split=3[o0][o1][c0];[c0]scale=640:360,split=1[o2]"
        );
    }

    #[test]
    fn pictures_that_are_left_out_are_not_scaled() {
        assert!(filters(Graph::Split, &three(), 60.0).ends_with("[s1]framestep=2,scale=640:360,split=1[o2]"));
        let four = [three(), vec![Gear { halve: true, ..Gear::new(320, 180, 300, "superfast") }]].concat();
        assert!(
            filters(Graph::Chain, &four, 60.0)
                .ends_with("[c0]framestep=2,scale=640:360,split=2[o2][c1];[c1]scale=320:180,split=1[o3]")
        );
    }

    #[test]
    fn the_encoders_are_told_what_ours_are_told() {
        let rate = FrameRate::snap(59.94).unwrap();
        let told = Graph::Chain.arguments(Path::new("clip.flv"), &three(), rate, Path::new("/out")).join(" ");
        assert!(told.contains("-map [o0] -c:v libx264 -preset superfast -tune zerolatency -profile:v high -threads 1 -b:v 3000k -maxrate 3000k -bufsize 3000k -g 120 "));
        assert!(told.contains("-b:v 700k -maxrate 700k -bufsize 700k -g 60 -keyint_min 60 -sc_threshold 0 -bf 0 "));
        assert!(told.ends_with("/out/chain-360p-700.mp4"));
    }
}
