//! What an AMF0 value can be.

/// One AMF0 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Marker `00`.
    Number(f64),
    /// Marker `01`.
    Boolean(bool),
    /// Markers `02` (up to 65535 bytes) and `0C` (longer): the length decides which one is written.
    String(String),
    /// Marker `03`.
    Object(Object),
    /// Marker `05`.
    Null,
    /// Marker `06`.
    Undefined,
    /// Marker `07`: the index of an object that came earlier in the message. It is not resolved.
    Reference(u16),
    /// Marker `08`: an object with a count that is only a hint.
    EcmaArray(Object),
    /// Marker `0A`.
    StrictArray(Vec<Self>),
    /// Marker `0B`: milliseconds since 1970, UTC. The time zone is reserved and not kept.
    Date(f64),
    /// Marker `0D`.
    Unsupported,
    /// Marker `0F`: an XML document as text.
    Xml(String),
    /// Marker `10`.
    TypedObject {
        /// The class.
        class: String,
        /// Its properties.
        properties: Object,
    },
}

impl Value {
    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The text of a string, short or long.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The properties of an object, ECMA array or typed object: they are interchangeable on read.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) | Self::EcmaArray(object) | Self::TypedObject { properties: object, .. } => {
                Some(object)
            }
            _ => None,
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

/// Properties in the order in which they stand in the message; a name may come more than once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(pub Vec<(String, Value)>);

impl Object {
    /// The value of `name`; of several the last.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The number called `name`.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_number)
    }

    /// The text called `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Adds a property and hands the object back, so that literals read as lists.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }
}
