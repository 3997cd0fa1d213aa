// Starts a headless browser with a new profile and measures what it plays.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = path.dirname(fileURLToPath(import.meta.url));

/** Runs `use(context)` in a browser that has never been used, and leaves nothing behind. */
export async function withBrowser(use, { width = 1280, height = 900, colorScheme = "light" } = {}) {
  const profile = await mkdtemp(path.join(tmpdir(), "headwater-browser-"));
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROME || "/usr/bin/chromium",
      headless: true,
      viewport: { width, height },
      colorScheme,
      // The sandbox wants a kernel feature or an owner that containers do not have; only our own page is opened.
      chromiumSandbox: false,
      args: [
        "--autoplay-policy=no-user-gesture-required",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-component-update",
      ],
    });
    try {
      return await use(context);
    } finally {
      await context.close();
    }
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** What runs in the page beside the player: `window.probe`. */
function startProbe(sampleMs) {
  const canvas = new OffscreenCanvas(16, 16);
  const surface = canvas.getContext("2d", { willReadFrequently: true });
  const probe = { samples: [], unread: 0, stalls: 0, stalledMs: 0, firstFrameMs: null, levels: [] };
  let waitingAt = null;
  let began = false;
  window.probe = probe;

  const watch = (video) => {
    video.requestVideoFrameCallback(() => (probe.firstFrameMs = performance.now()));
    video.addEventListener("playing", () => {
      began = true;
      if (waitingAt !== null) probe.stalledMs += performance.now() - waitingAt;
      waitingAt = null;
    });
    video.addEventListener("waiting", () => {
      if (!began || video.ended || waitingAt !== null) return;
      waitingAt = performance.now();
      probe.stalls += 1;
    });
    setInterval(() => sample(video), sampleMs);
  };

  const sample = (video) => {
    if (video.readyState < 2 || video.videoWidth === 0) return;
    const width = video.videoWidth;
    const height = Math.max(2, Math.floor(width / 25));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    surface.drawImage(video, 0, 0, width, height, 0, 0, width, height);
    const now = Date.now();
    const painted = readRow(surface.getImageData(0, 0, width, height).data, width, height, now);
    if (painted === null) probe.unread += 1;
    const stats = window.headwater?.stats;
    const rendition = stats?.rendition ?? `${width}x${video.videoHeight}`;
    if (probe.levels.at(-1)?.rendition !== rendition || probe.levels.at(-1)?.width !== width) {
      probe.levels.push({ atMs: Math.round(performance.now()), rendition, width, height: video.videoHeight });
    }
    probe.samples.push({
      atMs: Math.round(performance.now()),
      latencyMs: painted === null ? null : now - painted,
      shownMs: stats?.latency === null || stats === undefined ? null : Math.round(stats.latency * 1000),
      edgeMs: stats?.edgeLatency === null || stats === undefined ? null : Math.round(stats.edgeLatency * 1000),
      bufferMs: stats ? Math.round(stats.buffer * 1000) : null,
      lowWaterMs: stats?.lowWater === null || stats === undefined ? null : Math.round(stats.lowWater * 1000),
      rate: video.playbackRate,
      rendition,
      width,
    });
  };

  const look = () => {
    const video = document.querySelector("video");
    if (video) watch(video);
    else setTimeout(look, 10);
  };
  look();
}

/** The probe as a script that is to run before a page's own. */
export async function probeScript(sampleMs = 250) {
  const clock = (await readFile(path.join(here, "clock.mjs"), "utf8")).replaceAll("export ", "");
  return `(() => { ${clock}\n(${startProbe})(${sampleMs}); })()`;
}

/** Opens `url` in `context` with the probe in it. Answers with the page and the list that its errors go into. */
export async function openProbed(context, url, sampleMs = 250) {
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("crash", () => errors.push("the page crashed"));
  await page.addInitScript({ content: await probeScript(sampleMs) });
  await page.goto(url, { waitUntil: "commit" });
  return { page, errors };
}

/** The value below which `share` of `values` lie; null when there are none. */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Reads the probe and the player's own numbers. */
export async function readProbe(page) {
  return page.evaluate(() => {
    const video = document.querySelector("video");
    const quality = video.getVideoPlaybackQuality();
    return {
      ...window.probe,
      player: window.headwater ? JSON.parse(JSON.stringify(window.headwater.stats)) : null,
      droppedFrames: quality.droppedVideoFrames,
      totalFrames: quality.totalVideoFrames,
      audioBytes: video.webkitAudioDecodedByteCount ?? null,
      videoBytes: video.webkitVideoDecodedByteCount ?? null,
      position: video.currentTime,
      width: video.videoWidth,
      height: video.videoHeight,
      paused: video.paused,
    };
  });
}
