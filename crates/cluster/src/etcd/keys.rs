//! Where in etcd things are.

use headwater_media::StreamName;
use headwater_router::NodeId;

/// Between a node's address and its instance in a [`NodeId`].
pub(super) const SEPARATOR: char = '~';

/// The keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// What the keys of all nodes begin with.
    pub(super) fn nodes(&self) -> Vec<u8> {
        format!("{}/nodes/", self.prefix).into()
    }

    /// The node's at `address`.
    pub(super) fn node(&self, address: &str) -> Vec<u8> {
        format!("{}/nodes/{address}", self.prefix).into()
    }

    /// What the keys of all streams begin with.
    pub(super) fn streams(&self) -> Vec<u8> {
        format!("{}/streams/", self.prefix).into()
    }

    /// What the keys of all jobs begin with.
    pub(super) fn jobs(&self) -> String {
        format!("{}/jobs/", self.prefix)
    }

    /// What the keys of all that say who has a job begin with.
    pub(super) fn taken(&self) -> String {
        format!("{}/taken/", self.prefix)
    }

    /// That of a stream's record.
    pub(super) fn stream(&self, stream: &StreamName) -> Vec<u8> {
        format!("{}/streams/{stream}", self.prefix).into()
    }
}

/// Address and instance of a node. `None` for one that is not of a cluster.
pub(super) fn split(node: &NodeId) -> Option<(&str, &str)> {
    node.0.rsplit_once(SEPARATOR).filter(|(address, _)| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_a_cluster_is_an_address_and_an_instance() {
        let node = |text: &str| NodeId(text.into());
        assert_eq!(split(&node("10.0.0.1:7000~ab12")), Some(("10.0.0.1:7000", "ab12")));
        assert_eq!(split(&node("[::1]:7000~ab12")), Some(("[::1]:7000", "ab12")));
        assert_eq!(split(&node("~alone")), None);
        assert_eq!(split(&node("one")), None);
    }
}
