//! AMF3 values inside AMF0: read only, made into the AMF0 values that mean the same.
//!
//! Strings and classes that are referred to are copied, within a limit; objects that are referred to are not
//! ([`Value::Reference`]), because one may hold itself.

use crate::read::{ReadError, Reader};
use crate::{Object, Value};

/// Bytes of text that references of one message may add: each is a copy. More than any message has in itself.
const COPIED_BYTES_MAX: usize = 1 << 20;
/// The largest number of 29 bits and the sign of its two's complement.
const INTEGER_SIGN: u32 = 1 << 28;

/// The three tables of a message (AMF3 2.2).
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    texts: Vec<String>,
    classes: Vec<Class>,
    /// Objects, arrays, dates and so on, of which only the number matters.
    objects: usize,
    copied_bytes: usize,
}

/// What is common to objects (traits, AMF3 3.12).
#[derive(Clone, Debug)]
struct Class {
    name: String,
    members: Vec<String>,
    dynamic: bool,
    /// It writes itself in a way that only its program knows.
    externalizable: bool,
}

/// A value's length or count, or the index of one that came before.
enum Header {
    Inline(usize),
    Reference(usize),
}

impl Reader<'_> {
    /// One AMF3 value with its marker.
    pub(crate) fn amf3_value(&mut self, depth: usize) -> Result<Value, ReadError> {
        self.count_value(depth)?;
        let offset = self.offset();
        let [marker] = self.array("AMF3 marker")?;
        Ok(match marker {
            0x00 => Value::Undefined,
            0x01 => Value::Null,
            0x02 => Value::Boolean(false),
            0x03 => Value::Boolean(true),
            0x04 => Value::Number(f64::from(signed(self.amf3_u29()?))),
            0x05 => Value::Number(f64::from_be_bytes(self.array("AMF3 double")?)),
            0x06 => Value::String(self.amf3_text()?),
            0x07 | 0x0B => match self.amf3_object_header()? {
                Header::Reference(index) => reference(index),
                Header::Inline(length) => Value::Xml(self.text("AMF3 XML", length)?),
            },
            0x08 => match self.amf3_object_header()? {
                Header::Reference(index) => reference(index),
                Header::Inline(_) => Value::Date(f64::from_be_bytes(self.array("AMF3 date")?)),
            },
            0x09 => self.amf3_array(depth)?,
            0x0A => self.amf3_object(depth, offset)?,
            // Bytes have no place in AMF0.
            0x0C => match self.amf3_object_header()? {
                Header::Reference(index) => reference(index),
                Header::Inline(length) => {
                    self.take("AMF3 bytes", length)?;
                    Value::Unsupported
                }
            },
            0x0D => self.amf3_vector(depth, |bytes: [u8; 4]| f64::from(i32::from_be_bytes(bytes)))?,
            0x0E => self.amf3_vector(depth, |bytes: [u8; 4]| f64::from(u32::from_be_bytes(bytes)))?,
            0x0F => self.amf3_vector(depth, f64::from_be_bytes)?,
            0x10 => self.amf3_vector_of_objects(depth)?,
            0x11 => self.amf3_dictionary(depth)?,
            _ => return Err(ReadError::UnknownMarker { marker, offset }),
        })
    }

    /// One to four bytes, seven bits each and eight in the fourth (AMF3 1.3.1).
    fn amf3_u29(&mut self) -> Result<u32, ReadError> {
        let mut number = 0;
        for _ in 0..3 {
            let [byte] = self.array("AMF3 number")?;
            number = number << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        let [byte] = self.array("AMF3 number")?;
        Ok(number << 8 | u32::from(byte))
    }

    fn amf3_header(&mut self) -> Result<Header, ReadError> {
        let number = self.amf3_u29()?;
        let rest = usize::try_from(number >> 1).expect("28 bits fit");
        Ok(if number & 1 == 0 { Header::Reference(rest) } else { Header::Inline(rest) })
    }

    /// The header of what has a place in the table of objects.
    fn amf3_object_header(&mut self) -> Result<Header, ReadError> {
        let offset = self.offset();
        let header = self.amf3_header()?;
        match header {
            Header::Reference(index) if index >= self.tables().objects => Err(ReadError::Reference { index, offset }),
            Header::Reference(_) => Ok(header),
            Header::Inline(_) => {
                self.tables().objects += 1;
                Ok(header)
            }
        }
    }

    /// A string without its marker; the empty one is never in the table.
    fn amf3_text(&mut self) -> Result<String, ReadError> {
        let offset = self.offset();
        match self.amf3_header()? {
            Header::Reference(index) => {
                let Some(text) = self.tables().texts.get(index).cloned() else {
                    return Err(ReadError::Reference { index, offset });
                };
                self.amf3_count_copy(text.len())?;
                Ok(text)
            }
            Header::Inline(length) => {
                let text = self.text("AMF3 string", length)?;
                if length > 0 {
                    self.tables().texts.push(text.clone());
                }
                Ok(text)
            }
        }
    }

    fn amf3_count_copy(&mut self, bytes: usize) -> Result<(), ReadError> {
        let tables = self.tables();
        tables.copied_bytes += bytes;
        if tables.copied_bytes > COPIED_BYTES_MAX {
            return Err(ReadError::TooMuchText { limit: COPIED_BYTES_MAX });
        }
        Ok(())
    }

    /// Names and values up to an empty name, then values without names (AMF3 3.11).
    fn amf3_array(&mut self, depth: usize) -> Result<Value, ReadError> {
        let count = match self.amf3_object_header()? {
            Header::Reference(index) => return Ok(reference(index)),
            Header::Inline(count) => count,
        };
        let mut named = Object::default();
        self.amf3_named(depth, &mut named);
        if self.stopped().is_some() {
            return Ok(Value::EcmaArray(named));
        }
        let values = self.amf3_values(depth, count);
        if named.0.is_empty() {
            return Ok(Value::StrictArray(values));
        }
        named.0.extend(values.into_iter().enumerate().map(|(index, value)| (index.to_string(), value)));
        Ok(Value::EcmaArray(named))
    }

    /// As many values as there are up to `count`; where reading stops, what was read is kept.
    fn amf3_values(&mut self, depth: usize, count: usize) -> Vec<Value> {
        let mut values = Vec::new(); // grows with what is there, not with what `count` claims
        while values.len() < count && self.stopped().is_none() {
            match self.amf3_value(depth + 1) {
                Ok(value) => values.push(value),
                Err(error) => self.stop(error),
            }
        }
        values
    }

    fn amf3_named(&mut self, depth: usize, object: &mut Object) {
        while self.stopped().is_none() {
            match self.amf3_property(depth) {
                Ok(Some(property)) => object.0.push(property),
                Ok(None) => break,
                Err(error) => self.stop(error),
            }
        }
    }

    fn amf3_property(&mut self, depth: usize) -> Result<Option<(String, Value)>, ReadError> {
        let name = self.amf3_text()?;
        if name.is_empty() {
            return Ok(None);
        }
        Ok(Some((name, self.amf3_value(depth + 1)?)))
    }

    fn amf3_object(&mut self, depth: usize, offset: usize) -> Result<Value, ReadError> {
        let number = match self.amf3_object_header()? {
            Header::Reference(index) => return Ok(reference(index)),
            Header::Inline(number) => number,
        };
        let class = self.amf3_class(number)?;
        if class.externalizable {
            return Err(ReadError::UnknownMarker { marker: 0x0A, offset });
        }
        let mut properties = Object::default();
        for member in class.members {
            match self.amf3_value(depth + 1) {
                Ok(value) => properties.0.push((member, value)),
                Err(error) => self.stop(error),
            }
            if self.stopped().is_some() {
                break;
            }
        }
        if class.dynamic {
            self.amf3_named(depth, &mut properties);
        }
        Ok(if class.name.is_empty() {
            Value::Object(properties)
        } else {
            Value::TypedObject { class: class.name, properties }
        })
    }

    /// A class by its index or in full: `number` is what is left of the object's header.
    fn amf3_class(&mut self, number: usize) -> Result<Class, ReadError> {
        let offset = self.offset();
        if number & 1 == 0 {
            let index = number >> 1;
            let Some(class) = self.tables().classes.get(index).cloned() else {
                return Err(ReadError::Reference { index, offset });
            };
            let names = class.members.iter().map(|name| size_of::<String>() + name.len());
            self.amf3_count_copy(class.name.len() + names.sum::<usize>())?;
            return Ok(class);
        }
        let (externalizable, dynamic, count) = (number & 2 != 0, number & 4 != 0, number >> 3);
        let name = self.amf3_text()?;
        let mut members = Vec::new();
        for _ in 0..count {
            // A name is as good as a value: a class of a thousand names may come a thousand times.
            self.count_value(0)?;
            members.push(self.amf3_text()?);
        }
        let class = Class { name, members, dynamic, externalizable };
        self.tables().classes.push(class.clone());
        Ok(class)
    }

    /// A vector of numbers, each of which counts as a value.
    fn amf3_vector<const N: usize>(&mut self, depth: usize, number: fn([u8; N]) -> f64) -> Result<Value, ReadError> {
        let count = match self.amf3_object_header()? {
            Header::Reference(index) => return Ok(reference(index)),
            Header::Inline(count) => count,
        };
        self.array::<1>("AMF3 vector")?; // whether its length is fixed
        let mut values = Vec::new();
        for _ in 0..count {
            self.count_value(depth + 1)?;
            values.push(Value::Number(number(self.array("AMF3 vector")?)));
        }
        Ok(Value::StrictArray(values))
    }

    fn amf3_vector_of_objects(&mut self, depth: usize) -> Result<Value, ReadError> {
        let count = match self.amf3_object_header()? {
            Header::Reference(index) => return Ok(reference(index)),
            Header::Inline(count) => count,
        };
        self.array::<1>("AMF3 vector")?;
        self.amf3_text()?; // the name of its elements' class
        Ok(Value::StrictArray(self.amf3_values(depth, count)))
    }

    /// Keys are values, too; those that are text become properties.
    fn amf3_dictionary(&mut self, depth: usize) -> Result<Value, ReadError> {
        let count = match self.amf3_object_header()? {
            Header::Reference(index) => return Ok(reference(index)),
            Header::Inline(count) => count,
        };
        self.array::<1>("AMF3 dictionary")?; // whether its keys are held weakly
        let mut entries = self.amf3_values(depth, 2 * count).into_iter();
        let mut properties = Object::default();
        while let (Some(key), Some(value)) = (entries.next(), entries.next()) {
            if let Value::String(key) = key {
                properties.0.push((key, value));
            }
        }
        Ok(Value::Object(properties))
    }
}

/// An index that AMF0 cannot say stands for something that cannot be shown.
fn reference(index: usize) -> Value {
    u16::try_from(index).map_or(Value::Unsupported, Value::Reference)
}

/// 29 bits with a sign.
fn signed(number: u32) -> i32 {
    let extended = if number & INTEGER_SIGN == 0 { number } else { number | !(2 * INTEGER_SIGN - 1) };
    extended.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, read_all};

    /// The values after the switch to AMF3, and why reading stopped.
    fn decode(bytes: &[u8]) -> (Vec<Value>, Option<ReadError>) {
        let decoded = read_all(&[&[0x11], bytes].concat(), Limits::default());
        (decoded.values, decoded.stopped)
    }

    fn whole(bytes: &[u8]) -> Value {
        let (values, stopped) = decode(bytes);
        assert_eq!(stopped, None);
        let [value] = values.try_into().unwrap();
        value
    }

    /// 1 to 4 bytes, 29 bits with a sign.
    #[test]
    fn integers_have_one_to_four_bytes_and_a_sign() {
        let vectors: [(&[u8], f64); 8] = [
            (&[0x00], 0.0),
            (&[0x7F], 127.0),
            (&[0x81, 0x00], 128.0),
            (&[0xFF, 0x7F], 16_383.0),
            (&[0x81, 0x80, 0x00], 16_384.0),
            (&[0x80, 0xC0, 0x80, 0x00], 2_097_152.0),
            (&[0xBF, 0xFF, 0xFF, 0xFF], 268_435_455.0),
            (&[0xFF, 0xFF, 0xFF, 0xFF], -1.0),
        ];
        for (bytes, number) in vectors {
            assert_eq!(whole(&[&[0x04], bytes].concat()), Value::Number(number));
        }
        assert_eq!(whole(&[0x04, 0xC0, 0x80, 0x80, 0x00]), Value::Number(-268_435_456.0));
    }

    ///
    #[test]
    fn simple_markers_are_read() {
        assert_eq!(whole(&[0x00]), Value::Undefined);
        assert_eq!(whole(&[0x01]), Value::Null);
        assert_eq!([whole(&[0x02]), whole(&[0x03])], [false.into(), true.into()]);
        assert_eq!(whole(&[0x05, 0x40, 0, 0, 0, 0, 0, 0, 0]), Value::Number(2.0));
        assert_eq!(whole(&[0x06, 0x05, b'h', b'i']), "hi".into());
        assert_eq!(whole(&[0x07, 0x03, b'x']), Value::Xml("x".into()));
        assert_eq!(whole(&[0x08, 0x01, 0x40, 0, 0, 0, 0, 0, 0, 0]), Value::Date(2.0));
        assert_eq!(whole(&[0x0B, 0x03, b'x']), Value::Xml("x".into()));
        assert_eq!(whole(&[0x0C, 0x05, 1, 2]), Value::Unsupported);
    }

    /// dense, and with names.
    #[test]
    fn arrays_have_values_with_and_without_names() {
        assert_eq!(whole(&[0x09, 0x05, 0x01, 0x02, 0x03]), Value::StrictArray(vec![false.into(), true.into()]));
        let mixed = Object::default().with("k", Value::Null).with("0", true);
        assert_eq!(whole(&[0x09, 0x03, 0x03, b'k', 0x01, 0x01, 0x03]), Value::EcmaArray(mixed));
    }

    /// vectors and dictionaries.
    #[test]
    fn vectors_and_dictionaries_are_read() {
        let numbers =
            |numbers: &[f64]| Value::StrictArray(numbers.iter().map(|number| Value::Number(*number)).collect());
        assert_eq!(whole(&[0x0D, 0x03, 0x00, 0xFF, 0xFF, 0xFF, 0xFE]), numbers(&[-2.0]));
        assert_eq!(whole(&[0x0E, 0x03, 0x00, 0xFF, 0xFF, 0xFF, 0xFE]), numbers(&[4_294_967_294.0]));
        assert_eq!(whole(&[0x0F, 0x03, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0]), numbers(&[2.0]));
        assert_eq!(whole(&[0x10, 0x03, 0x00, 0x01, 0x03]), Value::StrictArray(vec![true.into()]));
        let entries = Object::default().with("k", true);
        assert_eq!(whole(&[0x11, 0x05, 0x00, 0x06, 0x03, b'k', 0x03, 0x04, 0x01, 0x02]), entries.into());
    }

    /// strings, objects and classes that came before are referred to by number.
    #[test]
    fn references_are_resolved_for_texts_and_classes_and_kept_for_objects() {
        // [{C: a = "hi"}, {C: a = "hi"}, the first object]
        let bytes = [
            &[0x09, 0x07, 0x01][..],
            &[0x0A, 0x13, 0x03, b'C', 0x03, b'a', 0x06, 0x05, b'h', b'i'],
            &[0x0A, 0x01, 0x06, 0x04],
            &[0x0A, 0x02],
        ];
        let object = Value::TypedObject { class: "C".into(), properties: Object::default().with("a", "hi") };
        assert_eq!(whole(&bytes.concat()), Value::StrictArray(vec![object.clone(), object, Value::Reference(1)]));
        // The empty text is not in the table: the first in it is "a".
        assert_eq!(
            whole(&[0x09, 0x07, 0x01, 0x06, 0x01, 0x06, 0x03, b'a', 0x06, 0x00]),
            Value::StrictArray(vec!["".into(), "a".into(), "a".into()])
        );
    }

    /// an object with members by class, then by name.
    #[test]
    fn a_dynamic_object_has_both_kinds_of_members() {
        let object = Object::default().with("app", "live").with("x", true);
        let bytes = [&[0x0A, 0x1B, 0x01, 0x07][..], b"app", &[0x06, 0x09], b"live", &[0x03, b'x', 0x03, 0x01]];
        assert_eq!(whole(&bytes.concat()), object.into());
    }

    /// the switch holds for one value.
    #[test]
    fn amf0_goes_on_behind_the_value() {
        assert_eq!(decode(&[0x03, 0x02, 0, 1, b'a']), (vec![true.into(), "a".into()], None));
    }

    #[test]
    fn references_to_nothing_end_the_message() {
        for bytes in [&[0x06, 0x02][..], &[0x0A, 0x04], &[0x0A, 0x05], &[0x09, 0x00]] {
            let (_, stopped) = decode(bytes);
            assert!(matches!(stopped, Some(ReadError::Reference { .. })), "{bytes:02x?}: {stopped:?}");
        }
        assert!(matches!(decode(&[0x0A, 0x07, 0x03, b'C']).1, Some(ReadError::UnknownMarker { marker: 0x0A, .. })));
        assert!(matches!(decode(&[0x12]).1, Some(ReadError::UnknownMarker { marker: 0x12, .. })));
    }

    ///
    #[test]
    fn what_was_read_before_the_end_is_kept() {
        let (values, stopped) = decode(&[0x0A, 0x0B, 0x01, 0x03, b'a', 0x03, 0x03, b'b']);
        assert_eq!(values, [Object::default().with("a", true).into()]);
        assert!(matches!(stopped, Some(ReadError::Truncated { .. })));
    }

    /// depth and count are those of AMF0; what references stand for has a limit of its own.
    #[test]
    fn amf3_has_limits() {
        let deep = [0x09, 0x03, 0x01].repeat(40);
        assert_eq!(decode(&deep).1, Some(ReadError::TooDeep { limit: 32 }));
        let vector = [&[0x09, 0x03, 0x01].repeat(32)[..], &[0x0D, 0x03, 0x00, 0, 0, 0, 1]].concat();
        assert_eq!(decode(&vector).1, Some(ReadError::TooDeep { limit: 32 }));
        let many = [&[0x09, 0xFF, 0xFF, 0x7F, 0x01][..], &[0x01; 5000]].concat();
        assert_eq!(decode(&many).1, Some(ReadError::TooManyValues { limit: 4096 }));
        let members = [&[0x0A, 0xFF, 0xFF, 0x7B, 0x01][..], &[0x01; 5000]].concat();
        assert_eq!(decode(&members).1, Some(ReadError::TooManyValues { limit: 4096 }));
        // A text of 100 000 bytes, and ten more of them by two bytes each; the eleventh is too much.
        let text = [&[0x09, 0xFF, 0xFF, 0x7F, 0x01, 0x06, 0x8C, 0x9A, 0x41][..], &[b'x'; 100_000]].concat();
        let copies = |count: usize| decode(&[&text[..], &[0x06, 0x00].repeat(count)].concat());
        assert!(matches!(copies(10).1, Some(ReadError::Truncated { .. })));
        assert_eq!(copies(11).1, Some(ReadError::TooMuchText { limit: 1 << 20 }));
    }
}
