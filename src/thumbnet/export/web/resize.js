// A picture → the square that a network takes, as `resize` in pictures/framing.py makes it with OpenCV. All numbers are
// rounded where OpenCV rounds them, so the same pixels give the same square.

const MARGIN = 16; // REDUCED_MARGIN in pictures/decode.py
const ONE = 2048; // the sum of OpenCV's bilinear weights, which are whole numbers

/** The part of a picture that becomes the square, as `region` in pictures/framing.py: [top, left, bottom, right]. */
export function seen(height, width, size, framing) {
  const centre = framing === 'centre' || framing === 'soft-centre';
  if (framing === 'stretch' || (centre && Math.min(height, width) * 7 < size * 8)) return [0, 0, height, width];
  if (centre) {
    const [top, left] = [room(height, size), room(width, size)];
    return [top, left, height - top, width - left];
  }
  const side = Math.min(height, width);
  const [top, left] = [Math.floor((height - side) / 2), Math.floor((width - side) / 2)];
  return [top, left, top + side, left + side];
}

/** A sixteenth of a side, in steps that a JPEG decoded at a smaller size has, too. */
function room(side, size) {
  let step = 1;
  while (2 * step * MARGIN * size <= side) step *= 2;
  return step * Math.floor(side / (16 * step));
}

/**
 * The square of a picture, as RGBA bytes. `rows(top, bottom)` returns rows of the picture as RGBA bytes. It is called
 * for a few rows at a time, so that a large picture need not be in memory as a whole.
 */
export function resize(rows, height, width, size, framing) {
  const square = new Uint8ClampedArray(size * size * 4).fill(255);
  if (height === size && width === size) {
    square.set(rows(0, size));
  } else if (height >= size && width >= size) {
    average(rows, height, width, size, square);
  } else {
    blend(rows, height, width, size, square);
  }
  return framing === 'soft-centre' && Math.min(height, width) >= 2 * size ? soften(square, size) : square;
}

/** Blur by half a pixel: three neighbours count one, six and one eighths, across and down. */
function soften(square, size) {
  const sums = (levels, step, at) => levels.map((level, index) => {
    const place = at(index);
    return 6 * level + levels[place > 0 ? index - step : index] + levels[place < size - 1 ? index + step : index];
  });
  const across = sums(Uint16Array.from(square), 4, (index) => Math.floor(index / 4) % size);
  const down = sums(across, 4 * size, (index) => Math.floor(index / (4 * size)));
  return Uint8ClampedArray.from(down, (sum) => (sum + 32) >> 6);
}

/** Shrink: each pixel of the square is the mean of its area of the picture. */
function average(rows, height, width, size, square) {
  const whole = height % size === 0 && width % size === 0; // then all pixels count alike, otherwise they have weights
  const [down, across] = [areas(height, size, whole), areas(width, size, whole)];
  const pixelsEach = whole ? (height / size) * (width / size) : 1;
  const scale = Math.fround(1 / pixelsEach);
  const line = new Float32Array(size * 3);
  down.forEach(({ first, weights }, y) => {
    const pixels = rows(first, first + weights.length);
    const sum = whole ? new Float64Array(size * 3) : new Float32Array(size * 3);
    weights.forEach((weight, row) => {
      squeeze(pixels, row * width, across, line);
      for (let i = 0; i < sum.length; i += 1) sum[i] += Math.fround(weight * line[i]);
    });
    sum.forEach((value, i) => {
      const mean = pixelsEach === 4 ? Math.floor((value + 2) / 4) : toEven(Math.fround(Math.fround(value) * scale));
      square[4 * (y * size + Math.floor(i / 3)) + (i % 3)] = mean;
    });
  });
}

/** Write the weighted sums of one row, from pixel `start`, to `line`: three numbers a pixel of the square. */
function squeeze(pixels, start, across, line) {
  let at = 0;
  for (const { first, weights } of across) {
    for (let channel = 0; channel < 3; channel += 1, at += 1) {
      let from = 4 * (start + first) + channel;
      let sum = 0;
      for (let i = 0; i < weights.length; i += 1, from += 4) {
        sum = Math.fround(sum + Math.fround(weights[i] * pixels[from]));
      }
      line[at] = sum;
    }
  }
}

/** For each of `size` areas of a side: its `first` pixel, and the `weights` of the pixels from there on. */
function areas(side, size, whole) {
  const scale = 1 / (size / side); // OpenCV's expression, which may differ from side / size in the last digit
  return Array.from({ length: size }, (_, index) => {
    const [start, end] = [index * scale, (index + 1) * scale];
    const last = Math.min(Math.floor(end), side - 1);
    const first = Math.min(Math.ceil(start), last);
    const length = Math.min(scale, side - start);
    const weights = new Array(last - first).fill(Math.fround(whole ? 1 : 1 / length));
    const [before, after] = [first - start, end - last];
    if (after > 1e-3) weights.push(Math.fround(whole ? 1 : Math.min(after, 1, length) / length));
    if (before > 1e-3) weights.unshift(Math.fround(before / length));
    return { first: before > 1e-3 ? first - 1 : first, weights };
  });
}

/** Enlarge at least one side: each pixel of the square lies between two by two pixels of the picture. */
function blend(rows, height, width, size, square) {
  // OpenCV treats a picture differently that is larger than the square one way and smaller the other.
  const mixed = height > size || width > size;
  const [down, across] = [pairs(height, size, mixed), pairs(width, size, mixed)];
  for (const weights of across) if (weights.outside) [weights.before, weights.after] = [ONE, 0]; // OpenCV does not do this to `down`
  down.forEach((line, y) => {
    const [upper, lower] = [rows(line.first, line.first + 1), rows(line.second, line.second + 1)];
    across.forEach(({ first, second, before, after }, x) => {
      for (let channel = 0; channel < 3; channel += 1) {
        const [above, below] = [upper, lower].map(
          (pixels) => (pixels[4 * first + channel] * before + pixels[4 * second + channel] * after) >> 4,
        );
        square[4 * (y * size + x) + channel] = (((above * line.before) >> 16) + ((below * line.after) >> 16) + 2) >> 2;
      }
    });
  });
}

/** For each of `size` places on a side: the two pixels that it lies between, and their weights. */
function pairs(side, size, mixed) {
  const [share, scale] = [size / side, 1 / (size / side)];
  return Array.from({ length: size }, (_, index) => {
    const centre = Math.fround((index + 0.5) * scale - 0.5);
    const at = Math.floor(mixed ? index * scale : centre);
    const over = mixed ? Math.max(0, Math.fround(index + 1 - (at + 1) * share)) : centre;
    const weight = Math.fround(over - Math.floor(over));
    const [first, second] = [at, at + 1].map((place) => Math.min(Math.max(place, 0), side - 1));
    const [before, after] = [toEven(Math.fround(1 - weight) * ONE), toEven(weight * ONE)];
    return { first, second, before, after, outside: first === second };
  });
}

/** Round to the nearest whole number, and a half to the even one. */
function toEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
}
