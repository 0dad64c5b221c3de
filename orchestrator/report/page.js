"use strict";
// Paints the figures: replaces colour tokens such as "@arm0" or "@ink/0.1" by the page's own colours, and
// leaves out the traces of arms that are not shown.  What is shown is decided in arms.js.  Then what every
// page can do: another theme, tables that sort, printing.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const zooms = window.matchMedia("(pointer: fine)"); // a finger that drags wants to scroll
const EAGER = 60; // plots that are drawn at once; of more, those that come into sight
const drawn = new Set();
let shows = () => true; // whether arm number i is shown
let printing = false;
let onPick = () => {}; // told the number of the arm whose curve was clicked

function paint(value) {
  if (Array.isArray(value)) return typeof value.at(-1) === "number" ? value : value.map(paint);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, paint(inner)]));
  if (typeof value !== "string" || !/^@\w+(\/[\d.]+)?$/.test(value)) return value;
  const [token, opacity] = value.slice(1).split("/");
  const hex = getComputedStyle(document.documentElement).getPropertyValue("--" + token).trim();
  const channels = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return `rgba(${channels.join(",")},${opacity || 1})`;
}

function axes(layout) {
  for (const [key, axis] of Object.entries(layout)) if (/^[xy]axis/.test(key)) axis.fixedrange = !zooms.matches;
  return layout;
}

function draw(id) {
  const place = document.getElementById(id), figure = figures[id], owner = place.closest("figure").dataset.arm;
  if (owner !== undefined && !shows(Number(owner))) return;
  const data = figure.data.filter((trace) => !(trace.meta || []).length || trace.meta.some(shows));
  const size = printing ? { width: place.clientWidth, height: place.clientHeight } : {}; // it cannot follow the paper
  Plotly.react(id, paint(data), { ...axes(paint(figure.layout)), ...size }, { responsive: true, displayModeBar: false });
  if (!drawn.has(id)) place.on("plotly_click", (event) => pick(place, event));
  drawn.add(id);
}

// A hover over all curves at once gives all their points: the one nearest to the pointer is meant.
function pick(place, event) {
  const far = (point) => {
    if (!event.event || !point.yaxis) return 0;
    const top = place.getBoundingClientRect().top + point.yaxis._offset;
    return Math.abs(event.event.clientY - top - point.yaxis.d2p(point.y));
  };
  const points = event.points.filter((point) => (point.data.meta || []).length);
  const owner = place.closest("figure").dataset.arm;
  if (points.length) onPick(points.reduce((a, b) => (far(b) < far(a) ? b : a)).data.meta[0]);
  else if (owner !== undefined) onPick(Number(owner));
}

const watch = new IntersectionObserver(
  (entries) => {
    for (const entry of entries)
      if (entry.isIntersecting && !drawn.has(entry.target.id)) draw(entry.target.id);
  },
  { rootMargin: "600px" },
);

// Everything that may be seen; plots far below wait until they are scrolled to.
function drawAll() {
  const ids = Object.keys(figures).filter((id) => {
    const owner = document.getElementById(id).closest("figure").dataset.arm;
    return owner === undefined || shows(Number(owner));
  });
  for (const id of ids) {
    if (ids.length <= EAGER || drawn.has(id)) draw(id);
    else watch.observe(document.getElementById(id));
  }
}

function print(before) {
  const root = document.documentElement;
  printing = before;
  root.classList.toggle("printing", before);
  if (before) {
    root.dataset.screen = root.dataset.theme || "";
    root.dataset.theme = "light";
  } else if (root.dataset.screen) root.dataset.theme = root.dataset.screen;
  else delete root.dataset.theme;
  drawAll();
}

dark.addEventListener("change", drawAll);
window.addEventListener("beforeprint", () => print(true));
window.addEventListener("afterprint", () => print(false));

function sortBy(head) {
  const column = head.cellIndex, body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[column], key = cell.dataset.value;
    return key === undefined ? cell.textContent.trim() : key === "inf" ? Infinity : Number(key);
  };
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what is not known stands last
    const sign = typeof x === "number" ? Math.sign(x - y) || 0 : x.localeCompare(y, undefined, { numeric: true });
    return down ? -sign : sign;
  };
  body.append(...[...body.rows].sort(compare));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.sort");
  if (button) sortBy(button.closest("th"));
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement, now = root.dataset.theme || (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  drawAll();
});
