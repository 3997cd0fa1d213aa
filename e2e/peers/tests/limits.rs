//! The limits of connections, addresses and publishers: what a publisher reads that goes over one, and what the
//! operator can count.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use headwater_e2e::http::{Hangup, Http};
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, Status, is_config, tags};
use headwater_e2e::server::Server;
use headwater_e2e::testdata;
use headwater_flv::{Tag, TagType};
use std::time::Duration;

const REJECTED: &str = "NetStream.Publish.Rejected";
const NOT_CONNECTED: &str = "NetConnection.Connect.Rejected";

fn server(limits: &str) -> Server {
    Server::start(&format!("ladder = 'none'\n[limits]\n{limits}\n"))
}

#[track_caller]
fn expect_counted(server: &Server, limit: &str) {
    let metrics = Http::new(server.admin, Hangup::default()).get("/metrics").text();
    let expected = format!("headwater_rtmp_over_limit_total{{limit=\"{limit}\"}} 1");
    assert!(metrics.contains(&expected), "no {expected} in {metrics}");
}

/// Pictures and configuration of 640x360, about 250 kbit/s.
fn pictures() -> Vec<Tag> {
    tags(&testdata("bbb.flv")).into_iter().filter(|tag| tag.kind == TagType::Video).collect()
}

/// Sends the first pictures again and again, as fast as they are taken and with times that rise by 40 ms, until the server
/// ends it.
#[track_caller]
fn expect_refusal(mut publisher: Publisher, description: &str) {
    let pictures = pictures();
    let (config, rest): (Vec<&Tag>, Vec<&Tag>) = pictures.iter().partition(|tag| is_config(tag));
    let rest = rest.into_iter().take(50).cycle().take(20_000);
    let mut times = (0..).map(|number| number * 40);
    config.into_iter().chain(rest).all(|tag| {
        let timestamp = if is_config(tag) { 0 } else { times.next().unwrap() };
        publisher.send_tag(&Tag { timestamp, ..tag.clone() })
    });
    assert_eq!(publisher.expect_refusal(), Status::new(REJECTED, description));
}

#[test]
fn an_address_with_too_many_connections_is_told_so() {
    let server = server("connections_per_address = 1");
    let first = Publisher::connect(server.rtmp, "live/one").unwrap();
    let told = Status::new(NOT_CONNECTED, "127.0.0.1 has 1 connections to this server, which is the limit");
    assert_eq!(Publisher::connect(server.rtmp, "live/two").unwrap_err(), told);
    server.expect_logged(&["connection refused: too many of its address", "limit=1"]);
    expect_counted(&server, "connections_per_address");
    first.unpublish();
    server.expect_logged(&["publisher left", "stream=live/one"]);
}

/// FFmpeg shows it to whoever started it.
#[test]
fn a_full_server_says_so() {
    let server = server("publishers = 1");
    let _first = Publisher::connect(server.rtmp, "live/one").unwrap();
    let told = "the server has 1 connections, which is its limit; try again later";
    assert_eq!(Publisher::connect(server.rtmp, "live/two").unwrap_err(), Status::new(NOT_CONNECTED, told));
    expect_counted(&server, "publishers");
    let url = server.publish_url("live/two");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-c:v", "libx264", "-f", "flv", &url];
    let ffmpeg = Program::ffmpeg(picture.to_vec()).finish(Duration::from_secs(20));
    assert!(!ffmpeg.status.success() && ffmpeg.err.contains(told), "{}", ffmpeg.err);
}

#[test]
fn publishers_of_an_address_share_what_it_may_send() {
    let server = server("address_kbps = 100");
    let mut first = Publisher::connect(server.rtmp, "live/one").unwrap();
    assert!(pictures().iter().take(25).all(|tag| first.send_tag(tag)));
    let second = Publisher::connect(server.rtmp, "live/two").unwrap();
    expect_refusal(second, "more than 100 kbit/s over 10 s from 127.0.0.1, which is the limit");
    expect_counted(&server, "address_kbps");
    first.unpublish();
}

#[test]
fn a_publisher_whose_keyframes_are_too_far_apart_is_told_so() {
    let server = server("publisher_gop_seconds = 3");
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    let pictures = pictures();
    let keyframe = pictures.iter().find(|tag| tag.body[0] == 0x17 && !is_config(tag)).unwrap();
    let other = pictures.iter().find(|tag| tag.body[0] == 0x27).unwrap();
    let config = pictures.iter().find(|tag| is_config(tag)).unwrap();
    let others = (1..200).map(|number| (other, 40 * number));
    [(config, 0), (keyframe, 0)]
        .into_iter()
        .chain(others)
        .all(|(tag, timestamp)| publisher.send_tag(&Tag { timestamp, ..tag.clone() }));
    let told = "no keyframe in 3 s, which is the limit; set the encoder's keyframe interval to 2 s";
    assert_eq!(publisher.expect_refusal(), Status::new(REJECTED, told));
    expect_counted(&server, "publisher_gop");
}

#[test]
fn a_publisher_with_too_large_a_picture_is_told_so() {
    let server = server("publisher_picture_pixels = 230399");
    let publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    expect_refusal(publisher, "pictures of 640x360 are too large: the limit is 230399 pixels");
    expect_counted(&server, "publisher_picture");
}
