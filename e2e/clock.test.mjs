import assert from "node:assert/strict";
import { test } from "node:test";
import { COLUMNS, crc8, decodeBits, readRow } from "./clock.mjs";

// The same numbers as in the painter's test (xtask/src/clock.rs).
const TIME = Date.parse("2026-03-01T12:00:00.123Z");
const CODE = 0x9ca9450a7bf1n;
const bitsOf = (code) => Array.from({ length: 48 }, (_, index) => Number((code >> BigInt(47 - index)) & 1n));

/** A picture with the row painted, `contrast` around grey. */
function picture(code, width, contrast) {
  const height = Math.floor(width / 25);
  const pixels = new Uint8ClampedArray(width * height * 4);
  const row = [0, ...bitsOf(code), 1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const luma = 128 + (row[Math.floor((x * COLUMNS) / width)] ? contrast : -contrast);
      pixels.fill(luma, (y * width + x) * 4, (y * width + x) * 4 + 4);
    }
  }
  return [pixels, width, height];
}

test("the checksum is CRC-8 with 0x07 and 0xff", () => {
  assert.equal(crc8(Buffer.from("123456789")), 0xfb);
});

test("bits become the time nearest to now", () => {
  assert.equal(decodeBits(bitsOf(CODE), TIME + 5000), TIME);
  assert.equal(decodeBits(bitsOf(CODE), TIME - 5000), TIME);
});

test("a wrong bit is noticed", () => {
  for (let bit = 0n; bit < 48n; bit += 1n) assert.equal(decodeBits(bitsOf(CODE ^ (1n << bit)), TIME), null);
});

test("the row is read at any width", () => {
  for (const width of [405, 640, 853, 1280, 1919, 1920]) assert.equal(readRow(...picture(CODE, width, 110), TIME), TIME);
});

test("a picture without the row is no time", () => {
  assert.equal(readRow(...picture(CODE, 640, 20), TIME), null);
  assert.equal(readRow(...picture(0n, 640, 110), TIME), null);
});
