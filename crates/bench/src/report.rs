//! What was measured, as Markdown.

use std::fmt;

use headwater_media::FrameRate;
use headwater_router::{Gear, Source};

use crate::Stages;
use crate::clip::count;
use crate::ffmpeg::Graph;
use crate::quality::Quality;

/// What was measured. Displays as Markdown.
#[derive(Clone, Debug)]
pub struct Report {
    ladder: String,
    source: Source,
    frame_rate: FrameRate,
    seconds: f64,
    /// CPU seconds per second of the clip, one for each run.
    ours: Vec<f64>,
    stages: Vec<Stages>,
    split: Vec<f64>,
    chain: Vec<f64>,
    /// Quality of each gear.
    pub gears: Vec<GearResult>,
}

/// One gear's quality, ours and the tool's.
#[derive(Clone, Debug)]
pub struct GearResult {
    name: String,
    preset: String,
    ours: Quality,
    theirs: Quality,
}

impl GearResult {
    pub(crate) fn new(gear: &Gear, ours: Quality, theirs: Quality) -> Self {
        Self { name: gear.name.to_string(), preset: gear.preset.to_string(), ours, theirs }
    }
}

impl Report {
    pub(crate) fn new(ladder: String, source: Source, frame_rate: FrameRate, seconds: f64) -> Self {
        let (ours, stages, split, chain, gears) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { ladder, source, frame_rate, seconds, ours, stages, split, chain, gears }
    }

    pub(crate) fn add_ours(&mut self, cpu: f64, stages: Stages) {
        self.ours.push(cpu);
        self.stages.push(stages);
    }

    pub(crate) fn add_theirs(&mut self, graph: Graph, cpu: f64) {
        match graph {
            Graph::Split => self.split.push(cpu),
            Graph::Chain => self.chain.push(cpu),
        }
    }

    /// The graph that costs less.
    pub(crate) fn better(&self) -> Graph {
        if median(&self.split) < median(&self.chain) { Graph::Split } else { Graph::Chain }
    }

    /// Our CPU time by that of the better graph.
    pub fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.split).min(median(&self.chain))
    }

    fn stage(&self, of: impl Fn(&Stages) -> f64) -> f64 {
        median(&self.stages.iter().map(of).collect::<Vec<_>>()) / self.seconds
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source { width, height, bitrate_kbps } = self.source;
        let (fps, kbps) = (self.frame_rate.frames_per_second(), bitrate_kbps.unwrap_or(0));
        writeln!(f, "### `{}` from {width}x{height}, {fps:.2} fps, {kbps} kbit/s", self.ladder)?;
        let (seconds, runs) = (self.seconds, self.ours.len());
        writeln!(f, "\nClip of {seconds:.1} s, {runs} runs in turns; median (lowest to highest).\n")?;
        writeln!(f, "| | CPU seconds per second | streams per core |\n| --- | --- | --- |")?;
        for (what, runs) in [("ours", &self.ours), ("CLI, split", &self.split), ("CLI, chain", &self.chain)] {
            let (least, most) =
                (runs.iter().copied().fold(f64::MAX, f64::min), runs.iter().copied().fold(0.0, f64::max));
            let median = median(runs);
            writeln!(f, "| {what} | {median:.3} ({least:.3} to {most:.3}) | {:.2} |", 1.0 / median)?;
        }
        let better = self.better().name();
        writeln!(f, "\nOurs is {:.3} of the better graph, which is `{better}`.", self.ratio())?;
        let [decode, scale, encode, package] =
            [self.stage(|s| s.decode), self.stage(|s| s.scale), self.stage(|s| s.encode), self.stage(|s| s.package)];
        let rest = (median(&self.ours) - decode - scale - encode - package).max(0.0);
        writeln!(
            f,
            "Ours by stage: decode {decode:.3}, scale {scale:.3}, encode {encode:.3}, package {package:.3}, the rest \
             {rest:.3}.\n"
        )?;
        writeln!(
            f,
            "| gear | preset | kbit/s, ours / CLI | PSNR-Y in dB | SSIM-Y in dB |\n| --- | --- | --- | --- | --- |"
        )?;
        for GearResult { name, preset, ours, theirs } in &self.gears {
            writeln!(
                f,
                "| {name} | {preset} | {:.0} / {:.0} | {:.2} / {:.2} ({:+.2}) | {:.2} / {:.2} ({:+.2}) |",
                ours.kbps,
                theirs.kbps,
                ours.psnr_db,
                theirs.psnr_db,
                ours.psnr_db - theirs.psnr_db,
                ours.ssim_db,
                theirs.ssim_db,
                ours.ssim_db - theirs.ssim_db,
            )?;
        }
        Ok(())
    }
}

/// The middle one; the mean of the two in the middle; not a number of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let two = if values.len() % 2 == 1 { &values[middle..=middle] } else { &values[middle.saturating_sub(1)..] };
    let two = &two[..two.len().min(2)];
    two.iter().sum::<f64>() / count(two.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_better_graph_is_what_counts() {
        let source = Source { width: 1920, height: 1080, bitrate_kbps: Some(8000) };
        let mut report = Report::new("hd".to_owned(), source, FrameRate::FPS_30, 10.0);
        for (ours, split, chain) in [(0.5, 0.7, 0.6), (0.6, 0.8, 0.61), (0.4, 0.7, 0.5)] {
            report.add_ours(ours, Stages { decode: 1.0, scale: 1.0, encode: 2.0, package: 0.5 });
            report.add_theirs(Graph::Split, split);
            report.add_theirs(Graph::Chain, chain);
        }
        let quality = |db| Quality { kbps: 3000.0, psnr_db: db, ssim_db: db / 2.0 };
        report.gears.push(GearResult::new(&Gear::new(1280, 720, 3000, "superfast"), quality(40.0), quality(40.06)));
        let text = report.to_string();
        assert!(text.contains("| ours | 0.500 (0.400 to 0.600) | 2.00 |"), "{text}");
        assert!(text.contains("Ours is 0.833 of the better graph, which is `chain`."), "{text}");
        assert!(text.contains("decode 0.100, scale 0.100, encode 0.200, package 0.050, the rest 0.050."), "{text}");
        assert!(text.contains("| 720p-3000 | superfast | 3000 / 3000 | 40.00 / 40.06 (-0.06) |"), "{text}");
    }
}
