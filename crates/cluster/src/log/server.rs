//! The log service of a node: what other nodes ask of its homes.

mod subscription;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use headwater_media::Clock;
use headwater_router::claim::Yield;
use headwater_router::{FeedItem, Holders, Log, StreamLog};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use self::subscription::Subscription;
use super::convert::{self, Malformed, SentInits, feed_item};
use super::metrics::Metrics;
use super::transport::{self, MESSAGE_BYTES_MAX};
use super::uplink::Uplinks;
use super::wire;
use super::wire::log_service_server::{LogService, LogServiceServer};
use crate::Tls;

/// When the node serves no longer, calls that are being answered have so long.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);
/// Replies that wait for the connection. What is news meanwhile goes together into the next one.
const REPLIES_WAITING: usize = 1;
/// Media in one message: far from the longest message, so that the last item fits in whatever its size.
const MEDIA_BYTES: usize = 4 << 20;
/// The largest piece of media that is sent. Parts that are larger are gaps, pictures are left out.
const ITEM_BYTES_MAX: usize = 11 << 20;

/// What the service works with.
pub struct Deps {
    /// The logs on this node: its homes', and those that it follows.
    pub log: Arc<dyn Log>,
    /// The homes.
    pub holders: Arc<dyn Holders>,
    /// The clock by which parts and samples have their ages.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The service for workers on other nodes, of a node that has homes.
    pub uplinks: Option<Uplinks>,
    /// Certificates; without, connections are plain.
    pub tls: Option<Tls>,
}

/// The log service.
#[derive(Clone)]
pub struct LogServer {
    deps: Arc<Deps>,
    /// The node serves no longer.
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for LogServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogServer").finish_non_exhaustive()
    }
}

impl LogServer {
    /// A service.
    pub fn new(deps: Deps) -> Self {
        Self { deps: Arc::new(deps), stop: watch::Sender::new(false) }
    }

    /// Serves other nodes until `shutdown`; then closes their connections.
    pub async fn run(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let (stop, deps) = (self.stop.clone(), self.deps.clone());
        let stopping = stop.subscribe();
        let service = LogServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut stopped = stop.subscribe();
        let shutdown = async move {
            shutdown.await;
            // Subscriptions never end by themselves.
            stop.send_replace(true);
        };
        let connections = transport::connections(listener);
        let uplinks = deps.uplinks.clone().map(|uplinks| uplinks.until(stopping).service());
        let server = transport::server(deps.tls.as_ref())?.add_service(service).add_optional_service(uplinks);
        let serving = server.serve_with_incoming_shutdown(connections, shutdown);
        let late = async {
            // The sender lives in the service.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            sleep(CLOSE_WITHIN).await;
        };
        tokio::select! {
            served = serving => served?,
            () = late => {}
        }
        info!("log service stopped");
        Ok(())
    }

    async fn find(&self, stream: &str, session: &str) -> Result<Arc<StreamLog>, Status> {
        let stream = convert::stream(stream).map_err(|malformed| self.refuse(&malformed))?;
        let found = if session.is_empty() {
            self.deps.log.find(&stream).await
        } else {
            let session = convert::session_id(session).map_err(|malformed| self.refuse(&malformed))?;
            self.deps.log.find_session(&stream, session).await
        };
        found.ok_or_else(|| Status::not_found(format!("{stream} has no such session here")))
    }

    fn refuse(&self, malformed: &Malformed) -> Status {
        self.deps.metrics.malformed.inc();
        Status::invalid_argument(malformed.to_string())
    }
}

/// Replies of a task, which ends with them.
#[derive(Debug)]
pub struct Replies<T> {
    replies: ReceiverStream<Result<T, Status>>,
    task: JoinHandle<()>,
}

impl<T: Send + 'static> Replies<T> {
    fn of<F: Future<Output = ()> + Send + 'static>(task: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F) -> Self {
        let (sender, receiver) = mpsc::channel(REPLIES_WAITING);
        Self { replies: ReceiverStream::new(receiver), task: tokio::spawn(task(sender)) }
    }
}

impl<T> Stream for Replies<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.replies).poll_next(cx)
    }
}

impl<T> Drop for Replies<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl LogService for LogServer {
    async fn r#yield(&self, request: Request<wire::YieldRequest>) -> Result<Response<wire::YieldReply>, Status> {
        let wire::YieldRequest { stream, epoch, priority } = request.into_inner();
        let refuse = |malformed| self.refuse(&malformed);
        let stream = convert::stream(&stream).map_err(refuse)?;
        let asked = Yield { epoch: convert::epoch(epoch).map_err(refuse)?, priority };
        let reply = self.deps.holders.asked(&stream, asked).await;
        Ok(Response::new(reply.as_ref().into()))
    }

    type FetchStream = Replies<wire::FetchReply>;

    async fn fetch(&self, request: Request<wire::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let wire::FetchRequest { stream, session } = request.into_inner();
        let log = self.find(&stream, &session).await?;
        let deps = self.deps.clone();
        Ok(Response::new(Replies::of(|replies| send_window(deps, log, replies))))
    }

    type SubscribeStream = Replies<wire::SubscribeReply>;

    async fn subscribe(
        &self,
        request: Request<Streaming<wire::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.ok_or_else(|| Status::invalid_argument("no request came"))?;
        let log = self.find(&first.stream, &first.session).await?;
        let mut subscription = Subscription::new(self.deps.clone(), log, self.stop.subscribe());
        subscription.take(first).map_err(|malformed| self.refuse(&malformed))?;
        Ok(Response::new(Replies::of(|replies| subscription.run(requests, replies))))
    }
}

/// Sends what the log has of its window, rendition by rendition.
async fn send_window(deps: Arc<Deps>, log: Arc<StreamLog>, replies: mpsc::Sender<Result<wire::FetchReply, Status>>) {
    let mut inits = SentInits::default();
    let renditions = log.state().borrow().renditions.clone();
    for rendition in renditions.iter().map(|known| &known.name) {
        let Some(mut reader) = log.read_parts(rendition) else { continue };
        let mut more = true;
        while more {
            let (mut parts, mut bytes) = (Vec::new(), 0);
            while bytes < MEDIA_BYTES && more {
                match reader.try_next() {
                    Ok(Some(FeedItem::Part(part))) => {
                        bytes += part.bytes();
                        let item = feed_item(&FeedItem::Part(bounded(part)), deps.clock.now(), &mut inits);
                        if let Some(wire::feed_item::Item::Part(part)) = item.item {
                            parts.push(part);
                        }
                    }
                    Ok(Some(FeedItem::Cut(_) | FeedItem::ClosedBelow(_))) => {}
                    Ok(None) | Err(_) => more = false,
                }
            }
            deps.metrics.sent_bytes.inc_by(bytes as u64);
            let reply = wire::FetchReply { inits: inits.take(), rendition: rendition.to_string(), parts };
            if replies.send(Ok(reply)).await.is_err() {
                return;
            }
        }
    }
}

/// The part, or a gap if no message can hold it.
fn bounded(part: Arc<headwater_media::Part>) -> Arc<headwater_media::Part> {
    if part.bytes() <= ITEM_BYTES_MAX {
        return part;
    }
    let gap =
        headwater_media::Part { payload: headwater_media::PartPayload::Gap, ..headwater_media::Part::clone(&part) };
    Arc::new(gap)
}
