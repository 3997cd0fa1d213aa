//! The I-frame playlists that a multivariant playlist lists (H-74).

use headwater_hls::{Bandwidth, IFrameVariant, path};
use headwater_router::{Rendition, RenditionKind, SessionState, StreamLog};

/// One for each listed video rendition. A source whose segments do not begin with an IDR has none.
pub(crate) fn variants(log: &StreamLog, state: &SessionState) -> Vec<IFrameVariant> {
    let listed = |rendition: &&Rendition| !rendition.kind.is_audio() && rendition.is_listed();
    let variant = |rendition: &Rendition| {
        let init = rendition.init.as_ref()?;
        let rates = log.i_frame_rates(&rendition.name)?;
        let allowed = peak_allowed_bps(rendition, log);
        Some(IFrameVariant {
            bandwidth: Bandwidth::of_i_frames(rates.average_bps, rates.peak_bps, allowed),
            codecs: init.codecs.to_string(),
            resolution: init.resolution,
            range: init.range,
            uri: path::i_frames_from_multivariant(state.session.id, &rendition.name),
        })
    };
    state.renditions.iter().filter(listed).filter_map(variant).collect()
}

/// What a gear's I-frames may need: libx264 gives a picture at most half of the rate control's buffer. Nothing is known
/// of the source's encoder.
fn peak_allowed_bps(rendition: &Rendition, log: &StreamLog) -> u64 {
    let RenditionKind::Gear(gear) = &rendition.kind else { return 0 };
    let grid = &log.session().grid;
    let millis = grid.slot_start(grid.segment_slots).to_duration().as_millis().max(1);
    let half_buffer_bits = u64::from(gear.bufsize_kbit) * 500;
    half_buffer_bits * 1000 / u64::try_from(millis).unwrap_or(u64::MAX)
}
