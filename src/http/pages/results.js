// The right-hand side: an answer, or the events of a subscription as they arrive.
import { byId, make } from "./elements.js";

/** Events that are kept on the page. */
const KEPT = 200;
/** Longer texts are shown without colours. */
const COLOURED = 200_000;
const PARTS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** JSON with its parts marked for colouring. */
function coloured(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const shown = make("pre", { className: "json" });
  if (typeof value === "string" || text.length > COLOURED) {
    shown.append(text);
    return shown;
  }
  let done = 0;
  for (const match of text.matchAll(PARTS)) {
    const [whole, string, colon] = match;
    const part = string ?? whole;
    shown.append(text.slice(done, match.index));
    shown.append(make("span", { className: colon ? "key" : string ? "text" : "value" }, part));
    done = match.index + part.length;
  }
  shown.append(text.slice(done));
  return shown;
}

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

export class Results {
  #place = byId("results");
  #state = byId("state");
  #copy = byId("copy");
  #shown = null;
  #events = 0;

  constructor() {
    this.#copy.hidden = !navigator.clipboard;
    this.#copy.disabled = true;
    this.#copy.addEventListener("click", () => this.#copyShown());
  }

  /** One line about how it goes. `tone`: "good", "bad", "live", or none. */
  say(text, tone = "") {
    this.#state.textContent = text;
    this.#state.className = tone;
  }

  /** Empties the panel for another run. */
  clear() {
    this.#place.replaceChildren();
    this.#events = 0;
    this.#remember(null);
  }

  show(value) {
    this.clear();
    this.#place.append(coloured(value));
    this.#remember(value);
  }

  /** Puts an event on top of those before it. Returns how many there were. */
  add(value) {
    this.#events += 1;
    const now = new Date();
    const time = make("time", { dateTime: now.toISOString() }, clock.format(now));
    const heading = make("header", {}, make("span", {}, `#${this.#events}`), time);
    this.#place.prepend(make("article", { className: value?.errors ? "event bad" : "event" }, heading, coloured(value)));
    if (this.#place.childElementCount > KEPT) this.#place.lastElementChild.remove();
    this.#remember(value);
    return this.#events;
  }

  /** A remark above what is there, with something to do about it. */
  remark(text, tone, ...actions) {
    this.#place.prepend(make("div", { className: `remark ${tone}` }, make("p", {}, text), ...actions));
  }

  #remember(value) {
    this.#shown = value;
    this.#copy.disabled = value === null;
  }

  async #copyShown() {
    const text = typeof this.#shown === "string" ? this.#shown : JSON.stringify(this.#shown, null, 2);
    try {
      await navigator.clipboard.writeText(text);
      this.#copy.textContent = "Copied";
    } catch {
      this.#copy.textContent = "Not allowed";
    }
    setTimeout(() => (this.#copy.textContent = "Copy"), 1500);
  }
}
