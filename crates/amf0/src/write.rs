//! Writing values.

use crate::{Object, Value, marker};

/// Appends `value`.
///
/// Property and class names are cut to 65535 bytes, which is all that their length field can say.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(marker::NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(value) => out.extend_from_slice(&[marker::BOOLEAN, u8::from(*value)]),
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(_) => {
                out.push(marker::STRING);
                write_name(out, text);
            }
            Err(_) => {
                out.push(marker::LONG_STRING);
                write_long(out, text);
            }
        },
        Value::Object(object) => {
            out.push(marker::OBJECT);
            write_properties(out, object);
        }
        Value::Null => out.push(marker::NULL),
        Value::Undefined => out.push(marker::UNDEFINED),
        Value::Reference(index) => {
            out.push(marker::REFERENCE);
            out.extend_from_slice(&index.to_be_bytes());
        }
        Value::EcmaArray(object) => {
            out.push(marker::ECMA_ARRAY);
            out.extend_from_slice(&count(object.0.len()).to_be_bytes());
            write_properties(out, object);
        }
        Value::StrictArray(values) => {
            out.push(marker::STRICT_ARRAY);
            out.extend_from_slice(&count(values.len()).to_be_bytes());
            for value in values {
                write(out, value);
            }
        }
        Value::Date(millis) => {
            out.push(marker::DATE);
            out.extend_from_slice(&millis.to_be_bytes());
            out.extend_from_slice(&[0, 0]); // time zone, reserved
        }
        Value::Unsupported => out.push(marker::UNSUPPORTED),
        Value::Xml(text) => {
            out.push(marker::XML);
            write_long(out, text);
        }
        Value::TypedObject { class, properties } => {
            out.push(marker::TYPED_OBJECT);
            write_name(out, class);
            write_properties(out, properties);
        }
    }
}

fn write_properties(out: &mut Vec<u8>, object: &Object) {
    for (name, value) in &object.0 {
        write_name(out, name);
        write(out, value);
    }
    out.extend_from_slice(&[0, 0, marker::OBJECT_END]);
}

fn write_name(out: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    let length = u16::try_from(end).expect("the end is at most 65535");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn write_long(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&count(text.len()).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("no value that we write comes near 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value);
        out
    }

    /// the bytes of each kind.
    #[test]
    fn each_kind_has_its_marker() {
        assert_eq!(written(&Value::Number(1.0)), [0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&Value::Boolean(true)), [1, 1]);
        assert_eq!(written(&"ab".into()), [2, 0, 2, b'a', b'b']);
        assert_eq!(written(&Object::default().with("k", Value::Null).into()), [3, 0, 1, b'k', 5, 0, 0, 9]);
        assert_eq!(written(&Value::Undefined), [6]);
        assert_eq!(written(&Value::Reference(0x102)), [7, 1, 2]);
        assert_eq!(
            written(&Value::EcmaArray(Object::default().with("k", Value::Null))),
            [8, 0, 0, 0, 1, 0, 1, b'k', 5, 0, 0, 9]
        );
        assert_eq!(written(&Value::StrictArray(vec![Value::Null, Value::Null])), [10, 0, 0, 0, 2, 5, 5]);
        assert_eq!(written(&Value::Date(1.0)), [11, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&Value::Unsupported), [13]);
        assert_eq!(written(&Value::Xml("x".into())), [15, 0, 0, 0, 1, b'x']);
        let typed = Value::TypedObject { class: "C".into(), properties: Object::default() };
        assert_eq!(written(&typed), [16, 0, 1, b'C', 0, 0, 9]);
    }

    /// a string of 65536 bytes needs the long form.
    #[test]
    fn a_long_text_becomes_a_long_string() {
        let bytes = written(&"x".repeat(65_536).into());
        assert_eq!(bytes[..5], [12, 0, 1, 0, 0]);
        assert_eq!(bytes.len(), 5 + 65_536);
        assert_eq!(written(&"x".repeat(65_535).into())[..3], [2, 0xFF, 0xFF]);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        let name = "ä".repeat(40_000);
        let bytes = written(&Object::default().with(&name, Value::Null).into());
        assert_eq!(bytes[1..3], 65_534u16.to_be_bytes());
    }
}
