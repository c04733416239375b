// A first draft of an operation for a field of the schema, with variables for what it cannot do without.
import { freeName } from "./documents.js";
import { isRequired, nameOf, written } from "./schema.js";

/** Fields that tell what an object is, where there is no room for all of it. */
const TELLING = [
  "id", "name", "accountId", "code", "title", "message", "status", "reason", "kind", "value", "authorizationUrl", "hasNextPage", "endCursor",
];
/** How deep variables are filled in. */
const DEEPEST = 4;

/** `{text, variables}` for the root field `field` of operations of `kind`, called `name`, with no variable called as one of `taken`. */
export function skeleton(schema, kind, field, name, taken = new Set()) {
  const args = field.args
    .filter((arg) => isRequired(arg) || (arg.name === "after" && kind === "subscription"))
    .map((arg) => ({ ...arg, variable: freeName(arg.name, taken) }));
  const declared = args.map(({ variable, type }) => `$${variable}: ${written(type)}`).join(", ");
  const passed = args.map((arg) => `${arg.name}: $${arg.variable}`);
  if (field.args.some((arg) => arg.name === "first") && kind === "query") passed.unshift("first: 20");
  const call = field.name + (passed.length > 0 ? `(${passed.join(", ")})` : "");
  const text = `${kind} ${name}${declared ? `(${declared})` : ""} {\n  ${call}${selection(schema, field.type, 1, "  ")}\n}\n`;
  const variables = args.map(({ variable, name: called, type }) => [variable, called === "after" ? null : placeholder(schema, type, 0)]);
  return { text, variables: Object.fromEntries(variables) };
}

function selection(schema, reference, room, margin) {
  const type = schema.types.get(nameOf(reference));
  if (schema.isLeaf(reference)) return "";
  const inner = `${margin}  `;
  const fields = selectable(type);
  const isPage = fields.some(({ name }) => name === "nodes");
  const lines = fields.flatMap((field) => {
    if (schema.isLeaf(field.type)) return isPage ? [] : [field.name];
    if (isPage && field.name === "edges") return [];
    if (isPage && field.name === "nodes") return [`nodes${selection(schema, field.type, room, inner)}`];
    const few = summary(schema, field.type);
    return few && (room > 0 || isPage) ? [`${field.name} ${few}`] : [];
  });
  if (lines.length === 0) lines.push("__typename");
  return ` {\n${lines.map((line) => inner + line).join("\n")}\n${margin}}`;
}

/** One line of fields that say which object it is; nothing for a page within an object. */
function summary(schema, reference) {
  const fields = selectable(schema.types.get(nameOf(reference)));
  if (fields.some(({ name }) => name === "nodes")) return null;
  const leaves = fields.filter(({ type }) => schema.isLeaf(type)).map(({ name }) => name);
  const telling = leaves.filter((name) => TELLING.includes(name));
  const chosen = telling.length > 0 ? telling.slice(0, 5) : leaves.slice(0, 4);
  return `{ ${(chosen.length > 0 ? chosen : ["__typename"]).join(" ")} }`;
}

const selectable = (type) => (type?.fields ?? []).filter((field) => !field.isDeprecated && !field.args.some(isRequired));

function placeholder(schema, reference, depth) {
  if (reference.kind === "NON_NULL") return placeholder(schema, reference.ofType, depth);
  if (reference.kind === "LIST") return [];
  const type = schema.types.get(reference.name);
  if (type?.kind === "ENUM") return type.enumValues[0].name;
  if (type?.kind !== "INPUT_OBJECT") return { Int: 0, Float: 0, Boolean: false, ID: "", String: "" }[reference.name] ?? null;
  const needed = depth < DEEPEST ? type.inputFields.filter(isRequired) : [];
  return Object.fromEntries(needed.map((field) => [field.name, placeholder(schema, field.type, depth + 1)]));
}
