// Which arms are shown, in which order, and what the panel says of one: its settings, and how they differ
// from another's.
const { arms, shared, metric } = JSON.parse(document.getElementById("arms").textContent);
const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const chosen = new Set(arms.flatMap((arm, number) => (arm.shown ? [number] : [])));
const panel = byId("panel");
let opened = null, opener = null;

const found = (number) => {
  const wanted = byId("find").value.trim().toLowerCase();
  return `${arms[number].name} ${arms[number].method}`.toLowerCase().includes(wanted);
};
shows = (number) => chosen.has(number) && found(number);
onPick = (number) => open(number, document.activeElement);

function update() {
  for (const chip of all("[data-toggle]")) {
    const number = Number(chip.dataset.toggle);
    chip.hidden = !found(number);
    chip.setAttribute("aria-pressed", chosen.has(number));
  }
  for (const row of all("tr[data-arm]")) {
    row.hidden = !found(Number(row.dataset.arm));
    row.classList.toggle("off", !chosen.has(Number(row.dataset.arm)));
  }
  for (const figure of all("figure[data-arm]")) figure.hidden = !shows(Number(figure.dataset.arm));
  for (const chip of all(".legend [data-open]"))
    if (!chip.closest("figure").dataset.arm) chip.hidden = !shows(Number(chip.dataset.open));
  const num = arms.filter((_, number) => shows(number)).length;
  byId("count").textContent = `${num} of ${arms.length} arms drawn`;
  drawAll();
}

// Rows and figures of single arms follow the order that was chosen; sorting by a column is for its table.
function reorder() {
  const order = byId("order").value;
  const rank = arms.map((arm, number) => number);
  if (order === "name") rank.sort((a, b) => arms[a].name.localeCompare(arms[b].name, undefined, { numeric: true }));
  if (order === "score") rank.sort((a, b) => (arms[b].score ?? -Infinity) - (arms[a].score ?? -Infinity));
  const place = new Map(rank.map((number, index) => [String(number), index]));
  const by = (a, b) => place.get(a.dataset.arm) - place.get(b.dataset.arm);
  for (const body of all(".sortable tbody")) body.append(...[...body.rows].sort(by));
  for (const head of all("th[aria-sort]")) head.removeAttribute("aria-sort");
  for (const grid of all(".grid")) {
    const own = [...grid.children].filter((figure) => figure.dataset.arm !== undefined);
    if (own.length === grid.children.length) grid.append(...own.sort(by));
  }
}

function element(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function table(heads, rows) {
  const node = element("table", "", { class: "settings" }), top = node.createTHead().insertRow();
  for (const head of heads) top.append(element("th", head));
  const body = node.createTBody();
  for (const [key, ...values] of rows) {
    const row = body.insertRow();
    row.append(element("th", key));
    for (const value of values) row.insertCell().append(element("code", brief(value), { title: value }));
  }
  return node;
}

// As `setting` in templates/parts.html: of a long number six digits.
function brief(value) {
  return /^-?\d+\.\d{6,}(e-?\d+)?$/.test(value) ? String(Number(Number(value).toPrecision(6))) : value;
}

function difference(one, other) {
  const keys = [...new Set([...Object.keys(one.settings), ...Object.keys(other.settings)])];
  const rows = keys.map((key) => [key, one.settings[key] ?? "–", other.settings[key] ?? "–"]);
  return rows.filter(([, a, b]) => a !== b);
}

function open(number, from) {
  const arm = arms[number];
  if (opened === null) opener = from;
  opened = number;
  const title = element("h2", "", { id: "panel-title" }), close = element("button", "close", { type: "button", class: "close" });
  close.addEventListener("click", shut);
  title.append(element("span", arm.name, { class: "chip", style: `--arm:var(--arm${arm.colour})` }), close);
  const score = arm.score === null ? "" : `, ${metric} ${arm.score.toFixed(3)}`;
  const facts = element("p", `${arm.method}, ${arm.seeds.length} seeds${score}`, { class: "note" });
  const label = element("label", "Difference to "), select = element("select", "", { id: "other" });
  arms.forEach((other, index) => { if (index !== number) select.append(element("option", other.name, { value: index })); });
  label.append(select);
  const differing = element("div", "", { id: "difference" });
  const compare = () => {
    const other = arms[Number(select.value)];
    const rows = other ? difference(arm, other) : [];
    differing.replaceChildren(rows.length ? table(["", arm.name, other.name], rows) : element("p", "No setting differs."));
  };
  select.addEventListener("change", compare);
  compare();
  const details = element("details", ""), every = Object.entries({ ...shared, ...arm.settings }).sort();
  details.append(element("summary", "All settings"), table(["", arm.name], every));
  panel.replaceChildren(title, facts, ...(arms.length > 1 ? [label, differing] : []), details);
  panel.hidden = false;
  panel.focus();
}

function shut() {
  panel.hidden = true;
  opened = null;
  if (opener && opener.isConnected) opener.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.open !== undefined) open(Number(button.dataset.open), button);
  if (button.dataset.toggle !== undefined) {
    const number = Number(button.dataset.toggle);
    chosen.has(number) ? chosen.delete(number) : chosen.add(number);
    update();
  }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !panel.hidden) shut(); });
byId("find").addEventListener("input", update);
byId("order").addEventListener("change", reorder);
byId("all").addEventListener("click", () => { arms.forEach((_, number) => chosen.add(number)); update(); });
byId("none").addEventListener("click", () => { chosen.clear(); update(); });
update();
