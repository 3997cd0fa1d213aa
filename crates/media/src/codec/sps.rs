//! The H.264 sequence parameter set (ITU-T H.264, 7.3.2.1.1 and annex E).

use super::bits::{BitReader, unescape};
use super::{CodecError, Colour};
use crate::FrameRate;

/// What an SPS says that we need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sps {
    /// profile_idc: 66 Baseline, 77 Main, 100 High.
    pub profile: u8,
    /// The constraint flags' byte.
    pub constraints: u8,
    /// level_idc: 31 for 3.1.
    pub level: u8,
    /// chroma_format_idc: 1 is 4:2:0.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Sample aspect ratio; (1, 1) when the SPS does not say.
    pub sample_aspect: (u32, u32),
    /// Pictures are always whole frames.
    pub frame_mbs_only: bool,
    /// Timing from the VUI.
    pub timing: Option<VideoTiming>,
    /// Colour from the VUI.
    pub colour: Option<Colour>,
    /// Greatest number of frames that precede one in decoding order and follow it in output order, if the VUI says it.
    pub reorder_frames: Option<u32>,
}

/// VUI timing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VideoTiming {
    /// num_units_in_tick. Not zero.
    pub units_in_tick: u32,
    /// time_scale: a frame lasts `2 x units_in_tick / time_scale` seconds. Not zero.
    pub time_scale: u32,
    /// fixed_frame_rate_flag.
    pub fixed: bool,
}

impl Sps {
    /// Reads a NAL unit of type 7, its header byte included.
    ///
    /// A VUI that is cut off or nonsense costs only what it would have said: decoders play such streams too.
    pub fn parse(nal_unit: &[u8]) -> Result<Self, CodecError> {
        let Some((header, escaped)) = nal_unit.split_first() else {
            return Err(CodecError::Truncated { record: RECORD, field: "NAL unit header", length: 0 });
        };
        if header & 0x1F != 7 {
            let found = u64::from(header & 0x1F);
            return Err(CodecError::Unsupported { record: RECORD, field: "NAL unit type", found, expected: "7" });
        }
        let payload = unescape(&escaped[..escaped.len().min(SPS_BYTES_MAX)]);
        let mut bits = BitReader::new(RECORD, &payload);
        let mut sps = read_before_vui(&mut bits)?;
        if bits.flag("vui_parameters_present_flag").unwrap_or(false) {
            let _ = read_vui(&mut bits, &mut sps);
        }
        Ok(sps)
    }

    /// The frame rate that the VUI promises: its timing is said to be fixed and is a rate that video has. A hint;
    /// encoders are known to promise wrongly.
    pub fn frame_rate(&self) -> Option<FrameRate> {
        let timing = self.timing.filter(|timing| timing.fixed)?;
        let frames_per_second = f64::from(timing.time_scale) / (2.0 * f64::from(timing.units_in_tick));
        if (1.0..=300.0).contains(&frames_per_second) { FrameRate::snap(frames_per_second) } else { None }
    }
}

/// aspect_ratio_idc and what belongs to it; `None` when nothing is said by it. H.265 has the same table.
pub(super) fn sample_aspect(bits: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, CodecError> {
    let aspect = match bits.byte("aspect_ratio_idc")? {
        255 => (bits.bits(16, "sar_width")?, bits.bits(16, "sar_height")?),
        index => SAMPLE_ASPECTS.get(usize::from(index)).copied().unwrap_or((0, 0)),
    };
    // A zero on either side means "unspecified" (E.2.1).
    Ok(Some(aspect).filter(|(horizontal, vertical)| *horizontal != 0 && *vertical != 0))
}

/// 7.3.2.1.1 up to vui_parameters_present_flag.
fn read_before_vui(bits: &mut BitReader<'_>) -> Result<Sps, CodecError> {
    let profile = bits.byte("profile_idc")?;
    let constraints = bits.byte("constraint flags")?;
    let level = bits.byte("level_idc")?;
    bits.unsigned_up_to(31, "seq_parameter_set_id", "at most 31")?;

    let (mut chroma_format, mut bit_depth_luma, mut bit_depth_chroma) = (1, 8, 8);
    let mut separate_planes = false;
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = small(bits.unsigned_up_to(3, "chroma_format_idc", "at most 3")?);
        if chroma_format == 3 {
            separate_planes = bits.flag("separate_colour_plane_flag")?;
        }
        bit_depth_luma = 8 + small(bits.unsigned_up_to(6, "bit_depth_luma_minus8", "at most 6")?);
        bit_depth_chroma = 8 + small(bits.unsigned_up_to(6, "bit_depth_chroma_minus8", "at most 6")?);
        bits.flag("qpprime_y_zero_transform_bypass_flag")?;
        if bits.flag("seq_scaling_matrix_present_flag")? {
            skip_scaling_lists(bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }

    bits.unsigned_up_to(12, "log2_max_frame_num_minus4", "at most 12")?;
    match bits.unsigned_up_to(2, "pic_order_cnt_type", "at most 2")? {
        0 => {
            bits.unsigned_up_to(12, "log2_max_pic_order_cnt_lsb_minus4", "at most 12")?;
        }
        1 => {
            bits.flag("delta_pic_order_always_zero_flag")?;
            bits.signed("offset_for_non_ref_pic")?;
            bits.signed("offset_for_top_to_bottom_field")?;
            for _ in 0..bits.unsigned_up_to(255, "num_ref_frames_in_pic_order_cnt_cycle", "at most 255")? {
                bits.signed("offset_for_ref_frame")?;
            }
        }
        _ => {}
    }
    bits.unsigned("max_num_ref_frames")?;
    bits.flag("gaps_in_frame_num_value_allowed_flag")?;
    let width_mbs = 1 + bits.unsigned_up_to(MBS_MAX - 1, "pic_width_in_mbs_minus1", "at most 1023")?;
    let height_units = 1 + bits.unsigned_up_to(MBS_MAX - 1, "pic_height_in_map_units_minus1", "at most 1023")?;
    let frame_mbs_only = bits.flag("frame_mbs_only_flag")?;
    if !frame_mbs_only {
        bits.flag("mb_adaptive_frame_field_flag")?;
    }
    bits.flag("direct_8x8_inference_flag")?;

    let fields = if frame_mbs_only { 1 } else { 2 };
    let (mut width, mut height) = (16 * width_mbs, 16 * height_units * fields);
    if bits.flag("frame_cropping_flag")? {
        // Table 6-1; separate planes are coded like monochrome.
        let (unit_x, unit_y) = match chroma_format {
            1 if !separate_planes => (2, 2 * fields),
            2 if !separate_planes => (2, fields),
            _ => (1, fields),
        };
        let mut crop = |field| bits.unsigned_up_to(1 << 14, field, "within the picture");
        let across = (crop("frame_crop_left_offset")? + crop("frame_crop_right_offset")?) * unit_x;
        let down = (crop("frame_crop_top_offset")? + crop("frame_crop_bottom_offset")?) * unit_y;
        if across >= width || down >= height {
            let found = u64::from(if across >= width { across } else { down });
            return Err(bits.unsupported("frame cropping", found, "less than the picture"));
        }
        width -= across;
        height -= down;
    }

    Ok(Sps {
        profile,
        constraints,
        level,
        chroma_format,
        bit_depth_luma,
        bit_depth_chroma,
        width,
        height,
        sample_aspect: (1, 1),
        frame_mbs_only,
        timing: None,
        colour: None,
        reorder_frames: None,
    })
}

/// 7.3.2.1.1.1: deltas end early when the next scale becomes zero.
fn skip_scaling_lists(bits: &mut BitReader<'_>, lists: usize) -> Result<(), CodecError> {
    for list in 0..lists {
        if !bits.flag("seq_scaling_list_present_flag")? {
            continue;
        }
        let mut scale = 8i64;
        for _ in 0..if list < 6 { 16 } else { 64 } {
            scale = (scale + i64::from(bits.signed("delta_scale")?)).rem_euclid(256);
            if scale == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Annex E, E.1.1. What was read before an error stays.
fn read_vui(bits: &mut BitReader<'_>, sps: &mut Sps) -> Result<(), CodecError> {
    if bits.flag("aspect_ratio_info_present_flag")?
        && let Some(aspect) = sample_aspect(bits)?
    {
        sps.sample_aspect = aspect;
    }
    if bits.flag("overscan_info_present_flag")? {
        bits.flag("overscan_appropriate_flag")?;
    }
    if bits.flag("video_signal_type_present_flag")? {
        sps.colour = Some(Colour::read(bits)?);
    }
    if bits.flag("chroma_loc_info_present_flag")? {
        bits.unsigned("chroma_sample_loc_type_top_field")?;
        bits.unsigned("chroma_sample_loc_type_bottom_field")?;
    }
    if bits.flag("timing_info_present_flag")? {
        let units_in_tick = bits.bits(32, "num_units_in_tick")?;
        let time_scale = bits.bits(32, "time_scale")?;
        let fixed = bits.flag("fixed_frame_rate_flag")?;
        if units_in_tick != 0 && time_scale != 0 {
            sps.timing = Some(VideoTiming { units_in_tick, time_scale, fixed });
        }
    }
    let nal_hrd = bits.flag("nal_hrd_parameters_present_flag")?;
    if nal_hrd {
        skip_hrd(bits)?;
    }
    let vcl_hrd = bits.flag("vcl_hrd_parameters_present_flag")?;
    if vcl_hrd {
        skip_hrd(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.flag("low_delay_hrd_flag")?;
    }
    bits.flag("pic_struct_present_flag")?;
    if bits.flag("bitstream_restriction_flag")? {
        bits.flag("motion_vectors_over_pic_boundaries_flag")?;
        bits.unsigned("max_bytes_per_pic_denom")?;
        bits.unsigned("max_bits_per_mb_denom")?;
        bits.unsigned("log2_max_mv_length_horizontal")?;
        bits.unsigned("log2_max_mv_length_vertical")?;
        let reorder_frames = bits.unsigned_up_to(16, "max_num_reorder_frames", "at most 16")?;
        sps.reorder_frames = Some(reorder_frames);
    }
    Ok(())
}

/// E.1.2.
fn skip_hrd(bits: &mut BitReader<'_>) -> Result<(), CodecError> {
    let schedules = 1 + bits.unsigned_up_to(31, "cpb_cnt_minus1", "at most 31")?;
    bits.skip(8, "bit_rate_scale and cpb_size_scale")?;
    for _ in 0..schedules {
        bits.unsigned("bit_rate_value_minus1")?;
        bits.unsigned("cpb_size_value_minus1")?;
        bits.flag("cbr_flag")?;
    }
    bits.skip(20, "HRD lengths")
}

fn small(value: u32) -> u8 {
    u8::try_from(value).expect("limited to 6 before")
}

const RECORD: &str = "H.264 SPS";
/// Longer than any SPS can be that we would accept: 255 offsets of 63 bits, 12 scaling lists, two HRDs.
const SPS_BYTES_MAX: usize = 8192;
/// Macroblocks in a row or column: 16384 pixels, twice what level 6.2 allows.
const MBS_MAX: u32 = 1024;
/// Profiles whose SPS has chroma format and bit depths (7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Table E-1.
const SAMPLE_ASPECTS: [(u32, u32); 17] = [
    (0, 0),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AvcConfig;

    /// The first SPS of a record from testdata/README.md.
    macro_rules! sps {
        ($file:literal) => {
            AvcConfig::parse(include_bytes!(concat!("../testdata/", $file))).unwrap().parsed
        };
    }

    #[test]
    fn full_hd_is_cropped_to_1080_lines() {
        let sps = sps!("x264-1080p29.avcc");
        assert_eq!((sps.profile, sps.constraints, sps.level), (100, 0, 40));
        assert_eq!((sps.width, sps.height, sps.frame_mbs_only), (1920, 1080, true));
        assert_eq!(sps.timing, Some(VideoTiming { units_in_tick: 1001, time_scale: 60_000, fixed: false }));
        assert_eq!((sps.sample_aspect, sps.colour, sps.reorder_frames), ((1, 1), None, Some(2)));
        assert_eq!(sps.frame_rate(), None, "x264 does not promise a fixed rate");
    }

    #[test]
    fn interlaced_anamorphic_video_keeps_its_shape() {
        let sps = sps!("x264-576i25-anamorphic.avcc");
        assert_eq!((sps.width, sps.height, sps.frame_mbs_only), (720, 576, false));
        assert_eq!(sps.sample_aspect, (64, 45));
    }

    #[test]
    fn other_chroma_formats_and_depths_are_read() {
        let portrait = sps!("x264-portrait-444.avcc");
        assert_eq!((portrait.width, portrait.height, portrait.chroma_format), (404, 720, 3));
        let deep = sps!("x264-high10.avcc");
        assert_eq!((deep.bit_depth_luma, deep.bit_depth_chroma, deep.chroma_format), (10, 10, 1));
    }

    #[test]
    fn a_fixed_rate_behind_hrd_and_scaling_lists_is_found() {
        let sps = sps!("x264-hrd-scaling-lists.avcc");
        assert_eq!((sps.width, sps.height, sps.reorder_frames), (854, 480, Some(2)));
        let fixed = Sps { timing: sps.timing.map(|timing| VideoTiming { fixed: true, ..timing }), ..sps };
        assert_eq!(fixed.frame_rate().map(FrameRate::fraction), Some((30, 1)));
    }

    #[test]
    fn baseline_has_no_chroma_format_field() {
        let sps = sps!("x264-baseline60.avcc");
        assert_eq!((sps.profile, sps.constraints, sps.level), (66, 0xC0, 21));
        assert_eq!((sps.width, sps.height, sps.chroma_format, sps.reorder_frames), (320, 180, 1, Some(0)));
    }

    #[test]
    fn a_cut_off_vui_costs_only_the_vui() {
        let record = AvcConfig::parse(include_bytes!("../testdata/x264-1080p29.avcc")).unwrap();
        let whole = &record.sps[0];
        let cut = Sps::parse(&whole[..14]).unwrap();
        assert_eq!((cut.width, cut.height, cut.timing), (1920, 1080, None));
        assert!(matches!(
            Sps::parse(&whole[..8]),
            Err(CodecError::Truncated { field: "pic_height_in_map_units_minus1" | "pic_width_in_mbs_minus1", .. })
        ));
    }

    #[test]
    fn what_is_not_an_sps_is_refused_with_what_was_found() {
        assert_eq!(Sps::parse(&[0x68, 1, 2]).unwrap_err().to_string(), "H.264 SPS: NAL unit type is 8, expected 7");
        assert!(Sps::parse(&[]).is_err());
    }
}
