import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type Level, type LevelDetails } from "hls.js";
import { segmentAbrController } from "./abr";
import { Loads } from "./loads";
import { type Change, playlistLoader } from "./playlists";
import { goalFor, LowWater, nextRate, StallMargin } from "./rate";
import { blankStats, type Phase, type Stats } from "./stats";
import { renditionOfPlaylist, sessionOf } from "./streams";

/** How the page's address may change playback. */
export interface Options {
  /** `?plain`: hls.js as it comes, without this file's measures, to compare with. */
  plain: boolean;
  /** `?latency=`: seconds to stay behind the playlist's end, instead of what the part length gives. */
  latency: number | null;
}

const TICK_MS = 50;
/** The buffer's low water mark looks back over several parts. */
const LOW_WATER_MS = 2500;
/** Further behind than this (seconds) is skipped, not played faster. */
const JUMP_S = 2;
/** At the start much less is: hls.js begins somewhere in the segment, and nobody has seen anything yet. */
const START_JUMP_S = 0.15;
/** Playback begins after this long even when the buffer has not reached the target. */
const START_MS = 1000;
/** So far (seconds) into the buffer a seek goes that is to land there whatever its start is rounded to. */
const SEEK_INTO_S = 0.01;
/** At the end of a session that has ended, playback stands still for this long with nothing loaded: it is over. */
const END_MS = 500;
/** The end is where no more than this (seconds) is missing: tracks end up to two parts apart. */
const END_NEAR_S = 2.5;
/** The encoder is back when so much more (seconds) is in the buffer. */
const NEW_S = 0.05;
const RETRY_MS = 1000;
const POLL_MS = 2000;
/** After so many fatal network errors without a picture in between, the multivariant playlist is asked again. */
const NETWORK_ERRORS_MAX = 4;
/** A second fatal media error within this time gets a new player. */
const MEDIA_ERROR_MS = 5000;
/** The picture stands still for this long while the position moves on: a seek makes the browser show it again. */
const PICTURE_FROZEN_MS = 700;
/** Playback that stands still for this long while the playlist grows is frozen. */
const FROZEN_MS = 4000;
/** For this long when hls.js does not even ask for more. */
const ABANDONED_MS = 700;
/** No playlist for this long means that loading has stopped; a held playlist request ends within 9 s. */
const SILENT_MS = 20_000;
/** The playlist grows as long as it does so within two parts and this time. */
const GROWS_MS = 500;
/** The playlist has not grown for this long: the encoder is away. */
const AWAY_MS = 3000;
/** While nothing moves, how often to look whether the stream has gone on in another session. */
const SESSION_CHECK_MS = 5000;
/** A playhead so far (seconds) past the playlist's end belongs to another timeline. */
const BEYOND_END_S = 2;

/**
 * As hls.js has it, but without growing delays: until a new stream's first segment is whole, hls.js finds its playlists
 * empty. And a server that does not answer at all may be back in a moment: hls.js takes that for a refusal.
 */
const playlistLoadPolicy: Hls["config"]["playlistLoadPolicy"] = {
  default: {
    ...Hls.DefaultConfig.playlistLoadPolicy.default,
    errorRetry: {
      maxNumRetry: 40,
      retryDelayMs: 250,
      maxRetryDelayMs: 250,
      backoff: "linear",
      shouldRetry: (config, count, _isTimeout, response, retry) =>
        retry || (response?.code === 0 && count < (config?.maxNumRetry ?? 0)),
    },
  },
};

/**
 * As hls.js has it, but with shorter delays. It waits that long even before it passes over a gap, such as a restarted
 * server lists, in a player that nothing else is wrong with.
 */
const fragLoadPolicy: Hls["config"]["fragLoadPolicy"] = {
  default: {
    ...Hls.DefaultConfig.fragLoadPolicy.default,
    errorRetry: { maxNumRetry: 10, retryDelayMs: 100, maxRetryDelayMs: 1000 },
  },
};

/**
 * Plays one stream for as long as the page is open: waits until it is live, keeps the distance to the encoder, recovers
 * from errors, and waits for the next session when one has ended.
 */
export class Player {
  readonly stats: Stats = blankStats();
  hls: Hls | null = null;

  readonly #video: HTMLVideoElement;
  readonly #playlist: string;
  readonly #options: Options;
  readonly #changed: () => void;
  readonly #lowWater = new LowWater(LOW_WATER_MS);
  readonly #margin = new StallMargin();
  readonly #loads = new Loads();

  #timer: ReturnType<typeof setTimeout> | undefined;
  #generation = 0;
  #networkErrors = 0;
  #mediaErrorAt = -Infinity;
  #waitingSince: number | null = null;
  #playedOnce = false;
  #wantsLiveEdge = false;
  /** The first jump of this start, to the target, is still to be made. */
  #starting = true;
  #bufferedAt: number | null = null;
  #endingAt = 0;
  #change: Change | null = null;
  #finishing = false;
  #edge = 0;
  #edgeMovedAt = 0;
  /** The playlist has gone on after it had stood still. */
  #resumedAt = 0;
  #playlistAt = 0;
  #position = 0;
  #positionMovedAt = 0;
  #rescued = false;
  /** Where the buffer ended when the encoder went away, while nothing is played; null at other times. */
  #awayAt: number | null = null;
  #sessionCheckAt = 0;
  #frames = 0;
  #framesMovedAt = 0;
  #latency: number | null = null;

  /** `changed` is called when the phase or the list of renditions changes; numbers are read from `stats` at leisure. */
  constructor(video: HTMLVideoElement, playlist: string, options: Options, changed: () => void) {
    this.#video = video;
    this.#playlist = playlist;
    this.#options = options;
    this.#changed = changed;
    this.#watchElement();
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Loads the stream from its multivariant playlist, with a new hls.js. */
  start() {
    this.#stop();
    this.#setPhase("connecting");
    const now = performance.now();
    this.#playlistAt = now;
    this.#edgeMovedAt = now;
    this.#positionMovedAt = now;
    this.#networkErrors = 0;
    this.#rescued = false;
    this.#starting = true;
    this.#bufferedAt = null;
    this.#finishing = false;
    const hls = new Hls(this.#config());
    this.hls = hls;
    hls.on(Events.MANIFEST_PARSED, (_event, data) => {
      const session = data.levels.map((level) => sessionOf(level.uri)).find((name) => name !== null);
      this.stats.session = session ?? null;
      this.#setLevels(hls.levels);
      if (this.#options.plain) this.#play();
    });
    // hls.js takes levels away that the browser cannot play.
    hls.on(Events.LEVELS_UPDATED, () => this.#setLevels(hls.levels));
    hls.on(Events.LEVEL_SWITCHED, (_event, data) => {
      this.stats.level = data.level;
      this.stats.levelSwitches += 1;
      this.stats.rendition = this.stats.levels[data.level]?.name ?? null;
    });
    hls.on(Events.LEVEL_UPDATED, (_event, data) => this.#playlistUpdated(data.details));
    // The buffer is lowest just before a part goes in.
    hls.on(Events.BUFFER_APPENDING, () => this.#sampleBuffer());
    this.#watchLoads(hls);
    hls.on(Events.ERROR, (_event, data) => this.#error(data));
    hls.loadSource(this.#playlist);
    hls.attachMedia(this.#video);
  }

  /** Plays level `index` of `stats.levels` from its next segment on; -1 leaves the choice to hls.js. */
  select(index: number) {
    this.stats.selected = index;
    if (this.#options.plain && this.hls) this.hls.loadLevel = index;
  }

  togglePlay() {
    if (this.#video.paused) {
      this.#wantsLiveEdge = true;
      this.#play();
    } else {
      this.#video.pause();
    }
  }

  goLive() {
    this.#jump("asked");
    if (this.#video.paused) this.#play();
  }

  #config(): Partial<Hls["config"]> {
    if (this.#options.plain) return { lowLatencyMode: true };
    return {
      lowLatencyMode: true,
      // Before the first playlist says how long parts are; `#playlistUpdated` sets the real one.
      ...(this.#options.latency === null ? {} : { liveSyncDuration: this.#options.latency }),
      liveSyncOnStallIncrease: 0.1,
      errorPenaltyExpireMs: 6000,
      abrController: segmentAbrController(
        () => this.stats.selected,
        (change) => (this.#change = change),
      ),
      // The rate is set in `#tick`.
      maxLiveSyncPlaybackRate: 1,
      // A live page needs no past: a minute is enough to be safe from gaps behind the playhead.
      backBufferLength: 30,
      playlistLoadPolicy,
      fragLoadPolicy,
      pLoader: playlistLoader((level) => this.#takeChange(level)),
      // Most viewers have more than hls.js's guess of 500 kbit/s, and starting low shows a blurred first segment.
      abrEwmaDefaultEstimate: 4_000_000,
    };
  }

  #takeChange(level: number): Change | null {
    const change = this.#change;
    if (change?.level !== level) return null;
    this.#change = null;
    return change;
  }

  #watchLoads(hls: Hls) {
    hls.on(Events.FRAG_LOADING, (_event, { frag }) => this.#loads.began(frag.type, performance.now()));
    hls.on(Events.BUFFER_APPENDING, (_event, { parent }) => this.#loads.moved(parent, performance.now()));
    hls.on(Events.FRAG_BUFFERED, (_event, { frag }) => this.#loads.ended(frag.type, performance.now()));
    hls.on(Events.ERROR, (_event, { frag }) => frag && this.#loads.ended(frag.type, performance.now()));
  }

  #stop() {
    this.#generation += 1;
    clearTimeout(this.#timer);
    this.hls?.destroy();
    this.hls = null;
    this.#lowWater.clear();
    this.#loads.clear();
    this.#change = null;
    this.#latency = null;
    this.#video.playbackRate = 1;
    this.stats.level = -1;
  }

  #play() {
    // Refused only when the browser does not let even muted video start; the Play button remains.
    this.#video.play().catch(() => this.#changed());
  }

  #setLevels(levels: Level[]) {
    this.stats.levels = levels.map((level) => ({
      name: renditionOfPlaylist(level.uri),
      width: level.width,
      height: level.height,
      bitrate: level.bitrate,
    }));
    this.#changed();
  }

  #setPhase(phase: Phase) {
    if (this.stats.phase === phase) return;
    this.stats.phase = phase;
    this.#changed();
  }

  #watchElement() {
    const video = this.#video;
    video.addEventListener("playing", () => {
      this.#playedOnce = true;
      this.#networkErrors = 0;
      if (this.#waitingSince !== null) {
        this.stats.stalledMs += performance.now() - this.#waitingSince;
        this.#waitingSince = null;
      }
      this.#setPhase("playing");
    });
    video.addEventListener("waiting", () => {
      if (!this.#playedOnce || video.seeking || this.#waitingSince !== null || this.hls === null) return;
      if (this.stats.ending) return;
      this.#waitingSince = performance.now();
      this.stats.stalls += 1;
      this.#margin.stalled(this.#waitingSince);
      if (this.stats.phase === "playing") this.#setPhase("buffering");
    });
    video.addEventListener("ended", () => this.#ended());
    video.addEventListener("pause", () => this.#changed());
    video.addEventListener("play", () => {
      if (this.#wantsLiveEdge) this.#jump("resumed");
      this.#wantsLiveEdge = false;
      this.#changed();
    });
    if ("requestVideoFrameCallback" in video) {
      video.requestVideoFrameCallback(() => (this.stats.firstFrameMs = performance.now()));
    }
  }

  #playlistUpdated(details: LevelDetails) {
    const now = performance.now();
    this.#playlistAt = now;
    if (details.edge > this.#edge || details.edge < this.#edge - 1) {
      this.#edge = details.edge;
      // A restarted server lists a gap, and nothing after it until the encoder is back: there is nothing to play.
      if (details.fragmentHint || !details.fragments.at(-1)?.gap) {
        if (!this.#grows(now)) this.#resumedAt = now;
        this.#edgeMovedAt = now;
      }
      this.#passGap(details);
    }
    if (!this.stats.ending && !details.live) this.#endingAt = now;
    this.stats.ending = !details.live;
    this.stats.partTarget = details.partTarget || null;
    this.stats.holdBack = details.partHoldBack || details.holdBack || null;
    if (this.#options.plain || !this.hls || !details.live) return;
    const length = details.partTarget || details.targetduration;
    const goal = goalFor(length, this.#options.latency);
    const target = goal.target + this.#margin.seconds(now);
    this.stats.target = target;
    this.stats.safe = goal.safe;
    // hls.js seeks and starts by its own target; setting it also forgets the stalls that it counted into it.
    if (Math.abs((this.hls.targetLatency ?? 0) - target) > 0.005) this.hls.targetLatency = target;
  }

  /**
   * After the gap that a restarted server lists, hls.js plays on only when a segment is whole, unless somebody seeks to
   * where the encoder has begun anew.
   */
  #passGap({ fragments, fragmentHint }: LevelDetails) {
    const { plain } = this.#options;
    if (plain || !this.#playedOnce || !fragmentHint || !fragments.every((fragment) => fragment.gap)) return;
    if (this.#video.currentTime < fragmentHint.start) this.#video.currentTime = fragmentHint.start + SEEK_INTO_S;
  }

  #bufferAhead(): number {
    const { buffered, currentTime } = this.#video;
    for (let index = 0; index < buffered.length; index += 1) {
      if (buffered.start(index) <= currentTime + 0.05 && currentTime < buffered.end(index)) {
        return buffered.end(index) - currentTime;
      }
    }
    return 0;
  }

  #sampleBuffer() {
    if (this.#video.seeking || !this.#playedOnce) return;
    this.stats.lowWater = this.#lowWater.push(performance.now(), this.#bufferAhead());
  }

  #tick() {
    const video = this.#video;
    const stats = this.stats;
    const hls = this.hls;
    const now = performance.now();
    stats.buffer = this.#bufferAhead();
    this.#sampleBuffer();
    this.#playOn();
    stats.rate = video.playbackRate;
    const quality = video.getVideoPlaybackQuality();
    stats.droppedFrames = quality.droppedVideoFrames;
    stats.totalFrames = quality.totalVideoFrames;
    if (!hls) return;
    stats.bandwidth = Number.isFinite(hls.bandwidthEstimate) ? hls.bandwidthEstimate : null;
    const details = hls.latestLevelDetails;
    if (!details) {
      if (!this.#options.plain && now - this.#playlistAt > SILENT_MS) this.#rebuild("no playlist");
      return;
    }
    const latency = details.live ? details.edge + details.age - video.currentTime : null;
    stats.edgeLatency = latency;
    const painted = hls.playingDate;
    // An encoder that began with a backlog makes all dates late; what has been listed cannot be from the future.
    stats.latency = painted ? Math.max((Date.now() - painted.getTime()) / 1000, latency ?? 0) : null;
    if (this.#options.plain) {
      stats.target = hls.targetLatency;
      return;
    }
    if (this.#starting) this.#alignStart(now, latency);
    else if (latency !== null) this.#followEncoder(latency);
    this.#watch(now, details);
  }

  /**
   * hls.js begins at the segment's start or a little after. Playback begins as soon as the buffer reaches past the
   * target, and there.
   */
  #alignStart(now: number, latency: number | null) {
    const video = this.#video;
    const { target, safe, buffer } = this.stats;
    if (video.buffered.length === 0) return;
    this.#bufferedAt ??= now;
    if (video.seeking || buffer === 0) {
      // hls.js chose a position in a segment that it then did not load.
      const first = video.buffered.start(0);
      if (now - this.#bufferedAt > START_MS && buffer === 0 && video.currentTime < first) {
        this.stats.jumps.push("start missing");
        video.currentTime = first + SEEK_INTO_S;
        this.#bufferedAt = now;
      }
      return;
    }
    const ahead = latency === null || target === null ? 0 : latency - target;
    const far = ahead > START_JUMP_S;
    if (now - this.#bufferedAt < START_MS && far && buffer < ahead + safe) return;
    this.#starting = false;
    if (far) this.#jump("start");
    this.#play();
  }

  /** Rate control: see `rate.ts`. */
  #followEncoder(latency: number) {
    const { stats } = this;
    const video = this.#video;
    if (video.paused || video.seeking || !this.#playedOnce || stats.target === null || stats.lowWater === null) return;
    // The playlist's end moves in steps as answers come in: the mean says more than the moment.
    this.#latency = this.#latency === null ? latency : this.#latency * 0.9 + latency * 0.1;
    if (this.#latency - stats.target > JUMP_S && stats.phase === "playing") {
      this.#jump("late");
      return;
    }
    const rate = nextRate(
      { latency: this.#latency, lowWater: stats.lowWater },
      { target: stats.target, safe: stats.safe },
    );
    if (Math.abs(video.playbackRate - rate) > 0.001) video.playbackRate = rate;
  }

  /**
   * Chromium plays on when it has 0.2 s of sound, and twice as much after each time that it ran out, up to 3 s. A seek
   * makes it forget that; the encoder's new start can be decoded at once.
   */
  #playOn() {
    const video = this.#video;
    const end = video.currentTime + this.stats.buffer;
    if (this.#waitingSince === null || video.seeking || this.#options.plain) {
      this.#awayAt = null;
    } else if (this.stats.phase === "away") {
      this.#awayAt = end;
    } else if (this.#awayAt !== null && end > this.#awayAt + NEW_S) {
      video.currentTime = this.#awayAt + SEEK_INTO_S;
      this.#awayAt = null;
    }
  }

  /** Whether the playlist goes on, part after part. */
  #grows(now: number): boolean {
    return now - this.#edgeMovedAt < GROWS_MS + 2000 * (this.stats.partTarget ?? 1);
  }

  /** Slow watchdog for what hls.js does not report: playback or loading that stands still. */
  #watch(now: number, details: LevelDetails) {
    const video = this.#video;
    if (video.currentTime !== this.#position) {
      this.#position = video.currentTime;
      this.#positionMovedAt = now;
      this.#rescued = false;
    }
    this.#finish(now, details);
    const paused = video.paused || video.seeking || document.hidden;
    if (this.stats.totalFrames !== this.#frames || paused || now - this.#positionMovedAt > 200) {
      this.#frames = this.stats.totalFrames;
      this.#framesMovedAt = now;
    } else if (now - this.#framesMovedAt > PICTURE_FROZEN_MS && this.stats.level >= 0) {
      this.#framesMovedAt = now;
      this.#jump("picture frozen");
    }
    const growing = now - this.#edgeMovedAt < AWAY_MS;
    if (details.live && !growing && this.#waitingSince !== null) this.#setPhase("away");
    else if (this.stats.phase === "away" && growing) this.#setPhase("buffering");
    if (details.live && now - this.#playlistAt > SILENT_MS) {
      this.#rebuild("playlist requests stopped");
      return;
    }
    if (details.live && details.edge + details.age < video.currentTime - BEYOND_END_S) {
      this.#rebuild("the playlist went back");
      return;
    }
    if (!video.paused && now - Math.max(this.#positionMovedAt, this.#sessionCheckAt) > SESSION_CHECK_MS) {
      this.#sessionCheckAt = now;
      void this.#checkSession();
    }
    const abandoned = this.#loads.abandoned(now, ABANDONED_MS + 1000 * (this.stats.partTarget ?? 1));
    const patience = abandoned ? ABANDONED_MS : FROZEN_MS;
    const still = now - Math.max(this.#positionMovedAt, this.#resumedAt);
    const frozen = !video.paused && !video.ended && this.#grows(now) && still > patience;
    if (!frozen) return;
    if (this.#rescued) {
      this.#rebuild("playback frozen");
    } else {
      this.#rescued = true;
      this.#positionMovedAt = now;
      this.hls?.startLoad();
      this.#jump("frozen");
    }
  }

  /**
   * hls.js waits for the middle of the last video part to be buffered, and it never is when the audio is shorter. Told
   * so, the browser plays what it has and ends; when it does not, the session is over all the same.
   */
  #finish(now: number, details: LevelDetails) {
    const video = this.#video;
    const still = now - Math.max(this.#positionMovedAt, this.#loads.lastAt, this.#endingAt);
    if (details.live || video.paused || video.ended || still < END_MS) return;
    if (details.edge - video.currentTime > END_NEAR_S) return;
    if (!this.#finishing) {
      this.#finishing = true;
      this.hls?.trigger(Events.BUFFER_EOS, { type: null });
    } else if (still > 4 * END_MS) {
      this.#ended();
    }
  }

  #jump(why: string) {
    const position = this.hls?.liveSyncPosition;
    if (position === null || position === undefined || this.stats.ending) return;
    // Never back: what has been seen is not shown again.
    if (position <= this.#video.currentTime) return;
    this.stats.jumps.push(why);
    this.#lowWater.clear();
    this.#latency = null;
    this.#video.currentTime = position;
  }

  #error(data: ErrorData) {
    const { stats } = this;
    stats.errors.push({
      atMs: Math.round(performance.now()),
      details: data.details,
      fatal: data.fatal,
      status: data.response?.code ?? null,
    });
    if (stats.errors.length > 100) stats.errors.shift();
    if (!data.fatal) return;
    const manifest =
      data.details === ErrorDetails.MANIFEST_LOAD_ERROR ||
      data.details === ErrorDetails.MANIFEST_LOAD_TIMEOUT ||
      data.details === ErrorDetails.MANIFEST_PARSING_ERROR;
    if (manifest) {
      this.#waitForStream(null, "waiting");
      return;
    }
    if (this.#options.plain) {
      this.#setPhase("failed");
      return;
    }
    if (data.type === ErrorTypes.NETWORK_ERROR) {
      this.#networkErrors += 1;
      // The session's playlists are gone: its successor has other addresses.
      if (data.response?.code === 404 || this.#networkErrors >= NETWORK_ERRORS_MAX) {
        this.#waitForStream(null, "waiting");
        return;
      }
      stats.recoveries.network += 1;
      this.#later(RETRY_MS, () => this.hls?.startLoad());
    } else if (data.type === ErrorTypes.MEDIA_ERROR && performance.now() - this.#mediaErrorAt > MEDIA_ERROR_MS) {
      this.#mediaErrorAt = performance.now();
      stats.recoveries.media += 1;
      this.hls?.recoverMediaError();
      this.#play();
    } else {
      this.#rebuild(data.details);
    }
  }

  /** The playlists of a session that was lost without an end say nothing any more; the stream's own address does. */
  async #checkSession() {
    const generation = this.#generation;
    const text = await this.#multivariant();
    if (generation !== this.#generation) return;
    const session = sessionOf(text ?? "");
    if (session !== null && session !== this.stats.session) this.#rebuild("another session");
  }

  /** The multivariant playlist; null when the stream is not live or the server is away. */
  async #multivariant(): Promise<string | null> {
    try {
      const response = await fetch(this.#playlist, { cache: "no-store" });
      const text = response.ok ? await response.text() : "";
      return text.startsWith("#EXTM3U") ? text : null;
    } catch {
      return null;
    }
  }

  /** A new hls.js, after a second. */
  #rebuild(why: string) {
    this.stats.recoveries.rebuild += 1;
    this.stats.rebuilt = why;
    this.#stop();
    this.#setPhase("connecting");
    this.#later(RETRY_MS, () => this.start());
  }

  #ended() {
    if (!this.stats.ending) return;
    this.#waitForStream(this.stats.session, "ended");
  }

  /** Asks every two seconds whether the stream is live, in another session than `old`, and plays it when it is. */
  #waitForStream(old: string | null, phase: Phase) {
    this.hls?.stopLoad();
    const generation = (this.#generation += 1);
    this.#setPhase(phase);
    const ask = async () => {
      const text = await this.#multivariant();
      const live = text !== null && (old === null || sessionOf(text) !== old);
      if (generation !== this.#generation) return;
      if (live) this.start();
      else this.#later(POLL_MS, () => void ask());
    };
    this.#later(phase === "ended" ? POLL_MS : RETRY_MS, () => void ask());
  }

  /** One thing is planned at a time; `start` and `#stop` cancel it. */
  #later(delayMs: number, action: () => void) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, delayMs);
  }
}
