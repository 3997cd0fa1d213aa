#!/usr/bin/env node
// Checks that a page can be used: no horizontal scroll on a narrow screen, every control reached by Tab with focus that
// shows, every control named, nothing loaded from elsewhere, no script errors.
//
//   node pages.mjs --url URL [--url URL] [--screenshots FOLDER]

import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { withBrowser } from "./browser.mjs";

const CONTROLS = "a[href], button, input, select, textarea, [tabindex='0']";
const TABS_MAX = 60;
const NARROW = 390;

/** What is wrong with `url`, one sentence each. */
export async function checkPage(url, { screenshots } = {}) {
  const faults = [];
  for (const [width, colorScheme] of [[NARROW, "light"], [1280, "dark"]]) {
    const found = await withBrowser((context) => look(context, url, { width, colorScheme, screenshots }), {
      width,
      height: 844,
      colorScheme,
    });
    faults.push(...found.map((fault) => `${new URL(url).pathname} at ${width} px: ${fault}`));
  }
  return faults;
}

async function look(context, url, { width, colorScheme, screenshots }) {
  const faults = [];
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`script error: ${error}`));
  page.on("request", (request) => {
    const address = new URL(request.url());
    if (/^https?:$/.test(address.protocol) && address.origin !== new URL(url).origin) {
      faults.push(`loads ${address.href} from elsewhere`);
    }
  });
  await page.goto(url, { waitUntil: "load" });
  await page.waitForTimeout(2000);
  if (screenshots) {
    const name = (new URL(url).pathname.replaceAll(/[^a-z0-9]+/gi, "-").replaceAll(/^-|-$/g, "") || "list") + `-${width}-${colorScheme}.png`;
    await page.screenshot({ path: path.join(screenshots, name), fullPage: true });
  }
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) faults.push(`scrolls sideways by ${wide} px`);
  faults.push(...(await tabThrough(page)));
  return faults;
}

/** Presses Tab until it comes round, and compares what had focus with what can be seen and used. */
async function tabThrough(page) {
  const faults = [];
  const wanted = await page.evaluate((selector) => {
    const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled;
    return Array.from(document.querySelectorAll(selector)).filter(visible).map((element, index) => {
      element.dataset.probe = String(index);
      return element.outerHTML.slice(0, 60);
    });
  }, CONTROLS);
  const reached = new Set();
  for (let turn = 0; turn < TABS_MAX && reached.size < wanted.length; turn += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const style = getComputedStyle(element);
      const name = element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent;
      const box = element.getBoundingClientRect();
      return {
        id: element.dataset.probe ?? null,
        html: element.outerHTML.slice(0, 60),
        shows: style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2,
        named: Boolean(name?.trim()),
        inside: box.left >= 0 && box.right <= innerWidth + 1,
      };
    });
    if (focus === null || focus.id === null || reached.has(focus.id)) continue;
    reached.add(focus.id);
    if (!focus.shows) faults.push(`focus does not show on ${focus.html}`);
    if (!focus.named) faults.push(`no name on ${focus.html}`);
    if (!focus.inside) faults.push(`focus is outside of the screen on ${focus.html}`);
  }
  wanted.forEach((html, index) => {
    if (!reached.has(String(index))) faults.push(`Tab does not reach ${html}`);
  });
  if (wanted.length === 0) faults.push("there is nothing to press");
  return faults;
}

async function main() {
  const { values } = parseArgs({
    options: { url: { type: "string", multiple: true }, screenshots: { type: "string" } },
  });
  if (!values.url) {
    console.error("usage: node pages.mjs --url URL [--url URL] [--screenshots FOLDER]");
    process.exit(2);
  }
  const faults = [];
  for (const url of values.url) faults.push(...(await checkPage(url, { screenshots: values.screenshots })));
  for (const fault of faults) console.error(fault);
  console.log(faults.length === 0 ? "The pages can be used." : `${faults.length} faults`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
