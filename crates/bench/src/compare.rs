//! Runs in turns: ours, then the tool's two graphs, again and again.

use std::path::{Path, PathBuf};

use headwater_router::{Gear, Ladder};
use tracing::info;

use crate::ffmpeg::{self, Graph};
use crate::quality::{Quality, measure};
use crate::report::{GearResult, Report};
use crate::{BenchError, Clip, Stages, ours, process};

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// FLV file with H.264 and a keyframe every two seconds.
    pub clip: PathBuf,
    /// The ladder's name.
    pub ladder: String,
    /// Runs of each.
    pub runs: u32,
    /// This program.
    pub program: PathBuf,
    /// What makes it call [`make`](crate::make) with the clip and the ladder and print the stages, as `Stages` displays
    /// them. The folder to write into comes behind.
    pub arguments: Vec<String>,
}

/// Compares. Takes as long as making the ladder three times a run, and measuring the quality.
pub fn run(comparison: &Comparison, ladder: &Ladder) -> Result<Report, BenchError> {
    ffmpeg::find()?;
    let clip = Clip::read(&comparison.clip)?;
    let gears = plan(&clip, ladder, &comparison.ladder)?;
    let folder = Folder::new()?;
    let seconds = clip.seconds();
    let mut report = Report::new(comparison.ladder.clone(), clip.source(), clip.frame_rate, seconds);
    for number in 1..=comparison.runs {
        let arguments =
            comparison.arguments.iter().cloned().chain([folder.0.display().to_string()]).collect::<Vec<_>>();
        let (ours, said) = timed(&comparison.program, &arguments)?;
        report.add_ours(ours / seconds, stages(&said, &comparison.program)?);
        for graph in Graph::ALL {
            let arguments = graph.arguments(&comparison.clip, &gears, clip.frame_rate, &folder.0);
            report.add_theirs(graph, timed(Path::new("ffmpeg"), &arguments)?.0 / seconds);
        }
        info!(run = number, of = comparison.runs, ladder = comparison.ladder, "compared");
    }
    let better = report.better();
    for gear in &gears {
        let quality = |media: &Path| measure(&comparison.clip, media, gear, clip.frame_rate, seconds);
        let ours: Quality = quality(&ours::path(&folder.0, &gear.name))?;
        report.gears.push(GearResult::new(gear, ours, quality(&better.path(&folder.0, &gear.name))?));
        info!(gear = %gear.name, "quality measured");
    }
    Ok(report)
}

/// The gears that the clip gets.
pub fn plan(clip: &Clip, ladder: &Ladder, name: &str) -> Result<Vec<Gear>, BenchError> {
    let source = clip.source();
    let gears = ladder.plan(source);
    if gears.is_empty() {
        let (width, height, kbps) = (source.width, source.height, source.bitrate_kbps.unwrap_or(0));
        return Err(BenchError::NoGears { ladder: name.to_owned(), width, height, kbps });
    }
    Ok(gears)
}

/// CPU seconds of a child process, and what it printed.
fn timed(program: &Path, arguments: &[String]) -> Result<(f64, String), BenchError> {
    let before = process::cpu_of_children()?;
    let output = ffmpeg::output(program, arguments)?;
    let used = process::cpu_of_children()?.saturating_sub(before).as_secs_f64();
    Ok((used, String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn stages(said: &str, program: &Path) -> Result<Stages, BenchError> {
    said.trim().parse().map_err(|()| BenchError::Output { program: program.display().to_string(), what: "its stages" })
}

/// A folder for media that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, BenchError> {
        let path = std::env::temp_dir().join(format!("headwater-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| BenchError::File { path: path.clone(), error })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
