// PyPI's aiosmtpd as the operator's mail server (`mailserver.py`): it keeps what it takes, and fails when a test wants that.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { before, eventually } from './waiting.js';

const running = new Set();

// Whatever ends the tests.
process.on('exit', () => running.forEach((server) => server.process.kill('SIGKILL')));

/**
 * Starts one on a free port. `user`, `password` and `mechanism` ('PLAIN' or 'LOGIN'): whoever hands over a letter has to sign in
 * so. `certificate` (of `makeCertificate`): nothing is taken that is not encrypted by STARTTLS.
 */
export async function startMailServer({ certificate, ...signingIn } = {}) {
  const server = new MailServer();
  await server.start({ ...signingIn, ...(certificate ? { certificate: certificate.file, key: certificate.key } : {}) });
  return server;
}

/** A certificate for `localhost`, and the authority's that signed it, in files that `remove` takes away. */
export async function makeCertificate() {
  const folder = await mkdtemp(join(tmpdir(), 'patchbay-outside-certificate-'));
  const openssl = (...args) => promisify(execFile)('openssl', args, { cwd: folder });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl('req', '-x509', ...newKey, '-keyout', 'authority.key', '-out', 'authority.pem', '-subj', '/CN=Tests', '-days', '2');
  await openssl('req', ...newKey, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost');
  await writeFile(join(folder, 'names'), 'subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth\n');
  const signed = ['-CA', 'authority.pem', '-CAkey', 'authority.key', '-CAcreateserial', '-extfile', 'names', '-days', '2'];
  await openssl('x509', '-req', '-in', 'server.csr', ...signed, '-out', 'server.pem');
  return {
    file: join(folder, 'server.pem'),
    key: join(folder, 'server.key'),
    authority: join(folder, 'authority.pem'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

class MailServer {
  /**
   * Every letter whose last line arrived, oldest first: its envelope (`sender`, `to`), `headers` as pairs, `text`, `html`, the
   * types of its `parts`, whether it came `encrypted` and as which `user`; its `answer`, once it has one (null: it never had).
   */
  letters = [];
  /** Every recipient that was refused: `{ at, to, answer }`. */
  refusals = [];
  /** Every time that somebody signed in, or could not: `{ event, mechanism, encrypted }`. */
  signIns = [];

  #log = '';
  #obeyed = [];

  async start(options) {
    const script = join(import.meta.dirname, 'mailserver.py');
    this.process = spawn('python3', [script, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'pipe'] });
    running.add(this);
    this.exited = once(this.process, 'exit');
    this.process.stderr.setEncoding('utf8').on('data', (text) => (this.#log += text));
    createInterface({ input: this.process.stdout }).on('line', (line) => this.#hear(JSON.parse(line)));
    await eventually('the mail server listens', () => {
      if (this.process.exitCode !== null) throw new Error(`the mail server ended\n${this.#log}`);
      return this.port;
    });
  }

  /** What Patchbay's operator configures. */
  get environment() {
    return { PATCHBAY_SMTP_URL: `smtp://127.0.0.1:${this.port}`, PATCHBAY_MAIL_FROM: 'Patchbay <patchbay@agency.example>' };
  }

  /** The letters that it took. */
  get taken() {
    return this.letters.filter(({ answer }) => answer?.startsWith('250'));
  }

  /** Its letters to this address, taken or not. */
  to(email) {
    return this.letters.filter(({ to }) => to.includes(email));
  }

  /** From now on `times` recipients are refused with `answer`, e.g. '550 Nobody here'; `to` says which. */
  refuse(answer, { to, times = 1_000 } = {}) {
    return this.#order({ fail: { at: 'recipient', answer, to, times } });
  }

  /** The next letter is taken, and the connection dropped in the place of an answer. */
  drop() {
    return this.#order({ fail: { at: 'data', answer: 'drop', times: 1 } });
  }

  /** The next letter has no answer until `release`. */
  hold() {
    return this.#order({ fail: { at: 'data', times: 1 } });
  }

  release() {
    return this.#order({ release: true });
  }

  async close() {
    this.process.stdin.end();
    try {
      await before(10_000, 'the mail server ends', this.exited);
    } finally {
      this.process.kill('SIGKILL');
      running.delete(this);
    }
  }

  async #order(order) {
    const obeyed = new Promise((resolve) => this.#obeyed.push(resolve));
    this.process.stdin.write(`${JSON.stringify(order)}\n`);
    await before(10_000, 'the mail server has heard', obeyed);
  }

  #hear({ event, ...told }) {
    const at = Date.now();
    if (event === 'listening') this.port = told.port;
    else if (event === 'obeyed') this.#obeyed.shift()();
    else if (event === 'letter') this.letters.push({ at, ...told });
    else if (event === 'answered') this.letters[told.number - 1].answer = told.answer;
    else if (event === 'refused') this.refusals.push({ at, ...told });
    else this.signIns.push({ event, ...told });
  }
}

/** The header of this name, which stands there once. */
export function header({ headers }, wanted) {
  const values = headers.filter(([name]) => name.toLowerCase() === wanted.toLowerCase()).map(([, value]) => value);
  if (values.length !== 1) throw new Error(`${wanted} stands there ${values.length} times`);
  return values[0];
}
