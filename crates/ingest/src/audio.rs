//! Which renditions of sound a session has, and which of them a transcoder makes.

use headwater_media::{AudioConfig, RenditionName};
use headwater_router::{AudioGear, AudioGroup, Gear, Rendition, RenditionKind};

/// What a transcoder makes of the sound: nothing when players take it as it is and no gear wants less.
pub(crate) fn gears<'a>(source: Option<&AudioConfig>, video: impl IntoIterator<Item = &'a Gear>) -> Vec<AudioGear> {
    let Some(source) = source else { return Vec::new() };
    let main = (!source.passes_through()).then(|| AudioGear::main(source));
    let wants_low = video.into_iter().any(|gear| gear.audio == AudioGroup::Low);
    main.into_iter().chain(wants_low.then(|| AudioGear::low(source))).collect()
}

/// The rendition in which the home packages the sound as it comes: the only one for players that all take it, or one more
/// for those that take it.
pub(crate) fn packaged(source: &AudioConfig, offer_source: bool) -> Option<RenditionName> {
    if source.passes_through() {
        Some(RenditionName::audio())
    } else {
        (offer_source && source.is_optional()).then(RenditionName::audio_source)
    }
}

/// All renditions of sound; `packaged` is the one that the home makes.
pub(crate) fn renditions(
    source: Option<&AudioConfig>,
    packaged: Option<&RenditionName>,
    gears: &[AudioGear],
) -> Vec<Rendition> {
    let rendition = |name, kind, kbps: u32, channels| Rendition {
        name,
        kind,
        init: None,
        begun: false,
        average_bps: kbps * 1000,
        peak_bps: kbps * 1000,
        frame_rate: None,
        channels: Some(channels),
        standby: false,
        off: None,
    };
    let own = source.zip(packaged);
    let own = own.map(|(source, name)| rendition(name.clone(), RenditionKind::Audio, 0, source.channels()));
    let made = gears.iter().map(|gear| {
        let kind = RenditionKind::AudioGear(gear.clone());
        rendition(gear.name.clone(), kind, gear.bitrate_kbps, gear.channels)
    });
    // What all players take comes first.
    let (own, optional): (Vec<Rendition>, Vec<Rendition>) =
        own.into_iter().partition(|own| own.name == RenditionName::audio());
    own.into_iter().chain(made).chain(optional).collect()
}

/// What takes the place of sound that players took as it was, of which `before` describes what they were told, when it
/// now comes as `config` says. `None` as long as they take it.
pub(crate) fn replacement(before: &AudioConfig, config: &AudioConfig) -> Option<AudioGear> {
    match before {
        AudioConfig::Aac(aac) if !config.passes_through() => {
            Some(AudioGear { sample_rate: aac.sample_rate, channels: aac.channels, ..AudioGear::main(config) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::{AacConfig, OpusConfig};

    use super::*;

    fn lc(sample_rate: u32, channels: u8) -> AudioConfig {
        AudioConfig::Aac(AacConfig::lc(sample_rate, channels).unwrap())
    }

    fn low() -> Gear {
        Gear { audio: AudioGroup::Low, ..Gear::new(416, 234, 145, "superfast") }
    }

    fn told(source: &AudioConfig, video: &[Gear]) -> Vec<(String, u32, u8, u32)> {
        let all = gears(Some(source), video).into_iter();
        all.map(|gear| (gear.name.to_string(), gear.sample_rate, gear.channels, gear.bitrate_kbps)).collect()
    }

    #[test]
    fn nothing_is_encoded_that_nobody_needs() {
        let plain = [Gear::new(640, 360, 730, "superfast")];
        assert_eq!(told(&lc(44_100, 2), &plain), []);
        assert_eq!(gears(None, &[low()]), []);
        let renditions = renditions(Some(&lc(44_100, 1)), packaged(&lc(44_100, 1), true).as_ref(), &[]);
        assert_eq!(renditions.len(), 1);
        assert_eq!((&renditions[0].kind, renditions[0].channels), (&RenditionKind::Audio, Some(1)));
    }

    #[test]
    fn sound_is_encoded_for_players_that_do_not_take_it_and_for_gears_that_want_less() {
        let main = |rate| ("audio".to_owned(), rate, 2, 128);
        assert_eq!(told(&lc(32_000, 1), &[]), [main(48_000)]);
        assert_eq!(told(&lc(22_050, 6), &[low()]), [main(44_100), ("audio-low".to_owned(), 44_100, 2, 40)]);
        assert_eq!(told(&lc(48_000, 1), &[low()]), [("audio-low".to_owned(), 48_000, 1, 40)]);
    }

    #[test]
    fn sound_that_some_players_take_is_there_as_it_came_and_encoded() {
        let opus = AudioConfig::Opus(OpusConfig::guess(&[0xF8]).unwrap());
        let gears = gears(Some(&opus), &[]);
        let names = |offered| {
            let all = renditions(Some(&opus), packaged(&opus, offered).as_ref(), &gears);
            all.into_iter().map(|known| (known.name.to_string(), known.channels)).collect::<Vec<_>>()
        };
        assert_eq!(names(true), [("audio".to_owned(), Some(2)), ("audio-source".to_owned(), Some(1))]);
        assert_eq!(names(false), [("audio".to_owned(), Some(2))]);
        assert_eq!(packaged(&lc(22_050, 2), true), None);
    }

    #[test]
    fn a_replacement_is_what_players_were_told() {
        let before = lc(48_000, 1);
        assert_eq!(replacement(&before, &lc(44_100, 2)), None);
        let gear = replacement(&before, &lc(22_050, 6)).unwrap();
        assert_eq!((gear.name, gear.sample_rate, gear.channels), (RenditionName::audio(), 48_000, 1));
    }
}
