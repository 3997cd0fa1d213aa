//! The clock picture as raw yuv420p: colour bars, a moving box, and the wall clock of the moment of painting, once in
//! digits for people and once as a row of blocks for programs. `e2e/clock.md` defines the row; `e2e/clock.mjs` reads it.
//!
//! Frames keep real time: a frame that comes late is followed at once by the next, none is left out, because an encoder
//! that counts frames would fall behind the clock with each one missing.

use std::io::{ErrorKind, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::process::now;

/// Blocks that carry bits.
const BITS: usize = 48;
/// Columns of the row: the bits, with one black block before and one white block after them.
const COLUMNS: usize = BITS + 2;
/// Low bits of the Unix milliseconds that are painted; the rest of the 48 is their checksum.
const TIME_BITS: u32 = 40;
/// Limited-range luma.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// Writes `fps` frames a second of `width` x `height` to `out`, in real time, for `seconds` or until `out` is closed.
pub(crate) fn run(width: u32, height: u32, fps: u32, seconds: Option<u64>, out: &mut impl Write) -> Result<()> {
    if !(160..=7680).contains(&width) || !(96..=7680).contains(&height) || !(1..=240).contains(&fps) {
        bail!("the clock paints 160x96 to 7680x7680 at 1 to 240 frames a second, not {width}x{height} at {fps}");
    }
    let mut picture = Picture::new(width.try_into()?, height.try_into()?);
    let begin = now();
    for index in 0..seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(fps.into())) {
        // From the count each time, so that nothing adds up.
        let due = Duration::from_nanos(index.saturating_mul(1_000_000_000) / u64::from(fps));
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        picture.paint(unix_milliseconds()?, index);
        // Standard output is buffered by lines: without the flush the end of a frame would wait for the next.
        match out.write_all(&picture.frame).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result.context("writing the clock picture")?,
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the wall clock is what the picture is about")]
fn unix_milliseconds() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(u64::try_from(since.as_millis())?)
}

/// The 48 bits of the row, the first block's highest: 40 bits of time, 8 of checksum.
fn code(unix_milliseconds: u64) -> u64 {
    let time = unix_milliseconds & ((1 << TIME_BITS) - 1);
    time << 8 | u64::from(crc8(&time.to_be_bytes()[3..]))
}

/// CRC-8 with the polynomial 0x07 and the initial value 0xff, so that a black picture is no valid time.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

/// `HH:MM:SS.mmm`, UTC.
fn digits(unix_milliseconds: u64) -> String {
    let (seconds, milliseconds) = (unix_milliseconds / 1000, unix_milliseconds % 1000);
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// One frame that is painted over again and again, and the parts of it that do not change.
struct Picture {
    width: usize,
    height: usize,
    /// The bars, as luma, to put back where the box was.
    bars: Vec<u8>,
    /// Rough luma that scrolls below the bars; without it an encoder would have next to nothing to do.
    texture: Vec<u8>,
    /// Y, then U, then V.
    frame: Vec<u8>,
}

impl Picture {
    fn new(width: usize, height: usize) -> Self {
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let bars: Vec<u8> = (0..width).map(|x| bar(x, width).0).collect();
        let mut frame = Vec::with_capacity(width * height + 2 * chroma_width * chroma_height);
        for _ in 0..height {
            frame.extend_from_slice(&bars);
        }
        for plane in [1, 2] {
            for y in 0..chroma_height {
                let grey = 2 * y < row_height(width) || 2 * y >= texture_top(height);
                frame.extend((0..chroma_width).map(|x| match (grey, plane) {
                    (true, _) => 128,
                    (false, 1) => bar(2 * x, width).1,
                    (false, _) => bar(2 * x, width).2,
                }));
            }
        }
        Self { width, height, bars, texture: texture(width), frame }
    }

    /// Paints frame `index` with the time `unix_milliseconds`.
    fn paint(&mut self, unix_milliseconds: u64, index: u64) {
        let step = usize::try_from(index % (1 << 30)).unwrap_or(0);
        self.paint_texture(step);
        self.paint_box(step);
        self.paint_digits(&digits(unix_milliseconds));
        self.paint_code(code(unix_milliseconds));
    }

    /// One row of 50 blocks across the top: black, the bits (white is 1), white.
    fn paint_code(&mut self, code: u64) {
        let width = self.width;
        let line: Vec<u8> = (0..width)
            .map(|x| match x * COLUMNS / width {
                0 => BLACK,
                column @ 1..=BITS if code >> (BITS - column) & 1 == 0 => BLACK,
                _ => WHITE,
            })
            .collect();
        for y in 0..row_height(width).min(self.height) {
            self.frame[y * width..][..width].copy_from_slice(&line);
        }
    }

    fn paint_digits(&mut self, text: &str) {
        let scale = (self.width / 100).max(1);
        let (left, top) = (2 * scale, row_height(self.width) + 2 * scale);
        // Dark ground, one cell of margin around, also where the box passes.
        self.fill(left - scale, top - scale, (text.len() * 4 + 1) * scale, 7 * scale, BLACK);
        for (position, character) in text.bytes().enumerate() {
            for (row, bits) in glyph(character).into_iter().enumerate() {
                for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                    let x = left + (position * 4 + column) * scale;
                    self.fill(x, top + row * scale, scale, scale, WHITE);
                }
            }
        }
    }

    /// A box that goes back and forth over the bars, one width in about four seconds at 30 frames a second.
    fn paint_box(&mut self, step: usize) {
        let (top, size) = (self.height / 2, self.width / 10);
        let bottom = (top + size).min(texture_top(self.height));
        for y in top..bottom {
            self.frame[y * self.width..][..self.width].copy_from_slice(&self.bars);
        }
        let way = self.width - size;
        let gone = step * (self.width / 120).max(1) % (2 * way);
        self.fill(if gone < way { gone } else { 2 * way - gone }, top, size, bottom - top, WHITE);
    }

    fn paint_texture(&mut self, step: usize) {
        let width = self.width;
        for y in texture_top(self.height)..self.height {
            // Each band of eight lines has its own speed, so that one motion vector does not describe them all.
            let from = (y * 131 + step * (1 + y / 8 % 5)) % width;
            let line = &mut self.frame[y * width..][..width];
            line[..width - from].copy_from_slice(&self.texture[from..]);
            line[width - from..].copy_from_slice(&self.texture[..from]);
        }
    }

    /// Fills a rectangle of luma, clipped to the picture.
    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, luma: u8) {
        let (left, right) = (left.min(self.width), (left + width).min(self.width));
        for y in top..(top + height).min(self.height) {
            self.frame[y * self.width + left..y * self.width + right].fill(luma);
        }
    }
}

/// Lines of the code row: two blocks' worth.
fn row_height(width: usize) -> usize {
    width / (COLUMNS / 2)
}

/// The first line of the scrolling texture.
fn texture_top(height: usize) -> usize {
    height * 3 / 4
}

/// 75 % bars as Y, U, V (BT.601), from left to right.
fn bar(x: usize, width: usize) -> (u8, u8, u8) {
    const BARS: [(u8, u8, u8); 7] = [
        (180, 128, 128),
        (162, 44, 142),
        (131, 156, 44),
        (112, 72, 58),
        (84, 184, 198),
        (65, 100, 212),
        (35, 212, 114),
    ];
    BARS[(x * BARS.len() / width).min(BARS.len() - 1)]
}

/// One line of rough luma: a random walk, the same each time.
fn texture(width: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut luma = 128_u8;
    (0..width)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [high, ..] = state.to_be_bytes();
            luma = if high & 0x80 == 0 { luma.saturating_add(high / 4) } else { luma.saturating_sub((high - 128) / 4) };
            luma = luma.clamp(40, 210);
            luma
        })
        .collect()
}

/// Three by five cells; each row's three bits, top row first.
fn glyph(character: u8) -> [u8; 5] {
    match character {
        b'0' => [0b111, 0b101, 0b101, 0b101, 0b111],
        b'1' => [0b010, 0b110, 0b010, 0b010, 0b111],
        b'2' => [0b111, 0b001, 0b111, 0b100, 0b111],
        b'3' => [0b111, 0b001, 0b111, 0b001, 0b111],
        b'4' => [0b101, 0b101, 0b111, 0b001, 0b001],
        b'5' => [0b111, 0b100, 0b111, 0b001, 0b111],
        b'6' => [0b111, 0b100, 0b111, 0b101, 0b111],
        b'7' => [0b111, 0b001, 0b010, 0b010, 0b010],
        b'8' => [0b111, 0b101, 0b111, 0b101, 0b111],
        b'9' => [0b111, 0b101, 0b111, 0b001, 0b111],
        b':' => [0b000, 0b010, 0b000, 0b010, 0b000],
        _ => [0b000, 0b000, 0b000, 0b000, 0b010],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01T12:00:00.123Z; the reader's test in `e2e/` has the same number.
    const TIME: u64 = 1_772_366_400_123;

    #[test]
    fn the_code_is_time_and_checksum() {
        assert_eq!(code(TIME) >> 8, TIME & 0xff_ffff_ffff);
        assert_eq!(code(TIME), 0x9ca9_450a_7bf1);
        assert_eq!(crc8(b"123456789"), 0xfb);
        assert_ne!(code(0), 0);
    }

    #[test]
    fn the_digits_are_the_time_of_day() {
        assert_eq!(digits(TIME), "12:00:00.123");
    }

    #[test]
    fn the_painted_row_can_be_read_back() {
        for (width, height) in [(640, 360), (1280, 720), (405, 720), (1919, 1079)] {
            let mut picture = Picture::new(width, height);
            picture.paint(TIME, 1000);
            let middle = row_height(width) / 2 * width;
            let bits = (1..=BITS).fold(0_u64, |bits, column| {
                let x = (2 * column + 1) * width / (2 * COLUMNS);
                bits << 1 | u64::from(picture.frame[middle + x] > 128)
            });
            assert_eq!(bits, code(TIME), "{width}x{height}");
            assert_eq!((picture.frame[middle], picture.frame[middle + width - 1]), (BLACK, WHITE));
        }
    }

    #[test]
    fn frames_have_the_size_that_their_format_demands() {
        assert_eq!(Picture::new(640, 360).frame.len(), 640 * 360 * 3 / 2);
        assert_eq!(Picture::new(405, 721).frame.len(), 405 * 721 + 2 * 203 * 361);
    }

    #[test]
    fn a_closed_pipe_ends_the_picture() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        run(640, 360, 30, None, &mut Closed).unwrap();
        assert!(run(0, 360, 30, None, &mut Closed).is_err());
    }
}
