import "./style.css";
import { elapsed } from "./format";
import { Poster } from "./poster";
import { type LiveStream, parseStreams, publishServer, watchPath } from "./streams";

const REFRESH_MS = 3000;

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const status = element("status");
const list = element<HTMLUListElement>("streams");
const publish = element("publish");

const server = publishServer(location.hostname);
element("obs-server").textContent = server;
element("ffmpeg-command").textContent =
  `ffmpeg -re -i FILE -c:v libx264 -preset veryfast -tune zerolatency -g 60 -b:v 4M ` +
  `-c:a aac -b:a 128k -f flv ${server}/show`;

const posters = new Map<HTMLElement, Poster>();

function say(text: string) {
  // Writing the same text again would make screen readers say it again.
  if (status.textContent !== text) status.textContent = text;
}

function entry(stream: LiveStream, now: number): HTMLLIElement {
  const item = document.createElement("li");
  item.dataset.name = stream.name;
  const link = item.appendChild(document.createElement("a"));
  link.href = watchPath(stream.name);
  if (stream.poster) {
    const poster = new Poster(stream.poster, stream.name);
    posters.set(item, poster);
    link.appendChild(poster.element);
  }
  link.appendChild(document.createElement("strong")).textContent = stream.name;
  const live = link.appendChild(document.createElement("span"));
  live.className = "live";
  const detail = link.appendChild(document.createElement("span"));
  detail.className = "detail";
  update(item, stream, now);
  return item;
}

function update(item: HTMLElement, stream: LiveStream, now: number) {
  const live = item.querySelector(".live");
  const detail = item.querySelector(".detail");
  if (live) live.textContent = stream.since ? `Live for ${elapsed(now - stream.since.getTime())}` : "Live";
  if (detail) detail.textContent = stream.renditions.join(", ");
  void posters.get(item)?.refresh();
}

/** Shows the list. Entries that stay keep their elements, so that focus stays where it is. */
function show(streams: LiveStream[]) {
  const now = Date.now();
  const old = new Map(Array.from(list.children, (item) => [(item as HTMLElement).dataset.name, item as HTMLElement]));
  let before: Element | null = list.firstElementChild;
  for (const stream of streams) {
    const item = old.get(stream.name);
    old.delete(stream.name);
    if (!item) {
      list.insertBefore(entry(stream, now), before);
      continue;
    }
    update(item, stream, now);
    if (item === before) before = item.nextElementSibling;
    else list.insertBefore(item, before);
  }
  for (const gone of old.values()) {
    posters.get(gone)?.close();
    posters.delete(gone);
    gone.remove();
  }
  publish.hidden = streams.length > 0;
  if (streams.length === 0) say("Nothing is live. A stream shows up here as soon as an encoder publishes it.");
  else say(streams.length === 1 ? "1 stream" : `${streams.length} streams`);
}

async function refresh() {
  try {
    const response = await fetch("/streams.json", { cache: "no-store" });
    if (!response.ok) throw new Error(`/streams.json answered ${response.status}`);
    show(parseStreams(await response.json()));
  } catch {
    say("The server does not answer. Trying again…");
  }
  setTimeout(refresh, REFRESH_MS);
}

void refresh();
