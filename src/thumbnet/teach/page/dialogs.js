// Questions in dialogs: which class, a name or URL, and a picture in large.

import { isThere, move, names, newClass, state } from './actions.js';
import { ask, of } from './backend.js';
import { closable, find, id, make, say, tell } from './dom.js';

/** Ask for a class: the name of one that exists or of one made now, or null. `extra` offers an answer besides. */
export function which(title, { except = null, makes = true, extra = null, image = null } = {}) {
  const dialog = find('#which');
  const picture = find('img', dialog);
  find('h2', dialog).textContent = title;
  find('form', dialog).hidden = !makes;
  picture.hidden = !image;
  if (image) picture.src = image;
  tell(find('.error', dialog), null);
  return new Promise((resolve) => {
    let answer = null;
    const pick = (name) => {
      answer = name;
      dialog.close();
    };
    const choices = names().filter((name) => name !== except)
      .map((name) => make('button', { type: 'button', textContent: name, onclick: () => pick(name) }));
    if (extra) choices.push(make('button', { type: 'button', textContent: extra.text, className: 'extra', onclick: () => pick(extra.value) }));
    find('.choices', dialog).replaceChildren(...choices);
    find('form', dialog).onsubmit = async (event) => {
      event.preventDefault();
      const name = find('#which-name').value.trim().normalize('NFC');
      if (!name) return;
      try {
        if (!names().includes(name)) await newClass(name);
        pick(name);
      } catch (error) {
        if (error.status === 409) pick(names().find((other) => other.toLowerCase() === name.toLowerCase()) ?? name);
        else tell(find('.error', dialog), error);
      }
    };
    dialog.onclose = () => {
      find('#which-name').value = '';
      resolve(answer);
    };
    dialog.showModal();
  });
}

/** Ask for a text, until `accept(text)` does not throw or it is cancelled. */
export function entry({ title, label, value = '', button, type = 'text' }, accept) {
  const dialog = find('#entry');
  const [input, error, use] = [find('input', dialog), find('.error', dialog), find('.main', dialog)];
  find('h2', dialog).textContent = title;
  find('label', dialog).textContent = label;
  Object.assign(input, { value, inputMode: type });
  use.textContent = button;
  tell(error, null);
  find('form', dialog).onsubmit = async (event) => {
    event.preventDefault();
    use.disabled = true;
    try {
      await accept(input.value.trim());
      dialog.close();
    } catch (refused) {
      tell(error, refused);
      input.focus();
    } finally {
      use.disabled = false;
    }
  };
  dialog.showModal();
  input.select();
  return new Promise((resolve) => { dialog.onclose = resolve; });
}

let looked = []; // the pictures to page through
let place = 0;

/** Show a picture in large, one of several, until it is closed. */
export function look(pictures, index = 0) {
  looked = pictures;
  place = index;
  showLooked();
  find('#look').showModal();
  return new Promise((resolve) => { find('#look').onclose = resolve; });
}

async function showLooked() {
  const dialog = find('#look');
  const [image, error] = [find('img', dialog), find('.error', dialog)];
  const picture = looked[place];
  find('h2', dialog).textContent = picture.class;
  find('p', dialog).textContent = looked.length > 1 ? `${picture.name} (${place + 1} of ${looked.length})` : picture.name;
  find('.before', dialog).hidden = find('.after', dialog).hidden = looked.length < 2;
  tell(error, picture.problem);
  URL.revokeObjectURL(image.src);
  image.hidden = true;
  try {
    const blob = await (await ask(`picture?${of(picture)}`)).blob();
    if (looked[place] !== picture) return;
    image.src = URL.createObjectURL(blob);
    image.alt = `${picture.name}, of the class ${picture.class}`;
    image.hidden = false;
  } catch (refused) {
    if (looked[place] === picture) tell(error, picture.problem ?? refused);
  }
}

async function take(to) {
  const dialog = find('#look');
  const [picture] = looked.splice(place, 1);
  try {
    await move([picture], to);
    say(to === null ? `Removed ${picture.name}.` : `Moved ${picture.name} to ${to}.`);
  } catch (error) {
    looked.splice(place, 0, picture);
    tell(find('.error', dialog), error);
    return;
  }
  place = Math.min(place, looked.length - 1);
  if (looked.length) showLooked();
  else dialog.close();
}

export function listen() {
  for (const name of ['which', 'entry', 'look']) closable(find(`#${name}`));
  const dialog = find('#look');
  const turn = (by) => {
    place = (place + by + looked.length) % looked.length;
    showLooked();
  };
  find('.before', dialog).addEventListener('click', () => turn(-1));
  find('.after', dialog).addEventListener('click', () => turn(1));
  dialog.addEventListener('keydown', (event) => {
    if (looked.length > 1 && ['ArrowLeft', 'ArrowRight'].includes(event.key)) turn(event.key === 'ArrowLeft' ? -1 : 1);
  });
  find('.remove', dialog).addEventListener('click', () => take(null));
  find('.move', dialog).addEventListener('click', async () => {
    const to = await which('Move it to which class?', { except: looked[place].class });
    if (to !== null) take(to);
  });
  dialog.addEventListener('close', () => {
    URL.revokeObjectURL(find('img', dialog).src);
    looked = [];
  });
}

/** The pictures of those that are still there, with what the state says about them. */
export const current = (pictures) => pictures.filter(isThere).map((picture) => state.places.get(id(picture)));
