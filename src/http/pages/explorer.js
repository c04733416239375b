// The explorer: what its controls do, and what runs.
import { Access, mayReplace, takeFromAddress } from "./access.js";
import { freeName, operationAt, operations, withNames } from "./documents.js";
import { codeKeys, replaceAll, reveal } from "./editor.js";
import { byId, make, memory } from "./elements.js";
import { EXAMPLES } from "./examples.js";
import { Results } from "./results.js";
import { Schema } from "./schema.js";
import { SchemaPanel } from "./schema-panel.js";
import { skeleton } from "./skeleton.js";
import { send, subscribe } from "./transports.js";

/** Runs that are remembered. */
const REMEMBERED = 20;

const access = new Access();
const results = new Results();
const panel = new SchemaPanel(insert);
const [editor, variables, chooser] = [byId("document"), byId("variables"), byId("operation")];
const [run, stop, token, workspace] = [byId("run"), byId("stop"), byId("token"), byId("workspace")];
let schema = null;

// Who asks.

let asking = new AbortController();

/** Shows who asks. A token of the address replaces that of this tab only if the person says so: anybody can write a link. */
async function takeToken() {
  const given = takeFromAddress();
  if (given !== null && given !== access.token && (access.token === "" || (await mayReplace()))) {
    access.change({ token: given, workspace: access.token === "" ? access.workspace : "" });
  }
  token.value = access.token;
  workspace.value = access.workspace;
}

/** Says who the token stands for, and reads the schema if it could not be read before. */
async function introduce() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const who = byId("who");
  const say = (text, tone) => Object.assign(who, { textContent: text, className: tone });
  try {
    if (access.token) {
      say("…", "");
      const query = "{ viewer { role user { name } workspace { name } } }";
      const { status, body } = await send({ query }, access, signal);
      const viewer = body?.data?.viewer;
      if (viewer) say(`${viewer.user.name}, ${viewer.role.toLowerCase()}, ${viewer.workspace.name}`, "good");
      else say(body?.errors?.[0]?.message ?? `The server answered with status ${status}.`, "bad");
    } else {
      say("No token yet", "");
    }
  } catch {
    if (!signal.aborted) say("The server cannot be reached.", "bad");
  }
  if (!signal.aborted && !panel.hasSchema) await readSchema(signal);
}

async function readSchema(signal) {
  try {
    schema = await Schema.load(access, signal);
    panel.show(schema);
  } catch (error) {
    if (!signal?.aborted) panel.fail(error.message, () => readSchema());
  }
}

let typing;
for (const field of [token, workspace]) {
  field.addEventListener("input", () => {
    access.change({ token: token.value, workspace: workspace.value });
    clearTimeout(typing);
    typing = setTimeout(introduce, 400);
  });
}
window.addEventListener("hashchange", () => takeToken().then(introduce));

// What is in the editors.

/** Variables stay out of what is remembered, and so do operations that mention credentials. */
const mayRemember = (text) => !/credentials/i.test(text);

function choose() {
  const all = operations(editor.value);
  const chosen = operationAt(all, editor.selectionStart);
  chooser.hidden = all.length < 2;
  chooser.replaceChildren(...all.map((operation) =>
    make("option", { value: String(operation.start), selected: operation === chosen }, operation.name ?? `a ${operation.kind}`)));
  return chosen;
}

function edit(text, values) {
  replaceAll(variables, values && Object.keys(values).length > 0 ? JSON.stringify(values, null, 2) : "");
  replaceAll(editor, text);
  editor.setSelectionRange(0, 0);
  editor.scrollTop = 0;
  choose();
}

/** The variables as an object; null and a remark beside the editor when they are none. */
function readVariables() {
  let problem = "";
  let values = {};
  try {
    values = JSON.parse(variables.value.trim() || "{}");
    if (values === null || typeof values !== "object" || Array.isArray(values)) problem = "Variables are one JSON object.";
  } catch (error) {
    problem = `This is no JSON: ${error.message}`;
  }
  byId("variables-problem").textContent = problem;
  variables.setAttribute("aria-invalid", String(problem !== ""));
  return problem ? null : values;
}

function insert(kind, field) {
  const before = editor.value.trimEnd();
  const untouched = before === "" || EXAMPLES.some(({ text }) => text.trimEnd() === before);
  const taken = new Set(untouched ? [] : operations(before).map(({ name }) => name));
  const name = freeName(field.name[0].toUpperCase() + field.name.slice(1), taken);
  const variablesTaken = new Set(untouched ? [] : [...before.matchAll(/\$(\w+)/g)].map(([, variable]) => variable));
  const drafted = skeleton(schema, kind, field, name, variablesTaken);
  if (untouched) return edit(drafted.text, drafted.variables);
  const kept = withNames(before, new Set([...taken, name]));
  const values = { ...readVariables(), ...drafted.variables };
  edit(`${kept}\n\n${drafted.text}`, values);
  editor.setSelectionRange(kept.length + 2, kept.length + 2);
  editor.scrollTop = editor.scrollHeight;
  reveal(editor);
  choose();
}

for (const area of [editor, variables]) codeKeys(area);
for (const moment of ["input", "keyup", "click"]) editor.addEventListener(moment, choose);
editor.addEventListener("input", () => memory.write("draft", mayRemember(editor.value) ? editor.value : null));
variables.addEventListener("input", () => {
  if (byId("variables-problem").textContent) readVariables();
});
chooser.addEventListener("change", () => {
  editor.setSelectionRange(Number(chooser.value), Number(chooser.value));
  reveal(editor);
});

// Examples and earlier runs.

const examples = byId("examples");
examples.append(...EXAMPLES.map(({ title }, index) => make("option", { value: String(index) }, title)));
examples.addEventListener("change", () => {
  const { text, variables: values } = EXAMPLES[Number(examples.value)];
  examples.value = "";
  edit(text, values);
});

const earlier = byId("history");
let runs = JSON.parse(memory.read("runs") ?? "[]");

function remember(text, chosen) {
  if (!mayRemember(text)) return;
  const title = chosen?.name ?? text.trim().split("\n")[0].slice(0, 40);
  const time = new Date().toTimeString().slice(0, 5);
  runs = [{ title: `${time}  ${title}`, text }, ...runs.filter((before) => before.text !== text)].slice(0, REMEMBERED);
  memory.write("runs", JSON.stringify(runs));
  listRuns();
}

function listRuns() {
  earlier.disabled = runs.length === 0;
  earlier.replaceChildren(earlier.options[0], ...runs.map(({ title }, index) => make("option", { value: String(index) }, title)));
  earlier.value = "";
}
earlier.addEventListener("change", () => {
  const { text } = runs[Number(earlier.value)];
  earlier.value = "";
  replaceAll(editor, text);
  choose();
});

// Running.

/** What runs now, with a way to stop it. */
let running = null;

function start() {
  const values = readVariables();
  if (values === null) return variables.focus();
  const chosen = choose();
  running?.stop();
  const request = { query: editor.value, variables: values, ...(chosen?.name && { operationName: chosen.name }) };
  remember(editor.value, chosen);
  results.clear();
  if (chosen?.kind === "subscription") follow(request);
  else ask(request);
}

function began(current) {
  running = current;
  stop.hidden = false;
}

function ended(current) {
  if (running !== current) return;
  running = null;
  if (document.activeElement === stop) run.focus();
  stop.hidden = true;
}

async function ask(request) {
  const abort = new AbortController();
  const current = { stop: () => abort.abort() };
  began(current);
  results.say("Waiting for the answer …");
  try {
    const { status, requestId, took, body } = await send(request, access, abort.signal);
    const failed = status >= 400 || (Array.isArray(body?.errors) && body.errors.length > 0);
    results.show(body);
    const summary = [`${failed ? "With errors, status" : "Status"} ${status}`, `${took} ms`];
    if (failed && requestId) summary.push(`request ${requestId}`);
    results.say(summary.join(", "), failed ? "bad" : "good");
  } catch {
    if (running === current) {
      if (abort.signal.aborted) results.say("Stopped before there was an answer.");
      else results.say("There was no answer: the server cannot be reached.", "bad");
    }
  }
  ended(current);
}

function follow(request) {
  let cursor = null;
  let conclusion = "";
  let failed = false;
  let count = 0;
  const events = (number) => (number === 1 ? "1 event" : `${number} events`);
  const whenCurrent = (act) => (given) => {
    if (running === current) act(given);
  };
  const current = subscribe(request, access, {
    started: whenCurrent(() => results.say("Listening", "live")),
    next: whenCurrent((result) => {
      cursor = Object.values(result.data ?? {})[0]?.cursor ?? cursor;
      count = results.add(result);
      results.say(`Listening, ${events(count)}`, "live");
    }),
    failed: whenCurrent((errors) => {
      results.add({ errors });
      failed = true;
      conclusion = "Ended with an error";
    }),
    completed: whenCurrent(() => {
      conclusion = "The server sent all there was";
    }),
    closed: whenCurrent(({ code, reason, meaning, ours }) => {
      const lost = conclusion === "" && !ours;
      if (lost) remarkOnLoss(code, reason, meaning, request, cursor);
      if (lost) conclusion = `Closed with ${code}`;
      const counted = failed && count === 0 ? "" : `, ${events(count)}`;
      results.say((conclusion || "Stopped") + counted, lost || failed ? "bad" : "good");
      ended(current);
    }),
  });
  began(current);
  results.say("Connecting …");
}

/** Says why a socket was closed, and offers to go on where it was. */
function remarkOnLoss(code, reason, meaning, { query, variables: values }, cursor) {
  const said = reason ? ` (${reason})` : "";
  const resume = make("button", { type: "button", className: "quiet" }, "Continue after the last event");
  resume.addEventListener("click", () => {
    edit(query, { ...values, after: cursor });
    start();
  });
  results.remark(`Closed with ${code}${said}. ${meaning}`, "bad", cursor && /\$after\b/.test(query) ? resume : "");
}

run.addEventListener("click", start);
stop.addEventListener("click", () => running?.stop());
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    start();
  }
});

// The page.

const toggle = byId("toggle-schema");
function showSchema(shown) {
  byId("schema").hidden = !shown;
  toggle.setAttribute("aria-expanded", String(shown));
}
toggle.addEventListener("click", () => showSchema(byId("schema").hidden));

showSchema(matchMedia("(min-width: 64rem)").matches);
editor.value = memory.read("draft") ?? EXAMPLES[0].text;
editor.setSelectionRange(0, 0);
choose();
listRuns();
takeToken().then(introduce);
