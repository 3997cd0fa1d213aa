//! The nodes that are there.

use std::collections::BTreeMap;

use etcd_client::KeyValue;
use headwater_router::{NodeId, Record};

use crate::etcd::connection::Connection;
use crate::etcd::failure::Failure;
use crate::etcd::keys::{self, Keys, SEPARATOR};

/// The processes that have a lease, by address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nodes(BTreeMap<String, Registered>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Registered {
    instance: String,
    /// The revision at which its key was created: that of its registration, or an earlier process's at the same address.
    since: u64,
}

impl Nodes {
    /// Whether `node` is there, as the process that it names.
    pub fn has(&self, node: &NodeId) -> bool {
        self.get(node).is_some()
    }

    /// Whether the home of `record` is there. A process that lost its lease and has registered again is no home of what was
    /// written before: its homes have stopped.
    pub(in crate::etcd) fn is_home(&self, record: &Record) -> bool {
        self.get(&record.home).is_some_and(|node| node.since < record.revision)
    }

    fn get(&self, node: &NodeId) -> Option<&Registered> {
        let (address, instance) = keys::split(node)?;
        self.0.get(address).filter(|there| there.instance == instance)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.0.iter().map(|(address, Registered { instance, .. })| NodeId(format!("{address}{SEPARATOR}{instance}")))
    }

    /// Reads all, and says which revision etcd had then.
    pub(in crate::etcd) async fn read(connection: &Connection, keys: &Keys) -> Result<(Self, i64), Failure> {
        let mut nodes = Self::default();
        let revision = connection.range(keys.nodes(), |kv| nodes.set(keys, kv, true)).await?;
        Ok((nodes, revision))
    }

    /// A node's key was put or deleted.
    pub(in crate::etcd) fn set(&mut self, keys: &Keys, kv: &KeyValue, is_there: bool) {
        let address = kv.key().strip_prefix(keys.nodes().as_slice()).and_then(|rest| str::from_utf8(rest).ok());
        let (Some(address), Ok(instance)) = (address, kv.value_str()) else { return };
        match is_there {
            true => {
                let since = u64::try_from(kv.create_revision()).unwrap_or(u64::MAX);
                self.0.insert(address.to_owned(), Registered { instance: instance.to_owned(), since })
            }
            false => self.0.remove(address),
        };
    }
}
