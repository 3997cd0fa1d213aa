import Hls, { type HlsConfig, type LoaderCallbacks, type LoaderConfiguration, type LoaderContext } from "hls.js";

/** Takes `INDEPENDENT=YES` from every part but the first of each segment. */
export function joinAtSegments(playlist: string): string {
  return playlist.replace(/^#EXT-X-PART:.*URI="[^"]*\.(\d+)\.m4s".*$/gm, (line, part: string) =>
    part === "0" ? line : line.replace(",INDEPENDENT=YES", ""),
  );
}

/**
 * Loads playlists so that hls.js enters segments at their start only. It would also enter at a later independent part,
 * and at that segment's end it then waits for ever: it counts the segment as buffered, and the parts that it left out
 * as still to be loaded.
 */
export const PlaylistLoader = class extends Hls.DefaultConfig.loader {
  override load(context: LoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<LoaderContext>) {
    super.load(context, config, {
      ...callbacks,
      onSuccess(response, stats, loaded, details) {
        if (typeof response.data === "string") response.data = joinAtSegments(response.data);
        callbacks.onSuccess(response, stats, loaded, details);
      },
    });
  }
} as unknown as NonNullable<HlsConfig["pLoader"]>;
