//! `AVFilterGraph` with bwdif: interlaced frames to whole pictures.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use ffmpeg_sys_next as ffi;

use crate::{Error, Frame, Size, log};

/// Makes one whole picture of each interlaced frame, and passes the others through.
///
/// Which frames are interlaced, their own flag says. While they are, each frame comes out when the next one has gone in,
/// because the filter looks at both neighbours. A source that mixes both kinds stays in the filter, which leaves whole
/// pictures as they are; one that has sent none but these for a while leaves it, and nothing is held back any more.
#[derive(Debug, Default)]
pub struct Deinterlacer {
    graph: Option<Graph>,
    /// Whole pictures since the last interlaced one.
    whole: u32,
    ready: VecDeque<Frame>,
}

impl Deinterlacer {
    /// A deinterlacer before its first frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame in presentation order. Then call [`poll`](Self::poll) until it has no more.
    ///
    /// After an error the frame goes on as it is.
    pub fn push(&mut self, frame: Frame) -> Result<(), Error> {
        self.whole = if frame.is_interlaced() { 0 } else { self.whole.saturating_add(1) };
        let kind = Kind::of(&frame);
        if self.whole >= WHOLE_MAX || self.graph.as_ref().is_some_and(|graph| graph.kind != kind) {
            self.finish();
        }
        if self.graph.is_none() && !frame.is_interlaced() {
            self.ready.push_back(frame);
            return Ok(());
        }
        let result = self.filter(&frame, kind);
        if result.is_err() {
            self.finish();
            self.ready.push_back(frame);
        }
        result
    }

    fn filter(&mut self, frame: &Frame, kind: Kind) -> Result<(), Error> {
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => none.insert(Graph::new(kind)?),
        };
        graph.send(frame)?;
        while let Some(frame) = graph.receive()? {
            self.ready.push_back(frame);
        }
        Ok(())
    }

    /// The next picture, with the times and all else of the frame that it was made of.
    pub fn poll(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// Frames that it holds back for the next one.
    pub fn held(&self) -> usize {
        usize::from(self.graph.is_some())
    }

    /// Nothing follows that belongs to what it holds back: lets it out.
    pub fn finish(&mut self) {
        let Some(mut graph) = self.graph.take() else { return };
        graph.close();
        while let Ok(Some(frame)) = graph.receive() {
            self.ready.push_back(frame);
        }
    }

    /// Forgets all frames.
    pub fn flush(&mut self) {
        self.graph = None;
        self.ready.clear();
    }
}

/// What a graph is made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Kind {
    size: Size,
    format: c_int,
}

impl Kind {
    fn of(frame: &Frame) -> Self {
        Self { size: frame.size(), format: frame.raw().format }
    }
}

/// The libav object: a source, the filter, a sink.
#[derive(Debug)]
struct Graph {
    kind: Kind,
    graph: NonNull<ffi::AVFilterGraph>,
    source: NonNull<ffi::AVFilterContext>,
    sink: NonNull<ffi::AVFilterContext>,
}

// SAFETY: a graph and its filters may move between threads as long as only one uses them at a time, which `&mut self`
// ensures. It runs without threads of its own.
unsafe impl Send for Graph {}

/// Frees a graph that is still being made.
struct Owned(NonNull<ffi::AVFilterGraph>);

impl Owned {
    fn add(&self, filter: &CStr, name: &'static str, arguments: &str) -> Result<NonNull<ffi::AVFilterContext>, Error> {
        // SAFETY: looks up a table by a zero-terminated name; null means that libavfilter was built without it.
        let kind = unsafe { ffi::avfilter_get_by_name(filter.as_ptr()) };
        if kind.is_null() {
            return Err(Error::MissingCodec { name, kind: "filter" });
        }
        let arguments = CString::new(arguments).map_err(|_| Error::OutOfRange { what: "a filter's arguments" })?;
        let mut context = ptr::null_mut();
        // SAFETY: the graph is valid and owns the new filter; name and arguments are zero-terminated and copied.
        let code = unsafe {
            let (name, arguments, graph) = (filter.as_ptr(), arguments.as_ptr(), self.0.as_ptr());
            ffi::avfilter_graph_create_filter(&raw mut context, kind, name, arguments, ptr::null_mut(), graph)
        };
        Error::check(OPENING, code)?;
        NonNull::new(context).ok_or(Error::OutOfMemory { action: OPENING })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut graph = self.0.as_ptr();
        // SAFETY: the graph came from avfilter_graph_alloc and is freed once, with its filters.
        unsafe { ffi::avfilter_graph_free(&raw mut graph) }
    }
}

impl Graph {
    fn new(kind: Kind) -> Result<Self, Error> {
        log::silence();
        // SAFETY: avfilter_graph_alloc has no requirements; null means no memory.
        let graph = unsafe { ffi::avfilter_graph_alloc() };
        let graph = Owned(NonNull::new(graph).ok_or(Error::OutOfMemory { action: OPENING })?);
        // SAFETY: the graph is fresh; its public fields may be set before filters are added.
        unsafe { (*graph.0.as_ptr()).nb_threads = 1 };
        let Kind { size, format } = kind;
        let source = format!("video_size={size}:pix_fmt={format}:time_base=1/1:pixel_aspect=1/1");
        let source = graph.add(c"buffer", "buffer", &source)?;
        let filter = graph.add(c"bwdif", "bwdif", "mode=send_frame:parity=auto:deint=interlaced")?;
        let sink = graph.add(c"buffersink", "buffersink", "")?;
        for (from, to) in [(source, filter), (filter, sink)] {
            // SAFETY: all filters are of this graph and have one pad on the side that is linked, not linked before.
            let code = unsafe { ffi::avfilter_link(from.as_ptr(), 0, to.as_ptr(), 0) };
            Error::check(OPENING, code)?;
        }
        // SAFETY: every pad is linked; there is no object to log for.
        let code = unsafe { ffi::avfilter_graph_config(graph.0.as_ptr(), ptr::null_mut()) };
        Error::check(OPENING, code)?;
        let made = Self { kind, graph: graph.0, source, sink };
        std::mem::forget(graph);
        Ok(made)
    }

    fn send(&mut self, frame: &Frame) -> Result<(), Error> {
        let flags = ffi::AV_BUFFERSRC_FLAG_KEEP_REF as c_int;
        let mut frame = frame.reference()?;
        // SAFETY: the source is one of a configured graph; with KEEP_REF the frame stays ours.
        let code = unsafe { ffi::av_buffersrc_add_frame_flags(self.source.as_ptr(), frame.as_mut_ptr(), flags) };
        Error::check(FILTERING, code).map(|_| ())
    }

    fn receive(&mut self) -> Result<Option<Frame>, Error> {
        let mut frame = Frame::empty()?;
        // SAFETY: the sink is one of a configured graph; the frame is blank and is filled or left so.
        let code = unsafe { ffi::av_buffersink_get_frame_flags(self.sink.as_ptr(), frame.as_mut_ptr(), 0) };
        if code == ffi::AVERROR(ffi::EAGAIN) || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        Error::check(FILTERING, code)?;
        // The filter counts in halves, so that it could time fields; ours are whole numbers and tags at that.
        // SAFETY: the sink is one of a configured graph.
        let time_base = unsafe { ffi::av_buffersink_get_time_base(self.sink.as_ptr()) };
        if let Some(pts) = frame.pts()
            && time_base.den > 0
        {
            frame.set_pts(pts * i64::from(time_base.num) / i64::from(time_base.den));
        }
        Ok(Some(frame))
    }

    /// No frame follows.
    fn close(&mut self) {
        // SAFETY: the source is one of a configured graph; null marks the end. What fails here leaves nothing to receive.
        let _ = unsafe { ffi::av_buffersrc_add_frame_flags(self.source.as_ptr(), ptr::null_mut(), 0) };
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        drop(Owned(self.graph));
    }
}

/// Whole pictures in a row after which a source is taken to have gone over to them: two seconds or so.
const WHOLE_MAX: u32 = 60;
const OPENING: &str = "setting up the deinterlacer";
const FILTERING: &str = "deinterlacing";
