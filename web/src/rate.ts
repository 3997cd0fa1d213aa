/**
 * Playback rate and target latency of the player. Pure: no clock, no element, so that it can be tested.
 *
 * hls.js 1.7 leaves the rate at 1 while less than one second is buffered, and a player half a second behind the encoder
 * never has that much.
 */

/** Slowest and fastest playback. Within these bounds speech sounds natural with the pitch kept. */
export const RATE_MIN = 0.95;
export const RATE_MAX = 1.1;

/** Distances (seconds) that are not worth a change of rate. */
const DEAD_BAND_S = 0.03;
/** Change of rate per second of distance, when there is too much and when there is too little in hand. */
const SPEED_UP_PER_S = 0.4;
const SLOW_DOWN_PER_S = 0.5;

/** What the player aims at, in seconds. */
export interface Goal {
  /** Distance of the playhead from the end of the playlist. */
  target: number;
  /** What the buffer may fall to just before the next part arrives. */
  safe: number;
}

/**
 * The goal for parts of `partTarget` seconds. The playhead has to stay one part behind the end, because the next one
 * comes as a whole; a second part's length and 50 ms cover the way of a part through network and decoder.
 * `override` is the viewer's wish for the target.
 */
export function goalFor(partTarget: number, override: number | null = null): Goal {
  const target = override ?? 2 * partTarget + 0.05;
  return { target, safe: Math.min(0.05 + partTarget / 4, target / 3) };
}

/** What the player measured, in seconds. */
export interface Measured {
  /** Distance of the playhead from the end of the playlist, now. */
  latency: number;
  /** The least that was buffered ahead of the playhead in the last moments. */
  lowWater: number;
}

/**
 * The rate to play at. Faster only when the picture is late *and* the buffer can spare it; slower when either is short.
 */
export function nextRate(measured: Measured, goal: Goal): number {
  const inHand = Math.min(measured.latency - goal.target, measured.lowWater - goal.safe);
  if (!Number.isFinite(inHand) || Math.abs(inHand) <= DEAD_BAND_S) return 1;
  const rate = 1 + inHand * (inHand > 0 ? SPEED_UP_PER_S : SLOW_DOWN_PER_S);
  // Steps of a hundredth: fewer changes for the audio stretcher.
  return Math.round(Math.min(RATE_MAX, Math.max(RATE_MIN, rate)) * 100) / 100;
}

/** The smallest of the values seen within the last `spanMs`. */
export class LowWater {
  readonly #spanMs: number;
  #samples: { at: number; value: number }[] = [];

  constructor(spanMs: number) {
    this.#spanMs = spanMs;
  }

  /** Takes a value seen at `now` (milliseconds, never going back) and answers with the smallest still remembered. */
  push(now: number, value: number): number {
    // A value is of no more use once a smaller one has come after it, so what remains rises from front to back.
    while ((this.#samples.at(-1)?.value ?? -Infinity) >= value) this.#samples.pop();
    this.#samples.push({ at: now, value });
    while ((this.#samples[0]?.at ?? now) < now - this.#spanMs) this.#samples.shift();
    return this.#samples[0]?.value ?? value;
  }

  clear() {
    this.#samples = [];
  }
}

/**
 * Seconds to add to the target after stalls: `step` for each, and one step less after each `calmMs` without one. A bad
 * minute must not cost latency for the rest of the evening.
 */
export class StallMargin {
  readonly #step: number;
  readonly #calmMs: number;
  readonly #stepsMax: number;
  #steps = 0;
  #changedAt = 0;

  constructor(step = 0.1, calmMs = 30_000, stepsMax = 10) {
    this.#step = step;
    this.#calmMs = calmMs;
    this.#stepsMax = stepsMax;
  }

  stalled(now: number) {
    this.#steps = Math.min(this.#stepsMax, this.#steps + 1);
    this.#changedAt = now;
  }

  seconds(now: number): number {
    while (this.#steps > 0 && now - this.#changedAt >= this.#calmMs) {
      this.#steps -= 1;
      this.#changedAt += this.#calmMs;
    }
    return this.#steps * this.#step;
  }
}
