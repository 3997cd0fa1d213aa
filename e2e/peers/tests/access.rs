//! Who may publish, with FFmpeg and a publisher of our own: keys, tokens, webhook, TLS, proxies, and the operator's hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_e2e::follow::Follower;
use headwater_e2e::hook::Hook;
use headwater_e2e::http::{Hangup, Http};
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, Status, tags};
use headwater_e2e::server::{Folder, Server};
use headwater_e2e::testdata;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// FFmpeg publishes a picture and a tone.
fn ffmpeg(url: &str) -> Program {
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-c:a", "aac"];
    Program::ffmpeg([&picture[..], &tone, &coding, &["-f", "flv", url]].concat())
}

fn denied(description: &str) -> Status {
    Status::new("NetStream.Publish.Denied", description)
}

#[test]
fn the_operator_sends_a_publisher_away_and_ffmpeg_shows_why() {
    let server = Server::start("ladder = 'none'\nadmin_token = 'open-sesame-today'\n");
    let ffmpeg = ffmpeg(&server.publish_url("live/show"));
    server.multivariant("live/show");
    let mut api = Http::new(server.admin, Hangup::default());
    let path = "/api/v1/streams/live/show/publisher";
    let mut kick = |token: &str| {
        let answer = api.send("DELETE", path, &format!("Authorization: Bearer {token}\r\n")).unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(kick("open-sesame-then").0, 401);
    assert_eq!(kick("open-sesame-today").0, 204);
    let ended = ffmpeg.finish(Duration::from_secs(20));
    assert!(!ended.status.success() && ended.err.contains("the operator has ended this stream"), "{}", ended.err);
    server.expect_logged(&["publisher left", "stream=live/show", "the operator has ended this stream"]);
    assert_eq!(kick("open-sesame-today"), (404, r#"{"error":"live/show: nobody publishes it at this node"}"#.into()));
}

#[test]
fn new_keys_count_after_sighup_and_a_live_stream_goes_on() {
    let keys = |show: &str, app: &str| {
        format!(
            "ladder = 'none'\n[[streams]]\nname = 'live/show'\nkey = '{show}'\n[[streams]]\nname = 'school/*'\nkey = '{app}'\n"
        )
    };
    let server = Server::start(&keys("sesame-open-now", "chalk-and-board"));
    let _ffmpeg = ffmpeg(&server.publish_url("live/sesame-open-now"));
    let follower = Follower::start(&server, "live/show");
    Publisher::connect(server.rtmp, "school/art?key=chalk-and-board").unwrap().unpublish();

    server.reconfigure(&keys("tulip-and-rose", "pen-and-paper"));
    server.expect_logged(&["configuration read again"]);
    let refused = Publisher::connect(server.rtmp, "school/art?key=chalk-and-board").unwrap_err();
    assert_eq!(refused, denied("the stream key is not known here"));
    Publisher::connect(server.rtmp, "school/art?key=pen-and-paper").unwrap().unpublish();

    server.reconfigure("ladder = 'none'\nlatency = 'lowest'\n");
    server.expect_logged(&["configuration not changed", "headwater.toml, line 2", "expected one of ultra"]);
    server.reconfigure("ladder = 'none'\n");
    server.expect_logged(&["configuration not changed", "anyone could publish"]);
    Publisher::connect(server.rtmp, "school/art?key=pen-and-paper").unwrap().unpublish();

    follower.expect_more(6);
    for (name, one) in follower.finish() {
        assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
    }
}

/// A certificate for this machine and its key, as files.
fn certificate(folder: &Path) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    [certificate, key].map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn ffmpeg_publishes_over_rtmps() {
    let folder = Folder::new();
    let [certificate, key] = certificate(folder.path());
    let flags = ["--rtmps", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let server = Server::start_with("ladder = 'none'\n", &flags);
    let rtmps = server.rtmps();
    let ffmpeg = ffmpeg(&format!("rtmps://127.0.0.1:{}/live/show", rtmps.port()));
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(6);
    // A certificate that cannot be read keeps the old one.
    std::fs::write(&certificate, "no certificate").unwrap();
    server.reconfigure("ladder = 'none'\n");
    server.expect_logged(&["configuration not changed", "cannot read a certificate from"]);
    // What is not TLS is closed.
    let mut plain = TcpStream::connect(rtmps).unwrap();
    plain.write_all(&[3; 1537]).unwrap();
    server.expect_logged(&["connection closed", "TLS: "]);
    follower.expect_more(6);
    for (name, one) in follower.finish() {
        assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
    }
    ffmpeg.interrupt();
    server.expect_logged(&["publisher left", "stream=live/show", "clean=true"]);
}

/// A proxy before the server that begins every connection with `header`.
fn proxy(server: SocketAddr, header: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for publisher in listener.incoming() {
            let (publisher, mut server) = (publisher.unwrap(), TcpStream::connect(server).unwrap());
            server.write_all(&header).unwrap();
            for (mut from, mut to) in [
                (publisher.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), publisher),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn behind_a_proxy_the_real_address_is_logged_and_held_up() {
    let config = "ladder = 'none'\nproxy_protocol = true\n[limits]\nfailed_publishes_per_minute = 2\n\
        [[streams]]\nname = 'live/show'\nkey = 'sesame-open-now'\n";
    let server = Server::start(config);
    let v2 = |source: [u8; 4]| {
        let addresses = [&source[..], &[198, 51, 100, 1], &4242_u16.to_be_bytes(), &1935_u16.to_be_bytes()].concat();
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..], &addresses].concat()
    };
    let good = proxy(server.rtmp, v2([192, 0, 2, 7]));
    let _ffmpeg = ffmpeg(&format!("rtmp://{good}/live/sesame-open-now"));
    server.expect_logged(&["publisher accepted", "address=192.0.2.7:4242"]);

    let guesser = proxy(server.rtmp, b"PROXY TCP4 192.0.2.8 198.51.100.1 4243 1935\r\n".to_vec());
    for _ in 0..2 {
        let refused = Publisher::connect(guesser, "live/guess").unwrap_err();
        assert_eq!(refused, denied("the stream key is not known here"));
    }
    let refused = Publisher::connect(guesser, "live/sesame-open-now").unwrap_err();
    assert!(refused.description.starts_with("too many failed attempts from this address; wait "), "{refused:?}");
    let line = server.expect_logged(&["publisher refused", "too many failed attempts"]);
    assert!(line.contains("address=192.0.2.8:4243"), "{line}");
    // Another address is not held up: it is told that the stream has its publisher.
    let other = proxy(server.rtmp, v2(Ipv4Addr::new(192, 0, 2, 9).octets()));
    let refused = Publisher::connect(other, "live/sesame-open-now").unwrap_err();
    assert_eq!(refused, Status::new("NetStream.Publish.BadName", "live/show already has a publisher"));
    let metrics = Http::new(server.admin, Hangup::default()).get("/metrics").text();
    assert!(metrics.contains(r#"publishers_refused_total{reason="too_many_failures"} 1"#), "{metrics}");

    let mut direct = TcpStream::connect(server.rtmp).unwrap();
    direct.write_all(&[3; 1537]).unwrap();
    server.expect_logged(&["connection closed", "no PROXY protocol header"]);
}

#[test]
fn a_token_that_an_issuer_signed_publishes_its_stream() {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = URL_SAFE_NO_PAD.encode(key.public_key());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"one","x":"{public}"}}]}}"#);
    let folder = Folder::new();
    let [certificate, private] = certificate(folder.path());
    let issuer = Hook::start_tls(certificate.as_ref(), private.as_ref(), move |_| (200, set.clone()));
    let token = |claims: &str| {
        let parts = [r#"{"alg":"EdDSA","kid":"one"}"#, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = parts.join(".");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())))
    };
    let config = format!("ladder = 'none'\n[jwt]\njwks = '{}'\n", issuer.url("/jwks.json"));
    let server = Server::start_trusting(&config, certificate.as_ref());
    let show = token(r#"{"sub":"live/show","exp":4102444800}"#);
    let _ffmpeg = ffmpeg(&server.publish_url(&format!("live/show?token={show}")));
    server.multivariant("live/show");

    let refused = |stream: &str| Publisher::connect(server.rtmp, stream).unwrap_err();
    assert_eq!(refused(&format!("live/other?token={show}")), denied("the token is for another stream"));
    let old = token(r#"{"sub":"live/show","exp":1000000000}"#);
    assert_eq!(refused(&format!("live/{old}")), denied("the token has expired"));
    assert_eq!(refused("live/show"), denied("the stream key is not known here"));
    let app = token(r#"{"stream":"school/*","exp":4102444800}"#);
    Publisher::connect(server.rtmp, &format!("school/art?key={app}")).unwrap().unpublish();
    let log = server.log().text();
    for secret in [&show, &old, &app] {
        let signature = secret.rsplit_once('.').unwrap().1;
        assert!(!log.contains(signature), "a token in the log:\n{log}");
    }
}

#[test]
fn an_issuer_with_a_certificate_that_nobody_trusts_is_not_believed() {
    let folder = Folder::new();
    let [certificate, private] = certificate(folder.path());
    let issuer = Hook::start_tls(certificate.as_ref(), private.as_ref(), |_| (200, r#"{"keys":[]}"#.into()));
    let url = issuer.url("/jwks.json");
    let server = Server::start(&format!("ladder = 'none'\n[jwt]\njwks = '{url}'\n"));
    server.expect_logged(&["no new keys for tokens", &url, "invalid peer certificate"]);
}

#[test]
fn a_webhook_renames_refuses_and_hears_of_the_end() {
    let hook = Hook::start(|body| match body {
        _ if body.contains("on_unpublish") => (204, String::new()),
        _ if body.contains("live/show") => (200, r#"{"stream": "tv/one", "ladder": "none"}"#.into()),
        _ => (403, r#"{"reason": "not paid"}"#.into()),
    });
    let server = Server::start(&format!("[webhook]\nurl = '{}'\ntoken = 'hunter2'\n", hook.url("/hook")));
    let ffmpeg = ffmpeg(&server.publish_url("live/show?ticket=7"));
    server.multivariant("tv/one");
    hook.expect_asked(&["on_publish", r#""stream":"live/show""#, r#""ticket":"7""#, r#""encoder":"FMLE"#]);
    assert_eq!(Publisher::connect(server.rtmp, "live/other").unwrap_err(), denied("not paid"));
    ffmpeg.interrupt();
    hook.expect_asked(&["on_unpublish", r#""stream":"tv/one""#, r#""reason":"unpublished""#, r#""session":"~"#]);
}

#[test]
fn who_sends_more_than_the_limit_is_told_so() {
    let server = Server::start("ladder = 'none'\n[limits]\npublisher_kbps = 100\n");
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    let clip = tags(&testdata("bbb.flv"));
    // All at once: 125 kB are over long before the end.
    clip.iter().all(|tag| publisher.send_tag(tag));
    let told = Status::new("NetStream.Publish.Rejected", "more than 100 kbit/s over 10 s, which is the limit");
    assert_eq!(publisher.expect_refusal(), told);
}
