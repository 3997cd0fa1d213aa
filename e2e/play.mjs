#!/usr/bin/env node
// Plays a /watch/ page in a headless browser and says what a viewer got.
//
//   node play.mjs --url URL --seconds N [--mode watch|plain] [--latency S] [--settle S] [--rendition NAME]
//                 [--switch NAME] [--audio] [--samples] [--json]

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { openProbed, quantile, readProbe, withBrowser } from "./browser.mjs";

const START_TIMEOUT_S = 30;

/**
 * Plays `url` for `seconds` after the first frame. Latency is taken from `settle` seconds after it on: until then the
 * player is still finding its distance. `switchTo` names a rendition to change to at half time; `during` is done while
 * it plays.
 */
export async function play({ url, seconds, mode = "watch", latency, settle = 5, rendition, switchTo, audio = false, during }) {
  const address = new URL(url);
  if (mode === "plain") address.searchParams.set("plain", "");
  if (latency) address.searchParams.set("latency", String(latency));
  return withBrowser(async (context) => {
    const { page, errors } = await openProbed(context, address.href);
    await page.waitForFunction(() => window.probe?.firstFrameMs, null, { timeout: START_TIMEOUT_S * 1000 });
    if (rendition) await choose(page, rendition);
    const began = await page.evaluate(() => performance.now());
    const change = switchTo ? await afterwards(page, (seconds * 1000) / 2, () => choose(page, switchTo)) : null;
    const rest = page.waitForTimeout(change === null ? seconds * 1000 : (seconds * 1000) / 2);
    await Promise.all([rest, during?.()]);
    const probe = await readProbe(page);
    const sound = audio ? await listen(page) : null;
    return summary(probe, { url: address.href, mode, seconds, began, settle, change, sound, errors });
  });
}

async function afterwards(page, milliseconds, act) {
  await page.waitForTimeout(milliseconds);
  return act();
}

/** Chooses a rendition in the page's own selector, by the name in front. */
async function choose(page, name) {
  const levels = await page.evaluate(() => window.headwater.stats.levels);
  const index = levels.findIndex((level) => level.name === name);
  if (index < 0) throw new Error(`the page offers no rendition ${name}, but ${levels.map((level) => level.name)}`);
  const state = await page.evaluate(() => ({ atMs: Math.round(performance.now()), stalls: window.probe.stalls }));
  await page.selectOption("#rendition", String(index));
  return { to: name, width: levels[index].width, ...state };
}

/** Unmutes with the page's own button, then measures two seconds of sound: the loudest sample, 0 to 1. */
async function listen(page) {
  await page.click("#mute");
  return page.evaluate(async () => {
    const video = document.querySelector("video");
    const audio = new AudioContext();
    await audio.resume();
    const analyser = audio.createAnalyser();
    audio.createMediaElementSource(video).connect(analyser);
    analyser.connect(audio.destination);
    const wave = new Float32Array(analyser.fftSize);
    let peak = 0;
    for (let turn = 0; turn < 40; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      analyser.getFloatTimeDomainData(wave);
      peak = wave.reduce((most, sample) => Math.max(most, Math.abs(sample)), peak);
    }
    return { muted: video.muted, peak: Math.round(peak * 1000) / 1000 };
  });
}

/** Glass to glass of each rendition, from `settle` seconds after it came into the picture on. */
function byRendition(probe, began, settle) {
  const result = {};
  for (const [index, level] of probe.levels.entries()) {
    const from = Math.max(level.atMs, began) + settle * 1000;
    const to = probe.levels[index + 1]?.atMs ?? Infinity;
    const seen = probe.samples.filter((sample) => sample.atMs >= from && sample.atMs < to && sample.latencyMs !== null);
    const values = [...(result[level.rendition]?.values ?? []), ...seen.map((sample) => sample.latencyMs)];
    result[level.rendition] = { p50: quantile(values, 0.5), p95: quantile(values, 0.95), samples: values.length, values };
  }
  for (const spread of Object.values(result)) delete spread.values;
  return result;
}

function summary(probe, { url, mode, seconds, began, settle, change, sound, errors }) {
  const settled = probe.samples.filter((sample) => sample.atMs >= began + settle * 1000);
  const known = (name) => settled.map((sample) => sample[name]).filter((value) => value !== null);
  const spread = (name) => ({ p50: quantile(known(name), 0.5), p95: quantile(known(name), 0.95) });
  // Seen in the picture's size, where the rendition's differs from the one before.
  const arrived = change && probe.levels.find((level) => level.width === change.width && level.atMs >= change.atMs);
  return {
    url,
    mode,
    seconds,
    firstFrameMs: Math.round(probe.firstFrameMs),
    glassToGlassMs: { ...spread("latencyMs"), max: known("latencyMs").reduce((a, b) => Math.max(a, b), 0) },
    shownLatencyMs: spread("shownMs"),
    byRendition: byRendition(probe, began, settle),
    behindEndMs: spread("edgeMs"),
    bufferMs: spread("bufferMs"),
    lowWaterMs: spread("lowWaterMs"),
    targetMs: probe.player?.target ? Math.round(probe.player.target * 1000) : null,
    samples: settled.length,
    unreadSamples: probe.unread,
    stalls: probe.stalls,
    stalledMs: Math.round(probe.stalledMs),
    droppedFrames: probe.droppedFrames,
    totalFrames: probe.totalFrames,
    size: `${probe.width}x${probe.height}`,
    played: [...new Set(probe.levels.map((level) => level.rendition))],
    levels: probe.levels,
    switched: change && {
      to: change.to,
      afterMs: arrived ? arrived.atMs - change.atMs : null,
      stalls: probe.stalls - change.stalls,
    },
    audioBytes: probe.audioBytes,
    sound,
    phase: probe.player?.phase ?? null,
    recoveries: probe.player?.recoveries ?? null,
    jumps: probe.player?.jumps ?? [],
    playerErrors: probe.player?.errors ?? [],
    pageErrors: errors,
    raw: probe.samples,
  };
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      seconds: { type: "string", default: "20" },
      mode: { type: "string", default: "watch" },
      latency: { type: "string" },
      settle: { type: "string", default: "5" },
      rendition: { type: "string" },
      switch: { type: "string" },
      audio: { type: "boolean", default: false },
      samples: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  if (!values.url || !["watch", "plain"].includes(values.mode)) {
    console.error("usage: node play.mjs --url http://HOST/watch/APP/NAME [--seconds N] [--mode watch|plain] [--json]");
    process.exit(2);
  }
  const { raw, ...result } = await play({
    url: values.url,
    seconds: Number(values.seconds),
    mode: values.mode,
    latency: values.latency,
    settle: Number(values.settle),
    rendition: values.rendition,
    switchTo: values.switch,
    audio: values.audio,
  });
  if (values.samples) result.raw = raw;
  if (values.json) console.log(JSON.stringify(result));
  else console.log(JSON.stringify(result, null, 2));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
