// Adds pictures: reads what is dropped, chosen or pasted, and sends it, a few at a time.

import { names, newClass } from './actions.js';
import { ask, classPath, turns } from './backend.js';
import { which } from './dialogs.js';
import { count, find, make, say } from './dom.js';

const inTurn = turns(2); // of the six connections that a browser opens
const LISTED = 50; // failures that are named
const HIDDEN = /^(\.|Thumbs\.db$|desktop\.ini$)/; // what systems put beside pictures
const tally = { all: 0, done: 0, known: 0, failed: 0 }; // since there was nothing to do
const failures = []; // {item, message}
let serial = 0;
let changed = () => {};

/** Pictures on their way by a number of their own: {id, class, name, blob or url, key once it is stored}. */
export const pending = new Map();

/** Call this whenever `pending` changes. */
export function onChange(call) {
  changed = call;
}

/** Send files to a class. */
export function addTo(name, files) {
  for (const file of files) send({ class: name, name: file.name || 'pasted.png', blob: file });
}

/** Let the server fetch a picture for a class, and throw what it says against it. */
export async function fetchUrl(name, url) {
  const response = await ask(classPath(name, 'urls'), { json: { url } });
  say((await response.json()).known ? 'This picture was there already.' : `Added a picture to ${name}.`);
}

/** Let the server fetch a picture for a class among the others. */
export function addUrl(name, url) {
  send({ class: name, name: url, url });
}

/** Make a class of each folder's files. */
export async function addFolders(found) {
  const folders = new Map();
  for (const { file, folder } of found) folders.set(folder, [...(folders.get(folder) ?? []), file]);
  for (const [folder, files] of folders) {
    try {
      if (!names().includes(folder)) await newClass(folder);
    } catch (error) {
      if (error.status !== 409) {
        for (const file of files) fail({ class: folder, name: file.name, blob: file }, error);
        continue;
      }
    }
    addTo(folder, files);
  }
}

/** After a class got another name here, what is still on its way goes there. */
export function renamed(from, to) {
  for (const item of pending.values()) if (item.class === from) item.class = to;
}

/** The files of a drop or paste, folders read to their ground: [{file, folder}], where `folder` may be null. */
export async function filesOf(data) {
  const entries = [...data.items].map((item) => item.kind === 'file' && (item.webkitGetAsEntry?.() ?? item.getAsFile()));
  const found = [];
  for (const entry of entries) if (entry) await collect(entry, null, found);
  return found;
}

/** The files of a choice of a folder, in the same form. */
export function filesOfFolder(list) {
  return [...list].filter(({ name }) => !HIDDEN.test(name))
    .map((file) => ({ file, folder: file.webkitRelativePath.split('/').at(-2) ?? null }));
}

async function collect(entry, folder, found) {
  if (entry instanceof File) {
    found.push({ file: entry, folder });
  } else if (folder !== null && HIDDEN.test(entry.name)) {
    return;
  } else if (entry.isFile) {
    found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder });
  } else {
    const reader = entry.createReader();
    for (;;) { // it gives a hundred at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const inside of some) await collect(inside, entry.name, found);
    }
  }
}

function send(item) {
  item.id = serial += 1;
  pending.set(item.id, item);
  tally.all += 1;
  inTurn(() => store(item));
  update();
}

async function store(item) {
  try {
    const { key, known } = await stored(item);
    item.key = key;
    tally.known += known ? 1 : 0;
    setTimeout(() => forget(item), 5000); // where the state that shows it does not come
  } catch (error) {
    tally.failed += 1;
    fail(item, error);
  }
  tally.done += 1;
  if (tally.done === tally.all) {
    const known = tally.known ? `; ${tally.known === 1 ? 'one was' : `${tally.known} were`} there already` : '';
    const bad = tally.failed ? `; ${tally.failed} could not be added` : '';
    say(`Added ${count(tally.all - tally.known - tally.failed, 'picture')}${known}${bad}.`);
    Object.assign(tally, { all: 0, done: 0, known: 0, failed: 0 });
  }
  update();
}

/** Without a connection it waits for one. */
async function stored(item) {
  for (;;) {
    try {
      const response = item.url
        ? await ask(classPath(item.class, 'urls'), { json: { url: item.url } })
        : await ask(`${classPath(item.class, 'pictures')}?name=${encodeURIComponent(item.name)}`, { body: item.blob });
      return await response.json();
    } catch (error) {
      if (error.status !== 0 || (item.blob && !(await readable(item.blob)))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

/** A file that was moved or deleted since it was dropped fails as a lost connection does. */
async function readable(blob) {
  return blob.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

/** Take it from those on their way. */
export function forget(item) {
  if (pending.delete(item.id)) changed();
}

function fail(item, error) {
  pending.delete(item.id);
  failures.push({ item, message: error.message });
  update();
}

let due = false;
function update() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    show();
    changed();
  });
}

function show() {
  const [adding, failed] = [find('#adding'), find('#failed')];
  adding.hidden = tally.all < 2;
  find('label', adding).textContent = `Adding picture ${Math.min(tally.done + 1, tally.all)} of ${tally.all} …`;
  Object.assign(find('progress', adding), { max: tally.all || 1, value: tally.done });
  failed.hidden = !failures.length;
  find('h3', failed).textContent = `${count(failures.length, 'picture')} could not be added`;
  find('ul', failed).replaceChildren(...failures.slice(0, LISTED).map(({ item, message }) => (
    make('li', {}, make('b', { textContent: item.name }), ` for ${item.class}: ${message}`))));
  if (failures.length > LISTED) find('ul', failed).append(make('li', { textContent: `and ${failures.length - LISTED} more` }));
}

/** Send again what failed. A class may have got another name elsewhere, or never have been made. */
async function again() {
  for (const name of new Set(failures.map(({ item }) => item.class))) {
    if (names().includes(name)) continue;
    const to = await which(`There is no class ${name}. Where do its pictures belong?`);
    if (to === null) return;
    for (const { item } of failures) if (item.class === name) item.class = to;
  }
  for (const { item } of failures.splice(0)) send(item);
  find('#show').focus();
}

export function listen() {
  find('#failed .dismiss').addEventListener('click', () => {
    failures.length = 0;
    update();
    find('#show').focus();
  });
  find('#failed .again').addEventListener('click', again);
  addEventListener('beforeunload', (event) => {
    if ([...pending.values()].some(({ key }) => !key)) event.preventDefault();
  });
}
