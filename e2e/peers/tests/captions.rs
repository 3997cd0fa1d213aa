//! Captions on the whole way: in the source rendition, in the gears, and in the multivariant playlist.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_e2e::follow::Follower;
use headwater_e2e::publisher::{Publisher, tags};
use headwater_e2e::rendition::Rendition;
use headwater_e2e::server::Server;
use headwater_e2e::testdata;
use headwater_flv::{Tag, TagType, VideoContent, VideoTag};
use headwater_media::VideoCoding;
use headwater_media::captions::{self, Triplet};

const SMALL: &str = "
session.end_grace_seconds = 1
ladder = 'small'
[[ladders]]
name = 'small'
gears = [{ width = 200, height = 120, bitrate_kbps = 150 }]";

fn of_source(clip: &[Tag]) -> Vec<Triplet> {
    let packets = clip.iter().flat_map(|tag| VideoTag::read(tag.body.clone()).unwrap().packets);
    let units = packets.filter_map(|packet| match packet.content {
        VideoContent::Frame { data, .. } => Some(captions::read(VideoCoding::Avc, &data)),
        _ => None,
    });
    units.flatten().collect()
}

fn of_rendition(rendition: &Rendition) -> Vec<Triplet> {
    let mut triplets = Vec::new();
    for part in rendition.parts.values() {
        let tracks = InitSegment::parse(&rendition.inits[&part.init]).unwrap().tracks;
        let data: &Bytes = &part.data;
        for sample in chunks(data, &tracks).unwrap().iter().flat_map(|chunk| &chunk.runs[0].samples) {
            triplets.extend(captions::read(VideoCoding::Avc, sample.data(data).unwrap()));
        }
    }
    triplets
}

#[test]
fn captions_of_the_source_are_in_every_rendition_and_are_announced() {
    let server = Server::start(SMALL);
    // Its sound is not of a rate that every ladder passes through.
    let mut clip = tags(&testdata("sintel-captions.flv"));
    clip.retain(|tag| tag.kind == TagType::Video);
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    let follower = std::thread::scope(|scope| {
        let follower = scope.spawn(|| Follower::start(&server, "live/show"));
        assert!(publisher.play(&clip));
        follower.join().unwrap()
    });
    let multivariant = server.multivariant("live/show");
    publisher.unpublish();
    follower.expect_end(Duration::from_secs(10));

    let line = "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"CC1\",";
    assert_eq!(multivariant.matches(line).count(), 1, "{multivariant}");
    assert_eq!(multivariant.matches("TYPE=CLOSED-CAPTIONS").count(), 1, "{multivariant}");
    let variants = multivariant.matches("#EXT-X-STREAM-INF").count();
    assert!(variants > 0);
    assert_eq!(multivariant.matches(",CLOSED-CAPTIONS=\"cc\"\n").count(), variants, "{multivariant}");

    let sent = of_source(&clip);
    let all = follower.finish();
    let gear = all.keys().find(|name| name.contains("p-150")).unwrap();
    assert!(of_rendition(&all[gear]) == sent, "{gear}");
    // Until the source rendition goes off, for want of IDRs.
    let source = of_rendition(&all["source"]);
    assert!(source.len() > sent.len() / 3);
    assert!(sent.starts_with(&source));
}
