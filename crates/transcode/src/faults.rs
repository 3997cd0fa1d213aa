//! Trouble on demand, to see that a job that is lost goes on elsewhere.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is to go wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A gear's thread panics.
    Panic,
    /// A gear's thread does not come back from its encoder.
    Hang,
    /// A job reads no more samples.
    Stop,
}

/// Points at which a worker can be made to fail. Each fault happens once, to whichever job gets there first.
#[derive(Debug, Default)]
pub struct Faults(AtomicU8);

impl Faults {
    /// Makes the next job that can fail so.
    pub fn inject(&self, fault: Fault) {
        self.0.store(fault.code(), Ordering::Relaxed);
    }

    /// A gear's thread is inside its encoder.
    pub(crate) fn gear(&self) {
        if self.happens(Fault::Panic) {
            panic!("a fault that was asked for");
        }
        if self.happens(Fault::Hang) {
            hang();
        }
    }

    /// A job is about to look at an item of the log.
    pub(crate) fn reader(&self) {
        if self.happens(Fault::Stop) {
            hang();
        }
    }

    fn happens(&self, fault: Fault) -> bool {
        let code = fault.code();
        // Looked at for every picture: only a fault that is there is worth a write.
        self.0.load(Ordering::Relaxed) == code
            && self.0.compare_exchange(code, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Fault {
    const fn code(self) -> u8 {
        match self {
            Self::Panic => 1,
            Self::Hang => 2,
            Self::Stop => 3,
        }
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}
