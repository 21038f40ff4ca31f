// A clip's maps over its frames and its sound, in step with the film that both are taken from.

import { say } from "./frame.js";
import { readArray } from "./npz.js";

const section = document.getElementById("attention");
const { raw, centers, panes } = JSON.parse(section.dataset.shown);
const film = document.getElementById("film");
const controls = document.getElementById("attention-controls");
const time = document.getElementById("time");
const play = document.getElementById("play");
const maps = {}; // "video/s" -> {shape, data, low, high, centers}: where cells stand along each axis, in shares

// Dark to bright, even in lightness, so that it reads without color too.
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function heat(value, opacity, pixels, at) {
  const place = Math.min(0.9999, Math.max(0, value)) * (STOPS.length - 1);
  const low = Math.floor(place);
  for (let i = 0; i < 3; i++) pixels[at + i] = STOPS[low][i] + (STOPS[low + 1][i] - STOPS[low][i]) * (place - low);
  pixels[at + 3] = 255 * opacity;
}

// A map's cells as a small picture, a pixel each, with its edge once more around it.
function picture(map, slice, height, width, flipped) {
  const [low, high] = controls.scale.value === "own" ? [map.low, map.high] : [0, 1];
  const image = new ImageData(width + 2, height + 2);
  const inside = (place, count) => Math.min(count - 1, Math.max(0, place - 1));
  for (let y = 0; y < height + 2; y++) {
    for (let x = 0; x < width + 2; x++) {
      const row = inside(flipped ? height + 1 - y : y, height);
      const value = (slice(row * width + inside(x, width)) - low) / (high - low || 1);
      heat(value, Number(controls.opacity.value), image.data, 4 * (y * (width + 2) + x));
    }
  }
  const small = new OffscreenCanvas(width + 2, height + 2);
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

// Drawn large and smooth, each cell where it stands: at the middle of what it sees, not of an equal part.
function lay(canvas, map, slice, [down, across], flipped) {
  const ends = (places) => {
    const step = places.length > 1 ? places[1] - places[0] : 1;
    return [places[0] - 1.5 * step, places.at(-1) + 1.5 * step];
  };
  const [left, right] = ends(across);
  const [low, high] = ends(down);
  const [top, bottom] = flipped ? [1 - high, 1 - low] : [low, high];
  const small = picture(map, slice, down.length, across.length, flipped);
  const [width, height] = [canvas.width, canvas.height];
  const context = canvas.getContext("2d");
  context.drawImage(small, left * width, top * height, (right - left) * width, (bottom - top) * height);
}

function draw() {
  if (!film.videoWidth) return;
  const at = film.duration ? film.currentTime / film.duration : 0;
  if (document.activeElement !== time || !film.paused) time.value = at;
  for (const figure of section.querySelectorAll("[data-map]")) {
    drawFrames(figure.querySelector(".frames"), maps[`video/${figure.dataset.map}`], at);
    drawSound(figure.querySelector(".sound"), maps[`audio/${figure.dataset.map}`], at);
  }
}

function ground(canvas, [x, y, width, height]) {
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(film, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return context;
}

// (T, H, W): between two cells of time both have their share.
function drawFrames(canvas, map, at) {
  ground(canvas, panes.frames);
  if (!map) return;
  const [count, height, width] = map.shape;
  const [times, ...sides] = map.centers;
  const step = count > 1 ? times[1] - times[0] : 1;
  const place = Math.min(count - 1, Math.max(0, (at - times[0]) / step));
  const [one, share] = [Math.floor(place), place % 1];
  const other = Math.min(one + 1, count - 1);
  const size = height * width;
  const slice = (index) => (1 - share) * map.data[one * size + index] + share * map.data[other * size + index];
  lay(canvas, map, slice, sides, false);
}

// (F, T), low bands below, and where the sound is now.
function drawSound(canvas, map, at) {
  const context = ground(canvas, panes.sound);
  if (map) lay(canvas, map, (index) => map.data[index], map.centers, true);
  context.fillStyle = "#fff";
  context.fillRect(Math.min(canvas.width - 3, at * canvas.width), 0, 3, canvas.height);
}

function go() {
  draw();
  if (!film.paused) requestAnimationFrame(go);
}

play.addEventListener("click", () => (film.paused ? film.play().catch((error) => say(error.message)) : film.pause()));
film.addEventListener("play", () => {
  play.textContent = "Pause";
  go();
});
film.addEventListener("pause", () => (play.textContent = "Play"));
for (const event of ["loadeddata", "seeked"]) film.addEventListener(event, draw);
time.addEventListener("input", () => (film.currentTime = Number(time.value) * film.duration));
document.getElementById("volume").addEventListener("input", (event) => (film.volume = Number(event.target.value)));

const address = new URL(location.href);
for (const name of ["opacity", "scale"]) {
  controls[name].addEventListener("input", () => {
    address.searchParams.set(name, controls[name].value);
    history.replaceState(null, "", address);
    draw();
  });
}

Promise.all(
  Object.entries(raw).map(async ([name, where]) => {
    const map = await readArray(where, "map");
    let [low, high] = [Infinity, -Infinity];
    for (const value of map.data) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const equal = map.shape.map((count) => Array.from({ length: count }, (_, i) => (i + 0.5) / count));
    maps[name] = { ...map, low, high, centers: centers[name] ?? equal }; // older maps do not say where
  }),
)
  .then(() => {
    section.dataset.ready = "1";
    draw();
  })
  .catch((error) => say(error.message));
