//! RTMP, both ends.

use headwater_media::Instant;
use headwater_rtmp::{ClientConfig, ClientEvent, ClientSession, Event, MediaKind, ServerConfig, ServerSession};

/// The clock stands still.
fn now() -> Instant {
    Instant::from_millis(1000)
}

/// Everything that a server says and does about `pieces`; it accepts what is asked.
fn serve<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>, bool) {
    let mut session = ServerSession::new(now(), ServerConfig::default(), 1);
    let (mut events, mut out, mut broken) = (Vec::new(), Vec::new(), false);
    for piece in pieces {
        broken = broken || session.handle_input(now(), piece).is_err();
        while let Some(event) = session.poll_event() {
            let answer = match &event {
                Event::ConnectRequest(_) => session.accept_connect(now()),
                Event::PublishRequest(request) => session.accept_publish(now(), request.id),
                _ => Ok(()),
            };
            broken = broken || answer.is_err();
            events.push(event);
        }
        while let Some(bytes) = session.poll_transmit() {
            out.extend_from_slice(&bytes);
        }
    }
    session.handle_disconnect();
    events.extend(std::iter::from_fn(|| session.poll_event()));
    (events, out, broken)
}

/// Whether two servers saw the same. Numbers in a connect command may be NaN, which does not equal itself: as text it
/// does.
fn assert_same(one: &[Event], other: &[Event]) {
    if one != other {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
}

/// The first bytes of a connection. How they are cut makes no difference to the answer.
pub(crate) fn handshake(data: &[u8]) {
    let (whole, pieces) = (serve(std::iter::once(data)), serve(data.chunks(1000)));
    let answer = 1 + 2 * 1536;
    assert_eq!(whole.1.get(..answer), pieces.1.get(..answer));
    if !whole.2 {
        assert!(!pieces.2);
        assert_same(&whole.0, &pieces.0);
    }
}

/// What comes behind the handshake, cut into pieces of as many bytes as the first byte says.
pub(crate) fn server(data: &[u8]) {
    let Some((&size, data)) = data.split_first() else { return };
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    let hello = &hello[..];
    // What is sent does depend on the cut: acknowledgements come when something was read.
    let (whole, _, broken) = serve([hello, data].into_iter());
    let pieces = serve(std::iter::once(hello).chain(data.chunks(usize::from(size).max(1))));
    // An error takes with it what waited for an answer of the application, so there the cut does make a difference.
    if !broken {
        assert!(!pieces.2);
        assert_same(&pieces.0, &whole);
    }
}

/// What a server answers to our publisher, which sends something when it may.
pub(crate) fn client(data: &[u8]) {
    let url = "rtmp://localhost/live/show".parse().expect("a URL");
    let mut session = ClientSession::new(now(), ClientConfig::new(&url, "fuzz"), 1);
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    if session.handle_input(now(), &hello).is_err() || session.handle_input(now(), data).is_err() {
        return;
    }
    while let Some(event) = session.poll_event() {
        if event == ClientEvent::Accepted {
            let _ = session.send(MediaKind::Video, 0, data);
        }
    }
    while session.poll_transmit().is_some() {}
    session.unpublish();
}
