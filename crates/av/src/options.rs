//! `AVDictionary`: options by name.

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use ffmpeg_sys_next as ffi;

use crate::Error;

/// Options for opening a codec. The codec takes out what it knows; what is left is a mistake.
#[derive(Debug)]
pub(crate) struct Options {
    dictionary: *mut ffi::AVDictionary,
}

impl Options {
    pub(crate) const fn new() -> Self {
        Self { dictionary: ptr::null_mut() }
    }

    /// Adds one option, replacing an earlier one of that name.
    pub(crate) fn set(&mut self, name: &'static CStr, value: &str) -> Result<(), Error> {
        let value = CString::new(value).map_err(|_| Error::OutOfRange { what: "an option with a zero byte" })?;
        // SAFETY: both strings are zero-terminated and are copied (no AV_DICT_DONT_STRDUP flag); a null dictionary is
        // allowed and is allocated by the call.
        let code = unsafe { ffi::av_dict_set(&raw mut self.dictionary, name.as_ptr(), value.as_ptr(), 0) };
        Error::check("setting an option", code).map(|_| ())
    }

    /// For calls that take options out: libav may free and replace the dictionary.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        &raw mut self.dictionary
    }

    /// `name=value` of what is in it, separated by commas; empty when nothing is.
    pub(crate) fn list(&self) -> String {
        let mut list = String::new();
        let mut entry: *const ffi::AVDictionaryEntry = ptr::null();
        loop {
            let flags: c_int = ffi::AV_DICT_IGNORE_SUFFIX;
            // SAFETY: an empty key with IGNORE_SUFFIX walks over all entries; `entry` is null or came from the call
            // before, and the dictionary is not changed meanwhile.
            entry = unsafe { ffi::av_dict_get(self.dictionary, c"".as_ptr(), entry, flags) };
            if entry.is_null() {
                return list;
            }
            // SAFETY: keys and values of an entry are zero-terminated strings owned by the dictionary.
            let (key, value) = unsafe { (CStr::from_ptr((*entry).key), CStr::from_ptr((*entry).value)) };
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(&key.to_string_lossy());
            list.push('=');
            list.push_str(&value.to_string_lossy());
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: av_dict_free takes null too, and sets the pointer to null.
        unsafe { ffi::av_dict_free(&raw mut self.dictionary) }
    }
}
