// The browser of samples: what is chosen above is listed below.  Every text is set as text, never as HTML.
const samples = JSON.parse(byId("samples").textContent);
const MOST_LISTED = 60;

function sampleTurn(text, isReply) {
  return element("div", text, { class: isReply ? "turn reply" : "turn", dir: "auto" });
}

// Turn after turn, each token in the shade of its entropy; a reply of the task has none.
function sampleTokens(sample, most) {
  const turns = [];
  sample.tokens.forEach((text, index) => {
    const turn = sample.of[index], entropy = sample.entropies[index];
    if (!turns.length || turns.at(-1).of !== turn) turns.push({ of: turn, node: sampleTurn("", turn === 0) });
    const token = element("span", text);
    if (entropy !== null) {
      token.style.setProperty("--share", `${Math.round(Math.min(1, entropy / most) * 85)}%`);
      token.title = `${JSON.stringify(text)}: entropy ${entropy.toFixed(3)} nats`;
    }
    turns.at(-1).node.append(token);
  });
  return turns.map((turn) => turn.node);
}

function sampleCard(sample, most, coloured) {
  const arm = arms[sample.arm], card = element("article", "", { class: "sample" });
  const head = element("p", "", { class: "sample-head" });
  const grade = element("b", sample.right ? "right" : "wrong", { class: sample.right ? "right" : "wrong" });
  const cut = sample.finished ? "" : ", cut at the limit";
  const facts = `${sample.domain}, reward ${sample.reward ?? "–"}, ${sample.length} tokens${cut}`;
  head.append(element("span", arm.name, { class: "chip", style: `--arm:var(--arm${arm.colour})` }), grade, element("span", facts));
  const said = element("div", "", { class: coloured ? "said coloured" : "said" });
  const byToken = coloured && sample.tokens.length;
  said.append(...(byToken ? sampleTokens(sample, most) : sample.turns.map((text, index) => sampleTurn(text, index % 2 === 1))));
  card.append(head, element("div", sample.prompt, { class: "prompt", dir: "auto" }), said);
  if (sample.answer) card.append(element("p", `answer: ${sample.answer}`, { class: "answer", dir: "auto" }));
  return card;
}

if (samples.length) {
  const times = [...new Set(samples.map((sample) => sample.iteration))].sort((a, b) => a - b);
  const most = samples.reduce((top, sample) => sample.entropies.reduce((a, b) => Math.max(a, b ?? 0), top), 0) || 1;
  byId("sample-most").textContent = most.toPrecision(2);
  const list = () => {
    const iteration = times[Number(byId("sample-time").value)];
    const wanted = (key, value) => byId(`sample-${key}`).value === "" || byId(`sample-${key}`).value === String(value);
    const found = samples.filter(
      (sample) =>
        sample.iteration === iteration &&
        wanted("arm", sample.arm) && wanted("domain", sample.domain) && wanted("right", sample.right),
    );
    byId("sample-iteration").textContent = iteration;
    byId("sample-count").textContent = `${Math.min(found.length, MOST_LISTED)} of ${found.length} samples`;
    const coloured = byId("sample-colours").checked;
    byId("sample-list").replaceChildren(...found.slice(0, MOST_LISTED).map((sample) => sampleCard(sample, most, coloured)));
  };
  for (const input of all("#sample-tools input, #sample-tools select")) input.addEventListener("input", list);
  list();
}
