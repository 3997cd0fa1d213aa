//! Ladders by name: those built in and those of the file.

use headwater_media::RenditionName;
use headwater_router::{Gear, Ladder};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::value::{Audio, Bounded, Parsed, Preset, Tune, X264Profile};

/// Renditions that are not gears.
const NOT_GEARS: [&str; 4] = ["source", "audio", "audio-low", "audio-source"];

/// One of `[[ladders]]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub(crate) struct LadderEntry {
    pub(crate) name: Spanned<String>,
    pub(crate) gears: Vec<Spanned<GearEntry>>,
}

/// One of `[[ladders.gears]]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub(crate) struct GearEntry {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) width: Bounded<16, 8192>,
    pub(crate) height: Bounded<16, 8192>,
    pub(crate) bitrate_kbps: Bounded<50, 100_000>,
    pub(crate) maxrate_kbps: Option<Spanned<Bounded<50, 100_000>>>,
    pub(crate) bufsize_kbit: Option<Bounded<10, 1_000_000>>,
    pub(crate) preset: Option<Parsed<Preset>>,
    pub(crate) tune: Option<Parsed<Tune>>,
    pub(crate) profile: Option<Parsed<X264Profile>>,
    pub(crate) audio: Option<Parsed<Audio>>,
    pub(crate) halve: Option<bool>,
}

impl GearEntry {
    /// `None` when the name given to it is none that a rendition can have.
    fn gear(&self) -> Option<Gear> {
        let bitrate_kbps = self.bitrate_kbps.get_u32();
        let preset = self.preset.unwrap_or_default().0.0;
        let mut gear = Gear::new(self.width.get_u32(), self.height.get_u32(), bitrate_kbps, preset);
        gear.maxrate_kbps = self.maxrate_kbps.as_ref().map_or(bitrate_kbps, |rate| rate.get_ref().get_u32());
        gear.bufsize_kbit = self.bufsize_kbit.map_or(gear.maxrate_kbps, Bounded::get_u32);
        gear.tune = self.tune.unwrap_or_default().0.0.into();
        gear.profile = self.profile.unwrap_or_default().0.0.into();
        gear.audio = self.audio.unwrap_or_default().0.0;
        gear.halve = self.halve.unwrap_or(false);
        match &self.name {
            None => Some(gear),
            Some(name) => RenditionName::new(name.get_ref()).map(|name| Gear { name, ..gear }),
        }
    }
}

/// The ladder called `name`, largest gear first.
pub(crate) fn find(name: &str, entries: &[LadderEntry]) -> Result<Ladder, ConfigError> {
    if let Some(ladder) = Ladder::built_in(name) {
        return Ok(ladder);
    }
    let Some(entry) = entries.iter().find(|entry| entry.name.get_ref() == name) else {
        let own = entries.iter().map(|entry| entry.name.get_ref().as_str());
        let known = Ladder::BUILT_IN.into_iter().chain(own).collect::<Vec<_>>().join(", ");
        return Err(ConfigError::NoSuchLadder { asked: name.to_owned(), known });
    };
    let mut gears: Vec<Gear> = entry.gears.iter().filter_map(|gear| gear.get_ref().gear()).collect();
    gears.sort_by_key(|gear| std::cmp::Reverse((gear.width * gear.height, gear.bitrate_kbps)));
    Ok(Ladder { gears })
}

/// Ladders and, in each, gears have names of their own.
pub(crate) fn check(entries: &[LadderEntry], places: &Places<'_>) -> Result<(), ConfigError> {
    for (index, entry) in entries.iter().enumerate() {
        let name = entry.name.get_ref();
        let at = |problem| Err(places.error(entry.name.span(), problem));
        if Ladder::BUILT_IN.contains(&name.as_str()) {
            return at(format!("the ladder {name} is built in; give this one another name"));
        }
        if name.is_empty() {
            return at("a ladder needs a name".to_owned());
        }
        if let Some(first) = entries[..index].iter().find(|other| other.name.get_ref() == name) {
            return at(format!("the ladder {name} is in line {} already", places.line(first.name.span().start)));
        }
        if entry.gears.is_empty() {
            return at(format!("the ladder {name} has no gears; `none` is built in"));
        }
        check_gears(entry, places)?;
    }
    Ok(())
}

fn check_gears(entry: &LadderEntry, places: &Places<'_>) -> Result<(), ConfigError> {
    let mut names: Vec<(RenditionName, usize)> = Vec::new();
    for gear in &entry.gears {
        let span = gear.get_ref().name.as_ref().map_or(gear.span(), Spanned::span);
        if let Some(maxrate) = &gear.get_ref().maxrate_kbps
            && maxrate.get_ref().get() < gear.get_ref().bitrate_kbps.get()
        {
            return Err(places.error(maxrate.span(), "maxrate_kbps is below bitrate_kbps"));
        }
        let Some(Gear { name, .. }) = gear.get_ref().gear() else {
            return Err(places.error(span, "a gear's name has 1 to 32 of a-z 0-9 -"));
        };
        if NOT_GEARS.contains(&name.as_str()) {
            return Err(places.error(span, format!("a gear cannot be called {name}, that is another rendition")));
        }
        if let Some((_, line)) = names.iter().find(|(other, _)| *other == name) {
            return Err(places.error(span, format!("the gear {name} is in line {line} already")));
        }
        names.push((name, places.line(span.start)));
    }
    Ok(())
}
