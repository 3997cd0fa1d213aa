//! The multivariant playlist of a session.

use headwater_hls::{AudioRendition, Bandwidth, Multivariant, Overhead, Variant, path};
use headwater_router::{Rendition, RenditionKind, SessionState};

/// GROUP-ID of the audio that is passed through.
const AUDIO_GROUP: &str = "audio";

/// Whether everything that will be listed can be listed.
pub(crate) fn is_complete(state: &SessionState) -> bool {
    let awaited = |rendition: &Rendition| !rendition.standby && rendition.off.is_none();
    state.renditions.iter().filter(|rendition| awaited(rendition)).all(Rendition::is_listed)
}

/// The playlist of what there is now; `None` when there is nothing to play yet.
pub(crate) fn playlist(state: &SessionState) -> Option<Multivariant> {
    let grid = &state.session.grid;
    let listed = |rendition: &&Rendition| rendition.is_listed();
    let is_audio = |rendition: &&Rendition| rendition.kind.is_audio();
    let uri = |rendition: &Rendition| path::from_multivariant(state.session.id, &rendition.name);
    let codec = |rendition: &Rendition| rendition.init.as_ref().map(|init| init.codecs.to_string());

    let audio = state.renditions.iter().filter(listed).find(is_audio);
    let frames = |rate: u32| (grid.part_target.ticks.unsigned_abs() * u64::from(rate)).div_ceil(1024 * 120_000).max(1);
    let audio_overhead = Overhead::audio(frames(48_000), grid.part_target);
    let audio_bps = audio.map_or(0, |audio| u64::from(audio.average_bps));

    let video = state.renditions.iter().filter(listed).filter(|rendition| !is_audio(rendition));
    let mut variants: Vec<Variant> = video
        .map(|rendition| {
            let pictures = grid.part_slots.unsigned_abs();
            let part = grid.slot_start(grid.part_slots);
            let mut overheads = vec![Overhead::video(pictures, part), audio_overhead];
            // The encoder does not count them; in the source's rate they are.
            if !state.captions.is_empty() && rendition.kind != RenditionKind::Source {
                overheads.push(Overhead::captions(pictures, part));
            }
            Variant {
                bandwidth: Bandwidth::of_video(
                    u64::from(rendition.average_bps),
                    u64::from(rendition.peak_bps),
                    0,
                    grid.target_duration,
                    audio_bps,
                    &overheads,
                ),
                codecs: codec(rendition).into_iter().chain(audio.and_then(codec)).collect(),
                resolution: rendition.init.as_ref().and_then(|init| init.resolution),
                frame_rate: rendition.frame_rate,
                audio: audio.map(|_| AUDIO_GROUP.to_owned()),
                uri: uri(rendition),
            }
        })
        .collect();
    if variants.is_empty()
        && let Some(audio) = audio
    {
        variants.push(Variant {
            bandwidth: Bandwidth::of_audio(audio_bps, audio_overhead),
            codecs: codec(audio).into_iter().collect(),
            resolution: None,
            frame_rate: None,
            audio: None,
            uri: uri(audio),
        });
        return Some(Multivariant::new(true, Vec::new(), variants));
    }
    if variants.is_empty() {
        return None;
    }
    let group = audio.map(|audio| AudioRendition {
        group: AUDIO_GROUP.to_owned(),
        channels: audio.channels.unwrap_or(2),
        uri: uri(audio),
    });
    let independent = state.renditions.iter().any(|known| matches!(known.kind, RenditionKind::Gear(_)));
    let captions = state.captions.names().collect();
    Some(Multivariant { captions, ..Multivariant::new(independent, group.into_iter().collect(), variants) })
}
