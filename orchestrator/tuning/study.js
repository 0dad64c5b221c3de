"use strict";
// Paints the figures: replaces colour tokens such as "@arm0" or "@ink" by the page's own colours.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function paint(value) {
  if (Array.isArray(value)) return value.map(paint);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, paint(inner)]));
  if (typeof value !== "string" || !/^@\w+$/.test(value)) return value;
  return getComputedStyle(document.documentElement).getPropertyValue("--" + value.slice(1)).trim();
}

function draw() {
  for (const [id, figure] of Object.entries(figures))
    Plotly.react(id, paint(figure.data), paint(figure.layout), { responsive: true, displayModeBar: false });
}

draw();
dark.addEventListener("change", draw);
