//! What a publisher asks for.

use std::fmt;
use std::sync::Arc;

use headwater_amf0::Object;
use headwater_media::StreamKey;

use crate::name::Target;
use crate::{Extensions, Offers, Parameters};

/// Which publish request an answer is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RequestId(pub(super) u32);

/// A publisher connects. Any of it may be missing.
#[derive(Clone, PartialEq)]
pub struct ConnectRequest {
    properties: Arc<Object>,
}

impl ConnectRequest {
    pub(super) fn new(properties: Object) -> Self {
        Self { properties: Arc::new(properties) }
    }

    /// `app` as sent. It can hold a stream key, see [`PublishRequest::app`].
    pub fn app(&self) -> &str {
        self.properties.text("app").unwrap_or_default()
    }

    /// `tcUrl` as sent. It can hold a stream key.
    pub fn tc_url(&self) -> &str {
        self.properties.text("tcUrl").unwrap_or_default()
    }

    /// `flashVer`: the encoder, such as `FMLE/3.0 (compatible; Lavf59.27.100)`. librtmp sends none.
    pub fn flash_version(&self) -> Option<&str> {
        self.properties.text("flashVer")
    }

    /// Extensions of Enhanced RTMP that the publisher knows.
    pub fn extensions(&self) -> Extensions {
        Extensions::of(&self.properties)
    }

    /// It speaks of Enhanced RTMP.
    pub(super) fn is_enhanced(&self) -> bool {
        Offers::are_asked_for(&self.properties)
    }

    /// All properties of the command object, for what has no method here.
    pub fn properties(&self) -> &Object {
        &self.properties
    }

    pub(super) fn target(&self, name: &str) -> Target {
        Target::new(self.app(), self.tc_url(), name)
    }
}

impl fmt::Debug for ConnectRequest {
    /// Names of properties only: values of several of them can hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.0.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConnectRequest").field("flash_version", &self.flash_version()).field("names", &names).finish()
    }
}

/// A publisher wants to publish. Its `Debug` shows no key.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishRequest {
    /// For the answer.
    pub id: RequestId,
    /// The application: without slashes around it, `_definst_` and query; may have several elements.
    pub app: String,
    /// What is published, up to `?`: a stream's name or its key. May be empty.
    pub name: StreamKey,
    /// Query parameters of name, `tcUrl` and `app`.
    pub parameters: Parameters,
    /// The connect command before it.
    pub connect: ConnectRequest,
}
