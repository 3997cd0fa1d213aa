//! One RTMP connection: the loop around the protocol's state machine.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use headwater_media::{Instant, SessionId, StreamName};
use headwater_router::PublisherInfo;
use headwater_rtmp::{CodecUse, Event, Extensions, Offers, PublishRequest, ServerConfig, ServerSession, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep, timeout};
use tracing::info;

use crate::access::{AccessSettings, Credentials};
use crate::addresses::Guest;
use crate::allowance::Allowance;
use crate::homes::{Ending, PublishError};
use crate::limits::PublishLimits;
use crate::listen::Unwelcome;
use crate::publisher::{Publisher, Trouble};
use crate::webhook::{Refused, Told, Wish};
use crate::{Deps, Ingest, Settings, Stage};

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 64 << 10;
/// A peer that does not take our few replies for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

thread_local! {
    /// What was just read. One for each thread of the runtime and not for each connection: nothing stays in it.
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A publisher's connection.
pub(crate) struct Connection {
    address: SocketAddr,
    guest: Guest,
    welcome: Result<(), Unwelcome>,
    ingest: Arc<Ingest>,
    deps: Deps,
    stage: watch::Receiver<Stage>,
    session: ServerSession,
    /// Waits for its answer, which is more than one call.
    request: Option<PublishRequest>,
    publisher: Option<Publisher>,
    /// Of the publisher that was accepted.
    allowance: Allowance,
    limits: Limits,
    /// How far the service is, as far as the publisher was told.
    told: Stage,
    /// Nothing more is to be said or heard.
    over: bool,
    /// Why it ended, once it has.
    lost: String,
    /// There was nothing to do when it last looked.
    slept: bool,
}

/// What an accepted publisher may send, in kbit/s; 0: any amount.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    kbps: u32,
    address_kbps: u32,
}

/// What ended a wait.
enum Woken {
    /// Bytes came and have been dealt with.
    Input {
        /// As many as were asked for.
        full: bool,
    },
    Time,
    Lost(Trouble),
    Stage(Stage),
}

/// What is waited for beside bytes and the publisher's end. It is kept from wait to wait, because beginning to wait
/// costs more than going on.
struct Waiting {
    timer: Pin<Box<Sleep>>,
    /// When the timer fires: never later than the deadline, often earlier, since that moves on with each message.
    at: Instant,
    /// Ends when the service is further than the publisher was told.
    stage: Pin<Box<dyn Future<Output = Stage> + Send>>,
}

impl Connection {
    /// For the handshake there is what PROXY header and TLS have left of its time since `accepted`.
    pub(crate) fn new(
        accepted: Instant,
        address: SocketAddr,
        guest: Guest,
        welcome: Result<(), Unwelcome>,
        ingest: Arc<Ingest>,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        let deps = ingest.deps.clone();
        let config = ServerConfig { offers: OFFERS, ..ingest.settings().rtmp };
        let session = ServerSession::new(accepted, config, accepted.as_nanos());
        Self {
            address,
            guest,
            welcome,
            ingest,
            deps,
            stage,
            session,
            request: None,
            publisher: None,
            allowance: Allowance::default(),
            limits: Limits::default(),
            told: Stage::Serving,
            over: false,
            lost: String::new(),
            slept: false,
        }
    }

    pub(crate) async fn run(mut self, mut socket: impl AsyncRead + AsyncWrite + Unpin) {
        self.lost = self.drive(&mut socket).await.unwrap_or_else(|why| why);
        self.session.handle_disconnect();
        self.drain_events(self.deps.clock.now());
        self.deps.metrics.add(&self.session.statistics());
        if let Some(publisher) = self.publisher.take() {
            self.leave(publisher, Ending::Lost, &self.lost);
        }
        // TLS ends with a word of its own; without it the peer could not tell an end from an attack.
        let _ = timeout(WRITE_TIMEOUT, socket.shutdown()).await;
    }

    /// Runs until the connection is over. The text says why.
    async fn drive(&mut self, socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<String, String> {
        let mut waiting = Waiting::new(self.deps.clock.now(), self.stage.clone());
        loop {
            if let Some(request) = self.request.take() {
                self.publish(request).await;
                self.drain_events(self.deps.clock.now());
            }
            self.transmit(socket).await?;
            if self.over {
                return Ok("closed by the server".into());
            }
            let woken = poll_fn(|context| self.poll_woken(context, &mut *socket, &mut waiting)).await;
            let now = self.deps.clock.now();
            match woken? {
                // There may be more of it at once, for as long as the peer likes: a byte can be a message.
                Woken::Input { full: true } => yield_now().await,
                Woken::Input { full: false } => {}
                Woken::Time => {
                    self.session.handle_timeout(now).map_err(|error| self.broken(&error))?;
                    if let Some(publisher) = &mut self.publisher
                        && let Err(trouble) = publisher.timeout(now)
                    {
                        self.refuse_media(&trouble);
                    }
                    self.drain_events(now);
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

    /// Whatever comes first. A flood of bytes does not hide the rest.
    fn poll_woken(
        &mut self,
        context: &mut Context<'_>,
        socket: &mut (impl AsyncRead + Unpin),
        waiting: &mut Waiting,
    ) -> Poll<Result<Woken, String>> {
        // The first look is for bytes alone: they are what woke us nearly always, and then there is a second look.
        let bytes_first = std::mem::take(&mut self.slept);
        if bytes_first && let Poll::Ready(done) = self.poll_input(context, socket) {
            return Poll::Ready(done);
        }
        if let Some(publisher) = &mut self.publisher
            && let Poll::Ready(trouble) = publisher.poll_lost(context)
        {
            return Poll::Ready(Ok(Woken::Lost(trouble)));
        }
        if self.told < Stage::Stopping
            && let Poll::Ready(stage) = waiting.stage.as_mut().poll(context)
        {
            waiting.stage = Box::pin(further(self.stage.clone(), stage));
            return Poll::Ready(Ok(Woken::Stage(stage)));
        }
        let now = self.deps.clock.now();
        if waiting.poll_deadline(context, now, self.deadline()).is_ready() {
            return Poll::Ready(Ok(Woken::Time));
        }
        if !bytes_first && let Poll::Ready(done) = self.poll_input(context, socket) {
            return Poll::Ready(done);
        }
        self.slept = true;
        Poll::Pending
    }

    /// Takes what has come and deals with it. The error says why the connection is over.
    fn poll_input(
        &mut self,
        context: &mut Context<'_>,
        socket: &mut (impl AsyncRead + Unpin),
    ) -> Poll<Result<Woken, String>> {
        INPUT.with_borrow_mut(|buffer| {
            let mut input = ReadBuf::new(buffer);
            match ready!(Pin::new(socket).poll_read(context, &mut input)) {
                Ok(()) => {}
                // Most end TLS without a word.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                Err(error) => return Poll::Ready(Err(error.to_string())),
            }
            Poll::Ready(match input.filled() {
                [] => Err("closed by the publisher".into()),
                input => self.take(input).map(|()| Woken::Input { full: input.len() == READ_BYTES }),
            })
        })
    }

    fn take(&mut self, mut input: &[u8]) -> Result<(), String> {
        let now = self.deps.clock.now();
        self.deps.metrics.received_bytes.inc_by(input.len() as u64);
        if self.publisher.is_some()
            && let Err(trouble) = self.count(now, input.len())
        {
            self.refuse_media(&trouble);
        }
        loop {
            let is_all = self.session.handle_some_input(now, &mut input).map_err(|error| self.broken(&error))?;
            self.drain_events(now);
            if is_all {
                return Ok(());
            }
        }
    }

    /// The publisher sent more.
    fn count(&mut self, now: Instant, bytes: usize) -> Result<(), Trouble> {
        let Limits { kbps, address_kbps } = self.limits;
        if self.allowance.take(now, bytes, kbps) {
            return Err(Trouble::TooMuch { kbps_max: kbps });
        }
        if self.guest.sends_too_much(now, bytes, address_kbps) {
            return Err(Trouble::AddressSendsTooMuch { address: self.address.ip(), kbps_max: address_kbps });
        }
        Ok(())
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

    /// The session has answered a request, and dealt with what the peer sent meanwhile: that may have been no good.
    fn go_on(&mut self, answered: Result<(), headwater_rtmp::Error>) {
        if let Err(error) = answered {
            self.broken(&error);
            self.over = true;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let publisher = self.publisher.as_ref().and_then(Publisher::poll_timeout);
        self.session.poll_timeout().into_iter().chain(publisher).min()
    }

    async fn transmit(&mut self, socket: &mut (impl AsyncWrite + Unpin)) -> Result<(), String> {
        let Some(first) = self.session.poll_transmit() else { return Ok(()) };
        let write = async {
            let mut next = Some(first);
            while let Some(bytes) = next {
                socket.write_all(&bytes).await?;
                next = self.session.poll_transmit();
            }
            // TLS keeps what it could not write at once.
            socket.flush().await
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => {
                self.deps.metrics.over_limit("replies");
                Err(format!("took no reply for {} s", WRITE_TIMEOUT.as_secs()))
            }
        }
    }

    fn drain_events(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::ConnectRequest(_) => {
                    let answered = match &self.welcome {
                        Ok(()) => self.session.accept_connect(now),
                        Err(why) => self.session.reject_connect(now, StatusCode::ConnectRejected, &why.to_string()),
                    };
                    self.go_on(answered);
                }
                Event::PublishRequest(request) => self.request = Some(request),
                Event::PublishEnded { clean } => {
                    if let Some(publisher) = self.publisher.take() {
                        let (ending, reason) =
                            if clean { (Ending::Clean, "unpublished") } else { (Ending::Lost, &*self.lost) };
                        self.leave(publisher, ending, reason);
                    }
                }
                Event::Close => self.over = true,
                media => {
                    if let Some(publisher) = &mut self.publisher
                        && let Err(trouble) = publisher.handle(now, media)
                    {
                        self.refuse_media(&trouble);
                    }
                }
            }
        }
    }

    /// Decides a publish request: who it is for, whether it may, whether the stream is free.
    async fn publish(&mut self, request: PublishRequest) {
        let (code, reason, text) = match self.claim(&request).await {
            Ok((publisher, limits)) => {
                let now = self.deps.clock.now();
                let accepted = self.session.accept_publish(now, request.id);
                if accepted.is_ok() {
                    self.deps.metrics.accepted.inc();
                    self.deps.metrics.publishers.inc();
                    info!(
                        stream = %publisher.stream(),
                        session = %publisher.session(),
                        address = %self.address,
                        encoder = encoder(&request).as_deref().unwrap_or("unknown"),
                        "publisher accepted"
                    );
                    self.publisher = Some(publisher);
                    self.allowance = Allowance::default();
                    self.limits = limits;
                } else {
                    self.ingest.homes.release(publisher.hold(), Ending::Lost);
                    self.tell_unpublished(publisher.stream(), Some(publisher.session()), "never began");
                }
                self.go_on(accepted);
                return;
            }
            Err(refused) => refused,
        };
        self.deps.metrics.refuse(reason);
        let app = self.ingest.settings().access.app_in_log(&request.app);
        info!(address = %self.address, %app, key = ?request.name, reason = %text, "publisher refused");
        let now = self.deps.clock.now();
        let _ = self.session.reject_publish(now, request.id, code, &text);
    }

    /// The publisher, and what it may send; or what it is told and the label of the metric.
    async fn claim(
        &mut self,
        request: &PublishRequest,
    ) -> Result<(Publisher, Limits), (StatusCode, &'static str, String)> {
        if *self.stage.borrow() > Stage::Serving {
            return Err((StatusCode::AppShutdown, "stopping", "The server is about to stop.".to_owned()));
        }
        let settings = self.ingest.settings();
        let given = Credentials::from(request);
        let stream = self
            .ingest
            .access
            .stream_for(&settings.access, given, self.address.ip(), &*self.deps.clock)
            .await
            .map_err(|denied| (denied.code(), denied.label(), denied.to_string()))?;
        let priority = priority(request).map_err(|text| (StatusCode::PublishDenied, "priority", text))?;
        let mut info = PublisherInfo {
            address: self.address.to_string(),
            encoder: encoder(request),
            since: self.deps.clock.wall(),
            priority,
        };
        let wish = self.ask_webhook(&settings, &stream, &info, request).await?;
        info.priority = wish.priority.unwrap_or(priority);
        let stream = wish.stream.unwrap_or(stream);
        let settings = wish.settings.unwrap_or(settings);
        let PublishLimits { address_kbps, gop, picture_pixels, .. } = settings.limits;
        let limits = Limits { kbps: settings.kbps_max, address_kbps };
        let error = match self.ingest.homes.publish(&stream, info, settings).await {
            Ok(hold) => return Ok((Publisher::new(hold, gop, picture_pixels), limits)),
            Err(error) => error,
        };
        self.tell_unpublished(&stream, None, &error.to_string());
        let (code, label) = match error {
            PublishError::Taken { .. } => (StatusCode::PublishBadName, "taken"),
            PublishError::Damped { .. } => (StatusCode::PublishBadName, "damped"),
            // OBS gives up for good on StreamFailed; this will pass.
            PublishError::Unavailable { .. } => (StatusCode::AppShutdown, "registry"),
        };
        Err((code, label, error.to_string()))
    }

    async fn ask_webhook(
        &mut self,
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
            Trouble::Media(_) | Trouble::TooMuch { .. } | Trouble::AddressSendsTooMuch { .. } => {
                StatusCode::PublishRejected
            }
            // This will pass.
            Trouble::Unrecorded | Trouble::Unconfirmed => StatusCode::AppShutdown,
        };
        self.deps.metrics.refuse(trouble.label());
        if let Some(limit) = trouble.limit() {
            self.deps.metrics.over_limit(limit);
        }
        let now = self.deps.clock.now();
        self.session.close_with_status(now, code, &trouble.to_string());
        self.leave(publisher, Ending::Clean, &trouble.to_string());
    }

    /// The webhook hears of the end of everything that it allowed.
    fn tell_unpublished(&self, stream: &StreamName, session: Option<SessionId>, reason: &str) {
        if let Some(hook) = &self.ingest.settings().access.webhook {
            let told = Told {
                event: "on_unpublish",
                stream: stream.to_string(),
                address: self.address.to_string(),
                encoder: None,
                parameters: serde_json::Map::new(),
                session: session.map(|session| session.to_string()),
                reason: Some(reason.to_owned()),
            };
            self.ingest.webhook.tell(hook, told);
        }
    }

    fn leave(&self, publisher: Publisher, ending: Ending, reason: &str) {
        self.deps.metrics.publishers.dec();
        for (what, count) in publisher.oddities() {
            self.deps.metrics.odd(what, count);
        }
        self.tell_unpublished(publisher.stream(), Some(publisher.session()), reason);
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

/// What the publisher says that it is.
fn encoder(request: &PublishRequest) -> Option<String> {
    request.connect.flash_version().map(|text| text.chars().take(ENCODER_CHARS_MAX).collect())
}

const ENCODER_CHARS_MAX: usize = 128;

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
async fn further(mut stage: watch::Receiver<Stage>, told: Stage) -> Stage {
    let further = stage.wait_for(|stage| *stage > told).await.map(|stage| *stage);
    match further {
        Ok(stage) => stage,
        // The service is gone, as in no program of ours.
        Err(_) => std::future::pending().await,
    }
}

impl Waiting {
    fn new(now: Instant, stage: watch::Receiver<Stage>) -> Self {
        let stage = Box::pin(further(stage, Stage::Serving));
        Self { timer: Box::pin(sleep(FOREVER)), at: now + FOREVER, stage }
    }

    /// Ready when `deadline` has passed.
    fn poll_deadline(&mut self, context: &mut Context<'_>, now: Instant, deadline: Option<Instant>) -> Poll<()> {
        let deadline = deadline.unwrap_or(now + FOREVER);
        if deadline <= now {
            return Poll::Ready(());
        }
        if deadline < self.at {
            self.set(now, deadline);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            self.set(now, deadline);
        }
        Poll::Pending
    }

    fn set(&mut self, now: Instant, at: Instant) {
        self.timer.as_mut().reset(tokio::time::Instant::now() + at.saturating_since(now));
        self.at = at;
    }
}

/// With nothing to wait for, a day is as good as for ever.
const FOREVER: Duration = Duration::from_secs(86_400);
