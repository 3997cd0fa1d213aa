//! The nodes that are there.

use std::collections::BTreeMap;

use etcd_client::KeyValue;
use headwater_router::NodeId;

use crate::etcd::connection::Connection;
use crate::etcd::failure::Failure;
use crate::etcd::keys::{self, Keys, SEPARATOR};

/// The processes that have a lease, by address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nodes(BTreeMap<String, String>);

impl Nodes {
    /// Whether `node` is there, as the process that it names.
    pub fn has(&self, node: &NodeId) -> bool {
        keys::split(node).is_some_and(|(address, instance)| self.0.get(address).is_some_and(|there| there == instance))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.0.iter().map(|(address, instance)| NodeId(format!("{address}{SEPARATOR}{instance}")))
    }

    /// Reads all, and says which revision etcd had then.
    pub(in crate::etcd) async fn read(connection: &Connection, keys: &Keys) -> Result<(Self, i64), Failure> {
        let mut nodes = Self::default();
        let revision = connection.range(keys.nodes(), |kv| nodes.set(keys, kv, true)).await?;
        Ok((nodes, revision))
    }

    /// A node's key was put or deleted.
    pub(super) fn set(&mut self, keys: &Keys, kv: &KeyValue, is_there: bool) {
        let address = kv.key().strip_prefix(keys.nodes().as_slice()).and_then(|rest| str::from_utf8(rest).ok());
        let (Some(address), Ok(instance)) = (address, kv.value_str()) else { return };
        match is_there {
            true => self.0.insert(address.to_owned(), instance.to_owned()),
            false => self.0.remove(address),
        };
    }
}
