//! What a home answers that was asked to yield.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::Timestamp;
use headwater_router::NodeId;
use headwater_router::claim::{PeerReply, Sealed, SealedRendition};

use super::media::RENDITIONS_MAX;
use super::{Malformed, at_most, epoch, rendition_name, required, text, ticks, value, wire};

/// Gaps of a rendition's window.
const GAPS_MAX: usize = 1 << 16;
/// Takeovers by priority of the last minute.
const TAKEOVERS_MAX: usize = 64;
/// None of them is longer ago.
const TAKEOVER_MILLIS_MAX: u64 = 3_600_000;

/// The home's answer; `None` when it has nothing to say.
impl From<Option<&PeerReply>> for wire::YieldReply {
    fn from(reply: Option<&PeerReply>) -> Self {
        use wire::yield_reply::Reply;
        let reply = match reply {
            Some(PeerReply::Refused) => Some(Reply::Refused(wire::Nothing {})),
            Some(PeerReply::Sealed(sealed)) => Some(Reply::Sealed((&**sealed).into())),
            Some(PeerReply::NotHeld) => Some(Reply::NotHeld(wire::Nothing {})),
            // That is what a connection says, not a home.
            Some(PeerReply::Unreachable) | None => None,
        };
        Self { reply }
    }
}

impl TryFrom<wire::YieldReply> for Option<PeerReply> {
    type Error = Malformed;

    fn try_from(reply: wire::YieldReply) -> Result<Self, Malformed> {
        use wire::yield_reply::Reply;
        Ok(match reply.reply {
            None => None,
            Some(Reply::Refused(_)) => Some(PeerReply::Refused),
            Some(Reply::NotHeld(_)) => Some(PeerReply::NotHeld),
            Some(Reply::Sealed(sealed)) => Some(PeerReply::Sealed(Arc::new(sealed.try_into()?))),
        })
    }
}

impl From<&Sealed> for wire::Sealed {
    fn from(sealed: &Sealed) -> Self {
        let millis = |ago: &Duration| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Self {
            epoch: sealed.epoch.0,
            home: sealed.home.0.clone(),
            outline: sealed.outline.as_deref().map(Into::into),
            stamped: sealed.stamped,
            end: sealed.end.ticks,
            renditions: sealed.renditions.iter().map(Into::into).collect(),
            by_priority_millis: sealed.by_priority.iter().map(millis).collect(),
        }
    }
}

impl TryFrom<wire::Sealed> for Sealed {
    type Error = Malformed;

    fn try_from(sealed: wire::Sealed) -> Result<Self, Malformed> {
        let renditions = at_most(sealed.renditions, RENDITIONS_MAX, "renditions")?;
        let ago = |millis| match millis {
            0..=TAKEOVER_MILLIS_MAX => Ok(Duration::from_millis(millis)),
            longer => value("takeover by priority", longer, "at most an hour ago"),
        };
        Ok(Self {
            epoch: epoch(sealed.epoch)?,
            home: NodeId(text(sealed.home, "home")?),
            outline: sealed.outline.map(TryInto::try_into).transpose()?.map(Arc::new),
            stamped: sealed.stamped,
            end: Timestamp::video(ticks(sealed.end, "end of the media")?),
            renditions: renditions.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            by_priority: at_most(sealed.by_priority_millis, TAKEOVERS_MAX, "takeovers by priority")?
                .into_iter()
                .map(ago)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&SealedRendition> for wire::SealedRendition {
    fn from(known: &SealedRendition) -> Self {
        Self {
            name: known.name.to_string(),
            turn: Some(known.turn.into()),
            missing: Some(known.missing.into()),
            gaps: known.gaps.iter().map(|place| (*place).into()).collect(),
        }
    }
}

impl TryFrom<wire::SealedRendition> for SealedRendition {
    type Error = Malformed;

    fn try_from(known: wire::SealedRendition) -> Result<Self, Malformed> {
        Ok(Self {
            name: rendition_name(&known.name)?,
            turn: required(known.turn, "turn")?.try_into()?,
            missing: required(known.missing, "first missing part")?.try_into()?,
            gaps: at_most(known.gaps, GAPS_MAX, "gaps")?
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}
