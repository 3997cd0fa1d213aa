use std::path::Path;

use headwater_flv::{FileReader, Tag, TagType};
use headwater_rtmp::{Event, MediaKind, ServerConfig, ServerSession, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::clock::SystemClock;

/// One second of FFmpeg's test signals; see the folder's README.md.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../flv/src/testdata/ffmpeg-5.1.flv");

/// What the server does with the publisher.
#[derive(Clone, Copy)]
enum Script {
    Accept,
    Refuse,
    /// Accepts, and sends the publisher away at this message.
    CloseAt(usize),
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    messages: Vec<Message>,
    clean: Option<bool>,
}

struct Message {
    kind: MediaKind,
    timestamp: u32,
    body: Bytes,
    /// From just before the publish was accepted.
    after: Duration,
}

/// Serves one publisher. `reached` fires with the message of that number.
async fn serve(listener: TcpListener, script: Script, mut reached: Option<(usize, oneshot::Sender<()>)>) -> Seen {
    let clock = SystemClock::new();
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut session = ServerSession::new(clock.now(), ServerConfig::default(), 1);
    let mut seen = Seen::default();
    let mut accepted = None;
    let mut buffer = BytesMut::new();
    loop {
        while let Some(event) = session.poll_event() {
            let now = clock.now();
            let (kind, message) = match event {
                Event::ConnectRequest(_) => {
                    session.accept_connect(now).unwrap();
                    continue;
                }
                Event::PublishRequest(request) => {
                    match script {
                        Script::Accept | Script::CloseAt(_) => {
                            accepted = Some(now);
                            session.accept_publish(now, request.id).unwrap();
                        }
                        Script::Refuse => {
                            session
                                .reject_publish(now, request.id, StatusCode::PublishBadName, "It is taken.")
                                .unwrap();
                        }
                    }
                    continue;
                }
                Event::Audio(message) => (MediaKind::Audio, message),
                Event::Video(message) => (MediaKind::Video, message),
                Event::Data(message) => (MediaKind::Data, message),
                Event::PublishEnded { clean } => {
                    seen.clean = Some(clean);
                    continue;
                }
                Event::Close => return seen,
                _ => continue,
            };
            let after = now.saturating_since(accepted.unwrap());
            seen.messages.push(Message { kind, timestamp: message.timestamp, body: message.payload, after });
            let count = seen.messages.len();
            if let Some((_, reached)) = reached.take_if(|(at, _)| *at == count) {
                reached.send(()).unwrap();
            }
            if matches!(script, Script::CloseAt(at) if at == count) {
                session.close_with_status(now, StatusCode::AppShutdown, "The server\nis stopping.");
            }
        }
        while let Some(bytes) = session.poll_transmit() {
            if socket.write_all(&bytes).await.is_err() {
                return seen;
            }
        }
        buffer.clear();
        let pause = session.poll_timeout().map_or(FOREVER, |at| at.saturating_since(clock.now()));
        tokio::select! {
            read = socket.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return seen,
                Ok(_) => session.handle_input(clock.now(), &buffer).unwrap(),
            },
            () = sleep(pause) => session.handle_timeout(clock.now()).unwrap(),
        }
    }
}

/// Publishes `file` to a server that follows `script`, until message `stop_at`.
async fn publish(file: &Path, repeat: bool, script: Script, stop_at: Option<usize>) -> (Result<()>, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmp://{}/live/secret", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, reached) = oneshot::channel();
    let (sender, shutdown): (_, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) = match stop_at {
        Some(at) => (Some((at, sender)), Box::pin(async { reached.await.unwrap() })),
        None => (None, Box::pin(std::future::pending())),
    };
    let job = Job { file: file.to_owned(), url, tls_ca: None, repeat };
    let publisher = run(job, Arc::new(SystemClock::new()), shutdown);
    // The server ends when the publisher has closed the connection.
    tokio::join!(publisher, serve(listener, script, sender))
}

fn tags_of_the_file() -> Vec<Tag> {
    let mut reader = FileReader::new();
    reader.handle_input(&std::fs::read(FILE).unwrap());
    std::iter::from_fn(|| reader.poll_tag().unwrap()).collect()
}

fn kind(tag: &Tag) -> MediaKind {
    match tag.kind {
        TagType::Audio => MediaKind::Audio,
        TagType::Video => MediaKind::Video,
        _ => MediaKind::Data,
    }
}

#[tokio::test]
async fn every_tag_arrives_unchanged_and_not_before_its_time_and_the_end_is_clean() {
    let (result, seen) = publish(Path::new(FILE), false, Script::Accept, None).await;
    result.unwrap();
    assert_eq!(seen.clean, Some(true));
    let tags = tags_of_the_file();
    assert_eq!(seen.messages.len(), tags.len());
    for (message, tag) in seen.messages.iter().zip(&tags) {
        assert_eq!((message.kind, message.timestamp, &message.body), (kind(tag), tag.timestamp, &tag.body));
        // The file starts at 0.
        assert!(
            message.after >= Duration::from_millis(tag.timestamp.into()),
            "{} at {:?}",
            tag.timestamp,
            message.after
        );
    }
}

#[tokio::test]
async fn a_repeated_file_goes_on_with_rising_timestamps_until_it_is_stopped() {
    let mut tags = tags_of_the_file();
    // FFmpeg closes the file with the end of the sequence, which is not the end of what is repeated.
    assert_eq!(tags.pop().map(|tag| tag.body[1]), Some(2));
    let (result, seen) = publish(Path::new(FILE), true, Script::Accept, Some(tags.len() * 2)).await;
    result.unwrap();
    assert_eq!(seen.clean, Some(true));
    assert!(seen.messages.len() >= tags.len() * 2);
    let rising = seen.messages.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp);
    assert!(rising, "{:?}", seen.messages.iter().map(|message| message.timestamp).collect::<Vec<_>>());
    for (message, tag) in seen.messages.iter().zip(tags.iter().chain(&tags)) {
        assert_eq!((message.kind, &message.body), (kind(tag), &tag.body));
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status_and_without_the_key() {
    let (result, seen) = publish(Path::new(FILE), false, Script::Refuse, None).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.ends_with(" refused the stream: NetStream.Publish.BadName: It is taken."), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert!(seen.messages.is_empty());
}

#[tokio::test]
async fn a_server_that_ends_the_stream_is_quoted_in_one_line() {
    let (result, _) = publish(Path::new(FILE), true, Script::CloseAt(3), None).await;
    let error = format!("{:#}", result.unwrap_err());
    let told = " ended the stream: NetConnection.Connect.AppShutdown: The server is stopping.";
    assert!(error.ends_with(told), "{error}");
}

#[tokio::test]
async fn a_stop_before_the_answer_is_no_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmp://{}/live/secret", listener.local_addr().unwrap()).parse().unwrap();
    let job = Job { file: FILE.into(), url, tls_ca: None, repeat: false };
    let (asked, shutdown) = oneshot::channel();
    let publisher = run(job, Arc::new(SystemClock::new()), async { shutdown.await.unwrap() });
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = BytesMut::new();
        socket.read_buf(&mut buffer).await.unwrap();
        asked.send(()).unwrap();
        while let Ok(1..) = socket.read_buf(&mut buffer).await {}
    };
    let (result, ()) = tokio::join!(publisher, server);
    result.unwrap();
}

#[tokio::test]
async fn what_cannot_be_published_is_one_sentence() {
    let folder = std::env::temp_dir().join(format!("headwater-publish-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, contents: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let cases = [
        (folder.join("missing.flv"), "No such file"),
        (folder.clone(), "Is a directory"),
        (file("riff.flv", b"RIFF0000AVI LIST"), "expected 46 4c 56 01"),
        (file("short.flv", b"FLV"), "ends before an FLV header does"),
        (file("empty.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0"), "neither picture nor sound"),
    ];
    for (path, problem) in cases {
        // Nobody listens there: the file is looked at first.
        let url = "rtmp://127.0.0.1:1/live/show".parse().unwrap();
        let job = Job { file: path.clone(), url, tls_ca: None, repeat: false };
        let error = run(job, Arc::new(SystemClock::new()), std::future::pending()).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with(&format!("cannot read {}: ", path.display())), "{error}");
        assert!(error.contains(problem) && error.lines().count() == 1, "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_sentence() {
    // Taken and given back: nobody listens there now.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("rtmp://{address}/live/show").parse().unwrap();
    let job = Job { file: FILE.into(), url, tls_ca: None, repeat: false };
    let error = run(job, Arc::new(SystemClock::new()), std::future::pending()).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with(&format!("cannot connect to {address}: ")), "{error}");
}
