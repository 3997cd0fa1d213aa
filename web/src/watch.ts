import "./style.css";
import Hls from "hls.js";
import * as format from "./format";
import { NativePlayer } from "./native";
import { type Options, Player } from "./player";
import type { Phase } from "./stats";
import { streamOfWatchPath } from "./streams";

declare global {
  interface Window {
    /** For tests and for the curious: the player, with its `stats` and its current `hls`. */
    headwater?: Player | NativePlayer;
  }
}

const SHOW_MS = 250;

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const video = element<HTMLVideoElement>("video");
const status = element("status");
const playButton = element<HTMLButtonElement>("play");
const muteButton = element<HTMLButtonElement>("mute");
const volume = element<HTMLInputElement>("volume");
const renditions = element<HTMLSelectElement>("rendition");

const PHASES: Record<Phase, string> = {
  connecting: "Connecting…",
  waiting: "Not live yet. Playback starts by itself.",
  playing: "",
  buffering: "Buffering…",
  away: "The encoder is away. Waiting for it.",
  ended: "The stream has ended. The next one starts by itself.",
  failed: "Playback failed.",
};

function say(text: string) {
  if (status.textContent !== text) status.textContent = text;
}

function optionsOf(search: string): Options {
  const query = new URLSearchParams(search);
  const latency = Number.parseFloat(query.get("latency") ?? "");
  return { plain: query.has("plain"), latency: latency >= 0.1 && latency <= 60 ? latency : null };
}

function choosePlayer(playlist: string): Player | NativePlayer | null {
  if (Hls.isSupported()) return new Player(video, playlist, optionsOf(location.search), () => showState());
  if (video.canPlayType("application/vnd.apple.mpegurl")) return new NativePlayer(video, playlist, () => showState());
  return null;
}

let player: Player | NativePlayer | null = null;

function showState() {
  if (!player) return;
  const { stats } = player;
  const blocked = video.paused && (stats.phase === "connecting" || stats.phase === "playing") && video.readyState > 1;
  say(blocked ? "Paused." : PHASES[stats.phase]);
  playButton.textContent = video.paused ? "Play" : "Pause";
  // The list is rebuilt only when it changes: an open selector would close.
  const wanted = ["Auto", ...stats.levels.map((l) => format.rendition(l.name, l.width, l.height, l.bitrate))];
  const shown = Array.from(renditions.options, (option) => option.text);
  if (wanted.join("\n") !== shown.join("\n")) {
    renditions.replaceChildren(...wanted.map((text, index) => new Option(text, String(index - 1))));
    renditions.value = String(stats.selected < stats.levels.length ? stats.selected : -1);
  }
}

function showSound() {
  const silent = video.muted || video.volume === 0;
  muteButton.textContent = silent ? "Unmute" : "Mute";
  muteButton.classList.toggle("primary", silent);
}

function showNumbers() {
  if (!player) return;
  const { stats } = player;
  const set = (id: string, text: string) => (element(id).textContent = text);
  set("n-latency", format.seconds(stats.latency));
  set("n-edge", format.seconds(stats.edgeLatency));
  set("n-target", format.seconds(stats.target));
  set("n-rendition", stats.rendition ?? format.UNKNOWN);
  set("n-buffer", format.seconds(stats.buffer));
  set("n-dropped", format.dropped(stats.droppedFrames, stats.totalFrames));
  set("n-stalls", stats.stalls === 0 ? "0" : `${stats.stalls} (${format.seconds(stats.stalledMs / 1000)})`);
  set("n-rate", format.rate(stats.rate));
  set("n-bandwidth", format.bitrate(stats.bandwidth));
}

function begin() {
  const stream = streamOfWatchPath(location.pathname);
  if (!stream) {
    say("This address names no stream. It should read /watch/{app}/{name}.");
    return;
  }
  element("title").textContent = stream.name;
  document.title = `${stream.name} · Headwater`;
  player = choosePlayer(stream.playlist);
  if (!player) {
    say("This browser can play neither Media Source Extensions nor HLS.");
    return;
  }
  // Shown until the first picture is there.
  video.poster = stream.poster;
  const playing = player;
  window.headwater = playing;
  playButton.addEventListener("click", () => playing.togglePlay());
  video.addEventListener("click", () => playing.togglePlay());
  element("live").addEventListener("click", () => playing.goLive());
  renditions.addEventListener("change", () => playing.select(Number(renditions.value)));
  playing.start();
  setInterval(showNumbers, SHOW_MS);
}

muteButton.addEventListener("click", () => {
  const silent = video.muted || video.volume === 0;
  video.muted = !silent;
  if (silent && video.volume === 0) video.volume = 1;
});
volume.addEventListener("input", () => {
  video.volume = volume.valueAsNumber;
  video.muted = video.volume === 0;
});
video.addEventListener("volumechange", () => {
  volume.valueAsNumber = video.volume;
  showSound();
});
element("fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void element("stage").requestFullscreen();
});
showSound();
begin();
