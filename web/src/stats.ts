/** What the player is doing. */
export type Phase = "connecting" | "waiting" | "playing" | "buffering" | "away" | "ended" | "failed";

/** One video rendition, as the multivariant playlist lists it. */
export interface LevelStats {
  name: string | null;
  width: number;
  height: number;
  bitrate: number;
}

/** Everything that the page shows and that tests read as `window.headwater.stats`. Times in seconds unless named. */
export interface Stats {
  phase: Phase;
  session: string | null;
  /** This device's clock against the picture's PROGRAM-DATE-TIME. */
  latency: number | null;
  /** Playhead to the end of the playlist. */
  edgeLatency: number | null;
  target: number | null;
  safe: number;
  partTarget: number | null;
  holdBack: number | null;
  buffer: number;
  /** The least that was buffered in the last moments. */
  lowWater: number | null;
  rate: number;
  droppedFrames: number;
  totalFrames: number;
  stalls: number;
  stalledMs: number;
  levels: LevelStats[];
  level: number;
  levelSwitches: number;
  /** What the viewer chose; -1 is automatic. */
  selected: number;
  rendition: string | null;
  bandwidth: number | null;
  /** Since the page began to load. */
  firstFrameMs: number | null;
  /** The playlist has ended: nothing more will come in this session. */
  ending: boolean;
  recoveries: { network: number; media: number; rebuild: number };
  /** Why the last rebuild happened. */
  rebuilt: string | null;
  jumps: string[];
  errors: { atMs: number; details: string; fatal: boolean; status: number | null }[];
}

export function blankStats(): Stats {
  return {
    phase: "connecting",
    session: null,
    latency: null,
    edgeLatency: null,
    target: null,
    safe: 0,
    partTarget: null,
    holdBack: null,
    buffer: 0,
    lowWater: null,
    rate: 1,
    droppedFrames: 0,
    totalFrames: 0,
    stalls: 0,
    stalledMs: 0,
    levels: [],
    level: -1,
    levelSwitches: 0,
    selected: -1,
    rendition: null,
    bandwidth: null,
    firstFrameMs: null,
    ending: false,
    recoveries: { network: 0, media: 0, rebuild: 0 },
    rebuilt: null,
    jumps: [],
    errors: [],
  };
}
