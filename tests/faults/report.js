// What was found: problems fail the run, what is excused is counted and told.

const SAMPLES = 5;

const latencyOf = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

export class Report {
  problems = new Map();
  excused = new Map();
  counts = {};
  figures = {};

  #latencies = new Map();

  /** Something that must not be. `kind` is one of few, `evidence` is of this one. */
  problem(kind, evidence = '') {
    add(this.problems, kind, evidence);
  }

  /** Something that the faults of this run explain. */
  excuse(kind, evidence = '') {
    add(this.excused, kind, evidence);
  }

  count(what, times = 1) {
    this.counts[what] = (this.counts[what] ?? 0) + times;
  }

  /** `milliseconds` without the time that the node stood still. */
  took(operation, milliseconds) {
    if (!this.#latencies.has(operation)) this.#latencies.set(operation, []);
    this.#latencies.get(operation).push(milliseconds);
  }

  get slowest() {
    return Math.max(0, ...[...this.#latencies.values()].map((all) => all.reduce((most, one) => Math.max(most, one), 0)));
  }

  /** For people. */
  toString() {
    const lines = [];
    const section = (title, entries) => {
      if (entries.length > 0) lines.push('', title, ...entries.map((entry) => `  ${entry}`));
    };
    const table = (object) => Object.entries(object).sort().map(([name, value]) => `${name.padEnd(44)} ${value}`);
    section('figures', table(this.figures));
    section('counts', table(this.counts));
    section('how long requests took (ms)', [...this.#latencies].sort().map(([operation, all]) => {
      const sorted = all.toSorted((a, b) => a - b);
      const [median, late, most] = [0.5, 0.99, 1].map((share) => Math.round(latencyOf(sorted, share)));
      return `${operation.padEnd(28)} ${String(all.length).padStart(6)} ×  median ${median}, 99 % ${late}, most ${most}`;
    }));
    section('explained by the faults', found(this.excused));
    section('PROBLEMS', found(this.problems));
    return lines.join('\n');
  }
}

function add(all, kind, evidence) {
  const known = all.get(kind) ?? { times: 0, samples: [] };
  known.times += 1;
  if (known.samples.length < SAMPLES && evidence) known.samples.push(typeof evidence === 'string' ? evidence : JSON.stringify(evidence));
  all.set(kind, known);
}

const found = (all) => [...all].flatMap(([kind, { times, samples }]) => [`${times} × ${kind}`, ...samples.map((sample) => `      ${sample}`)]);
