//! Single pictures of a stream: its I-frame playlists and its poster, read as a player and a page read them.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::path::Path;
use std::time::Duration;

use headwater_e2e::clock::poll;
use headwater_e2e::decode::{checksums, probe};
use headwater_e2e::http::Http;
use headwater_e2e::program::Program;
use headwater_e2e::server::{Folder, Server, multivariant_path};
use headwater_e2e::testdata;
use headwater_hls::{MediaPlaylist, check};

const GEARS: &str = "
ladder = 'small'
session.end_grace_seconds = 1
[[ladders]]
name = 'small'
gears = [
  { width = 426, height = 240, bitrate_kbps = 400 },
  { width = 256, height = 144, bitrate_kbps = 150 },
]";

/// One EXT-X-I-FRAME-STREAM-INF line.
#[derive(Debug)]
struct IFrames {
    peak_bps: u64,
    average_bps: u64,
    resolution: String,
    codecs: String,
    path: String,
}

/// The I-frame playlists that the multivariant playlist lists, once there are `count`.
#[track_caller]
fn listed(server: &Server, stream: &str, count: usize) -> Vec<IFrames> {
    server.multivariant(stream);
    let (mut player, path) = (server.player(), multivariant_path(stream));
    let folder = path.strip_suffix("index.m3u8").unwrap();
    let found = poll(Duration::from_secs(20), || {
        let text = player.get(&path).text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-I-FRAME-STREAM-INF:"));
        let found: Vec<IFrames> = lines.map(|line| i_frames(line, folder)).collect();
        (found.len() >= count).then_some(found)
    });
    found.expect("the I-frame playlists are listed")
}

fn i_frames(attributes: &str, folder: &str) -> IFrames {
    // No value of ours that is in quotes has a comma: there is one codec.
    let value = |name: &str| {
        let pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.trim_matches('"').to_owned());
        found.next().unwrap_or_else(|| panic!("no {name} in {attributes}"))
    };
    assert!(!attributes.contains("FRAME-RATE"), "{attributes}");
    IFrames {
        peak_bps: value("BANDWIDTH").parse().unwrap(),
        average_bps: value("AVERAGE-BANDWIDTH").parse().unwrap(),
        resolution: value("RESOLUTION"),
        codecs: value("CODECS"),
        path: format!("{folder}{}", value("URI")),
    }
}

/// Follows an I-frame playlist to its end, one segment after the other.
fn follow(player: &mut Http, path: &str) -> MediaPlaylist {
    let mut last: Option<MediaPlaylist> = None;
    loop {
        let next = last.as_ref().map(|last| last.media_sequence + last.segments.len() as u64);
        let query = next.map(|msn| format!("?_HLS_msn={msn}")).unwrap_or_default();
        let answer = player.get(&format!("{path}{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/vnd.apple.mpegurl")));
        let playlist: MediaPlaylist = answer.text().parse().unwrap();
        assert_eq!(check::playlist(&playlist), []);
        assert!(!playlist.segments.is_empty(), "{playlist}");
        if let Some(last) = &last {
            assert_eq!(check::successor(last, &playlist), []);
            let end = playlist.media_sequence + playlist.segments.len() as u64;
            // The publisher may be gone: then the unchanged playlist comes after the hold.
            assert!(playlist.ended || next < Some(end) || playlist == *last, "{playlist}");
        }
        if playlist.ended {
            return playlist;
        }
        last = Some(playlist);
    }
}

fn file(folder: &Folder, name: &str, pieces: &[&[u8]]) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, pieces.concat()).unwrap();
    path
}

fn pictures(file: &Path) -> Vec<String> {
    checksums(file, &["-map", "0:v"])
}

/// Every I-frame is one whole picture, the first of its segment, and the rates keep to what was declared (H-75).
#[track_caller]
fn expect_pictures(player: &mut Http, declared: &IFrames, playlist: &MediaPlaylist) {
    let (folder, base) = (Folder::new(), declared.path.strip_suffix("iframes.m3u8").unwrap());
    let init = player.get(&format!("{base}{}", playlist.segments[0].lead.map.as_ref().unwrap())).body;
    let (mut bits, mut length) = (0, 0);
    for segment in &playlist.segments {
        let range = segment.byte_range.unwrap();
        bits += range.length * 8;
        length += segment.duration.centi_millis.unsigned_abs();
        let bps = range.length * 800_000 / segment.duration.centi_millis.unsigned_abs().max(150_000);
        assert!(bps * 100 < declared.peak_bps * 125, "{bps} bit/s, declared {declared:?}");

        let path = format!("{base}{}", segment.uri);
        let field = format!("bytes={}-{}", range.offset, range.offset + range.length - 1);
        let piece = player.get_range(&path, &field);
        let whole = player.get(&path);
        let content_range = format!("bytes {}-{}/{}", range.offset, range.offset + range.length - 1, whole.body.len());
        assert_eq!((piece.status, piece.header("content-range")), (206, Some(content_range.as_str())));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));

        let one = pictures(&file(&folder, "i-frame.mp4", &[&init, &piece.body]));
        let all = pictures(&file(&folder, "segment.mp4", &[&init, &whole.body]));
        assert_eq!(one, &all[..1], "{path}");
    }
    let average = bits * 100_000 / length;
    assert!(average * 100 < declared.average_bps * 110, "{average} bit/s on average, declared {declared:?}");
}

#[test]
fn every_video_rendition_has_a_playlist_of_its_i_frames() {
    let server = Server::start(GEARS);
    let (clip, url) = (testdata("bbb.flv"), server.publish_url("live/show"));
    let _publisher = Program::ffmpeg(["-re", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv", &url]);
    let declared = listed(&server, "live/show", 3);
    let names: Vec<&str> = declared.iter().map(|one| one.path.rsplit('/').nth(1).unwrap()).collect();
    assert_eq!(names, ["source", "240p-400", "144p-150"]);
    let resolutions: Vec<&str> = declared.iter().map(|one| one.resolution.as_str()).collect();
    assert_eq!(resolutions, ["640x360", "426x240", "256x144"]);
    assert!(declared.iter().all(|one| one.codecs.starts_with("avc1.")), "{declared:?}");
    std::thread::scope(|scope| {
        for one in &declared {
            let mut player = server.player();
            scope.spawn(move || {
                let i_frames = follow(&mut player, &one.path);
                let media = player.get(&one.path.replace("iframes", "index")).text().parse().unwrap();
                assert_eq!(check::trick_play(&media, &i_frames), []);
                assert!(i_frames.segments.len() >= 4, "{i_frames}");
                expect_pictures(&mut player, one, &i_frames);
            });
        }
    });
    let audio = declared[0].path.replace("source", "audio");
    assert_eq!(server.player().get(&audio).status, 404);
}

/// FFmpeg's test picture, 16:9 from samples that are wider than high.
fn publish_wide(server: &Server) -> Program {
    let picture = "testsrc2=size=720x576:rate=25,setsar=64/45";
    let encoder = "-c:v libx264 -preset ultrafast -tune zerolatency -g 50 -pix_fmt yuv420p -f flv";
    let url = server.publish_url("live/show");
    Program::ffmpeg(["-re", "-f", "lavfi", "-i", picture].into_iter().chain(encoder.split(' ')).chain([url.as_str()]))
}

#[test]
fn a_poster_is_a_jpeg_in_the_shape_of_the_stream() {
    let server = Server::start("ladder = 'none'");
    let _publisher = publish_wide(&server);
    server.multivariant("live/show");
    let mut player = server.player();
    let poster = player.get("/live/show/poster.jpg");
    assert_eq!((poster.status, poster.header("content-type")), (200, Some("image/jpeg")));
    assert_eq!(poster.header("cache-control"), Some("public, max-age=2"));
    assert_eq!(poster.header("access-control-allow-origin"), Some("*"));
    let folder = Folder::new();
    let picture = file(&folder, "poster.jpg", &[&poster.body]);
    let shown = probe(picture.to_str().unwrap(), &[], "stream=codec_name,width,height,pix_fmt");
    assert_eq!(shown.lines().collect::<Vec<_>>(), ["mjpeg", "640", "360", "yuvj420p"]);
    assert_eq!(pictures(&picture).len(), 1);
    // Whoever asks in the next seconds gets the same, and the page is told where it is.
    assert_eq!(player.get("/live/show/poster.jpg").body, poster.body);
    assert!(player.get("/streams.json").text().contains("\"poster\":\"/live/show/poster.jpg\""));

    let none = player.get("/live/other/poster.jpg");
    assert_eq!((none.status, none.header("cache-control")), (404, Some("public, max-age=1")));
}

#[test]
fn posters_can_be_switched_off() {
    let server = Server::start("ladder = 'none'\ntranscode.poster_seconds = 0");
    let _publisher = publish_wide(&server);
    server.multivariant("live/show");
    assert_eq!(server.player().get("/live/show/poster.jpg").status, 404);
    assert!(server.player().get("/streams.json").text().contains("\"poster\":null"));
}

#[test]
fn a_stream_without_pictures_has_neither() {
    let server = Server::start("ladder = 'none'");
    let tone = "-re -f lavfi -i sine=sample_rate=44100 -c:a aac -f flv";
    let url = server.publish_url("live/show");
    let _publisher = Program::ffmpeg(tone.split(' ').chain([url.as_str()]));
    assert!(!server.multivariant("live/show").contains("I-FRAME"));
    assert_eq!(server.player().get("/live/show/poster.jpg").status, 404);
}
