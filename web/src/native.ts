import { blankStats, type Stats } from "./stats";

const RETRY_MS = 2000;

/** Safari's video elements tell the wall clock of their first frame. */
interface DatedVideo extends HTMLVideoElement {
  getStartDate?(): Date;
}

/** Plays HLS in browsers without Media Source Extensions that know the format themselves. They choose the rendition. */
export class NativePlayer {
  readonly stats: Stats = blankStats();
  readonly hls = null;
  readonly #video: DatedVideo;
  readonly #playlist: string;
  readonly #changed: () => void;

  constructor(video: HTMLVideoElement, playlist: string, changed: () => void) {
    this.#video = video;
    this.#playlist = playlist;
    this.#changed = changed;
    video.addEventListener("playing", () => this.#setPhase("playing"));
    video.addEventListener("waiting", () => {
      if (this.stats.phase === "playing") this.stats.stalls += 1;
      this.#setPhase("buffering");
    });
    video.addEventListener("pause", changed);
    video.addEventListener("play", changed);
    video.addEventListener("error", () => {
      this.#setPhase("waiting");
      setTimeout(() => this.start(), RETRY_MS);
    });
    video.addEventListener("ended", () => {
      this.#setPhase("ended");
      setTimeout(() => this.start(), RETRY_MS);
    });
    setInterval(() => this.#tick(), 250);
  }

  start() {
    this.#video.src = this.#playlist;
    this.#video.play().catch(this.#changed);
  }

  select(_index: number) {
    // The browser chooses.
  }

  togglePlay() {
    if (!this.#video.paused) this.#video.pause();
    else {
      this.goLive();
      this.#video.play().catch(this.#changed);
    }
  }

  goLive() {
    const { seekable } = this.#video;
    if (seekable.length > 0) this.#video.currentTime = seekable.end(seekable.length - 1);
  }

  #setPhase(phase: Stats["phase"]) {
    this.stats.phase = phase;
    this.#changed();
  }

  #tick() {
    const video = this.#video;
    const { stats } = this;
    const began = video.getStartDate?.().getTime() ?? NaN;
    stats.latency = Number.isFinite(began) ? (Date.now() - began) / 1000 - video.currentTime : null;
    stats.rate = video.playbackRate;
    const { buffered } = video;
    stats.buffer = buffered.length > 0 ? Math.max(0, buffered.end(buffered.length - 1) - video.currentTime) : 0;
    const quality = video.getVideoPlaybackQuality();
    stats.droppedFrames = quality.droppedVideoFrames;
    stats.totalFrames = quality.totalVideoFrames;
    if (video.videoHeight > 0) stats.rendition = `${video.videoWidth}x${video.videoHeight}`;
  }
}
