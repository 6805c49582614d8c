// Thumbnails are fetched when they come into sight, once for each content, and dropped with their pictures.

import { ask, of, turns } from './backend.js';

const AGAIN = 5000; // ms until a thumbnail that did not come is asked for again
const inTurn = turns(2); // of the six connections that a browser opens
const urls = new Map(); // key of the content → promise of a blob URL
const wanted = new WeakMap(); // image → the picture that it is to show
const shown = new WeakMap(); // image → the key that it shows

const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    load(target);
  }
}, { rootMargin: '300px' });

/** Let an image show a picture once it is in sight. */
export function thumbnail(image, picture) {
  const same = wanted.get(image);
  wanted.set(image, picture);
  if (shown.get(image) === picture.key) return;
  if (same && same.key === picture.key && same.class === picture.class && same.name === picture.name) return;
  observer.observe(image);
}

/** Drop the thumbnails of contents that are no longer there. */
export function keep(keys) {
  for (const [key, url] of urls) {
    if (keys.has(key)) continue;
    urls.delete(key);
    url.then((address) => URL.revokeObjectURL(address), () => {});
  }
}

async function load(image) {
  const picture = wanted.get(image);
  if (!urls.has(picture.key)) {
    const url = inTurn(async () => URL.createObjectURL(await (await ask(`thumbnail?${of(picture)}`)).blob()));
    urls.set(picture.key, url);
    url.catch(() => urls.delete(picture.key));
  }
  try {
    const address = await urls.get(picture.key);
    if (wanted.get(image).key !== picture.key) return;
    image.src = address;
    shown.set(image, picture.key);
  } catch {
    if (wanted.get(image) !== picture) return;
    wanted.delete(image);
    setTimeout(() => { if (image.isConnected && !wanted.has(image)) thumbnail(image, picture); }, AGAIN);
  }
}
