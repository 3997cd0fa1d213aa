import { expect, it } from "vitest";
import { atSegmentStart } from "./abr";

const segments = [{ start: 10 }, { start: 12 }];

it("a rendition may change where a listed segment starts", () => {
  expect(atSegmentStart(12.01, segments)).toBe(true);
  expect(atSegmentStart(9.999999, segments)).toBe(true);
});

it("a rendition may not change within a segment", () => {
  expect(atSegmentStart(12.2, segments)).toBe(false);
  expect(atSegmentStart(13.9, segments)).toBe(false);
  expect(atSegmentStart(14, segments)).toBe(false);
  expect(atSegmentStart(14, [])).toBe(false);
});
