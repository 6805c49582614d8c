// Try: what the model says of a picture or of the live camera, and a correction where it is wrong.

import { names, state } from './actions.js';
import { addTo } from './add.js';
import { ask } from './backend.js';
import { close, frame, hasCamera, open } from './camera.js';
import { which } from './dialogs.js';
import { find, make, percent, redraw, say, tell } from './dom.js';

const BUSY = 503;
const CALM = 1500; // ms that an answer of the camera has to last until it is read out
let shown = null; // the file that the answer on the page is about
let asked = 0; // which question the page waits for
let live = false;
let frozen = false; // while the right class is asked for
let trained = null; // the training that the last answer is of
let times = []; // of the last answers

const heat = () => find('#why').getAttribute('aria-pressed') === 'true';
const hasModel = () => Boolean(state.result);

/** Draw what depends on the state; ask again about the picture after a new training. */
export function draw() {
  find('#live-button').hidden = !hasCamera;
  find('#no-answer').hidden = hasModel() && shown !== null;
  find('#no-answer').textContent = hasModel()
    ? 'The answer is shown here.' : 'There is nothing to try yet. Show it pictures of two classes first.';
  if (!hasModel()) find('#answered').hidden = true;
  const training = state.result && `${state.result.pictures} ${state.result.seconds} ${state.result.fresh}`;
  if (training !== trained && hasModel() && shown && !live) answer(shown).catch(() => {});
  trained = training;
}

/** The words for the steps' third link. */
export const summary = () => (live ? 'live' : hasModel() ? 'ready' : 'after training');

/** Show a picture and what the model says of it. */
export function tryPicture(file) {
  stop();
  const still = find('#still');
  URL.revokeObjectURL(still.src);
  still.src = URL.createObjectURL(file);
  still.alt = file.name || 'the picture';
  still.hidden = false;
  find('#stage').classList.remove('idle');
  find('#heat').hidden = true;
  find('#answered').hidden = true;
  find('#try').scrollIntoView({ block: 'nearest' });
  shown = file;
  if (hasModel()) answer(file, true).catch(() => {});
  else draw();
}

async function answer(file, aloud = false) {
  const mine = asked += 1;
  try {
    const given = await (await ask(`predict${heat() ? '?heat=1' : ''}`, { body: file })).json();
    if (mine !== asked || frozen) return;
    shown = file;
    tell(find('#try-error'), null);
    drawAnswer(given);
    if (aloud) say(`${given.known ? '' : 'Unsure, perhaps '}${given.label}, ${percent(given.confidence)}`, { seen: true });
    return given;
  } catch (error) {
    if (mine === asked && error.status !== BUSY) tell(find('#try-error'), error);
    throw error;
  }
}

function drawAnswer({ label, known, top, heat: map }) {
  find('#no-answer').hidden = true;
  find('#answered').hidden = false;
  find('#label').textContent = known ? label : `Perhaps ${label}`;
  find('#unsure').hidden = known;
  find('#answer').classList.toggle('is-unsure', !known);
  const order = new Map(names().map((name, index) => [name, index]));
  const bars = live ? [...top].sort((a, b) => order.get(a.label) - order.get(b.label)) : top; // live bars stay in their places
  redraw(find('#bars'), bars, (bar) => bar.label, createBar, drawBar);
  find('#heat').hidden = !map;
  if (map) {
    find('#heat').src = map;
    find('#heat').alt = `The parts that speak for ${label} are in colour`;
  }
}

function createBar() {
  const bar = make('span', { className: 'bar' }, make('span'));
  bar.setAttribute('aria-hidden', 'true');
  return make('li', {}, make('span', { className: 'label' }), bar, make('span', { className: 'share' }));
}

function drawBar(row, { label, confidence }) {
  const [name, bar, share] = row.children;
  name.textContent = label;
  bar.style.setProperty('--share', confidence);
  share.textContent = percent(confidence);
}

async function start() {
  const video = find('#live');
  tell(find('#try-error'), null);
  try {
    await open(video);
  } catch (error) {
    return tell(find('#try-error'), error);
  }
  live = true;
  asked += 1;
  video.hidden = false;
  find('#still').hidden = find('#heat').hidden = true;
  find('#stage').classList.remove('idle');
  find('#live-button').textContent = 'Stop the camera';
  run(video, video.srcObject);
}

/** Ask about one frame after the other, each once the last is answered. */
async function run(video, stream) {
  let calm = { label: null, since: 0, said: null };
  while (live && video.srcObject === stream) {
    if (frozen || document.hidden || !hasModel() || !video.videoWidth) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      continue;
    }
    try {
      const given = await answer(await frame(video));
      if (!given || !live) continue;
      countRate();
      const label = given.known ? given.label : 'unsure';
      if (label !== calm.label) calm = { ...calm, label, since: performance.now() };
      else if (label !== calm.said && performance.now() - calm.since > CALM) {
        calm.said = label;
        say(label, { seen: true });
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500)); // what is wrong is shown already
    }
  }
}

function countRate() {
  const now = performance.now();
  times = [...times.filter((time) => now - time < 2000), now];
  const rate = times.length > 1 ? (times.length - 1) / ((now - times[0]) / 1000) : 0;
  find('#rate').hidden = !rate;
  find('#rate').textContent = `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} answers a second`;
}

function stop() {
  if (!live) return;
  live = false;
  asked += 1;
  times = [];
  shown = null;
  close(find('#live'));
  find('#live').hidden = find('#heat').hidden = true;
  find('#answered').hidden = find('#rate').hidden = true;
  find('#stage').classList.add('idle');
  find('#live-button').textContent = 'Use the camera';
  draw();
}

async function correct() {
  const file = shown;
  if (!file) return;
  frozen = true;
  if (live) find('#live').pause();
  const image = URL.createObjectURL(file);
  const to = await which('What is it?', { image });
  URL.revokeObjectURL(image);
  frozen = false;
  if (live) find('#live').play();
  if (to !== null) addTo(to, [file]);
}

export function listen() {
  find('#live-button').addEventListener('click', () => (live ? stop() : start()));
  find('#try-choose').addEventListener('click', () => find('#try-file').click());
  find('#try-file').addEventListener('change', ({ target }) => {
    if (target.files.length) tryPicture(target.files[0]);
    target.value = '';
  });
  find('#still').addEventListener('error', () => { find('#still').hidden = true; }); // the browser cannot show it, such as a TIFF
  find('#why').addEventListener('click', ({ target }) => {
    target.setAttribute('aria-pressed', String(!heat()));
    if (!heat()) find('#heat').hidden = true;
    if (!live && shown) answer(shown).catch(() => {});
  });
  find('#wrong').addEventListener('click', correct);
}
