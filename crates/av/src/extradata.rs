//! A codec's configuration record in libav's memory.

use std::ffi::c_int;
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;

use crate::Error;

/// Copies the record into a context that is not open yet, with the zero bytes behind it that libav demands.
///
/// # Safety
///
/// `context` is valid, and this is the only use of it meanwhile.
pub(crate) unsafe fn set(
    context: NonNull<ffi::AVCodecContext>,
    record: &[u8],
    action: &'static str,
) -> Result<(), Error> {
    let size = c_int::try_from(record.len()).map_err(|_| Error::OutOfRange { what: "size of a configuration" })?;
    let padding = usize::try_from(ffi::AV_INPUT_BUFFER_PADDING_SIZE).unwrap_or(64);
    // SAFETY: av_mallocz takes any size; null means no memory.
    let copy = unsafe { ffi::av_mallocz(record.len() + padding) }.cast::<u8>();
    if copy.is_null() {
        return Err(Error::OutOfMemory { action });
    }
    // SAFETY: `copy` is fresh and longer than the record. The context, which the caller vouches for, takes ownership:
    // avcodec_free_context frees extradata, which must come from av_malloc and be followed by
    // AV_INPUT_BUFFER_PADDING_SIZE zeros.
    unsafe {
        std::ptr::copy_nonoverlapping(record.as_ptr(), copy, record.len());
        (*context.as_ptr()).extradata = copy;
        (*context.as_ptr()).extradata_size = size;
    }
    Ok(())
}
