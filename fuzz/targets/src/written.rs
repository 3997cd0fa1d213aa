//! What we write and others may, too: CMAF, playlists, URLs.

use headwater_cmaf::check::{Place, TrackCheck};
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_hls::path::Target;
use headwater_hls::{Directives, MediaPlaylist, check};
use headwater_rtmp::PublishUrl;

/// A file: an init segment and chunks.
pub(crate) fn cmaf(data: &[u8]) {
    let tracks = InitSegment::parse(data).map(|init| init.tracks).unwrap_or_default();
    if let Ok(read) = chunks(data, &tracks) {
        let samples = read.iter().flat_map(|chunk| &chunk.runs).flat_map(|run| &run.samples);
        for sample in samples {
            let _ = sample.data(data);
        }
    }
    if let Ok(mut check) = TrackCheck::new(data) {
        check.chunk(Place::First, data);
        check.chunk(Place::Inside, data);
        let _ = check.findings();
    }
}

/// A media playlist. What was read can be written, and is then read in the same way.
pub(crate) fn playlist(data: &[u8]) {
    let Ok(playlist) = String::from_utf8_lossy(data).parse::<MediaPlaylist>() else { return };
    let again = playlist.to_string().parse().expect("a playlist of ours is right");
    assert_eq!(playlist, again);
    for violation in check::playlist(&playlist).into_iter().chain(check::successor(&playlist, &again)) {
        let _ = violation.to_string();
    }
}

/// What players ask for, and where publishers go: path and query, and an RTMP URL.
pub(crate) fn urls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').map_or((&*text, None), |(path, query)| (path, Some(query)));
    let _ = Directives::parse(query);
    if let Some(target) = Target::parse(path) {
        assert_eq!(Target::parse(&target.to_string()), Some(target));
    }
    if let Ok(url) = text.parse::<PublishUrl>() {
        let _ = url.tc_url();
    }
}
