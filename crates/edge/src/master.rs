//! The multivariant playlist of a session.

use headwater_hls::{AudioRendition, Bandwidth, Multivariant, Overhead, Variant, path};
use headwater_media::{RenditionName, VideoRange};
use headwater_router::{AudioGroup, Rendition, RenditionKind, SessionState};

/// Whether everything that will be listed can be listed.
pub(crate) fn is_complete(state: &SessionState) -> bool {
    let awaited = |rendition: &Rendition| !rendition.standby && rendition.off.is_none();
    state.renditions.iter().filter(|rendition| awaited(rendition)).all(Rendition::is_listed)
}

/// The playlist of what there is now; `None` when there is nothing to play yet.
pub(crate) fn playlist(state: &SessionState) -> Option<Multivariant> {
    let listed = |rendition: &&Rendition| rendition.is_listed();
    let (audio, video): (Vec<&Rendition>, Vec<&Rendition>) =
        state.renditions.iter().filter(listed).partition(|rendition| rendition.kind.is_audio());
    let (optional, audio): (Vec<&Rendition>, Vec<&Rendition>) =
        audio.into_iter().partition(|rendition| rendition.name == RenditionName::audio_source());
    let mut variants: Vec<Variant> =
        video.iter().map(|rendition| video_variant(state, rendition, group_of(rendition, &audio))).collect();
    // Sound alone is for who cannot have more (H-83).
    let least = audio.iter().min_by_key(|rendition| rendition.average_bps);
    variants.extend(least.map(|rendition| audio_variant(state, rendition, !video.is_empty())));
    let others = optional_variants(state, &video, optional.first().copied());
    if variants.is_empty() && others.is_empty() {
        return None;
    }
    let groups = audio.iter().chain(&optional).filter(|_| !video.is_empty()).map(|rendition| AudioRendition {
        group: rendition.name.to_string(),
        channels: rendition.channels.unwrap_or(2),
        uri: uri(state, rendition),
    });
    let gears = state.renditions.iter().any(|known| matches!(known.kind, RenditionKind::Gear(_)));
    let mut playlist = Multivariant::new(video.is_empty() || gears, groups.collect(), variants);
    // A player starts with the first variant, so what all players take is in front.
    playlist.variants.extend(Multivariant::new(true, Vec::new(), others).variants);
    playlist.captions = state.captions.names().filter(|_| !video.is_empty()).collect();
    Some(playlist)
}

/// Once more each picture that has the whole sound, now with the sound as it came, which only some players take: CODECS
/// tells them. Where there are no pictures, that sound alone.
fn optional_variants(state: &SessionState, video: &[&Rendition], sound: Option<&Rendition>) -> Vec<Variant> {
    let Some(sound) = sound else { return Vec::new() };
    if video.is_empty() {
        return vec![audio_variant(state, sound, false)];
    }
    let whole = video.iter().filter(|rendition| wanted_sound(rendition) == RenditionName::audio());
    whole.map(|rendition| video_variant(state, rendition, Some(sound))).collect()
}

/// The sound that goes with a picture (H-71): the one that it asks for, or what there is.
fn group_of<'a>(video: &Rendition, audio: &[&'a Rendition]) -> Option<&'a Rendition> {
    let wanted = wanted_sound(video);
    audio.iter().find(|rendition| rendition.name == wanted).or(audio.first()).copied()
}

fn wanted_sound(video: &Rendition) -> RenditionName {
    match &video.kind {
        RenditionKind::Gear(gear) if gear.audio == AudioGroup::Low => RenditionName::audio_low(),
        _ => RenditionName::audio(),
    }
}

fn video_variant(state: &SessionState, video: &Rendition, audio: Option<&Rendition>) -> Variant {
    let grid = &state.session.grid;
    let halved = video.frame_rate.is_some() && video.frame_rate == grid.frame_rate.halved();
    let pictures = grid.part_slots.unsigned_abs() / if halved { 2 } else { 1 };
    let part = grid.slot_start(grid.part_slots);
    let mut overheads = vec![Overhead::video(pictures, part), audio_overhead(state)];
    // The encoder does not count them; in the source's rate they are.
    if !state.captions.is_empty() && video.kind != RenditionKind::Source {
        overheads.push(Overhead::captions(pictures, part));
    }
    Variant {
        bandwidth: Bandwidth::of_video(
            u64::from(video.average_bps),
            u64::from(video.peak_bps),
            0,
            grid.target_duration,
            audio.map_or(0, |audio| u64::from(audio.average_bps)),
            &overheads,
        ),
        codecs: codec(video).into_iter().chain(audio.and_then(codec)).collect(),
        resolution: video.init.as_ref().and_then(|init| init.resolution),
        frame_rate: video.frame_rate,
        range: video.init.as_ref().map(|init| init.range).unwrap_or_default(),
        audio: audio.map(|audio| audio.name.to_string()),
        uri: uri(state, video),
    }
}

/// Sound alone; beside pictures it names its group, as they do (RFC 8216, 8.7).
fn audio_variant(state: &SessionState, audio: &Rendition, beside_video: bool) -> Variant {
    Variant {
        bandwidth: Bandwidth::of_audio(u64::from(audio.average_bps), audio_overhead(state)),
        codecs: codec(audio).into_iter().collect(),
        resolution: None,
        frame_rate: None,
        range: VideoRange::Sdr,
        audio: beside_video.then(|| audio.name.to_string()),
        uri: uri(state, audio),
    }
}

fn audio_overhead(state: &SessionState) -> Overhead {
    let part = state.session.grid.part_target;
    let frames = (part.ticks.unsigned_abs() * 48_000).div_ceil(1024 * u64::from(part.timescale.units_per_second()));
    Overhead::audio(frames.max(1), part)
}

fn uri(state: &SessionState, rendition: &Rendition) -> String {
    path::from_multivariant(state.session.id, &rendition.name)
}

fn codec(rendition: &Rendition) -> Option<String> {
    rendition.init.as_ref().map(|init| init.codecs.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use headwater_media::{Epoch, FrameRate, Init, SessionId, WallTime};
    use headwater_router::{AudioGear, Gear, Session, State};
    use headwater_segmenter::{Grid, Profile};

    use headwater_media::captions::Channels;

    use super::*;

    fn video(gear: Gear) -> Rendition {
        let bps = gear.bitrate_kbps * 1000;
        let init = Init::new(Bytes::from_static(b"video"), "avc1.64000d", Some((gear.width, gear.height)));
        Rendition {
            name: gear.name.clone(),
            kind: RenditionKind::Gear(gear),
            init: Some(Arc::new(init)),
            begun: true,
            average_bps: bps,
            peak_bps: bps,
            frame_rate: Some(FrameRate::FPS_30),
            channels: None,
            standby: false,
            off: None,
        }
    }

    fn audio(name: RenditionName, kbps: u32) -> Rendition {
        let gear = AudioGear { name: name.clone(), sample_rate: 48_000, channels: 2, bitrate_kbps: kbps };
        Rendition {
            name,
            kind: RenditionKind::AudioGear(gear),
            init: Some(Arc::new(Init::new(Bytes::from_static(b"audio"), "mp4a.40.2", None))),
            begun: true,
            average_bps: kbps * 1000,
            peak_bps: kbps * 1000,
            frame_rate: None,
            channels: Some(2),
            standby: false,
            off: None,
        }
    }

    fn text(renditions: Vec<Rendition>) -> String {
        let session = Session {
            stream: "live/show".parse().unwrap(),
            id: SessionId::from_random([0; 10]),
            grid: Grid::new(Profile::Standard, FrameRate::FPS_30),
            window_segments: 8,
            since: WallTime::default(),
        };
        let state = SessionState {
            session: Arc::new(session),
            epoch: Epoch(1),
            state: State::Live,
            publisher: None,
            captions: Channels::default(),
            renditions: renditions.into(),
        };
        playlist(&state).unwrap().to_string()
    }

    /// H-71, H-76, H-83: the smallest variant has the small group's rate and stays within 192 kbit/s.
    #[test]
    fn each_variant_has_the_sound_that_it_asks_for_and_sound_alone_has_the_least() {
        let mut small = Gear::new(416, 234, 130, "superfast");
        small.audio = AudioGroup::Low;
        let both = vec![
            video(Gear::new(640, 360, 730, "superfast")),
            video(small),
            audio(RenditionName::audio(), 128),
            audio(RenditionName::audio_low(), 40),
        ];
        assert_eq!(
            text(both),
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Main\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"~aaaaaaaaaaaaaaaa/audio/index.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio-low\",NAME=\"Main\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"~aaaaaaaaaaaaaaaa/audio-low/index.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=870000,AVERAGE-BANDWIDTH=864000,CODECS=\"avc1.64000d,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=30.000,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE
~aaaaaaaaaaaaaaaa/360p-730/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=45000,AVERAGE-BANDWIDTH=43000,CODECS=\"mp4a.40.2\",AUDIO=\"audio-low\",CLOSED-CAPTIONS=NONE
~aaaaaaaaaaaaaaaa/audio-low/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=178000,AVERAGE-BANDWIDTH=176000,CODECS=\"avc1.64000d,mp4a.40.2\",RESOLUTION=416x234,FRAME-RATE=30.000,AUDIO=\"audio-low\",CLOSED-CAPTIONS=NONE
~aaaaaaaaaaaaaaaa/234p-130/index.m3u8
"
        );
    }

    /// H-70, H-71: whoever takes the first variant that it finds gets AAC-LC, and CODECS says where there is none.
    #[test]
    fn sound_as_it_came_is_offered_behind_all_that_every_player_takes() {
        let mut small = Gear::new(416, 234, 130, "superfast");
        small.audio = AudioGroup::Low;
        let opus = || Rendition {
            kind: RenditionKind::Audio,
            init: Some(Arc::new(Init::new(Bytes::from_static(b"opus"), "opus", None))),
            channels: Some(6),
            ..audio(RenditionName::audio_source(), 64)
        };
        let all = vec![
            video(Gear::new(960, 540, 2000, "superfast")),
            video(Gear::new(640, 360, 730, "superfast")),
            video(small),
            audio(RenditionName::audio(), 128),
            audio(RenditionName::audio_low(), 40),
            opus(),
        ];
        let listed = text(all);
        let group = "TYPE=AUDIO,GROUP-ID=\"audio-source\",NAME=\"Main\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"6\"";
        assert!(listed.contains(group), "{listed}");
        let variants: Vec<(String, &str)> = listed
            .lines()
            .filter_map(|line| line.strip_prefix("#EXT-X-STREAM-INF:"))
            .map(|line| (line.split('"').nth(1).unwrap().to_owned(), line.rsplit_once("AUDIO=").unwrap().1))
            .collect();
        let with = |group: &str| format!("\"{group}\",CLOSED-CAPTIONS=NONE");
        let found: Vec<(&str, String)> =
            variants.iter().map(|(codecs, group)| (codecs.as_str(), (*group).to_owned())).collect();
        assert_eq!(
            found,
            [
                ("avc1.64000d,mp4a.40.2", with("audio")),
                ("mp4a.40.2", with("audio-low")),
                ("avc1.64000d,mp4a.40.2", with("audio-low")),
                ("avc1.64000d,mp4a.40.2", with("audio")),
                ("avc1.64000d,opus", with("audio-source")),
                ("avc1.64000d,opus", with("audio-source")),
            ]
        );
        let alone = text(vec![audio(RenditionName::audio(), 128), opus()]);
        let codecs: Vec<&str> =
            alone.lines().filter_map(|line| line.split_once("CODECS=")).map(|(_, codecs)| codecs).collect();
        assert_eq!(codecs, ["\"mp4a.40.2\",CLOSED-CAPTIONS=NONE", "\"opus\",CLOSED-CAPTIONS=NONE"]);
        assert!(!alone.contains("EXT-X-MEDIA"), "{alone}");
    }

    #[test]
    fn one_group_serves_all_and_sound_alone_needs_no_group() {
        let main = || audio(RenditionName::audio(), 128);
        let mut small = Gear::new(416, 234, 130, "superfast");
        small.audio = AudioGroup::Low;
        let listed = text(vec![video(small), main()]);
        assert_eq!(listed.matches("AUDIO=\"audio\"").count(), 2, "{listed}");
        let alone = text(vec![main()]);
        assert!(!alone.contains("AUDIO=") && alone.contains("/audio/index.m3u8"), "{alone}");
    }
}
