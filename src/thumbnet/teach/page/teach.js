// The page of `thumbnet teach`: it follows the server's state and lets each of its four parts draw it.

import * as add from './add.js';
import { arrived, state, undo } from './actions.js';
import { hasKey, watch } from './backend.js';
import * as camera from './camera.js';
import * as dialogs from './dialogs.js';
import { find, say } from './dom.js';
import * as show from './show.js';
import * as take from './take.js';
import { keep } from './thumbnails.js';
import * as train from './train.js';
import * as trying from './try.js';

const parts = { show, train, try: trying, take };
let due = false;

/** Draw all parts with the next frame of the screen. */
function draw() {
  if (due || !state.training) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    for (const [name, part] of Object.entries(parts)) {
      part.draw();
      find(`#step-${name}`).textContent = part.summary();
    }
  });
}

function seen(told) {
  arrived(told);
  keep(new Set([...state.places.values()].map(({ key }) => key)));
  find('#folder').textContent = state.folder;
  find('#main').hidden = find('#steps').hidden = false;
  const button = find('#undo');
  button.disabled = !state.undo;
  find('span', button).textContent = state.undo ? `: ${state.undo.label}` : '';
  button.title = button.textContent;
  button.setAttribute('aria-label', button.textContent); // a phone shows the first word alone
  draw();
}

function lost(error) {
  const banner = find('#lost');
  if (!error && !banner.hidden) say('Connected again.');
  banner.hidden = !error;
  if (!error) return;
  if (error.status === 401) return keyless();
  const text = error.status === 0 || error.name === 'TimeoutError'
    ? 'Thumbnet cannot be reached. Nothing is lost: your pictures are in the folder. Trying again …' : error.message;
  if (banner.textContent !== text) banner.textContent = text;
}

function keyless() {
  find('#main').hidden = find('#steps').hidden = find('#lost').hidden = true;
  find('#folder').textContent = 'Open the address that `thumbnet teach` printed.';
}

async function takeBack() {
  if (!state.undo) return;
  find('#undo').disabled = true;
  try {
    say(`Undone: ${await undo()}`);
  } catch (error) {
    say(error.message);
    find('#undo').disabled = false;
  }
}

function listen() {
  for (const part of [...Object.values(parts), add, camera, dialogs]) part.listen();
  add.onChange(draw);
  find('#undo').addEventListener('click', takeBack);
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'z' || !(event.ctrlKey || event.metaKey) || event.target.closest?.('input, dialog')) return;
    event.preventDefault();
    takeBack();
  });
}

if (hasKey) {
  listen();
  watch(seen, lost);
} else {
  keyless();
}
