import { expect, it } from "vitest";
import { Loads } from "./loads";

it("a track that nothing is asked for is abandoned after a while, also beside one that goes on", () => {
  const loads = new Loads();
  expect(loads.abandoned(5000, 1000)).toBe(false);
  loads.began("main", 1000);
  loads.began("audio", 1000);
  loads.moved("main", 1100);
  loads.ended("main", 1200);
  expect(loads.abandoned(2200, 1000)).toBe(false);
  loads.moved("audio", 2300);
  expect(loads.abandoned(2300, 1000)).toBe(true);
  expect(loads.lastAt).toBe(2300);
});

it("a slow request is not an abandoned one", () => {
  const loads = new Loads();
  loads.began("main", 1000);
  expect(loads.abandoned(9000, 1000)).toBe(false);
  loads.clear();
  expect(loads.abandoned(9000, 1000)).toBe(false);
});
