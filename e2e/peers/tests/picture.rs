//! A real clip, played to its last picture in every rendition, and decoded by FFmpeg.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::path::Path;
use std::time::Duration;

use headwater_e2e::decode::{checksums, count_frames, decode_silently, probe, psnr};
use headwater_e2e::follow::{Follower, Renditions};
use headwater_e2e::program::Program;
use headwater_e2e::server::{Folder, Server, headwater};
use headwater_e2e::testdata;

/// The clip has 300 kbit/s at 640x360: gears must be smaller to be kept.
const CONFIG: &str = "
ladder = 'small'
session.end_grace_seconds = 1
transcode.when = 'always'
[[ladders]]
name = 'small'
gears = [
  { width = 426, height = 240, bitrate_kbps = 400 },
  { width = 256, height = 144, bitrate_kbps = 150 },
]";

/// Pictures in the clip.
const PICTURES: usize = 250;

const VIDEO: [(&str, (u32, u32)); 3] = [("source", (640, 360)), ("240p-400", (426, 240)), ("144p-150", (256, 144))];

fn write(all: &Renditions, name: &str, folder: &Folder) -> std::path::PathBuf {
    let path = folder.path().join(format!("{name}.mp4"));
    std::fs::write(&path, all[name].file()).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_clip_plays_to_its_last_picture_in_every_rendition() {
    let clip = testdata("bbb.flv");
    let server = Server::start(CONFIG);
    let url = server.publish_url("live/bbb");
    let publisher = Program::start(headwater().arg("publish").arg(&clip).arg(url));
    let follower = Follower::start(&server, "live/bbb");
    publisher.finish(Duration::from_secs(30)).expect_success();
    follower.expect_end(Duration::from_secs(15));
    let whole = server.play_url("live/bbb");
    let all = follower.finish();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["144p-150", "240p-400", "audio", "source"]);

    let folder = Folder::new();
    for (name, size) in VIDEO {
        let (rendition, file) = (&all[name], write(&all, name, &folder));
        assert_eq!((rendition.gaps, rendition.discontinuities()), (0, 0), "{name}");
        assert_eq!(rendition.samples(), PICTURES, "{name}");
        decode_silently(text(&file));
        assert_eq!(count_frames(&file), PICTURES, "{name}");
        let shown = probe(text(&file), &["-select_streams", "v"], "stream=width,height");
        assert_eq!(shown, format!("{}\n{}", size.0, size.1), "{name}");
        let noise = psnr(&file, &clip, size);
        println!("{name}: PSNR {noise:.1} dB, {} kbit/s", std::fs::metadata(&file).unwrap().len() * 8 / 10_000);
        assert!(noise >= 30.0, "{name}: {noise} dB");
    }

    let pictures = ["-map", "v", "-pix_fmt", "yuv420p"];
    assert_eq!(checksums(&folder.path().join("source.mp4"), &pictures), checksums(&clip, &pictures));

    // The last picture is where a player gets to that comes to the ended playlist, too.
    decode_silently(&whole);

    let audio = write(&all, "audio", &folder);
    decode_silently(text(&audio));
    let coded = ["-map", "a", "-c", "copy"];
    let (sent, served) = (checksums(&clip, &coded), checksums(&audio, &coded));
    // What comes before the first picture is left out (four frames of 23 ms begin before 80 ms, the last of them ends
    // after it), and the track ends with the last picture, 49 ms after its own last frame, in silence.
    let (kept, silence) = served.split_at(sent.len() - 3);
    assert_eq!(kept, &sent[3..]);
    assert_eq!(silence.len(), 2);
    assert_eq!(silence[0], silence[1]);
}
