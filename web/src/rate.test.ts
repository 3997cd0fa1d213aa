import { describe, expect, it } from "vitest";
import { goalFor, LowWater, nextRate, RATE_MAX, RATE_MIN, StallMargin } from "./rate";

describe("goalFor", () => {
  it("stays about two parts behind the end", () => {
    expect(goalFor(0.1161).target).toBeCloseTo(0.282, 3);
    expect(goalFor(0.21334).target).toBeCloseTo(0.477, 3);
    expect(goalFor(0.53406).target).toBeCloseTo(1.118, 3);
    expect(goalFor(1.00267).target).toBeCloseTo(2.055, 3);
  });

  it("takes the viewer's target, and never asks for a buffer that this target cannot hold", () => {
    const goal = goalFor(0.2, 0.15);
    expect(goal.target).toBe(0.15);
    expect(goal.safe).toBeLessThanOrEqual(0.05);
  });
});

describe("nextRate", () => {
  const goal = { target: 0.5, safe: 0.1 };

  it("leaves the rate alone near the goal", () => {
    expect(nextRate({ latency: 0.52, lowWater: 0.2 }, goal)).toBe(1);
    expect(nextRate({ latency: 0.48, lowWater: 0.2 }, goal)).toBe(1);
  });

  it("plays faster when late with enough in the buffer", () => {
    expect(nextRate({ latency: 0.6, lowWater: 0.4 }, goal)).toBe(1.04);
    expect(nextRate({ latency: 3, lowWater: 2 }, goal)).toBe(RATE_MAX);
  });

  it("does not play faster out of a short buffer, however late", () => {
    expect(nextRate({ latency: 3, lowWater: 0.1 }, goal)).toBe(1);
    expect(nextRate({ latency: 3, lowWater: 0.02 }, goal)).toBeLessThan(1);
  });

  it("plays slower when too close to the end or when the buffer runs low", () => {
    expect(nextRate({ latency: 0.4, lowWater: 0.2 }, goal)).toBe(RATE_MIN);
    expect(nextRate({ latency: 0.5, lowWater: 0 }, goal)).toBe(RATE_MIN);
  });

  it("stays within its bounds and answers 1 to nonsense", () => {
    for (const latency of [-5, 0, 0.5, 1, 100, NaN]) {
      for (const lowWater of [0, 0.1, 5, NaN]) {
        const rate = nextRate({ latency, lowWater }, goal);
        expect(rate).toBeGreaterThanOrEqual(RATE_MIN);
        expect(rate).toBeLessThanOrEqual(RATE_MAX);
      }
    }
    expect(nextRate({ latency: NaN, lowWater: 1 }, goal)).toBe(1);
  });

  it("settles at the target without running the buffer dry", () => {
    // Parts of 0.2 s arrive whole; the player starts 1.2 s behind.
    const low = new LowWater(2500);
    let behind = 1.2;
    let rate = 1;
    for (let ms = 0; ms < 60_000; ms += 50) {
      behind -= (rate - 1) * 0.05;
      const sincePart = (ms % 200) / 1000;
      const buffered = behind - sincePart;
      expect(buffered).toBeGreaterThan(0);
      rate = nextRate({ latency: behind, lowWater: low.push(ms, buffered) }, goal);
    }
    expect(behind).toBeGreaterThan(0.45);
    expect(behind).toBeLessThan(0.55);
  });
});

describe("LowWater", () => {
  it("is the smallest value of the span", () => {
    const low = new LowWater(1000);
    expect(low.push(0, 5)).toBe(5);
    expect(low.push(100, 2)).toBe(2);
    expect(low.push(200, 4)).toBe(2);
    expect(low.push(1100, 6)).toBe(2);
    expect(low.push(1101, 6)).toBe(4);
    expect(low.push(5000, 9)).toBe(9);
  });
});

describe("StallMargin", () => {
  it("grows with each stall up to its bound and shrinks while all is calm", () => {
    const margin = new StallMargin(0.1, 1000, 2);
    expect(margin.seconds(0)).toBe(0);
    margin.stalled(0);
    expect(margin.seconds(999)).toBeCloseTo(0.1);
    margin.stalled(999);
    margin.stalled(999);
    expect(margin.seconds(1998)).toBeCloseTo(0.2);
    expect(margin.seconds(1999)).toBeCloseTo(0.1);
    expect(margin.seconds(2999)).toBe(0);
  });
});
