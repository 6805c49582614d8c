// What all parts of the page do with its elements, and how they put numbers into words.

export const find = (selector, within = document) => within.querySelector(selector);
export const percent = (share) => `${Math.round(share * 100)}\u00a0%`;
export const count = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
export const id = (picture) => `${picture.class}/${picture.name}`; // neither has a slash

/** A new element. `className`, `textContent` and the like are given as properties. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Whether the focus is nowhere, or on what has just been hidden. */
export function isFocusLost() {
  const at = document.activeElement;
  return !at || at === document.body || !at.checkVisibility();
}

/** Say it to those who listen, and show it for a moment to those who look, unless they see it already. */
export function say(text, { seen = false } = {}) {
  const said = find('#said');
  said.textContent = text;
  said.classList.remove('shown');
  void said.offsetWidth; // so that the animation starts again
  said.classList.toggle('shown', !seen);
}

/** Show an error's message, or a text, in an element that is hidden without. */
export function tell(element, error) {
  element.textContent = error ? error.message ?? error : '';
  element.hidden = !error;
}

const drawn = new WeakMap(); // parent → Map of key → element

/** The elements of a parent by their keys, as `redraw` made them. */
export function rows(parent) {
  if (!drawn.has(parent)) drawn.set(parent, new Map());
  return drawn.get(parent);
}

/** Make a parent's children those of the items, keep the elements that it has, and keep the focus. */
export function redraw(parent, items, keyOf, create, update = () => {}) {
  const before = rows(parent);
  const focused = document.activeElement;
  const wanted = new Set(items.map(keyOf));
  for (const [key, element] of before) {
    if (!wanted.has(key)) {
      element.remove();
      before.delete(key);
    }
  }
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = before.get(key) ?? create(item);
    before.set(key, element);
    update(element, item);
    if (element === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(element, cursor);
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

/** Let a dialog's Cancel or Close do so. */
export function closable(dialog) {
  find('.close', dialog).addEventListener('click', () => dialog.close());
}
