import { expect, it } from "vitest";
import { joinAtSegments } from "./playlists";

it("only a segment's first part can be entered at", () => {
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
  expect(joinAtSegments(playlist.join("\n")).split("\n")).toEqual([
    "#EXTINF:2.00000,",
    "4.m4s",
    '#EXT-X-PART:DURATION=0.20000,URI="5.0.m4s",INDEPENDENT=YES',
    '#EXT-X-PART:DURATION=0.20000,URI="5.1.m4s"',
    '#EXT-X-PART:DURATION=0.20000,URI="5.10.m4s"',
    '#EXT-X-PART:DURATION=0.20000,URI="5.11.m4s"',
    '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="5.12.m4s"',
    "",
  ]);
});
