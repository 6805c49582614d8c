// The page's backend is a Thumbnet server. A picture is a Blob, or a URL as text.

const RETRIES = 5; // if the server is busy; it says after how many seconds
let key = sessionStorage.getItem('thumbnet-key');

/** The server's refusal: its status and its message. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Send this key with all requests, until the tab is closed. */
export function useKey(text) {
  key = text;
  sessionStorage.setItem('thumbnet-key', text);
}

/** What the model file says about itself, and `urls`: whether the server reads URLs. */
export async function model() {
  return (await ask('model')).json();
}

/** The answer: `{label, confidence, known, sureness, top: [{label, confidence}, …]}`, for a thumbnail with `network`. */
export async function classify(picture) {
  return (await ask('classify?top_k=5', picture)).json();
}

/** What the network sees of a picture, as a PNG. */
export async function square(picture) {
  return (await ask('square', picture)).blob();
}

/** Which part of a picture decided, as a PNG. */
export async function explain(picture) {
  return (await ask('explain', picture)).blob();
}

async function ask(path, picture) {
  const options = { headers: key ? { 'X-API-Key': key } : {} };
  if (typeof picture === 'string') {
    options.headers['Content-Type'] = 'application/json';
    Object.assign(options, { method: 'POST', body: JSON.stringify({ url: picture }) });
  } else if (picture) {
    options.headers['Content-Type'] = 'application/octet-stream'; // its bytes decide what it is
    Object.assign(options, { method: 'POST', body: picture });
  }
  for (let tries = 0; ; tries += 1) {
    const response = await fetch(path, options).catch(() => {
      throw new Refused(0, 'The server cannot be reached. Is it still running?');
    });
    if (response.ok) return response;
    if (response.status === 503 && tries < RETRIES) {
      const seconds = Number(response.headers.get('Retry-After')) || 1;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      continue;
    }
    const { error } = await response.json().catch(() => ({}));
    throw new Refused(response.status, error?.message ?? error ?? `The server answered ${response.status}.`);
  }
}
