/** How old the picture in sight may be before a new one is asked for; the edge makes one every few seconds at most. */
const REFRESH_MS = 5000;

/**
 * A stream's picture in a box of fixed shape, so that nothing on the page moves when it comes. It is loaded only while it
 * can be seen, and the next one takes its place when it is whole: it never flickers.
 */
export class Poster {
  readonly element = document.createElement("span");
  private readonly picture = document.createElement("img");
  private readonly sight: IntersectionObserver;
  private inSight = false;
  private asked = Number.NEGATIVE_INFINITY;
  private shown: string | null = null;

  constructor(
    private readonly path: string,
    name: string,
  ) {
    this.element.className = "poster";
    this.picture.alt = `Picture of ${name}`;
    this.picture.hidden = true;
    this.element.append(this.picture);
    this.sight = new IntersectionObserver((entries) => {
      this.inSight = entries.at(-1)?.isIntersecting ?? false;
      void this.refresh();
    });
    this.sight.observe(this.element);
  }

  /** Asks for a newer picture when it is time. */
  async refresh(): Promise<void> {
    const now = performance.now();
    if (!this.inSight || document.hidden || now - this.asked < REFRESH_MS) return;
    this.asked = now;
    try {
      const response = await fetch(this.path);
      if (!response.ok) return;
      await this.show(URL.createObjectURL(await response.blob()));
    } catch {
      // The old picture stays.
    }
  }

  /** Lets go of everything; the element is no longer used. */
  close(): void {
    this.sight.disconnect();
    this.inSight = false;
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = null;
  }

  private async show(url: string): Promise<void> {
    const next = new Image();
    next.src = url;
    try {
      await next.decode();
    } catch (error) {
      URL.revokeObjectURL(url);
      throw error;
    }
    this.picture.src = url;
    this.picture.hidden = false;
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = url;
  }
}
