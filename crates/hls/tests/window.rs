//! Exact playlists, and what requests for them and for what they name get.

mod support;

use headwater_hls::{
    CutRefused, Decision, DirectiveError, MediaPlaylist, PartRefused, PartState, Position, Seconds, SegmentState, Skip,
    Window, check,
};
use headwater_media::{Cut, CutKind, MediaSequence, Part, PartIndex, Timestamp, TrackKind};
use support::{ask, audio_scale, config, cut, directives, gap_part, init, name, part, worked};

const INIT_ONE: &str = "init-7692c3ad3540bb80.mp4";

fn part_state(window: &Window, msn: u64, index: u32) -> PartState {
    window.part(MediaSequence(msn), PartIndex(index))
}

/// Lines of the playlist from the one that begins with `from`.
fn tail(window: &Window, from: &str) -> String {
    let text = window.render();
    let at = text.find(from).expect("the line is there");
    text[at..].to_owned()
}

#[test]
fn the_checklists_worked_example() {
    let text = worked(1190, -32_000, (1204, 1)).render();
    assert_eq!(
        text,
        format!(
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,HOLD-BACK=12.00000,PART-HOLD-BACK=3.07200
#EXT-X-PART-INF:PART-TARGET=1.02400
#EXT-X-MEDIA-SEQUENCE:1198
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"{INIT_ONE}\"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z
#EXTINF:4.00000,
1198.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:04.000Z
#EXTINF:4.00000,
1199.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:08.000Z
#EXTINF:4.00000,
1200.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:12.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"1201.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1201.1.m4s\"
#EXT-X-PART:DURATION=1.00000,URI=\"1201.2.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1201.3.m4s\"
#EXTINF:4.00000,
1201.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:16.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"1202.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1202.1.m4s\"
#EXT-X-PART:DURATION=1.00000,URI=\"1202.2.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1202.3.m4s\"
#EXTINF:4.00000,
1202.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:20.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"1203.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1203.1.m4s\"
#EXT-X-PART:DURATION=1.00000,URI=\"1203.2.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1203.3.m4s\"
#EXTINF:4.00000,
1203.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:24.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"1204.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1204.1.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1204.2.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../v6/index.m3u8\",LAST-MSN=1204,LAST-PART=1
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=1204,LAST-PART=1
"
        )
    );
    let parsed: MediaPlaylist = text.parse().unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(check::playlist(&parsed), []);
}

#[test]
fn the_worked_examples_directives() {
    let window = worked(1198, 0, (1204, 1));
    for (query, decision) in [
        ("", Decision::Ready),
        ("_HLS_msn=3", Decision::Ready),
        ("_HLS_msn=1203", Decision::Ready),
        ("_HLS_msn=1204", Decision::Wait),
        ("_HLS_msn=1205", Decision::Wait),
        ("_HLS_msn=1204&_HLS_part=1", Decision::Ready),
        ("_HLS_part=1&_HLS_msn=1204", Decision::Ready),
        ("_HLS_msn=1204&_HLS_part=2", Decision::Wait),
        ("_HLS_msn=1204&_HLS_part=4", Decision::Wait),
        ("_HLS_msn=1203&_HLS_part=4", Decision::Ready),
        ("_HLS_msn=1203&_HLS_part=3&token=x&_HLS_skip=YES", Decision::Ready),
        ("_HLS_msn=1205&_HLS_part=0", Decision::Wait),
    ] {
        assert_eq!(ask(&window, query), decision, "{query}");
    }
    assert_eq!(
        ask(&window, "_HLS_msn=1205&_HLS_part=1"),
        Decision::BadRequest(DirectiveError::PartTooFarAhead { segment: 1205, part: 1, ahead: 4 })
    );
    assert_eq!(
        ask(&window, "_HLS_msn=1204&_HLS_part=5"),
        Decision::BadRequest(DirectiveError::PartTooFarAhead { segment: 1204, part: 5, ahead: 4 })
    );
    assert_eq!(
        ask(&window, "_HLS_msn=1206"),
        Decision::BadRequest(DirectiveError::SegmentTooFarAhead { asked: 1206, last: 1203 })
    );
    assert_eq!(ask(&window, "_HLS_part=1"), Decision::BadRequest(DirectiveError::PartWithoutSegment));
    assert!(matches!(ask(&window, "_HLS_msn=18446744073709551615&_HLS_part=0"), Decision::BadRequest(_)));
}

#[test]
fn directives_are_decimal_integers_given_once() {
    for value in ["", "-1", "+1", "0x1", "1.0", "1e3", " 1", "184467440737095516150", "%31"] {
        let wrong = Err(DirectiveError::NotANumber { name: "_HLS_msn" });
        assert_eq!(directives(&format!("_HLS_msn={value}")), wrong, "{value}");
    }
    let wrong = Err(DirectiveError::NotANumber { name: "_HLS_part" });
    assert_eq!(directives("_HLS_msn=1&_HLS_part=4294967296"), wrong);
    assert_eq!(directives("_HLS_msn=1&_HLS_msn=1"), Err(DirectiveError::Repeated { name: "_HLS_msn" }));
    assert_eq!(directives("_HLS_skip=YES").unwrap().skip, Some(Skip::Segments));
    assert_eq!(directives("_HLS_skip=v2").unwrap().skip, Some(Skip::SegmentsAndDateRanges));
    assert_eq!(directives("_HLS_skip=no&x&_hls_msn=z&=").unwrap().skip, None);
}

#[test]
fn a_segment_closes_when_the_next_cut_is_known_and_its_parts_reach_it() {
    let mut window = worked(1, 0, (1, 3));
    assert!(tail(&window, "#EXT-X-PRELOAD").contains("\"1.4.m4s\""));
    assert_eq!(window.segment(MediaSequence(1)), SegmentState::Open);
    window.push_cut(&cut(2, 4000)).unwrap();
    assert_eq!(window.segment(MediaSequence(1)), SegmentState::Complete((0..4).map(PartIndex).collect()));
    assert_eq!(
        tail(&window, "#EXTINF"),
        "\
#EXTINF:4.00000,
1.m4s
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.0.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../v6/index.m3u8\",LAST-MSN=1,LAST-PART=3
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=1,LAST-PART=3
"
    );
    assert_eq!(window.position(), Some(Position { msn: MediaSequence(1), part: Some(PartIndex(3)) }));
}

#[test]
fn a_cut_that_is_known_early_leaves_the_segment_open() {
    let mut window = worked(1, 0, (1, 2));
    window.push_cut(&cut(2, 4000)).unwrap();
    assert_eq!(window.segment(MediaSequence(1)), SegmentState::Open);
    assert!(tail(&window, "#EXT-X-PRELOAD").contains("\"1.3.m4s\""));
}

#[test]
fn requests_wait_for_what_the_hint_names_and_for_what_is_near() {
    let window = worked(1, 0, (2, 1));
    assert_eq!(part_state(&window, 2, 1), PartState::Media);
    assert_eq!(part_state(&window, 2, 2), PartState::Next);
    assert_eq!(part_state(&window, 2, 3), PartState::Ahead);
    assert_eq!(part_state(&window, 3, 1), PartState::Future);
    assert_eq!(part_state(&window, 1, 4), PartState::Missing);
    assert_eq!(part_state(&window, 0, 0), PartState::Gone);
    assert_eq!(window.segment(MediaSequence(3)), SegmentState::Open);
    assert_eq!(window.segment(MediaSequence(0)), SegmentState::Gone);
}

#[test]
fn audio_segments_last_as_long_as_their_frames() {
    let audio_part = |msn, index, frames: std::ops::Range<i64>| Part {
        start: Timestamp::new(frames.start * 1024, audio_scale()),
        end: Timestamp::new(frames.end * 1024, audio_scale()),
        ..part(msn, index, 0, 0, &init("audio"), true)
    };
    let mut window = Window::new(config(TrackKind::Audio), vec![name("source")]);
    window.push_cut(&cut(1, 0)).unwrap();
    window.push_part(&audio_part(1, 0, 0..47)).unwrap();
    window.push_part(&audio_part(1, 1, 47..93)).unwrap();
    window.push_cut(&cut(2, 2000)).unwrap(); // frame 93.75: the segment has to reach 94
    assert_eq!(window.segment(MediaSequence(1)), SegmentState::Open);
    window.push_part(&audio_part(1, 2, 93..94)).unwrap();
    window.push_part(&audio_part(2, 0, 94..141)).unwrap();
    assert_eq!(
        tail(&window, "#EXT-X-PROGRAM"),
        "\
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z
#EXT-X-PART:DURATION=1.00267,URI=\"1.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.98133,URI=\"1.1.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.02133,URI=\"1.2.m4s\",INDEPENDENT=YES
#EXTINF:2.00533,
1.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:02.005Z
#EXT-X-PART:DURATION=1.00267,URI=\"2.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../source/index.m3u8\",LAST-MSN=2,LAST-PART=0
"
    );
    assert_eq!(check::playlist(&window.playlist()), []);
}

#[test]
fn requests_wait_for_the_first_whole_segment() {
    let one = init("one");
    let mut window = Window::new(config(TrackKind::Video), Vec::new());
    window.push_cut(&cut(7, 0)).unwrap();
    window.push_part(&part(7, 0, 0, 1000, &one, true)).unwrap();
    for query in ["", "_HLS_msn=3", "_HLS_msn=7&_HLS_part=0"] {
        assert_eq!(ask(&window, query), Decision::Wait, "{query}");
    }
    assert_ne!(ask(&window, "_HLS_msn=9"), Decision::Wait, "it is too far ahead all the same");
    window.push_cut(&cut(8, 1000)).unwrap();
    for query in ["", "_HLS_msn=3", "_HLS_msn=7&_HLS_part=0"] {
        assert_eq!(ask(&window, query), Decision::Ready, "{query}");
    }
}

#[test]
fn what_ends_before_its_first_whole_segment_is_answered() {
    let mut window = Window::new(config(TrackKind::Video), Vec::new());
    window.push_cut(&cut(7, 0)).unwrap();
    window.push_part(&part(7, 0, 0, 1000, &init("one"), true)).unwrap();
    window.end();
    assert_eq!(ask(&window, ""), Decision::Ready);
}

#[test]
fn nothing_is_listed_before_the_first_media() {
    let mut window = Window::new(config(TrackKind::Video), Vec::new());
    window.push_cut(&cut(1, 0)).unwrap();
    (0..4).for_each(|i| window.push_part(&gap_part(1, i, i64::from(i) * 1000, i64::from(i) * 1000 + 1000)).unwrap());
    window.push_cut(&cut(2, 4000)).unwrap();
    window.push_part(&gap_part(2, 0, 4000, 5000)).unwrap();
    assert!(window.is_empty());
    assert_eq!(ask(&window, ""), Decision::Wait);
    assert_eq!(part_state(&window, 2, 0), PartState::Missing);
    window.push_part(&part(2, 1, 5000, 6000, &init("one"), true)).unwrap();
    assert_eq!(
        tail(&window, "#EXT-X-MEDIA-SEQUENCE"),
        format!(
            "\
#EXT-X-MEDIA-SEQUENCE:2
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"{INIT_ONE}\"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:04.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"2.0.m4s\",GAP=YES
#EXT-X-PART:DURATION=1.00000,URI=\"2.1.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.2.m4s\"
"
        )
    );
}

#[test]
fn a_segment_is_a_gap_when_its_first_media_cannot_be_decoded() {
    let one = init("one");
    let mut window = worked(1, 0, (1, 3));
    window.push_cut(&cut(2, 4000)).unwrap();
    window.push_part(&gap_part(2, 0, 4000, 5000)).unwrap();
    window.push_part(&part(2, 1, 5000, 6000, &one, false)).unwrap();
    window.push_part(&part(2, 2, 6000, 7000, &one, true)).unwrap();
    window.push_part(&part(2, 3, 7000, 8000, &one, false)).unwrap();
    window.push_cut(&cut(3, 8000)).unwrap();
    assert_eq!(window.segment(MediaSequence(2)), SegmentState::Gap);
    window.push_part(&gap_part(3, 0, 8000, 9000)).unwrap();
    window.push_part(&part(3, 1, 9000, 10_000, &one, true)).unwrap();
    window.push_part(&gap_part(3, 2, 10_000, 11_000)).unwrap();
    window.push_part(&part(3, 3, 11_000, 12_000, &one, false)).unwrap();
    window.push_cut(&cut(4, 12_000)).unwrap();
    assert_eq!(window.segment(MediaSequence(3)), SegmentState::Complete(vec![PartIndex(1), PartIndex(3)]));
    assert_eq!(
        tail(&window, "#EXT-X-PART:DURATION=1.00000,URI=\"2.3"),
        "\
#EXT-X-PART:DURATION=1.00000,URI=\"2.3.m4s\"
#EXT-X-GAP
#EXTINF:4.00000,
2.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:08.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"3.0.m4s\",GAP=YES
#EXT-X-PART:DURATION=1.00000,URI=\"3.1.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"3.2.m4s\",GAP=YES
#EXT-X-PART:DURATION=1.00000,URI=\"3.3.m4s\"
#EXTINF:4.00000,
3.m4s
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"4.0.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../v6/index.m3u8\",LAST-MSN=3,LAST-PART=3
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=3,LAST-PART=3
"
    );
}

#[test]
fn segments_need_no_idr_where_none_is_promised() {
    let mut window =
        Window::new(headwater_hls::Config { independent_segments: false, ..config(TrackKind::Video) }, Vec::new());
    window.push_cut(&cut(1, 0)).unwrap();
    window.push_part(&part(1, 0, 0, 1000, &init("one"), false)).unwrap();
    window.push_cut(&cut(2, 1000)).unwrap();
    assert_eq!(window.segment(MediaSequence(1)), SegmentState::Complete(vec![PartIndex(0)]));
}

#[test]
fn a_new_publisher_brings_discontinuity_and_map() {
    let two = init("two");
    let mut window = worked(1, 0, (1, 1));
    let sealed = Cut { discontinuity: 1, ..cut(2, 2000) };
    window.push_cut(&sealed).unwrap(); // closes segment 1 short
    window.push_part(&part(2, 0, 2000, 3000, &two, true)).unwrap();
    assert_eq!(
        tail(&window, "#EXTINF"),
        format!(
            "\
#EXTINF:2.00000,
1.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"init-{}.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:02.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"2.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../v6/index.m3u8\",LAST-MSN=2,LAST-PART=0
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=2,LAST-PART=0
",
            two.id
        )
    );
}

#[test]
fn the_same_init_is_named_again_after_a_discontinuity() {
    let mut window = worked(1, 0, (1, 1));
    window.push_cut(&Cut { discontinuity: 1, ..cut(2, 2000) }).unwrap();
    window.push_part(&part(2, 0, 2000, 3000, &init("one"), true)).unwrap();
    assert_eq!(window.render().matches(INIT_ONE).count(), 2);
}

#[test]
fn a_part_with_another_init_inside_a_segment_is_a_gap() {
    let mut window = worked(1, 0, (1, 0));
    window.push_part(&part(1, 1, 1000, 2000, &init("two"), true)).unwrap();
    assert!(window.render().contains("URI=\"1.1.m4s\",GAP=YES"));
    assert_eq!(part_state(&window, 1, 1), PartState::Missing);
}

#[test]
fn a_crash_closes_what_was_open_as_gaps() {
    let mut window = worked(1, 0, (2, 1));
    let before = window.playlist();
    window.push_cut(&cut(3, 8000)).unwrap(); // announced by the old home, never stamped
    let gap = |msn, at| Cut { kind: CutKind::Gap, ..cut(msn, at) };
    window.push_cut(&gap(2, 4000)).unwrap();
    window.push_cut(&gap(3, 8400)).unwrap();
    window.push_cut(&Cut { discontinuity: 1, ..cut(4, 12_800) }).unwrap();
    assert_eq!(
        tail(&window, "#EXT-X-PART:DURATION=1.00000,URI=\"2.1"),
        "\
#EXT-X-PART:DURATION=1.00000,URI=\"2.1.m4s\"
#EXT-X-GAP
#EXTINF:4.40000,
2.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:08.400Z
#EXT-X-GAP
#EXTINF:4.40000,
3.m4s
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"4.0.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../v6/index.m3u8\",LAST-MSN=3
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=3
"
    );
    assert_eq!(check::successor(&before, &window.playlist()), []);
    assert_eq!(part_state(&window, 2, 2), PartState::Missing);
    assert_eq!(window.push_part(&gap_part(2, 2, 6000, 7000)), Err(PartRefused::Closed { msn: MediaSequence(2) }));
}

#[test]
fn what_gets_no_more_parts_is_closed_as_a_gap() {
    let mut window = worked(1, 0, (2, 1));
    window.push_cut(&cut(3, 8000)).unwrap();
    window.close_below(MediaSequence(3));
    assert_eq!(window.segment(MediaSequence(2)), SegmentState::Gap);
    assert_eq!(window.segment(MediaSequence(1)), SegmentState::Complete((0..4).map(PartIndex).collect()));
}

#[test]
fn the_end_closes_the_open_segment_as_a_short_one() {
    let mut window = worked(1, 0, (2, 1));
    window.end();
    let text = window.render();
    assert!(text.ends_with("#EXTINF:2.00000,\n2.m4s\n#EXT-X-ENDLIST\n"), "{text}");
    assert_eq!(check::playlist(&window.playlist()), []);
    assert_eq!(ask(&window, "_HLS_part=nonsense"), Decision::Ready);
    assert_eq!(part_state(&window, 2, 2), PartState::Missing);
    assert_eq!(window.push_cut(&cut(3, 8000)), Err(CutRefused::Ended));
}

#[test]
fn the_end_forgets_a_segment_without_parts() {
    let mut window = worked(1, 0, (1, 3));
    window.push_cut(&cut(2, 4000)).unwrap();
    window.end();
    assert!(window.render().ends_with("1.m4s\n#EXT-X-ENDLIST\n"));
}

#[test]
fn removed_segments_stay_for_three_target_durations() {
    let mut window = worked(1, 0, (10, 3));
    window.push_cut(&cut(11, 40_000)).unwrap();
    assert!(window.render().contains("#EXT-X-MEDIA-SEQUENCE:5\n"));
    assert_eq!(window.retained_from(), Some(MediaSequence(2)));
    assert_eq!(part_state(&window, 2, 0), PartState::Media);
    assert_eq!(part_state(&window, 1, 0), PartState::Gone);
}

#[test]
fn a_window_of_short_segments_lists_more_of_them() {
    let one = init("one");
    let mut window = Window::new(config(TrackKind::Video), Vec::new());
    for msn in 1..40 {
        let at = i64::try_from(msn).unwrap() * 1000;
        window.push_cut(&cut(msn, at)).unwrap();
        window.push_part(&part(msn, 0, at, at + 1000, &one, true)).unwrap();
    }
    // 38 is complete, 39 is open; 3 x TARGETDURATION are 12 segments.
    assert!(window.render().contains("#EXT-X-MEDIA-SEQUENCE:27\n"));
}

#[test]
fn parts_out_of_order_are_refused() {
    let one = init("one");
    let mut window = worked(1, 0, (1, 1));
    let before = window.render();
    let (msn, index) = (MediaSequence(1), PartIndex(1));
    assert_eq!(window.push_part(&part(1, 1, 1000, 2000, &one, false)), Err(PartRefused::Duplicate { msn, index }));
    let (index, expected) = (PartIndex(3), PartIndex(2));
    let refused = PartRefused::OutOfOrder { msn, index, expected };
    assert_eq!(window.push_part(&part(1, 3, 3000, 4000, &one, false)), Err(refused));
    assert_eq!(window.push_part(&part(2, 0, 4000, 5000, &one, true)), Err(PartRefused::NoCut { msn: msn.next() }));
    assert_eq!(window.render(), before);
}

#[test]
fn cuts_out_of_order_are_refused() {
    let mut window = worked(1, 0, (2, 1));
    let msn = MediaSequence(3);
    assert_eq!(window.push_cut(&cut(3, 3000)), Err(CutRefused::StartsEarlier { msn }));
    let wrong = CutRefused::Discontinuity { msn, found: 2, before: 0 };
    assert_eq!(window.push_cut(&Cut { discontinuity: 2, ..cut(3, 8000) }), Err(wrong));
    assert_eq!(window.push_cut(&cut(1, 0)), Ok(()));
}

#[test]
fn missing_numbers_start_the_window_anew() {
    let mut window = worked(1, 0, (2, 1));
    let before = window.playlist();
    window.push_cut(&Cut { discontinuity: 3, ..cut(9, 60_000) }).unwrap();
    assert!(window.is_empty());
    window.push_part(&part(9, 0, 60_000, 61_000, &init("one"), true)).unwrap();
    assert!(window.render().contains("#EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-MAP"));
    assert_eq!(check::successor(&before, &window.playlist()), []);
}

/// Architecture 8: what a restarted server has of a session until its publisher is back, and how that goes on.
#[test]
fn a_lost_window_stands_still_with_one_gap_and_goes_on_after_it() {
    let mut window = Window::new(config(TrackKind::Video), vec![name("a1")]);
    window.begin_with_gap(&Cut { discontinuity: 2, ..cut(8, 4000) }, Timestamp::video(8400 * 120));
    // The log lists it too.
    window.push_cut(&Cut { discontinuity: 2, kind: CutKind::Gap, ..cut(8, 4000) }).unwrap();
    let before = window.render();
    assert_eq!(
        tail(&window, "#EXT-X-MEDIA"),
        "\
#EXT-X-MEDIA-SEQUENCE:8
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:04.000Z
#EXT-X-PART:DURATION=1.02400,URI=\"8.0.m4s\",GAP=YES
#EXT-X-PART:DURATION=1.02400,URI=\"8.1.m4s\",GAP=YES
#EXT-X-PART:DURATION=1.02400,URI=\"8.2.m4s\",GAP=YES
#EXT-X-PART:DURATION=1.02400,URI=\"8.3.m4s\",GAP=YES
#EXT-X-PART:DURATION=0.30400,URI=\"8.4.m4s\",GAP=YES
#EXT-X-GAP
#EXTINF:4.40000,
8.m4s
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.0.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=8,LAST-PART=4
"
    );
    // Whoever had the open segment 7 is told, and then waits for what comes next.
    assert_eq!(ask(&window, "_HLS_msn=7&_HLS_part=3"), Decision::Ready);
    for query in ["_HLS_msn=8&_HLS_part=5", "_HLS_msn=9&_HLS_part=0", "_HLS_msn=9"] {
        assert_eq!(ask(&window, query), Decision::Wait, "{query}");
    }
    assert_eq!(ask(&window, ""), Decision::Ready);
    assert_eq!(part_state(&window, 8, 0), PartState::Missing);
    assert_eq!(window.segment(MediaSequence(8)), SegmentState::Gap);
    assert_eq!(part_state(&window, 9, 0), PartState::Next);

    window.push_cut(&Cut { discontinuity: 3, ..cut(9, 8400) }).unwrap();
    window.push_part(&part(9, 0, 8400, 9400, &init("one"), true)).unwrap();
    assert_eq!(ask(&window, "_HLS_msn=9&_HLS_part=0"), Decision::Ready);
    assert_eq!(
        tail(&window, "#EXT-X-DISCONTINUITY\n"),
        format!(
            "\
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"{INIT_ONE}\"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:08.400Z
#EXT-X-PART:DURATION=1.00000,URI=\"9.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a1/index.m3u8\",LAST-MSN=9,LAST-PART=0
"
        )
    );
    let [before, after]: [MediaPlaylist; 2] = [before.parse().unwrap(), window.render().parse().unwrap()];
    assert_eq!((check::playlist(&after), check::successor(&before, &after)), (vec![], vec![]));

    // The gap goes when there is a whole segment: video.js would ask for it for as long as it is listed.
    window.push_cut(&Cut { discontinuity: 3, ..cut(10, 9400) }).unwrap();
    assert_eq!(window.first_listed(), Some(MediaSequence(9)));
    let whole: MediaPlaylist = window.render().parse().unwrap();
    assert_eq!((whole.media_sequence, whole.discontinuity_sequence), (9, 2));
    assert_eq!((check::playlist(&whole), check::successor(&after, &whole)), (vec![], vec![]));
}

#[test]
fn a_lost_window_whose_publisher_stays_away_ends_with_its_gap() {
    let mut window = Window::new(config(TrackKind::Audio), vec![]);
    window.begin_with_gap(&cut(8, 4000), Timestamp::video(8400 * 120));
    window.end();
    assert!(tail(&window, "#EXT-X-GAP").ends_with("#EXTINF:4.40000,\n8.m4s\n#EXT-X-ENDLIST\n"), "{}", window.render());
}

/// The record lacks the last cut, of which this playlist has parts: its segment is closed where it is, as long as the
/// timeline says, and everything is dated by what is listed.
#[test]
fn a_crash_that_moves_a_cut_lengthens_nothing_that_was_begun() {
    let gap = |msn, at| Cut { kind: CutKind::Gap, ..cut(msn, at) };
    for parts in [true, false] {
        // Segment 1 is whole and 4 s long; of segment 2 there are two parts, or only its cut is known.
        let mut window = if parts { worked(1, 0, (2, 1)) } else { worked(1, 0, (1, 3)) };
        if !parts {
            window.push_cut(&cut(2, 4000)).unwrap();
        }
        let before = window.playlist();
        // The new home knows of segment 1 only. What it says comes twice, as in a snapshot and then in another.
        for _ in 0..2 {
            window.push_cut(&gap(1, 0)).unwrap();
            window.push_cut(&gap(2, 4400)).unwrap();
            window.push_cut(&Cut { discontinuity: 1, ..cut(3, 8800) }).unwrap();
        }
        let after = window.playlist();
        assert_eq!(check::successor(&before, &after), []);
        assert_eq!(check::playlist(&after), []);
        let gap = &after.segments[1];
        assert_eq!((gap.gap, gap.duration), (true, Seconds { centi_millis: 440_000 }));
        assert_eq!(gap.lead.program_date_time, Some(cut(2, 4000).program_date_time));
        window.push_part(&part(3, 0, 8800, 9800, &init("one"), true)).unwrap();
        assert_eq!(window.playlist().open.program_date_time, Some(cut(3, 8800).program_date_time));
    }
}
