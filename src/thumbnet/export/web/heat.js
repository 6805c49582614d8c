// The heat map of a model that gives the evidence of each place, as prediction/explain.py makes and draws it.

const [SHORTEST, LONGEST] = [320, 640]; // pixels of the longer side of a drawn map
const [OPACITY, DIMMED] = [0.85, 0.35]; // of the colour where the heat is 1; brightness where the network sees nothing
const FLAT = 0.01; // log-odds; if the places differ less, no part decides
const TINY = 2 ** -126; // the smallest probability of which there is a logarithm
// Plasma's red, green and blue from 0 to 1, as polynomials that are at most 4 of 255 levels off. The highest power is first.
const PLASMA = [
  [414.4, -1275.3, 1292.0, -783.9, 579.1, 14.8],
  [1292.0, -2647.7, 1412.2, 342.9, -158.0, 11.4],
  [-142.9, 334.0, 293.1, -901.1, 316.0, 136.9],
];

/**
 * How much each place supports the most probable class, -1 to 1.
 *
 * @param probabilities of the C classes
 * @param places the evidence of each place for each class, C numbers a place
 */
export function heat(probabilities, places) {
  const sure = Array.from(probabilities, (share) => Math.max(share, TINY));
  const answer = sure.indexOf(Math.max(...sure));
  const others = sure.reduce((sum, share, index) => sum + (index === answer ? 0 : share), 0) || 1;
  const weights = sure.map((share, index) => (index === answer ? 1 : -share / others));
  const against = (values, start) => weights.reduce((sum, weight, index) => sum + weight * values[start + index], 0);
  const found = Array.from({ length: places.length / sure.length }, (_, place) => against(places, place * sure.length));
  if (Math.max(...found) - Math.min(...found) < FLAT) return found.fill(0);
  const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
  const odds = found.map((value) => value - mean + against(sure.map(Math.log), 0));
  const strongest = Math.max(...odds.map(Math.abs));
  return odds.map((value) => value / strongest);
}

/** The width and the height of the drawing of a picture. */
export function drawnSize(width, height) {
  const scale = Math.min(LONGEST, Math.max(SHORTEST, width, height)) / Math.max(width, height);
  return [width, height].map((side) => Math.max(1, Math.round(side * scale)));
}

/**
 * Turn RGBA bytes grey, and colour the parts that support the answer: violet, orange, and yellow for most.
 *
 * @param pixels of a picture `width` pixels wide; changed
 * @param values the places' heat, row by row
 * @param rows how many rows of places there are
 * @param box what the network sees: [top, left, bottom, right], in pixels. The rest is dark.
 */
export function overlay(pixels, width, values, rows, [top, left, bottom, right]) {
  const columns = values.length / rows;
  const [down, across] = [between(bottom - top, rows), between(right - left, columns)];
  for (let at = 0; at < pixels.length; at += 4) {
    const [y, x] = [Math.floor(at / 4 / width), (at / 4) % width];
    const grey = Math.round(0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2]);
    const inside = y >= top && y < bottom && x >= left && x < right;
    const strength = inside ? mix(values, columns, down[y - top], across[x - left]) : 0;
    const opacity = OPACITY * Math.max(0, strength);
    for (let channel = 0; channel < 3; channel += 1) {
      const colour = PLASMA[channel].reduce((sum, factor) => sum * strength + factor, 0);
      pixels[at + channel] = inside ? grey * (1 - opacity) + colour * opacity : grey * DIMMED;
    }
  }
}

/** For each of `size` pixels along a side: the two of `cells` between whose middles it lies, and the second's share. */
function between(size, cells) {
  return Array.from({ length: size }, (_, index) => {
    const at = Math.min(cells - 1, Math.max(0, ((index + 0.5) * cells) / size - 0.5));
    return [Math.floor(at), Math.min(cells - 1, Math.floor(at) + 1), at % 1];
  });
}

function mix(values, columns, [upper, lower, downwards], [first, second, sideways]) {
  const row = (start) => values[start + first] * (1 - sideways) + values[start + second] * sideways;
  return row(upper * columns) * (1 - downwards) + row(lower * columns) * downwards;
}
