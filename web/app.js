// The page: photos, videos and the camera in, ages and genders out. worker.js computes; nothing here leaves the page.

const byId = (id) => document.getElementById(id);
const [filesInput, cameraButton, pauseButton, stopButton] = ["files", "camera", "pause", "stop"].map(byId);
const [statusLine, notice, results] = ["status", "detector", "results"].map(byId);
const WIDEST = 1280; // pixels of what is shown of a photo
const READ_EVERY = 300; // milliseconds, in videos: numbers that change more often cannot be read, and take the boxes' time
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5c4d00"]; // told apart without red and green too

let model, finder, reader;
let ownDetector = null; // the browser's, where YuNet is not here
let running = null; // what ends the camera or the video: {stop, video}
let turn = 0; // counts what was asked for, so that an older answer is dropped

const say = (sentence) => { statusLine.textContent = sentence; };

/** A worker as a function: call(what, {...}) gives its result. `loaded` is told how many bytes of its file are there. */
function worker(loaded) {
  const own = new Worker("worker.js", { type: "module" }), waiting = new Map();
  let count = 0;
  own.onmessage = ({ data }) => {
    if (data.loaded) return loaded(data.loaded);
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    data.error === undefined ? resolve(data.result) : reject(new Error(data.error));
  };
  own.onerror = () => {
    for (const { reject } of waiting.values()) reject(new Error("this browser is too old for what computes here"));
  };
  return (what, message = {}, transfer = []) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      own.postMessage({ id: count, what, ...message }, transfer);
    });
}

async function start() {
  try {
    const answer = await fetch("model.json");
    if (!answer.ok) throw new Error("model.json is not there; make web writes it");
    model = await answer.json();
    [finder, reader] = [worker(() => {}), worker(showLoading)];
    await Promise.all([finder("open", { model, file: model.detector?.file, detector: true }), reader("open", { model, file: model.file })]);
    if (!model.detector) await withoutYunet();
  } catch (error) {
    return say(`The page cannot start: ${error.message}.`);
  } finally {
    byId("loading").hidden = true;
  }
  byId("meaning").textContent = meaning();
  filesInput.disabled = cameraButton.disabled = false;
  say("Ready.");
}

/** Shows how much of the model is there: the largest of the files. */
function showLoading(bytes) {
  const [here, all] = [bytes, model.bytes].map((value) => (value / 1e6).toFixed(0));
  byId("loading").hidden = false;
  byId("loading").querySelector("progress").value = bytes / model.bytes;
  byId("loading").querySelector("span").textContent = `${here} of ${all} MB`;
}

function meaning() {
  const level = model.level ? `${Math.round(model.level * 100)}% of the ages are to lie in their interval. ` : "";
  return `${level}The percentage is the likelier label's; below ${model.unsure_below * 100}% the gender is called unsure.`;
}

/** What finds faces where YuNet's file is not here: the browser's own detector, or whoever draws a box. */
async function withoutYunet() {
  const lacking = "YuNet, the face detector, is not here (python download.py yunet, then make web, brings it).";
  try {
    ownDetector = new FaceDetector({ maxDetectedFaces: 20 });
    await ownDetector.detect(document.createElement("canvas"));
    notice.textContent = `${lacking} This browser's own detector finds the faces. Its boxes are others, so ages may be worse.`;
  } catch {
    ownDetector = null;
    notice.textContent = `${lacking} The whole photo counts as the face. To choose a face, draw a box around it from the ` +
      "brows to the chin: with the mouse or a finger, or with the arrow keys (with Shift they change its size). " +
      "Before the camera, put the face into the square.";
  }
  notice.hidden = false;
}

// ------------------------------------------------------------------------------------------------ faces of a picture

/** What worker.js finds in a picture (an ImageBitmap, which goes there and comes back). */
async function find(picture, box, cut = true) {
  if (model.detector) return finder("find", { picture, cut }, [picture]);
  let boxes = [box ?? [0, 0, picture.width, picture.height]];
  if (ownDetector && !box) boxes = (await ownDetector.detect(picture)).map(({ boundingBox: b }) => [b.left, b.top, b.right, b.bottom]);
  const whole = !box && !ownDetector;
  return finder("find", { picture, cut, boxes, ...(whole && { margin: 0 }) }, [picture]);
}

/** Shows a picture with numbered boxes, and below it one line for each answer. */
function show(figure, { picture, faces }, answers, title) {
  const canvas = figure.querySelector("canvas"), scale = Math.min(1, WIDEST / picture.width);
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  faces.forEach(({ box }, i) => drawBox(context, box.map((value) => value * scale), i));
  const lines = faces.map(({ box }, i) => line(answers[i], box, i));
  canvas.setAttribute("aria-label", `${title}, ${counted(faces.length)}`);
  figure.querySelector(".title").textContent = faces.length ? title : `${title}: no face was found.`;
  figure.querySelector("ol").replaceChildren(...lines);
  byId("meaning").hidden &&= !faces.length;
}

function drawBox(context, [x1, y1, x2, y2], i) {
  const size = Math.max(14, Math.round(context.canvas.width / 40)), colour = COLOURS[i % COLOURS.length];
  context.lineWidth = Math.max(2, size / 7);
  context.strokeStyle = context.fillStyle = colour;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.font = `bold ${size}px system-ui, sans-serif`;
  const number = String(i + 1), width = context.measureText(number).width + size * 0.7;
  const left = Math.max(0, Math.min(x1, context.canvas.width - width)), top = Math.max(0, y1 - size * 1.3);
  context.fillRect(left, top, width, size * 1.3);
  context.fillStyle = "#fff";
  context.fillText(number, left + size * 0.35, top + size);
}

/** "27 years, 21 to 36, female 97%" as a line of a list; its numbers for programs in data-face. */
function line(answer, box, i) {
  const item = document.createElement("li"), age = document.createElement("span");
  item.value = i + 1;
  if (!answer) {
    item.textContent = "being read";
    return item;
  }
  age.className = "age";
  age.textContent = `${answer.age.toFixed(0)} years`;
  const word = { F: "female", M: "male" }[answer.gender], likelier = Math.floor(100 * Math.max(answer.male, 1 - answer.male));
  const interval = answer.interval ? `, ${answer.interval.join(" to ")}` : "";
  item.append(age, `${interval}, ${answer.unsure ? `gender unsure (${word} ${likelier}%)` : `${word} ${likelier}%`}`);
  item.dataset.face = JSON.stringify({ box, ...answer });
  return item;
}

const counted = (faces) => (faces === 0 ? "no face" : faces === 1 ? "1 face" : `${faces} faces`);

function newFigure() {
  const figure = document.createElement("figure");
  figure.innerHTML = '<canvas role="img"></canvas><figcaption><span class="title"></span><ol></ol></figcaption>';
  results.append(figure);
  return figure;
}

// ------------------------------------------------------------------------------------------------------------- photos

async function readFiles(files) {
  stop();
  const mine = ++turn;
  results.replaceChildren();
  const told = [], lost = []; // what is said of those that were read, and of those that could not be
  for (const [index, file] of files.entries()) {
    if (files.length > 1) say(`${index + 1} of ${files.length}: ${file.name}`);
    try {
      told.push(await (file.type.startsWith("video/") ? readVideo(file, mine) : readPhoto(file, mine)));
    } catch (error) {
      lost.push(error.message);
    }
    if (mine !== turn) return;
  }
  if (files.length === 1) return say([...told, ...lost][0]);
  const remarks = [...lost, ...told.filter((sentence) => sentence.endsWith("."))];
  say([`${lost.length ? `${told.length} of ` : ""}${files.length} files are read.`, ...remarks].join(" "));
}

/** Shows a photo and says what was found. Throws a sentence where it cannot be read. */
async function readPhoto(file, mine) {
  let picture;
  try { // upright as EXIF says, which is the default, and in the file's own colours
    picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name} is no photo that this browser can read, or it is damaged.`);
  }
  try {
    const found = await find(picture), answers = await reader("read", { crops: found.crops });
    if (mine !== turn) return ""; // something else was asked for meanwhile
    const figure = newFigure();
    show(figure, found, answers, file.name);
    if (!model.detector && !ownDetector) {
      drawable(figure, found.picture, file.name);
      return `${file.name}: 1 face, which is the whole photo`;
    }
    found.picture.close();
    return found.faces.length ? `${file.name}: ${counted(found.faces.length)}` : `${file.name}: no face was found.`;
  } catch (error) {
    throw new Error(`${file.name} cannot be read: ${error.message}.`);
  }
}

/** Lets the user say where the face is, by pointer or by keys. */
function drawable(figure, picture, title) {
  const canvas = figure.querySelector("canvas"), { width, height } = picture;
  let box = [0, 0, width, height], start = null, busy = false, next = null;
  canvas.classList.add("drawable");
  canvas.tabIndex = 0;
  const at = (event) => [event.offsetX * (width / canvas.clientWidth), event.offsetY * (height / canvas.clientHeight)];
  const choose = async (chosen) => {
    next = box = chosen;
    if (busy) return;
    busy = true;
    while (next) {
      const wanted = next;
      next = null;
      const found = await find(picture, wanted), answers = await reader("read", { crops: found.crops });
      picture = found.picture;
      show(figure, found, answers, title);
    }
    busy = false;
  };
  canvas.onpointerdown = (event) => {
    start = at(event);
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointercancel = () => { start = null; };
  canvas.onpointerup = (event) => {
    if (!start) return;
    const end = at(event), [x1, x2] = [start[0], end[0]].sort((a, b) => a - b), [y1, y2] = [start[1], end[1]].sort((a, b) => a - b);
    start = null;
    if (x2 - x1 >= 8 && y2 - y1 >= 8) choose([x1, y1, x2, y2]);
  };
  canvas.onkeydown = (event) => {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction) return;
    event.preventDefault();
    const step = Math.max(width, height) / 40, [x, y] = direction.map((each) => each * step), [x1, y1, x2, y2] = box;
    const wanted = event.shiftKey ? [x1, y1, x2 + x, y2 + y] : [x1 + x, y1 + y, x2 + x, y2 + y];
    if (wanted[2] - wanted[0] >= 8 && wanted[3] - wanted[1] >= 8 && wanted[0] < width - 8 && wanted[1] < height - 8 && wanted[2] > 8 && wanted[3] > 8)
      choose(wanted);
  };
}

// -------------------------------------------------------------------------------------------------- camera and videos

const REFUSALS = {
  NotAllowedError: "The camera was refused. Allow it for this page, beside its address, and press Camera again. Photos work without it.",
  NotFoundError: "No camera was found. Photos and videos work without one.",
  NotReadableError: "The camera does not start: does another program use it?",
};

async function readCamera() {
  stop();
  const mine = ++turn;
  results.replaceChildren();
  if (!navigator.mediaDevices) return say("Browsers lend the camera to pages at https:// and at 127.0.0.1 alone, and this is neither.");
  let stream;
  say("Waiting for the camera: the browser may ask you.");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 360 } }, audio: false });
  } catch (error) {
    return mine === turn && say(REFUSALS[error.name] ?? `The camera does not start: ${error.message}.`);
  }
  const end = () => stream.getTracks().forEach((track) => track.stop());
  if (mine !== turn) return end();
  const gone = new Promise((resolve) => stream.getTracks()[0].addEventListener("ended", resolve));
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  try {
    const told = await follow(video, "Camera", gone, mine);
    if (mine === turn) say(`The camera is off. ${told}`);
  } catch (error) {
    if (mine === turn) say(`The camera was stopped: ${error.message}.`);
  } finally {
    end();
  }
}

/** Plays a video, shows its faces, and says what was seen. Throws a sentence where it cannot be played. */
async function readVideo(file, mine) {
  const address = URL.createObjectURL(file);
  const video = Object.assign(document.createElement("video"), { src: address, muted: true, playsInline: true });
  const ended = new Promise((resolve) => video.addEventListener("ended", resolve));
  try {
    const told = await follow(video, file.name, ended, mine);
    return `${file.name} ${video.ended ? "is over" : "was stopped"}. ${told}`;
  } catch {
    throw new Error(`${file.name} is no video that this browser can play, or it is damaged.`);
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * Reads what a video shows while it plays, as many pictures as there is time for; says what was seen. Boxes follow every
 * picture; ages and genders are read less often, and go along with their boxes until then.
 */
async function follow(video, title, over, mine) {
  const stopped = new Promise((resolve) => { running = { stop: resolve, video }; });
  const broken = new Promise((_, reject) => video.addEventListener("error", () => reject(new Error("broken"))));
  broken.catch(() => {});
  let ended = false, reading = null, readAt = 0, known = [];
  const end = Promise.race([over, stopped]).then(() => { ended = true; });
  const newFrame = framesOf(video), seen = { pictures: 0, faces: 0, times: [] };
  try {
    await Promise.race([video.play(), broken, end]);
    if (ended || mine !== turn) return "";
    say(`${title}: reading. Escape stops.`);
    const figure = newFigure();
    pauseButton.hidden = stopButton.hidden = false;
    while (!ended && mine === turn) {
      await Promise.race([newFrame(), end, broken]);
      if (ended) break;
      const picture = await createImageBitmap(video), due = !reading && (!known.length || performance.now() - readAt > READ_EVERY);
      const found = await find(picture, square(picture), due);
      if (mine !== turn) break;
      if (due) {
        readAt = performance.now();
        reading = reader("read", { crops: found.crops }).then((answers) => {
          known = answers.map((answer, i) => ({ answer, box: found.faces[i].box }));
          reading = null;
        });
      }
      if (!known.length) await reading; // the first of all: no face is shown without an answer for long
      const answers = found.faces.map(({ box }) => {
        const same = known.find((each) => overlap(each.box, box) > 0.3);
        if (same) same.box = box; // which moves along
        return same?.answer;
      });
      show(figure, found, answers, title);
      found.picture.close();
      note(figure, seen, found.faces.length);
    }
    await reading;
  } finally {
    video.pause();
    if (video.srcObject) video.srcObject = null;
    if (mine === turn) pauseButton.hidden = stopButton.hidden = true;
  }
  return `${seen.pictures} pictures were read, with ${seen.faces ? `at most ${counted(seen.faces)} at once` : "no face"}.`;
}

/** Counts a picture of a video, and writes how many there are a second. */
function note(figure, seen, faces) {
  seen.pictures++;
  seen.faces = Math.max(seen.faces, faces);
  seen.times.push(performance.now());
  if (seen.times.length > 20) seen.times.shift();
  const seconds = (seen.times.at(-1) - seen.times[0]) / 1000, rate = seconds ? (seen.times.length - 1) / seconds : 0;
  figure.dataset.rate = rate.toFixed(1);
  figure.querySelector(".title").textContent += `${faces ? "," : ""} ${rate.toFixed(0)} pictures a second`;
}

/** Intersection over union of two boxes. */
function overlap(a, b) {
  const across = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), down = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const both = Math.max(across, 0) * Math.max(down, 0), [one, other] = [a, b].map((box) => (box[2] - box[0]) * (box[3] - box[1]));
  return both / (one + other - both);
}

/** Where a face has to be in a video when nothing finds it. */
function square({ width, height }) {
  if (model.detector || ownDetector) return undefined;
  const half = 0.3 * Math.min(width, height);
  return [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half];
}

/** A function that waits until a video shows a picture it has not shown when the function was last called. */
function framesOf(video) {
  let fresh = false, tell = () => {};
  const ask = (callback) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(callback) : requestAnimationFrame(callback));
  const came = () => {
    fresh = true;
    tell();
    ask(came);
  };
  ask(came);
  return async () => {
    if (!fresh) await new Promise((resolve) => { tell = resolve; });
    fresh = false;
  };
}

function stop() {
  running?.stop();
  running = null;
  pauseButton.textContent = "Pause";
  pauseButton.hidden = stopButton.hidden = true;
}

function pause() {
  if (!running) return;
  const { video } = running;
  video.paused ? video.play() : video.pause();
  pauseButton.textContent = video.paused ? "Go on" : "Pause";
}

// ---------------------------------------------------------------------------------------------------------- what is asked

filesInput.onchange = () => {
  if (filesInput.files.length) readFiles([...filesInput.files]);
  filesInput.value = ""; // so that the same file can be chosen again
};
cameraButton.onclick = readCamera;
pauseButton.onclick = pause;
stopButton.onclick = stop;
document.onkeydown = (event) => { if (event.key === "Escape") stop(); };
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = () => document.body.classList.remove("dropping");
document.ondrop = async (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const files = [...event.dataTransfer.files];
  await started;
  if (files.length && !filesInput.disabled) readFiles(files);
};

const started = start();
