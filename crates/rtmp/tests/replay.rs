//! Recorded publishers, fed to a session again.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use headwater_amf0::Limits;
use headwater_flv::{
    AudioContent, AudioPacket, AudioTag, FrameType, Metadata, ScriptData, VideoContent, VideoStart, VideoTag,
};
use headwater_media::Instant;
use headwater_rtmp::{Event, MediaKind, MediaMessage, PublishRequest, ServerConfig, ServerSession};
use proptest::prelude::*;

/// Provenance of all recordings: `src/testdata/README.md`.
const FFMPEG: &[u8] = include_bytes!("../src/testdata/ffmpeg-5.1.rtmp");
const FFMPEG_LATE: &[u8] = include_bytes!("../src/testdata/ffmpeg-5.1-late.rtmp");
const FFMPEG_9: &[u8] = include_bytes!("../src/testdata/ffmpeg-9.0.rtmp");
const OBS: &[u8] = include_bytes!("../src/testdata/obs-29.0.2.rtmp");
const RTMP2SINK: &[u8] = include_bytes!("../src/testdata/rtmp2sink-1.22.rtmp");
const RTMPSINK: &[u8] = include_bytes!("../src/testdata/rtmpsink-1.22.rtmp");
const NGINX: &[u8] = include_bytes!("../src/testdata/nginx-rtmp-1.2.2.rtmp");
/// Encoders that publish the same pictures and sound.
const ALIKE: [&[u8]; 5] = [FFMPEG, FFMPEG_LATE, FFMPEG_9, RTMP2SINK, RTMPSINK];
const ALL: [&[u8]; 7] = [FFMPEG, FFMPEG_LATE, FFMPEG_9, OBS, RTMP2SINK, RTMPSINK, NGINX];

/// Everything that a session says to `pieces`; it accepts what is asked.
fn events_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let now = Instant::from_millis(1000);
    let mut session = ServerSession::new(now, ServerConfig::default(), 1);
    let mut events = Vec::new();
    for piece in pieces {
        session.handle_input(now, piece).expect("the recording was accepted when it was made");
        while let Some(event) = session.poll_event() {
            match &event {
                Event::ConnectRequest(_) => session.accept_connect(now).unwrap(),
                Event::PublishRequest(request) => session.accept_publish(now, request.id).unwrap(),
                _ => {}
            }
            events.push(event);
        }
        while session.poll_transmit().is_some() {}
    }
    session.handle_disconnect();
    events.extend(std::iter::from_fn(|| session.poll_event()));
    events
}

fn request(events: &[Event]) -> &PublishRequest {
    let requests = events.iter().filter_map(|event| match event {
        Event::PublishRequest(request) => Some(request),
        _ => None,
    });
    let [request] = requests.collect::<Vec<_>>()[..] else { panic!("expected one publish request") };
    request
}

fn media(events: &[Event], wanted: MediaKind) -> Vec<&MediaMessage> {
    let media = events.iter().filter_map(|event| match event {
        Event::Audio(message) => Some((MediaKind::Audio, message)),
        Event::Video(message) => Some((MediaKind::Video, message)),
        Event::Data(message) => Some((MediaKind::Data, message)),
        _ => None,
    });
    media.filter_map(|(kind, message)| (kind == wanted).then_some(message)).collect()
}

fn metadata(events: &[Event]) -> Vec<Metadata> {
    let read = |message: &&MediaMessage| match ScriptData::read(&message.payload, Limits::default()) {
        ScriptData::Metadata(metadata) => Some(metadata),
        _ => None,
    };
    media(events, MediaKind::Data).iter().filter_map(read).collect()
}

/// 1 byte, 7 bytes, 64 KiB.
#[test]
fn slices_of_any_size_give_the_same_events() {
    for recording in ALL {
        let whole = events_of([recording]);
        for size in [1, 7, 64 << 10] {
            assert!(events_of(recording.chunks(size)) == whole, "slices of {size} bytes differ");
        }
    }
}

/// FFmpeg and nginx sign their C1 and get a signed answer (bytes 4 to 8 of S1 are not zero); GStreamer and
/// librtmp, which is in OBS too, do not. What they send as C2 is not looked at.
#[test]
fn signed_handshakes_get_signed_answers() {
    let now = Instant::from_millis(1000);
    for (recording, signed) in [
        (FFMPEG, true),
        (FFMPEG_LATE, true),
        (FFMPEG_9, true),
        (OBS, false),
        (RTMP2SINK, false),
        (RTMPSINK, false),
        (NGINX, true),
    ] {
        let mut session = ServerSession::new(now, ServerConfig::default(), 1);
        session.handle_input(now, &recording[..1537]).unwrap();
        let answer = session.poll_transmit().unwrap();
        assert_eq!(answer.len(), 1 + 2 * 1536);
        assert_eq!(answer[5..9] != [0; 4], signed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// TCP may cut the stream anywhere; what the publisher meant does not change.
    #[test]
    fn any_split_gives_the_same_events(which in 0..ALL.len(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let recording = ALL[which];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(recording.len() + 1)).collect();
        cuts.extend([0, recording.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &recording[pair[0]..pair[1]]);
        prop_assert!(events_of(pieces) == events_of([recording]));
    }

    /// one wrong byte after the handshake ends in an error or not, but never in a panic.
    #[test]
    fn a_damaged_recording_does_no_harm(which in 0..ALL.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut damaged = ALL[which].to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let now = Instant::from_millis(1000);
        let mut session = ServerSession::new(now, ServerConfig::default(), 1);
        for piece in damaged.chunks(4096) {
            if session.handle_input(now, piece).is_err() {
                break;
            }
            while let Some(event) = session.poll_event() {
                match event {
                    Event::ConnectRequest(_) => session.accept_connect(now).unwrap(),
                    Event::PublishRequest(request) => session.accept_publish(now, request.id).unwrap(),
                    _ => {}
                }
            }
        }
    }
}

/// what each publisher says about itself, and a clean end.
#[test]
fn every_publisher_is_understood() {
    let ffmpeg = "FMLE/3.0 (compatible; Lavf59.27.100)";
    let expected = [
        (FFMPEG, "live", Some(ffmpeg), Some("a b")),
        (FFMPEG_LATE, "app/inst", Some(ffmpeg), None),
        (FFMPEG_9, "live", Some("FMLE/3.0 (compatible; Lavf63.1.102)"), Some("a b")),
        (OBS, "live", Some("FMLE/3.0 (compatible; FMSc/1.0)"), None),
        (RTMP2SINK, "live", Some("LNX 10,0,32,18"), None),
        (RTMPSINK, "live", None, None),
    ];
    for (recording, app, flash_version, token) in expected {
        let events = events_of([recording]);
        let request = request(&events);
        assert_eq!((request.app.as_str(), request.name.secret()), (app, "KEY"));
        assert_eq!(request.connect.flash_version(), flash_version);
        assert_eq!(request.parameters.get("token"), token);
        let ends: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::PublishEnded { .. })).collect();
        assert_eq!(ends, [&Event::PublishEnded { clean: true }]);
    }
}

/// a relay closes without a word, which is no clean end.
#[test]
fn a_relay_publishes_and_is_lost() {
    let events = events_of([NGINX]);
    let request = request(&events);
    assert_eq!((request.app.as_str(), request.name.secret()), ("live", "relayed"));
    assert_eq!(request.connect.flash_version(), Some("LNX.11,1,102,55"));
    assert_eq!(media(&events, MediaKind::Audio).len(), 48);
    assert_eq!(metadata(&events)[0].frame_rate, Some(30.0));
    assert_eq!(events.last(), Some(&Event::PublishEnded { clean: false }));
}

/// two seconds at 30 frames per second, a keyframe each second, two B-frames in between.
#[test]
fn pictures_and_sound_are_whole() {
    for recording in ALIKE {
        let events = events_of([recording]);
        let video: Vec<VideoTag> = media(&events, MediaKind::Video)
            .iter()
            .map(|message| VideoTag::read(message.payload.clone()).unwrap())
            .collect();
        let Some(VideoContent::Config(record)) = video[0].packets.first().map(|packet| &packet.content) else {
            panic!("expected a sequence header, found {:?}", video.first());
        };
        assert_eq!(record[0], 1);
        let pictures: Vec<(FrameType, i32, &[u8])> = video
            .iter()
            .filter_map(|tag| match &tag.packets.first()?.content {
                VideoContent::Frame { composition_millis, data } => Some((tag.frame, *composition_millis, &data[..])),
                _ => None,
            })
            .collect();
        assert_eq!(pictures.len(), 60);
        assert_eq!(pictures.iter().filter(|(frame, ..)| *frame == FrameType::Key).count(), 2);
        assert!(pictures.iter().any(|(_, composition, _)| *composition > 60), "no B-frames");
        for (.., data) in pictures {
            assert_nal_units_fill(data);
        }

        let audio = media(&events, MediaKind::Audio);
        let audio: Vec<AudioPacket> =
            audio.iter().flat_map(|message| AudioTag::read(message.payload.clone()).unwrap().packets).collect();
        assert!(matches!(&audio[0].content, AudioContent::Config(config) if config[0] == 0x11), "AAC-LC, 48 kHz");
        assert!(audio[1..].iter().filter(|packet| matches!(packet.content, AudioContent::Frame(_))).count() >= 93);
    }
}

/// what OBS sends with x264 at ten pictures a second, a keyframe each 20, and silence. It says where it is from in
/// `swfUrl`, and in `connect` that it could be sent elsewhere.
#[test]
fn obs_publishes_pictures_sound_and_metadata() {
    let events = events_of([OBS]);
    let connect = &request(&events).connect;
    let names: Vec<&str> = connect.properties().0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["app", "type", "supportsGoAway", "flashVer", "swfUrl", "tcUrl"]);
    let metadata = &metadata(&events)[0];
    assert_eq!((metadata.width, metadata.height, metadata.frame_rate), (Some(320.0), Some(180.0), Some(10.0)));
    assert_eq!(metadata.encoder.as_deref(), Some("obs-output module (libobs version 29.0.2.1-1+b1)"));

    let video: Vec<VideoTag> = media(&events, MediaKind::Video)
        .iter()
        .map(|message| VideoTag::read(message.payload.clone()).unwrap())
        .collect();
    let mut keyframes = Vec::new();
    let mut pictures = 0;
    for tag in &video {
        for packet in &tag.packets {
            let VideoContent::Frame { data, .. } = &packet.content else { continue };
            assert_nal_units_fill(data);
            if tag.frame == FrameType::Key {
                keyframes.push(pictures);
            }
            pictures += 1;
        }
    }
    assert_eq!((pictures, keyframes), (31, vec![0, 20]));
    let audio = media(&events, MediaKind::Audio);
    let audio: Vec<AudioPacket> =
        audio.iter().flat_map(|message| AudioTag::read(message.payload.clone()).unwrap().packets).collect();
    assert!(matches!(&audio[0].content, AudioContent::Config(config) if config[..2] == [0x11, 0x90]));
    assert_eq!(audio.iter().filter(|packet| matches!(packet.content, AudioContent::Frame(_))).count(), 143);
}

/// Lengths and NAL units one after another, to the last byte.
fn assert_nal_units_fill(mut data: &[u8]) {
    while let Some((length, rest)) = data.split_first_chunk() {
        data = rest.get(u32::from_be_bytes(*length) as usize..).expect("a NAL unit ends within the picture");
    }
    assert!(data.is_empty());
}

/// A start before each message, telling the truth; keyframes are known from it.
#[test]
fn each_message_is_announced() {
    for recording in ALL {
        let mut starts = Vec::new();
        for event in events_of([recording]) {
            let (kind, message) = match event {
                Event::MessageStart(start) => {
                    starts.push(start);
                    continue;
                }
                Event::Audio(message) => (MediaKind::Audio, message),
                Event::Video(message) => (MediaKind::Video, message),
                Event::Data(message) => (MediaKind::Data, message),
                _ => continue,
            };
            let index = starts.iter().position(|start| start.kind == kind).expect("a start comes first");
            let start = starts.remove(index);
            assert_eq!((start.timestamp, start.length as usize), (message.timestamp, message.payload.len()));
            assert_eq!(*start.first, message.payload[..message.payload.len().min(16)]);
            if kind == MediaKind::Video {
                let tag = VideoTag::read(message.payload.clone()).unwrap();
                let expected = match tag.packets.first().map(|packet| &packet.content) {
                    Some(VideoContent::Frame { .. }) => {
                        Some(VideoStart { track: 0, keyframe: tag.frame == FrameType::Key })
                    }
                    _ => None,
                };
                assert_eq!(VideoStart::read(&start.first), expected);
            }
        }
        assert_eq!(starts, []);
    }
}

/// the same encoders, 17 000 s later. Headers stay at 0, and nothing but time changes.
#[test]
fn extended_timestamps_change_nothing_but_time() {
    let (early, late) = (events_of([FFMPEG]), events_of([FFMPEG_LATE]));
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let (early, late) = (media(&early, kind), media(&late, kind));
        assert_eq!(early.len(), late.len());
        for (early, late) in early.iter().zip(&late) {
            assert_eq!(early.payload, late.payload);
        }
        assert_eq!((early[0].timestamp, late[0].timestamp), (0, 0));
        let frames = |messages: &[&MediaMessage]| -> Vec<u32> {
            messages[1..messages.len() - 1].iter().map(|message| message.timestamp).collect()
        };
        let shift = frames(&late)[0] - frames(&early)[0];
        // FFmpeg counts the offset from the first decode time, which lies two frames before the first picture.
        assert!(shift.abs_diff(16_999_933) <= 1, "{shift}");
        for (early, late) in frames(&early).iter().zip(frames(&late)) {
            assert!((early + shift).abs_diff(late) <= 1, "{early} and {late}");
        }
    }
}

///
#[test]
fn metadata_is_a_hint_that_may_come_often() {
    let ffmpeg = metadata(&events_of([FFMPEG]));
    assert_eq!(ffmpeg.len(), 1);
    assert_eq!((ffmpeg[0].width, ffmpeg[0].height, ffmpeg[0].frame_rate), (Some(160.0), Some(120.0), Some(30.0)));
    assert_eq!((ffmpeg[0].audio_sample_rate, ffmpeg[0].stereo), (Some(48_000.0), Some(false)));
    assert_eq!(ffmpeg[0].encoder.as_deref(), Some("Lavf59.27.100"));
    assert_eq!(metadata(&events_of([FFMPEG_9])).len(), 1);
    assert_eq!(metadata(&events_of([RTMP2SINK])).len(), 20);
}

/// nothing that a log could show has the key in it, at no moment of a connection.
#[test]
fn no_debug_output_has_the_key() {
    let now = Instant::from_millis(1000);
    for recording in ALL {
        let mut session = ServerSession::new(now, ServerConfig::default(), 1);
        let (mut shown, mut requests) = (String::new(), 0);
        for piece in recording[..8000].chunks(50) {
            session.handle_input(now, piece).unwrap();
            shown += &format!("{session:?}");
            while let Some(event) = session.poll_event() {
                if let Event::ConnectRequest(_) | Event::PublishRequest(_) = event {
                    shown += &format!("{event:?} {session:?}");
                    requests += 1;
                }
                match event {
                    Event::ConnectRequest(_) => session.accept_connect(now).unwrap(),
                    Event::PublishRequest(request) => session.accept_publish(now, request.id).unwrap(),
                    _ => {}
                }
            }
        }
        assert_eq!(requests, 2);
        assert!(!shown.contains("KEY"));
    }
}
