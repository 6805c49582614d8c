// Show: the classes as columns of thumbnails, and all that changes them.

import { merge, move, newClass, removeClass, rename, state } from './actions.js';
import { addFolders, addTo, addUrl, fetchUrl, filesOf, filesOfFolder, forget, pending, renamed } from './add.js';
import { film, hasCamera } from './camera.js';
import { entry, look, which } from './dialogs.js';
import { count, find, id, isFocusLost, make, redraw, rows, say, tell } from './dom.js';
import { thumbnail } from './thumbnails.js';
import { tryPicture } from './try.js';

const FIRST = 240; // pictures of a class that are drawn until more are asked for
const DRAGGED = 'application/x-thumbnet';
const PROBLEMS = 5; // unreadable files that are named for each class
const selected = new Map(); // id → picture
const drawn = new WeakMap(); // list → what is drawn in it
const limits = new Map(); // class → pictures to draw
let last = null; // the tile that the keyboard was on: {card, index}
let anchor = null; // where a range of tiles begins
let chosenFor = null; // the class that files are being chosen for, or null for classes by folder

/** Draw the classes of the state. */
export function draw() {
  for (const key of selected.keys()) if (!state.places.has(key)) selected.delete(key);
  for (const item of pending.values()) {
    if (item.key && state.classes.some(({ name, pictures }) => name === item.class && pictures.some(({ key }) => key === item.key))) {
      forget(item);
    }
  }
  find('#show-hint').textContent = state.classes.length
    ? 'Drop pictures or folders on a class, or click it and paste.'
    : 'Your pictures stay on this computer.';
  find('#none').hidden = state.classes.length > 0;
  refocus(() => redraw(find('#classes'), state.classes, ({ name }) => name, createCard, drawCard));
  drawLooking();
  drawSelected();
}

/** The words for the steps' first link. */
export function summary() {
  return state.classes.length ? `${count(state.places.size, 'picture')}` : 'start here';
}

/** If what has the focus goes away, it goes to what is nearest. */
function refocus(change) {
  const at = document.activeElement;
  const card = at?.closest('.class');
  const list = at?.closest('ul.tiles');
  const index = list ? [...list.children].indexOf(at) : -1;
  change();
  if (!card || at.isConnected) return;
  focusNear(card, index);
}

function focusNear(card, index) {
  if (!card.isConnected) return find('#new-name').focus();
  const list = find('ul.tiles', card);
  if (index < 0 || !list.children.length) return find('.files', card).focus();
  focusTile(list, Math.min(index, list.children.length - 1));
}

function createCard({ name }) {
  const card = find('#class-card').content.firstElementChild.cloneNode(true);
  const list = find('ul.tiles', card);
  const named = () => card.dataset.name;
  const on = (selector, work) => find(selector, card).addEventListener('click', async () => {
    find('details', card).open = false;
    tell(find('.said', card), null);
    let then = null; // the class that has the pictures now
    try {
      then = await work(named());
    } catch (error) {
      tell(find('.said', card), error);
    }
    if (!isFocusLost()) return;
    const next = rows(find('#classes')).get(then ?? named()) ?? card;
    (next.isConnected ? find('summary', next) : find('#new-name')).focus();
  });
  card.dataset.name = name;
  on('.rename', async (old) => {
    let now = old;
    await entry({ title: `Rename ${old}`, label: 'New name', value: old, button: 'Rename' }, async (text) => {
      if (text === old) return;
      now = await rename(old, text);
      rekey(card, old, now);
      say(`${old} is called ${now} now.`);
    });
    return now;
  });
  on('.merge', async (from) => {
    const to = await which(`Merge ${from} into which class?`, { except: from, makes: false });
    if (to === null) return from;
    await merge(from, to);
    say(`The pictures of ${from} belong to ${to} now.`);
    return to;
  });
  on('.remove', async (gone) => {
    await removeClass(gone);
    say(`Removed ${gone} with its pictures. Undo brings it back.`);
  });
  on('.files', (to) => choose('#files', to));
  on('.folder', (to) => choose('#folders', to));
  on('.film', (of) => film(of));
  on('.url', (to) => entry({ title: `Add a picture to ${to}`, label: 'The picture’s URL', button: 'Add', type: 'url' }, (url) => fetchUrl(to, url)));
  on('.all', (whole) => {
    for (const picture of picturesOf(whole)) selected.set(id(picture), picture);
    drawSelection();
    if (list.children.length) focusTile(list, 0);
  });
  find('.more', card).addEventListener('click', () => {
    limits.set(named(), (limits.get(named()) ?? FIRST) + FIRST);
    draw();
  });
  find('.film', card).hidden = !hasCamera;
  listenToTiles(list, card);
  return card;
}

/** Keep a class's card under its new name, so that it is not drawn anew. */
function rekey(card, from, to) {
  const cards = rows(find('#classes'));
  if (cards.get(from) !== card || cards.has(to)) return;
  cards.delete(from);
  cards.set(to, card);
  card.dataset.name = to;
  renamed(from, to);
}

function drawCard(card, { name, pictures }) {
  const list = find('ul.tiles', card);
  const limit = limits.get(name) ?? FIRST;
  const bad = pictures.filter(({ problem }) => problem);
  const coming = [...pending.values()].filter((item) => item.class === name).slice(0, FIRST);
  find('h3', card).textContent = name;
  find('.count', card).textContent = count(pictures.length, 'picture');
  find('summary', card).setAttribute('aria-label', `More for ${name}`);
  for (const [button, text] of [['.files', 'Add pictures to'], ['.film', 'Camera for'], ['.url', 'Add a URL to']]) {
    find(button, card).setAttribute('aria-label', `${text} ${name}`);
  }
  find('.merge', card).hidden = state.classes.length < 2;
  find('.all', card).hidden = !pictures.length;
  find('.empty', card).hidden = pictures.length > 0 || coming.length > 0;
  redraw(find('.pending', card), coming, (item) => item.id, createPending);
  list.hidden = !pictures.length;
  list.setAttribute('aria-label', `Pictures of ${name}`);
  const was = drawn.get(list);
  if (was?.name !== name || was.pictures !== pictures || was.limit !== limit) {
    redraw(list, pictures.slice(0, limit), (picture) => picture.name, createTile, drawTile);
    drawn.set(list, { name, pictures, limit });
  }
  if (list.firstElementChild && !find('[tabindex="0"]', list)) list.firstElementChild.tabIndex = 0;
  find('.more', card).hidden = pictures.length <= limit;
  find('.more', card).textContent = `Show more of ${pictures.length.toLocaleString('en')}`;
  find('.problems', card).hidden = !bad.length;
  find('.problems p', card).textContent = `Unreadable: ${bad.length}`;
  find('.problems ul', card).replaceChildren(...bad.slice(0, PROBLEMS).map((picture) => (
    make('li', {}, make('b', { textContent: picture.name }), `: ${picture.problem}`))));
  if (bad.length > PROBLEMS) find('.problems ul', card).append(make('li', { textContent: `and ${bad.length - PROBLEMS} more` }));
}

function createPending({ blob }) {
  const tile = make('div', { className: 'tile' });
  if (!blob) return tile;
  const image = make('img', { alt: '', src: URL.createObjectURL(blob), loading: 'lazy', decoding: 'async' });
  for (const kind of ['load', 'error']) {
    image.addEventListener(kind, () => {
      URL.revokeObjectURL(image.src);
      if (kind === 'error') image.remove(); // the browser cannot show it, such as a TIFF
    });
  }
  tile.append(image);
  return tile;
}

function createTile() {
  const tile = make('li', { className: 'tile', tabIndex: -1, draggable: true }, make('img', { alt: '', draggable: false }));
  tile.setAttribute('role', 'option');
  return tile;
}

function drawTile(tile, picture) {
  tile.dataset.id = id(picture);
  tile.setAttribute('aria-label', picture.problem ? `${picture.name}, unreadable` : picture.name);
  tile.setAttribute('aria-selected', selected.has(id(picture)));
  tile.title = picture.name;
  tile.classList.toggle('bad', Boolean(picture.problem));
  if (!picture.problem) thumbnail(tile.firstElementChild, picture);
}

const picturesOf = (name) => state.classes.find((each) => each.name === name)?.pictures ?? [];
const pictureOf = (tile) => state.places.get(tile.dataset.id);

function focusTile(list, index) {
  const tile = list.children[index];
  if (!tile) return;
  for (const other of list.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  tile.tabIndex = 0;
  tile.focus();
}

function toggle(tile, on = !selected.has(tile.dataset.id)) {
  if (on) selected.set(tile.dataset.id, pictureOf(tile));
  else selected.delete(tile.dataset.id);
  tile.setAttribute('aria-selected', on);
}

function toggleUpTo(tile) {
  const tiles = [...tile.parentElement.children];
  const from = anchor && tiles.includes(anchor) ? tiles.indexOf(anchor) : tiles.indexOf(tile);
  const [low, high] = [from, tiles.indexOf(tile)].sort((a, b) => a - b);
  for (const each of tiles.slice(low, high + 1)) toggle(each, true);
}

function listenToTiles(list, card) {
  list.addEventListener('focusin', ({ target }) => {
    last = { card, index: [...list.children].indexOf(target) };
  });
  list.addEventListener('click', (event) => {
    const tile = event.target.closest('.tile');
    if (!tile) return;
    focusTile(list, [...list.children].indexOf(tile));
    if (event.shiftKey) {
      toggleUpTo(tile);
    } else {
      anchor = tile;
      toggle(tile);
    }
    drawSelected();
  });
  list.addEventListener('dblclick', (event) => {
    const tile = event.target.closest('.tile');
    if (tile) lookAt(tile);
  });
  list.addEventListener('keydown', (event) => onKey(event, list));
  list.addEventListener('dragstart', (event) => {
    const tile = event.target.closest('.tile');
    const dragged = selected.has(tile.dataset.id) ? [...selected.keys()] : [tile.dataset.id];
    event.dataTransfer.setData(DRAGGED, JSON.stringify(dragged));
  });
}

function onKey(event, list) {
  const tile = event.target.closest('.tile');
  if (!tile) return;
  const tiles = [...list.children];
  const at = tiles.indexOf(tile);
  const columns = Math.max(1, tiles.filter(({ offsetTop }) => offsetTop === tiles[0].offsetTop).length);
  const to = {
    ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: tiles.length - 1,
  }[event.key];
  if (to !== undefined) {
    if (tiles[to]) {
      anchor = event.shiftKey ? anchor ?? tile : null;
      focusTile(list, to);
      if (event.shiftKey) toggleUpTo(tiles[to]);
    }
  } else if (event.key === ' ') {
    anchor = tile;
    toggle(tile);
  } else if (event.key === 'Enter') {
    lookAt(tile);
  } else if (event.key === 'Delete') {
    take(selected.size ? [...selected.values()] : [pictureOf(tile)], null, find('.said', list.closest('.class')));
  } else if (event.key.toLowerCase() === 'a' && (event.ctrlKey || event.metaKey)) {
    for (const each of tiles) toggle(each, true);
  } else if (event.key === 'Escape') {
    selected.clear();
    drawSelection();
  } else {
    return;
  }
  event.preventDefault();
  drawSelected();
}

function lookAt(tile) {
  const pictures = picturesOf(pictureOf(tile).class);
  lookFrom([...pictures], pictures.indexOf(pictureOf(tile)));
}

async function lookFrom(pictures, index = 0) {
  await look(pictures, index);
  if (isFocusLost() && last) focusNear(last.card, last.index);
}

/** Move pictures to a class, or with null remove them. An error is told in `where`. */
export async function take(pictures, to, where) {
  tell(where, null);
  try {
    await move(pictures, to);
    const what = pictures.length === 1 ? pictures[0].name : count(pictures.length, 'picture');
    say(to === null ? `Removed ${what}. Undo brings ${pictures.length === 1 ? 'it' : 'them'} back.` : `Moved ${what} to ${to}.`);
    for (const picture of pictures) selected.delete(id(picture));
    drawSelected();
  } catch (error) {
    tell(where, error);
  }
}

function drawSelection() {
  for (const tile of document.querySelectorAll('ul.tiles > .tile')) tile.setAttribute('aria-selected', selected.has(tile.dataset.id));
  drawSelected();
}

function drawSelected() {
  const bar = find('#selected');
  const focused = bar.contains(document.activeElement);
  bar.hidden = !selected.size;
  document.body.classList.toggle('selecting', selected.size > 0);
  find('#selected-count').textContent = `${selected.size.toLocaleString('en')} selected`;
  if (!selected.size) tell(find('#selected-error'), null);
  if (bar.hidden && focused) last ? focusNear(last.card, last.index) : find('#show').focus();
}

function drawLooking() {
  const { done = 0, total = 0 } = state.features ?? {};
  const looking = find('#looking');
  looking.hidden = done >= total;
  find('label', looking).textContent = `Looking at picture ${Math.min(done + 1, total)} of ${total} …`;
  Object.assign(find('progress', looking), { max: total || 1, value: done });
}

function choose(input, to) {
  chosenFor = to;
  find(input).click();
}

/** Add files to the class that is asked for, or only try the first of them. */
async function addSomewhere(files) {
  const extra = files.length === 1 ? { text: 'None: only try it', value: false } : null;
  const to = await which(`${files.length === 1 ? files[0].name : count(files.length, 'picture')}: of which class?`, { extra });
  if (to === false) tryPicture(files[0]);
  else if (to !== null) addTo(to, files);
}

async function onDrop(event) {
  const card = event.target.closest('.class');
  const dragged = event.dataTransfer.getData(DRAGGED);
  if (dragged) {
    const pictures = JSON.parse(dragged).map((each) => state.places.get(each)).filter(Boolean);
    if (card) take(pictures, card.dataset.name, find('.said', card));
    return;
  }
  const tried = event.target.closest('#try');
  const text = event.dataTransfer.getData('text/uri-list') || event.dataTransfer.getData('text/plain');
  const found = await filesOf(event.dataTransfer);
  if (found.length) give(found, card, tried);
  else if (card && /^https?:/.test(text)) addUrl(card.dataset.name, text.trim());
  else say('There was no picture in it.');
}

function give(found, card, tried) {
  const files = found.map(({ file }) => file);
  if (tried) return tryPicture(files[0]);
  if (card) return addTo(card.dataset.name, files);
  const loose = found.filter(({ folder }) => folder === null).map(({ file }) => file);
  addFolders(found.filter(({ folder }) => folder !== null));
  if (loose.length) addSomewhere(loose);
}

async function onPaste(event) {
  if (document.querySelector('dialog[open]')) return;
  const card = event.target.closest?.('.class');
  const text = event.clipboardData.getData('text/plain').trim();
  if (event.clipboardData.files.length) {
    event.preventDefault();
    give(await filesOf(event.clipboardData), card, event.target.closest?.('#try'));
  } else if (!event.target.closest?.('input') && card && /^https?:/.test(text)) {
    addUrl(card.dataset.name, text);
  }
}

export function listen() {
  find('#new-class').addEventListener('submit', async (event) => {
    event.preventDefault();
    const [input, error] = [find('#new-name'), find('#new-error')];
    const name = input.value.trim();
    if (!name) return tell(error, 'Give it a name, such as “cats”.');
    tell(error, null);
    try {
      await newClass(name);
      input.value = '';
      say(`Added the class ${name}.`);
    } catch (refused) {
      tell(error, refused);
    }
    input.focus();
  });
  find('#add-folder').addEventListener('click', () => choose('#folders', null));
  find('#files').addEventListener('change', ({ target }) => {
    if (chosenFor !== null) addTo(chosenFor, [...target.files]);
    target.value = ''; // so that the same file can be chosen again
  });
  find('#folders').addEventListener('change', ({ target }) => {
    const found = filesOfFolder(target.files);
    if (chosenFor !== null) addTo(chosenFor, found.map(({ file }) => file));
    else addFolders(found);
    target.value = '';
  });
  document.addEventListener('paste', onPaste);
  let over = null;
  const mark = (place) => {
    over?.classList.remove('dropping');
    over = place;
    over?.classList.add('dropping');
  };
  document.addEventListener('dragover', (event) => {
    event.preventDefault(); // or the browser would leave the page for the picture
    mark(event.target.closest('.class') ?? event.target.closest('#try #stage') ?? find('#show'));
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) mark(null); });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    mark(null);
    onDrop(event);
  });
  document.addEventListener('click', ({ target }) => {
    for (const menu of document.querySelectorAll('.menu[open]')) if (!menu.contains(target)) menu.open = false;
  });
  document.addEventListener('keydown', (event) => {
    const menu = event.target.closest?.('.menu[open]');
    if (event.key !== 'Escape' || !menu) return;
    menu.open = false;
    find('summary', menu).focus();
  });
  find('#selected-move').addEventListener('click', async () => {
    const to = await which(`Move ${count(selected.size, 'picture')} to which class?`);
    if (to !== null) take([...selected.values()], to, find('#selected-error'));
  });
  find('#selected-remove').addEventListener('click', () => take([...selected.values()], null, find('#selected-error')));
  find('#selected-look').addEventListener('click', () => lookFrom([...selected.values()]));
  find('#selected-clear').addEventListener('click', () => {
    selected.clear();
    drawSelection();
  });
}

