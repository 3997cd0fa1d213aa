//! One RTMP connection: the loop around the protocol's state machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use headwater_media::{Instant, StreamName};
use headwater_router::PublisherInfo;
use headwater_rtmp::{CodecUse, Event, Extensions, Offers, PublishRequest, ServerConfig, ServerSession, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::info;

use crate::access::{AccessSettings, Credentials};
use crate::allowance::Allowance;
use crate::homes::{Ending, PublishError};
use crate::publisher::{Publisher, Trouble};
use crate::webhook::{Refused, Told, Wish};
use crate::{Deps, Ingest, Settings, Stage};

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 64 << 10;
/// Bytes given to the protocol at once. A byte can be a message, so what comes of them is many times as much, and is
/// taken away before the next.
const INPUT_BYTES: usize = 4 << 10;
/// A peer that does not take our few replies for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A publisher's connection.
pub(crate) struct Connection {
    address: SocketAddr,
    ingest: Arc<Ingest>,
    deps: Deps,
    stage: watch::Receiver<Stage>,
    session: ServerSession,
    publisher: Option<Publisher>,
    /// Of the publisher that was accepted.
    allowance: Option<Allowance>,
    /// How far the service is, as far as the publisher was told.
    told: Stage,
}

/// What ended a wait.
enum Woken {
    Bytes(usize),
    Time,
    Lost(Trouble),
    Stage(Stage),
}

/// The loop goes on, or the connection is to be closed.
enum Next {
    GoOn,
    Close,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr, ingest: Arc<Ingest>, stage: watch::Receiver<Stage>) -> Self {
        let deps = ingest.deps.clone();
        let now = deps.clock.now();
        let config = ServerConfig { offers: OFFERS, ..ingest.settings().rtmp };
        let session = ServerSession::new(now, config, now.as_nanos());
        Self { address, ingest, deps, stage, session, publisher: None, allowance: None, told: Stage::Serving }
    }

    pub(crate) async fn run(mut self, mut socket: impl AsyncRead + AsyncWrite + Unpin) {
        let ending = self.drive(&mut socket).await;
        self.session.handle_disconnect();
        let _ = self.drain_events().await;
        self.deps.metrics.add(&self.session.statistics());
        if let Some(publisher) = self.publisher.take() {
            let reason = ending.unwrap_or_else(|reason| reason);
            self.leave(publisher, Ending::Lost, &reason);
        }
        // TLS ends with a word of its own; without it the peer could not tell an end from an attack.
        let _ = timeout(WRITE_TIMEOUT, socket.shutdown()).await;
    }

    /// Runs until the connection is over. The text says why.
    async fn drive(&mut self, socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<String, String> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            let next = self.drain_events().await;
            self.transmit(socket).await?;
            if let Next::Close = next {
                return Ok("closed by the server".into());
            }
            buffer.clear();
            let woken = self.wait(socket, &mut buffer).await.map_err(|error| error.to_string())?;
            let now = self.deps.clock.now();
            match woken {
                Woken::Bytes(0) => return Ok("closed by the publisher".into()),
                Woken::Bytes(length) => {
                    self.deps.metrics.received_bytes.inc_by(length as u64);
                    if let Some(allowance) = &mut self.allowance
                        && let Err(kbps_max) = allowance.take(now, length)
                    {
                        self.allowance = None;
                        self.deps.metrics.over_limit("publisher_kbps");
                        self.refuse_media(&Trouble::TooMuch { kbps_max });
                    }
                    for piece in buffer.chunks(INPUT_BYTES) {
                        let now = self.deps.clock.now();
                        self.session.handle_input(now, piece).map_err(|error| self.broken(&error))?;
                        let next = self.drain_events().await;
                        self.transmit(socket).await?;
                        if let Next::Close = next {
                            return Ok("closed by the server".into());
                        }
                    }
                }
                Woken::Time => {
                    self.session.handle_timeout(now).map_err(|error| self.broken(&error))?;
                    if let Some(publisher) = &mut self.publisher
                        && let Err(trouble) = publisher.timeout(now)
                    {
                        self.refuse_media(&trouble);
                    }
                }
                Woken::Lost(trouble) => self.refuse_media(&trouble),
                Woken::Stage(Stage::Stopping) => {
                    // The loop goes on until the session says close: bytes left unread would turn the close into a
                    // reset, and the publisher would never see why.
                    self.told = Stage::Stopping;
                    self.session.close_with_status(now, StatusCode::AppShutdown, "The server is stopping.");
                    if let Some(publisher) = self.publisher.take() {
                        self.leave(publisher, Ending::Clean, "the server stops");
                    }
                }
                Woken::Stage(stage) => {
                    self.told = stage;
                    let asked = self.session.request_reconnect(None, "The server is about to stop.");
                    info!(address = %self.address, asked, "waiting for the publisher to leave");
                }
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, socket: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> std::io::Result<Woken> {
        let now = self.deps.clock.now();
        let pause = self.deadline().map_or(FOREVER, |at| at.saturating_since(now));
        tokio::select! {
            read = socket.read_buf(buffer) => read.map(Woken::Bytes),
            () = sleep(pause) => Ok(Woken::Time),
            trouble = lost(&mut self.publisher) => Ok(Woken::Lost(trouble)),
            stage = changed(&mut self.stage, self.told) => Ok(Woken::Stage(stage)),
        }
    }

    /// The peer broke the protocol, or kept us waiting: one line, unless a publisher's leaving will say it.
    fn broken(&self, error: &headwater_rtmp::Error) -> String {
        self.deps.metrics.refuse("protocol");
        if let Some(limit) = error.limit() {
            self.deps.metrics.over_limit(limit);
        }
        if self.publisher.is_none() {
            info!(address = %self.address, %error, "connection closed");
        }
        error.to_string()
    }

    fn deadline(&self) -> Option<Instant> {
        let publisher = self.publisher.as_ref().and_then(Publisher::poll_timeout);
        self.session.poll_timeout().into_iter().chain(publisher).min()
    }

    async fn transmit(&mut self, socket: &mut (impl AsyncWrite + Unpin)) -> Result<(), String> {
        let write = async {
            let mut any = false;
            while let Some(bytes) = self.session.poll_transmit() {
                any = true;
                socket.write_all(&bytes).await?;
            }
            // TLS keeps what it could not write at once.
            if any { socket.flush().await } else { Ok(()) }
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => {
                self.deps.metrics.over_limit("replies");
                Err(format!("took no reply for {} s", WRITE_TIMEOUT.as_secs()))
            }
        }
    }

    async fn drain_events(&mut self) -> Next {
        while let Some(event) = self.session.poll_event() {
            let now = self.deps.clock.now();
            match event {
                Event::ConnectRequest(_) => {
                    if self.session.accept_connect(now).is_err() {
                        return Next::Close;
                    }
                }
                Event::PublishRequest(request) => self.publish(request).await,
                Event::PublishEnded { clean } => {
                    if let Some(publisher) = self.publisher.take() {
                        let (ending, reason) =
                            if clean { (Ending::Clean, "unpublished") } else { (Ending::Lost, "connection lost") };
                        self.leave(publisher, ending, reason);
                    }
                }
                Event::Close => return Next::Close,
                media => {
                    if let Some(publisher) = &mut self.publisher
                        && let Err(trouble) = publisher.handle(now, media)
                    {
                        self.refuse_media(&trouble);
                    }
                }
            }
        }
        Next::GoOn
    }

    /// Decides a publish request: who it is for, whether it may, whether the stream is free.
    async fn publish(&mut self, request: PublishRequest) {
        let (code, reason, text) = match self.claim(&request).await {
            Ok((publisher, kbps_max)) => {
                let now = self.deps.clock.now();
                if self.session.accept_publish(now, request.id).is_ok() {
                    self.deps.metrics.accepted.inc();
                    self.deps.metrics.publishers.inc();
                    info!(
                        stream = %publisher.stream(),
                        session = %publisher.session(),
                        address = %self.address,
                        encoder = request.connect.flash_version().unwrap_or("unknown"),
                        "publisher accepted"
                    );
                    self.publisher = Some(publisher);
                    self.allowance = Some(Allowance::new(kbps_max, now));
                } else {
                    self.ingest.homes.release(publisher.hold(), Ending::Lost);
                }
                return;
            }
            Err(refused) => refused,
        };
        self.deps.metrics.refuse(reason);
        info!(address = %self.address, app = %request.app, key = ?request.name, reason = %text, "publisher refused");
        let now = self.deps.clock.now();
        let _ = self.session.reject_publish(now, request.id, code, &text);
    }

    /// The publisher, and what it may send in kbit/s; or what it is told and the label of the metric.
    async fn claim(&self, request: &PublishRequest) -> Result<(Publisher, u32), (StatusCode, &'static str, String)> {
        let settings = self.ingest.settings();
        let given = Credentials::from(request);
        let stream = self
            .ingest
            .access
            .stream_for(&settings.access, given, self.address.ip(), &*self.deps.clock)
            .await
            .map_err(|denied| (StatusCode::PublishDenied, denied.label(), denied.to_string()))?;
        let priority = priority(request).map_err(|text| (StatusCode::PublishDenied, "priority", text))?;
        let mut info = PublisherInfo {
            address: self.address.to_string(),
            encoder: request.connect.flash_version().map(|text| text.chars().take(128).collect()),
            since: self.deps.clock.wall(),
            priority,
        };
        let wish = self.ask_webhook(&settings, &stream, &info, request).await?;
        info.priority = wish.priority.unwrap_or(priority);
        let stream = wish.stream.unwrap_or(stream);
        let settings = wish.settings.unwrap_or(settings);
        let kbps_max = settings.kbps_max;
        match self.ingest.homes.publish(&stream, info, settings).await {
            Ok(hold) => Ok((Publisher::new(hold), kbps_max)),
            Err(error @ PublishError::Taken { .. }) => Err((StatusCode::PublishBadName, "taken", error.to_string())),
            Err(error @ PublishError::Damped { .. }) => Err((StatusCode::PublishBadName, "damped", error.to_string())),
            // OBS gives up for good on StreamFailed; this will pass.
            Err(error) => Err((StatusCode::AppShutdown, "registry", error.to_string())),
        }
    }

    async fn ask_webhook(
        &self,
        settings: &Arc<Settings>,
        stream: &StreamName,
        info: &PublisherInfo,
        request: &PublishRequest,
    ) -> Result<Wish, (StatusCode, &'static str, String)> {
        let Some(hook) = &settings.access.webhook else { return Ok(Wish::default()) };
        let told = Told {
            event: "on_publish",
            stream: stream.to_string(),
            address: info.address.clone(),
            encoder: info.encoder.clone(),
            parameters: parameters(&settings.access, request),
            session: None,
            reason: None,
        };
        let mut stage = self.stage.clone();
        let answer = tokio::select! {
            answer = self.ingest.webhook.ask(hook, settings, &told) => answer,
            _ = stage.wait_for(|stage| *stage == Stage::Stopping) => Err(Refused::Down),
        };
        answer.map_err(|refused| {
            let text = refused.to_string();
            match refused {
                Refused::ByWebhook(_) => {
                    self.ingest.access.failed(&settings.access, self.address.ip(), self.deps.clock.now());
                    (StatusCode::PublishDenied, "webhook", text)
                }
                Refused::Nonsense => (StatusCode::PublishDenied, "webhook_nonsense", text),
                // This will pass.
                Refused::Down => (StatusCode::AppShutdown, "webhook_down", text),
            }
        })
    }

    /// The publisher sends what cannot be served, or lost its stream: it is told, then closed.
    fn refuse_media(&mut self, trouble: &Trouble) {
        let Some(publisher) = self.publisher.take() else { return };
        let code = match trouble {
            Trouble::Lost => StatusCode::PublishBadName,
            // OBS does not come back after this.
            Trouble::Kicked => StatusCode::PublishDenied,
            Trouble::Media(_) | Trouble::TooMuch { .. } => StatusCode::PublishRejected,
            // This will pass.
            Trouble::Unrecorded => StatusCode::AppShutdown,
        };
        self.deps.metrics.refuse(trouble.label());
        let now = self.deps.clock.now();
        self.session.close_with_status(now, code, &trouble.to_string());
        self.leave(publisher, Ending::Clean, &trouble.to_string());
    }

    fn leave(&self, publisher: Publisher, ending: Ending, reason: &str) {
        self.deps.metrics.publishers.dec();
        for (what, count) in publisher.oddities() {
            self.deps.metrics.odd(what, count);
        }
        if let Some(hook) = &self.ingest.settings().access.webhook {
            let told = Told {
                event: "on_unpublish",
                stream: publisher.stream().to_string(),
                address: self.address.to_string(),
                encoder: None,
                parameters: serde_json::Map::new(),
                session: Some(publisher.session().to_string()),
                reason: Some(reason.to_owned()),
            };
            self.ingest.webhook.tell(hook, told);
        }
        self.ingest.homes.release(publisher.hold(), ending);
        info!(
            stream = %publisher.stream(),
            session = %publisher.session(),
            address = %self.address,
            reason,
            clean = (ending == Ending::Clean),
            "publisher left"
        );
    }
}

/// What the webhook may know of the URL: keys and tokens that we check are not its affair.
fn parameters(access: &AccessSettings, request: &PublishRequest) -> serde_json::Map<String, serde_json::Value> {
    let ours = |name: &str| access.has_secrets() && matches!(name, "key" | "token");
    let theirs = request.parameters.iter().filter(|(name, _)| !ours(name));
    theirs.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// What the URL says with `?priority=N`; 0 when it says nothing. Or what the publisher is told.
fn priority(request: &PublishRequest) -> Result<i32, String> {
    let given = request.parameters.iter().find(|(name, _)| *name == "priority");
    given.map_or(Ok(0), |(_, value)| {
        let known = value.parse().ok().filter(|priority| (-PRIORITY_MAX..=PRIORITY_MAX).contains(priority));
        known.ok_or_else(|| format!("priority is a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}"))
    })
}

/// Of a publisher, either way.
pub(crate) const PRIORITY_MAX: i32 = 1000;

/// What publishers are told that we take.
const OFFERS: Offers = Offers {
    video: &[
        ("avc1", CodecUse::DECODE_AND_FORWARD),
        ("hvc1", CodecUse::DECODE_AND_FORWARD),
        ("av01", CodecUse::DECODE_AND_FORWARD),
        ("vp09", CodecUse::DECODE_AND_FORWARD),
    ],
    audio: &[
        ("mp4a", CodecUse::DECODE_AND_FORWARD),
        (".mp3", CodecUse::DECODE),
        ("Opus", CodecUse::DECODE_AND_FORWARD),
        ("fLaC", CodecUse::DECODE_AND_FORWARD),
        ("ac-3", CodecUse::DECODE_AND_FORWARD),
        ("ec-3", CodecUse::DECODE_AND_FORWARD),
    ],
    extensions: Extensions::RECONNECT
        .with(Extensions::MULTITRACK)
        .with(Extensions::MOD_EX)
        .with(Extensions::NANOSECONDS),
};

/// Waits until the service is further than was `told`.
async fn changed(stage: &mut watch::Receiver<Stage>, told: Stage) -> Stage {
    let further = stage.wait_for(|stage| *stage > told).await.map(|stage| *stage);
    match further {
        Ok(stage) => stage,
        // The service is gone, as in no program of ours.
        Err(_) => std::future::pending().await,
    }
}

/// With nothing to wait for, a day is as good as for ever.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Waits until the publisher may not go on.
async fn lost(publisher: &mut Option<Publisher>) -> Trouble {
    match publisher {
        Some(publisher) => publisher.lost().await,
        None => std::future::pending().await,
    }
}
