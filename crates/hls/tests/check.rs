//! The checker finds what it is there for.

mod support;

use headwater_hls::{MediaPlaylist, Seconds, check};
use headwater_media::ByteRange;
use support::worked;

fn items(found: &[check::Violation]) -> Vec<(&'static str, Option<u64>)> {
    found.iter().map(|violation| (violation.item, violation.msn)).collect()
}

/// What is wrong with the worked example after `change`.
fn after(change: impl FnOnce(&mut MediaPlaylist)) -> Vec<(&'static str, Option<u64>)> {
    let mut playlist = worked(1198, 0, (1204, 1)).playlist();
    change(&mut playlist);
    items(&check::playlist(&playlist))
}

#[test]
fn limits_are_checked() {
    assert_eq!(after(|_| {}), []);
    assert_eq!(
        after(|playlist| playlist.segments[5].duration = Seconds { centi_millis: 450_000 })[0],
        ("H-8", Some(1203))
    );
    assert_eq!(after(|playlist| playlist.target_duration = 5), [("H-35", None)]);
    assert_eq!(after(|playlist| playlist.part_target = Some(Seconds::whole(2)))[0], ("H-35", None));
    assert_eq!(
        after(|playlist| playlist.open.parts[0].duration = Seconds { centi_millis: 102_401 }),
        [("H-25", Some(1204))]
    );
}

#[test]
fn short_parts_are_allowed_only_where_the_format_allows_them() {
    let short = Seconds { centi_millis: 80_000 };
    assert_eq!(after(|playlist| playlist.open.parts[1].duration = short), []);
    assert_eq!(after(|playlist| playlist.open.parts[0].duration = short), []);
    let mut playlist = worked(1198, 0, (1204, 2)).playlist();
    playlist.open.parts[1].duration = short;
    assert_eq!(items(&check::playlist(&playlist)), [("H-25", Some(1204))]);
    playlist.open.parts[2].gap = true;
    assert_eq!(items(&check::playlist(&playlist)), []);
}

#[test]
fn tags_are_checked() {
    assert_eq!(after(|playlist| playlist.segments[0].lead.map = None), [("H-15", Some(1198))]);
    assert_eq!(after(|playlist| playlist.segments[0].lead.program_date_time = None), [("H-16", Some(1198))]);
    assert_eq!(after(|playlist| playlist.preload_hint = None), [("H-32", None)]);
    assert_eq!(after(|playlist| playlist.ended = true), [("H-19", None), ("H-19", None)]);
    assert_eq!(after(|playlist| playlist.part_target = None).len(), 4);
    assert_eq!(after(|playlist| _ = playlist.segments[4].lead.parts.pop()), [("H-29", Some(1202))]);
    let parts =
        |playlist: &mut MediaPlaylist| playlist.segments[2].lead.parts = playlist.segments[3].lead.parts.clone();
    assert_eq!(after(parts), [("H-30", Some(1200))]);
    let late = |playlist: &mut MediaPlaylist| {
        let date = playlist.open.program_date_time.as_mut().unwrap();
        date.unix_millis += 3;
    };
    assert_eq!(after(late), [("H-92", Some(1203))]);
}

#[test]
fn i_frame_playlists_are_checked() {
    let after = |change: fn(&mut MediaPlaylist)| {
        let window = worked(1198, 0, (1204, 1));
        let mut playlist = window.i_frame_playlist();
        change(&mut playlist);
        [items(&check::playlist(&playlist)), items(&check::trick_play(&window.playlist(), &playlist))]
    };
    assert_eq!(after(|_| {}), [[], []]);
    assert_eq!(after(|playlist| playlist.version = 4), [vec![("H-74", None)], vec![]]);
    assert_eq!(after(|playlist| playlist.part_target = Some(Seconds::whole(1))), [vec![("H-38", None)], vec![]]);
    assert_eq!(after(|playlist| playlist.segments[1].byte_range = None), [vec![], vec![("H-74", Some(1199))]]);
    let empty = |playlist: &mut MediaPlaylist| playlist.segments[1].byte_range = Some(ByteRange::default());
    assert_eq!(after(empty), [vec![("H-74", Some(1199))], vec![]]);
    let short = |playlist: &mut MediaPlaylist| playlist.segments[5].duration = Seconds::whole(3);
    assert_eq!(after(short), [vec![], vec![("H-74", Some(1203))]]);
    let other = |playlist: &mut MediaPlaylist| playlist.segments[0].lead.map = Some("other".to_owned());
    assert_eq!(after(other)[1].len(), 6);
    assert_eq!(after(|playlist| playlist.server_control = None)[1], [("H-35", None)]);
    assert_eq!(after(|playlist| playlist.i_frames_only = false)[1], [("H-74", None)]);
}

/// What may not change from the worked example to `change` of its next version.
fn between(change: impl FnOnce(&mut MediaPlaylist)) -> Vec<(&'static str, Option<u64>)> {
    let old = worked(1190, -32_000, (1204, 1)).playlist();
    let mut new = worked(1190, -32_000, (1205, 0)).playlist();
    change(&mut new);
    items(&check::successor(&old, &new))
}

#[test]
fn what_was_listed_may_not_change() {
    assert_eq!(between(|_| {}), []);
    assert_eq!(between(|new| new.target_duration = 3), [("H-11", None)]);
    assert_eq!(between(|new| new.segments[0].duration = Seconds::whole(3)), [("H-11", Some(1199))]);
    assert_eq!(between(|new| new.segments[0].gap = true), [("H-11", Some(1199))]);
    assert_eq!(between(|new| new.segments[0].lead.map = Some("other".to_owned())).len(), 6);
    assert_eq!(between(|new| new.segments[5].lead.parts[1].gap = true), [("H-11", Some(1204))]);
    assert_eq!(between(|new| new.segments[4].lead.parts[1].gap = true), [("H-11", Some(1203))]);
    assert_eq!(between(|new| new.segments[4].lead.parts.clear()), []);
    assert_eq!(between(|new| new.segments[1].lead.discontinuity = true).len(), 6);
}

#[test]
fn the_ends_of_a_playlist_may_only_move_forwards() {
    assert_eq!(between(|new| new.segments.truncate(4)).first(), Some(&("H-11", Some(1203))));
    assert_eq!(between(|new| new.media_sequence = 1197), [("H-9", None)]);
    assert_eq!(between(|new| new.discontinuity_sequence = 1)[0], ("H-9", None));
    let mut old = worked(1, 0, (3, 3)).playlist();
    old.ended = true;
    let new = worked(1, 0, (4, 0)).playlist();
    assert_eq!(items(&check::successor(&old, &new))[0], ("H-11", None));
}

#[test]
fn renditions_must_agree_on_where_segments_start() {
    let one = worked(1, 0, (4, 1)).playlist();
    let other = worked(1, 20, (4, 0)).playlist();
    assert_eq!(items(&check::aligned(&one, &other, Seconds { centi_millis: 2133 })), []);
    assert_eq!(check::aligned(&one, &other, Seconds::default()).len(), 4);
    let mut shifted = one.clone();
    shifted.discontinuity_sequence = 1;
    assert_eq!(check::aligned(&one, &shifted, Seconds::default()).len(), 4);
}
