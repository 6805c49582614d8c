// The camera: opened, drawn into JPEG frames, and held down for a burst of pictures.

import { names } from './actions.js';
import { addTo } from './add.js';
import { closable, count, find, make } from './dom.js';

const SIDE = 640; // pixels of the longest side: more than a network looks at
const PAUSE = 200; // ms between the pictures of a burst
const canvas = document.createElement('canvas');

/** Without a camera, or over plain HTTP from elsewhere, there is none. */
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia);

/** Show the camera in a video element. Its refusal is put into words. */
export async function open(video) {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  } catch (error) {
    const why = { NotAllowedError: 'the browser was told not to', NotFoundError: 'there is none', NotReadableError: 'another program uses it' };
    throw new Error(`The camera cannot be used: ${why[error.name] ?? error.message}.`, { cause: error });
  }
}

export function close(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

/** What a video shows now, as a JPEG file, or null before there is anything. */
export async function frame(video) {
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  [canvas.width, canvas.height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  if (!canvas.width || !canvas.height) return null;
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, 'image/jpeg', 0.92); });
  const time = new Date().toTimeString().slice(0, 8).replaceAll(':', '');
  return blob && new File([blob], `camera-${time}.jpg`, { type: 'image/jpeg' });
}

/** Take pictures of a class. */
export async function film(name) {
  const [dialog, select] = [find('#camera'), find('#camera-class')];
  select.replaceChildren(...names().map((each) => make('option', { value: each, textContent: each, selected: each === name })));
  find('.taken', dialog).textContent = '';
  for (const button of dialog.querySelectorAll('.hold, .ten')) button.disabled = true; // until there is something to see
  await open(find('video', dialog));
  dialog.showModal();
}

export function listen() {
  const dialog = find('#camera');
  const [video, hold, ten] = [find('video', dialog), find('.hold', dialog), find('.ten', dialog)];
  let left = 0; // pictures still to take
  let running = false;

  const take = async (pictures) => {
    left = pictures;
    if (running) return;
    running = true;
    hold.classList.add('taking');
    let taken = 0;
    do {
      const picture = dialog.open ? await frame(video) : null;
      if (!picture) break;
      addTo(find('#camera-class').value, [picture]);
      taken += 1;
      left -= 1;
      video.classList.toggle('flash');
      find('.taken', dialog).textContent = `${count(taken, 'picture')} taken of ${find('#camera-class').value}`;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    } while (left > 0);
    hold.classList.remove('taking');
    running = false;
  };
  const stop = () => { left = 0; };

  video.addEventListener('loadeddata', () => {
    hold.disabled = ten.disabled = false;
    hold.focus();
  });
  hold.addEventListener('pointerdown', (event) => {
    if (event.button) return;
    hold.setPointerCapture(event.pointerId);
    take(Infinity);
  });
  for (const kind of ['pointerup', 'pointercancel', 'lostpointercapture', 'blur']) hold.addEventListener(kind, stop);
  hold.addEventListener('contextmenu', (event) => event.preventDefault()); // a long touch opens none
  hold.addEventListener('keydown', (event) => {
    if (event.key !== ' ' && event.key !== 'Enter') return;
    event.preventDefault(); // nor a click when the key is let go
    if (!event.repeat) take(Infinity);
  });
  hold.addEventListener('keyup', stop);
  hold.addEventListener('click', (event) => { if (!event.detail) take(1); }); // a screen reader's press has no pointer
  ten.addEventListener('click', () => take(10));
  dialog.addEventListener('close', () => {
    stop();
    close(video);
  });
  closable(dialog);
}
