use std::path::Path;
use std::sync::Arc;

use headwater_flv::{FileReader, write_tag};
use tokio::sync::oneshot;

use super::*;
use crate::clock::SystemClock;
use crate::publish;

/// One second of FFmpeg's test signals; see the folder's README.md.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../flv/src/testdata/ffmpeg-5.1.flv");

/// A job that writes into `folder`, and where it listens.
async fn job(folder: &Path) -> (Job, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let raw = Some(folder.join("recorded.rtmp"));
    (Job { address, file: folder.join("recorded.flv"), raw, force: false }, listener)
}

/// A folder of this test, without what an earlier run left.
fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("headwater-record-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn tags(file: &[u8]) -> Vec<Tag> {
    let mut reader = FileReader::new();
    reader.handle_input(file);
    std::iter::from_fn(|| reader.poll_tag().unwrap()).collect()
}

/// Publishes until the end of the file, or for ever.
async fn publish(job: &Job, repeat: bool) -> Result<()> {
    let url = format!("rtmp://{}/live/a-secret", job.address).parse().unwrap();
    let job = publish::Job { file: FILE.into(), url, tls_ca: None, repeat };
    publish::run(job, Arc::new(SystemClock::new()), std::future::pending()).await
}

#[tokio::test]
async fn every_tag_is_written_as_it_was_sent_and_the_report_says_what_came() {
    let folder = folder("whole");
    let (job, listener) = job(&folder).await;
    let clock = SystemClock::new();
    let recorded = record(&job, listener, &clock, std::future::pending());
    let (report, published) = tokio::join!(recorded, publish(&job, false));
    published.unwrap();
    let text = report.unwrap().to_string();
    let (recorded, sent) = (std::fs::read(&job.file).unwrap(), std::fs::read(FILE).unwrap());
    assert_eq!(tags(&recorded), tags(&sent));
    assert_eq!(recorded[..9], sent[..9], "the header says what is there");
    for line in [
        concat!("encoder   headwater/", env!("CARGO_PKG_VERSION")),
        "connect   app, type, flashVer, tcUrl",
        "video     H.264 160x120 avc1.",
        "audio     AAC 48000 Hz 1 channels mp4a.40.2; 49 tags",
        "data      1 x onMetaData",
        "ended     the publisher unpublished",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
    assert!(!text.contains("a-secret"), "{text}");

    // The raw bytes are the whole connection, key and all: a session that reads them gets the same.
    let raw = std::fs::read(job.raw.as_ref().unwrap()).unwrap();
    let now = clock.now();
    let mut session = ServerSession::new(now, ServerConfig::default(), 1);
    let mut replayed = Vec::new();
    session.handle_input(now, &raw).unwrap();
    while let Some(event) = session.poll_event() {
        let (kind, message) = match event {
            Event::ConnectRequest(_) => {
                session.accept_connect(now).unwrap();
                continue;
            }
            Event::PublishRequest(request) => {
                assert_eq!(request.name.secret(), "a-secret");
                session.accept_publish(now, request.id).unwrap();
                continue;
            }
            Event::Audio(message) => (TagType::Audio, message),
            Event::Video(message) => (TagType::Video, message),
            Event::Data(message) => (TagType::Script, message),
            _ => continue,
        };
        replayed.push(Tag { kind, timestamp: message.timestamp, body: message.payload });
    }
    assert_eq!(replayed, tags(&sent));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn ctrl_c_ends_it_with_a_whole_file_and_the_publisher_is_told() {
    let folder = folder("stopped");
    let (job, listener) = job(&folder).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let file = job.file.clone();
    let watch = async {
        // The writer holds back a few KiB: the file of a second grows in steps.
        while std::fs::metadata(&file).map_or(0, |metadata| metadata.len()) < 30_000 {
            sleep(Duration::from_millis(10)).await;
        }
        stop.send(()).unwrap();
    };
    let clock = SystemClock::new();
    let recorded = record(&job, listener, &clock, async { stopped.await.unwrap() });
    let (report, published, ()) = tokio::join!(recorded, publish(&job, true), watch);
    let told = format!("{:#}", published.unwrap_err());
    assert!(told.ends_with("NetConnection.Connect.AppShutdown: The recording has ended."), "{told}");
    let text = report.unwrap().to_string();
    assert!(text.ends_with("ended     stopped here\n"), "{text}");
    let file = std::fs::read(&job.file).unwrap();
    let mut written = file[..13].to_vec();
    for tag in tags(&file) {
        write_tag(&mut written, &tag);
    }
    assert!(written == file, "the file ends with a whole tag");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_file_that_is_there_stays_unless_told_otherwise() {
    let folder = folder("there");
    for which in ["recorded.flv", "recorded.rtmp"] {
        let (job, listener) = job(&folder).await;
        std::fs::write(folder.join(which), "precious").unwrap();
        let error = record(&job, listener, &SystemClock::new(), std::future::pending()).await.unwrap_err();
        let expected = format!("{} is there already; --force writes over it", folder.join(which).display());
        assert_eq!(error.to_string(), expected);
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [which], "nothing new is left behind");
        assert_eq!(std::fs::read(folder.join(which)).unwrap(), b"precious");
        std::fs::remove_file(folder.join(which)).unwrap();
    }
    let (job, listener) = job(&folder).await;
    let job = Job { force: true, ..job };
    std::fs::write(&job.file, vec![0; 1 << 20]).unwrap();
    let clock = SystemClock::new();
    let recorded = record(&job, listener, &clock, std::future::pending());
    let (report, published) = tokio::join!(recorded, publish(&job, false));
    report.unwrap();
    published.unwrap();
    assert_eq!(tags(&std::fs::read(&job.file).unwrap()), tags(&std::fs::read(FILE).unwrap()));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn who_does_not_publish_is_not_the_one() {
    let folder = folder("scan");
    let (job, listener) = job(&folder).await;
    let others = async {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[3; 2000]] {
            let mut socket = TcpStream::connect(job.address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            let _ = socket.shutdown().await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
        publish(&job, false).await
    };
    let clock = SystemClock::new();
    let (report, published) = tokio::join!(record(&job, listener, &clock, std::future::pending()), others);
    report.unwrap();
    published.unwrap();
    assert_eq!(tags(&std::fs::read(&job.file).unwrap()), tags(&std::fs::read(FILE).unwrap()));
    let raw = std::fs::read(job.raw.as_ref().unwrap()).unwrap();
    assert_ne!(raw[..4], *b"GET ");
    assert!(raw.windows(8).any(|window| window == b"a-secret"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_recording_of_nothing_leaves_nothing() {
    let folder = folder("nothing");
    let (job, listener) = job(&folder).await;
    let error = record(&job, listener, &SystemClock::new(), std::future::ready(())).await.unwrap_err();
    assert_eq!(error.to_string(), "nobody published, nothing was recorded");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}
