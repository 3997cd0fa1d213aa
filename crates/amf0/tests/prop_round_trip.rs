//! What is written is read back; what is not AMF0 never panics.

use headwater_amf0::{Limits, Object, Value, read_all, write};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-1e18..1e18f64).prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,12}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        any::<u16>().prop_map(Value::Reference),
        (-1e15..1e15f64).prop_map(Value::Date),
        Just(Value::Unsupported),
        ".{0,12}".prop_map(Value::Xml),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let object = prop::collection::vec((".{0,6}", inner.clone()), 0..6).prop_map(Object);
        prop_oneof![
            object.clone().prop_map(Value::Object),
            object.clone().prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ("[A-Za-z.]{0,9}", object).prop_map(|(class, properties)| Value::TypedObject { class, properties }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(values in prop::collection::vec(value(), 0..5)) {
        let mut bytes = Vec::new();
        for value in &values {
            write(&mut bytes, value);
        }
        let decoded = read_all(&bytes, Limits::default());
        prop_assert_eq!(decoded.stopped, None);
        prop_assert_eq!(decoded.values, values);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(prop_oneof![0u8..=0x12, any::<u8>()], 0..200)) {
        let _ = read_all(&bytes, Limits::default());
    }

    /// a message cut anywhere gives a prefix of its values and perhaps one more that is cut short.
    #[test]
    fn a_cut_message_keeps_its_whole_values(values in prop::collection::vec(value(), 0..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for value in &values {
            write(&mut bytes, value);
            ends.push(bytes.len());
        }
        let length = cut.index(bytes.len() + 1);
        let decoded = read_all(&bytes[..length], Limits::default());
        let whole = ends.iter().filter(|end| **end <= length).count();
        prop_assert_eq!(&decoded.values[..whole], &values[..whole]);
    }
}
