//! Video codecs of Enhanced RTMP on the whole way: what FFmpeg n9 wrote is published, and FFmpeg 5.1 plays what is served.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::path::Path;
use std::time::Duration;

use headwater_e2e::decode::{count_frames, decode_silently, probe, psnr};
use headwater_e2e::follow::{Follower, Renditions};
use headwater_e2e::http::{Hangup, Http};
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, is_config, tags};
use headwater_e2e::server::{Folder, Server, headwater};
use headwater_e2e::testdata;
use headwater_flv::{Tag, TagType};

const CONFIG: &str = "
ladder = 'small'
session.end_grace_seconds = 1
transcode.when = 'always'
[[ladders]]
name = 'small'
gears = [
  { width = 192, height = 108, bitrate_kbps = 120 },
  { width = 128, height = 72, bitrate_kbps = 60 },
]";

/// Pictures in each clip, of which the first and the 51st are keyframes.
const PICTURES: usize = 100;

/// Publishes a clip to its end. The multivariant playlist, and all renditions.
fn play(clip: &str) -> (String, Renditions) {
    let server = Server::start(CONFIG);
    let url = server.publish_url("live/show");
    let publisher = Program::start(headwater().arg("publish").arg(testdata(clip)).arg(url));
    let follower = Follower::start(&server, "live/show");
    publisher.finish(Duration::from_secs(30)).expect_success();
    follower.expect_end(Duration::from_secs(15));
    let multivariant = server.multivariant("live/show");
    (multivariant, follower.finish())
}

/// Publishes tags to their end. All renditions.
fn play_tags(server: &Server, tags: Vec<Tag>) -> Renditions {
    let publishing = Publisher::publish(server.rtmp, "live/show", tags);
    let follower = Follower::start(server, "live/show");
    publishing.join().unwrap();
    follower.expect_end(Duration::from_secs(15));
    follower.finish()
}

fn write(all: &Renditions, name: &str, folder: &Folder) -> std::path::PathBuf {
    let path = folder.path().join(format!("{name}.mp4"));
    std::fs::write(&path, all[name].file()).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The source rendition is offered as what it is, and decodes; the gears are H.264 and have all its pictures.
fn check(clip: &str, codecs: &str, ffprobe: &str) {
    let (multivariant, all) = play(clip);
    let source = multivariant.lines().find(|line| line.contains(&format!("CODECS=\"{codecs}")));
    assert!(source.is_some_and(|line| line.contains("RESOLUTION=256x144")), "{multivariant}");
    let pictures =
        multivariant.lines().filter(|line| line.starts_with("#EXT-X-STREAM-INF") && line.contains("RESOLUTION"));
    assert_eq!(pictures.count(), 3, "{multivariant}");
    assert_eq!(multivariant.matches("CODECS=\"avc1.").count(), 4, "two gears and their I-frames: {multivariant}");

    let folder = Folder::new();
    let source = write(&all, "source", &folder);
    let stream = probe(text(&source), &["-select_streams", "v"], "stream=codec_name,codec_tag_string,width,height");
    assert_eq!(stream, ffprobe);
    for (name, size) in [("source", (256, 144)), ("108p-120", (192, 108)), ("72p-60", (128, 72))] {
        let (rendition, file) = (&all[name], write(&all, name, &folder));
        assert_eq!((rendition.gaps, rendition.discontinuities()), (0, 0), "{name}");
        assert_eq!((rendition.samples(), rendition.inits.len()), (PICTURES, 1), "{name}");
        assert!(rendition.lengths.len() >= 2, "{name}: {:?}", rendition.lengths);
        decode_silently(text(&file));
        assert_eq!(count_frames(&file), PICTURES, "{name}");
        let noise = psnr(&file, &source, size);
        assert!(noise >= 25.0, "{name}: {noise} dB");
    }
}

/// C-38. With B-frames in closed GOPs, and with sound.
#[test]
fn hevc_is_offered_as_it_is_and_in_a_ladder() {
    check("hevc.flv", "hvc1.1.6.L60.90,mp4a.40.2", "hevc\nhvc1\n256\n144");
}

/// C-39.
#[test]
fn av1_is_offered_as_it_is_and_in_a_ladder() {
    check("av1.flv", "av01.0.00M.08", "av1\nav01\n256\n144");
}

#[test]
fn vp9_is_offered_as_it_is_and_in_a_ladder() {
    check("vp9.flv", "vp09.00.10.08", "vp9\nvp09\n256\n144");
}

/// Keyframes that are CRA pictures with others before them in time: decoding can begin there, a segment cannot.
#[test]
fn hevc_with_open_gops_is_whole_in_the_ladder() {
    let (_, all) = play("hevc-open-gop.flv");
    let folder = Folder::new();
    for name in ["108p-120", "72p-60"] {
        let (rendition, file) = (&all[name], write(&all, name, &folder));
        assert_eq!((rendition.gaps, rendition.discontinuities()), (0, 0), "{name}");
        decode_silently(text(&file));
        assert_eq!(count_frames(&file), PICTURES, "{name}");
    }
}

/// the gears go on through other codecs; the source does too, each time with another init segment.
#[test]
fn a_publisher_may_change_its_codec_and_the_size_of_its_pictures() {
    let server = Server::start(CONFIG);
    let pictures = |clip: &str| tags(&testdata(clip)).into_iter().filter(|tag| tag.kind == TagType::Video);
    // The last is H.264 of 64x36, for six seconds.
    let clips = ["hevc.flv", "av1.flv", "vp9.flv", "enhanced-opus.flv"];
    let all: Vec<Tag> = (0..)
        .zip(clips)
        .flat_map(|(number, clip)| {
            pictures(clip).map(move |tag| Tag { timestamp: tag.timestamp + number * 4000, ..tag }).collect::<Vec<_>>()
        })
        .collect();
    let all = play_tags(&server, all);
    let folder = Folder::new();
    for name in ["108p-120", "72p-60"] {
        let (rendition, file) = (&all[name], write(&all, name, &folder));
        assert_eq!((rendition.gaps, rendition.discontinuities(), rendition.inits.len()), (0, 3, 1), "{name}");
        decode_silently(text(&file));
        let frames = count_frames(&file);
        assert!((445..=455).contains(&frames), "{name}: {frames}");
    }
    let source = &all["source"];
    assert_eq!((source.discontinuities(), source.inits.len()), (3, 4), "{}", source.playlist);
    for (number, (bytes, codec)) in source.files().into_iter().zip(["hevc", "av1", "vp9", "h264"]).enumerate() {
        let file = folder.path().join(format!("source-{number}.mp4"));
        std::fs::write(&file, bytes).unwrap();
        decode_silently(text(&file));
        assert_eq!(probe(text(&file), &["-select_streams", "v"], "stream=codec_name"), codec);
    }
}

/// FFmpeg n9's three tracks, of which the first has no number in its header.
#[test]
fn of_several_tracks_the_first_is_taken() {
    let server = Server::start(CONFIG);
    let url = server.publish_url("live/show");
    let publisher = Program::start(headwater().arg("publish").arg(testdata("multitrack.flv")).arg(url));
    let follower = Follower::start(&server, "live/show");
    publisher.finish(Duration::from_secs(30)).expect_success();
    follower.expect_end(Duration::from_secs(15));
    let metrics = Http::new(server.admin, Hangup::default()).get("/metrics").text();
    // Two configurations and 200 pictures, and FFmpeg's two ends.
    let count = metrics.lines().find_map(|line| line.strip_prefix("headwater_rtmp_odd_total{what=\"other_track\"} "));
    assert!(count.is_some_and(|count| (202..=204).contains(&count.parse().unwrap())), "{metrics}");
    let all = follower.finish();
    let folder = Folder::new();
    let source = write(&all, "source", &folder);
    decode_silently(text(&source));
    assert_eq!(count_frames(&source), PICTURES);
    let size = probe(text(&source), &["-select_streams", "v"], "stream=width,height");
    assert_eq!((size.as_str(), all["source"].gaps), ("256\n144", 0));
}

/// FFmpeg sends all configurations first, then pictures and sound: the session begins with the first track's first picture,
/// before there is one of the others.
#[test]
fn tracks_that_come_with_sound_are_the_ladder_too() {
    let server = Server::start(&format!("multitrack = 'ladder'\n{CONFIG}"));
    let sound = tags(&testdata("hevc.flv")).into_iter().filter(|tag| tag.kind == TagType::Audio);
    let mut all: Vec<Tag> = tags(&testdata("multitrack.flv")).into_iter().chain(sound).collect();
    let is_picture = |tag: &Tag| tag.kind == TagType::Video && tag.body.len() > 100;
    all.sort_by_key(|tag| (tag.timestamp, is_picture(tag), tag.kind == TagType::Audio && !is_config(tag)));
    let all = play_tags(&server, all);
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["audio", "source", "track-1", "track-2"]);
    for name in ["source", "track-1", "track-2"] {
        assert_eq!((all[name].gaps, all[name].samples()), (0, PICTURES), "{name}");
    }
}

/// A track that stops is off with a reason, and a gap in step with the others, which go on.
#[test]
fn a_track_that_stops_is_off_and_the_others_go_on() {
    let server = Server::start(&format!("multitrack = 'ladder'\n{CONFIG}"));
    // One track in its tag, whose number is behind header, type and FourCC.
    let is_second = |tag: &Tag| tag.kind == TagType::Video && tag.body[0] & 0x8F == 0x86 && tag.body[6] == 2;
    let all: Vec<Tag> = tags(&testdata("multitrack.flv"));
    let all: Vec<Tag> = all.into_iter().filter(|tag| !is_second(tag) || tag.timestamp < 1000).collect();
    let all = play_tags(&server, all);
    server.expect_logged(&["its track has stopped", "rendition=track-2"]);
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["source", "track-1", "track-2"]);
    assert_eq!((all["source"].gaps, all["track-1"].gaps), (0, 0));
    // What came is served; then there are gaps for three seconds.
    assert_eq!(all["track-2"].samples(), 25);
    assert!(all["track-2"].gaps >= 10, "{}", all["track-2"].playlist);
    assert_eq!(all["track-2"].lengths, all["source"].lengths);
}

/// One picture in three sizes is the ladder: nothing is encoded, and all have the same segments and parts.
#[test]
fn tracks_can_be_the_ladder() {
    let server = Server::start(&format!("multitrack = 'ladder'\n{CONFIG}"));
    let url = server.publish_url("live/show");
    let publisher = Program::start(headwater().arg("publish").arg(testdata("multitrack.flv")).arg(url));
    let follower = Follower::start(&server, "live/show");
    publisher.finish(Duration::from_secs(30)).expect_success();
    follower.expect_end(Duration::from_secs(15));
    let multivariant = server.multivariant("live/show");
    let metrics = Http::new(server.admin, Hangup::default()).get("/metrics").text();
    assert!(metrics.contains("headwater_transcode_jobs 0\n"), "{metrics}");
    assert!(metrics.contains("{what=\"other_track\"} 0\n"), "{metrics}");
    let all = follower.finish();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["source", "track-1", "track-2"]);
    let folder = Folder::new();
    let source = write(&all, "source", &folder);
    let parts = |name: &str| all[name].parts.iter().map(|(at, part)| (*at, part.start.ticks)).collect::<Vec<_>>();
    for (name, size) in [("source", (256, 144)), ("track-1", (192, 108)), ("track-2", (128, 72))] {
        assert!(multivariant.contains(&format!("RESOLUTION={}x{},", size.0, size.1)), "{multivariant}");
        let file = write(&all, name, &folder);
        assert_eq!((all[name].gaps, all[name].samples()), (0, PICTURES), "{name}");
        assert_eq!(parts(name), parts("source"), "{name}");
        decode_silently(text(&file));
        assert_eq!(count_frames(&file), PICTURES, "{name}");
        let noise = psnr(&file, &source, size);
        assert!(noise >= 25.0, "{name}: {noise} dB");
    }
}
