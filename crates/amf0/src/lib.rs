//! AMF0 values: read and write.
