//! Jobs as JSON: what a board that machines share keeps of them.

use std::sync::Arc;

use headwater_media::{Epoch, RenditionName};
use serde::{Deserialize, Serialize};

use super::{Unreadable, WrittenKind};
use crate::{Job, RenditionKind};

/// A job.
pub fn job_to_json(job: &Job) -> String {
    serde_json::to_string(&WrittenJob::new(job)).expect("these types have text keys only")
}

/// The job that [`job_to_json`] made text of.
pub fn job_from_json(text: &[u8]) -> Result<Job, Unreadable> {
    let written: WrittenJob =
        serde_json::from_slice(text).map_err(|error| Unreadable::Form { problem: error.to_string() })?;
    written.job().map_err(|what| Unreadable::Value { what })
}

#[derive(Deserialize, Serialize)]
struct WrittenJob {
    stream: String,
    session: String,
    epoch: u64,
    waking: u64,
    gears: Vec<WrittenGear>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standby: Option<WrittenGear>,
    audio: Vec<WrittenGear>,
}

/// Something to make.
#[derive(Deserialize, Serialize)]
struct WrittenGear {
    name: String,
    kind: WrittenKind,
}

impl WrittenJob {
    fn new(job: &Job) -> Self {
        let gear = |gear: &crate::Gear| WrittenGear::new(&gear.name, &RenditionKind::Gear(gear.clone()));
        let audio = |gear: &crate::AudioGear| WrittenGear::new(&gear.name, &RenditionKind::AudioGear(gear.clone()));
        Self {
            stream: job.stream.to_string(),
            session: job.session.to_string(),
            epoch: job.epoch.0,
            waking: job.waking,
            gears: job.gears.iter().map(gear).collect(),
            standby: job.standby.as_ref().map(gear),
            audio: job.audio.iter().map(audio).collect(),
        }
    }

    /// The job, or what of it makes no sense.
    fn job(self) -> Result<Job, &'static str> {
        let picture = |gear: WrittenGear| match gear.kind()? {
            RenditionKind::Gear(gear) => Ok(gear),
            _ => Err("a gear"),
        };
        let sound = |gear: WrittenGear| match gear.kind()? {
            RenditionKind::AudioGear(gear) => Ok(gear),
            _ => Err("a gear of sound"),
        };
        Ok(Job {
            stream: self.stream.parse().map_err(|_| "the stream's name")?,
            session: self.session.parse().map_err(|()| "the session's id")?,
            epoch: Epoch(self.epoch),
            waking: self.waking,
            gears: self.gears.into_iter().map(picture).collect::<Result<Arc<[_]>, _>>()?,
            standby: self.standby.map(picture).transpose()?,
            audio: self.audio.into_iter().map(sound).collect::<Result<Arc<[_]>, _>>()?,
        })
    }
}

impl WrittenGear {
    fn new(name: &RenditionName, kind: &RenditionKind) -> Self {
        Self { name: name.to_string(), kind: WrittenKind::new(kind) }
    }

    fn kind(self) -> Result<RenditionKind, &'static str> {
        let name = RenditionName::new(&self.name).ok_or("a rendition's name")?;
        Ok(self.kind.kind(&name))
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::{AacConfig, AudioConfig, SessionId};

    use super::*;
    use crate::{AudioGear, Ladder};

    #[test]
    fn a_job_is_read_as_it_was_written() {
        let mut gears = Ladder::hd().gears;
        let sound = AudioGear::low(&AudioConfig::Aac(AacConfig::lc(44_100, 1).unwrap()));
        let pictures = Job {
            stream: "live/show".parse().unwrap(),
            session: SessionId::from_random([7; 10]),
            epoch: Epoch(3),
            waking: 9,
            standby: gears.pop(),
            gears: gears.into(),
            audio: [].into(),
        };
        let sound = Job { standby: None, gears: [].into(), audio: [sound].into(), ..pictures.clone() };
        for known in [pictures, sound] {
            assert_eq!(job_from_json(job_to_json(&known).as_bytes()).unwrap(), known);
        }
    }

    #[test]
    fn what_is_no_job_is_said() {
        let text = br#"{"stream":"live","session":"x","epoch":1,"waking":1,"gears":[],"audio":[]}"#;
        assert_eq!(job_from_json(text).unwrap_err(), Unreadable::Value { what: "the stream's name" });
        assert!(job_from_json(b"{}").unwrap_err().to_string().starts_with("missing field"));
    }
}
