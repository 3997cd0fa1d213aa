//! The HEVC sequence parameter set (ITU-T H.265, 7.3.2.2 and annex E).

use super::bits::{BitReader, unescape};
use super::sps::sample_aspect;
use super::{CodecError, Colour};

/// What an SPS says that we need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HevcSps {
    /// general_profile_space: 0 but for the future.
    pub profile_space: u8,
    /// general_tier_flag.
    pub high_tier: bool,
    /// general_profile_idc: 1 Main, 2 Main 10.
    pub profile: u8,
    /// general_profile_compatibility_flags, the first in the highest bit.
    pub compatibility: u32,
    /// The 48 bits of constraint flags.
    pub constraints: [u8; 6],
    /// general_level_idc: 93 for 3.1.
    pub level: u8,
    /// Temporal sub-layers: 1 to 7.
    pub temporal_layers: u8,
    /// sps_temporal_id_nesting_flag.
    pub temporal_id_nesting: bool,
    /// chroma_format_idc: 1 is 4:2:0.
    pub chroma_format: u8,
    /// Bits of a luma sample: 8 to 16.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample: 8 to 16.
    pub bit_depth_chroma: u8,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Greatest number of pictures that precede one in decoding order and follow it in output order.
    pub reorder_pictures: u32,
    /// Sample aspect ratio; (1, 1) when the SPS does not say.
    pub sample_aspect: (u32, u32),
    /// Colour from the VUI.
    pub colour: Option<Colour>,
}

impl HevcSps {
    /// Reads a NAL unit of type 33, its two header bytes included.
    ///
    /// What comes after the pictures' size and order costs only what it would have said: decoders play such streams too.
    pub fn parse(nal_unit: &[u8]) -> Result<Self, CodecError> {
        let Some((header, escaped)) = nal_unit.split_first_chunk::<2>() else {
            return Err(CodecError::Truncated { record: RECORD, field: "NAL unit header", length: nal_unit.len() });
        };
        let nal_type = header[0] >> 1 & 0x3F;
        if nal_type != 33 {
            let (field, found) = ("NAL unit type", u64::from(nal_type));
            return Err(CodecError::Unsupported { record: RECORD, field, found, expected: "33" });
        }
        let payload = unescape(&escaped[..escaped.len().min(SPS_BYTES_MAX)]);
        let mut bits = BitReader::new(RECORD, &payload);
        let (mut sps, poc_bits) = read_picture_format(&mut bits)?;
        let _ = read_rest(&mut bits, &mut sps, poc_bits);
        Ok(sps)
    }
}

/// 7.3.2.2.1 up to the order of pictures. Also the bits of a picture order count.
fn read_picture_format(bits: &mut BitReader<'_>) -> Result<(HevcSps, usize), CodecError> {
    bits.skip(4, "sps_video_parameter_set_id")?;
    let layers = bits.bits(3, "sps_max_sub_layers_minus1")?;
    if layers > 6 {
        return Err(bits.unsupported("sps_max_sub_layers_minus1", layers.into(), "at most 6"));
    }
    let temporal_id_nesting = bits.flag("sps_temporal_id_nesting_flag")?;
    let profile_space = small(bits.bits(2, "general_profile_space")?);
    let high_tier = bits.flag("general_tier_flag")?;
    let profile = small(bits.bits(5, "general_profile_idc")?);
    let compatibility = bits.bits(32, "general_profile_compatibility_flags")?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = bits.byte("general constraint flags")?;
    }
    let level = bits.byte("general_level_idc")?;
    skip_sub_layers(bits, layers)?;

    bits.unsigned_up_to(15, "sps_seq_parameter_set_id", "at most 15")?;
    let chroma_format = small(bits.unsigned_up_to(3, "chroma_format_idc", "at most 3")?);
    let separate_planes = chroma_format == 3 && bits.flag("separate_colour_plane_flag")?;
    let mut width = bits.unsigned_up_to(SIDE_MAX, "pic_width_in_luma_samples", "at most 16384")?;
    let mut height = bits.unsigned_up_to(SIDE_MAX, "pic_height_in_luma_samples", "at most 16384")?;
    if bits.flag("conformance_window_flag")? {
        // Table 6-1.
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let mut crop = |field| bits.unsigned_up_to(SIDE_MAX, field, "within the picture");
        let across = (crop("conf_win_left_offset")? + crop("conf_win_right_offset")?) * unit_x;
        let down = (crop("conf_win_top_offset")? + crop("conf_win_bottom_offset")?) * unit_y;
        width = width.saturating_sub(across);
        height = height.saturating_sub(down);
    }
    if width == 0 || height == 0 {
        return Err(bits.unsupported("size after cropping", 0, "at least one pixel"));
    }
    let bit_depth_luma = 8 + small(bits.unsigned_up_to(8, "bit_depth_luma_minus8", "at most 8")?);
    let bit_depth_chroma = 8 + small(bits.unsigned_up_to(8, "bit_depth_chroma_minus8", "at most 8")?);
    let poc_bits = 4 + bits.unsigned_up_to(12, "log2_max_pic_order_cnt_lsb_minus4", "at most 12")?;
    let each_layer = bits.flag("sps_sub_layer_ordering_info_present_flag")?;
    let mut reorder_pictures = 0;
    // The last one is for all layers together.
    for _ in 0..if each_layer { layers + 1 } else { 1 } {
        bits.unsigned("sps_max_dec_pic_buffering_minus1")?;
        reorder_pictures = bits.unsigned_up_to(16, "sps_max_num_reorder_pics", "at most 16")?;
        bits.unsigned("sps_max_latency_increase_plus1")?;
    }
    let sps = HevcSps {
        profile_space,
        high_tier,
        profile,
        compatibility,
        constraints,
        level,
        temporal_layers: small(layers) + 1,
        temporal_id_nesting,
        // Separate planes are coded like monochrome, but the format is still 4:4:4.
        chroma_format: if separate_planes { 3 } else { chroma_format },
        bit_depth_luma,
        bit_depth_chroma,
        width,
        height,
        reorder_pictures,
        sample_aspect: (1, 1),
        colour: None,
    };
    Ok((sps, usize::try_from(poc_bits).expect("at most 16")))
}

/// The sub-layers of profile_tier_level (7.3.3).
fn skip_sub_layers(bits: &mut BitReader<'_>, layers: u32) -> Result<(), CodecError> {
    let mut present = Vec::new();
    for _ in 0..layers {
        present.push((bits.flag("sub_layer_profile_present_flag")?, bits.flag("sub_layer_level_present_flag")?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - present.len()), "reserved bits")?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 }, "sub-layer profile and level")?;
    }
    Ok(())
}

/// All that stands between the order of pictures and their colour, and the colour (E.2.1).
fn read_rest(bits: &mut BitReader<'_>, sps: &mut HevcSps, poc_bits: usize) -> Result<(), CodecError> {
    for field in [
        "log2_min_luma_coding_block_size_minus3",
        "log2_diff_max_min_luma_coding_block_size",
        "log2_min_luma_transform_block_size_minus2",
        "log2_diff_max_min_luma_transform_block_size",
        "max_transform_hierarchy_depth_inter",
        "max_transform_hierarchy_depth_intra",
    ] {
        bits.unsigned(field)?;
    }
    if bits.flag("scaling_list_enabled_flag")? && bits.flag("sps_scaling_list_data_present_flag")? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2, "amp and sample_adaptive_offset flags")?;
    if bits.flag("pcm_enabled_flag")? {
        bits.skip(8, "pcm bit depths")?;
        bits.unsigned("log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.unsigned("log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.flag("pcm_loop_filter_disabled_flag")?;
    }
    skip_reference_picture_sets(bits)?;
    if bits.flag("long_term_ref_pics_present_flag")? {
        let count = bits.unsigned_up_to(32, "num_long_term_ref_pics_sps", "at most 32")?;
        for _ in 0..count {
            bits.skip(poc_bits + 1, "long-term reference picture")?;
        }
    }
    bits.skip(2, "temporal_mvp and strong_intra_smoothing flags")?;
    if !bits.flag("vui_parameters_present_flag")? {
        return Ok(());
    }
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
    Ok(())
}

/// 7.3.4.
fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Result<(), CodecError> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag("scaling_list_pred_mode_flag")? {
                bits.unsigned("scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if size > 1 {
                bits.signed("scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..64.min(1 << (4 + 2 * size)) {
                bits.signed("scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

/// 7.3.7, of all sets.
fn skip_reference_picture_sets(bits: &mut BitReader<'_>) -> Result<(), CodecError> {
    let count = bits.unsigned_up_to(64, "num_short_term_ref_pic_sets", "at most 64")?;
    // Pictures of the set before, which the next may be predicted from.
    let mut pictures = 0;
    for set in 0..count {
        if set > 0 && bits.flag("inter_ref_pic_set_prediction_flag")? {
            bits.flag("delta_rps_sign")?;
            bits.unsigned("abs_delta_rps_minus1")?;
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = bits.flag("used_by_curr_pic_flag")?;
                kept += u32::from(used || bits.flag("use_delta_flag")?);
            }
            pictures = kept;
        } else {
            let negative = bits.unsigned_up_to(16, "num_negative_pics", "at most 16")?;
            pictures = negative + bits.unsigned_up_to(16, "num_positive_pics", "at most 16")?;
            for _ in 0..pictures {
                bits.unsigned("delta_poc_minus1")?;
                bits.flag("used_by_curr_pic_flag")?;
            }
        }
    }
    Ok(())
}

fn small(value: u32) -> u8 {
    u8::try_from(value).expect("limited to 31 before")
}

const RECORD: &str = "HEVC SPS";
/// Longer than any SPS can be that we would accept.
const SPS_BYTES_MAX: usize = 8192;
/// Pixels in a row or column: twice what level 6.2 allows.
const SIDE_MAX: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HevcConfig;

    #[test]
    fn what_is_cut_off_behind_the_size_costs_only_the_colour() {
        let config = HevcConfig::parse(include_bytes!("../testdata/x265-main10-pq.hvcc")).unwrap();
        let whole = &config.sps[0];
        let short = (0..whole.len()).find_map(|length| HevcSps::parse(&whole[..length]).ok()).unwrap();
        assert_eq!((short.width, short.height, short.colour), (320, 180, None));
        assert_eq!(
            HevcSps::parse(&[0x42, 1, 1]).unwrap_err().to_string(),
            "HEVC SPS ends after 1 bytes, inside its general_profile_space"
        );
    }

    #[test]
    fn what_is_not_an_sps_is_refused_with_what_was_found() {
        assert_eq!(HevcSps::parse(&[0x40, 1]).unwrap_err().to_string(), "HEVC SPS: NAL unit type is 32, expected 33");
        assert!(HevcSps::parse(&[]).is_err());
    }
}
