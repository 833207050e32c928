// Computes beside the page, so that the page answers while it does. app.js starts two: one finds and cuts faces while the
// other reads those of the picture before. A message is {id, what, ...}; the answer {id, result} or {id, error}, and before
// it {id, loaded}, the bytes of a file that are here.

import * as ort from "./ort/ort.wasm.min.mjs";
import { cropFace } from "./crop.js";
import { anySize, findFaces } from "./yunet.js";

ort.env.wasm.numThreads = 1; // two workers are two threads; more would need headers that a plain host does not send
ort.env.logLevel = "error";

let session, model;
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true });

/** Opens the model that reads faces, or the detector; without a file, boxes come from elsewhere. */
async function open(message) {
  model = message.model;
  if (!message.file) return;
  const answer = await fetch(message.file);
  if (!answer.ok) throw new Error(`${message.file} is not there`);
  const file = await received(answer, (loaded) => self.postMessage({ id: message.id, loaded }));
  session = await ort.InferenceSession.create(message.detector ? anySize(file) : file, { logSeverityLevel: 3 });
}

/** The bytes of an answer; `tell` is called with how many are here, as they come. */
async function received(answer, tell) {
  const reader = answer.body.getReader(), parts = [];
  let loaded = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    tell((loaded += part.value.length));
  }
  return new Blob(parts).arrayBuffer();
}

/** The faces of a picture, cut if asked; boxes that are given are taken as they are. The picture goes back with them. */
async function find({ picture, boxes, margin, cut }) {
  const { width, height } = picture;
  canvas.width = width;
  canvas.height = height;
  context.drawImage(picture, 0, 0);
  const image = { data: context.getImageData(0, 0, width, height).data, width, height };
  const faces = boxes ? boxes.map((box) => ({ box, score: 1 })) : await findFaces(network, image, model.detector);
  const size = model.image_size, one = size * size * 3, crops = new Uint8Array(cut ? faces.length * one : 0);
  if (cut) faces.forEach((face, i) => crops.set(cropFace(image, face.box, margin ?? model.margin, size), i * one));
  return { result: { faces, crops, picture }, transfer: [crops.buffer, picture] };
}

async function network(planes, height, width) {
  const outputs = await session.run({ input: new ort.Tensor("float32", planes, [1, 3, height, width]) });
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
}

/** What the model says of each face. The network calibrates by itself: its interval and its probability are final. */
async function read({ crops }) {
  const size = model.image_size, count = crops.length / (size * size * 3);
  if (!count) return { result: [] };
  const said = await session.run({ image: new ort.Tensor("uint8", crops, [count, size, size, 3]) });
  const result = Array.from({ length: count }, (_, i) => {
    const male = said.pred_gender.data[2 * i + 1], likelier = male >= 0.5 ? 1 : 0;
    return {
      age: said.expected_age.data[i],
      interval: said.age_low ? [Number(said.age_low.data[i]), Number(said.age_high.data[i])] : null,
      male,
      gender: model.genders[likelier],
      unsure: Math.max(male, 1 - male) < model.unsure_below,
    };
  });
  return { result };
}

const TASKS = { open, find, read };
let last = Promise.resolve(); // one task at a time: a session runs one
self.onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      const { result, transfer } = (await TASKS[data.what](data)) ?? {};
      self.postMessage({ id: data.id, result }, transfer ?? []);
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
};
