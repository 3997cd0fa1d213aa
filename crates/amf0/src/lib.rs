//! AMF0 values: read and write (checklist R-35 to R-37).
//!
//! [`Reader`] takes the values of one message out of a byte slice, [`read_all`] takes all of them and says where it
//! stopped, [`write()`] appends one. What a peer can make it hold has [`Limits`]; any bytes are read without a panic.
//!
//! AMF3 is read where a value switches to it (marker `11`), and never written. Values are not mapped to types of yours,
//! references to objects are not followed, and nothing here knows RTMP: what the values of a command mean is the `rtmp`
//! crate's affair.
//!
//! ```
//! use headwater_amf0::{Limits, Object, Value, read_all, write};
//!
//! let mut message = Vec::new();
//! write(&mut message, &"onMetaData".into());
//! write(&mut message, &Object::default().with("width", 1280u32).into());
//!
//! let decoded = read_all(&message, Limits::default());
//! assert_eq!(decoded.stopped, None);
//! assert_eq!(decoded.values[0].as_str(), Some("onMetaData"));
//! assert_eq!(decoded.values[1].as_object().and_then(|object| object.number("width")), Some(1280.0));
//! ```

mod amf3;
mod read;
mod value;
mod write;

pub use read::{Decoded, Limits, ReadError, Reader, read_all};
pub use value::{Object, Value};
pub use write::write;

/// The bytes that begin a value (AMF0 2.1).
mod marker {
    pub(crate) const NUMBER: u8 = 0x00;
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const OBJECT: u8 = 0x03;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const UNDEFINED: u8 = 0x06;
    pub(crate) const REFERENCE: u8 = 0x07;
    pub(crate) const ECMA_ARRAY: u8 = 0x08;
    pub(crate) const OBJECT_END: u8 = 0x09;
    pub(crate) const STRICT_ARRAY: u8 = 0x0A;
    pub(crate) const DATE: u8 = 0x0B;
    pub(crate) const LONG_STRING: u8 = 0x0C;
    pub(crate) const UNSUPPORTED: u8 = 0x0D;
    pub(crate) const XML: u8 = 0x0F;
    pub(crate) const TYPED_OBJECT: u8 = 0x10;
    pub(crate) const AVM_PLUS: u8 = 0x11;
}
