// Publishers and servers that are lost while players play, as `cargo xtask e2e --outage` runs it. Prints a Markdown table
// for docs/benchmarks.md.
//
//   node outage.mjs [--outages publisher:5,publisher:20,publisher:45,server:5] [--players "the page;hls.js"]
//                   [--latency low] [--one-page]
//
// A clock is published and killed, and comes back after a time. What is measured, in the picture, is the time from the
// first new part in the playlist to when the picture moves (which it may have done all along: who is far behind has more
// to show), and to the first picture that was painted after the outage. Players that do not know parts need a whole
// segment: theirs is measured from there. With the kind `server`, the server is killed too and comes back at once with
// what it kept in its `state_dir`; the publisher comes back after the time.
//
// Each outage is measured in a new page. Chromium plays on when it has 0.2 s of sound, and twice as much after each time
// that it ran out, up to 3 s (`AudioRendererAlgorithm::IncreasePlaybackThreshold`), until somebody seeks: with `--one-page`
// all outages come one after another in the same page, and that grows.

import { loadavg } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { openProbed, withBrowser } from "./browser.mjs";
import { publishClock, withServer } from "./headwater.mjs";
import { ALL_PAGE_PLAYERS, look, withPages } from "./players.mjs";

const STREAM = "live/clock";
export const CLOCK = { name: STREAM, width: 640, height: 360, kbps: 1500 };
const THE_PAGE = "the page";
const START_TIMEOUT_MS = 60_000;
/** Before the first outage, and after each. */
const SETTLE_MS = 8000;
/** A player that shows nothing new for this long after the first new part is dead. */
const DEAD_MS = 40_000;
const SAMPLE_MS = 50;
/** From the first new part, or the first new segment, to when the picture moves. */
const GOAL_MS = 1000;
/** Who has to keep to it, and whether they know parts. */
const HELD_TO_IT = { [THE_PAGE]: "part", "hls.js": "part", "video.js": "segment" };

const CONFIG = `
[[ladders]]
name = "one"
[[ladders.gears]]
name = "360p-730"
width = 640
height = 360
bitrate_kbps = 730
`;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The source rendition's playlist: its discontinuities, and whether it has a part and a segment after the last of them. */
async function playlist(server, session) {
  const text = await (await fetch(`${server.http}/${STREAM}/${session}/source/index.m3u8`)).text();
  const before = Number(/DISCONTINUITY-SEQUENCE:(\d+)/.exec(text)?.[1] ?? 0);
  const tags = text.split("#EXT-X-DISCONTINUITY\n");
  const rest = tags.at(-1);
  return {
    discontinuities: before + tags.length - 1,
    part: rest.includes("#EXT-X-PART:"),
    segment: rest.includes("#EXTINF:"),
  };
}

/** When the playlist got its first `what`, a part or a segment, after its next discontinuity. */
async function firstNew(what, server, session, { discontinuities }) {
  const limit = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < limit) {
    const now = await playlist(server, session).catch(() => null);
    if (now?.[what] && now.discontinuities > discontinuities) return Date.now();
    await sleep(20);
  }
  throw new Error(`the publisher came back, and no ${what}`);
}

async function sessionOf(server) {
  const text = await (await fetch(`${server.http}/${STREAM}/index.m3u8`)).text();
  return /^(~[a-z2-7]{16})\//m.exec(text)[1];
}

/** Runs in the page: when the first picture that was painted at `from` or later was on the screen. */
function firstShown(from) {
  const wall = (sample) => performance.timeOrigin + sample.atMs;
  const sample = window.probe.samples.find((one) => one.latencyMs !== null && wall(one) - one.latencyMs >= from);
  return sample ? wall(sample) : null;
}

/** Runs in the page: when the picture moved for the first time at `from` or later. */
function firstMove(from) {
  const wall = (sample) => performance.timeOrigin + sample.atMs;
  const read = window.probe.samples.filter((one) => one.latencyMs !== null);
  const moved = read.find((one, index) => {
    const before = read[index - 1];
    return before && wall(one) >= from && Math.abs(wall(one) - one.latencyMs - (wall(before) - before.latencyMs)) > 15;
  });
  return moved ? wall(moved) : null;
}

/**
 * Has the publisher of `clock` (and with `kind` "server" the server) die for `seconds` while `page` plays. Answers with
 * what a viewer got, and the next publisher.
 */
export async function outage(server, page, clock, { kind = "publisher", seconds, settleMs = SETTLE_MS }) {
  const session = await sessionOf(server);
  const known = await playlist(server, session);
  const before = await page.evaluate(look);
  await clock.kill();
  if (kind === "server") await server.restart();
  await sleep(seconds * 1000);
  const from = Date.now();
  const [next, part, segment] = await Promise.all([
    publishClock(server, CLOCK),
    firstNew("part", server, session, known),
    firstNew("segment", server, session, known),
  ]);
  const shown = await page
    .waitForFunction(firstShown, from, { timeout: DEAD_MS, polling: SAMPLE_MS })
    .then((handle) => handle.jsonValue(), () => null);
  const back = await page.evaluate(look);
  await sleep(settleMs);
  const after = await page.evaluate(look);
  const since = (from, at) => (at === null ? null : Math.max(0, Math.round(at - from)));
  const moves = await page.evaluate(firstMove, part);
  return {
    clock: next,
    /** Date.now() of the first new part. */
    partAt: part,
    sameSession: (await sessionOf(server)) === session,
    /** Milliseconds from the first new part, or segment, to when the picture moves; null when it never does. */
    movesMs: { part: since(part, moves), segment: since(segment, moves) },
    /** From the first new part to the first new picture. */
    backMs: since(part, shown),
    stallsAfter: after.stalls - back.stalls,
    errors: after.errors.slice(before.errors.length),
    recoveries: await page.evaluate(() => window.headwater?.stats.recoveries ?? null),
    rebuilt: await page.evaluate(() => window.headwater?.stats.rebuilt ?? null),
  };
}

/** The page of a player, playing for a while. */
export async function open(context, url, settleMs = SETTLE_MS) {
  const { page, errors } = await openProbed(context, url, SAMPLE_MS);
  await page.evaluate(() => performance.setResourceTimingBufferSize(20_000));
  await page.waitForFunction(() => window.probe?.firstFrameMs, null, { timeout: START_TIMEOUT_MS });
  await sleep(settleMs);
  return { page, errors };
}

/** The same error many times is one with a number. */
function summed(errors) {
  const counts = new Map();
  for (const { fatal, text } of errors) {
    const sentence = `${fatal ? "fatal: " : ""}${text.trim().slice(0, 100)}`;
    counts.set(sentence, (counts.get(sentence) ?? 0) + 1);
  }
  return [...counts].map(([sentence, count]) => (count > 1 ? `${count} times ${sentence}` : sentence));
}

const line = (cells) => `| ${cells.join(" | ")} |`;

async function main() {
  const { values } = parseArgs({
    options: {
      outages: { type: "string", default: "publisher:5,publisher:20,publisher:45,server:5" },
      players: { type: "string", default: [THE_PAGE, ...ALL_PAGE_PLAYERS].join(";") },
      latency: { type: "string", default: "low" },
      "one-page": { type: "boolean", default: false },
    },
  });
  const outages = values.outages.split(",").map((words) => {
    const [kind, seconds] = words.split(":");
    return { kind, seconds: Number(seconds) };
  });
  const found = [];
  const rows = [];
  const server = { latency: values.latency, ladder: "one", config: CONFIG, flags: ["--state-dir", "state"] };
  await withPages(async (address) => {
    for (const name of values.players.split(";")) {
      await withServer(server, async (server) => {
        const url = name === THE_PAGE ? `${server.http}/watch/${STREAM}` : address(name, `${server.http}/${STREAM}/index.m3u8`);
        let clock = await publishClock(server, CLOCK);
        try {
          await withBrowser(async (context) => {
            let playing = null;
            for (const one of outages) {
              playing ??= await open(context, url);
              console.error(`${name}: the ${one.kind} is away for ${one.seconds} s, load ${loadavg()[0].toFixed(1)}`);
              const seen = await outage(server, playing.page, clock, one);
              clock = seen.clock;
              const errors = summed(seen.errors);
              const stayed = seen.backMs !== null && playing.errors.length === 0 && !seen.errors.some(({ fatal }) => fatal);
              const what = `${name}, ${one.kind} away for ${one.seconds} s`;
              if (!seen.sameSession) found.push(`${what}: another session`);
              const moves = seen.movesMs[HELD_TO_IT[name] ?? "part"];
              if (name in HELD_TO_IT && one.kind === "publisher" && !(stayed && moves <= GOAL_MS)) {
                const after = `plays on ${moves} ms after the first new ${HELD_TO_IT[name]}`;
                found.push(`${what}: ${stayed ? after : "is lost"}`);
              }
              const inSeconds = (ms) => (ms === null ? "never" : (ms / 1000).toFixed(2));
              for (const error of [...playing.errors, ...errors]) console.error(`${what}: ${error}`);
              const { recoveries } = seen;
              if (seen.rebuilt) console.error(`${what}: a new player because ${seen.rebuilt}`);
              rows.push([
                name,
                one.kind,
                `${one.seconds}`,
                inSeconds(seen.movesMs.part),
                inSeconds(seen.movesMs.segment),
                inSeconds(seen.backMs),
                `${seen.stallsAfter}`,
                recoveries ? Object.values(recoveries).join("/") : "–",
                errors.length === 0 ? "none" : errors.join("; "),
              ]);
              if (!stayed || !values["one-page"]) {
                await playing.page.close();
                playing = null;
              }
            }
          });
        } finally {
          await clock.stop();
        }
      });
    }
  });
  const heads = ["player", "lost", "for s", "moves after first part s", "after first segment s", "new picture s", "stalls after", "network/media/rebuilt", "errors"];
  console.log([line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n"));
  for (const sentence of found) console.error(`FAULT ${sentence}`);
  if (found.length > 0) process.exitCode = 1;
}

if (import.meta.url === pathToFileURL(path.resolve(process.argv[1])).href) await main();
