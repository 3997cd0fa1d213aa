//! A short clip through the real path, into files.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use headwater_bench::{BenchError, Clip, make, plan};
use headwater_media::{Clock, Instant, WallTime};
use headwater_router::{Gear, Ladder};

/// Nothing here depends on the time.
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(0)
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

fn ffmpeg(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gear_has_every_picture_of_the_clip_and_costs_are_told() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-small");
    std::fs::create_dir_all(&folder).unwrap();
    let clip = folder.join("clip.flv").display().to_string();
    let made = "-nostdin -v error -y -f lavfi -i testsrc2=size=320x180:rate=60 -frames:v 300 -c:v libx264 -bf 0 -g 120";
    let arguments: Vec<&str> = made.split(' ').chain(["-preset", "superfast", &clip]).collect();
    ffmpeg("ffmpeg", &arguments);

    let clip = Clip::read(Path::new(&clip)).unwrap();
    assert_eq!((clip.units.len(), clip.frame_rate.frames_per_second()), (300, 60.0));
    assert!(matches!(plan(&clip, &Ladder::hd(), "hd"), Err(BenchError::NoGears { width: 320, .. })));
    let gears =
        vec![Gear::new(160, 90, 200, "superfast"), Gear { halve: true, ..Gear::new(160, 90, 100, "superfast") }];
    let short = Clip { units: clip.units[..10].to_vec(), ..clip.clone() };
    let clock = Arc::new(StoppedClock);
    assert!(matches!(make(&short, gears.clone(), &folder, clock).await, Err(BenchError::NeverBegan)));
    let stages = make(&clip, gears, &folder, Arc::new(StoppedClock)).await.unwrap();
    for (gear, pictures) in [("90p-200", "300"), ("90p-100", "150")] {
        let media = folder.join(format!("ours-{gear}.mp4")).display().to_string();
        let counted = "-v error -count_packets -show_entries stream=nb_read_packets -of csv=p=0";
        let arguments: Vec<&str> = counted.split(' ').chain([&*media]).collect();
        assert_eq!(ffmpeg("ffprobe", &arguments).trim().trim_end_matches(','), pictures, "{gear}");
    }
    assert!(stages.decode > 0.0 && stages.scale > 0.0 && stages.encode > 0.0 && stages.package > 0.0, "{stages:?}");
    assert_eq!(stages.to_string().parse(), Ok(stages));
}
