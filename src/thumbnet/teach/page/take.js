// Take it: the files to download, and the lines that use the model.

import { state } from './actions.js';
import { ask } from './backend.js';
import { find, isFocusLost, make, say, tell } from './dom.js';

/** Draw whether there is something to take, and the lines under the model's name. */
export function draw() {
  const ready = isReady();
  find('#take-hint').textContent = ready
    ? 'It is yours: it works without this page and without a network.'
    : 'Once it is trained from the pictures shown now, it can be taken from here.';
  for (const button of document.querySelectorAll('#take [data-path]')) {
    if (!button.classList.contains('busy')) button.disabled = !ready;
  }
  find('#lines').hidden = !state.result;
  const file = `${fileName()}.onnx`;
  find('#python').textContent = `import thumbnet\nclassifier = thumbnet.load(${JSON.stringify(file)})\nprint(classifier.predict("picture.jpg"))`;
  find('#shell').textContent = `thumbnet info ${file}\nthumbnet predict --model ${file} picture.jpg\nthumbnet serve --model ${file}`;
}

/** The words for the steps' last link. */
export const summary = () => (isReady() ? 'ready' : 'after training');

const isReady = () => Boolean(state.result?.fresh) && state.training.status === 'ready';
/** The folder's name without what a shell would take for something else. */
const fileName = () => (state.folder ?? '').normalize('NFC').replace(/[^\p{L}\p{M}\p{N}_-]+/gu, '-').replace(/^-+|-+$/g, '') || 'model';

async function download(button) {
  const { path, suffix } = button.dataset;
  const name = `${fileName()}${suffix}`;
  const text = button.textContent;
  const error = find('.error', button.parentElement);
  tell(error, null);
  button.disabled = true;
  button.classList.add('busy');
  button.textContent = 'Getting it ready …';
  try {
    const url = URL.createObjectURL(await (await ask(path)).blob());
    make('a', { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    say(`${name} is in your downloads.`);
  } catch (refused) {
    tell(error, refused);
  } finally {
    button.classList.remove('busy');
    button.textContent = text;
    button.disabled = !isReady();
    if (isFocusLost()) button.focus();
  }
}

export function listen() {
  for (const button of document.querySelectorAll('#take [data-path]')) button.addEventListener('click', () => download(button));
  for (const button of document.querySelectorAll('[data-copy]')) {
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(find(`#${button.dataset.copy}`).textContent)
        .then(() => say('Copied.'), () => say('Select the lines and copy them: the browser does not let the page do so.'));
    });
  }
}
