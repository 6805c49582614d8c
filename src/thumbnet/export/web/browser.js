// Answers with the model itself, in the visitor's browser. A picture is a Blob. Nothing is sent anywhere.

import { drawnSize, heat, overlay } from './heat.js';
import * as ort from './onnxruntime/ort.js';
import { resize, seen } from './resize.js';

const TOP = 5;
const WIDEST = 32_767; // pixels; a wider canvas silently stays empty
const squares = new WeakMap(); // the pixels of pictures that were asked for already

/** An error that another try would not change: status 422, as from a server. */
class Refused extends Error {
  status = 422;
}

const loading = load();

/** Which part of a picture decided, as a PNG; not there for a model that gives no evidence of places. */
export let explain;

/** The model file's metadata, once the model can answer. */
export async function model() {
  const { about } = await loading;
  return { ...about, model: 'This model', urls: false };
}

/** The answer: `{label, confidence, known, top: [{label, confidence}, …]}`. */
export async function classify(picture) {
  const { names, threshold } = (await loading).about;
  const { probabilities: { data }, sureness } = await ask(picture, ['probabilities', 'sureness']);
  if (![...data, ...sureness?.data ?? []].every((share) => share >= 0 && share <= 1.001)) {
    throw new Refused('The model gives numbers that are no probabilities. Make or fetch its file again.');
  }
  const best = [...names.keys()].sort((one, other) => data[other] - data[one]).slice(0, TOP);
  const top = best.map((index) => ({ label: names[index], confidence: Math.round(data[index] * 1e6) / 1e6 }));
  const sure = sureness ? sureness.data[0] : data[best[0]]; // older model files have no sureness of their own
  return { ...top[0], known: sure >= Math.fround(threshold), top };
}

/** The square that the network sees of a picture, as a PNG. */
export async function square(picture) {
  const { about } = await loading;
  const [canvas, context] = paper(about.size, about.size);
  context.putImageData(new ImageData(await squareOf(picture, about), about.size), 0, 0);
  return png(canvas);
}

async function drawHeat(picture) {
  const { size, framing } = (await loading).about;
  const { probabilities, heat: places } = await ask(picture, ['probabilities', 'heat']);
  const values = heat(probabilities.data, places.data);
  if (!values.every(Number.isFinite)) {
    throw new Refused('The model gives evidence that is no numbers. Make or fetch its file again.');
  }
  const bitmap = await decoded(picture);
  try {
    const [width, height] = drawnSize(bitmap.width, bitmap.height);
    const [canvas, context] = paper(width, height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, 0, 0, width, height);
    const drawn = context.getImageData(0, 0, width, height);
    const box = seen(bitmap.height, bitmap.width, size, framing).map((edge) => Math.round((edge * width) / bitmap.width));
    overlay(drawn.data, width, values, places.dims[1], box);
    context.putImageData(drawn, 0, 0);
    return await png(canvas);
  } finally {
    bitmap.close();
  }
}

/** Those of the network's outputs that it has, for one picture. */
async function ask(picture, outputs) {
  const { about, session } = await loading;
  const pixels = (await squareOf(picture, about)).filter((_, index) => index % 4 < 3); // RGBA → RGB
  const images = new ort.Tensor('uint8', new Uint8Array(pixels), [1, about.size, about.size, 3]);
  const wanted = outputs.filter((name) => session.outputNames.includes(name));
  return session.run({ images }, wanted).catch(() => {
    throw new Refused('The model’s network fails. Make or fetch its file again.');
  });
}

async function load() {
  if (typeof WebAssembly === 'undefined') {
    throw new Refused('This browser runs no WebAssembly, which the model needs. Use another one, or allow it.');
  }
  if (!givesPixels()) {
    throw new Refused('This browser hides a picture’s pixels from pages. Allow this page to read its canvas, and reload.');
  }
  const names = ['model.json', 'model.onnx', 'onnxruntime/ort.wasm'];
  const [about, network, runtime] = await Promise.all(names.map(read));
  Object.assign(ort.env.wasm, { wasmBinary: runtime, numThreads: 1 }); // more threads need headers that few hosts send
  ort.env.logLevel = 'error';
  try {
    const session = await ort.InferenceSession.create(new Uint8Array(network));
    explain = session.outputNames.includes('heat') ? drawHeat : undefined;
    return { about: JSON.parse(new TextDecoder().decode(about)), session };
  } catch (error) {
    throw new Refused(`The model cannot be run: ${error.message}`);
  }
}

async function read(name) {
  const response = await fetch(new URL(name, import.meta.url)).catch(() => ({}));
  if (!response.ok) throw new Refused(`${name} could not be loaded (${response.status ?? 'no connection'}). Reload the page.`);
  return response.arrayBuffer();
}

/** A picture's square as RGBA bytes, computed once. */
function squareOf(picture, about) {
  if (!squares.has(picture)) squares.set(picture, see(picture, about));
  return squares.get(picture);
}

async function see(picture, { size, framing }) {
  const bitmap = await decoded(picture);
  try {
    if (bitmap.width > WIDEST) throw new Refused(`The picture is wider than ${WIDEST} pixels. Make it smaller first.`);
    const [top, left, bottom, right] = seen(bitmap.height, bitmap.width, size, framing);
    const width = right - left;
    const rows = (from, to) => {
      const [, context] = paper(width, to - from);
      context.drawImage(bitmap, left, top + from, width, to - from, 0, 0, width, to - from);
      return context.getImageData(0, 0, width, to - from).data;
    };
    return resize(rows, bottom - top, width, size, framing);
  } finally {
    bitmap.close();
  }
}

async function decoded(picture) {
  return createImageBitmap(picture, { colorSpaceConversion: 'none' }).catch(() => {
    throw new Refused('This is no picture that this browser shows, or a broken one. Save it anew as PNG or JPEG.');
  });
}

function png(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}

/** A white canvas and its context. */
function paper(width, height) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  return [canvas, context];
}

/** Whether the canvas gives back what was drawn: some browsers add noise against fingerprinting. */
function givesPixels() {
  const [, context] = paper(16, 16);
  context.fillStyle = '#123456';
  context.fillRect(0, 0, 16, 16);
  const { data } = context.getImageData(0, 0, 16, 16);
  return data.every((level, index) => level === [0x12, 0x34, 0x56, 0xff][index % 4]);
}
