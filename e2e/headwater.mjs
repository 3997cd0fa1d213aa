// Starts the server and publishers for the browser tests, and ends them again.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { setPriority, tmpdir } from "node:os";
import path from "node:path";

const START_TIMEOUT_MS = 20_000;
const END_TIMEOUT_MS = 10_000;
/** An address on loopback that nobody has. */
const ANY = "127.0.0.1:0";

/** The program and xtask, which paints the clock, as `cargo xtask e2e` names them. */
export function programs() {
  const { HEADWATER: headwater, XTASK: xtask } = process.env;
  if (!headwater || !xtask) throw new Error("HEADWATER and XTASK name the programs to test: use `cargo xtask e2e`");
  return { headwater, xtask };
}

/**
 * Runs `use(server)` with a server of its own, with more `flags` and at the priority `nice` if given. Fails when the
 * server does not end cleanly.
 */
export async function withServer({ latency = "low", ladder = "hd", config = "", flags = [], nice }, use) {
  const folder = await mkdtemp(path.join(tmpdir(), "headwater-e2e-"));
  const file = path.join(folder, "headwater.toml");
  await writeFile(file, config);
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HEADWATER")));
  const words = [
    ["serve", "--rtmp", ANY, "--http", ANY, "--admin", ANY],
    ["--config", file, "--latency", latency, "--ladder", ladder],
    flags,
  ].flat();
  const options = { env: environment, cwd: folder };
  let child = start(programs().headwater, words, options);
  if (nice !== undefined) setPriority(child.pid, nice);
  try {
    const server = await listening(child);
    await answers(child, `${server.admin}/readyz`);
    /** Kills it, and starts it again on the same addresses. */
    server.restart = async () => {
      await end(child, "SIGKILL");
      const same = [server.rtmp, server.http, server.admin].map((address) => address.replace("http://", ""));
      child = start(programs().headwater, words.map((word) => (word === ANY ? same.shift() : word)), options);
      await answers(child, `${server.admin}/readyz`);
    };
    const result = await use(server);
    const code = await end(child, "SIGINT");
    if (code !== 0) throw new Error(`the server ended with ${code}`);
    return result;
  } catch (error) {
    console.error(`the server's last lines:\n${child.log().split("\n").slice(-40).join("\n")}`);
    throw error;
  } finally {
    await end(child, "SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

/** Publishes the clock while `use` runs. */
export async function withClock(server, options, use) {
  const clock = await publishClock(server, options);
  try {
    return await use();
  } finally {
    await clock.stop();
  }
}

/**
 * Publishes the clock as a live encoder would: no B-frames, an IDR each two seconds, a steady tone. `stop()` ends it with
 * a word, `kill()` without.
 */
export async function publishClock(server, { name, width, height, fps = 30, kbps }) {
  const picture = start(programs().xtask, ["clock", "--size", `${width}x${height}`, "--fps", String(fps)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const rate = `${kbps}k`;
  const encoder = start(
    "ffmpeg",
    [
      "-hide_banner -loglevel error -nostdin",
      `-f rawvideo -pixel_format yuv420p -video_size ${width}x${height} -framerate ${fps} -i pipe:0`,
      "-f lavfi -i sine=frequency=440:sample_rate=48000",
      "-c:v libx264 -preset ultrafast -tune zerolatency -sc_threshold 0",
      `-b:v ${rate} -maxrate ${rate} -bufsize ${rate} -g ${2 * fps} -keyint_min ${2 * fps}`,
      "-c:a aac -b:a 128k -ac 2 -flush_packets 1 -f flv",
      `rtmp://${server.rtmp}/${name}`,
    ].flatMap((words) => words.split(" ")),
    { stdio: [picture.stdout, "ignore", "pipe"] },
  );
  const finish = async (signal) => {
    await end(encoder, signal);
    await end(picture, "SIGTERM");
  };
  try {
    await isLive(server, name, [picture, encoder]);
  } catch (error) {
    await finish("SIGKILL");
    throw error;
  }
  return { stop: () => finish("SIGINT"), kill: () => finish("SIGKILL") };
}

/** Publishes `file` once, in real time and unchanged, and waits until it is live. `done` resolves when it has ended. */
export async function publishFile(server, { name, file }) {
  const words = `-hide_banner -loglevel error -nostdin -re -i ${file} -c copy -f flv rtmp://${server.rtmp}/${name}`;
  const encoder = start("ffmpeg", words.split(" "), { stdio: ["ignore", "ignore", "pipe"] });
  await isLive(server, name, [encoder]);
  return { done: encoder.ended, stop: () => end(encoder, "SIGKILL") };
}

/** Publishes `file` again and again, its tags as they are: also what FFmpeg here cannot read. Ends after `use`. */
export async function withLoop(server, { name, file }, use) {
  const publisher = start(programs().headwater, ["publish", "--loop", file, `rtmp://${server.rtmp}/${name}`]);
  try {
    await isLive(server, name, [publisher]);
    return await use();
  } finally {
    await end(publisher, "SIGINT");
  }
}

/** Starts a program; `log()` is what it wrote to standard error, `ended` resolves to its exit code or signal. */
function start(program, words, options = {}) {
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"], ...options });
  let log = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text) => (log = (log + text).slice(-200_000)));
  child.log = () => log;
  child.ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  return child;
}

async function end(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return child.ended;
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
  const code = await child.ended;
  clearTimeout(timer);
  return code;
}

async function until(what, children, look) {
  const limit = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (await look().catch(() => false)) return;
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`${child.spawnfile} ended while waiting until ${what}:\n${child.log()}`);
      }
    }
    if (Date.now() > limit) throw new Error(`it took more than ${START_TIMEOUT_MS / 1000} s until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const answers = (child, url) => until(`${url} answers`, [child], async () => (await fetch(url)).ok);

const isLive = (server, name, children) =>
  until(`${name} is live`, children, async () => {
    const streams = await (await fetch(`${server.http}/streams.json`)).json();
    return streams.some((stream) => stream.name === name);
  });

/** The addresses that the server chose, as its log tells them. */
async function listening(child) {
  const address = (what) => new RegExp(`listening for ${what} address=(\\S+)`).exec(child.log())?.[1];
  await until("it listens", [child], async () => address("the API and metrics") !== undefined);
  return {
    rtmp: address("RTMP"),
    http: `http://${address("HTTP")}`,
    admin: `http://${address("the API and metrics")}`,
    pid: child.pid,
    log: child.log,
  };
}
