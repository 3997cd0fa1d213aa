//! Exact I-frame playlists, and what requests for them get.

mod support;

use headwater_hls::{Decision, Directives, MediaPlaylist, Window, check};
use headwater_media::{Cut, TrackKind};
use support::{config, cut, gap_part, init, part, worked};

const INIT_ONE: &str = "init-7692c3ad3540bb80.mp4";

fn ask(window: &Window, query: &str) -> Decision {
    window.decide_i_frames(&Directives::parse(Some(query)).expect("tests ask well"))
}

/// Lines of the I-frame playlist from the one that begins with `from`.
fn tail(window: &Window, from: &str) -> String {
    let text = window.i_frame_playlist().to_string();
    let at = text.find(from).expect("the line is there");
    text[at..].to_owned()
}

#[test]
fn the_worked_examples_i_frames() {
    let text = worked(1190, -32_000, (1204, 1)).i_frame_playlist().to_string();
    assert_eq!(
        text,
        format!(
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-I-FRAMES-ONLY
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,HOLD-BACK=12.00000,PART-HOLD-BACK=3.07200
#EXT-X-MEDIA-SEQUENCE:1198
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"{INIT_ONE}\"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:2198@36
1198.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:04.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:2199@36
1199.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:08.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:2200@36
1200.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:12.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:2201@36
1201.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:16.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:2202@36
1202.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:20.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:2203@36
1203.m4s
"
        )
    );
    let parsed: MediaPlaylist = text.parse().unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(check::playlist(&parsed), []);
}

#[test]
fn a_segment_without_an_idr_at_its_start_is_a_gap() {
    let one = init("one");
    let settings = headwater_hls::Config { independent_segments: false, ..config(TrackKind::Video) };
    let mut window = Window::new(settings, Vec::new());
    for msn in 1..=4u64 {
        let at = 2000 * (msn.cast_signed() - 1);
        window.push_cut(&cut(msn, at)).unwrap();
        // The second segment begins with another picture, the third lacks its first part.
        let first = if msn == 3 { gap_part(3, 0, at, at + 1000) } else { part(msn, 0, at, at + 1000, &one, msn != 2) };
        window.push_part(&first).unwrap();
        window.push_part(&part(msn, 1, at + 1000, at + 2000, &one, true)).unwrap();
    }
    assert_eq!(
        tail(&window, "#EXT-X-MAP"),
        format!(
            "\
#EXT-X-MAP:URI=\"{INIT_ONE}\"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z
#EXTINF:2.00000,
#EXT-X-BYTERANGE:1001@36
1.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:02.000Z
#EXT-X-GAP
#EXTINF:2.00000,
2.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:04.000Z
#EXT-X-GAP
#EXTINF:2.00000,
3.m4s
"
        )
    );
}

#[test]
fn discontinuities_maps_and_the_end_are_those_of_the_media_playlist() {
    let (one, two) = (init("one"), init("two"));
    let mut window = Window::new(config(TrackKind::Video), Vec::new());
    window.push_cut(&cut(1, 0)).unwrap();
    window.push_part(&part(1, 0, 0, 1000, &one, true)).unwrap();
    window.push_cut(&Cut { discontinuity: 1, ..cut(2, 1000) }).unwrap();
    window.push_part(&part(2, 0, 1000, 1500, &two, true)).unwrap();
    window.end();
    let text = tail(&window, "#EXT-X-DISCONTINUITY\n");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("#EXT-X-MAP")).collect();
    assert_eq!(
        lines,
        [
            "#EXT-X-DISCONTINUITY",
            "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:01.000Z",
            "#EXTINF:0.50000,",
            "#EXT-X-BYTERANGE:1002@36",
            "2.m4s",
            "#EXT-X-ENDLIST"
        ]
    );
    assert_eq!(text.matches("#EXT-X-MAP").count(), 1);
    assert_eq!(check::trick_play(&window.playlist(), &window.i_frame_playlist()), []);
}

#[test]
fn requests_wait_for_whole_segments() {
    let window = worked(1198, 0, (1204, 1));
    for (query, decision) in [
        ("", Decision::Ready),
        ("_HLS_msn=1203", Decision::Ready),
        ("_HLS_msn=1203&_HLS_part=9", Decision::Ready),
        ("_HLS_msn=1204", Decision::Wait),
        ("_HLS_msn=1204&_HLS_part=0", Decision::Wait),
        ("_HLS_msn=1205", Decision::Wait),
    ] {
        assert_eq!(ask(&window, query), decision, "{query}");
    }
    assert!(matches!(ask(&window, "_HLS_msn=1206"), Decision::BadRequest(_)));
}

#[test]
fn nothing_is_answered_before_the_first_segment_is_complete() {
    let one = init("one");
    let mut window = Window::new(config(TrackKind::Video), Vec::new());
    assert_eq!(ask(&window, ""), Decision::Wait);
    window.push_cut(&cut(7, 0)).unwrap();
    window.push_part(&part(7, 0, 0, 1000, &one, true)).unwrap();
    assert_eq!(ask(&window, ""), Decision::Wait);
    assert_eq!(ask(&window, "_HLS_msn=3"), Decision::Wait);
    window.push_cut(&cut(8, 1000)).unwrap();
    assert_eq!(ask(&window, ""), Decision::Ready);
}
