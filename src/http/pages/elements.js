// Building blocks of the page. Text always becomes a text node, never markup.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An element of `tag` with properties, and children that are elements or texts; what is null is left out. */
export function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** What this tab remembers, where the browser lets it remember anything. */
export const memory = {
  read(name) {
    try {
      return sessionStorage.getItem(`patchbay.${name}`);
    } catch {
      return null;
    }
  },
  write(name, value) {
    try {
      if (value) sessionStorage.setItem(`patchbay.${name}`, value);
      else sessionStorage.removeItem(`patchbay.${name}`);
    } catch {
      // Without a memory the page works all the same.
    }
  },
};
