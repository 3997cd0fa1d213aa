/** What the edge says of one live stream in `GET /streams.json`. */
export interface LiveStream {
  /** `app/name`, as in the watch address. */
  name: string;
  /** When the session began; null when the edge did not say. */
  since: Date | null;
  renditions: string[];
  /** Where its poster is; null when it has none. */
  poster: string | null;
}

/** Reads the answer of `/streams.json`. Entries without a name are left out, unknown fields are ignored. */
export function parseStreams(json: unknown): LiveStream[] {
  if (!Array.isArray(json)) throw new Error("/streams.json is not a list");
  const streams: LiveStream[] = [];
  for (const entry of json as unknown[]) {
    if (typeof entry !== "object" || entry === null) continue;
    const { name, since, renditions, poster } = entry as Record<string, unknown>;
    if (typeof name !== "string" || name === "") continue;
    const began = typeof since === "string" ? new Date(since) : null;
    streams.push({
      name,
      since: began && !Number.isNaN(began.getTime()) ? began : null,
      renditions: Array.isArray(renditions) ? renditions.filter((r): r is string => typeof r === "string") : [],
      poster: typeof poster === "string" && /^\/[^/]/.test(poster) ? poster : null,
    });
  }
  return streams.sort((a, b) => a.name.localeCompare(b.name));
}

/** The page that plays `app/name`. */
export function watchPath(name: string): string {
  return "/watch/" + name.split("/").map(encodeURIComponent).join("/");
}

/** The playlist that `/watch/{app}/{name}` plays and the poster before it, or null when the path names no stream. */
export function streamOfWatchPath(path: string): { name: string; playlist: string; poster: string } | null {
  const match = /^\/watch\/(.+?)\/?$/.exec(path);
  const elements = match?.[1]?.split("/") ?? [];
  if (elements.length < 2 || elements.some((element) => element === "")) return null;
  const name = elements.map(decodeURIComponent).join("/");
  const base = `/${elements.join("/")}`;
  return { name, playlist: `${base}/index.m3u8`, poster: `${base}/poster.jpg` };
}

/** Where encoders publish on this host, with app `live`. An IPv6 host keeps its brackets. */
export function publishServer(hostname: string): string {
  return `rtmp://${hostname}/live`;
}

/** The rendition's name from the address of its media playlist: `.../{rendition}/index.m3u8`. */
export function renditionOfPlaylist(uri: string): string | null {
  return /([^/]+)\/[^/]+\.m3u8(?:\?.*)?$/.exec(uri)?.[1] ?? null;
}

/** The session from the address of a media playlist: the path element that begins with `~`. */
export function sessionOf(text: string): string | null {
  return /(?:^|[/"\s])(~[^/"\s]+)\//.exec(text)?.[1] ?? null;
}
