// The schema, as the server describes it.
import { send } from "./transports.js";

const INTROSPECTION = `query ExplorerSchema {
  __schema {
    queryType { name }
    mutationType { name }
    subscriptionType { name }
    types {
      kind
      name
      description
      fields(includeDeprecated: true) {
        name
        description
        isDeprecated
        deprecationReason
        args { ...Input }
        type { ...Reference }
      }
      inputFields { ...Input }
      enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
      interfaces { name }
      possibleTypes { name }
    }
  }
}
fragment Input on __InputValue { name description defaultValue type { ...Reference } }
fragment Reference on __Type {
  kind
  name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }
}`;

/** A reference in SDL: `[Connection!]!`. */
export function written(type) {
  if (type.kind === "NON_NULL") return `${written(type.ofType)}!`;
  if (type.kind === "LIST") return `[${written(type.ofType)}]`;
  return type.name;
}

/** The name of the type within a reference. */
export const nameOf = (type) => (type.ofType ? nameOf(type.ofType) : type.name);

/** Whether an argument or input field cannot be left out. */
export const isRequired = ({ type, defaultValue }) => type.kind === "NON_NULL" && defaultValue === null;

export class Schema {
  /** Asks the server. Throws with a message for people. */
  static async load(access, signal) {
    const { status, body } = await send({ query: INTROSPECTION, operationName: "ExplorerSchema" }, access, signal);
    const described = body?.data?.__schema;
    if (!described) throw new Error(body?.errors?.[0]?.message ?? `The server answered with status ${status}.`);
    return new Schema(described);
  }

  constructor(described) {
    const types = described.types.filter(({ name }) => !name.startsWith("__"));
    this.types = new Map(types.map((type) => [type.name, type]));
    const fieldsOf = (root) => (root ? (this.types.get(root.name)?.fields ?? []) : []);
    /** The fields to begin an operation with, by its kind. */
    this.roots = {
      query: fieldsOf(described.queryType),
      mutation: fieldsOf(described.mutationType),
      subscription: fieldsOf(described.subscriptionType),
    };
    const roots = [described.queryType, described.mutationType, described.subscriptionType].map((root) => root?.name);
    /** All other types, by name. */
    this.named = types.filter(({ name }) => !roots.includes(name)).sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  isLeaf(type) {
    return ["SCALAR", "ENUM"].includes(this.types.get(nameOf(type))?.kind ?? "SCALAR");
  }
}
