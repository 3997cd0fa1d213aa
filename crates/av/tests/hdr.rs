//! HDR pictures where SDR is wanted. FFmpeg's command-line tool makes PQ and HLG of SDR test pictures, whose white is then
//! HDR's white: what comes out should be what went in.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::process::Command;

use bytes::Bytes;
use headwater_av::{Frame, PixelFormat, Scaler, Size, VideoDecoder};
use headwater_media::{AvcConfig, Colour, Timescale, VideoConfig};

const SOURCE: Size = Size { width: 320, height: 180 };
const TARGET: Size = Size { width: 160, height: 90 };

/// Eight columns: greys, the last of which is white. Luma, and chroma.
const GREYS: [[u8; 3]; 8] = [
    [16, 128, 128],
    [30, 128, 128],
    [60, 128, 128],
    [90, 128, 128],
    [126, 128, 128],
    [160, 128, 128],
    [190, 128, 128],
    [235, 128, 128],
];
/// Colour bars of 75 % with half of their colour, in BT.709. (With all of it components are 0, and a step of 10 bits is much.)
const BARS: [[u8; 3]; 8] = [
    [180, 128, 128],
    [168, 86, 132],
    [145, 138, 86],
    [133, 96, 90],
    [63, 160, 166],
    [51, 118, 170],
    [45, 170, 124],
    [16, 128, 128],
];
const PQ: &str = "smpte2084";
const HLG: &str = "arib-std-b67";

/// A filter that paints eight columns.
fn columns(columns: &[[u8; 3]; 8]) -> String {
    let component = |index: usize| {
        let values = (0..7).rev().fold(columns[7][index].to_string(), |rest, column| {
            format!("if(lt(8*X,{}*W),{},{rest})", column + 1, columns[column][index])
        });
        format!("'{values}'")
    };
    let plane = "format=yuv444p,geq=lum=";
    let said = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv";
    format!("{plane}{}:cb={}:cr={},{said}", component(0), component(1), component(2))
}

/// One picture, made HDR with this transfer, in this pixel format, after `format`, and coded.
fn hdr(transfer: &str, size: Size, pixel_format: &str, paint: &str) -> Frame {
    // 1.0 in linear light are 203 cd/m2, as white is.
    let light = "zscale=t=linear:npl=203:agamma=0,format=gbrpf32le";
    let coded = format!("zscale=t={transfer}:p=bt2020:m=bt2020nc:r=tv:npl=203:agamma=0,format={pixel_format}");
    let filter = format!("color=c=black:s={size}:r=30,{paint},{light},{coded}");
    decode(&filter, &["-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc"])
}

fn sdr(size: Size, paint: &str) -> Frame {
    decode(&format!("color=c=black:s={size}:r=30,{paint},format=yuv420p"), &["-colorspace", "bt709"])
}

fn decode(source: &str, colour: &[&str]) -> Frame {
    decode_hinted(source, colour, Colour::unspecified(false))
}

/// The same with what a container says of the colour.
fn decode_hinted(source: &str, colour: &[&str], hint: Colour) -> Frame {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "1", "-c:v", "libx264"])
        .args(["-crf", "1"])
        .args(colour)
        .args(["-f", "h264", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stream = Bytes::from(output.stdout);
    let mut config: VideoConfig = AvcConfig::parse_annex_b(&stream).unwrap().into();
    config.hint_colour(hint);
    let mut decoder = VideoDecoder::new(&config, Timescale::VIDEO).unwrap();
    decoder.send(&AvcConfig::access_unit_annex_b(&stream).data, 7, 7).unwrap();
    decoder.finish().unwrap();
    decoder.receive().unwrap().unwrap()
}

fn scale(frame: &Frame, target: Size, colour: Colour) -> Frame {
    let mut scaler = Scaler::new(target);
    scaler.set_colour(colour);
    scaler.scale(frame).unwrap()
}

/// What is in the middle of each column.
fn read(frame: &Frame) -> [[u8; 3]; 8] {
    std::array::from_fn(|column| {
        [0, 1, 2].map(|index| {
            let plane = frame.plane(index).unwrap();
            plane.rows().nth(plane.height / 2).unwrap()[(2 * column + 1) * plane.width / 16]
        })
    })
}

#[track_caller]
fn assert_near(found: [[u8; 3]; 8], wanted: [[u8; 3]; 8], tolerance: u8, what: &str) {
    let off = found.iter().flatten().zip(wanted.iter().flatten()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(off <= tolerance, "{what}: off by {off}: {found:?}, expected {wanted:?}");
}

/// What is no brighter than skin is as it was; white leaves room for what is brighter, and is 217.
#[test]
fn pictures_up_to_white_come_out_as_they_were_before_they_became_hdr() {
    let mut greys = GREYS;
    greys[7][0] = 217;
    for transfer in [PQ, HLG] {
        for format in ["yuv420p10le", "yuv444p10le", "yuv420p"] {
            // 8 bits are too few for HDR; but there is a picture.
            let tolerance = if format == "yuv420p" { 8 } else { 2 };
            let [grey, bars] = [&GREYS, &BARS].map(|paint| hdr(transfer, SOURCE, format, &columns(paint)));
            for size in [TARGET, SOURCE] {
                let name = format!("{transfer} {format} {size}");
                let scaled = scale(&grey, size, Colour::HD);
                assert_eq!((scaled.size(), scaled.pixel_format(), scaled.pts()), (size, PixelFormat::Yuv420p, Some(7)));
                assert_eq!(scaled.colour(), Colour::HD, "{name}");
                assert_near(read(&scaled), greys, tolerance, &name);
                assert_near(read(&scale(&bars, size, Colour::HD)), BARS, tolerance + 1, &name);
            }
        }
    }
}

/// 1000 cd/m2 and more are white, at any of which nothing turns over.
#[test]
fn the_brightest_light_is_white() {
    // 10 bits of PQ: 203, 400, 1000, 4000 and 10000 cd/m2.
    let codes = [573, 636, 723, 844, 940];
    let luma = codes.map(|code| {
        let paint = format!("format=yuv420p10le,geq=lum={code}:cb=512:cr=512");
        let filter = format!("color=c=black:s={SOURCE}:r=30,{paint}");
        let frame = decode(&filter, &["-color_primaries", "bt2020", "-color_trc", PQ, "-colorspace", "bt2020nc"]);
        read(&scale(&frame, TARGET, Colour::HD))[3]
    });
    for ([luma, blue, red], wanted) in luma.into_iter().zip([217, 229, 235, 235, 235]) {
        assert!(luma.abs_diff(wanted) <= 1 && blue.abs_diff(128) <= 1 && red.abs_diff(128) <= 1, "{luma} {wanted}");
    }
}

/// What SD's matrix is wanted for gets it; bars and odd sides are as for SDR.
#[test]
fn shape_matrix_and_odd_sides_are_those_of_any_other_picture() {
    let size = Size { width: 241, height: 181 };
    let frame = hdr(
        PQ,
        size,
        "yuv444p10le",
        "format=yuv444p,geq=lum=126:cb=100:cr=150,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv",
    );
    let sd = Colour { primaries: 6, transfer: 6, matrix: 6, full_range: false };
    let scaled = scale(&frame, SOURCE, sd);
    assert_eq!((scaled.size(), scaled.colour()), (SOURCE, sd));
    let wanted = {
        let paint = "format=yuv444p,geq=lum=126:cb=100:cr=150";
        let source = format!(
            "color=c=black:s=240x180:r=30,{paint},scale=in_color_matrix=bt709:out_color_matrix=bt601,format=yuv420p"
        );
        read(&decode(&source, &["-colorspace", "smpte170m"]))[3]
    };
    let found = read(&scaled);
    assert_near([found[3]; 8], [wanted; 8], 2, "the picture");
    assert_eq!((found[0], found[7]), ([16, 128, 128], [16, 128, 128]), "bars");
}

#[test]
fn sdr_and_what_is_to_stay_hdr_are_not_touched() {
    let frame = sdr(SOURCE, &columns(&GREYS));
    assert_near(read(&scale(&frame, TARGET, Colour::HD)), GREYS, 1, "SDR");
    let frame = hdr(PQ, SOURCE, "yuv420p10le", &columns(&GREYS));
    let said = frame.colour();
    let stays = read(&scale(&frame, TARGET, said));
    assert_eq!(stays, read(&Scaler::new(TARGET).scale(&frame).unwrap()));
    assert!(stays[7][0].abs_diff(143) <= 1, "203 cd/m2 in PQ: {stays:?}");
}

/// SDR, HDR and SDR again through one scaler.
#[test]
fn a_source_may_change_between_sdr_and_hdr() {
    let mut scaler = Scaler::new(TARGET);
    scaler.set_colour(Colour::HD);
    let (sdr, hdr) = (sdr(SOURCE, &columns(&BARS)), hdr(HLG, SOURCE, "yuv420p10le", &columns(&BARS)));
    let before = read(&scaler.scale(&sdr).unwrap());
    assert_near(read(&scaler.scale(&hdr).unwrap()), before, 3, "HDR after SDR");
    assert_eq!(read(&scaler.scale(&sdr).unwrap()), before);
}

/// Enhanced RTMP's metadata, or VP9's record.
#[test]
fn a_container_may_say_that_a_picture_is_hdr() {
    let source = format!("color=c=black:s={SOURCE}:r=30,format=yuv420p10le,geq=lum=573:cb=512:cr=512");
    let hint = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
    let [said, unsaid] = [hint, Colour::unspecified(false)].map(|hint| decode_hinted(&source, &[], hint));
    assert_eq!((said.colour(), unsaid.colour()), (hint, Colour::unspecified(false)));
    assert_near([read(&scale(&said, TARGET, Colour::HD))[3]; 8], [[217, 128, 128]; 8], 1, "said");
    assert_near([read(&scale(&unsaid, TARGET, Colour::HD))[3]; 8], [[141, 128, 128]; 8], 1, "not said");
}

/// Planes of RGB are not read by zimg: pale, but a picture.
#[test]
fn a_format_that_cannot_be_mapped_is_still_shown() {
    let paint = "format=gbrp10le,geq=r=500:g=500:b=500";
    let frame = decode(&format!("color=c=black:s={SOURCE}:r=30,{paint}"), &["-color_trc", PQ, "-colorspace", "rgb"]);
    assert_eq!(scale(&frame, TARGET, Colour::HD).size(), TARGET);
}
