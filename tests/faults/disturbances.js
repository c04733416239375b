// What was done to the nodes and when: only this excuses an answer that was lost, or a thing that was done twice.

/** How long after its end a fault may still show. */
const AFTERMATH_MS = 2_000;

/** What happened to a node that nothing in its memory outlives. */
export const killed = ({ part, kind }) => part === 'node' && kind === 'killed';

/** What happened to a database so that nobody may know what it has stored. */
export const databaseFailed = ({ part, kind }) => part === 'database' && kind !== 'slow';

export class Disturbances {
  #all = [];

  /** It lasts until the function that this returns is called. */
  begin({ part, kind, node = 'all' }) {
    const disturbance = { part, kind, node, from: Date.now(), to: Infinity };
    this.#all.push(disturbance);
    return () => (disturbance.to = Date.now());
  }

  /** Whether something like `which` happened to this node, or to its database, in that time or shortly before. */
  excuse(node, from, to, which) {
    return this.#all.some((one) => which(one) && ['all', node].includes(one.node) && one.from <= to && one.to + AFTERMATH_MS >= from);
  }

  /** For how much of that time this node could not run. */
  stoodStill(node, from, to) {
    return this.#all
      .filter((one) => one.part === 'node' && one.node === node)
      .reduce((sum, one) => sum + Math.max(0, Math.min(one.to, to) - Math.max(one.from, from)), 0);
  }
}
