import { expect, it } from "vitest";
import { segmentAt } from "./abr";

const segments = [
  { start: 10, sn: 5 },
  { start: 12, sn: 6 },
];

it("a rendition may change where a listed segment starts", () => {
  expect(segmentAt(12.01, segments)).toBe(6);
  expect(segmentAt(9.999999, segments)).toBe(5);
});

it("a rendition may not change within a segment", () => {
  expect(segmentAt(12.2, segments)).toBe(null);
  expect(segmentAt(13.9, segments)).toBe(null);
  expect(segmentAt(14, segments)).toBe(null);
  expect(segmentAt(14, [])).toBe(null);
});
