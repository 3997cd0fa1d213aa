import Hls, { type HlsConfig, type LoaderCallbacks, type LoaderConfiguration, type LoaderContext } from "hls.js";

/** What is cut from each segment's listed duration, in the 100,000ths of a second that playlists count. */
const CUT = 2;

/**
 * The playlist with two things changed for hls.js.
 *
 * `INDEPENDENT=YES` is taken from every part but the first of each segment: hls.js would enter a segment at a later one
 * too, and at that segment's end it then waits for ever, because it counts the segment as buffered and the parts that it
 * left out as still to be loaded.
 *
 * Segments are listed 20 microseconds shorter: browsers round the buffer's end down, and in another rendition hls.js
 * would take the segment that ends there for the one to load next.
 */
export function adapted(playlist: string): string {
  return playlist
    .replace(/^#EXT-X-PART:.*URI="[^"]*\.(\d+)\.m4s".*$/gm, (line, part: string) =>
      part === "0" ? line : line.replace(",INDEPENDENT=YES", ""),
    )
    .replace(/^#EXTINF:(\d+\.\d{5}),/gm, (_line, seconds: string) => {
      return `#EXTINF:${((Math.round(Number(seconds) * 1e5) - CUT) / 1e5).toFixed(5)},`;
    });
}

/**
 * The multivariant playlist without the variants whose sound only some players take: each picture is there again with
 * AAC, and here it is chosen by its size.
 */
export function withoutSourceSound(playlist: string): string {
  return playlist
    .replace(/^#EXT-X-STREAM-INF:.*,AUDIO="audio-source".*\n.*\n/gm, "")
    .replace(/^#EXT-X-MEDIA:.*,GROUP-ID="audio-source".*\n/gm, "");
}

/** A change of rendition that has been decided: level `level` goes on with segment `segment`. */
export interface Change {
  level: number;
  segment: number;
}

/** The address that answers as soon as `segment` has begun. */
export function beginningWith(segment: number, address: string): string {
  const url = new URL(address);
  url.searchParams.set("_HLS_msn", String(segment));
  url.searchParams.set("_HLS_part", "0");
  return url.href;
}

/** The server holds a request for up to nine seconds while nothing new comes. */
const HELD_MS = 12_000;

/**
 * As patient as the server: hls.js gives a held request up after two seconds or so, and then finds out late that the
 * encoder is back.
 */
export function patient(config: LoaderConfiguration): LoaderConfiguration {
  return {
    ...config,
    loadPolicy: { ...config.loadPolicy, maxTimeToFirstByteMs: HELD_MS, maxLoadTimeMs: HELD_MS },
  };
}

/**
 * Loads playlists for hls.js. `takeChange` answers once with a change of rendition to this level: its playlist is asked
 * for the segment to go on with. hls.js asks for where the old rendition is; transcoded gears are not there yet, and what
 * it finds last in their playlists it would load once more over what is playing.
 */
export function playlistLoader(takeChange: (level: number) => Change | null): NonNullable<HlsConfig["pLoader"]> {
  const Loader = class extends Hls.DefaultConfig.loader {
    override load(
      context: LoaderContext & { type?: string; level?: number | null; deliveryDirectives?: object | null },
      config: LoaderConfiguration,
      callbacks: LoaderCallbacks<LoaderContext>,
    ) {
      const change = context.type === "level" ? takeChange(context.level ?? -1) : null;
      if (change) context.url = beginningWith(change.segment, context.url);
      super.load(context, context.deliveryDirectives ? patient(config) : config, {
        ...callbacks,
        onSuccess(response, stats, loaded, details) {
          if (typeof response.data === "string") response.data = withoutSourceSound(adapted(response.data));
          callbacks.onSuccess(response, stats, loaded, details);
        },
      });
    }
  };
  return Loader as unknown as NonNullable<HlsConfig["pLoader"]>;
}
