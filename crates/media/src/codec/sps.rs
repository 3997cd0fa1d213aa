//! The H.264 sequence parameter set (ITU-T H.264, 7.3.2.1.1 and annex E).

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
    /// num_units_in_tick.
    pub units_in_tick: u32,
    /// time_scale: a frame lasts `2 x units_in_tick / time_scale` seconds.
    pub time_scale: u32,
    /// fixed_frame_rate_flag.
    pub fixed: bool,
}

/// VUI colour description: code points of ITU-T H.273.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Colour {
    /// colour_primaries.
    pub primaries: u8,
    /// transfer_characteristics.
    pub transfer: u8,
    /// matrix_coefficients.
    pub matrix: u8,
    /// video_full_range_flag.
    pub full_range: bool,
}
