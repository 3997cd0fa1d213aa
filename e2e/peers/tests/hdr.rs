//! HDR on the whole way: the source is offered as it is, and its gears are SDR that looks like it.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::path::Path;
use std::time::Duration;

use headwater_e2e::decode::{count_frames, decode_silently, probe};
use headwater_e2e::follow::{Follower, Renditions};
use headwater_e2e::hevc;
use headwater_e2e::program::Program;
use headwater_e2e::publisher::Publisher;
use headwater_e2e::server::{Folder, Server};

const CONFIG: &str = "
ladder = 'small'
session.end_grace_seconds = 1
transcode.when = 'always'
[[ladders]]
name = 'small'
gears = [
  { width = 192, height = 108, bitrate_kbps = 500 },
  { width = 128, height = 72, bitrate_kbps = 300 },
]";
const GEARS: [(&str, usize, usize); 2] = [("108p-500", 192, 108), ("72p-300", 128, 72)];
const PICTURES: usize = 120;
/// Long enough for some seconds of small pictures on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Columns of an SDR picture, luma and chroma: three greys, white, and four of the 75 % colour bars with half of
/// their colour.
const COLUMNS: [[u8; 3]; 8] = [
    [30, 128, 128],
    [90, 128, 128],
    [160, 128, 128],
    [235, 128, 128],
    [168, 86, 132],
    [133, 96, 90],
    [63, 160, 166],
    [51, 118, 170],
];
/// What becomes of white: it leaves room for what is brighter.
const WHITE: u8 = 217;

/// A filter that paints the columns, and makes them HDR with this transfer: SDR's white is HDR's, 203 cd/m2.
fn picture(transfer: &str) -> String {
    let component = |index: usize| {
        (0..7).rev().fold(COLUMNS[7][index].to_string(), |rest, column| {
            format!("if(lt(8*X,{}*W),{},{rest})", column + 1, COLUMNS[column][index])
        })
    };
    let paint = format!("geq=lum='{}':cb='{}':cr='{}'", component(0), component(1), component(2));
    // The filter that paints is slow: once is enough.
    let once = "trim=end_frame=1,loop=loop=-1:size=1";
    let said = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv";
    let hdr = format!("zscale=t={transfer}:p=bt2020:m=bt2020nc:r=tv:npl=203:agamma=0,format=yuv420p10le");
    format!(
        "color=c=black:s=256x144:r=30,format=yuv444p,{paint},{said},zscale=t=linear:npl=203:agamma=0,format=gbrpf32le,{hdr},\
         {once},setpts=N/30/TB"
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The middle of each column in the last of a file's pictures.
fn columns(file: &Path, width: usize, height: usize) -> [[u8; 3]; 8] {
    let raw = file.with_extension("yuv");
    let output = ["-pix_fmt", "yuv420p", "-f", "rawvideo", text(&raw)];
    Program::ffmpeg(["-i", text(file)].into_iter().chain(output)).finish(LIMIT).expect_silent();
    let all = std::fs::read(&raw).unwrap();
    let last = &all[all.len() - width * height * 3 / 2..];
    std::array::from_fn(|column| {
        let x = (2 * column + 1) * width / 16;
        let chroma = |index: usize| last[width * height + (index * height / 2 + height / 4) * (width / 2) + x / 2];
        [last[height / 2 * width + x], chroma(0), chroma(1)]
    })
}

/// What a gear must be: SDR to those who choose, to those who decode, and to the eye.
fn check(multivariant: &str, all: &Renditions, range: &str, transfer: &str) {
    let lines = |range: &str, codecs: &str| {
        let said = format!("VIDEO-RANGE={range}");
        multivariant.lines().filter(|line| line.contains(&said) && line.contains(codecs)).count()
    };
    assert_eq!((lines(range, "RESOLUTION=256x144"), lines("SDR", "CODECS=\"avc1.")), (2, 4), "{multivariant}");
    assert_eq!(lines(range, "RESOLUTION=192x108") + lines(range, "RESOLUTION=128x72"), 0, "{multivariant}");
    let folder = Folder::new();
    let write = |name: &str| {
        let path = folder.path().join(format!("{name}.mp4"));
        std::fs::write(&path, all[name].file()).unwrap();
        path
    };
    let colour = |path: &Path| {
        let entries = "stream=pix_fmt,color_space,color_transfer,color_primaries";
        probe(text(path), &["-select_streams", "v"], entries).replace('\n', " ")
    };
    let source = write("source");
    assert_eq!(colour(&source), format!("yuv420p10le bt2020nc {transfer} bt2020"));
    for (name, width, height) in GEARS {
        let file = write(name);
        assert_eq!((all[name].gaps, all[name].discontinuities()), (0, 0), "{name}");
        decode_silently(text(&file));
        assert_eq!(count_frames(&file), PICTURES, "{name}");
        assert_eq!(colour(&file), "yuv420p bt709 bt709 bt709", "{name}");
        let mut wanted = COLUMNS;
        wanted[3][0] = WHITE;
        let found = columns(&file, width, height);
        let off = found.iter().flatten().zip(wanted.iter().flatten()).map(|(found, wanted)| found.abs_diff(*wanted));
        assert!(off.max() <= Some(4), "{name}: {found:?}, expected {wanted:?}");
    }
}

/// PQ in HEVC.
#[test]
fn gears_of_a_pq_source_are_sdr_and_look_like_it() {
    let input = ["-f", "lavfi", "-i", &picture("smpte2084"), "-frames:v", "120"];
    let params = "crf=12:keyint=30:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited";
    let tags = hevc::clip(&input, params, 30);
    let server = Server::start(CONFIG);
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    let publishing = std::thread::spawn(move || {
        assert!(publisher.play(&tags));
        publisher.unpublish();
    });
    let follower = Follower::start(&server, "live/show");
    publishing.join().unwrap();
    follower.expect_end(Duration::from_secs(15));
    let multivariant = server.multivariant("live/show");
    check(&multivariant, &follower.finish(), "PQ", "smpte2084");
}

/// HLG in H.264 of 10 bits, from FFmpeg itself.
#[test]
fn gears_of_an_hlg_source_are_sdr_and_look_like_it() {
    let server = Server::start(CONFIG);
    let url = server.publish_url("live/show");
    let picture = picture("arib-std-b67");
    let input = ["-re", "-f", "lavfi", "-i", &picture, "-frames:v", "120"];
    let colour = ["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"];
    let encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "12", "-g", "30"];
    let publisher = Program::ffmpeg([&input[..], &encoder, &colour, &["-f", "flv", &url]].concat());
    let follower = Follower::start(&server, "live/show");
    publisher.finish(LIMIT).expect_success();
    follower.expect_end(Duration::from_secs(15));
    let multivariant = server.multivariant("live/show");
    check(&multivariant, &follower.finish(), "HLG", "arib-std-b67");
}
