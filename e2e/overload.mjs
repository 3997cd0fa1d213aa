// Too little of the processor, as `cargo xtask e2e --overload` runs it: while other programs take it away, gears are shed
// from the top; when they have ended, the gears come back. Prints what happened when.

import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { withClock, withServer } from "./headwater.mjs";

const SHED_WITHIN_S = 60;
const BACK_WITHIN_S = 120;
const GEARS = ["720p-2500", "360p-730", "180p-200"];

const config = `
transcode.when = "always"
transcode.cpu_percent = 100
[[ladders]]
name = "three"
gears = [
  { width = 1280, height = 720, bitrate_kbps = 2500 },
  { width = 640, height = 360, bitrate_kbps = 730 },
  { width = 320, height = 180, bitrate_kbps = 200 },
]
`;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const began = Date.now();
const say = (text) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);

/** Programs that count up, at the usual priority; the server has a lower one. */
function hogs() {
  const count = 3 * availableParallelism();
  return Array.from({ length: count }, () => spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
}

async function look(server) {
  const stream = await (await fetch(`${server.admin}/api/v1/streams/live/clock`)).json();
  const gears = stream.renditions.filter((rendition) => GEARS.includes(rendition.name));
  const multivariant = await (await fetch(`${server.http}/live/clock/index.m3u8`)).text();
  const listed = GEARS.filter((name) => multivariant.includes(`/${name}/`));
  return { gears, listed };
}

async function until(server, seconds, what, wanted) {
  const limit = Date.now() + seconds * 1000;
  for (let before = ""; ; await sleep(500)) {
    const { gears, listed } = await look(server);
    const now = gears.map((gear) => `${gear.name} ${gear.on ? "on" : gear.off_reason}`).join(", ");
    if (now !== before) say(`${now}; listed: ${listed.join(" ")}`);
    before = now;
    if (wanted(gears, listed)) return;
    if (Date.now() > limit) throw new Error(`not within ${seconds} s: ${what}`);
  }
}

const allOn = (gears, listed) => gears.every((gear) => gear.on) && listed.length === GEARS.length;
const topIsShed = ([top], listed) => /^shed/.test(top.off_reason ?? "") && !listed.includes(top.name);

await withServer({ ladder: "three", config, nice: 10 }, (server) =>
  withClock(server, { name: "live/clock", width: 1280, height: 720, kbps: 4000 }, async () => {
    await until(server, 30, "all gears are on", allOn);
    say("other programs take the processor");
    const programs = hogs();
    try {
      await until(server, SHED_WITHIN_S, "the largest gear is shed", topIsShed);
    } finally {
      programs.forEach((program) => program.kill("SIGKILL"));
    }
    say("they have ended");
    await until(server, BACK_WITHIN_S, "all gears are back", allOn);
    const metrics = await (await fetch(`${server.admin}/metrics`)).text();
    const resident = /^VmHWM.*$/m.exec(await (await import("node:fs/promises")).readFile(`/proc/${server.pid}/status`, "utf8"));
    say(`${/^headwater_gears_shed_total.*$/m.exec(metrics)?.[0]}, ${resident?.[0].replace(/\s+/g, " ")}`);
  }),
);
