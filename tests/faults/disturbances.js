// What was done to the nodes and when: only this excuses an answer that was lost, or a thing that was done twice.

/** How long after its end a fault may still show. */
const AFTERMATH_MS = 20_000;

export class Disturbances {
  #all = [];

  /** It lasts until the function that this returns is called. */
  begin({ part, kind, node = 'all' }) {
    const disturbance = { part, kind, node, from: Date.now(), to: Infinity };
    this.#all.push(disturbance);
    return () => (disturbance.to = Date.now());
  }

  /** Whether this node, or its database, was disturbed in that time. */
  excuse(node, from, to, { parts = ['node', 'database'], aftermath = AFTERMATH_MS } = {}) {
    return this.#all.some((one) =>
      parts.includes(one.part) && (one.node === 'all' || one.node === node) && one.from <= to && one.to + aftermath >= from);
  }

  /** For how much of that time this node could not run. */
  stoodStill(node, from, to) {
    return this.#all
      .filter((one) => one.part === 'node' && one.node === node)
      .reduce((sum, one) => sum + Math.max(0, Math.min(one.to, to) - Math.max(one.from, from)), 0);
  }
}
