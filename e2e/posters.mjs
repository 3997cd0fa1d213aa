// Looks at the front page while a stream is live: its picture comes, nothing moves for it, and the next one takes its
// place without a frame in between that shows none.

import { withBrowser } from "./browser.mjs";

const FIRST_MS = 10_000;
const NEXT_MS = 20_000;

/** What the page at `url` shows of the stream `name`. */
export async function watchPoster(url, name) {
  return withBrowser(async (context) => {
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(url, { waitUntil: "load" });
    await page.waitForFunction(isShown, name, { timeout: FIRST_MS });
    const first = await page.evaluate(look, name);
    await page.waitForFunction(({ name, source }) => picture(name).src !== source, { name, source: first.source }, {
      timeout: NEXT_MS,
    });
    const blanks = await page.evaluate(() => window.blanks);
    return { ...first, blanks, errors };
  });
}

/** Runs in the page: whether the picture is there. From then on every frame that shows none is counted. */
function isShown(name) {
  window.picture ??= (name) => document.querySelector(`[data-name="${name}"] .poster img`);
  const shows = (image) => image !== null && !image.hidden && image.complete && image.naturalWidth > 0;
  if (!shows(window.picture(name))) return false;
  if (window.blanks === undefined) {
    window.blanks = 0;
    const count = () => {
      if (!shows(window.picture(name))) window.blanks += 1;
      requestAnimationFrame(count);
    };
    count();
  }
  return true;
}

/** Runs in the page: the picture, and by how many pixels its entry is lower without it. */
function look(name) {
  const image = window.picture(name);
  const entry = image.closest("li");
  const height = entry.getBoundingClientRect().height;
  image.hidden = true;
  const moves = height - entry.getBoundingClientRect().height;
  image.hidden = false;
  return { source: image.src, alt: image.alt, width: image.naturalWidth, height: image.naturalHeight, moves };
}
