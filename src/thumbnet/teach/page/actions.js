// The last state that the server told, and what can be done to it. All of these throw `Refused`.

import { ask, classPath } from './backend.js';
import { id } from './dom.js';

export const state = { classes: [], result: null, undo: null, places: new Map() };

/** Take over a new state. A class that is as before keeps its array of pictures, so that it need not be drawn again. */
export function arrived(told) {
  const before = new Map(state.classes.map(({ name, pictures }) => [name, pictures]));
  Object.assign(state, told);
  for (const each of state.classes) {
    const old = before.get(each.name);
    if (old && isSame(old, each.pictures)) each.pictures = old;
  }
  place();
}

function isSame(some, others) {
  return some.length === others.length && some.every((picture, index) => (
    ['name', 'key', 'problem'].every((field) => picture[field] === others[index][field])));
}

/** Each picture learns its class, and `places` finds it by class and name. */
function place() {
  state.places = new Map();
  for (const { name, pictures } of state.classes) {
    for (const picture of pictures) {
      picture.class = name;
      state.places.set(id(picture), picture);
    }
  }
}

export const names = () => state.classes.map(({ name }) => name);
/** Whether a picture of a result is still where it was, with the same content. */
export const isThere = (picture) => state.places.get(id(picture))?.key === picture.key;

export const newClass = (name) => ask('classes', { json: { name } });

/** Gives the name as the server writes it. The state has it at once, as what is drawn meanwhile goes by that. */
export async function rename(from, name) {
  const given = (await (await ask(classPath(from, 'rename'), { json: { name, merge: false } })).json()).name;
  const renamed = state.classes.find((each) => each.name === from);
  if (renamed) renamed.name = given;
  place();
  return given;
}

export const merge = (from, name) => ask(classPath(from, 'rename'), { json: { name, merge: true } });
export const removeClass = (name) => ask(classPath(name, 'remove'), { post: true });
export const undo = async () => (await (await ask('undo', { post: true })).json()).label;

/** Move pictures to a class, or with null out of all classes. */
export function move(pictures, to) {
  return ask('move', { json: { pictures: pictures.map((picture) => ({ class: picture.class, name: picture.name })), to } });
}
