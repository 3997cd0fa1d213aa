import { defineConfig, type Plugin } from "vite";

/** In `npm run dev` the edge is not there to answer `/watch/...` with the page: this does. */
const watchPage: Plugin = {
  name: "headwater-watch-page",
  configureServer(server) {
    server.middlewares.use((request, _response, next) => {
      if (request.url?.startsWith("/watch/")) request.url = "/watch.html";
      next();
    });
  },
};

const edge = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [watchPage],
  build: {
    target: "es2022",
    // hls.js is most of the player; it is one file on purpose.
    chunkSizeWarningLimit: 900,
    rollupOptions: { input: ["index.html", "watch.html"] },
  },
  server: {
    // Everything that is not part of the page comes from a running Headwater.
    proxy: { "/streams.json": edge, "^/.*\\.(m3u8|m4s|mp4|jpg)": edge },
  },
});
