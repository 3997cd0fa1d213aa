//! Commands: name, transaction, command object, arguments (RTMP 1.0, 7.2).

use std::fmt;

use headwater_amf0::{Limits, Object, ReadError, Value, read_all, write};

use crate::{Message, MessageType};

/// One command, either way. Its `Debug` shows the name only: arguments may be stream keys.
#[derive(Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// 0 when no answer is wanted.
    pub(crate) transaction: f64,
    /// Usually an object or null.
    pub(crate) object: Value,
    pub(crate) arguments: Vec<Value>,
}

impl Command {
    pub(crate) fn new(name: &str, transaction: f64, object: impl Into<Value>, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction, object: object.into(), arguments }
    }

    /// `None` when the message does not begin with a name. Missing parts are null, 0 or absent. The error is that of
    /// a limit; all else that cannot be decoded is cut off (R-36).
    pub(crate) fn read(message: &Message, limits: Limits) -> Result<Option<Self>, ReadError> {
        let decoded = match (message.kind, &*message.payload) {
            // R-38: a format byte, which some leave out.
            (MessageType::CommandAmf3, [0, rest @ ..]) => read_all(rest, limits),
            (_, payload) => read_all(payload, limits),
        };
        if let Some(error) = decoded.stopped.filter(ReadError::is_limit) {
            return Err(error);
        }
        let mut values = decoded.values.into_iter();
        let Some(Value::String(name)) = values.next() else { return Ok(None) };
        let transaction = values.next().and_then(|value| value.as_number()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Some(Self { name, transaction, object, arguments: values.collect() }))
    }

    /// The payload of a type 20 message.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &self.name.as_str().into());
        write(&mut out, &self.transaction.into());
        write(&mut out, &self.object);
        for argument in &self.arguments {
            write(&mut out, argument);
        }
        out
    }

    /// The text at `index` of the arguments.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).and_then(Value::as_str)
    }

    /// The object at `index` of the arguments: the information object of a reply or status.
    pub(crate) fn info(&self, index: usize) -> Option<&Object> {
        self.arguments.get(index).and_then(Value::as_object)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({:?}, {})", self.name, self.transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: MessageType, payload: Vec<u8>) -> Message {
        Message { timestamp: 0, kind, stream_id: 0, payload: payload.into() }
    }

    fn read(kind: MessageType, payload: Vec<u8>) -> Option<Command> {
        Command::read(&message(kind, payload), Limits::default()).unwrap()
    }

    #[test]
    fn a_command_is_read_as_written() {
        let command = Command::new("publish", 5.0, Value::Null, vec!["key".into(), "live".into()]);
        assert_eq!(read(MessageType::Command, command.to_payload()), Some(command));
    }

    /// R-38: with the format byte, and without it.
    #[test]
    fn type_17_has_a_format_byte_that_some_leave_out() {
        let command = Command::new("createStream", 4.0, Value::Null, vec![]);
        let payload = command.to_payload();
        assert_eq!(read(MessageType::CommandAmf3, payload.clone()), Some(command.clone()));
        assert_eq!(read(MessageType::CommandAmf3, [vec![0], payload].concat()), Some(command));
    }

    /// R-38: any value may be AMF3 (marker 11), here an object without properties.
    #[test]
    fn an_object_may_be_amf3() {
        let mut payload = Command::new("x", 4.0, Value::Null, vec![]).to_payload();
        payload.pop();
        payload.extend([0x11, 0x0A, 0x0B, 0x01, 0x01]);
        assert_eq!(read(MessageType::Command, payload), Some(Command::new("x", 4.0, Object::default(), vec![])));
    }

    /// R-3: too many values end the connection; nonsense does not.
    #[test]
    fn a_limit_is_an_error_and_nonsense_is_not() {
        assert!(Command::read(&message(MessageType::Command, vec![5; 5000]), Limits::default()).is_err());
        assert_eq!(read(MessageType::Command, vec![0xFF; 10]), None);
        assert_eq!(read(MessageType::Command, vec![]), None);
    }

    /// R-58.
    #[test]
    fn debug_does_not_show_arguments() {
        let command = Command::new("publish", 5.0, Value::Null, vec!["secret".into()]);
        assert_eq!(format!("{command:?}"), r#"Command("publish", 5)"#);
    }
}
