// Train: how good it is, what it mixes up, and what to do about it.

import { isThere, state } from './actions.js';
import { ask } from './backend.js';
import { current, look } from './dialogs.js';
import { count, find, id, isFocusLost, make, percent, redraw, tell } from './dom.js';
import { take } from './show.js';
import { thumbnail } from './thumbnails.js';

const STEP = 8; // suspects and confusions that are shown until more are asked for
const shown = { suspects: STEP, confusions: STEP };
const accepted = new Set(); // suspects that were said to be right, until the page is closed
const of = ({ low, high }) => `${Math.round(low * 100)} to ${percent(high)}`;
const suspectKey = ({ picture, kind, to = '' }) => `${kind} ${id(picture)} ${picture.key} ${to}`;

/** Draw what the last training found. */
export function draw() {
  const { status, message } = state.training;
  const training = find('#training');
  const text = words();
  if (training.textContent !== text) training.textContent = text; // or it would be read out again
  training.className = status === 'failed' ? 'bad' : status === 'running' ? 'busy' : '';
  find('#train-now').hidden = !['failed', 'waiting'].includes(status) || (status === 'waiting' && !message);
  find('#result').hidden = !state.result;
  if (!state.result) return;
  const at = document.activeElement;
  drawOverall(state.result);
  redraw(find('#each ol'), state.result.classes, ({ name }) => name, createClass, drawClass);
  find('#next').hidden = !state.result.next;
  find('#next p').textContent = state.result.next ?? '';
  drawSuspects();
  drawConfusions();
  if (!at.isConnected && isFocusLost()) find('#train').focus();
}

/** The words for the steps' second link. */
export function summary() {
  const { status } = state.training;
  if (status === 'running') return 'training …';
  if (status === 'failed') return 'failed';
  if (!state.result) return 'needs pictures';
  return state.result.accuracy ? `${of(state.result.accuracy)} right` : 'too few to say';
}

function words() {
  const { status, message } = state.training;
  const { done = 0, total = 0 } = state.features ?? {};
  if (status === 'running') return 'Training …';
  if (status === 'failed') return `The training failed. ${message}`;
  if (status === 'too few') return message || 'It needs at least two classes with some pictures each.';
  if (status === 'waiting') return done < total ? 'It trains once it has looked at all pictures.' : message || 'It trains in a moment.';
  const { result } = state;
  return message || (result ? `Trained from ${count(result.pictures, 'picture')} in ${result.seconds.toFixed(1)} s.` : '');
}

function drawOverall({ accuracy, unknown_class: unknown, fresh }) {
  find('#stale').hidden = fresh;
  const range = find('#overall .range');
  find('#accuracy').textContent = accuracy ? percent(accuracy.value) : 'Too few pictures to say';
  find('#accuracy').classList.toggle('words', !accuracy);
  range.hidden = !accuracy;
  if (accuracy) place(range, accuracy);
  find('#interval').textContent = accuracy
    ? `of pictures that it has not seen. With pictures like these, it lies between ${percent(accuracy.low)} and ${percent(accuracy.high)}.`
    : 'Show more pictures of each class to know how good it is.';
  find('#unknown').hidden = unknown === null;
  if (unknown !== null) {
    find('#unknown').textContent = `Shown a thing of a class that it was not taught, it says “unsure” ${percent(unknown)} of the time.`;
  }
}

function place(range, { value, low, high }) {
  for (const [name, share] of Object.entries({ value, low, high })) range.style.setProperty(`--${name}`, share);
}

function createClass() {
  const range = make('span', { className: 'range' }, make('span'), make('i'));
  range.setAttribute('aria-hidden', 'true');
  return make('li', {}, make('span', { className: 'label' }), range, make('span', { className: 'share' }));
}

function drawClass(row, { name, pictures, accuracy }) {
  const [label, range, share] = row.children;
  label.textContent = name;
  range.classList.toggle('none', !accuracy);
  if (accuracy) place(range, accuracy);
  share.textContent = accuracy ? of(accuracy) : 'too few to say';
  row.title = count(pictures, 'picture');
}

function picture(shownPicture, onclick) {
  const button = make('button', { type: 'button', className: 'tile', onclick, title: shownPicture.name }, make('img', { alt: '' }));
  button.setAttribute('aria-label', `Look at ${shownPicture.name} of ${shownPicture.class}`);
  thumbnail(button.firstElementChild, shownPicture);
  return button;
}

async function lookAt(pictures, first = pictures[0]) {
  const there = current(pictures);
  await look(there, Math.max(0, there.findIndex((each) => id(each) === id(first))));
  if (isFocusLost()) find('#train').focus();
}

function drawSuspects() {
  const suspects = state.result.suspects.filter((suspect) => (
    isThere(suspect.picture) && (suspect.kind !== 'copy' || isThere(suspect.of)) && !accepted.has(suspectKey(suspect))));
  find('#suspects').hidden = !suspects.length;
  refocus(find('ul.suspects'), (list) => redraw(list, suspects.slice(0, shown.suspects), suspectKey, createSuspect));
  more('suspects', suspects.length);
}

function createSuspect(suspect) {
  const { picture: it, kind } = suspect;
  const error = make('p', { className: 'error', hidden: true });
  error.setAttribute('role', 'alert');
  const button = (textContent, aria, onclick) => {
    const made = make('button', { type: 'button', textContent, onclick });
    made.setAttribute('aria-label', aria);
    return made;
  };
  const remove = button('Remove it', `Remove ${it.name} from ${it.class}`, () => take([it], null, error));
  const right = button('It is right', `${it.name} is right in ${it.class}`, () => {
    accepted.add(suspectKey(suspect));
    drawSuspects();
  });
  const what = make('p', {}, make('b', { textContent: it.name }), ` in ${it.class} `);
  const actions = make('div', { className: 'row' });
  const pictures = make('div', { className: 'row' }, picture(it, () => lookAt([it])));
  if (kind === 'label') {
    what.append('looks like ', make('b', { textContent: suspect.to }), ` (${percent(suspect.confidence)})`);
    const moves = button(`Move to ${suspect.to}`, `Move ${it.name} to ${suspect.to}`, () => take([it], suspect.to, error));
    moves.className = 'main';
    actions.append(moves, remove, right);
  } else {
    const other = suspect.of;
    what.append('looks nearly the same as ', make('b', { textContent: other.name }), other.class === it.class ? '' : ` in ${other.class}`);
    pictures.append(picture(other, () => lookAt([other])));
    if (other.class !== it.class) {
      actions.append(button(`Remove it from ${it.class}`, `Remove ${it.name} from ${it.class}`, () => take([it], null, error)),
        button(`Remove it from ${other.class}`, `Remove ${other.name} from ${other.class}`, () => take([other], null, error)), right);
    } else {
      actions.append(remove, right);
    }
  }
  return make('li', {}, pictures, make('div', {}, what, actions, error));
}

function drawConfusions() {
  const { confusions } = state.result;
  find('#confusions').hidden = !confusions.length;
  redraw(find('ul.confusions'), confusions.slice(0, shown.confusions), ({ from, to }) => `${from}/${to}`, createConfusion, drawConfusion);
  more('confusions', confusions.length);
}

function createConfusion() {
  return make('li', {}, make('p'), make('div', { className: 'row' }));
}

function drawConfusion(row, { from, to, count: times, pictures }) {
  const [words, list] = row.children;
  words.replaceChildren(make('b', { textContent: from }), ' taken for ', make('b', { textContent: to }), `, ${times} ${times === 1 ? 'picture' : 'pictures'}`);
  redraw(list, pictures.filter(isThere), (it) => `${id(it)} ${it.key}`, (it) => picture(it, () => lookAt(pictures, it)));
}

function more(what, all) {
  const button = find(`#${what} > .more`);
  button.hidden = all <= shown[what];
  button.textContent = `Show more (${all - shown[what]})`;
}

/** If the row with the focus goes away, the focus goes to the next one. */
function refocus(list, change) {
  const at = document.activeElement;
  const index = [...list.children].findIndex((row) => row.contains(at));
  change(list);
  if (index < 0 || at.isConnected) return;
  const next = list.children[Math.min(index, list.children.length - 1)];
  (next ? find('.row + div button, div + div button', next) ?? find('button', next) : find('#train')).focus();
}

export function listen() {
  find('#train-now').addEventListener('click', async () => {
    tell(find('#train-error'), null);
    try {
      await ask('train', { post: true });
      find('#train').focus();
    } catch (error) {
      tell(find('#train-error'), error);
    }
  });
  for (const what of Object.keys(shown)) {
    find(`#${what} > .more`).addEventListener('click', () => {
      shown[what] += 4 * STEP;
      draw();
    });
  }
}
