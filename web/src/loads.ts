/** What hls.js is loading, per kind of track, to notice when it has stopped to. Pure: the caller brings the time. */
export class Loads {
  #tracks = new Map<string, { busy: boolean; at: number }>();

  /** A fragment of `track` is asked for. */
  began(track: string, now: number) {
    this.#tracks.set(track, { busy: true, at: now });
  }

  /** Media of `track` has arrived. */
  moved(track: string, now: number) {
    this.#tracks.set(track, { busy: this.#tracks.get(track)?.busy ?? false, at: now });
  }

  /** Nothing of `track` is asked for any more. */
  ended(track: string, now: number) {
    this.#tracks.set(track, { busy: false, at: now });
  }

  /** When something last happened, in any track. */
  get lastAt(): number {
    return Math.max(0, ...Array.from(this.#tracks.values(), (track) => track.at));
  }

  /** Whether a track that was being loaded has been left alone for longer than `idleMs`. */
  abandoned(now: number, idleMs: number): boolean {
    return Array.from(this.#tracks.values()).some((track) => !track.busy && now - track.at > idleMs);
  }

  clear() {
    this.#tracks.clear();
  }
}
