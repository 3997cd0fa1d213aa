// The figures for docs/benchmarks.md, as `cargo xtask e2e --full` runs it: 720p with the `hd` ladder, a minute for each
// latency profile, and the same without the page's own measures beside it. Prints a Markdown table.
//
//   node full.mjs [--profiles ultra,low] [--seconds 60] [--plain-seconds 20] [--samples FILE]

import { writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { withClock, withServer } from "./headwater.mjs";
import { play } from "./play.mjs";

const GEAR = "480p-1400";
/**
 * Below 0.7 of this the ladder would make a gear of the source's own size. On two cores, which the publisher, its
 * picture and a browser without a graphics card share with the server, that would measure the lack of a third.
 */
const SOURCE_KBPS = 4000;
/** Playback begins on a stream that has been on for so long: encoders have caught up with their start. */
const WARM_UP_MS = 5000;
/** Seconds, glass to glass, p50; null is not demanded. */
const GOALS = {
  ultra: { source: null, gear: 0.5 },
  low: { source: 0.7, gear: 0.8 },
  relaxed: { source: null, gear: null },
  standard: { source: null, gear: null },
};

const { values } = parseArgs({
  options: {
    profiles: { type: "string", default: Object.keys(GOALS).join(",") },
    seconds: { type: "string", default: "60" },
    "plain-seconds": { type: "string", default: "20" },
    samples: { type: "string" },
  },
});

const faults = [];
const rows = [];
const details = {};

function check(holds, sentence) {
  if (!holds) faults.push(sentence);
}

const inSeconds = (ms) => (ms === null || ms === undefined ? "–" : (ms / 1000).toFixed(2));

async function profile(server, latency) {
  const url = `${server.http}/watch/live/clock`;
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  const load = loadavg()[0];
  const seconds = Number(values.seconds);
  const tuned = await play({ url, seconds, rendition: "source", switchTo: GEAR, audio: true });
  const plain = await play({ url, seconds: Number(values["plain-seconds"]), mode: "plain", rendition: "source" });
  details[latency] = { tuned, plain };
  const source = tuned.byRendition.source;
  const gear = tuned.byRendition[GEAR];
  const goal = GOALS[latency];
  for (const [what, got, wanted] of [["the source", source, goal.source], [GEAR, gear, goal.gear]]) {
    check(got?.p50 != null, `${latency}: ${what} was not read from the picture`);
    if (wanted !== null) check(got?.p50 <= wanted * 1000, `${latency}: ${what} is ${got?.p50} ms behind, the goal is ${wanted} s`);
  }
  check(tuned.stalls === 0, `${latency}: ${tuned.stalls} stalls (${tuned.stalledMs} ms)`);
  check(tuned.switched?.afterMs != null, `${latency}: the change to ${GEAR} was not seen`);
  check(tuned.sound.peak > 0.01, `${latency}: no sound`);
  check(tuned.pageErrors.length === 0, `${latency}: script errors: ${tuned.pageErrors.join("; ")}`);
  rows.push([
    latency,
    inSeconds(tuned.firstFrameMs),
    `${inSeconds(source?.p50)} / ${inSeconds(source?.p95)}`,
    `${inSeconds(gear?.p50)} / ${inSeconds(gear?.p95)}`,
    `${tuned.stalls}`,
    `${tuned.droppedFrames} of ${tuned.totalFrames}`,
    inSeconds(tuned.switched?.afterMs),
    `${inSeconds(plain.glassToGlassMs.p50)} / ${inSeconds(plain.glassToGlassMs.p95)} (${plain.stalls})`,
    load.toFixed(1),
  ]);
}

for (const latency of values.profiles.split(",")) {
  if (!(latency in GOALS)) throw new Error(`there is no profile ${latency}`);
  console.error(`${latency}: playing for ${values.seconds} s, then ${values["plain-seconds"]} s plain`);
  await withServer({ latency, ladder: "hd" }, (server) =>
    withClock(server, { name: "live/clock", width: 1280, height: 720, kbps: SOURCE_KBPS }, () => profile(server, latency)),
  );
}

const heads = [
  "profile",
  "first frame s",
  "source p50 / p95 s",
  `${GEAR} p50 / p95 s`,
  "stalls",
  "dropped frames",
  "switch seen after s",
  "hls.js alone, source p50 / p95 s (stalls)",
  "load before",
];
const line = (cells) => `| ${cells.join(" | ")} |`;
const day = new Date().toISOString().slice(0, 10);
console.log(`${day}, ${availableParallelism()} x ${cpus()[0]?.model.trim()}, ${values.seconds} s for each profile\n`);
console.log([line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n"));
if (values.samples) await writeFile(values.samples, JSON.stringify(details));
for (const fault of faults) console.error(`FAULT ${fault}`);
if (faults.length > 0) process.exitCode = 1;
