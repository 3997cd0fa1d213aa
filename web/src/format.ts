/** What stands where a number is not known. */
export const UNKNOWN = "–";

/** `0.74 s`. */
export function seconds(value: number | null): string {
  return value === null || !Number.isFinite(value) ? UNKNOWN : `${value.toFixed(2)} s`;
}

/** `3.0 Mbit/s`, `730 kbit/s`. */
export function bitrate(bitsPerSecond: number | null): string {
  if (bitsPerSecond === null || !Number.isFinite(bitsPerSecond) || bitsPerSecond <= 0) return UNKNOWN;
  if (bitsPerSecond < 1e6) return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
  return `${(bitsPerSecond / 1e6).toFixed(bitsPerSecond < 1e7 ? 1 : 0)} Mbit/s`;
}

/** `1.03 x`. */
export function rate(value: number): string {
  return `${value.toFixed(2)} x`;
}

/** `3 of 1800`. */
export function dropped(frames: number, total: number): string {
  return `${frames} of ${total}`;
}

/** How long a stream has been live, to the largest unit that matters: `12 s`, `5 min`, `2 h 5 min`, `3 days`. */
export function elapsed(milliseconds: number): string {
  const total = Math.max(0, Math.floor(milliseconds / 1000));
  if (total < 60) return `${total} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** A rendition in the selector: `720p-3000, 1280x720, 3.0 Mbit/s`. Parts that are not known are left out. */
export function rendition(name: string | null, width: number, height: number, bitsPerSecond: number): string {
  const parts = [];
  if (name) parts.push(name);
  if (width > 0 && height > 0) parts.push(`${width}x${height}`);
  if (bitsPerSecond > 0) parts.push(bitrate(bitsPerSecond));
  return parts.join(", ") || UNKNOWN;
}
