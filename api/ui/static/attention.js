// A clip's maps over its frames and its sound, in step with the film that both are taken from.

import { say } from "./frame.js";
import { readArray } from "./npz.js";

const section = document.getElementById("attention");
const { raw, panes } = JSON.parse(section.dataset.shown);
const film = document.getElementById("film");
const controls = document.getElementById("attention-controls");
const time = document.getElementById("time");
const play = document.getElementById("play");
const maps = {}; // "video/s" -> {shape, data, low, high}

// Dark to bright, even in lightness, so that it reads without color too.
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function heat(value, opacity, pixels, at) {
  const place = Math.min(0.9999, Math.max(0, value)) * (STOPS.length - 1);
  const low = Math.floor(place);
  for (let i = 0; i < 3; i++) pixels[at + i] = STOPS[low][i] + (STOPS[low + 1][i] - STOPS[low][i]) * (place - low);
  pixels[at + 3] = 255 * opacity;
}

// A map's cells as a small picture, to be drawn large and smooth.
function picture(map, slice, height, width, flipped) {
  const [low, high] = controls.scale.value === "own" ? [map.low, map.high] : [0, 1];
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = (slice((flipped ? height - 1 - y : y) * width + x) - low) / (high - low || 1);
      heat(value, Number(controls.opacity.value), image.data, 4 * (y * width + x));
    }
  }
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
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
  const context = ground(canvas, panes.frames);
  if (!map) return;
  const [count, height, width] = map.shape;
  const place = Math.min(count - 1, Math.max(0, at * count - 0.5));
  const [one, share] = [Math.floor(place), place % 1];
  const other = Math.min(one + 1, count - 1);
  const size = height * width;
  const slice = (index) => (1 - share) * map.data[one * size + index] + share * map.data[other * size + index];
  context.drawImage(picture(map, slice, height, width, false), 0, 0, canvas.width, canvas.height);
}

// (F, T), low bands below, and where the sound is now.
function drawSound(canvas, map, at) {
  const context = ground(canvas, panes.sound);
  if (map) {
    const [height, width] = map.shape;
    context.drawImage(picture(map, (index) => map.data[index], height, width, true), 0, 0, canvas.width, canvas.height);
  }
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
    maps[name] = { ...map, low, high };
  }),
)
  .then(() => {
    section.dataset.ready = "1";
    draw();
  })
  .catch((error) => say(error.message));
