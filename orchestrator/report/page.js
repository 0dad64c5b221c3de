"use strict";
// Paints the figures: replaces colour tokens such as "@arm0" or "@ink/0.1" by the page's own colours.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function paint(value) {
  if (Array.isArray(value)) return value.map(paint);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, paint(inner)]));
  if (typeof value !== "string" || !/^@\w+(\/[\d.]+)?$/.test(value)) return value;
  const [token, opacity] = value.slice(1).split("/");
  const hex = getComputedStyle(document.documentElement).getPropertyValue("--" + token).trim();
  const channels = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return `rgba(${channels.join(",")},${opacity || 1})`;
}

function draw() {
  for (const [id, figure] of Object.entries(figures))
    Plotly.react(id, paint(figure.data), paint(figure.layout), { responsive: true, displayModeBar: false });
}

draw();
dark.addEventListener("change", draw);
window.addEventListener("beforeprint", draw);
window.addEventListener("afterprint", draw);
