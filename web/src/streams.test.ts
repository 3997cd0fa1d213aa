import { describe, expect, it } from "vitest";
import { parseStreams, publishServer, renditionOfPlaylist, sessionOf, streamOfWatchPath, watchPath } from "./streams";

describe("parseStreams", () => {
  it("reads what the edge says, in order of names", () => {
    const streams = parseStreams([
      { name: "live/show", since: "2026-03-01T12:00:00Z", renditions: ["source", "720p-3000"], poster: "/live/show/poster.jpg" },
      { name: "live/another", renditions: ["source"], readers: 3 },
    ]);
    expect(streams.map((stream) => stream.name)).toEqual(["live/another", "live/show"]);
    expect(streams[1]?.since?.toISOString()).toBe("2026-03-01T12:00:00.000Z");
    expect(streams[1]?.renditions).toEqual(["source", "720p-3000"]);
    expect(streams[0]?.since).toBeNull();
    expect(streams.map((stream) => stream.poster)).toEqual([null, "/live/show/poster.jpg"]);
  });

  it("leaves out entries that are not streams", () => {
    expect(parseStreams([null, 3, {}, { name: "" }, { name: "a/b", since: "soon", renditions: [1, "source"] }])).toEqual([
      { name: "a/b", since: null, renditions: ["source"], poster: null },
    ]);
  });

  it("takes posters from the same place only", () => {
    const poster = (poster: unknown) => parseStreams([{ name: "a/b", poster }])[0]?.poster;
    expect(poster("/a/b/poster.jpg")).toBe("/a/b/poster.jpg");
    for (const other of ["//elsewhere/poster.jpg", "https://elsewhere/poster.jpg", "javascript:0", "/", 3, null]) {
      expect(poster(other)).toBeNull();
    }
  });

  it("refuses an answer that is not a list", () => {
    expect(() => parseStreams({ streams: [] })).toThrow("not a list");
  });
});

describe("watch addresses", () => {
  it("name the stream, its playlist and its poster", () => {
    expect(streamOfWatchPath("/watch/live/show")).toEqual({
      name: "live/show",
      playlist: "/live/show/index.m3u8",
      poster: "/live/show/poster.jpg",
    });
    expect(streamOfWatchPath("/watch/a/b/c/show/")).toEqual({
      name: "a/b/c/show",
      playlist: "/a/b/c/show/index.m3u8",
      poster: "/a/b/c/show/poster.jpg",
    });
  });

  it("without app and name are refused", () => {
    for (const path of ["/watch/", "/watch/show", "/watch//show", "/", "/other/live/show"]) {
      expect(streamOfWatchPath(path)).toBeNull();
    }
  });

  it("go there and back", () => {
    expect(streamOfWatchPath(watchPath("live/my.show_1-2"))?.name).toBe("live/my.show_1-2");
  });
});

it("knows the rendition and the session from a media playlist's address", () => {
  const uri = "~abcdefghijklmnop/720p-3000/index.m3u8";
  expect(renditionOfPlaylist(uri)).toBe("720p-3000");
  expect(renditionOfPlaylist(`http://h/live/show/${uri}?_HLS_msn=3`)).toBe("720p-3000");
  expect(renditionOfPlaylist("index.m3u8")).toBeNull();
  expect(sessionOf(uri)).toBe("~abcdefghijklmnop");
  expect(sessionOf(`#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n${uri}\n`)).toBe("~abcdefghijklmnop");
  expect(sessionOf("#EXTM3U\nlow/index.m3u8\n")).toBeNull();
});

it("gives encoders the host of the page", () => {
  expect(publishServer("example.org")).toBe("rtmp://example.org/live");
  expect(publishServer("[::1]")).toBe("rtmp://[::1]/live");
});
