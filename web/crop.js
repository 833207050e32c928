// The crop of age_gender/faces.py, grey value by grey value: a canvas would resample otherwise, and ages would differ.
// A picture here is {data, width, height} with 4 bytes a pixel, R, G, B, A, as a canvas gives it; what is cut is B, G, R.

const LINEAR_SHRINK = 1.6; // up to this factor linearly, beyond it by area, as faces.resize_square does

/** To the nearest whole number, halves to the even one, as Python and OpenCV round. */
export function rounded(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below & 1) : Math.floor(x + 0.5);
}

/** Why no face can be cut at a box x1, y1, x2, y2; "" if one can. */
export function boxProblem([x1, y1, x2, y2], { width, height }) {
  if (!(x1 < x2 && y1 < y2 && x1 < width && y1 < height && x2 > 0 && y2 > 0)) return "the box has no area within the picture";
  return x2 - x1 > 1.5 * width || y2 - y1 > 1.5 * height ? "the box is much larger than the picture" : "";
}

/** A face: box and margin, resized to a square; what lies outside the picture repeats its edge. Size * size * 3 bytes. */
export function cropFace(image, [x1, y1, x2, y2], margin, size) {
  const growX = margin * (x2 - x1), growY = margin * (y2 - y1);
  const left = rounded(x1 - growX), right = Math.max(rounded(x2 + growX), left + 1);
  const top = rounded(y1 - growY), bottom = Math.max(rounded(y2 + growY), top + 1);
  const area = Math.max(right - left, bottom - top) > LINEAR_SHRINK * size;
  return resized(image, left, top, right - left, bottom - top, size, size, area);
}

/** The whole picture with at most `longest` pixels on its longer side, as B, G, R, and the factor it was shrunk by. */
export function shrunk(image, longest) {
  const scale = Math.min(1, longest / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, rounded(side * scale)));
  if (scale < 1) return { data: resized(image, 0, 0, image.width, image.height, width, height, true), width, height, scale };
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = image.data[from + 2];
    data[to + 1] = image.data[from + 1];
    data[to + 2] = image.data[from];
  }
  return { data, width, height, scale };
}

/** Width * height * 3 bytes, B, G, R, of a part of a picture that may reach beyond it. */
function resized(image, left, top, partWidth, partHeight, width, height, area) {
  const shrinks = partWidth >= width && partHeight >= height;
  const kind = !area ? linear : shrinks ? overlaps : stretched, unit = kind === overlaps ? 1 : 2048;
  const columns = kind(partWidth, width, left, image.width, unit), rows = kind(partHeight, height, top, image.height, unit);
  const halvesUp = partWidth === 2 * width && partHeight === 2 * height; // as OpenCV rounds there
  const result = new Uint8Array(width * height * 3), sums = new Float64Array(width * 3);
  let lines = new Map(); // the rows in use, resampled
  for (let y = 0; y < height; y++) {
    const kept = new Map();
    sums.fill(0);
    for (let k = rows.starts[y]; k < rows.starts[y + 1]; k++) {
      const row = rows.places[k], weight = rows.weights[k];
      const line = lines.get(row) ?? kept.get(row) ?? along(image, row, columns);
      kept.set(row, line);
      // OpenCV's linear interpolation computes in whole numbers: weights in 2048ths, and three shifts.
      if (unit === 1) for (let i = 0; i < sums.length; i++) sums[i] += weight * line[i];
      else for (let i = 0; i < sums.length; i++) sums[i] += (weight * (line[i] >> 4)) >> 16;
    }
    lines = kept;
    for (let i = 0, at = y * width * 3; i < sums.length; i++, at++)
      result[at] = unit !== 1 ? (sums[i] + 2) >> 2 : halvesUp ? sums[i] + 0.5 : rounded(sums[i]);
  }
  return result;
}

/** One row of a picture resampled: B, G, R of each column. */
function along({ data, width }, row, { starts, places, weights }) {
  const size = starts.length - 1, line = new Float64Array(size * 3);
  for (let x = 0; x < size; x++) {
    let blue = 0, green = 0, red = 0;
    for (let k = starts[x]; k < starts[x + 1]; k++) {
      const at = (row * width + places[k]) * 4, weight = weights[k];
      red += weight * data[at];
      green += weight * data[at + 1];
      blue += weight * data[at + 2];
    }
    line[x * 3] = blue;
    line[x * 3 + 1] = green;
    line[x * 3 + 2] = red;
  }
  return line;
}

// Three ways to resample one axis. Each gives, for every place of the result, the places of the picture that count, with
// their weights in units of 1 / unit: those from starts[i] up to starts[i + 1] in `places` and `weights`.

/** By the area that a pixel of the result covers (cv2.INTER_AREA). */
function overlaps(length, size, from, limit, unit) {
  return taps(size, from, limit, unit, (i) => {
    const start = (i * length) / size, end = Math.min(((i + 1) * length) / size, length), found = [];
    for (let k = Math.floor(start + 1e-3); k < end - 1e-3; k++)
      found.push([k, (Math.min(k + 1, end) - Math.max(k, start)) / (end - start)]);
    return found;
  });
}

/** Between the two nearest pixels (cv2.INTER_LINEAR). At the edge these are one pixel, twice: each weight is rounded by itself. */
function linear(length, size, from, limit, unit) {
  return taps(size, from, limit, unit, (i) => {
    const x = ((i + 0.5) * length) / size - 0.5, k = Math.floor(x);
    return [[Math.max(k, 0), 1 - (x - k)], [Math.min(k + 1, length - 1), x - k]];
  });
}

/** Where one side grows, cv2.INTER_AREA interpolates both, with sharp edges. */
function stretched(length, size, from, limit, unit) {
  return taps(size, from, limit, unit, (i) => {
    const k = Math.floor((i * length) / size), beyond = Math.max(0, i + 1 - ((k + 1) * size) / length), share = beyond % 1;
    return [[k, 1 - share], [Math.min(k + 1, length - 1), share]];
  });
}

function taps(size, from, limit, unit, pairsOf) {
  const starts = new Int32Array(size + 1), places = [], weights = [];
  for (let i = 0; i < size; i++) {
    for (const [place, share] of pairsOf(i)) {
      places.push(Math.min(Math.max(from + place, 0), limit - 1)); // beyond the picture its edge repeats
      weights.push(unit === 1 ? share : rounded(share * unit));
    }
    starts[i + 1] = places.length;
  }
  return { starts, places: Int32Array.from(places), weights: Float64Array.from(weights) };
}
