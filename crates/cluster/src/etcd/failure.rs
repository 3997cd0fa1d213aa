//! What etcd's errors mean for the request that met them.

use headwater_router::written::Unreadable;
use tonic::Code;

/// Why a request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// etcd is out of its quota. The request that made it so was made all the same.
    #[error("etcd is full (alarm NOSPACE)")]
    NoSpace,
    /// It was not made and will not be.
    #[error("etcd refuses: {0}")]
    Refused(String),
    /// The lease is not there any more.
    #[error("the lease has ended")]
    NoLease,
    /// Whether it was made cannot be said.
    #[error("etcd does not answer: {0}")]
    Unknown(String),
    /// What is stored was not written by this version of Headwater.
    #[error("what is stored cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
}

impl Failure {
    /// Nothing came in time.
    pub(super) fn late() -> Self {
        Self::Unknown("no answer in time".to_owned())
    }

    /// Another member, or a new connection, may do better.
    pub(super) fn blames_member(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// How etcd words `ErrGRPCNoSpace`; other errors have the same code.
const NO_SPACE: &str = "database space exceeded";

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        let status = match error {
            etcd_client::Error::GRpcStatus(status) => status,
            // What etcd-client makes of a keepalive that was answered with a time to live of 0.
            etcd_client::Error::LeaseKeepAliveError(text) if text == "lease not found" => return Self::NoLease,
            other => return Self::Unknown(other.to_string()),
        };
        let text = || status.message().to_owned();
        match status.code() {
            Code::ResourceExhausted if status.message().contains(NO_SPACE) => Self::NoSpace,
            Code::NotFound => Self::NoLease,
            // Said before the request is proposed to other members, or (`DataLoss`) in place of applying it.
            Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::DataLoss => Self::Refused(text()),
            _ => Self::Unknown(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn of(status: Status) -> Failure {
        etcd_client::Error::GRpcStatus(status).into()
    }

    /// A write that was proposed can still be made after any error but those that come before that.
    #[test]
    fn only_what_certainly_was_not_made_is_refused() {
        let full = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        assert!(matches!(of(full), Failure::NoSpace));
        for refused in [
            Status::permission_denied("etcdserver: permission denied"),
            Status::invalid_argument("etcdserver: request is too large"),
            Status::data_loss("etcdserver: corrupt cluster"),
        ] {
            assert!(matches!(of(refused), Failure::Refused(_)));
        }
        for unknown in [
            Status::resource_exhausted("etcdserver: too many requests"),
            Status::unavailable("etcdserver: request timed out"),
            Status::unavailable("etcdserver: leader changed"),
            Status::cancelled("operation was canceled"),
            Status::deadline_exceeded("context deadline exceeded"),
            Status::unknown("transport error"),
        ] {
            assert!(matches!(of(unknown), Failure::Unknown(_)));
        }
    }
}
