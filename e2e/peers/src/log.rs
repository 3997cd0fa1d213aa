//! Lines that a child writes, and waiting for one of them.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::clock::Stopwatch;

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<String>,
    ended: bool,
}

/// Lines read so far, by a thread that reads on until the other end closes.
#[derive(Clone, Debug)]
pub struct Lines(Arc<(Mutex<Inner>, Condvar)>);

impl Lines {
    /// Reads `source` to its end in the background.
    pub fn of(source: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let shared = lines.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            // Programs redraw their progress with carriage returns and may write any bytes.
            while matches!(source.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                shared.change(|inner| inner.lines.push(text));
            }
            shared.change(|inner| inner.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&Inner) -> Option<T>) -> Option<T> {
        let watch = Stopwatch::start();
        let mut inner = self.0.0.lock().unwrap();
        loop {
            if let Some(found) = found(&inner) {
                return Some(found);
            }
            let left = watch.left(limit);
            if left.is_zero() || inner.ended {
                return None;
            }
            inner = self.0.1.wait_timeout(inner, left).unwrap().0;
        }
    }

    /// The first line that contains all of `words`, once it is there.
    pub fn find(&self, words: &[&str], limit: Duration) -> Option<String> {
        self.nth(words, 0, limit)
    }

    /// The line that contains all of `words` as `earlier` lines before it do, once it is there.
    pub fn nth(&self, words: &[&str], earlier: usize, limit: Duration) -> Option<String> {
        let wanted = |line: &&String| words.iter().all(|word| line.contains(word));
        self.wait(limit, |inner| inner.lines.iter().filter(wanted).nth(earlier).cloned())
    }

    /// Waits for the end; `false` when it does not come in time.
    pub fn ended(&self, limit: Duration) -> bool {
        self.wait(limit, |inner| inner.ended.then_some(())).is_some() || self.0.0.lock().unwrap().ended
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }
}
