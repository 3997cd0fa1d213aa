import { expect, it } from "vitest";
import * as format from "./format";

it("shows seconds with two decimals, and a dash for what is not known", () => {
  expect(format.seconds(0.7449)).toBe("0.74 s");
  expect(format.seconds(null)).toBe("–");
  expect(format.seconds(NaN)).toBe("–");
});

it("shows bit rates in the unit that fits", () => {
  expect(format.bitrate(730_000)).toBe("730 kbit/s");
  expect(format.bitrate(3_000_000)).toBe("3.0 Mbit/s");
  expect(format.bitrate(41_200_000)).toBe("41 Mbit/s");
  expect(format.bitrate(0)).toBe("–");
});

it("shows how long a stream has been live", () => {
  expect(format.elapsed(-500)).toBe("0 s");
  expect(format.elapsed(59_999)).toBe("59 s");
  expect(format.elapsed(60_000)).toBe("1 min");
  expect(format.elapsed(7_200_000)).toBe("2 h");
  expect(format.elapsed(7_500_000)).toBe("2 h 5 min");
  expect(format.elapsed(72 * 3_600_000)).toBe("3 days");
});

it("names a rendition by what is known of it", () => {
  expect(format.rendition("720p-3000", 1280, 720, 3_128_000)).toBe("720p-3000, 1280x720, 3.1 Mbit/s");
  expect(format.rendition("source", 0, 0, 0)).toBe("source");
  expect(format.rendition(null, 0, 0, 0)).toBe("–");
});
