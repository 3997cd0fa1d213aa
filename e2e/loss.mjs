// Workers that are lost while a browser plays a gear, as `cargo xtask e2e --loss` runs it: every ten seconds a thread
// panics, an encoder hangs, or a job stops reading. Prints a Markdown table.
//
//   node loss.mjs [--profiles low,relaxed] [--seconds 70]

import { parseArgs } from "node:util";
import { withClock, withServer } from "./headwater.mjs";
import { play } from "./play.mjs";

const GEAR = "360p-730";
const EVERY_S = 10;
const FAULTS = ["panic", "hang", "stop"];
/** Extra delay and stalled time per loss, in ms, at most; null is not demanded. */
const GOALS = {
  ultra: { extra: 800, stalled: null },
  low: { extra: 800, stalled: 300 },
  relaxed: { extra: 800, stalled: 0 },
  standard: { extra: 800, stalled: 0 },
};

const config = `
[[ladders]]
name = "one"
[[ladders.gears]]
name = "${GEAR}"
width = 640
height = 360
bitrate_kbps = 730
`;

const { values } = parseArgs({
  options: { profiles: { type: "string", default: "low,relaxed,standard" }, seconds: { type: "string", default: "70" } },
});
const seconds = Number(values.seconds);
const found = [];
const rows = [];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Makes a job fail every ten seconds, the last time ten seconds before the end. */
async function lose(server, log) {
  for (let at = EVERY_S; at <= seconds - EVERY_S; at += EVERY_S) {
    await sleep(EVERY_S * 1000);
    const fault = FAULTS[log.length % FAULTS.length];
    const answer = await fetch(`${server.admin}/api/v1/faults/${fault}`, { method: "POST" });
    if (!answer.ok) throw new Error(`${fault}: ${answer.status}`);
    log.push(fault);
  }
}

async function profile(server, latency) {
  const losses = [];
  const url = `${server.http}/watch/live/clock`;
  const result = await play({ url, seconds, rendition: GEAR, during: () => lose(server, losses) });
  const stream = await (await fetch(`${server.admin}/api/v1/streams/live/clock`)).json();
  const playlist = await (await fetch(`${server.http}/live/clock/${stream.session}/${GEAR}/index.m3u8`)).text();
  const failed = Number(/^headwater_transcode_jobs_failed_total (\d+)/m.exec(await (await fetch(`${server.admin}/metrics`)).text())?.[1]);
  const { p50, max } = result.glassToGlassMs;
  const extra = max - p50;
  const goal = GOALS[latency];
  const check = (holds, sentence) => holds || found.push(`${latency}: ${sentence}`);
  check(failed === losses.length, `${losses.length} faults were asked for, ${failed} jobs failed`);
  check(stream.gap_parts === 0, `${stream.gap_parts} parts are missing`);
  check(!/DISCONTINUITY$|GAP/m.test(playlist), "the playlist has a discontinuity or a gap");
  check(extra <= goal.extra, `${extra} ms of extra delay`);
  if (goal.stalled !== null) {
    check(result.stalledMs <= goal.stalled * losses.length, `${result.stalls} stalls of ${result.stalledMs} ms together`);
  }
  check(result.pageErrors.length === 0, `script errors: ${result.pageErrors.join("; ")}`);
  rows.push([
    latency,
    `${losses.length}`,
    `${(p50 / 1000).toFixed(2)}`,
    `${(max / 1000).toFixed(2)}`,
    `${result.stalls} (${result.stalledMs} ms)`,
    `${stream.gap_parts}`,
    `${result.jumps.length}`,
  ]);
}

for (const latency of values.profiles.split(",")) {
  console.error(`${latency}: playing for ${seconds} s`);
  await withServer({ latency, ladder: "one", config, flags: ["--fault-points"] }, (server) =>
    withClock(server, { name: "live/clock", width: 640, height: 360, kbps: 1500 }, () => profile(server, latency)),
  );
}

const heads = ["profile", "workers lost", "glass to glass p50 s", "max s", "stalls", "parts missing", "jumps"];
const line = (cells) => `| ${cells.join(" | ")} |`;
console.log([line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n"));
for (const sentence of found) console.error(`FAULT ${sentence}`);
if (found.length > 0) process.exitCode = 1;
