// Which operations a GraphQL document has. It need not be finished or right: someone is typing it.
const TOKENS = /#[^\n\r]*|"""(?:\\"""|[^])*?"""|"(?:\\.|[^"\\\n\r])*"|[_A-Za-z][_0-9A-Za-z]*|[^\s,\uFEFF]/g;
const KINDS = new Set(["query", "mutation", "subscription", "fragment"]);
const NAME = /^[_A-Za-z]/;

/**
 * The operations in order, each `{kind, name, start, end, nameAt, bare}`: where it stands, where its name stands or would stand,
 * and whether it is bare, that is, a selection without even the word "query".
 */
export function operations(text) {
  const found = [];
  let depth = 0;
  let current = null;
  let named = true;
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (token[0] === "#" || token[0] === '"') continue;
    const end = index + token.length;
    if ("{([".includes(token)) {
      if (depth === 0 && token === "{" && !current) {
        current = { kind: "query", name: null, start: index, nameAt: index, bare: true };
        found.push(current);
      }
      named = true;
      depth += 1;
    } else if ("})]".includes(token)) {
      depth = Math.max(0, depth - 1);
      if (depth === 0 && token === "}" && current) {
        current.end = end;
        current = null;
      }
    } else if (depth === 0 && !current && KINDS.has(token)) {
      current = { kind: token, name: null, start: index, nameAt: end, bare: false };
      found.push(current);
      named = false;
    } else if (depth === 0 && current && !named) {
      if (NAME.test(token)) current.name = token;
      named = true;
    }
  }
  if (current) current.end = text.length;
  return found.filter(({ kind }) => kind !== "fragment");
}

/** The operation at `position`, else the last one before it, else the first. */
export function operationAt(all, position) {
  return all.findLast(({ start }) => start <= position) ?? all[0] ?? null;
}

/** The document with a name for the operation that has none, as every operation needs one beside others. */
export function withNames(text, taken = new Set()) {
  const nameless = operations(text).find(({ name }) => name === null);
  if (!nameless) return text;
  const { nameAt, bare, kind } = nameless;
  const name = freeName("Unnamed", taken);
  const words = bare ? `${kind} ${name} ` : ` ${name}`;
  return text.slice(0, nameAt) + words + text.slice(nameAt);
}

/** `name`, or with the first number after it that is not taken. */
export function freeName(name, taken) {
  let free = name;
  for (let number = 2; taken.has(free); number += 1) free = name + number;
  return free;
}
