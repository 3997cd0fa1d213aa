import { expect, it } from "vitest";
import { atSegmentStart } from "./abr";

const segments = [
  { start: 10, end: 12 },
  { start: 12, end: 14.002 },
];

it("a rendition may change where a segment starts, also one that is not listed yet", () => {
  expect(atSegmentStart(12.01, segments)).toBe(true);
  expect(atSegmentStart(14, segments)).toBe(true);
});

it("a rendition may not change within a segment", () => {
  expect(atSegmentStart(12.2, segments)).toBe(false);
  expect(atSegmentStart(13.9, segments)).toBe(false);
  expect(atSegmentStart(14.2, segments)).toBe(false);
  expect(atSegmentStart(14, [])).toBe(false);
});
