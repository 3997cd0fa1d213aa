// A stream that nobody watches, as `cargo xtask e2e --cold` runs it: what it costs, how long its first viewer waits for
// the multivariant playlist, and how each player starts on it. Prints Markdown tables for docs/benchmarks.md.
//
//   node cold.mjs [--wakings 5] [--seconds 10] [--players "hls.js;video.js"]

import { readFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { quantile } from "./browser.mjs";
import { withClock, withServer } from "./headwater.mjs";
import { PAGE_PLAYERS, playInChromium, playInFFmpeg, playInFirefox, playInGStreamer, withPages } from "./players.mjs";

const STREAM = "live/clock";
/** More than 0.7 of this the ladder's largest gear has: `hd` then keeps its gear of the source's size. */
const SOURCE_KBPS = 5000;
const COLD_TIMEOUT_MS = 30_000;
/** Gears made no part of a segment that began after they stopped: who comes sooner waits for one. */
const NEXT_SEGMENTS_MS = 4500;
const SETTLE_S = 5;
const PLAYLIST_GOAL_MS = 1000;

const config = `
transcode.cold_after_seconds = 5
`;

const { values } = parseArgs({
  options: {
    wakings: { type: "string", default: "5" },
    seconds: { type: "string", default: "10" },
    players: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const found = [];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const text = async (url) => (await fetch(url)).text();

const renditions = async (server) => JSON.parse(await text(`${server.admin}/api/v1/streams/${STREAM}`)).renditions;

/** Waits until no gear is made any more. Answers with the names of those that are when somebody watches. */
async function untilCold(server) {
  const limit = Date.now() + COLD_TIMEOUT_MS;
  for (;;) {
    const gears = (await renditions(server)).filter((rendition) => rendition.off_reason === "nobody watches");
    const jobs = /^headwater_transcode_jobs (\d+)/m.exec(await text(`${server.admin}/metrics`))?.[1];
    if (gears.length > 0 && jobs === "0") {
      await sleep(NEXT_SEGMENTS_MS);
      return gears.map((gear) => gear.name);
    }
    if (Date.now() > limit) throw new Error(`not cold after ${COLD_TIMEOUT_MS / 1000} s: ${jobs} jobs`);
    await sleep(100);
  }
}

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** Seconds of processor time that process `pid` has taken. */
async function processorSeconds(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name, in brackets, may hold anything.
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
  return (user + system) / ticksPerSecond;
}

/** Processor seconds of the server for each second, over `seconds`. */
async function cost(server) {
  const began = performance.now();
  const before = await processorSeconds(server.pid);
  await sleep(seconds * 1000);
  return ((await processorSeconds(server.pid)) - before) / ((performance.now() - began) / 1000);
}

async function costs(server) {
  await untilCold(server);
  const unwatched = await cost(server);
  let watched;
  await playInChromium(`${server.http}/watch/${STREAM}`, SETTLE_S, async () => (watched = await cost(server)));
  return { unwatched, watched };
}

/** Asks a cold stream for its multivariant playlist. */
async function wake(server) {
  const gears = await untilCold(server);
  const began = performance.now();
  const playlist = await text(`${server.http}/${STREAM}/index.m3u8`);
  const ms = performance.now() - began;
  const missing = gears.filter((name) => !playlist.includes(`/${name}/`));
  if (missing.length > 0) found.push(`${missing.join(", ")} not listed after ${Math.round(ms)} ms`);
  return { ms, gears };
}

async function wakings(server) {
  const times = [];
  let gears;
  for (let turn = 0; turn < Number(values.wakings); turn += 1) {
    const woken = await wake(server);
    times.push(woken.ms);
    gears = woken.gears;
  }
  const median = quantile(times, 0.5);
  if (median > PLAYLIST_GOAL_MS) found.push(`the playlist took ${Math.round(median)} ms, the goal is ${PLAYLIST_GOAL_MS} ms`);
  return { times, median, gears };
}

/** Each player by its name: what it is started with. */
function players(server, address) {
  const source = `${server.http}/${STREAM}/index.m3u8`;
  const page = `${server.http}/watch/${STREAM}`;
  return {
    "the page": () => playInChromium(page, seconds),
    ...Object.fromEntries(PAGE_PLAYERS.map((name) => [name, () => playInChromium(address(name, source), seconds)])),
    "the page in Firefox": () => playInFirefox(page, seconds),
    "GStreamer playbin3": () => playInGStreamer("playbin3", source, seconds),
    "GStreamer playbin": () => playInGStreamer("playbin", source, seconds),
    FFmpeg: () => playInFFmpeg(source, seconds),
  };
}

const line = (cells) => `| ${cells.join(" | ")} |`;
const table = (heads, rows) => [line(heads), line(heads.map(() => "---")), ...rows.map(line), ""].join("\n");
const inSeconds = (ms) => (ms / 1000).toFixed(2);

/** The same error many times is one with a number. */
function summed(errors) {
  const counts = new Map();
  for (const { fatal, text } of errors) {
    const sentence = `${fatal ? "fatal: " : ""}${text.trim()}`;
    counts.set(sentence, (counts.get(sentence) ?? 0) + 1);
  }
  return [...counts].map(([sentence, count]) => (count > 1 ? `${count} times ${sentence}` : sentence));
}

async function start(name, play, server) {
  await untilCold(server);
  console.error(`${name}, load ${loadavg()[0].toFixed(1)}`);
  const seen = await play();
  const errors = summed(seen.errors);
  if (seen.firstMs === null) found.push(`${name} shows nothing`);
  for (const error of errors) found.push(`${name}: ${error}`);
  return [
    name,
    seen.firstMs === null ? "–" : inSeconds(seen.firstMs),
    seen.renditions.join(", ") || "–",
    seen.stalls === null ? "–" : seen.stalls === 0 ? "0" : `${seen.stalls} (${seen.stalledMs} ms)`,
    errors.length === 0 ? "none" : `${seen.errors.length}`,
  ];
}

await withServer({ ladder: "hd", config }, (server) =>
  withClock(server, { name: STREAM, width: 1280, height: 720, kbps: SOURCE_KBPS }, () =>
    withPages(async (address) => {
      const all = Object.entries(players(server, address));
      const wanted = values.players?.split(";");
      console.error(`load ${loadavg()[0].toFixed(1)}`);
      if (!wanted) {
        const { times, median, gears } = await wakings(server);
        const { unwatched, watched } = await costs(server);
        console.log(
          table(
            ["processor seconds a second, nobody watches", "one player watches", "playlist of a cold stream, median", "each", "gears listed"],
            [[unwatched.toFixed(3), watched.toFixed(3), `${inSeconds(median)} s`, times.map(inSeconds).join(", "), gears.join(", ")]],
          ),
        );
      }
      const rows = [];
      for (const [name, play] of all) {
        if (!wanted || wanted.includes(name)) rows.push(await start(name, play, server));
      }
      console.log(table(["player", "first frame s", "loaded", `stalls in ${seconds} s`, "errors"], rows));
    }),
  ),
);

for (const sentence of found) console.error(`FAULT ${sentence}`);
if (found.length > 0) process.exitCode = 1;
