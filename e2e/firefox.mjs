// Starts a headless Firefox with a new profile and drives it over WebDriver BiDi, of which four commands are enough.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import WebSocket from "ws";

const START_TIMEOUT_MS = 30_000;
const PREFERENCES = [
  'user_pref("media.autoplay.default", 0);',
  'user_pref("datareporting.policy.dataSubmissionEnabled", false);',
  'user_pref("app.update.enabled", false);',
  'user_pref("network.captive-portal-service.enabled", false);',
  'user_pref("network.connectivity-service.enabled", false);',
];

/** Runs `use(firefox)` in a Firefox that has never been used, and leaves nothing behind. */
export async function withFirefox(use) {
  const profile = await mkdtemp(path.join(tmpdir(), "headwater-firefox-"));
  await writeFile(path.join(profile, "user.js"), PREFERENCES.join("\n"));
  const program = process.env.FIREFOX || "/usr/bin/firefox-esr";
  const words = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"];
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => {
    child.once("error", resolve);
    child.once("exit", resolve);
  });
  try {
    const session = await Session.open(`${await address(child, ended)}/session`);
    try {
      return await use(session);
    } finally {
      session.close();
    }
  } finally {
    child.kill("SIGKILL");
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** Where Firefox listens, as it says on standard error. */
function address(child, ended) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (more) => {
      text += more;
      const found = /WebDriver BiDi listening on (ws:\S+)/.exec(text);
      if (found) resolve(found[1]);
    });
    const fail = () => reject(new Error(`Firefox does not listen:\n${text}`));
    setTimeout(fail, START_TIMEOUT_MS).unref();
    void ended.then(fail);
  });
}

class Session {
  #socket;
  #asked = new Map();

  static async open(url) {
    const session = new Session();
    session.#socket = new WebSocket(url);
    session.#socket.on("message", (data) => session.#answer(JSON.parse(String(data))));
    await new Promise((resolve, reject) => session.#socket.once("open", resolve).once("error", reject));
    await session.#send("session.new", { capabilities: {} });
    return session;
  }

  /** Opens `url`; `script`, the text of a function, runs before the page's own. */
  async open(url, script) {
    await this.#send("script.addPreloadScript", { functionDeclaration: script });
    const { context } = await this.#send("browsingContext.create", { type: "tab" });
    await this.#send("browsingContext.navigate", { context, url, wait: "none" });
    this.context = context;
  }

  /** What `expression` is in the page; it must be one that JSON can hold. */
  async evaluate(expression) {
    const target = { context: this.context };
    const text = `JSON.stringify(${expression})`;
    const answer = await this.#send("script.evaluate", { expression: text, target, awaitPromise: false });
    if (answer.type !== "success") throw new Error(answer.exceptionDetails.text);
    return answer.result.value === undefined ? undefined : JSON.parse(answer.result.value);
  }

  close() {
    this.#socket.terminate();
  }

  #send(method, params) {
    const id = this.#asked.size + 1;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  #answer({ id, type, result, error, message }) {
    const asked = this.#asked.get(id);
    if (type === "error") asked?.reject(new Error(`${error}: ${message}`));
    else asked?.resolve(result);
  }
}
