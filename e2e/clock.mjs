// Reads the clock picture; clock.md defines it. `readRow` is also injected into the page as text: it may use nothing
// but what is in this file.

/** Columns of the row: one black block, 48 bits, one white block. */
export const COLUMNS = 50;

/** CRC-8, polynomial 0x07, initial value 0xff. */
export function crc8(bytes) {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  return crc;
}

/** The Unix milliseconds in 48 bits (an array of 0 and 1), nearest to `now`; null when the checksum is wrong. */
export function decodeBits(bits, now) {
  const bytes = [];
  for (let start = 0; start < 48; start += 8) {
    bytes.push(bits.slice(start, start + 8).reduce((byte, bit) => byte * 2 + bit, 0));
  }
  if (crc8(bytes.slice(0, 5)) !== bytes[5]) return null;
  const low = bytes.slice(0, 5).reduce((time, byte) => time * 256 + byte, 0);
  const span = 2 ** 40;
  return low + Math.round((now - low) / span) * span;
}

/**
 * The painted Unix milliseconds in `pixels` (RGBA, `width` x `height`: the upper part of the picture, at least one block
 * high), or null.
 */
export function readRow(pixels, width, height, now) {
  const block = width / COLUMNS;
  const top = Math.round(block / 2);
  const bottom = Math.min(height, Math.max(top + 1, Math.round(block * 1.5)));
  const mean = (column) => {
    const left = Math.round((column + 0.25) * block);
    const right = Math.max(left + 1, Math.round((column + 0.75) * block));
    let sum = 0;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) sum += pixels[(y * width + x) * 4 + 1];
    }
    return sum / ((bottom - top) * (right - left));
  };
  const black = mean(0);
  const white = mean(COLUMNS - 1);
  if (white - black < 64) return null;
  const bits = [];
  for (let column = 1; column < COLUMNS - 1; column += 1) bits.push(mean(column) > (black + white) / 2 ? 1 : 0);
  return decodeBits(bits, now);
}
