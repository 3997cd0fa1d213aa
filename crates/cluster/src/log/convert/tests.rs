use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_media::captions::Channels;
use headwater_media::*;
use headwater_router::claim::{PeerReply, Sealed, SealedRendition};
use headwater_router::{
    AudioGear, AudioGroup, Gear, Item, NodeId, Outline, OutlinedRendition, PublisherInfo, Rendition, RenditionKind,
    Session, SessionState, State,
};
use headwater_segmenter::{Grid, Profile};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

use super::session::{read_state, state};
use super::*;

const AVCC: &[u8] = include_bytes!("../../../../media/src/testdata/x264-1080p29.avcc");
const FIELDS: &[u8] = include_bytes!("../../../../media/src/testdata/x264-576i25-anamorphic.avcc");
const HVCC: &[u8] = include_bytes!("../../../../media/src/testdata/x265-main10-pq.hvcc");
const AV1C: &[u8] = include_bytes!("../../../../media/src/testdata/svtav1-main.av1c");

/// What was sent, as it is read on the other side.
fn over_the_wire<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).unwrap()
}

fn same(left: &impl Debug, right: &impl Debug) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

fn name() -> impl Strategy<Value = RenditionName> {
    "[a-z0-9-]{1,32}".prop_map(|text| RenditionName::new(&text).unwrap())
}

fn time() -> impl Strategy<Value = i64> {
    -TICKS_MAX..=TICKS_MAX
}

fn number() -> impl Strategy<Value = MediaSequence> {
    (0..=COUNT_MAX).prop_map(MediaSequence)
}

fn place() -> impl Strategy<Value = Place> {
    (number(), (0..=PART_INDEX_MAX).prop_map(PartIndex))
}

fn date() -> impl Strategy<Value = WallTime> {
    (0..=UNIX_MILLIS_MAX).prop_map(|unix_millis| WallTime { unix_millis })
}

fn turn() -> impl Strategy<Value = Turn> {
    (0..=COUNT_MAX, 0..=TURNS_MAX).prop_map(|(epoch, counter)| Turn { epoch: Epoch(epoch), counter })
}

prop_compose! {
    fn cut()(
        msn in number(), start in time(), discontinuity in 0..=COUNT_MAX, program_date_time in date(), gap: bool,
        off in proptest::collection::vec((name(), proptest::option::of(".{0,40}")), 0..3),
    ) -> Cut {
        let state = |off: Option<String>| off.map_or(RenditionState::On, |why| RenditionState::Off(why.into()));
        Cut {
            msn, start: Timestamp::video(start), discontinuity, program_date_time,
            kind: if gap { CutKind::Gap } else { CutKind::Media },
            renditions: off.into_iter().map(|(name, off)| (name, state(off))).collect(),
        }
    }
}

prop_compose! {
    fn part_end()(place in place(), start in -SLOTS_MAX..=SLOTS_MAX, end in -SLOTS_MAX..=SLOTS_MAX, last: bool) -> PartEnd {
        PartEnd { msn: place.0, index: place.1, start: VideoSlot(start), end: VideoSlot(end), last }
    }
}

fn init() -> impl Strategy<Value = Arc<Init>> {
    let range = select(vec![VideoRange::Sdr, VideoRange::Pq, VideoRange::Hlg]);
    let size = proptest::option::of((1..=1u32 << 16, 1..=1u32 << 16));
    (any::<Vec<u8>>(), "[a-z0-9.]{0,20}", size, range)
        .prop_map(|(data, codecs, size, range)| Arc::new(Init::new(data.into(), &codecs, size).in_range(range)))
}

/// This machine's clock, and the peer's.
const NOW: Instant = Instant::from_millis(100_000);
const THERE: Instant = Instant::from_millis(7_000_000);

prop_compose! {
    fn media()(
        data in proptest::collection::vec(any::<Vec<u8>>(), 0..4), independent: bool, init in init(), age in 0..90_000u64,
        intra in proptest::option::of((0..100u64, 0..100u64)),
    ) -> PartPayload {
        let data: Pieces = data.into_iter().map(Bytes::from).collect();
        let length = data.len() as u64;
        PartPayload::Media {
            independent, init, received: Instant::from_millis(100_000 - age),
            intra: intra.map(|(from, long)| ByteRange { offset: from.min(length), length: long.min(length - from.min(length)) }),
            data,
        }
    }
}

prop_compose! {
    fn any_part()(
        place in place(), times in (time(), time()), scale in 1..=TIMESCALE_MAX,
        payload in prop_oneof![Just(PartPayload::Gap), media()],
    ) -> Part {
        let at = |ticks| Timestamp::new(ticks, Timescale::new(scale).unwrap());
        let (start, end) = (at(times.0.min(times.1)), at(times.0.max(times.1)));
        Part { msn: place.0, index: place.1, start, end, payload }
    }
}

fn video_config() -> impl Strategy<Value = VideoConfig> {
    let vp9 = Vp9Config::from_record(&[0, 31, 0x82, 1, 1, 1, 0, 0], (1280, 720)).unwrap();
    let hinted = {
        let mut config = VideoConfig::Avc(AvcConfig::parse(FIELDS).unwrap());
        config.hint_colour(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
        config
    };
    select(vec![
        VideoConfig::Avc(AvcConfig::parse(AVCC).unwrap()),
        VideoConfig::Avc(AvcConfig::parse(FIELDS).unwrap()),
        hinted,
        VideoConfig::Hevc(HevcConfig::parse(HVCC).unwrap()),
        VideoConfig::Av1(Av1Config::parse(AV1C).unwrap().unwrap()),
        VideoConfig::Vp9(vp9),
    ])
}

fn audio_config() -> impl Strategy<Value = AudioConfig> {
    let flac = [16, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0x0A, 0xC4, 0x42, 0xF0, 0, 0, 0, 0];
    let flac = Bytes::from([&flac[..], &[0; 16]].concat());
    let ac3 = Ac3Config {
        enhanced: true,
        sample_rate: 48_000,
        rate_code: 0,
        bitstream_id: 16,
        bitstream_mode: 0,
        audio_mode: 7,
        lfe: true,
        bitrate_kbps: 384,
        frame_samples: 1536,
        dependent: false,
    };
    select(vec![
        AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap()),
        AudioConfig::Mp3(Mp3Config { sample_rate: 44_100, channels: 2, frame_samples: 1152 }),
        AudioConfig::Opus(OpusConfig { frame_samples: 1920, ..OpusConfig::guess(&[0xFC, 0xFF, 0xFE]).unwrap() }),
        AudioConfig::Flac(FlacConfig::parse(&flac).unwrap()),
        AudioConfig::Ac3(ac3),
    ])
}

prop_compose! {
    fn picture()(
        msn in number(), slot in -SLOTS_MAX..=SLOTS_MAX, composition_slots in -9..9i32, idr: bool,
        recovery in proptest::option::of(any::<u16>()), data: Vec<u8>, config in video_config(),
        sent in (any::<u32>(), any::<i32>()), age in 0..90_000u64,
    ) -> Item {
        Item::Video(StampedVideo {
            msn, slot: VideoSlot(slot), composition_slots, idr, recovery, data: data.into(), config: Arc::new(config),
            sent: SentTimes { dts_millis: sent.0, composition_millis: sent.1 },
            received: Instant::from_millis(100_000 - age),
        })
    }
}

prop_compose! {
    fn sound()(start in time(), scale in 1..=TIMESCALE_MAX, length_samples in 1..=1u32 << 20, data: Vec<u8>,
        config in audio_config(), age in 0..90_000u64) -> Item {
        Item::Audio(StampedAudio {
            start: Timestamp::new(start, Timescale::new(scale).unwrap()), length_samples, data: data.into(),
            config: Arc::new(config), received: Instant::from_millis(100_000 - age),
        })
    }
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![picture(), sound(), cut().prop_map(|cut| Item::Cut(Arc::new(cut))), part_end().prop_map(Item::PartEnd)]
}

fn kind(name: RenditionName) -> impl Strategy<Value = RenditionKind> {
    let gear = Gear { name: name.clone(), audio: AudioGroup::Low, halve: true, ..Gear::new(1280, 720, 3000, "fast") };
    let sound = AudioGear { name, sample_rate: 48_000, channels: 2, bitrate_kbps: 128 };
    select(vec![
        RenditionKind::Source,
        RenditionKind::Audio,
        RenditionKind::Gear(gear),
        RenditionKind::AudioGear(sound),
    ])
}

prop_compose! {
    fn rendition()(
        named in name().prop_flat_map(|name| (Just(name.clone()), kind(name))), init in proptest::option::of(init()),
        begun: bool, rates: (u32, u32), frame_rate in proptest::option::of(select(FrameRate::ALL.to_vec())),
        channels: Option<u8>, standby: bool, off in proptest::option::of(".{0,40}"),
    ) -> Rendition {
        let (name, kind) = named;
        Rendition {
            name, kind, init, begun, average_bps: rates.0, peak_bps: rates.1, frame_rate, channels, standby,
            off: off.map(Into::into),
        }
    }
}

fn grid() -> impl Strategy<Value = Grid> {
    let opus = AudioConfig::Opus(OpusConfig { frame_samples: 2880, ..OpusConfig::guess(&[0xFC, 0xFF, 0xFE]).unwrap() });
    (select(Profile::ALL.to_vec()), select(FrameRate::ALL.to_vec()), any::<bool>()).prop_map(
        move |(profile, rate, own)| {
            let grid = Grid::new(profile, rate);
            if own { grid.with_source_sound(&opus) } else { grid }
        },
    )
}

prop_compose! {
    fn session_state()(
        id: [u8; 10], grid in grid(), window_segments in 1..=10_000u32, since in date(), epoch in 0..=COUNT_MAX,
        standing in select(vec![State::Live, State::Waiting, State::Ended]),
        publisher in proptest::option::of((".{0,40}", proptest::option::of(".{0,40}"), date(), any::<i32>())),
        renditions in proptest::collection::vec(rendition(), 0..4), captions: u16,
    ) -> SessionState {
        let stream = "live/a/b/show".parse().unwrap();
        SessionState {
            session: Arc::new(Session { stream, id: SessionId::from_random(id), grid, window_segments, since }),
            epoch: Epoch(epoch),
            state: standing,
            publisher: publisher.map(|(address, encoder, since, priority)| {
                Arc::new(PublisherInfo { address, encoder, since, priority })
            }),
            renditions: renditions.into(),
            captions: Channels::from_bits(captions),
        }
    }
}

prop_compose! {
    fn outline()(
        grid in grid(), window_segments in 1..=10_000u32, since in date(), cuts in proptest::collection::vec(cut(), 1..4),
        audio in proptest::option::of(audio_config()), known in proptest::collection::vec(rendition(), 0..4),
    ) -> Outline {
        let known = known.into_iter().map(|known| OutlinedRendition {
            name: known.name, kind: known.kind, average_bps: known.average_bps, peak_bps: known.peak_bps,
            channels: known.channels, standby: known.standby,
        });
        Outline {
            grid, window_segments, since, renditions: known.collect(), audio: audio.map(Arc::new),
            cuts: cuts.into_iter().map(Arc::new).collect(),
        }
    }
}

prop_compose! {
    fn sealed()(
        epoch in 0..=COUNT_MAX, outline in proptest::option::of(outline()), stamped: bool, end in time(),
        renditions in proptest::collection::vec((name(), turn(), place(), proptest::collection::vec(place(), 0..3)), 0..3),
        by_priority in proptest::collection::vec(0..60_000u64, 0..4),
    ) -> Sealed {
        let rendition = |(name, turn, missing, gaps)| SealedRendition { name, turn, missing, gaps };
        Sealed {
            epoch: Epoch(epoch), home: NodeId("127.0.1.1:1935~abc".into()), outline: outline.map(Arc::new), stamped,
            end: Timestamp::video(end), renditions: renditions.into_iter().map(rendition).collect(),
            by_priority: by_priority.into_iter().map(Duration::from_millis).collect(),
        }
    }
}

/// Moves a time from this machine's clock to the peer's, as the two ends do it: by how long ago it was.
fn there(received: &mut Instant) {
    *received = Instant::from_nanos(THERE.as_nanos() - (NOW.as_nanos() - received.as_nanos()));
}

proptest! {
    #[test]
    fn cuts_and_part_ends_are_what_they_were(cut in cut(), end in part_end()) {
        prop_assert_eq!(Cut::try_from(over_the_wire(&wire::Cut::from(&cut))), Ok(cut));
        prop_assert_eq!(PartEnd::try_from(over_the_wire(&wire::PartEnd::from(&end))), Ok(end));
    }

    #[test]
    fn parts_are_what_they_were_and_as_old_as_they_were(parts in proptest::collection::vec(any_part(), 0..4)) {
        let (mut sent, mut known) = (SentInits::default(), KnownInits::default());
        for mut expected in parts {
            let written = over_the_wire(&part(&expected, NOW, &mut sent));
            known.take(sent.take()).unwrap();
            if let PartPayload::Media { received, data, .. } = &mut expected.payload {
                there(received);
                *data = data.iter().cloned().collect();
            }
            same(&read_part(written, THERE, &known).unwrap(), &expected);
        }
    }

    #[test]
    fn samples_are_what_they_were_and_share_their_configuration(items in proptest::collection::vec(item(), 0..6)) {
        let (mut written, mut writer, mut reader) = (Vec::new(), WriteSamples::default(), ReadSamples::default());
        items.iter().for_each(|item| writer.write(item, NOW, &mut written));
        let read = written.iter().filter_map(|sample| match reader.read(over_the_wire(sample), THERE).unwrap() {
            Sampled::Item(item) => Some(item),
            Sampled::Nothing => None,
            Sampled::MovedOn => panic!("nothing was left out"),
        });
        let read: Vec<Item> = read.collect();
        let mut expected = items;
        for item in &mut expected {
            match item {
                Item::Video(video) => there(&mut video.received),
                Item::Audio(audio) => there(&mut audio.received),
                Item::Cut(_) | Item::PartEnd(_) => {}
            }
        }
        same(&read, &expected);
    }

    #[test]
    fn a_session_and_its_state_are_what_they_were(before in session_state()) {
        let (mut sent, mut known) = (SentInits::default(), KnownInits::default());
        let session = Session::try_from(over_the_wire(&wire::Session::from(&*before.session))).unwrap();
        let written = over_the_wire(&state(&before, &mut sent));
        known.take(sent.take()).unwrap();
        same(&read_state(written, Arc::new(session), before.epoch, &known).unwrap(), &before);
    }

    #[test]
    fn a_homes_answer_is_what_it_was(sealed in sealed()) {
        for reply in [Some(PeerReply::Sealed(Arc::new(sealed))), Some(PeerReply::Refused), Some(PeerReply::NotHeld), None] {
            let written = over_the_wire(&wire::YieldReply::from(reply.as_ref()));
            prop_assert_eq!(Option::<PeerReply>::try_from(written), Ok(reply));
        }
    }

    /// Whatever a peer sends, it is taken or refused.
    #[test]
    fn damaged_messages_do_no_harm(
        sealed in sealed(), before in session_state(), parted in any_part(), item in item(), at: usize, flip in 1..=255u8, cut: usize,
    ) {
        let (mut sent, mut known) = (SentInits::default(), KnownInits::default());
        let written = part(&parted, NOW, &mut sent);
        known.take(sent.take()).unwrap();
        let mut samples = Vec::new();
        WriteSamples::default().write(&item, NOW, &mut samples);
        let reply = wire::YieldReply::from(Some(&PeerReply::Sealed(Arc::new(sealed))));
        let mut bytes = [
            reply.encode_to_vec(), state(&before, &mut sent).encode_to_vec(),
            written.encode_to_vec(), samples[0].encode_to_vec(), wire::Session::from(&*before.session).encode_to_vec(),
        ];
        for bytes in bytes.iter_mut().filter(|bytes| !bytes.is_empty()) {
            let at = at % bytes.len();
            bytes[at] ^= flip;
            bytes.truncate(bytes.len() - cut % (bytes.len().min(4)));
        }
        if let Ok(reply) = wire::YieldReply::decode(&*bytes[0]) {
            let _ = Option::<PeerReply>::try_from(reply);
        }
        if let Ok(damaged) = wire::State::decode(&*bytes[1]) {
            let _ = read_state(damaged, before.session.clone(), Epoch(1), &known);
        }
        if let Ok(damaged) = wire::Part::decode(&*bytes[2]) {
            let _ = read_part(damaged, NOW, &known);
        }
        if let Ok(damaged) = wire::Sample::decode(&*bytes[3]) {
            let _ = ReadSamples::default().read(damaged, NOW);
        }
        if let Ok(damaged) = wire::Session::decode(&*bytes[4]) {
            let _ = Session::try_from(damaged);
        }
    }
}

#[test]
fn what_a_peer_cannot_mean_is_refused_with_its_name() {
    let cut = |change: fn(&mut wire::Cut)| {
        let mut cut = wire::Cut::default();
        change(&mut cut);
        Cut::try_from(cut).map(drop).unwrap_err().to_string()
    };
    assert_eq!(cut(|cut| cut.msn = u64::MAX), "segment is 18446744073709551615, expected at most 2^62");
    assert_eq!(
        cut(|cut| cut.start = i64::MIN),
        "start of a cut is -9223372036854775808, expected at most 2^56 either way"
    );
    assert_eq!(
        cut(|cut| cut.renditions = vec![wire::CutRendition::default(); 257]),
        "renditions of a cut has 257 entries or bytes, at most 256 are taken"
    );
    let named = wire::CutRendition { name: "Ä".into(), off: None };
    assert_eq!(
        Cut::try_from(wire::Cut { renditions: vec![named], ..Default::default() }).unwrap_err().to_string(),
        "rendition is Ä, expected 1 to 32 of a-z 0-9 -"
    );
    let part = wire::Part { timescale: 0, ..Default::default() };
    assert_eq!(
        read_part(part, NOW, &KnownInits::default()).unwrap_err(),
        Malformed::Value { field: "timescale", found: "0".into(), expected: "1 to 10^9" }
    );
    let media = wire::PartMedia { init: "0123456789abcdef".into(), ..Default::default() };
    let part = wire::Part { timescale: 1, media: Some(media), ..Default::default() };
    assert_eq!(
        read_part(part, NOW, &KnownInits::default()).unwrap_err().to_string(),
        "init is 0123456789abcdef, expected one that was told before"
    );
    let picture = wire::Sample { item: Some(wire::sample::Item::Video(wire::Video::default())) };
    assert_eq!(
        ReadSamples::default().read(picture, NOW).unwrap_err(),
        Malformed::Missing { field: "configuration of pictures" }
    );
}

/// Memory is bounded, and what was sent last can always be named.
#[test]
fn init_segments_are_told_once_until_there_are_too_many() {
    let (mut sent, mut known) = (SentInits::default(), KnownInits::default());
    let inits: Vec<_> = (0..1000u32).map(|n| Init::new(n.to_be_bytes().to_vec().into(), "x", None)).collect();
    let mut told = 0;
    for init in inits.iter().flat_map(|init| [init, init]) {
        sent.send(init);
        let news = sent.take();
        told += news.len();
        known.take(news).unwrap();
        assert_eq!(known.find(init.id).unwrap().id, init.id);
    }
    assert!((1000..1020).contains(&told), "{told}");
    assert!(known.find(inits[0].id).is_err());
}
