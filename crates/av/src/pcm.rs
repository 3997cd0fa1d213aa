//! Sound as samples: what resamplers make and encoders take.

/// Samples of one or more channels, in order; taken from the front, added at the back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pcm {
    channels: Vec<Vec<f32>>,
}

impl Pcm {
    /// No samples of so many channels.
    pub fn new(channels: usize) -> Self {
        Self { channels: vec![Vec::new(); channels] }
    }

    /// These samples; all channels have equally many.
    pub fn from_channels(mut channels: Vec<Vec<f32>>) -> Self {
        let length = channels.iter().map(Vec::len).min().unwrap_or(0);
        channels.iter_mut().for_each(|channel| channel.truncate(length));
        Self { channels }
    }

    /// Samples in each channel.
    pub fn len(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples of each channel, from -1 to 1.
    pub fn channels(&self) -> &[Vec<f32>] {
        &self.channels
    }

    /// Adds `count` silent samples.
    pub fn push_silence(&mut self, count: usize) {
        let length = self.len() + count;
        self.channels.iter_mut().for_each(|channel| channel.resize(length, 0.0));
    }

    /// Adds `value(channel)` of each channel; all have equal lengths.
    pub(crate) fn extend<'a>(&mut self, value: impl Fn(usize) -> &'a [f32]) {
        self.channels.iter_mut().enumerate().for_each(|(index, channel)| channel.extend_from_slice(value(index)));
    }

    /// Keeps the first `length` samples.
    pub fn truncate(&mut self, length: usize) {
        self.channels.iter_mut().for_each(|channel| channel.truncate(length));
    }

    /// Drops the first `count` samples, or all that there are.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len());
        self.channels.iter_mut().for_each(|channel| {
            channel.drain(..count);
        });
    }
}
