//! `AVPacket`: one coded access unit.

use std::ffi::c_int;
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;

use crate::Error;

/// One coded access unit, in libav's memory.
#[derive(Debug)]
pub(crate) struct Packet {
    packet: NonNull<ffi::AVPacket>,
}

// SAFETY: a packet is plain memory with one owner; libav ties it to no thread.
unsafe impl Send for Packet {}

impl Packet {
    /// An empty packet.
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: av_packet_alloc has no requirements; null means no memory.
        let packet = unsafe { ffi::av_packet_alloc() };
        let packet = NonNull::new(packet).ok_or(Error::OutOfMemory { action: "making a packet" })?;
        Ok(Self { packet })
    }

    /// Replaces what is in it with a copy of `data`. libav demands zero bytes behind the data, which the bytes of a
    /// shared buffer do not have; hence the copy.
    pub(crate) fn fill(&mut self, data: &[u8], pts: i64, dts: i64) -> Result<(), Error> {
        let size = c_int::try_from(data.len()).map_err(|_| Error::OutOfRange { what: "size of an access unit" })?;
        self.clear();
        let packet = self.packet.as_ptr();
        // SAFETY: the packet is blank after `clear`; on success it owns `size` writable bytes and zeroed padding.
        let code = unsafe { ffi::av_new_packet(packet, size) };
        Error::check("making a packet", code)?;
        // SAFETY: av_new_packet allocated `size` = data.len() bytes at `data`, fresh memory that overlaps nothing.
        unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), (*packet).data, data.len());
            (*packet).pts = pts;
            (*packet).dts = dts;
        }
        Ok(())
    }

    /// The coded bytes.
    pub(crate) fn data(&self) -> &[u8] {
        // SAFETY: `packet` is valid as long as self.
        let (data, size) = unsafe { ((*self.packet.as_ptr()).data, (*self.packet.as_ptr()).size) };
        match usize::try_from(size) {
            // SAFETY: a packet's `data` points to `size` initialised bytes that live until it is unreferenced, which
            // needs `&mut self`.
            Ok(size) if size > 0 && !data.is_null() => unsafe { std::slice::from_raw_parts(data, size) },
            _ => &[],
        }
    }

    /// Presentation and decode time in the codec's time base.
    pub(crate) fn times(&self) -> (i64, i64) {
        // SAFETY: `packet` is valid as long as self; both are plain integers.
        unsafe { ((*self.packet.as_ptr()).pts, (*self.packet.as_ptr()).dts) }
    }

    /// Drops its reference to the data.
    pub(crate) fn clear(&mut self) {
        // SAFETY: av_packet_unref takes any allocated packet, blank or not.
        unsafe { ffi::av_packet_unref(self.packet.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *const ffi::AVPacket {
        self.packet.as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.packet.as_ptr()
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.packet.as_ptr();
        // SAFETY: the packet came from av_packet_alloc and is freed once; av_packet_free drops its data too.
        unsafe { ffi::av_packet_free(&raw mut packet) }
    }
}
