//! The board of jobs in etcd (architecture 6).
//!
//! A job is the key `PREFIX/jobs/{id}` under the lease of the node whose home posted it: when that node is gone, so are its
//! jobs, and the next home posts its own. Who takes it puts `PREFIX/taken/{id}` under its own lease, by compare-and-set: when
//! that node is gone, the job waits again. Each node follows both and asks etcd only for what it wants to take.

mod attempt;
mod board;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnResponse};
use headwater_router::{BoxFuture, Job, JobId, NodeId, Queue, written};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

use attempt::Attempt;
use board::{Board, follow};

use super::connection::Connection;
use super::failure::Failure;
use super::{EtcdRegistry, WRITE};

/// Pause before what etcd did not take is tried again; doubled up to the longest.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// What a job's taker waits for: the first try. The others are made while it goes on.
const FIRST_TRY: Duration = Duration::from_secs(1);
/// For each job that a node has it lets others go first for so long...
const COURTESY: Duration = Duration::from_millis(10);
/// ...but not for longer than this. A node that gave a job back waits for as long before it takes it again.
const COURTESY_MAX: Duration = Duration::from_millis(100);

/// A node's side of the board in etcd.
#[derive(Debug)]
pub struct EtcdQueue {
    shared: Arc<Shared>,
    following: AbortHandle,
}

struct Shared {
    connection: Arc<Connection>,
    jobs: String,
    taken: String,
    node: NodeId,
    lease: watch::Receiver<Option<i64>>,
    board: Mutex<Board>,
    changed: watch::Sender<()>,
    /// What this node has taken, with the value of the key that says so.
    held: Mutex<HashMap<JobId, String>>,
    /// Counts attempts to take something: no two of this process look alike.
    attempts: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("jobs", &self.jobs).field("node", &self.node).finish_non_exhaustive()
    }
}

/// A job that was just taken. One that nobody waits for any more goes back.
struct Grip {
    shared: Arc<Shared>,
    taken: Option<(JobId, Job)>,
}

impl EtcdQueue {
    /// The board beside `registry`, whose keys live as long as its node. In a runtime: a task of it follows the board until
    /// this is dropped.
    pub fn new(registry: &EtcdRegistry) -> Self {
        let shared = Arc::new(Shared {
            connection: registry.connection.clone(),
            jobs: registry.keys.jobs(),
            taken: registry.keys.taken(),
            node: registry.node.clone(),
            lease: registry.lease_id.clone(),
            board: Mutex::default(),
            changed: watch::Sender::new(()),
            held: Mutex::default(),
            attempts: AtomicU64::new(0),
        });
        let following = tokio::spawn(follow(shared.clone())).abort_handle();
        Self { shared, following }
    }

    /// Does what must not be left half done in a task of its own, and waits for it for a moment: nobody who takes a job off
    /// the board stands still because etcd does.
    async fn see_to(&self, id: JobId, what: What) {
        let shared = self.shared.clone();
        let task = tokio::spawn(async move { shared.insist(id, what).await });
        let _ = timeout(FIRST_TRY, task).await;
    }
}

impl Drop for EtcdQueue {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// What becomes of a job.
#[derive(Clone, Debug)]
enum What {
    /// Whoever has it under this value gives it back; without a value, whoever has it loses it.
    Release(Option<String>),
    Complete,
    Withdraw,
}

impl Queue for EtcdQueue {
    fn post(&self, job: Job) -> BoxFuture<'_, JobId> {
        Box::pin(async move {
            let shared = &self.shared;
            let mut bytes = [0; 8];
            let mut id = JobId(0);
            // Whether a post under this number has an unknown outcome.
            let mut is_perhaps_there = false;
            let mut pause = RETRY_PAUSE;
            loop {
                // A number that is taken, or the same one twice without a source of random numbers, is tried again.
                if !is_perhaps_there && getrandom::fill(&mut bytes).is_ok() {
                    id = JobId(u64::from_le_bytes(bytes));
                }
                let lease = shared.lease().await;
                let key = shared.job_key(id);
                let put =
                    TxnOp::put(key.clone(), written::job_to_json(&job), Some(PutOptions::new().with_lease(lease)));
                match shared.ask(Txn::new().when([absent(key)]).and_then([put])).await {
                    Ok(reply) if reply.succeeded() || is_perhaps_there => return id,
                    Ok(_) => {}
                    // Under another number there could be two of it, and both would be done.
                    Err(failure) => {
                        is_perhaps_there = true;
                        shared.complain("a job was not posted", &failure);
                    }
                }
                sleep(pause).await;
                pause = (2 * pause).min(RETRY_PAUSE_MAX);
            }
        })
    }

    fn take(&self) -> BoxFuture<'_, (JobId, Job)> {
        Box::pin(async move {
            let shared = &self.shared;
            let mut changed = shared.changed.subscribe();
            loop {
                changed.borrow_and_update();
                let Some(id) = shared.board().oldest() else {
                    // The sender lives as long as this queue.
                    let _ = changed.changed().await;
                    continue;
                };
                let courtesy = shared.courtesy(id);
                if !courtesy.is_zero() {
                    sleep(courtesy).await;
                    if !shared.board().waits(id) {
                        continue;
                    }
                }
                // A taker may go away at any moment; a request to etcd does not.
                let (sender, receiver) = oneshot::channel();
                let attempt = Attempt::new(shared.clone(), id);
                tokio::spawn(async move {
                    let taken = attempt.run().await;
                    let _ = sender.send(taken);
                });
                if let Ok(Some(mut grip)) = receiver.await
                    && let Some(taken) = grip.taken.take()
                {
                    return taken;
                }
            }
        })
    }

    fn release(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let hold = self.shared.held().remove(&id);
            if hold.is_some() {
                self.shared.board().gave_back(id);
            }
            self.see_to(id, What::Release(hold)).await;
        })
    }

    fn complete(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.held().remove(&id);
            self.see_to(id, What::Complete).await;
        })
    }

    fn withdraw(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.see_to(id, What::Withdraw).await })
    }

    fn waiting(&self) -> BoxFuture<'_, usize> {
        Box::pin(async move { self.shared.board().waiting() })
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<JobId, String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn job_key(&self, id: JobId) -> String {
        format!("{}{:016x}", self.jobs, id.0)
    }

    fn taken_key(&self, id: JobId) -> String {
        format!("{}{:016x}", self.taken, id.0)
    }

    /// The node's lease, as soon as there is one.
    async fn lease(&self) -> i64 {
        let mut lease = self.lease.clone();
        loop {
            if let Some(now) = *lease.borrow_and_update() {
                return now;
            }
            if lease.changed().await.is_err() {
                // Whoever kept it is gone, and so will be this node.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn ask(&self, transaction: Txn) -> Result<TxnResponse, Failure> {
        self.connection.call(WRITE, async |mut client| client.txn(transaction).await).await
    }

    fn complain(&self, what: &str, failure: &Failure) {
        warn!(node = %self.node.0, %failure, "{what}");
    }

    /// For how long other nodes go first.
    fn courtesy(&self, id: JobId) -> Duration {
        if self.board().was_given_back(id) {
            return COURTESY_MAX;
        }
        let held = u32::try_from(self.held().len()).unwrap_or(u32::MAX);
        COURTESY.saturating_mul(held).min(COURTESY_MAX)
    }

    /// Changes the board, however often it takes, unless it has changed so that nothing is left to do. Each of these may
    /// be done twice.
    async fn insist(&self, id: JobId, what: What) {
        let (job, taken) = (self.job_key(id), self.taken_key(id));
        let free = TxnOp::delete(taken.clone(), None);
        let transaction = match what {
            What::Release(Some(hold)) => {
                Txn::new().when([Compare::value(taken, CompareOp::Equal, hold)]).and_then([free])
            }
            What::Release(None) => Txn::new().and_then([free]),
            What::Complete => Txn::new().and_then([TxnOp::delete(job, None), free]),
            What::Withdraw => Txn::new().when([absent(taken)]).and_then([TxnOp::delete(job, None)]),
        };
        let mut pause = RETRY_PAUSE;
        while let Err(failure) = self.ask(transaction.clone()).await {
            self.complain("the board of jobs does not change", &failure);
            sleep(pause).await;
            pause = (2 * pause).min(RETRY_PAUSE_MAX);
        }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        let Some((id, _)) = self.taken.take() else { return };
        let hold = self.shared.held().remove(&id);
        let shared = self.shared.clone();
        // Without a runtime the process ends, and its lease with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shared.insist(id, What::Release(hold)).await });
        }
    }
}

fn absent(key: String) -> Compare {
    Compare::version(key, CompareOp::Equal, 0)
}
