import { expect, it } from "vitest";
import { adapted, beginningWith, patient } from "./playlists";

it("only a segment's first part can be entered at, and segments end before the buffer does", () => {
  const playlist = [
    "#EXTINF:2.00000,",
    "4.m4s",
    '#EXT-X-PART:DURATION=0.20000,URI="5.0.m4s",INDEPENDENT=YES',
    '#EXT-X-PART:DURATION=0.20000,URI="5.1.m4s",INDEPENDENT=YES',
    '#EXT-X-PART:DURATION=0.20000,INDEPENDENT=YES,URI="5.10.m4s"',
    '#EXT-X-PART:DURATION=0.20000,URI="5.11.m4s"',
    '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="5.12.m4s"',
    "",
  ];
  expect(adapted(playlist.join("\n")).split("\n")).toEqual([
    "#EXTINF:1.99998,",
    "4.m4s",
    '#EXT-X-PART:DURATION=0.20000,URI="5.0.m4s",INDEPENDENT=YES',
    '#EXT-X-PART:DURATION=0.20000,URI="5.1.m4s"',
    '#EXT-X-PART:DURATION=0.20000,URI="5.10.m4s"',
    '#EXT-X-PART:DURATION=0.20000,URI="5.11.m4s"',
    '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="5.12.m4s"',
    "",
  ]);
});

it("a playlist is asked for the segment to go on with", () => {
  const address = "http://localhost/live/show/~s/480p/index.m3u8";
  expect(beginningWith(16, `${address}?_HLS_msn=15&_HLS_part=9`)).toBe(`${address}?_HLS_msn=16&_HLS_part=0`);
  expect(beginningWith(16, address)).toBe(`${address}?_HLS_msn=16&_HLS_part=0`);
});

it("a held request is waited for as long as the server holds it", () => {
  const loadPolicy = { maxTimeToFirstByteMs: 2400, maxLoadTimeMs: 2400, timeoutRetry: null, errorRetry: null };
  const config = { loadPolicy, timeout: 2400, maxRetry: 0, retryDelay: 0, maxRetryDelay: 0 };
  const { maxTimeToFirstByteMs, maxLoadTimeMs } = patient(config).loadPolicy;
  expect(Math.min(maxTimeToFirstByteMs, maxLoadTimeMs)).toBeGreaterThan(9000);
  expect(config.loadPolicy).toEqual(loadPolicy);
});
