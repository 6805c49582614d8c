// All that the page asks of the server. The key comes in the address's fragment, which no other site gets to see.

const STORE = 'thumbnet-teach-key';
const PATIENCE = 40_000; // ms until a state that does not come is given up; the server answers within 20 s
const PAUSE = 300; // ms between two states, at the least: while pictures are added, each of them makes a new one
const key = takeKey();

function takeKey() {
  const given = location.hash.slice(1);
  if (/^[\w-]{20,}$/.test(given)) {
    sessionStorage.setItem(STORE, given);
    history.replaceState(null, '', location.pathname);
  }
  return sessionStorage.getItem(STORE);
}
// A new address in an old tab changes the fragment only.
addEventListener('hashchange', () => { if (location.hash.length > 20) location.reload(); });

export const hasKey = Boolean(key);

/** The server's refusal: its status, 0 if it cannot be reached, and its message. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The response to a request below /api/. `json` or `body` make it a POST; so does `post` without either. */
export async function ask(path, { json, body, post = false, signal } = {}) {
  const options = { headers: { Authorization: `Bearer ${key}` }, signal };
  if (json !== undefined || body !== undefined || post) options.method = 'POST';
  if (json !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(json);
  } else if (body !== undefined) {
    options.headers['Content-Type'] = 'application/octet-stream'; // its bytes decide what it is
    options.body = body;
  }
  const response = await fetch(`api/${path}`, options).catch(() => {
    throw new Refused(0, 'Thumbnet cannot be reached. Is it still running?');
  });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Refused(response.status, error ?? `The server answered ${response.status}.`);
}

/** Call `seen` with every new state, and `lost` with an error when there is none to be had, and with null after. */
export async function watch(seen, lost) {
  let after = null;
  for (let failures = 0; ;) {
    try {
      const path = after === null ? 'state' : `state?after=${after}`;
      const state = await (await ask(path, { signal: AbortSignal.timeout(PATIENCE) })).json();
      if (failures) lost(null);
      failures = 0;
      if (state.version !== after) seen(state);
      after = state.version;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    } catch (error) {
      failures += 1;
      after = null; // a server that was started again counts from the beginning
      lost(error);
      if (error.status === 401) return;
      await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 500 * failures)));
    }
  }
}

/** A function that runs asynchronous work, `limit` at a time, and the others in their order. */
export function turns(limit) {
  const waiting = [];
  let running = 0;
  const next = () => {
    if (running >= limit || !waiting.length) return;
    running += 1;
    const { work, resolve, reject } = waiting.shift();
    work().then(resolve, reject).finally(() => {
      running -= 1;
      next();
    });
  };
  return (work) => new Promise((resolve, reject) => {
    waiting.push({ work, resolve, reject });
    next();
  });
}

export const classPath = (name, what) => `classes/${encodeURIComponent(name)}/${what}`;
export const of = (picture) => `class=${encodeURIComponent(picture.class)}&name=${encodeURIComponent(picture.name)}`;
