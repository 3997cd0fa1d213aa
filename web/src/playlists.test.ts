import { expect, it } from "vitest";
import { adapted, beginningWith, patient, withoutSourceSound } from "./playlists";

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

it("each picture is listed once, with sound that every browser takes", () => {
  const media = (group: string) => `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="${group}",NAME="Main",URI="${group}.m3u8"\n`;
  const variant = (group: string) => `#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="${group}",CLOSED-CAPTIONS=NONE\n360p.m3u8\n`;
  const plain = `#EXTM3U\n${media("audio")}${variant("audio")}`;
  const whole = `#EXTM3U\n${media("audio")}${media("audio-source")}${variant("audio")}${variant("audio-source")}`;
  expect(withoutSourceSound(whole)).toBe(plain);
  expect(withoutSourceSound(plain)).toBe(plain);
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
