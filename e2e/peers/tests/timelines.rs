//! Timelines that encoders really send, each published over RTMP to one server with a gear: what is
//! served keeps every rule, decodes without a message, and has each flash together with its beep. Where the source
//! rendition cannot, it is off with a reason, and the gear carries on.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, too")]

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use headwater_e2e::follow::{Follower, Renditions};
use headwater_e2e::hevc;
use headwater_e2e::marks::{beeps, clip, flashes, picture, sound};
use headwater_e2e::publisher::{Publisher, is_config};
use headwater_e2e::rendition::Rendition;
use headwater_e2e::server::{Folder, Server};
use headwater_flv::{Tag, TagType};

/// One gear.
const ONE_GEAR: &str = "
ladder = 'one'
transcode.when = 'always'
session.end_grace_seconds = 1
[[ladders]]
name = 'one'
gears = [{ width = 128, height = 72, bitrate_kbps = 150 }]";
const GEAR: &str = "72p-150";

/// A frame of AAC at 48 kHz, and what measuring adds, in milliseconds.
const TOLERANCE: f64 = 1024.0 / 48.0 + 4.0;

const FAR_APART: &str = "its keyframes are further apart than a segment may be long";
const NOT_IDR: &str = "its keyframes are no IDR pictures, so that players cannot begin with them";
const STOPPED: &str = "its video has stopped";
const EMPTY_PARTS: &str = "it leaves whole parts without a frame";
const TOO_MANY: &str = "it sends more frames than its frame rate says";

/// A tag, and when it is sent, in milliseconds.
#[derive(Clone, Debug)]
struct Sent {
    at: u32,
    tag: Tag,
}

/// What one publisher sends, and what becomes of it.
struct Case {
    name: &'static str,
    sent: Vec<Sent>,
    /// Why the source rendition goes off, if it does.
    off: Option<&'static str>,
    discontinuities: u64,
    /// Flashes that the gear shows, beeps that are heard.
    marks: (usize, usize),
    /// How much later than its flash each beep comes, in milliseconds: what the timestamps say.
    sound_late: f64,
    /// How much more than a frame of sound marks may be apart, in milliseconds.
    loose: f64,
    /// Marks before this are not looked at, in milliseconds.
    from: f64,
    /// Renditions that players get who come at this time.
    late_player: Option<(u64, &'static [&'static str])>,
}

impl Case {
    fn new(name: &'static str, sent: Vec<Sent>) -> Self {
        Self {
            name,
            sent,
            off: None,
            discontinuities: 0,
            marks: (7, 7),
            sound_late: 0.0,
            loose: 0.0,
            from: 0.0,
            late_player: None,
        }
    }

    fn off(self, reason: &'static str) -> Self {
        Self { off: Some(reason), ..self }
    }

    fn discontinuities(self, discontinuities: u64) -> Self {
        Self { discontinuities, ..self }
    }

    fn marks(self, flashes: usize, beeps: usize) -> Self {
        Self { marks: (flashes, beeps), ..self }
    }

    /// Publishes it, follows every rendition, and judges what was served.
    fn run(self, server: &Server) {
        let stream = format!("live/{}", self.name);
        let mut publisher = Publisher::connect(server.rtmp, &stream).unwrap();
        let sent = self.sent.clone();
        let publishing = std::thread::spawn(move || {
            let tags = sent.iter().map(|sent| (Duration::from_millis(sent.at.into()), &sent.tag));
            let accepted = publisher.play_at(tags);
            if accepted {
                publisher.unpublish();
            }
            accepted
        });
        let follower = Follower::start(server, &stream);
        let late = self.late_player.map(|(at, _)| {
            follower.wait_until("the later track", Duration::from_secs(30), |all| {
                all.values().any(|one| one.lengths.len() as u64 >= at)
            });
            Follower::start(server, &stream)
        });
        assert!(publishing.join().unwrap(), "{}: sent away: {}", self.name, server.log().text());
        follower.expect_end(Duration::from_secs(30));
        let mut all = follower.finish();
        if let (Some(late), Some((_, expected))) = (late, self.late_player) {
            late.expect_end(Duration::from_secs(30));
            all = late.finish();
            assert!(all.keys().eq(expected), "{}: {:?}\n{}", self.name, all.keys(), server.log().text());
        }
        self.judge(&all, &server.log().text());
    }

    fn judge(&self, all: &Renditions, log: &str) {
        let name = self.name;
        let said: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("source rendition off") && line.contains(&format!("stream=live/{name} ")))
            .collect();
        match self.off {
            Some(reason) => assert!(said.iter().any(|line| line.contains(reason)), "{name}: {reason}: {said:?}"),
            None => assert!(said.is_empty(), "{name}: {said:?}"),
        }
        assert!(all.keys().eq(["audio"]) || all.contains_key(GEAR), "{name}: {:?}", all.keys());
        let heard = all.get("audio").map_or_else(Vec::new, |audio| marks(name, "audio", audio, beeps));
        assert!(heard.len() >= self.marks.1, "{name}: beeps at {heard:?}");
        for (rendition, one) in all.iter().filter(|(rendition, _)| *rendition != "audio") {
            let mut shown = marks(name, rendition, one, flashes);
            shown.retain(|flash| *flash >= self.from);
            let early = one.shown_early();
            assert_eq!(one.discontinuities(), self.discontinuities, "{name} {rendition}");
            if rendition == GEAR {
                assert_eq!((one.gaps, one.inits.len()), (0, 1), "{name} {rendition}\n{}", one.playlist);
            }
            if rendition == GEAR || self.off.is_none() {
                assert!(shown.len() >= self.marks.0, "{name} {rendition}: flashes at {shown:?}\n{}", one.playlist);
            }
            let apart: Vec<f64> = shown
                .iter()
                .flat_map(|flash| {
                    let apart = |early| nearest(&heard, *flash - early + self.sound_late);
                    [apart(0.0), apart(early)]
                        .into_iter()
                        .flatten()
                        .min_by(|one, other| one.abs().total_cmp(&other.abs()))
                })
                .collect();
            assert!(largest(&apart) <= TOLERANCE + self.loose, "{name} {rendition}: {shown:?} {heard:?}");
            println!("{name} {rendition}: {} marks, at most {:.1} ms apart", shown.len(), largest(&apart));
        }
        if all.keys().eq(["audio"]) {
            assert!(heard.windows(2).all(|pair| (pair[1] - pair[0] - 1000.0).abs() < TOLERANCE), "{name}: {heard:?}");
        }
    }
}

fn largest(apart: &[f64]) -> f64 {
    apart.iter().fold(0.0, |largest: f64, apart| largest.max(apart.abs()))
}

/// How far the nearest beep is from `time`, if one belongs to it.
fn nearest(beeps: &[f64], time: f64) -> Option<f64> {
    let apart = beeps.iter().map(|beep| beep - time).min_by(|one, other| one.abs().total_cmp(&other.abs()));
    apart.filter(|apart| apart.abs() < 450.0)
}

/// Marks in all that was served of a rendition.
fn marks(case: &str, rendition: &str, one: &Rendition, find: fn(&std::path::Path) -> Vec<f64>) -> Vec<f64> {
    let folder = Folder::new();
    let found = one.files().into_iter().enumerate().flat_map(|(number, bytes)| {
        let file = folder.path().join(format!("{case}-{rendition}-{number}.mp4"));
        std::fs::write(&file, bytes).unwrap();
        find(&file)
    });
    found.collect()
}

/// Publishes all cases at once.
fn run(cases: Vec<Case>) {
    let server = Arc::new(Server::start(ONE_GEAR));
    let run = |case: Case| {
        let server = server.clone();
        Builder::new().name(case.name.to_owned()).spawn(move || case.run(&server)).unwrap()
    };
    let running: Vec<JoinHandle<()>> = cases.into_iter().map(run).collect();
    let failed: Vec<String> = running
        .into_iter()
        .filter_map(|thread| {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            thread.join().err().map(|_| name)
        })
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

const X264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "64k"];

/// A clip of `seconds` with picture and sound. `video` says more of how it is encoded.
fn show_of(seconds: &str, picture: &str, video: &[&str], audio: &[&str]) -> Vec<Sent> {
    let sound = sound(48_000);
    let inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", &sound, "-t", seconds];
    sent(clip(&[&inputs[..], X264, video, AAC, audio].concat()))
}

fn show(video: &[&str]) -> Vec<Sent> {
    show_of("8", &picture("160x90", "30"), video, &[])
}

fn plain() -> Vec<Sent> {
    show(&["-g", "60"])
}

fn sent(tags: Vec<Tag>) -> Vec<Sent> {
    tags.into_iter().map(|tag| Sent { at: tag.timestamp, tag }).collect()
}

fn is_video(sent: &Sent) -> bool {
    sent.tag.kind == TagType::Video
}

fn is_audio(sent: &Sent) -> bool {
    sent.tag.kind == TagType::Audio
}

fn is_keyframe(sent: &Sent) -> bool {
    is_video(sent) && sent.tag.body[0] == 0x17 && !is_config(&sent.tag)
}

/// Changes the timestamps of frames.
fn stamped(mut sent: Vec<Sent>, stamp: impl Fn(&Sent) -> i64) -> Vec<Sent> {
    for sent in sent.iter_mut().filter(|sent| !is_config(&sent.tag)) {
        let millis = stamp(sent).rem_euclid(1 << 32);
        sent.tag.timestamp = u32::try_from(millis).unwrap();
    }
    sent
}

/// Puts them in the order in which they are sent, after `change`.
fn sent_at(mut sent: Vec<Sent>, change: impl Fn(&Sent) -> u32) -> Vec<Sent> {
    for one in &mut sent {
        one.at = change(one);
    }
    sent.sort_by_key(|sent| sent.at);
    sent
}

/// The second clip follows the first `millis` after its beginning.
fn then(first: Vec<Sent>, millis: u32, second: Vec<Sent>) -> Vec<Sent> {
    let first = first.into_iter().filter(|sent| sent.at < millis);
    let second = second.into_iter().map(|mut sent| {
        sent.at += millis;
        sent.tag.timestamp += millis;
        sent
    });
    first.chain(second).collect()
}

/// Seven seconds and a half at each side of a wrap, which comes in the middle.
fn wrapping(name: &'static str, bits: u32) -> Case {
    let sent = stamped(plain(), |sent| (i64::from(sent.at) + (1 << bits) - 4000) % (1 << bits));
    Case::new(name, sent)
}

/// Clocks: wraps, jumps, wrong and odd times, tracks that are sent at different times.
#[test]
fn clocks() {
    let jump = |millis: i64| {
        stamped(plain(), move |sent| i64::from(sent.at) + 5_000_000 + if sent.at > 3500 { millis } else { 0 })
    };
    let late = |late: fn(&Sent) -> bool, millis: u32| {
        let mut sent =
            sent_at(plain(), move |sent| sent.at + if late(sent) && !is_config(&sent.tag) { millis } else { 0 });
        sent.retain(|sent| sent.at < 8000);
        sent
    };
    // One picture a second, and at another time one frame of sound.
    let outliers = stamped(plain(), |sent| {
        let wrong = if is_audio(sent) { sent.at % 1000 / 22 == 30 } else { sent.at % 1000 / 34 == 10 };
        i64::from(sent.at) + if sent.at > 1000 && wrong { 20_000 - i64::from(sent.at) % 2 * 40_000 } else { 0 }
    });
    let fast = sound(48_240);
    let fast = format!("{fast},asetrate=48000");
    let inputs = ["-f", "lavfi", "-i", &picture("160x90", "30"), "-f", "lavfi", "-i", &fast, "-t", "8"];
    let drifting = sent(clip(&[&inputs[..], X264, &["-g", "60"], AAC].concat()));
    let drifting =
        stamped(
            drifting,
            |sent| {
                if is_audio(sent) { i64::from(sent.at) * 48_000 / 48_240 } else { i64::from(sent.at) }
            },
        );
    run(vec![
        Case::new("plain", plain()),
        wrapping("wrap-32", 32),
        wrapping("wrap-31", 31),
        wrapping("wrap-24", 24),
        Case::new("jump-ahead", jump(3_600_000)).discontinuities(1),
        Case::new("jump-back", jump(-3_600_000)).discontinuities(1),
        Case::new("outliers", outliers).marks(7, 6),
        Case {
            sound_late: 200.0,
            ..Case::new("offset", stamped(plain(), |sent| i64::from(sent.at) + if is_audio(sent) { 200 } else { 0 }))
        },
        Case { from: 1500.0, ..Case::new("late-sound", late(is_audio, 1500)).marks(5, 4) },
        Case::new("early-sound", late(is_video, 800)).marks(6, 6),
        Case::new("drift", drifting),
        Case::new(
            "equal",
            stamped(plain(), |sent| i64::from(sent.at) - if is_video(sent) && sent.at % 67 > 30 { 33 } else { 0 }),
        ),
        Case::new(
            "backward",
            stamped(plain(), |sent| {
                i64::from(sent.at) + 100 - if is_video(sent) && (sent.at + 165) % 330 < 33 { 50 } else { 0 }
            }),
        ),
    ]);
}

/// Frame rates and GOPs.
#[test]
fn pictures() {
    let rate = |rate: &str| show_of("8", &picture("160x90", rate), &["-g", "60"], &[]);
    let chosen = |which: &str| format!("{},select='{which}'", picture("160x90", "30"));
    let variable = show_of("8", &chosen("lt(mod(n,10),5)+not(mod(n,2))"), &["-fps_mode", "vfr", "-g", "40"], &[]);
    // Two pictures a second: a flash and what comes after it.
    let slow = show_of("8", &chosen("not(mod(n,30))+not(mod(n-6,30))"), &["-fps_mode", "vfr", "-g", "4"], &[]);
    let open =
        || show(&["-tune", "film", "-bf", "2", "-g", "60", "-x264-params", "open-gop=1:scenecut=0:min-keyint=60"]);
    let refresh = || show(&["-x264-params", "intra-refresh=1:keyint=60"]);
    // Of HEVC: with an IDR before all refreshes, and with none at all.
    let hevc_refresh = || {
        let video = hevc::refreshed_clip(&["-f", "lavfi", "-i", &picture("160x90", "30"), "-t", "8"], 30);
        let inputs = ["-f", "lavfi", "-i", &sound(48_000), "-t", "8"];
        let mut tags = [video, clip(&[&inputs[..], AAC].concat())].concat();
        tags.sort_by_key(|tag| tag.timestamp);
        sent(tags)
    };
    let joined = |sent: Vec<Sent>| -> Vec<Sent> {
        let sent =
            sent.into_iter().filter(|sent| sent.at >= 1500 || is_config(&sent.tag) || sent.tag.kind == TagType::Script);
        sent.map(|sent| Sent { at: sent.at.saturating_sub(1500), ..sent }).collect()
    };
    run(vec![
        Case::new("ntsc", rate("30000/1001")),
        Case::new("pal", rate("25")),
        Case::new("film", rate("24000/1001")),
        Case::new("sixty", rate("60")),
        Case::new("variable-rate", variable),
        Case::new("slow", slow).off(EMPTY_PARTS),
        Case::new("gop-of-12-s", show(&["-g", "360", "-keyint_min", "360", "-sc_threshold", "0"])).off(FAR_APART),
        Case::new("irregular-gop", show(&["-g", "999", "-sc_threshold", "0", "-force_key_frames", "0,0.4,3.1,3.3,6"])),
        Case::new("b-frames", show(&["-tune", "film", "-bf", "3", "-g", "60"])),
        Case::new("open-gop", open()).off(NOT_IDR),
        Case::new("open-gop-joined", joined(open())).off(NOT_IDR).marks(4, 4),
        Case::new("intra-refresh", refresh()).off(NOT_IDR),
        Case::new("intra-refresh-joined", joined(refresh())).off(NOT_IDR).marks(3, 3),
        Case::new("hevc-refresh", hevc_refresh()).off(NOT_IDR),
        Case::new("hevc-refresh-joined", joined(hevc_refresh())).off(NOT_IDR).marks(4, 4),
    ]);
}

/// SPS and PPS of an H.264 record, each with its length.
fn parameter_sets(record: &Tag) -> Bytes {
    let body = &record.body[5..];
    let sps_length = usize::from(u16::from_be_bytes([body[6], body[7]]));
    let (sps, rest) = body[8..].split_at(sps_length);
    let pps_length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
    let mut sets = BytesMut::new();
    for set in [sps, &rest[3..3 + pps_length]] {
        sets.put_u32(u32::try_from(set.len()).unwrap());
        sets.put_slice(set);
    }
    sets.freeze()
}

fn is_video_config(sent: &Sent) -> bool {
    is_video(sent) && is_config(&sent.tag)
}

/// Without records: parameter sets stand in each keyframe. `first` leaves the first record where it is.
fn in_band(mut sent: Vec<Sent>, first: bool) -> Vec<Sent> {
    let mut sets = Bytes::new();
    let mut records = 0;
    sent.retain_mut(|sent| {
        if is_video_config(sent) {
            sets = parameter_sets(&sent.tag);
            records += 1;
            return first && records == 1;
        }
        if is_keyframe(sent) {
            sent.tag.body = [&sent.tag.body[..5], &sets, &sent.tag.body[5..]].concat().into();
        }
        true
    });
    sent
}

/// NAL units with start codes in place of lengths.
fn start_codes(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (unit, tail) = tail.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit);
        rest = tail;
    }
    out
}

/// Annex B inside FLV, in pictures and, if wanted, in the record too.
fn annex_b(mut sent: Vec<Sent>, record_too: bool) -> Vec<Sent> {
    for one in sent.iter_mut().filter(|sent| is_video(sent)) {
        let units = if is_video_config(one) {
            if !record_too {
                continue;
            }
            parameter_sets(&one.tag)
        } else {
            one.tag.body.slice(5..)
        };
        one.tag.body = [&one.tag.body[..5], &start_codes(&units)].concat().into();
    }
    sent
}

/// Headers that come late, are repeated or change.
#[test]
fn headers() {
    let late = sent_at(plain(), |sent| if is_video_config(sent) { 2500 } else { sent.at });
    let config = plain().into_iter().filter(|sent| is_config(&sent.tag)).collect::<Vec<_>>();
    let repeated = plain().into_iter().flat_map(|sent| {
        let again = config.iter().filter(move |_| sent.at % 500 < 34);
        let at = sent.at;
        again.cloned().map(move |config| Sent { at, ..config }).chain([sent.clone()]).collect::<Vec<_>>()
    });
    let half =
        |size: &str, rate: &str, video: &[&str], audio: &[&str]| show_of("4", &picture(size, rate), video, audio);
    let first = || half("160x90", "30", &["-g", "60"], &[]);
    let small = || half("128x72", "30", &["-g", "60"], &[]);
    run(vec![
        Case::new("late-header", late).marks(4, 4),
        Case::new("repeated-headers", repeated.collect()),
        Case::new("no-header", in_band(plain(), false)),
        Case::new("other-size", then(first(), 4000, small())).discontinuities(1),
        Case::new("other-size-in-band", in_band(then(first(), 4000, small()), true)).discontinuities(1),
        Case::new("other-pps", then(first(), 4000, half("160x90", "30", &["-g", "60", "-qp", "30"], &[]))),
        // Every second picture has no slot, and the other may be a slot late.
        Case {
            loose: 1000.0 / 30.0,
            ..Case::new("other-rate", then(first(), 4000, half("160x90", "60", &["-g", "120"], &[])))
                .discontinuities(1)
                .off(TOO_MANY)
        },
        Case::new("other-sample-rate", then(first(), 4000, half("160x90", "30", &["-g", "60"], &["-ar", "44100"])))
            .discontinuities(1),
        // What was before reaches half a frame into the new sound, whose first frame gives way: the beep begins in it.
        Case {
            loose: 8.0,
            ..Case::new("other-channels", then(first(), 4000, half("160x90", "30", &["-g", "60"], &["-ac", "2"])))
                .discontinuities(1)
        },
        Case::new("annex-b", annex_b(plain(), false)),
        Case::new("annex-b-record", annex_b(plain(), true)),
    ]);
}

/// Tracks that are not there, or not always.
#[test]
fn tracks() {
    let only = |keep: fn(&Sent) -> bool| plain().into_iter().filter(keep).collect::<Vec<Sent>>();
    let from = |keep: fn(&Sent) -> bool, from: u32| {
        let sent = show_of("12", &picture("160x90", "30"), &["-g", "60"], &[]).into_iter();
        let sent = sent.filter(move |sent| keep(sent) || sent.at >= from || is_config(&sent.tag));
        let late =
            move |sent: Sent| if is_config(&sent.tag) && !keep(&sent) { Sent { at: from, ..sent } } else { sent };
        let mut sent: Vec<Sent> = sent.map(late).collect();
        sent.sort_by_key(|sent| sent.at);
        sent
    };
    let until = |keep: fn(&Sent) -> bool, until: u32| {
        plain().into_iter().filter(move |sent| keep(sent) || sent.at < until).collect::<Vec<Sent>>()
    };
    let all: &[&str] = &[GEAR, "audio", "source"];
    run(vec![
        Case::new("no-picture", only(|sent| !is_video(sent))).marks(0, 7),
        Case::new("no-sound", only(|sent| !is_audio(sent))).marks(7, 0),
        // A record of video, and no pictures.
        Case::new("record-alone", only(|sent| !is_video(sent) || is_config(&sent.tag))).marks(0, 7),
        Case { late_player: Some((4, all)), ..Case::new("late-track-of-sound", from(is_video, 5000)).marks(4, 4) },
        Case {
            late_player: Some((5, all)),
            ..Case::new("late-track-of-pictures", from(is_audio, 5000)).marks(4, 4).discontinuities(1)
        },
        Case::new("sound-stops", until(is_video, 4000)).marks(7, 4),
        Case::new("video-stops", until(is_audio, 4000)).marks(4, 7).off(STOPPED),
    ]);
}
