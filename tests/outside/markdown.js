// The project's documents, as tests read them: by their blocks of code, of which none may be left unread.

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export const repository = resolve(import.meta.dirname, '../..');

/** The text of a file of the repository. */
export const readRepository = (file) => readFile(join(repository, file), 'utf8');

/** Blocks that nobody runs: drawings, and what installs or builds, which .ci/run and run.sh do. */
const LEFT_OUT = [/^npm install /, /^pip install /, /^cargo (run --release -- demo|test)$/];
const isLeftOut = ({ language, text }) => language === 'mermaid' || text.trim().split('\n').every((line) => LEFT_OUT.some((pattern) => pattern.test(line)));

export class Document {
  #unread;

  /** @param {string} name its path in the repository, e.g. docs/api.md */
  static async open(name) {
    return new Document(name, await readRepository(name));
  }

  constructor(name, text) {
    const [blocks, anchors] = [[], []];
    let heading = '';
    for (const [, title, language, code] of text.matchAll(/^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$/gms)) {
      if (title === undefined) blocks.push({ heading, language, text: code });
      else anchors.push(anchorOf((heading = title)));
    }
    Object.assign(this, { name, text, blocks, anchors });
    this.#unread = new Set(blocks);
  }

  /** The one block of this language that has these words in it, for a server on this port. */
  block(language, words, port) {
    const found = this.blocks.filter((block) => block.language === language && block.text.includes(words));
    assert.equal(found.length, 1, `blocks of ${language} with "${words}" in ${this.name}`);
    return this.read(found[0], port);
  }

  /** A block's text, for a server on this port. */
  read(block, port) {
    this.#unread.delete(block);
    return port === undefined ? block.text : block.text.replaceAll(':8080', `:${port}`);
  }

  /** Writes the blocks under these headings whose first line is the name of a file, in a comment. */
  async writeFiles(folder, headings) {
    for (const block of this.blocks.filter(({ heading }) => headings.includes(heading))) {
      const file = /^(?:\/\/|#) ([\w.-]+\.\w+)$/m.exec(block.text.split('\n')[0])?.[1];
      if (!file) continue;
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, file), this.read(block));
    }
  }

  /** Every block was read, but for what is left out. */
  hasNothingUnread() {
    assert.deepEqual([...this.#unread].filter((block) => !isLeftOut(block)), [], `read by nobody in ${this.name}`);
  }
}

/** What a heading is linked by, as GitHub makes it. */
const anchorOf = (heading) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-');
