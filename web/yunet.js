// Faces by YuNet, as age_gender/detectors/yunet.py finds them: the same two searches, the same box. OpenCV's own part of
// it (cv2.FaceDetectorYN) is done here: cells to boxes, and of boxes that overlap the surest. Its numbers come from
// model.json, which web/gather.py writes.

import { boxProblem, shrunk } from "./crop.js";

const STRIDES = [8, 16, 32];
const DIVISOR = 32; // the network halves a picture five times

/** The file with a size that is free: as it comes, its input is 640 x 640. Both dimensions become names ("h", "w"). */
export function anySize(file) {
  const fixed = [0x0a, 3, 8, 0x80, 5, 0x0a, 3, 8, 0x80, 5], free = [0x0a, 3, 0x12, 1, 0x68, 0x0a, 3, 0x12, 1, 0x77];
  const bytes = new Uint8Array(file);
  const at = bytes.findIndex((_, i) => fixed.every((byte, k) => bytes[i + k] === byte));
  if (at < 0) throw new Error("the detector's file is another one than expected");
  bytes.set(free, at);
  return bytes;
}

/**
 * The faces of a picture, the surest first: [{box: [x1, y1, x2, y2] in pixels, score}].
 * @param run a function of planes B, G, R (Float32Array), height and width that gives the network's outputs by name.
 */
export async function findFaces(run, image, settings) {
  const longest = Math.max(image.width, image.height);
  let found = await search(run, image, settings.longest_side, settings);
  if (longest > settings.few_pixels) {
    const large = await search(run, image, settings.few_pixels, settings);
    found = distinct([...found, ...large.filter((face) => face.height >= settings.large * longest)]);
  }
  return found
    .map((face) => ({ box: squareAround(face.landmarks, settings.factor), score: face.score }))
    .filter((face) => !boxProblem(face.box, image))
    .sort((a, b) => b.score - a.score);
}

/** One search of the picture at a size: faces in the picture's own pixels. */
async function search(run, image, longest, { least_side, least_score, overlap }) {
  const small = shrunk(image, longest);
  const [width, height] = [small.width, small.height].map((side) => Math.ceil(Math.max(side, least_side) / DIVISOR) * DIVISOR);
  const area = width * height, planes = new Float32Array(3 * area); // what lies beyond the picture is black
  for (let y = 0, from = 0; y < small.height; y++)
    for (let x = 0, to = y * width; x < small.width; x++, to++, from += 3) {
      planes[to] = small.data[from];
      planes[to + area] = small.data[from + 1];
      planes[to + 2 * area] = small.data[from + 2];
    }
  const faces = suppressed(candidates(await run(planes, height, width), width, height, least_score), overlap);
  const scaled = (value) => value / small.scale;
  return faces.map((face) => ({
    ...Object.fromEntries(["x", "y", "width", "height"].map((name) => [name, scaled(face[name])])),
    landmarks: face.landmarks.map(scaled),
    score: face.score,
  }));
}

/** Every cell that is sure enough, as a face; landmarks are x and y of eyes, nose and corners of the mouth. */
function candidates(outputs, width, height, least) {
  const found = [], share = (value) => Math.min(Math.max(value, 0), 1);
  for (const stride of STRIDES) {
    const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((name) => outputs[`${name}_${stride}`]);
    const columns = width / stride;
    for (let cell = 0; cell < columns * (height / stride); cell++) {
      const score = Math.sqrt(share(cls[cell]) * share(obj[cell]));
      if (score < least) continue;
      const column = cell % columns, row = (cell - column) / columns;
      const [w, h] = [2, 3].map((k) => Math.exp(bbox[cell * 4 + k]) * stride);
      const x = (column + bbox[cell * 4]) * stride - w / 2, y = (row + bbox[cell * 4 + 1]) * stride - h / 2;
      const landmarks = Array.from({ length: 10 }, (_, k) => (kps[cell * 10 + k] + (k % 2 ? row : column)) * stride);
      found.push({ x, y, width: w, height: h, landmarks, score });
    }
  }
  return found;
}

/** Non-maximum suppression; OpenCV compares boxes of whole pixels. */
function suppressed(faces, limit) {
  const kept = [];
  for (const face of faces.sort((a, b) => b.score - a.score)) {
    const whole = Object.fromEntries(["x", "y", "width", "height"].map((name) => [name, Math.trunc(face[name])]));
    const clashes = kept.some(([, other]) => {
      const both = common(whole, other);
      return both > limit * (whole.width * whole.height + other.width * other.height - both);
    });
    if (!clashes) kept.push([face, whole]);
  }
  return kept.map(([face]) => face);
}

/** The surest, without those that cover half of a surer one or are half in it (`distinct` in yunet.py). */
function distinct(faces) {
  const kept = [];
  for (const face of faces.sort((a, b) => b.score - a.score))
    if (!kept.some((other) => common(face, other) > 0.5 * Math.min(face.width * face.height, other.width * other.height)))
      kept.push(face);
  return kept;
}

/** The area that two boxes share. */
function common(a, b) {
  const across = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const down = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(across, 0) * Math.max(down, 0);
}

/** dlib's box from five landmarks (`square_around` in age_gender/detectors). */
function squareAround(landmarks, factor) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const xs = landmarks.filter((_, k) => k % 2 === 0), ys = landmarks.filter((_, k) => k % 2);
  const x = mean(xs), y = mean(ys);
  const half = (factor / 2) * Math.sqrt(mean(xs.map((each, k) => (each - x) ** 2 + (ys[k] - y) ** 2)));
  return [x - half, y - half, x + half, y + half];
}
