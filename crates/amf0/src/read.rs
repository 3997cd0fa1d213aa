//! Reading values.

use crate::amf3::Tables;
use crate::{Object, Value, marker};

/// What a message may hold at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How deep objects and arrays may lie in each other.
    pub depth_max: usize,
    /// How many values a message may have, those inside others included.
    pub values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 32, values_max: 4096 }
    }
}

/// Why reading stopped before the end of a message. What was read until then is kept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The message ends inside a value.
    #[error("{field} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where it starts in the message.
        offset: usize,
        /// Its length.
        needed: usize,
        /// What the message still has.
        left: usize,
    },
    /// A marker that is not read: reserved or not known. Or an AMF3 object that only its program can read.
    #[error("AMF marker {marker:#04x} at byte {offset} is not supported")]
    UnknownMarker {
        /// The marker.
        marker: u8,
        /// Where it stands in the message.
        offset: usize,
    },
    /// An AMF3 reference to what has not come.
    #[error("AMF3 reference {index} at byte {offset} refers to nothing")]
    Reference {
        /// The index.
        index: usize,
        /// Where it stands in the message.
        offset: usize,
    },
    /// AMF3 references to texts that would be too much if written out.
    #[error("AMF3 references stand for more than {limit} bytes of text")]
    TooMuchText {
        /// The limit.
        limit: usize,
    },
    /// More than [`Limits::depth_max`].
    #[error("AMF0 values lie more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More than [`Limits::values_max`].
    #[error("an AMF0 message has more than {limit} values")]
    TooManyValues {
        /// The limit.
        limit: usize,
    },
}

impl ReadError {
    /// Whether one of the [`Limits`] was hit, for which R-3 ends the connection; all else only ends the message.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooDeep { .. } | Self::TooManyValues { .. } | Self::TooMuchText { .. })
    }
}

/// All that could be read of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The values, the last one perhaps cut short.
    pub values: Vec<Value>,
    /// Why reading stopped early.
    pub stopped: Option<ReadError>,
}

/// Reads a whole message.
pub fn read_all(input: &[u8], limits: Limits) -> Decoded {
    let mut reader = Reader::new(input, limits);
    let mut values = Vec::new();
    while let Some(value) = reader.read() {
        values.push(value);
    }
    Decoded { values, stopped: reader.stopped }
}

/// Takes values out of one message.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    limits: Limits,
    values: usize,
    stopped: Option<ReadError>,
    tables: Tables,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `input`.
    pub fn new(input: &'a [u8], limits: Limits) -> Self {
        Self { input, offset: 0, limits, values: 0, stopped: None, tables: Tables::default() }
    }

    /// The next value; `None` at the end of the message, or where reading had to [stop](Self::stopped).
    pub fn read(&mut self) -> Option<Value> {
        if self.stopped.is_some() || self.rest().is_empty() {
            return None;
        }
        self.value(0).map_err(|error| self.stopped = Some(error)).ok()
    }

    /// Why [`read`](Self::read) stopped before the end.
    pub fn stopped(&self) -> Option<&ReadError> {
        self.stopped.as_ref()
    }

    /// The bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.offset..]
    }

    /// One value. An object or array whose inside could not be read to the end comes back with what it has, and
    /// `stopped` set; only a value of which there is nothing is an error.
    fn value(&mut self, depth: usize) -> Result<Value, ReadError> {
        self.count_value(depth)?;
        let offset = self.offset;
        let [marker] = self.array("marker")?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.array("number")?)),
            marker::BOOLEAN => Value::Boolean(self.array::<1>("boolean")? != [0]),
            marker::STRING => Value::String(self.name()?),
            marker::OBJECT => Value::Object(self.properties(depth)),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::REFERENCE => Value::Reference(u16::from_be_bytes(self.array("reference")?)),
            marker::ECMA_ARRAY => {
                self.array::<4>("ECMA array count")?; // a hint: the end mark decides
                Value::EcmaArray(self.properties(depth))
            }
            marker::STRICT_ARRAY => Value::StrictArray(self.elements(depth)?),
            marker::DATE => {
                let millis = f64::from_be_bytes(self.array("date")?);
                self.array::<2>("time zone")?;
                Value::Date(millis)
            }
            marker::LONG_STRING => Value::String(self.long_text()?),
            marker::UNSUPPORTED => Value::Unsupported,
            marker::XML => Value::Xml(self.long_text()?),
            marker::TYPED_OBJECT => Value::TypedObject { class: self.name()?, properties: self.properties(depth) },
            marker::AVM_PLUS => self.amf3_value(depth)?,
            0x12.. | marker::OBJECT_END | 0x04 | 0x0E => {
                return Err(ReadError::UnknownMarker { marker, offset });
            }
        })
    }

    /// One value more, so deep in others.
    pub(crate) fn count_value(&mut self, depth: usize) -> Result<(), ReadError> {
        if depth > self.limits.depth_max {
            return Err(ReadError::TooDeep { limit: self.limits.depth_max });
        }
        if self.values == self.limits.values_max {
            return Err(ReadError::TooManyValues { limit: self.limits.values_max });
        }
        self.values += 1;
        Ok(())
    }

    /// What AMF3 refers back to.
    pub(crate) fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Nothing more is read.
    pub(crate) fn stop(&mut self, error: ReadError) {
        self.stopped = Some(error);
    }

    /// Properties up to the end mark, or up to the end of the message.
    fn properties(&mut self, depth: usize) -> Object {
        let mut object = Object::default();
        while self.stopped.is_none() && !self.rest().is_empty() {
            match self.property(depth) {
                Ok(Some(property)) => object.0.push(property),
                Ok(None) => break,
                Err(error) => self.stopped = Some(error),
            }
        }
        object
    }

    fn property(&mut self, depth: usize) -> Result<Option<(String, Value)>, ReadError> {
        let name = self.name()?;
        if name.is_empty() && self.rest().first() == Some(&marker::OBJECT_END) {
            self.offset += 1;
            return Ok(None);
        }
        Ok(Some((name, self.value(depth + 1)?)))
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, ReadError> {
        let count = u32::from_be_bytes(self.array("strict array count")?);
        let mut values = Vec::new(); // grows with what is there, not with what `count` claims
        for _ in 0..count {
            match self.value(depth + 1) {
                Ok(value) => values.push(value),
                Err(error) => self.stopped = Some(error),
            }
            if self.stopped.is_some() {
                break;
            }
        }
        Ok(values)
    }

    fn name(&mut self) -> Result<String, ReadError> {
        let length = u16::from_be_bytes(self.array("string length")?);
        self.text("string", usize::from(length))
    }

    fn long_text(&mut self) -> Result<String, ReadError> {
        let length = u32::from_be_bytes(self.array("long string length")?);
        self.text("long string", usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(crate) fn text(&mut self, field: &'static str, length: usize) -> Result<String, ReadError> {
        self.take(field, length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ReadError> {
        self.take(field, N).map(|bytes| bytes.try_into().expect("take returns the length that it was asked for"))
    }

    pub(crate) fn take(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8], ReadError> {
        let rest = self.rest();
        let Some(bytes) = rest.get(..needed) else {
            return Err(ReadError::Truncated { field, offset: self.offset, needed, left: rest.len() });
        };
        self.offset += needed;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Decoded {
        read_all(bytes, Limits::default())
    }

    fn whole(bytes: &[u8]) -> Vec<Value> {
        let decoded = decode(bytes);
        assert_eq!(decoded.stopped, None);
        decoded.values
    }

    ///
    #[test]
    fn each_marker_is_read() {
        assert_eq!(whole(&[0, 0x40, 0, 0, 0, 0, 0, 0, 0]), [Value::Number(2.0)]);
        assert_eq!(whole(&[1, 0, 1, 7]), [Value::Boolean(false), Value::Boolean(true)]);
        assert_eq!(whole(&[12, 0, 0, 0, 1, b'x', 15, 0, 0, 0, 1, b'y']), ["x".into(), Value::Xml("y".into())]);
        assert_eq!(
            whole(&[5, 6, 7, 0, 3, 13]),
            [Value::Null, Value::Undefined, Value::Reference(3), Value::Unsupported]
        );
        assert_eq!(whole(&[11, 0x40, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xC4]), [Value::Date(2.0)]);
        let typed = Value::TypedObject { class: "C".into(), properties: Object::default().with("a", Value::Null) };
        assert_eq!(whole(&[16, 0, 1, b'C', 0, 1, b'a', 5, 0, 0, 9]), [typed]);
    }

    /// the count says 9, there is one property and then the message ends without an end mark.
    #[test]
    fn an_ecma_array_may_lie_about_its_count_and_lack_its_end() {
        let array = Value::EcmaArray(Object::default().with("k", true));
        assert_eq!(whole(&[8, 0, 0, 0, 9, 0, 1, b'k', 1, 1]), std::slice::from_ref(&array));
        assert_eq!(whole(&[8, 0, 0, 0, 0, 0, 1, b'k', 1, 1, 0, 0, 9]), [array]);
    }

    ///
    #[test]
    fn of_two_properties_with_one_name_the_last_counts() {
        let object = Object::default().with("k", 1u32).with("k", 2u32);
        assert_eq!(object.number("k"), Some(2.0));
    }

    ///
    #[test]
    fn text_that_is_not_utf8_is_read_with_replacements() {
        assert_eq!(whole(&[2, 0, 2, b'a', 0xFF]), ["a\u{FFFD}".into()]);
    }

    /// what stands before an unknown marker is kept, inside an object too.
    #[test]
    fn reading_stops_at_an_unknown_marker_and_keeps_what_was_read() {
        let decoded = decode(&[5, 3, 0, 1, b'a', 1, 1, 0, 1, b'b', 0x12, 4, 1]);
        assert_eq!(decoded.values, [Value::Null, Object::default().with("a", true).into()]);
        assert_eq!(decoded.stopped, Some(ReadError::UnknownMarker { marker: 0x12, offset: 10 }));
        assert!(!decoded.stopped.unwrap().is_limit());
        assert_eq!(decode(&[10, 0, 0, 0, 2, 5, 0x0E]).values, [Value::StrictArray(vec![Value::Null])]);
    }

    #[test]
    fn a_message_that_ends_inside_a_value_says_where() {
        let decoded = decode(&[5, 2, 0, 9, b'a']);
        assert_eq!(decoded.values, [Value::Null]);
        assert_eq!(decoded.stopped, Some(ReadError::Truncated { field: "string", offset: 4, needed: 9, left: 1 }));
    }

    /// four billion elements are announced, three bytes are there.
    #[test]
    fn an_array_count_allocates_nothing() {
        let decoded = decode(&[10, 0xFF, 0xFF, 0xFF, 0xFF, 5, 5, 5]);
        assert_eq!(decoded.values, [Value::StrictArray(vec![Value::Null; 3])]);
        assert!(decoded.stopped.is_some());
    }

    ///
    #[test]
    fn depth_and_count_have_limits() {
        let deep = [10, 0, 0, 0, 1].repeat(34);
        assert_eq!(decode(&deep).stopped, Some(ReadError::TooDeep { limit: 32 }));
        let many = [5; 4097];
        assert_eq!(decode(&many).stopped, Some(ReadError::TooManyValues { limit: 4096 }));
        assert_eq!(whole(&many[1..]).len(), 4096);
    }
}
