import Hls, { type HlsConfig, type LevelDetails } from "hls.js";
import type { Change } from "./playlists";

/** How far (seconds) the buffer's end may be from a segment's start to count as there. */
const NEAR_S = 0.04;
/** With less than this (seconds) left there is nothing to lose by changing in mid-segment. */
const STARVING_S = 0.03;
/** The viewer's choice rests for this long after hls.js had to leave it. */
const REST_MS = 10_000;

/**
 * The segment with which a buffer that ends at `end` can go on in another rendition, because it begins there, with an
 * IDR. A segment that is not listed yet does not count: hls.js would load the one before it once more.
 */
export function segmentAt(end: number, segments: readonly { start: number; sn: number }[]): number | null {
  return segments.find((segment) => Math.abs(segment.start - end) < NEAR_S)?.sn ?? null;
}

function nextSegment(end: number, { fragments, fragmentHint }: LevelDetails): number | null {
  return segmentAt(end, fragmentHint ? [...fragments, fragmentHint] : fragments);
}

/**
 * hls.js's choice of rendition, or the viewer's, put into effect at the start of a segment only. In mid-segment hls.js
 * would load the segment again from its IDR; the browser cannot join that to the frame it shows, and the picture stands
 * still until the next IDR. `chosen` answers with the level that the viewer wants; -1 leaves it to hls.js. `changing`
 * hears of each change at a segment's start.
 */
export function segmentAbrController(
  chosen: () => number,
  changing: (change: Change) => void,
): HlsConfig["abrController"] {
  return class extends Hls.DefaultConfig.abrController {
    #forced = -1;
    #restUntil = 0;

    override get nextAutoLevel(): number {
      const wanted = this.#wanted();
      const current = this.hls.loadLevel;
      if (current === this.#forced) this.#forced = -1;
      if (this.#forced !== -1) return this.#forced;
      if (current < 0 || wanted === current) return wanted;
      const buffer = this.hls.mainForwardBufferInfo;
      const details = this.hls.levels[current]?.details;
      if (!buffer || !details || buffer.len < STARVING_S) return wanted;
      const segment = nextSegment(buffer.end, details);
      if (segment === null) return current;
      changing({ level: wanted, segment });
      return wanted;
    }

    override set nextAutoLevel(level: number) {
      // hls.js sets the level that it is on at each step, and another one only to get away from an error.
      if (level !== -1 && level !== this.hls.loadLevel) {
        this.#forced = level;
        if (level !== chosen()) this.#restUntil = performance.now() + REST_MS;
      }
      super.nextAutoLevel = level;
    }

    #wanted(): number {
      const level = chosen();
      const resting = performance.now() < this.#restUntil;
      if (level >= 0 && level < this.hls.levels.length && !resting) return level;
      return super.nextAutoLevel;
    }
  };
}
