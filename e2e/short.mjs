// The whole path in its short form, as `cargo xtask test` runs it: a clock and a film are published, a browser plays
// them, the pages can be used.

import path from "node:path";
import { fileURLToPath } from "node:url";
import { openProbed, readProbe, withBrowser } from "./browser.mjs";
import { publishClock, publishFile, withClock, withLoop, withServer } from "./headwater.mjs";
import { CLOCK, open, outage } from "./outage.mjs";
import { checkPage } from "./pages.mjs";
import { play } from "./play.mjs";
import { playInChromium, withPages } from "./players.mjs";
import { watchPoster } from "./posters.mjs";

const testdata = path.join(path.dirname(fileURLToPath(import.meta.url)), "testdata");
const film = path.join(testdata, "bbb.flv");
const FILM_S = 10;
const FILM = { width: 640, height: 360 };

// One gear, of the source's size and half of its rate; sessions end soon after their publisher.
const config = `
[session]
end_grace_seconds = 1

[[ladders]]
name = "one"
[[ladders.gears]]
name = "360p-730"
width = 640
height = 360
bitrate_kbps = 730
`;

const faults = [];
const expect = (holds, sentence) => {
  console.log(`${holds ? "ok    " : "FAULT "} ${sentence}`);
  if (!holds) faults.push(sentence);
};

/** The clock through the gear: latency, stalls, sound, a change of rendition. */
async function clockThroughAGear(server) {
  const url = `${server.http}/watch/live/clock`;
  const result = await play({ url, seconds: 20, rendition: "source", switchTo: "360p-730", audio: true });
  const { raw: _, levels: __, ...shown } = result;
  console.log(JSON.stringify(shown));
  const { p50, max } = result.glassToGlassMs;
  expect(result.samples > 40 && result.unreadSamples === 0, `the clock was read ${result.samples} times, never in vain`);
  expect(p50 !== null && p50 < 2000 && max < 3000, `glass to glass p50 ${p50} ms, max ${max} ms (below 2000 and 3000)`);
  expect(result.stalls <= 1, `${result.stalls} stalls (at most 1)`);
  expect(result.played.includes("source") && result.played.includes("360p-730"), `played ${result.played.join(", ")}`);
  expect(result.sound.peak > 0.01, `the tone is heard (peak ${result.sound.peak})`);
  expect(result.pageErrors.length === 0, `no script errors ${result.pageErrors.join("; ")}`);
}

/** A film plays to its last frame, then the page says that the stream has ended. */
async function filmToItsEnd(server) {
  const publisher = await publishFile(server, { name: "live/film", file: film });
  try {
    await withBrowser(async (context) => {
      const { page, errors } = await openProbed(context, `${server.http}/watch/live/film`);
      await page.waitForFunction(() => window.headwater?.stats.phase === "ended", null, { timeout: 40_000 });
      const probe = await readProbe(page);
      const begin = await page.evaluate(() => document.querySelector("video").seekable.start(0));
      expect(probe.position - begin > FILM_S - 0.2, `the film played to ${(probe.position - begin).toFixed(2)} of ${FILM_S} s`);
      expect(probe.width === FILM.width && probe.height === FILM.height, `it is ${probe.width}x${probe.height}`);
      expect(errors.length === 0, `no script errors ${errors.join("; ")}`);
      const said = await page.textContent("#status");
      expect(/ended/.test(said), `the page says: ${said}`);
    });
  } finally {
    await publisher.stop();
  }
}

/** The publisher is lost for five seconds: the page waits, and plays on by itself. */
async function outageOnThePage(server) {
  let clock = await publishClock(server, CLOCK);
  try {
    await withBrowser(async (context) => {
      const { page, errors } = await open(context, `${server.http}/watch/${CLOCK.name}`, 2000);
      const seen = await outage(server, page, clock, { seconds: 5, settleMs: 1000 });
      clock = seen.clock;
      expect(seen.backMs !== null && seen.backMs < 4000, `after an outage it plays on ${seen.backMs} ms after the first part (below 4000)`);
      const { network, media, rebuild } = seen.recoveries;
      expect(seen.sameSession && network + media + rebuild === 0, `in the same session, with the same player`);
      expect(errors.length === 0, `no script errors ${errors.join("; ")}`);
    });
  } finally {
    await clock.stop();
  }
}

/** Sound that is listed twice, in Opus and in AAC: hls.js by itself and the built-in page start without an error. */
async function soundThatIsOfferedTwice(server) {
  const name = "live/opus";
  await withLoop(server, { name, file: path.join(testdata, "enhanced-opus.flv") }, async () => {
    const playlist = await (await fetch(`${server.http}/${name}/index.m3u8`)).text();
    expect(/AUDIO="audio-source"/.test(playlist) && /,opus"/.test(playlist), "Opus is offered");
    await withPages(async (address) => {
      const pages = [address("hls.js", `${server.http}/${name}/index.m3u8`), `${server.http}/watch/${name}`];
      for (const [page, who] of [[pages[0], "hls.js"], [pages[1], "the page"]]) {
        const seen = await playInChromium(page, 4);
        expect(seen.firstMs !== null && seen.errors.length === 0, `${who}: ${JSON.stringify(seen)}`);
        const sounds = seen.renditions.filter((rendition) => rendition.startsWith("audio"));
        expect(sounds.length === 1, `${who} takes one of the two: ${sounds}`);
      }
    });
  });
}

/** The front page shows what is live. */
async function posterOnTheFrontPage(server) {
  const poster = await watchPoster(`${server.http}/`, "live/clock");
  const { alt, width, height, moves, blanks, errors } = poster;
  expect(width === 640 && height === 360 && alt !== "", `${alt}: ${width}x${height}`);
  expect(moves === 0, `the page moves by ${moves} px when the picture comes`);
  expect(blanks === 0, `${blanks} frames without a picture until the next one`);
  expect(errors.length === 0, `no script errors ${errors.join("; ")}`);
}

async function pagesCanBeUsed(urls) {
  for (const url of urls) {
    const found = await checkPage(url);
    expect(found.length === 0, `${new URL(url).pathname} can be used ${found.join("; ")}`);
  }
}

await withServer({ latency: "low", ladder: "one", config }, async (server) => {
  await pagesCanBeUsed([`${server.http}/`]);
  await withClock(server, { name: "live/clock", width: 640, height: 360, kbps: 1500 }, async () => {
    await clockThroughAGear(server);
    await posterOnTheFrontPage(server);
    await pagesCanBeUsed([`${server.http}/`, `${server.http}/watch/live/clock`]);
  });
  await outageOnThePage(server);
  await filmToItsEnd(server);
  await soundThatIsOfferedTwice(server);
});

if (faults.length > 0) {
  console.error(`${faults.length} faults in the browser test`);
  process.exitCode = 1;
}
