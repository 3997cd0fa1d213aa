// Players of others, each playing one stream from its multivariant playlist: pages for the players that are JavaScript,
// served on loopback, and programs. All say what they got in the same words:
//
//   firstMs     from the start of the page or program to the first frame
//   renditions  whose segments or parts were loaded, in the order of their first; null when the player does not say
//   stalls      how often playback waited after its start; null when the player does not say
//   errors      { fatal, text } each, what the player itself called an error, and answers with a status of 400 or more

import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openProbed, probeScript, withBrowser } from "./browser.mjs";
import { withFirefox } from "./firefox.mjs";

const START_TIMEOUT_MS = 60_000;
const modules = path.join(path.dirname(fileURLToPath(import.meta.url)), "node_modules");

/** How each player is started in a page with a `video`, a `source` and `fail(fatal, text)`. */
const SCRIPTS = {
  "hls.js": {
    file: "hls.js/dist/hls.min.js",
    start: `const player = new Hls();
      player.on(Hls.Events.ERROR, (_event, { fatal, details, response }) => {
        if (details !== "aborted") fail(fatal, details + " " + (response?.code ?? ""));
      });
      player.loadSource(source);
      player.attachMedia(video);`,
  },
  // As its documentation says what to do after a fatal error.
  "hls.js, told to go on": {
    file: "hls.js/dist/hls.min.js",
    start: `const player = new Hls();
      player.on(Hls.Events.ERROR, (_event, { fatal, type, details, response }) => {
        if (details !== "aborted") fail(false, (fatal ? "fatal " : "") + details + " " + (response?.code ?? ""));
        if (fatal && type === Hls.ErrorTypes.NETWORK_ERROR) setTimeout(() => player.startLoad(), 1000);
        if (fatal && type === Hls.ErrorTypes.MEDIA_ERROR) player.recoverMediaError();
      });
      player.loadSource(source);
      player.attachMedia(video);`,
  },
  "Shaka Player, low latency": { file: "shaka-player/dist/shaka-player.compiled.js", start: shaka(true) },
  "Shaka Player": { file: "shaka-player/dist/shaka-player.compiled.js", start: shaka(false) },
  "video.js": {
    file: "video.js/dist/video.min.js",
    start: `const player = videojs(video, { html5: { vhs: { overrideNative: true } } });
      player.on("error", () => fail(true, player.error().code + " " + player.error().message));
      player.src({ src: source, type: "application/x-mpegURL" });
      videojs.log.level("warn");
      const { warn } = console;
      console.warn = (...words) => (fail(false, words.join(" ")), warn(...words));`,
  },
};

function shaka(lowLatencyMode) {
  return `shaka.polyfill.installAll();
    const player = new shaka.Player();
    const failed = (error) => fail(error.severity !== 1, error.code ? error.code + " " + error.data : String(error));
    player.addEventListener("error", (event) => failed(event.detail));
    player.configure({ streaming: { lowLatencyMode: ${lowLatencyMode} } });
    player.attach(video).then(() => player.load(source)).catch(failed);`;
}

export const ALL_PAGE_PLAYERS = Object.keys(SCRIPTS);
/** Those that are as they come. */
export const PAGE_PLAYERS = ALL_PAGE_PLAYERS.filter((name) => name !== "hls.js, told to go on");

/** Runs `use(address)` while a page for each player is served at `address(player, source)`. */
export async function withPages(use) {
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    const { file, start } = SCRIPTS[url.searchParams.get("player")] ?? {};
    if (!file) {
      response.writeHead(404).end();
    } else if (url.pathname === "/player.js") {
      readFile(path.join(modules, file)).then(
        (text) => response.writeHead(200, { "content-type": "text/javascript" }).end(text),
        (error) => response.writeHead(500).end(String(error)),
      );
    } else {
      response.writeHead(200, { "content-type": "text/html" }).end(page(url.searchParams, start));
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  try {
    return await use((player, source) => `http://127.0.0.1:${port}/?${new URLSearchParams({ player, source })}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function page(search, start) {
  return `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
    <video muted autoplay playsinline width="640" height="360"></video>
    <script src="/player.js?${new URLSearchParams({ player: search.get("player") })}"></script>
    <script>
      const video = document.querySelector("video");
      const source = ${JSON.stringify(search.get("source"))};
      window.heard = [];
      const fail = (fatal, text) => heard.push({ fatal, text });
      ${start}
    </script>`;
}

/**
 * Runs in the page: what was seen and heard until now. The built-in page's player keeps its own list of errors. A load
 * that hls.js itself breaks off, to change the rendition, is none.
 */
export function look() {
  const own = window.headwater?.stats.errors
    .filter((error) => error.details !== "aborted")
    .map((error) => ({ fatal: error.fatal, text: `${error.details} ${error.status ?? ""}` }));
  const loads = performance.getEntriesByType("resource");
  const names = loads.map((load) => /([^/]+)\/\d+(?:\.\d+)?\.m4s$/.exec(load.name)?.[1]).filter(Boolean);
  const refused = loads.filter((load) => load.responseStatus >= 400);
  return {
    firstMs: window.probe?.firstFrameMs ?? null,
    renditions: [...new Set(names)],
    stalls: window.probe?.stalls ?? null,
    stalledMs: Math.round(window.probe?.stalledMs ?? 0),
    position: document.querySelector("video")?.currentTime ?? null,
    errors: [
      ...(own ?? window.heard ?? []),
      ...refused.map((load) => ({ fatal: false, text: `${load.responseStatus} for ${new URL(load.name).pathname}` })),
    ],
  };
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Looks until there is a frame, and once more `seconds` after it. */
async function watch(see, seconds) {
  const limit = Date.now() + START_TIMEOUT_MS;
  while ((await see()).firstMs === null && Date.now() < limit) await sleep(100);
  await sleep(seconds * 1000);
  return see();
}

/** Plays the page at `url` in Chromium; `during(page)`, if any, is done after `seconds`. */
export async function playInChromium(url, seconds, during) {
  return withBrowser(async (context) => {
    const { page, errors } = await openProbed(context, url);
    await page.evaluate(() => performance.setResourceTimingBufferSize(10_000));
    const seen = await watch(() => page.evaluate(look), seconds);
    await during?.(page);
    return { ...seen, errors: [...seen.errors, ...errors.map((text) => ({ fatal: true, text }))] };
  });
}

/** Plays the page at `url` in Firefox. */
export async function playInFirefox(url, seconds) {
  return withFirefox(async (firefox) => {
    await firefox.open(url, `() => { performance.setResourceTimingBufferSize(10000); ${await probeScript()}; }`);
    return watch(() => firefox.evaluate(`(${look})()`), seconds);
  });
}

/** Starts a program whose lines `read(line, ms)` gets, ends it `seconds` after `read` has answered true, or in time. */
async function run(program, words, seconds, read, environment = {}) {
  const began = performance.now();
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } });
  const ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
  let timer = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split(/[\r\n]+/);
      rest = lines.pop();
      for (const line of lines) {
        if (!read(line, performance.now() - began)) continue;
        clearTimeout(timer);
        timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
      }
    });
  }
  const how = await ended;
  clearTimeout(timer);
  return how;
}

/** A pause between two pictures that is longer than this is a stall. */
const STALL_MS = 500;

/**
 * Plays with `gst-launch-1.0` and `playbin`, which is `playbin` or `playbin3`. In step with time only with `playbin3`:
 * with `playbin` GStreamer 1.22 counts time from the session's begin, and would wait for as long as the session has
 * lasted, watched or not.
 */
export async function playInGStreamer(playbin, source, seconds) {
  const sync = playbin === "playbin3";
  const seen = { firstMs: null, renditions: [], stalls: sync ? 0 : null, stalledMs: 0, errors: [] };
  let last = null;
  const words = ["-v", playbin, `uri=${source}`];
  for (const [kind, name] of [["video", "picture"], ["audio", "sound"]]) {
    words.push(`${kind}-sink=fakesink name=${name} silent=false sync=${sync}`);
  }
  const how = await run("gst-launch-1.0", words, seconds, (line, ms) => {
    if (/^(ERROR|WARNING)|WARN|ERROR/.test(line)) seen.errors.push({ fatal: /^ERROR/.test(line), text: line });
    const size = /picture.*width=\(int\)(\d+), height=\(int\)(\d+)/.exec(line);
    if (size) seen.renditions.push(`${size[1]}x${size[2]}`);
    if (!/picture.*last-message = chain/.test(line)) return false;
    const first = seen.firstMs === null;
    seen.firstMs ??= ms;
    const paused = ms - (last ?? ms);
    if (sync && paused > STALL_MS) {
      seen.stalls += 1;
      seen.stalledMs += Math.round(paused);
    }
    last = ms;
    return first;
  });
  if (how !== null) seen.errors.push({ fatal: true, text: `gst-launch-1.0 ended with ${how}` });
  seen.renditions = [...new Set(seen.renditions)];
  return seen;
}

/** FFmpeg 5.1 reads the init segment of every live stream again after each playlist, and warns of it. */
const FFMPEG_READS_INIT_AGAIN = /Found duplicated MOOV Atom/;

/** Decodes with `ffmpeg`, which reads as fast as it can: it says nothing of stalls. */
export async function playInFFmpeg(source, seconds) {
  const seen = { firstMs: null, renditions: [], stalls: null, stalledMs: 0, errors: [] };
  const words = ["-hide_banner", "-nostdin", "-loglevel", "level+info", "-progress", "pipe:1", "-stats_period", "0.05"];
  const output = ["-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"];
  const how = await run("ffmpeg", [...words, "-i", source, ...output], seconds, (line, ms) => {
    const opened = /Opening '.*?([^/]+)\/\d+(?:\.\d+)?\.m4s' for reading/.exec(line);
    if (opened) seen.renditions.push(opened[1]);
    const level = /\[(warning|error|fatal|panic)\]/.exec(line)?.[1];
    if (level && !FFMPEG_READS_INIT_AGAIN.test(line)) seen.errors.push({ fatal: /fatal|panic/.test(level), text: line });
    const first = seen.firstMs === null && Number(/^frame=\s*(\d+)$/.exec(line)?.[1]) > 0;
    if (first) seen.firstMs = ms;
    return first;
  });
  if (how !== null) seen.errors.push({ fatal: true, text: `ffmpeg ended with ${how}` });
  seen.renditions = [...new Set(seen.renditions)];
  return seen;
}
