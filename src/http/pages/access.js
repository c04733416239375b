// Who asks: the bearer token, and the workspace for those who are in several. Both stay in this tab.
import { byId, memory } from "./elements.js";

/** Takes `#token=…` out of the address, so that no bookmark or copied link keeps it; null when there is none. */
export function takeFromAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Asks whether the token of the address is to replace the one that this tab has; without an answer it is not, nor is one that
 * comes while another is asked about. */
export function mayReplace() {
  const question = byId("replace");
  if (question.open) return Promise.resolve(false);
  question.returnValue = "";
  byId("keep-token").onclick = () => question.close("");
  byId("take-token").onclick = () => question.close("take");
  question.showModal();
  return new Promise((resolve) => {
    question.addEventListener("close", () => resolve(question.returnValue === "take"), { once: true });
  });
}

/** What of a text a header can hold. */
const visible = (text) => text.replace(/[^\x21-\x7e]/g, "");

export class Access {
  constructor() {
    this.token = memory.read("token") ?? "";
    this.workspace = memory.read("workspace") ?? "";
  }

  /** Takes what was typed or pasted, also with "Bearer" before it or broken into lines by a terminal. */
  change({ token = this.token, workspace = this.workspace }) {
    this.token = visible(token.trim().replace(/^bearer\s+/i, ""));
    this.workspace = visible(workspace);
    memory.write("token", this.token);
    memory.write("workspace", this.workspace);
  }

  /** As headers of a request. */
  headers() {
    if (!this.token) return {};
    const workspace = this.workspace ? { "patchbay-workspace": this.workspace } : {};
    return { authorization: `Bearer ${this.token}`, ...workspace };
  }

  /** As the payload of a socket's `connection_init`. */
  payload() {
    return this.headers();
  }
}
