// The page takes pictures, makes a card of each, and asks `backend.js` about them.

import * as backend from './backend.js';

const AT_ONCE = 4; // requests at a time; the others wait here, not in the server's queue
const find = (selector, within = document) => within.querySelector(selector);
const percent = (share) => `${(share * 100).toFixed(1)} %`;
const say = (text) => { find('#status').textContent = text; };
const waiting = [];
let running = 0;

function inTurn(work) {
  waiting.push(work);
  next();
}

async function next() {
  if (running >= AT_ONCE || !waiting.length) return;
  running += 1;
  try {
    await waiting.shift()();
  } finally {
    running -= 1;
    next();
  }
}

/** Add a card for a picture, which is a Blob or a URL as text. The newest card comes first. */
function add(picture, name) {
  const card = find('#card').content.firstElementChild.cloneNode(true);
  const image = find('.picture', card);
  card.setAttribute('aria-label', name);
  find('.source', card).textContent = name;
  find('.remove', card).addEventListener('click', () => remove(card));
  find('.again', card).addEventListener('click', () => inTurn(() => answer(card, picture, name)));
  find('.why', card).addEventListener('click', () => toggleHeat(card, picture, name));
  if (typeof picture === 'string') {
    image.hidden = true; // this page asks no other host; it shows the square instead
  } else {
    image.addEventListener('error', () => { image.hidden = true; }); // the browser cannot show it, such as a TIFF
    image.src = URL.createObjectURL(picture);
  }
  image.alt = name;
  find('#cards').prepend(card);
  inTurn(() => answer(card, picture, name));
}

async function answer(card, picture, name) {
  find('h2', card).textContent = '…';
  find('.error', card).hidden = find('.again', card).hidden = true;
  card.setAttribute('aria-busy', 'true');
  try {
    const given = await backend.classify(picture);
    show(card, given);
    say(`${name}: ${given.known ? '' : 'unsure, perhaps '}${given.label}, ${percent(given.confidence)}`);
    await showSquare(card, picture);
  } catch (error) {
    fail(card, error, name);
  } finally {
    card.removeAttribute('aria-busy');
  }
}

function show(card, given) {
  find('h2', card).textContent = given.label;
  find('.unsure', card).hidden = given.known;
  card.classList.toggle('is-unsure', !given.known);
  const network = find('.network', card);
  network.textContent = given.network ? `A thumbnail, answered by ${given.network}.` : '';
  network.hidden = !given.network;
  const list = find('ol', card);
  list.replaceChildren(...given.top.map(({ label, confidence }) => {
    const item = document.createElement('li');
    const parts = ['label', 'bar', 'share'].map((kind) => {
      const part = document.createElement('span');
      part.className = kind;
      return part;
    });
    parts[0].textContent = label;
    parts[1].append(document.createElement('span'));
    parts[1].style.setProperty('--share', confidence);
    parts[1].setAttribute('aria-hidden', 'true');
    parts[2].textContent = percent(confidence);
    item.append(...parts);
    return item;
  }));
  list.hidden = false;
  find('.why', card).hidden = !backend.explain;
}

async function showSquare(card, picture) {
  const small = find('.square', card);
  small.addEventListener('load', () => small.classList.toggle('large', small.naturalWidth > small.width));
  small.src = URL.createObjectURL(await backend.square(picture));
  small.alt = 'the picture as small as the network sees it';
  find('figure', card).hidden = false;
}

/** Lay the heat map over the picture, or take it away. The server is asked for it only once. */
async function toggleHeat(card, picture, name) {
  const button = find('.why', card);
  const image = find('.picture', card);
  if (button.getAttribute('aria-pressed') === 'true') {
    button.setAttribute('aria-pressed', 'false');
    image.src = image.dataset.plain;
    image.hidden = !image.dataset.plain;
    image.alt = name;
    return;
  }
  button.disabled = true;
  say(`${name}: looking for what decided …`);
  try {
    const heat = image.dataset.heat ?? URL.createObjectURL(await backend.explain(picture));
    image.dataset.plain ??= image.hidden ? '' : image.src;
    image.dataset.heat = image.src = heat;
    image.hidden = false;
    image.alt = `${name}; the parts that speak for ${find('h2', card).textContent} are in colour`;
    button.setAttribute('aria-pressed', 'true');
    say(`${name}: the parts that decided are in colour, the strongest in yellow.`);
  } catch (error) {
    fail(card, error, name);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

function fail(card, error, name) {
  const message = find('.error', card);
  if (find('h2', card).textContent === '…') find('h2', card).textContent = 'No answer';
  message.textContent = error.message;
  message.hidden = false;
  find('.again', card).hidden = error.status === 422; // the same picture would fail again
  say(`${name}: ${error.message}`);
  if (error.status === 401) askForKey();
}

function remove(card) {
  const near = card.nextElementSibling ?? card.previousElementSibling;
  for (const image of card.querySelectorAll('img')) {
    for (const url of [image.src, image.dataset.plain, image.dataset.heat]) if (url) URL.revokeObjectURL(url);
  }
  card.remove();
  say('Removed.');
  (near ? find('.remove', near) : find('#choose')).focus();
}

function askForKey() {
  find('#key-form').hidden = false;
  find('#key').focus();
}

function addAll(files) {
  for (const file of files) add(file, file.name || 'pasted picture');
  if (!files.length) say('There was no picture file in it.');
}

function listen() {
  find('#choose').addEventListener('click', () => find('#files').click());
  find('#files').addEventListener('change', ({ target }) => {
    addAll([...target.files]);
    target.value = ''; // so that the same file can be chosen again
  });
  find('#from-url').addEventListener('submit', (event) => {
    event.preventDefault();
    const url = find('#url').value.trim();
    add(url, url.length > 80 ? `${url.slice(0, 79)}…` : url);
    event.target.reset();
  });
  find('#key-form').addEventListener('submit', (event) => {
    event.preventDefault();
    backend.useKey(find('#key').value);
    event.target.reset();
    event.target.hidden = true;
    start();
  });
  document.addEventListener('paste', (event) => {
    if (event.target.closest?.('input')) return;
    const files = [...event.clipboardData.files];
    const text = event.clipboardData.getData('text/plain').trim();
    if (!files.length && text && !find('#from-url').hidden) {
      add(text, text.slice(0, 80));
    } else {
      addAll(files);
    }
  });
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(kind, (event) => {
      event.preventDefault(); // or the browser would leave the page for the picture
      document.body.classList.toggle('dropping', kind === 'dragover');
      if (kind === 'drop') addAll([...event.dataTransfer.files]);
    });
  }
  listenToCamera();
}

function listenToCamera() {
  const [dialog, video] = [find('#camera-dialog'), find('#video')];
  find('#camera').hidden = !navigator.mediaDevices?.getUserMedia; // without a camera, or over plain HTTP, there is none
  find('#camera').addEventListener('click', async () => {
    try {
      find('#shoot').disabled = true; // until there is something to see
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      dialog.showModal();
    } catch (error) {
      say(`The camera cannot be used: ${error.message}`);
    }
  });
  video.addEventListener('loadeddata', () => { find('#shoot').disabled = false; });
  find('#shoot').addEventListener('click', () => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob((blob) => { if (blob) add(blob, 'camera picture'); }, 'image/png');
    dialog.close();
  });
  find('#camera-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  });
}

async function start() {
  try {
    const { model, names, urls } = await backend.model();
    find('#model').textContent = `${model} tells apart: ${names.join(', ')}.`;
    find('#from-url').hidden = !urls;
  } catch (error) {
    find('#model').textContent = error.message;
    if (error.status === 401) askForKey();
  }
}

listen();
start();
