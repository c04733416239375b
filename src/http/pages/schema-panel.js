// The schema at the side: a list to search, and a page for each field and type.
import { byId, make } from "./elements.js";
import { nameOf, written } from "./schema.js";

const GROUPS = [["query", "Queries"], ["mutation", "Mutations"], ["subscription", "Subscriptions"]];
/** Fields of types that a search lists at most. */
const MOST = 60;
const KINDS = { OBJECT: "type", INTERFACE: "interface", UNION: "union", ENUM: "enum", INPUT_OBJECT: "input", SCALAR: "scalar" };

export class SchemaPanel {
  #schema = null;
  #view = byId("schema-view");
  #search = byId("search");
  /** Pages that were opened one from the other; empty: the list. */
  #trail = [];
  #insert;

  /** `insert(kind, field)` is called for a root field that is wanted in the editor. */
  constructor(insert) {
    this.#insert = insert;
    this.#search.addEventListener("input", () => {
      this.#trail = [];
      this.#draw();
    });
  }

  get hasSchema() {
    return this.#schema !== null;
  }

  show(schema) {
    this.#schema = schema;
    this.#search.disabled = false;
    this.#draw();
  }

  /** Says why there is no schema. */
  fail(message, again) {
    if (this.#schema) return;
    const button = make("button", { type: "button", className: "quiet", onclick: again }, "Try again");
    this.#view.replaceChildren(make("p", { className: "note" }, `The schema could not be read. ${message}`), button);
  }

  #open(page) {
    this.#trail.push(page);
    this.#draw();
    this.#view.scrollTop = 0;
    this.#view.querySelector("h3")?.focus();
  }

  #back() {
    this.#trail.pop();
    this.#draw();
    (this.#view.querySelector("h3") ?? this.#search).focus();
  }

  #draw() {
    if (!this.#schema) return;
    const page = this.#trail.at(-1);
    this.#view.replaceChildren(...(page ? [this.#backButton(), ...page()] : this.#list()));
  }

  #backButton() {
    const to = this.#trail.length > 1 ? "Back" : "Back to the list";
    return make("button", { type: "button", className: "back", onclick: () => this.#back() }, `← ${to}`);
  }

  // The list.

  #list() {
    const wanted = this.#search.value.trim().toLowerCase();
    const matches = ({ name, description }) =>
      name.toLowerCase().includes(wanted) || (wanted.length > 2 && (description ?? "").toLowerCase().includes(wanted));
    const groups = GROUPS.map(([kind, title]) =>
      this.#group(title, this.#schema.roots[kind].filter(matches).map((field) => this.#rootRow(kind, field))));
    groups.push(this.#group("Types", this.#schema.named.filter(matches).map((type) => this.#typeRow(type))));
    if (wanted) groups.push(this.#group("Fields", this.#fieldsNamed(wanted)));
    const found = groups.filter((group) => group !== null);
    return found.length > 0 ? found : [make("p", { className: "note" }, "Nothing in the schema is called so.")];
  }

  #group(title, rows) {
    if (rows.length === 0) return null;
    return make("section", {}, make("h4", {}, title, make("small", {}, String(rows.length))), make("ul", {}, rows));
  }

  #rootRow(kind, field) {
    const open = () => this.#open(() => this.#fieldPage(field, kind));
    const label = `Insert ${field.name} into the editor`;
    const onclick = () => this.#insert(kind, field);
    const insert = make("button", { type: "button", className: "insert", title: label, "aria-label": label, onclick }, "+");
    return make("li", {}, this.#row(field.name, field, open), insert);
  }

  #typeRow(type) {
    return make("li", {}, this.#row(type.name, type, () => this.#openType(type.name)));
  }

  #fieldsNamed(wanted) {
    const found = this.#schema.named.flatMap((type) =>
      (type.fields ?? type.inputFields ?? type.enumValues ?? [])
        .filter(({ name }) => name.toLowerCase().includes(wanted))
        .map((field) => [type, field]));
    return found.slice(0, MOST).map(([type, field]) =>
      make("li", {}, this.#row(`${type.name}.${field.name}`, field, () => this.#openType(type.name))));
  }

  #row(name, { description, isDeprecated }, open) {
    const line = (description ?? "").trim().split("\n")[0];
    return make("button", { type: "button", className: "row", onclick: open },
      make("span", { className: isDeprecated ? "name gone" : "name" }, name),
      line ? make("span", { className: "line" }, line) : null);
  }

  // The pages.

  #openType(name) {
    const type = this.#schema.types.get(name);
    if (type) this.#open(() => this.#typePage(type));
  }

  #fieldPage(field, kind) {
    const insert = () => this.#insert(kind, field);
    return [
      make("h3", { tabIndex: -1 }, make("small", {}, kind), field.name),
      ...this.#text(field),
      make("button", { type: "button", className: "quiet", onclick: insert }, "Insert into the editor"),
      ...this.#parts("Arguments", field.args),
      make("h4", {}, "Gives"),
      make("p", { className: "signature" }, this.#reference(field.type)),
    ];
  }

  #typePage(type) {
    return [
      make("h3", { tabIndex: -1 }, make("small", {}, KINDS[type.kind] ?? ""), type.name),
      ...this.#text(type),
      ...this.#names("Implements", type.interfaces),
      ...this.#names("Can be", type.possibleTypes),
      ...this.#parts("Fields", type.fields ?? type.inputFields),
      ...this.#parts("Values", type.enumValues),
    ];
  }

  #text({ description, isDeprecated, deprecationReason }) {
    const paragraphs = (description ?? "").trim().split(/\n\s*\n/).filter(Boolean);
    return [
      ...paragraphs.map((paragraph) => make("p", {}, paragraph.replace(/\s*\n\s*/g, " "))),
      isDeprecated ? make("p", { className: "note" }, `Deprecated. ${deprecationReason ?? ""}`) : null,
    ].filter(Boolean);
  }

  /** Arguments, fields or values with their types and descriptions. */
  #parts(title, parts) {
    if (!parts?.length) return [];
    const rows = parts.map((part) => make("div", {}, make("dt", {}, this.#signature(part)), make("dd", {}, this.#text(part))));
    return [make("h4", {}, title), make("dl", {}, rows)];
  }

  #signature({ name, args, type, defaultValue, isDeprecated }) {
    const given = (args ?? []).flatMap((arg, index) => [index > 0 ? ", " : "", `${arg.name}: `, this.#reference(arg.type)]);
    return [
      make("b", { className: isDeprecated ? "gone" : "" }, name),
      ...(given.length > 0 ? ["(", ...given, ")"] : []),
      ...(type ? [": ", this.#reference(type)] : []),
      ...(defaultValue ? [` = ${defaultValue}`] : []),
    ];
  }

  /** A type that opens its page. */
  #reference(type) {
    const name = nameOf(type);
    return make("button", { type: "button", className: "reference", onclick: () => this.#openType(name) }, written(type));
  }

  #names(title, types) {
    if (!types?.length) return [];
    const names = types.flatMap((type, index) => [index > 0 ? ", " : null, this.#reference(type)]);
    return [make("h4", {}, title), make("p", { className: "signature" }, names)];
  }
}
