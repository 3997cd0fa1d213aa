//! A session's constants, where it stands, and what its record keeps of it.

use std::sync::Arc;

use headwater_media::captions::Channels;
use headwater_media::{AudioConfig, Epoch, FrameRate, RenditionName};
use headwater_router::{
    AudioGear, AudioGroup, Gear, Outline, OutlinedRendition, PublisherInfo, Rendition, RenditionKind, Session,
    SessionState, State,
};
use headwater_segmenter::{Grid, Profile};

use super::codec::samples;
use super::media::{RENDITIONS_MAX, cuts};
use super::{
    KnownInits, Malformed, SentInits, at_most, byte, init_id, rendition_name, required, session_id, stream, text,
    value, wall, wire,
};

/// Segments of a playlist.
const WINDOW_SEGMENTS_MAX: u32 = 10_000;
/// Cuts that are told at once: more than any window has.
pub(super) const CUTS_MAX: usize = 16_384;

impl From<&Grid> for wire::Grid {
    fn from(grid: &Grid) -> Self {
        Self {
            profile: grid.profile.name().to_owned(),
            frame_rate: Some(frame_rate(grid.frame_rate)),
            limit_slots: grid.limit_slots,
        }
    }
}

impl TryFrom<wire::Grid> for Grid {
    type Error = Malformed;

    fn try_from(grid: wire::Grid) -> Result<Self, Malformed> {
        let profile: Profile =
            grid.profile.parse().or_else(|()| value("profile", &grid.profile, "ultra, low, relaxed or standard"))?;
        let usual = Self::new(profile, read_frame_rate(required(grid.frame_rate, "frame rate")?)?);
        let longest = || value("longest segment", grid.limit_slots, "one that the profile allows");
        usual.with_limit(grid.limit_slots).map_or_else(longest, Ok)
    }
}

fn frame_rate(rate: FrameRate) -> wire::FrameRate {
    let (numerator, denominator) = rate.fraction();
    wire::FrameRate { numerator, denominator }
}

fn read_frame_rate(rate: wire::FrameRate) -> Result<FrameRate, Malformed> {
    let found = FrameRate::ALL.into_iter().find(|known| known.fraction() == (rate.numerator, rate.denominator));
    let fraction = || format!("{}/{}", rate.numerator, rate.denominator);
    found.map_or_else(|| value("frame rate", fraction(), "a rate of the grid"), Ok)
}

impl From<&Session> for wire::Session {
    fn from(session: &Session) -> Self {
        Self {
            stream: session.stream.to_string(),
            id: session.id.to_string(),
            grid: Some((&session.grid).into()),
            window_segments: session.window_segments,
            since_unix_millis: session.since.unix_millis,
        }
    }
}

impl TryFrom<wire::Session> for Session {
    type Error = Malformed;

    fn try_from(session: wire::Session) -> Result<Self, Malformed> {
        Ok(Self {
            stream: stream(&session.stream)?,
            id: session_id(&session.id)?,
            grid: required(session.grid, "grid")?.try_into()?,
            window_segments: window_segments(session.window_segments)?,
            since: wall(session.since_unix_millis)?,
        })
    }
}

fn window_segments(found: u32) -> Result<u32, Malformed> {
    if (1..=WINDOW_SEGMENTS_MAX).contains(&found) { Ok(found) } else { value("window", found, "1 to 10000 segments") }
}

/// Where a session stands; init segments go to `inits`.
pub(in super::super) fn state(state: &SessionState, inits: &mut SentInits) -> wire::State {
    let standing = match state.state {
        State::Live => wire::Standing::Live,
        State::Waiting => wire::Standing::Waiting,
        State::Ended => wire::Standing::Ended,
    };
    let publisher = state.publisher.as_deref().map(|publisher| wire::Publisher {
        address: publisher.address.clone(),
        encoder: publisher.encoder.clone(),
        since_unix_millis: publisher.since.unix_millis,
        priority: publisher.priority,
    });
    wire::State {
        standing: standing.into(),
        publisher,
        renditions: state.renditions.iter().map(|known| rendition(known, inits)).collect(),
        captions: state.captions.bits().into(),
    }
}

/// The state of `session` in `epoch`.
pub(in super::super) fn read_state(
    state: wire::State,
    session: Arc<Session>,
    epoch: Epoch,
    inits: &KnownInits,
) -> Result<SessionState, Malformed> {
    let publisher = match state.publisher {
        None => None,
        Some(publisher) => Some(Arc::new(PublisherInfo {
            address: text(publisher.address, "publisher's address")?,
            encoder: publisher.encoder.map(|encoder| text(encoder, "encoder")).transpose()?,
            since: wall(publisher.since_unix_millis)?,
            priority: publisher.priority,
        })),
    };
    let renditions = at_most(state.renditions, RENDITIONS_MAX, "renditions")?;
    Ok(SessionState {
        session,
        epoch,
        state: match wire::Standing::try_from(state.standing) {
            Ok(wire::Standing::Live) => State::Live,
            Ok(wire::Standing::Waiting) => State::Waiting,
            Ok(wire::Standing::Ended) => State::Ended,
            Err(unknown) => return value("state", unknown, "live, waiting or ended"),
        },
        publisher,
        renditions: renditions.into_iter().map(|known| read_rendition(known, inits)).collect::<Result<_, _>>()?,
        captions: Channels::from_bits(
            u16::try_from(state.captions).or_else(|_| value("captions", state.captions, "16 bits"))?,
        ),
    })
}

fn rendition(known: &Rendition, inits: &mut SentInits) -> wire::Rendition {
    if let Some(init) = &known.init {
        inits.send(init);
    }
    wire::Rendition {
        name: known.name.to_string(),
        kind: Some((&known.kind).into()),
        init: known.init.as_ref().map(|init| init.id.to_string()).unwrap_or_default(),
        begun: known.begun,
        average_bps: known.average_bps,
        peak_bps: known.peak_bps,
        frame_rate: known.frame_rate.map(frame_rate),
        channels: known.channels.map(u32::from),
        standby: known.standby,
        off: known.off.as_ref().map(|reason| reason.to_string()),
    }
}

fn read_rendition(known: wire::Rendition, inits: &KnownInits) -> Result<Rendition, Malformed> {
    let name = rendition_name(&known.name)?;
    Ok(Rendition {
        kind: read_kind(known.kind, &name)?,
        name,
        init: if known.init.is_empty() { None } else { Some(inits.find(init_id(&known.init)?)?) },
        begun: known.begun,
        average_bps: known.average_bps,
        peak_bps: known.peak_bps,
        frame_rate: known.frame_rate.map(read_frame_rate).transpose()?,
        channels: known.channels.map(|channels| byte(channels, "channels")).transpose()?,
        standby: known.standby,
        off: known.off.map(|reason| text(reason, "why a rendition is off")).transpose()?.map(Into::into),
    })
}

impl From<&RenditionKind> for wire::RenditionKind {
    fn from(kind: &RenditionKind) -> Self {
        use wire::rendition_kind::Kind;
        let kind = match kind {
            RenditionKind::Source => Kind::Source(wire::Nothing {}),
            RenditionKind::Audio => Kind::Audio(wire::Nothing {}),
            RenditionKind::Gear(gear) => Kind::Gear(wire::Gear {
                width: gear.width,
                height: gear.height,
                bitrate_kbps: gear.bitrate_kbps,
                maxrate_kbps: gear.maxrate_kbps,
                bufsize_kbit: gear.bufsize_kbit,
                preset: gear.preset.to_string(),
                tune: gear.tune.to_string(),
                profile: gear.profile.to_string(),
                low_audio: gear.audio == AudioGroup::Low,
                halve: gear.halve,
            }),
            RenditionKind::AudioGear(gear) => Kind::AudioGear(wire::AudioGear {
                sample_rate: gear.sample_rate,
                channels: gear.channels.into(),
                bitrate_kbps: gear.bitrate_kbps,
            }),
        };
        Self { kind: Some(kind) }
    }
}

/// What the rendition `name` is made from.
fn read_kind(kind: Option<wire::RenditionKind>, name: &RenditionName) -> Result<RenditionKind, Malformed> {
    use wire::rendition_kind::Kind;
    Ok(match required(kind.and_then(|kind| kind.kind), "kind of a rendition")? {
        Kind::Source(_) => RenditionKind::Source,
        Kind::Audio(_) => RenditionKind::Audio,
        Kind::Gear(gear) => RenditionKind::Gear(Gear {
            name: name.clone(),
            width: gear.width,
            height: gear.height,
            bitrate_kbps: gear.bitrate_kbps,
            maxrate_kbps: gear.maxrate_kbps,
            bufsize_kbit: gear.bufsize_kbit,
            preset: text(gear.preset, "preset")?.into(),
            tune: text(gear.tune, "tune")?.into(),
            profile: text(gear.profile, "profile")?.into(),
            audio: if gear.low_audio { AudioGroup::Low } else { AudioGroup::Main },
            halve: gear.halve,
        }),
        Kind::AudioGear(gear) => RenditionKind::AudioGear(AudioGear {
            name: name.clone(),
            sample_rate: samples(gear.sample_rate)?,
            channels: byte(gear.channels, "channels")?,
            bitrate_kbps: gear.bitrate_kbps,
        }),
    })
}

impl From<&Outline> for wire::Outline {
    fn from(outline: &Outline) -> Self {
        let renditions = outline.renditions.iter().map(|known| wire::Rendition {
            name: known.name.to_string(),
            kind: Some((&known.kind).into()),
            average_bps: known.average_bps,
            peak_bps: known.peak_bps,
            channels: known.channels.map(u32::from),
            standby: known.standby,
            ..wire::Rendition::default()
        });
        Self {
            grid: Some((&outline.grid).into()),
            window_segments: outline.window_segments,
            since_unix_millis: outline.since.unix_millis,
            renditions: renditions.collect(),
            audio: outline.audio.as_deref().map(Into::into),
            cuts: outline.cuts.iter().map(|cut| (&**cut).into()).collect(),
        }
    }
}

impl TryFrom<wire::Outline> for Outline {
    type Error = Malformed;

    fn try_from(outline: wire::Outline) -> Result<Self, Malformed> {
        let rendition = |known: wire::Rendition| {
            let name = rendition_name(&known.name)?;
            Ok(OutlinedRendition {
                kind: read_kind(known.kind, &name)?,
                name,
                average_bps: known.average_bps,
                peak_bps: known.peak_bps,
                channels: known.channels.map(|channels| byte(channels, "channels")).transpose()?,
                standby: known.standby,
            })
        };
        let cuts = cuts(outline.cuts, CUTS_MAX)?;
        if cuts.is_empty() {
            return Err(Malformed::Missing { field: "a cut of the outline" });
        }
        Ok(Self {
            grid: required(outline.grid, "grid")?.try_into()?,
            window_segments: window_segments(outline.window_segments)?,
            since: wall(outline.since_unix_millis)?,
            renditions: at_most(outline.renditions, RENDITIONS_MAX, "renditions")?
                .into_iter()
                .map(rendition)
                .collect::<Result<_, _>>()?,
            audio: outline.audio.map(AudioConfig::try_from).transpose()?.map(Arc::new),
            cuts,
        })
    }
}
