// What makes a text area pleasant for code. Edits go through the browser's own undo.

/** Replaces what is selected, so that undo brings it back. */
function type(area, text) {
  // Marked as deprecated, and the only way there is into a text area's undo.
  const done = text === "" ? document.execCommand("delete") : document.execCommand("insertText", false, text);
  if (!done) {
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** Replaces all of the text. */
export function replaceAll(area, text) {
  area.focus();
  area.select();
  type(area, text);
}

/** Tab indents and Shift+Tab unindents; after Escape, Tab moves on to the next control as everywhere else. Enter keeps the indentation. */
export function codeKeys(area) {
  let leaving = false;
  area.addEventListener("blur", () => (leaving = false));
  area.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Tab" && !leaving) {
      event.preventDefault();
      indent(area, event.shiftKey);
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      breakLine(area);
    }
    if (event.key !== "Shift") leaving = event.key === "Escape";
  });
}

function indent(area, back) {
  const { value, selectionStart: from, selectionEnd: to } = area;
  if (from === to && !back) return type(area, "  ");
  const start = value.lastIndexOf("\n", from - 1) + 1;
  const lines = value.slice(start, to);
  const moved = back ? lines.replace(/^ {1,2}/gm, "") : lines.replace(/^(?=.)/gm, "  ");
  if (moved === lines) return;
  area.setSelectionRange(start, to);
  type(area, moved);
  if (from === to) {
    const caret = Math.max(start, from - (lines.length - moved.length));
    area.setSelectionRange(caret, caret);
  } else {
    area.setSelectionRange(start, start + moved.length);
  }
}

function breakLine(area) {
  const { value, selectionStart: from, selectionEnd: to } = area;
  const line = value.slice(value.lastIndexOf("\n", from - 1) + 1, from);
  const margin = line.match(/^ */)[0];
  const opens = /[{([]\s*$/.test(line);
  const closes = /^\s*[})\]]/.test(value.slice(to));
  type(area, `\n${margin}${opens ? "  " : ""}${opens && closes ? `\n${margin}` : ""}`);
  if (opens && closes) {
    const caret = from + 1 + margin.length + 2;
    area.setSelectionRange(caret, caret);
  }
  reveal(area);
}

/** Scrolls to the caret: browsers do so for what is typed, not for what a script inserts. Lines are not wrapped. */
export function reveal(area) {
  const style = getComputedStyle(area);
  const height = parseFloat(style.lineHeight);
  const top = parseFloat(style.paddingTop) + height * (area.value.slice(0, area.selectionStart).split("\n").length - 1);
  if (top < area.scrollTop) area.scrollTop = top - height;
  else if (top + 2 * height > area.scrollTop + area.clientHeight) area.scrollTop = top + 2 * height - area.clientHeight;
}
