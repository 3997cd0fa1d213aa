//! Writes of this node's streams, several in one transaction.
//!
//! One transaction is on its way at a time, and they do not begin closer than 20 ms; what comes meanwhile goes into the next
//! one. Each write is a transaction of its own within it, with its own compare and outcome: etcd makes them in one step of its
//! log, with one sync of its disk. So the number of transactions does not grow with the number of streams.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::WRITE;
use super::connection::Connection;
use super::failure::Failure;
use super::metrics::Metrics;

/// Time between two transactions, unless so much waits that it fills the next one: a write waits for others no longer than
/// this, and one that comes alone not at all.
const EVERY: Duration = Duration::from_millis(20);
/// Writes in one transaction. etcd takes 128 operations (`--max-txn-ops`), of which a write that is nested counts one, and
/// leaves the rest of them to what is in it.
const STREAMS_MAX: usize = 64;
/// Bytes in one transaction; etcd takes 1.5 MiB (`--max-request-bytes`). A write that is larger goes alone, and is refused.
const BYTES_MAX: usize = 1 << 20;
/// Writes that wait. A stream has one at a time; more streams than this wait outside.
const WAITING_MAX: usize = 1024;

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Made {
    /// It was made.
    Written { revision: u64 },
    /// It was not: another revision is there.
    Conflict,
    /// It was not and will not be.
    Refused,
    /// etcd is full. It was not made, or made etcd full.
    NoSpace,
    /// Nobody knows.
    Unknown,
}

/// Takes writes.
#[derive(Clone)]
pub(super) struct Writes {
    queue: mpsc::Sender<Write>,
}

struct Write {
    key: Vec<u8>,
    /// The revision to be there; 0 for none.
    expected: i64,
    value: Vec<u8>,
    made: oneshot::Sender<Made>,
}

/// The queue, and the task that empties it.
pub(super) fn start(connection: Arc<Connection>, metrics: Arc<Metrics>) -> (Writes, impl Future<Output = ()>) {
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    (Writes { queue }, run(waiting, connection, metrics))
}

impl Writes {
    /// Writes `value` if `key` has revision `expected`. Who stops waiting before the write is on its way has it never made.
    pub(super) async fn make(&self, key: Vec<u8>, expected: u64, value: Vec<u8>) -> Made {
        let Ok(expected) = i64::try_from(expected) else { return Made::Conflict };
        let (made, outcome) = oneshot::channel();
        if self.queue.send(Write { key, expected, value, made }).await.is_err() {
            return Made::Refused;
        }
        outcome.await.unwrap_or(Made::Unknown)
    }
}

async fn run(mut queue: mpsc::Receiver<Write>, connection: Arc<Connection>, metrics: Arc<Metrics>) {
    let mut waiting = VecDeque::new();
    let mut due = Instant::now();
    loop {
        if waiting.is_empty() {
            match queue.recv().await {
                Some(write) => waiting.push_back(write),
                None => return,
            }
        }
        if waiting.len() + queue.len() < STREAMS_MAX {
            sleep_until(due).await;
        }
        due = Instant::now() + EVERY;
        while waiting.len() < WAITING_MAX
            && let Ok(write) = queue.try_recv()
        {
            waiting.push_back(write);
        }
        let batch = next(&mut waiting);
        if batch.is_empty() {
            continue;
        }
        metrics.transaction(batch.len(), batch.iter().map(bytes).sum());
        let transaction = transaction(&batch);
        let answer = connection.call(WRITE, async |mut client| client.txn(transaction).await).await;
        let outcomes = match answer {
            Ok(answer) => {
                metrics.set_full(false);
                outcomes(&answer, batch.len())
            }
            Err(failure) => vec![failed(&failure, &metrics); batch.len()],
        };
        for (write, outcome) in batch.into_iter().zip(outcomes) {
            // Nobody may be waiting any more.
            let _ = write.made.send(outcome);
        }
    }
}

fn bytes(write: &Write) -> usize {
    write.key.len() * 2 + write.value.len()
}

/// Takes the writes of the next transaction, each key once: the second write of a stream compares with what the first one
/// makes. Drops those that nobody waits for.
fn next(waiting: &mut VecDeque<Write>) -> Vec<Write> {
    let (mut batch, mut later) = (Vec::<Write>::new(), VecDeque::new());
    let mut keys = HashSet::new();
    let mut left = BYTES_MAX;
    while let Some(write) = waiting.pop_front() {
        if write.made.is_closed() {
            continue;
        }
        let fits = batch.is_empty() || (batch.len() < STREAMS_MAX && bytes(&write) <= left);
        if fits && !keys.contains(&write.key) {
            left = left.saturating_sub(bytes(&write));
            keys.insert(write.key.clone());
            batch.push(write);
        } else {
            // What follows it on its key must not overtake it.
            keys.insert(write.key.clone());
            later.push_back(write);
        }
    }
    *waiting = later;
    batch
}

fn transaction(batch: &[Write]) -> Txn {
    let single = |write: &Write| {
        let there = Compare::mod_revision(write.key.clone(), CompareOp::Equal, write.expected);
        Txn::new().when([there]).and_then([TxnOp::put(write.key.clone(), write.value.clone(), None)])
    };
    match batch {
        [write] => single(write),
        _ => {
            // etcd does not count nested puts when it checks its quota: a transaction of them alone would be made however
            // full it is. This one counts, and is never made because there is no condition to fail.
            let counts = batch.first().map(|write| TxnOp::put(write.key.clone(), "", None));
            let nested: Vec<_> = batch.iter().map(|write| TxnOp::txn(single(write))).collect();
            Txn::new().and_then(nested).or_else(counts.into_iter().collect::<Vec<_>>())
        }
    }
}

/// The outcome of each write. All that were made have the revision of the whole.
fn outcomes(answer: &TxnResponse, writes: usize) -> Vec<Made> {
    let revision = answer.header().and_then(|header| u64::try_from(header.revision()).ok());
    let Some(revision) = revision else { return vec![Made::Unknown; writes] };
    let outcome = |succeeded| if succeeded { Made::Written { revision } } else { Made::Conflict };
    if writes == 1 {
        return vec![outcome(answer.succeeded())];
    }
    let mut outcomes: Vec<_> = answer
        .op_responses()
        .iter()
        .map(|nested| match nested {
            TxnOpResponse::Txn(nested) => outcome(nested.succeeded()),
            TxnOpResponse::Put(_) | TxnOpResponse::Get(_) | TxnOpResponse::Delete(_) => Made::Unknown,
        })
        .collect();
    outcomes.resize(writes, Made::Unknown);
    outcomes
}

fn failed(failure: &Failure, metrics: &Metrics) -> Made {
    match failure {
        Failure::NoSpace => {
            metrics.set_full(true);
            Made::NoSpace
        }
        Failure::Refused(reason) => {
            warn!(reason, "etcd refuses to write the records of streams");
            Made::Refused
        }
        Failure::NoLease | Failure::Unknown(_) | Failure::Unreadable(_) => Made::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, value_bytes: usize) -> (Write, oneshot::Receiver<Made>) {
        let (made, outcome) = oneshot::channel();
        (Write { key: key.into(), expected: 0, value: vec![0; value_bytes], made }, outcome)
    }

    fn taken(waiting: &mut VecDeque<Write>) -> Vec<String> {
        next(waiting).iter().map(|write| String::from_utf8(write.key.clone()).unwrap()).collect()
    }

    #[test]
    fn a_key_is_once_in_a_transaction_and_its_writes_keep_their_order() {
        let (mut writes, _outcomes): (VecDeque<_>, Vec<_>) =
            [write("a", 1), write("b", 2), write("a", 3), write("c", 4), write("a", 5)].into_iter().unzip();
        assert_eq!(taken(&mut writes), ["a", "b", "c"]);
        assert_eq!(writes.iter().map(|write| write.value.len()).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(taken(&mut writes), ["a"]);
        assert_eq!(taken(&mut writes), ["a"]);
        assert!(writes.is_empty());
    }

    #[test]
    fn a_transaction_has_limits_and_a_write_beyond_them_goes_alone() {
        let (mut writes, outcomes): (VecDeque<_>, Vec<_>) =
            (0..100).map(|number| write(&format!("{number:03}"), 10)).unzip();
        assert_eq!(taken(&mut writes).len(), STREAMS_MAX);
        drop(outcomes);
        assert!(taken(&mut writes).is_empty() && writes.is_empty(), "nobody waits for the others");
        let (mut writes, _outcomes): (VecDeque<_>, Vec<_>) =
            [write("a", 600_000), write("b", 600_000), write("c", 2 << 20), write("d", 1)].into_iter().unzip();
        assert_eq!(taken(&mut writes), ["a", "d"]);
        assert_eq!(taken(&mut writes), ["b"]);
        assert_eq!(taken(&mut writes), ["c"]);
    }
}
