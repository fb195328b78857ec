/* The page of `hpo watch`: fetches JSON about once a second, and draws what has changed.
 *
 * Texts from files (labels, names, messages) reach the page as text nodes alone; charts.js escapes what it gives to plotly.
 */
"use strict";
(() => {
  const { make, valueText, settingText, plural, armLook } = hpoCharts.kit;
  const EVERY = 1000, HIDDEN = 10000; // milliseconds between two requests; while the page is not seen
  const SLOWEST = 8; // charts may take one part in so many of the time
  const $ = (id) => document.getElementById(id);
  const STATUS = {
    running: "running", done: "done", "out of time": "time limit reached", interrupted: "interrupted", failed: "failed",
    killed: "killed", silent: "no news", unknown: "not running", lost: "no connection",
  };

  let state = null, study = null, rows = null;
  let shown = { epoch: -1, version: -1, curves: "", place: "", rows: -1 };
  let chosen = null; // [seed, arm] that the user has chosen

  // --- fetching ------------------------------------------------------------------------------------------------------------

  class Lost extends Error {}

  async function get(path) {
    let answer;
    try {
      answer = await fetch(path, { cache: "no-store" });
    } catch (error) {
      throw new Lost(error.message);
    }
    if (!answer.ok) throw new Lost(`${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  let polling = false, again = false;

  async function poll() {
    const before = performance.now();
    polling = true;
    again = false;
    drawing = 0;
    try {
      state = await get("state");
      if (state.epoch !== shown.epoch) {
        shown = { epoch: state.epoch, version: -1, curves: "", place: "", rows: -1 };
        study = rows = chosen = null;
      }
      if (state.version !== shown.version) {
        study = await get("study");
        shown.version = study === null ? -1 : study.version;
      }
      await search();
      await draw();
    } catch (error) {
      if (error instanceof Lost) lost(error);
      else console.error(error);
    }
    polling = false;
    const took = performance.now() - before;
    const pause = again ? 0 : document.hidden ? HIDDEN : state && state.reading ? 50 : Math.max(EVERY - took, SLOWEST * drawing);
    timer = setTimeout(poll, pause);
  }

  /** Fetch the rows of the search that is shown, if they have changed. */
  async function search() {
    if (study === null) return;
    const place = current();
    const key = JSON.stringify(place);
    if (key !== shown.place) { shown.place = key; shown.rows = -1; rows = null; }
    const query = new URLSearchParams({ seed: place[0], arm: place[1], since: shown.rows });
    const found = await get(`rows?${query}`);
    if (found !== null && found.epoch === shown.epoch && found.version !== shown.rows) {
      rows = found.rows ? found : null;
      shown.rows = found.version;
      await drawSearch();
    }
  }

  /** [seed, arm] of the search to show: the chosen one, or the newest. */
  function current() {
    if (chosen !== null && study.study.seeds.includes(chosen[0]) && study.study.arms.includes(chosen[1])) return chosen;
    const running = state.charged.length ? state.charged : null;
    if (running) {
      const seed = running[0].seed, arms = running.filter((one) => one.seed === seed).map((one) => one.arm);
      const last = chosen === null && shown.place ? JSON.parse(shown.place)[1] : null;
      return [seed, arms.includes(last) ? last : arms[arms.length - 1]];
    }
    if (state.best) return [state.best.seed, state.best.arm];
    return [study.study.seeds[0], study.study.arms[0]];
  }

  // --- words ---------------------------------------------------------------------------------------------------------------

  function clock(seconds) {
    const all = Math.max(0, Math.round(seconds)), h = Math.floor(all / 3600), m = Math.floor(all / 60) % 60, s = String(all % 60).padStart(2, "0");
    return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
  }

  function moment(seconds) {
    const found = make("time", { datetime: new Date(seconds * 1000).toISOString() });
    found.textContent = new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
    found.title = new Date(seconds * 1000).toLocaleString();
    return found;
  }

  function text(id, words) {
    if ($(id).textContent !== words) $(id).textContent = words;
  }

  function value(number) {
    return valueText(study.study.metric, number);
  }

  // --- drawing -------------------------------------------------------------------------------------------------------------

  let drawing = 0; // milliseconds that the charts took in this round

  /** Draw a chart, and then let the page react to what came meanwhile. */
  async function timed(work) {
    const before = performance.now();
    work();
    drawing += performance.now() - before;
    await new Promise((done) => setTimeout(done, 0));
  }

  async function draw() {
    drawHead();
    drawWorkers();
    drawNotes();
    if (study === null) return;
    drawVerdict();
    drawArms();
    drawReplicates();
    drawChoice();
    const curves = [...study.curves, ...state.curves];
    const key = JSON.stringify([study.version, state.curves]);
    if (key !== shown.curves) {
      shown.curves = key;
      await timed(() => hpoCharts.incumbents($("curves"), study.study, curves));
    }
  }

  function lost(error) {
    $("status").className = "badge lost";
    text("status", STATUS.lost);
    text("summary", `The server does not answer; is hpo watch still running? (${error.message})`);
  }

  function drawHead() {
    const counts = state.counts, name = study === null ? "hpo watch" : study.study.name;
    text("name", name);
    if (document.title !== name) document.title = name;
    $("status").className = `badge ${state.status}`;
    text("status", STATUS[state.status]);
    const words = [];
    if (state.reading) words.push(`reading: ${plural(state.segments, "segment")} so far`);
    if (study !== null) words.push(`${study.finished.length} of ${plural(study.study.seeds.length, "replicate")} done`);
    if (state.sessions > 1) words.push(`session ${state.sessions}`);
    if (state.status === "silent") words.push(`no news for ${clock(state.now - state.last)}: on another machine, it was killed or computes a long segment itself`);
    if (state.status === "killed") words.push("the process is gone; the same command continues the study");
    if (counts) {
      const since = state.status === "running" ? state.now - counts.time : 0;
      words.push(`${Math.floor(100 * counts.answers / Math.max(1, state.answers))}% of this session's results`, `${clock(counts.elapsed + since)} elapsed`);
      if (state.status === "running") words.push(counts.left === null ? "no estimate yet" : `about ${clock(Math.max(0, counts.left - since))} left`);
    }
    if (state.best && study !== null) {
      const { arms, seeds, metric } = study.study;
      const where = [...(arms.length > 1 ? [state.best.arm] : []), ...(seeds.length > 1 ? [`seed ${state.best.seed}`] : [])];
      words.push(`best ${metric.label} ${value(state.best.value)}${where.length ? ` (${where.join(", ")})` : ""}`);
    }
    text("summary", words.join(" · "));
    $("bar").value = counts ? counts.answers / Math.max(1, state.answers) : study && !study.in_progress ? 1 : 0;
    $("problems").hidden = !state.problems.length && state.status !== "failed";
    text("problems", [...state.problems, ...(state.status === "failed" ? [state.message] : [])].join("\n"));
  }

  function table(id, head, lines) {
    $(id).replaceChildren(
      make("thead", {}, make("tr", {}, ...head.map((title) => make("th", { scope: "col" }, title)))),
      make("tbody", {}, ...lines.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))))));
  }

  function labelled(arm) {
    const mark = make("span", { class: "mark" });
    mark.style.background = armLook(study.study, arm).color;
    return make("span", {}, mark, arm);
  }

  function drawArms() {
    const { arms } = study.study, counts = state.counts;
    const seeds = counts ? state.seeds.length : study.study.seeds.length;
    const function_ = study.study.is_function;
    const head = ["arm", "replicates", function_ ? "trials" : "intervals charged", ...(function_ || !counts ? [] : ["retrained"]), "best so far"];
    const lines = arms.map((arm) => {
      const found = counts ? counts.arms[arm] : study.arms[arm];
      if (!found) return [labelled(arm), `${study.finished.length}/${seeds}`, "–", ...(head.length > 4 ? ["–"] : []), "–"];
      const best = found.best === null ? "–" : value(found.best) + (study.study.seeds.length > 1 ? ` (seed ${found.best_seed})` : "");
      return [labelled(arm), `${found.replicates}/${seeds}`, `${found.charged}/${seeds * study.budget}`, ...(head.length > 4 ? [`${found.retrained}/${found.retrains}`] : []), best];
    });
    table("arms", head, lines);
  }

  function drawVerdict() {
    $("s-verdict").hidden = !study.verdicts.length;
    const key = String(study.version);
    if ($("verdict").dataset.key === key) return;
    $("verdict").dataset.key = key;
    $("verdict").replaceChildren(...study.verdicts.map((one) => make("p", {}, make("strong", {}, one.title), one.words.join(" "))));
  }

  function drawWorkers() {
    const jobs = state.counts ? state.counts.running : [], kinds = { search: "trains", retraining: "retrains", test: "tests", checkpoint: "restores" };
    const lines = jobs.slice().sort((a, b) => a.worker - b.worker).map((job) =>
      [job.worker, kinds[job.kind], `seed ${job.seed}`, job.arm, `member ${job.member}`, `interval ${job.interval}`, clock(state.now - job.since)]);
    const running = state.status === "running" || state.status === "silent";
    table("workers", ["worker", "does", "seed", "arm", "member", "interval", "since"], running ? lines.map((cells) => cells.map(String)) : []);
    $("workers").hidden = !running || !lines.length;
    const more = running && state.counts ? state.counts.in_flight - lines.length : 0;
    text("idle", more > 0 ? `and ${more} more` : running && lines.length ? "" : running ? "No job is running." : "No worker is running.");
  }

  function drawReplicates() {
    const done = new Map(study.finished.map((one) => [one.seed, one.tests])), open = new Map();
    for (const one of state.charged) open.set(`${one.seed} ${one.arm}`, one.rows);
    const key = JSON.stringify([study.version, state.charged, shown.place]);
    if ($("replicates").dataset.key === key) return;
    $("replicates").dataset.key = key;
    const place = shown.place ? JSON.parse(shown.place) : [];
    const cell = (seed, arm) => {
      const rows_ = open.get(`${seed} ${arm}`);
      const words = done.has(seed) ? valueText(study.scored, done.get(seed)[arm]) : rows_ === undefined ? "–" : `${Math.floor(100 * Math.min(1, rows_ / study.budget))}% done`;
      const found = make("button", { type: "button", class: "cell", "aria-pressed": String(place[0] === seed && place[1] === arm), "aria-label": `show seed ${seed}, ${arm}: ${words}` }, words);
      found.addEventListener("click", () => { choose(seed, arm); $("h-search").scrollIntoView(); });
      return found;
    };
    text("h-replicates", `Replicates: ${study.score}`);
    const begun = (seed) => done.has(seed) || study.study.arms.some((arm) => open.has(`${seed} ${arm}`));
    const seeds = study.study.seeds.filter(begun);
    const focused = document.activeElement && document.activeElement.getAttribute("aria-label");
    table("replicates", ["seed", ...study.study.arms], seeds.slice(0, 500).map((seed) => [String(seed), ...study.study.arms.map((arm) => cell(seed, arm))]));
    if (focused) [...$("replicates").querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus({ preventScroll: true });
  }

  function drawNotes() {
    $("s-warnings").hidden = !state.warnings.length;
    lines("warnings", state.warnings);
    lines("log", state.log);
  }

  function lines(id, entries) {
    const key = JSON.stringify(entries);
    if ($(id).dataset.key === key) return;
    $(id).dataset.key = key;
    $(id).replaceChildren(...entries.map((entry) => make("li", {}, moment(entry.time), entry.text)));
    $(id).scrollTop = $(id).scrollHeight;
  }

  async function drawSearch() {
    const none = rows === null || !rows.rows.member.length;
    $("nothing").hidden = !none;
    $("search").hidden = none;
    if (none) return;
    const marked = rows.rows.best.some((one) => one === 1), trials = study.study.is_function, { steps } = rows;
    $("s-lineage").hidden = $("schedule").hidden = trials;
    $("setting").parentElement.hidden = !trials;
    text("h-members", trials ? "Trials" : "Members");
    text("h-schedule", (trials ? "Hyperparameters" : "Schedule") + (marked ? " of the answer" : " of the best so far"));
    if (trials) {
      table("setting", ["hyperparameter", "value"], steps.length ? Object.entries(steps[0].hparams).map(([name, one]) => [name, settingText(one)]) : []);
    } else {
      await timed(() => hpoCharts.lineage($("lineage"), study.study, rows.rows));
      await timed(() => hpoCharts.schedule($("schedule"), study.study, steps.length ? [{ seed: rows.seed, arm: rows.arm, steps }] : []));
    }
    await timed(() => hpoCharts.members($("members"), study.study, rows.rows));
  }

  // --- choosing a search ---------------------------------------------------------------------------------------------------

  function options(control, values) {
    if ([...control.options].map((one) => one.value).join("\n") === values.join("\n")) return;
    control.replaceChildren(...values.map((one) => make("option", { value: one }, one)));
  }

  function drawChoice() {
    options($("seed"), study.study.seeds.map(String));
    options($("arm"), study.study.arms);
    const place = shown.place ? JSON.parse(shown.place) : null;
    if (place && document.activeElement !== $("seed")) $("seed").value = String(place[0]);
    if (place && document.activeElement !== $("arm")) $("arm").value = place[1];
    $("follow").checked = chosen === null;
    text("picked", rows === null ? "" : `${plural(rows.rows.member.length, study.study.is_function ? "trial" : "segment")} shown`);
  }

  function choose(seed, arm) {
    chosen = [seed, arm];
    now();
  }

  let timer = 0;

  /** Fetch at once, or as soon as what is under way has ended. */
  function now() {
    again = true;
    if (polling) return;
    clearTimeout(timer);
    timer = setTimeout(poll, 0);
  }

  for (const id of ["seed", "arm"]) $(id).addEventListener("change", () => choose(Number($("seed").value), $("arm").value));
  $("follow").addEventListener("change", () => { chosen = $("follow").checked || !shown.place ? null : JSON.parse(shown.place); now(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) now(); });
  poll();
})();
