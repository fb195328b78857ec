/* The report's page: unpacks plotly.js and the data, draws the charts that come into view, and filters them by arm and seed. */
"use strict";
(async () => {
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const { make } = hpoCharts.kit;

  /** The text of an embedded block: gzip in base64. */
  async function unpacked(id) {
    const text = atob(document.getElementById(`hpo-${id}`).textContent), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const packs = new Map();
  function data(id) {
    if (!packs.has(id)) packs.set(id, unpacked(id).then(JSON.parse));
    return packs.get(id);
  }

  if (typeof DecompressionStream === "undefined") {
    for (const figure of figures) figure.querySelector(".chart").textContent = "This browser is too old for the charts. The folder figures/ has them as pictures.";
    return;
  }
  const plotly = make("script");
  plotly.textContent = await unpacked("plotly");
  document.head.append(plotly);
  const page = await data("page"), { study } = page;
  const state = { arms: new Set(study.arms), seed: null };
  const shownSeed = () => state.seed ?? page.best.seed;

  // --- the charts ----------------------------------------------------------------------------------------------------------

  const chosen = (list) => list.filter((one) => state.arms.has(one.arm) && (state.seed === null || one.seed === state.seed));
  const compared = () => page.comparisons.filter((one) => state.arms.has(one.arm));
  const whole = {
    pairs: (el) => hpoCharts.pairs(el, study, page.pairs.map((pair) => ({ seed: pair.seed, values: Object.fromEntries(Object.entries(pair.values).filter(([arm]) => state.arms.has(arm))) })), { seed: state.seed }),
    differences: (el) => hpoCharts.differences(el, study, compared(), { seed: state.seed }),
    incumbent: (el) => hpoCharts.incumbents(el, study, chosen(page.curves)),
    bands: (el) => hpoCharts.bands(el, study, compared()),
    anytime: (el) => hpoCharts.anytime(el, study, compared()),
    schedule: (el) => {
      const of = el.parentElement.querySelector(":scope > .hpo-note") || make("p", { class: "hpo-note" });
      of.textContent = `Seed ${shownSeed()}${shownSeed() === page.best.seed ? ", that of the best answer" : ""}.`;
      el.before(of);
      hpoCharts.schedule(el, study, page.schedules.filter((one) => state.arms.has(one.arm) && one.seed === shownSeed()));
    },
  };
  const perArm = {
    lineage: (el, rows) => hpoCharts.lineage(el, study, rows),
    members: (el, rows) => hpoCharts.members(el, study, rows),
    hparams: (el, rows) => hpoCharts.hparams(el, study, rows),
  };

  /** Draw a chart of one arm in one replicate. */
  async function drawArm(block, name, arm) {
    const seed = shownSeed(), rows = (await data(`rows-${seed}`))[arm], title = block.firstChild;
    title.textContent = `${arm}, seed ${seed}${seed === page.best.seed && arm === page.best.arm ? " (the best answer)" : ""}`;
    const body = block.lastChild;
    if (!rows) body.replaceChildren("segments.csv has no rows of it.");
    else {
      if (!body.firstElementChild || !body.firstElementChild.matches(".slot")) body.replaceChildren(make("div", { class: "slot" }));
      perArm[name](body.firstElementChild, rows);
      if (name !== "lineage" && rows.part && !body.querySelector(":scope > .hpo-note")) body.append(make("p", { class: "hpo-note" }, `Shown: ${rows.part}.`));
    }
  }

  /** Optuna's figures of an arm, in the page's colours. */
  async function drawOptuna(block, arm) {
    const found = await data(`optuna-${study.arms.indexOf(arm)}`);
    block.firstChild.textContent = arm;
    const body = block.lastChild;
    if (!body.children.length) body.append(...found.map(() => make("div", {}, make("div"), make("p", { class: "hpo-note" }))));
    found.forEach(({ figure, words, name }, k) => {
      const [el, note] = body.children[k].children;
      note.textContent = words;
      if (figure) hpoCharts.foreign(el, figure, `${name.replaceAll("_", " ")}: ${words}`);
    });
  }

  // --- what is in view -----------------------------------------------------------------------------------------------------

  const stale = new Map(); // an element, and what draws it
  const seen = new IntersectionObserver((entries) => entries.forEach(({ isIntersecting, target }) => { if (isIntersecting) refresh(target); }), { rootMargin: "300px" });

  function refresh(el) {
    const job = stale.get(el);
    stale.delete(el);
    return job ? Promise.resolve(job()).then(() => el.setAttribute("data-drawn", "")) : undefined;
  }

  /** Draw what is out of view when there is time: printing and the tab key find everything. */
  async function rest() {
    const next = [...stale.keys()].find((el) => el.offsetParent);
    waits = next !== undefined;
    if (!waits) return;
    await refresh(next);
    later(rest);
  }
  let waits = false;
  const later = window.requestIdleCallback || ((job) => setTimeout(job, 50));

  /** Draw an element again when it comes into view. */
  function due(el, job) {
    el.removeAttribute("data-drawn");
    stale.set(el, job);
    seen.unobserve(el);
    seen.observe(el);
  }

  function update() {
    for (const figure of figures) {
      const name = figure.dataset.chart, chart = figure.querySelector(".chart");
      if (name in whole) {
        due(chart, () => whole[name](chart));
        continue;
      }
      const blocks = new Map([...chart.children].map((block) => [block.dataset.arm, block]));
      chart.replaceChildren(...study.arms.filter((arm) => state.arms.has(arm)).map((arm) => {
        const block = blocks.get(arm) || make("div", { class: "arm", "data-arm": arm }, make("h4", {}, arm), make("div"));
        due(block, () => name === "optuna" ? drawOptuna(block, arm) : drawArm(block, name, arm));
        return block;
      }));
    }
    if (!waits) {
      waits = true;
      later(rest);
    }
  }

  window.addEventListener("beforeprint", () => [...stale.keys()].filter((el) => el.offsetParent).forEach(refresh));

  // --- the control ---------------------------------------------------------------------------------------------------------

  function control() {
    const seeds = make("select", { id: "hpo-seed" }, make("option", { value: "" }, "all"), ...page.pairs.map(({ seed }) => make("option", { value: seed }, seed)));
    seeds.addEventListener("change", () => { state.seed = seeds.value === "" ? null : Number(seeds.value); update(); });
    const arms = study.arms.map((arm) => {
      const box = make("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => {
        if (box.checked) state.arms.add(arm);
        else state.arms.delete(arm);
        update();
      });
      return make("label", {}, box, arm);
    });
    const bar = make("div", { class: "hpo-controls filter", role: "group", "aria-label": "What the charts show" });
    if (study.arms.length > 1) bar.append(...arms);
    if (page.pairs.length > 1) bar.append(make("label", {}, "seed", seeds));
    return bar;
  }

  const top = figures[0];
  if (top && page.pairs.length) top.before(control());
  update();
  document.documentElement.setAttribute("data-ready", "");
})();
