//! Several nodes that share an etcd (architecture 5 and 8): a publisher may connect to any, a player to any edge, and a
//! session goes on whichever node dies. The followers check invariants 2 and 3 of architecture's section 10.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use headwater_e2e::clock::{Stopwatch, poll};
use headwater_e2e::follow::Follower;
use headwater_e2e::pool::Pool;
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, Status, tags};
use headwater_e2e::seen::Seen;
use headwater_e2e::server::{Role, Server};
use headwater_e2e::testdata;

const STREAM: &str = "live/show";
/// One gear.
const SMALL: &str = "
ladder = 'small'
[[ladders]]
name = 'small'
gears = [{ width = 160, height = 90, bitrate_kbps = 100 }]";

/// A test picture and a tone, until stopped.
fn publish(node: &Server) -> Program {
    let url = node.publish_url(STREAM);
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-c:a", "aac"];
    Program::ffmpeg([&picture[..], &tone, &coding, &["-f", "flv", &url]].concat())
}

/// Two followers at two edges that compare what they see.
fn watch(edges: &[&Server]) -> Vec<Follower> {
    let seen = Seen::default();
    edges[0].multivariant(STREAM);
    let joined = edges.iter().map(|edge| {
        let follower = poll(Duration::from_secs(10), || Follower::join(edge, STREAM, &seen));
        follower.unwrap_or_else(|| panic!("{STREAM} is not live on an edge; its log:\n{}", edge.log().text()))
    });
    joined.collect()
}

#[track_caller]
fn expect_discontinuities(followers: &[Follower], count: u64) {
    for follower in followers {
        follower.wait_until("a discontinuity", Duration::from_secs(25), |all| {
            all.values().all(|one| one.discontinuities() == count)
        });
        follower.expect_more(10);
    }
}

/// Sealed takeovers: nothing is lost but the outage.
#[test]
fn a_publisher_that_comes_back_to_another_node_goes_on_in_its_session() {
    let pool = Pool::start("ladder = 'none'");
    let nodes = [1, 2].map(|number| pool.node(number, Role::Ingest));
    let edges = [3, 4].map(|number| pool.node(number, Role::Edge));
    let publisher = publish(&nodes[0]);
    let followers = watch(&[&edges[0], &edges[1]]);
    followers.iter().for_each(|follower| follower.expect_more(10));
    publisher.kill();
    let publisher = publish(&nodes[1]);
    expect_discontinuities(&followers, 1);
    publisher.kill();
    let _publisher = publish(&nodes[0]);
    expect_discontinuities(&followers, 2);
    for follower in followers {
        for (name, one) in follower.finish() {
            assert_eq!(one.gaps, 0, "{name}");
        }
    }
}

/// An unsealed takeover: no more is lost than what was reserved.
#[test]
fn a_session_outlives_the_node_that_had_it() {
    let pool = Pool::start("ladder = 'none'");
    let home = pool.node(1, Role::Ingest);
    let next = pool.node(2, Role::Ingest);
    let edges = [3, 4].map(|number| pool.node(number, Role::Edge));
    let _publisher = publish(&home);
    let followers = watch(&[&edges[0], &edges[1]]);
    followers.iter().for_each(|follower| follower.expect_more(10));
    let watch = Stopwatch::start();
    home.kill();
    let _publisher = publish(&next);
    expect_discontinuities(&followers, 1);
    assert!(watch.elapsed() < Duration::from_secs(15), "{:?}", watch.elapsed());
    for follower in followers {
        for (name, one) in follower.finish() {
            assert!(one.gaps <= 2, "{name}: {} gaps", one.gaps);
        }
    }
}

/// H-33: a balancer may send a player's next request to another edge, which has not read the rendition yet.
#[test]
fn an_edge_that_nobody_has_asked_yet_has_what_another_one_lists() {
    let pool = Pool::start("ladder = 'none'");
    let home = pool.node(1, Role::Ingest);
    let edges = [3, 4].map(|number| pool.node(number, Role::Edge));
    let _publisher = publish(&home);
    let followers = watch(&[&edges[0]]);
    followers.iter().for_each(|follower| follower.expect_more(12));
    let multivariant = edges[0].multivariant(STREAM);
    let playlists: Vec<&str> = multivariant.lines().filter(|line| line.starts_with('~')).collect();
    let mut files = Vec::new();
    for playlist in playlists {
        let folder = format!("/{STREAM}/{}", playlist.trim_end_matches("index.m3u8"));
        let text = edges[0].player().get(&format!("{folder}index.m3u8")).text();
        let quoted =
            |tag: &str| text.lines().rfind(|line| line.starts_with(tag)).and_then(|line| line.split('"').nth(1));
        let segment = text.lines().rfind(|line| !line.starts_with('#'));
        // The hinted part is waited for.
        let named = [segment, quoted("#EXT-X-PRELOAD-HINT"), quoted("#EXT-X-MAP")];
        files.push(named.map(|name| format!("{folder}{}", name.unwrap())));
    }
    assert!(!files.is_empty());
    // Whichever comes first.
    for (index, [segment, part, init]) in files.iter().enumerate() {
        let edge = &edges[1];
        let order = if index % 2 == 0 { [segment, part, init] } else { [init, segment, part] };
        for file in order {
            let answer = edge.player().get(file);
            assert_eq!(answer.status, 200, "{file}: {}", answer.text());
        }
    }
}

/// Drain: the node gives its streams up before it ends.
#[test]
fn a_node_that_is_stopped_leaves_its_sessions_to_the_others() {
    let pool = Pool::start("ladder = 'none'");
    let home = pool.node(1, Role::Ingest);
    let next = pool.node(2, Role::Ingest);
    let edge = pool.node(3, Role::Edge);
    let publisher = publish(&home);
    let followers = watch(&[&edge]);
    followers[0].expect_more(10);
    home.terminate();
    // It is sent there.
    let told = publisher.finish(Duration::from_secs(10));
    assert!(!told.status.success(), "{}", told.err);
    let _publisher = publish(&next);
    expect_discontinuities(&followers, 1);
    home.finish().expect_success();
    for follower in followers {
        for (name, one) in follower.finish() {
            assert_eq!(one.gaps, 0, "{name}");
        }
    }
}

/// A process that is stopped runs no timers: when it goes on, it has to see by itself that it is late.
#[test]
fn a_node_that_was_stopped_for_a_while_is_not_heard_any_more() {
    let pool = Pool::start("ladder = 'none'");
    let zombie = pool.node(1, Role::Ingest);
    let next = pool.node(2, Role::Ingest);
    let edges = [3, 4].map(|number| pool.node(number, Role::Edge));
    let first = publish(&zombie);
    let followers = watch(&[&edges[0], &edges[1]]);
    followers.iter().for_each(|follower| follower.expect_more(10));
    zombie.freeze();
    // FFmpeg waits for its answer for as long as the old home's lease lasts.
    let _publisher = publish(&next);
    expect_discontinuities(&followers, 1);
    zombie.thaw();
    let told = first.finish(Duration::from_secs(20));
    assert!(!told.status.success(), "{}", told.err);
    followers.iter().for_each(|follower| follower.expect_more(10));
    followers.into_iter().for_each(|follower| _ = follower.finish());
}

/// Exactly one publisher per stream key. `cargo xtask race` has more of it.
#[test]
fn of_publishers_that_come_at_once_to_three_nodes_one_is_taken() {
    let pool = Pool::start("ladder = 'none'");
    let nodes = [1, 2, 3].map(|number| pool.node(number, Role::Ingest));
    let clip = tags(&testdata("bbb.flv"));
    for round in 0..3 {
        let stream = format!("live/show-{round}");
        let outcomes: Vec<Result<(), Status>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..12)
                .map(|index: usize| {
                    let (rtmp, stream) = (nodes[index % nodes.len()].rtmp, &stream);
                    let clip = &clip;
                    scope.spawn(move || {
                        // Who is taken has to show that it is alive.
                        let mut publisher = Publisher::connect(rtmp, stream)?;
                        let seconds = clip.iter().take_while(|tag| tag.timestamp < 4000);
                        assert!(publisher.play(seconds), "it is not left alone");
                        Ok(())
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(refused.len(), 11, "{outcomes:?}");
        for status in refused {
            assert_eq!(status.code, "NetStream.Publish.BadName", "{status:?}");
        }
    }
}

/// Gears are made elsewhere, by whoever has room, and go on when that one dies.
#[test]
fn transcoders_of_the_pool_make_the_gears() {
    let pool = Pool::start(SMALL.trim_start());
    let home = pool.node(1, Role::Ingest);
    let edge = pool.node(2, Role::Edge);
    let workers = [3, 4].map(|number| pool.node(number, Role::Transcode));
    let _publisher = publish(&home);
    let follower = Follower::start(&edge, STREAM);
    follower.expect_more(10);
    follower.look(|all| assert!(all.contains_key("90p-100"), "{:?}", all.keys()));
    let busy = poll(Duration::from_secs(5), || {
        workers.iter().position(|worker| worker.log().text().contains("transcoding began"))
    });
    let mut workers = Vec::from(workers);
    workers.remove(busy.unwrap()).kill();
    follower.expect_more(15);
    let renditions = follower.finish();
    assert_eq!(renditions["90p-100"].discontinuities(), 0);
    assert_eq!(renditions["90p-100"].gaps, 0);
}
