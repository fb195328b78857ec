/* Charts of studies, drawn with plotly.js, which the page has loaded as `Plotly`. Plain script: one global, `hpoCharts`.
 *
 * The report embeds the data; `hpo watch` fetches them. hpo/report/charts.py makes both: `study` and `rows` have the form that it
 * describes. Each function draws into an element, and updates it when called again. Labels and names are hostile: they become
 * text nodes, or go through `escape` where plotly would read markup. Points are drawn as SVG: WebGL in plotly needs `eval`, which
 * the pages forbid, and does not print.
 */
"use strict";
var hpoCharts = (() => {
  const NONE = "–";
  const DASHES = ["solid", "dash", "dashdot", "dot"];
  const LIGHT = {
    ink: "#222222", soft: "#5c6670", rule: "#e6e8eb", faint: "#c9ced4", paper: "#ffffff", member: "#7d96ad", best: "#7a1fa2",
    copy: "#d55e00", picked: "#111111", colours: ["#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#000000"],
  };
  const DARK = {
    ink: "#e4e7eb", soft: "#a3adb8", rule: "#2c333b", faint: "#57616c", paper: "#16191d", member: "#7d96ad", best: "#d3a4f4",
    copy: "#f08a4b", picked: "#ffffff", colours: ["#56b4e9", "#f08a4b", "#3fbf95", "#f0c05a", "#a5c8ff", "#e4e7eb"],
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 640px)");
  const touch = window.matchMedia("(pointer: coarse)");
  let printing = false;

  /** The colours in use; paper is always light. */
  function theme() {
    return dark.matches && !printing ? { ...DARK, dark: true } : { ...LIGHT, dark: false };
  }

  // --- text ----------------------------------------------------------------------------------------------------------------

  /** Text that plotly shows as it is: it reads some HTML in labels. */
  function escape(text) {
    return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }

  /** An element with attributes and children; strings become text. */
  function make(tag, attributes = {}, ...children) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...children.map((child) => (child instanceof Node ? child : String(child))));
    return found;
  }

  function significant(value, digits = 4) {
    return String(Number(value.toPrecision(digits))).replace("-", "−");
  }

  /** A metric's value as a number to plot: rates as percent. */
  function shown(metric, value) {
    return value === null || value === undefined ? null : metric.offset + metric.scale * value;
  }

  /** A metric's value with its unit. */
  function valueText(metric, value, extra = 0) {
    const number = shown(metric, value);
    if (number === null) return NONE;
    const text = metric.digits === null ? significant(number, 4 + extra) : number.toFixed(metric.digits + extra).replace("-", "−");
    return metric.unit ? `${text}\u202f${metric.unit}` : text;
  }

  function axisTitle(metric) {
    return metric.unit ? `${metric.label} (${metric.unit})` : metric.label;
  }

  function settingText(value) {
    return value === null || value === undefined ? NONE : typeof value === "number" ? significant(value) : String(value);
  }

  /** The training time at the end of an interval, in the task's unit. */
  function time(study, interval) {
    return Number(((interval + 1) * study.interval).toPrecision(12));
  }

  function plural(count, noun) {
    return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  }

  // --- drawing -------------------------------------------------------------------------------------------------------------

  const drawn = new Set();

  /** Draw traces into an element, as an image with a summary for readers who do not see it. */
  function draw(el, summary, traces, layout, again) {
    const t = theme();
    const axis = {
      color: t.soft, gridcolor: t.rule, zeroline: false, linecolor: t.faint, automargin: true, title: { font: { size: 12 }, standoff: 8 },
    };
    const axes = {};
    for (const name of ["xaxis", "yaxis"]) {
      const { text, ...own } = layout[name] || {};
      axes[name] = { ...axis, ...own, title: { ...axis.title, ...(text === undefined ? own.title : { text: escape(text) }) } };
    }
    el.classList.add("hpo-plot");
    el.setAttribute("role", "img");
    el.setAttribute("aria-label", summary);
    const whole = {
      height: 360, margin: { l: 56, r: 16, t: 34, b: 44 }, hovermode: "closest", hoverlabel: { align: "left", font: { size: 12 } },
      dragmode: touch.matches ? false : "zoom",
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } }, ...layout, ...axes,
      autosize: !printing, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: t.ink },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: t.soft, activecolor: t.ink, orientation: "h" },
    };
    if (printing) whole.width = 670;
    const config = {
      responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg" }, scrollZoom: false, displayModeBar: "hover",
    };
    Plotly.react(el, traces, whole, config);
    el.hpoAgain = again;
    drawn.add(el);
  }

  /** Draw everything again that is still on the page, as after a change of theme. */
  function redraw() {
    for (const el of [...drawn]) {
      if (el.isConnected) el.hpoAgain();
      else drawn.delete(el);
    }
  }
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => { printing = true; redraw(); });
  window.addEventListener("afterprint", () => { printing = false; redraw(); });

  /** Return the element's n first child plots, in a grid; others are removed. */
  function panels(el, count) {
    el.classList.add("hpo-panels");
    while (el.children.length > count) { Plotly.purge(el.lastChild); el.lastChild.remove(); }
    while (el.children.length < count) el.append(make("div"));
    return [...el.children];
  }

  function armLook(study, label) {
    const at = Math.max(0, study.arms.indexOf(label)), { colours } = theme();
    return { color: colours[at % colours.length], dash: DASHES[Math.floor(at / colours.length) % DASHES.length] };
  }

  // --- scales --------------------------------------------------------------------------------------------------------------

  function finite(values) {
    return values.filter((value) => typeof value === "number" && Number.isFinite(value));
  }

  function quantile(sorted, share) {
    const at = share * (sorted.length - 1), low = Math.floor(at);
    return sorted[low] + (at - low) * (sorted[Math.ceil(at)] - sorted[low]);
  }

  /** A logarithmic axis between two powers of ten. */
  function logAxis(low, high, margin) {
    const ticks = high - low > 3 ? {} : { dtick: high - low > 1 ? "D2" : "D1", minorloglabels: "complete" };
    return { type: "log", range: [low - margin, high + margin], tickformat: "~g", ...ticks };
  }

  /** The axis of a metric: logarithmic where a small one is good and values differ by much; without what is absurdly far out. */
  function metricAxis(metric, values) {
    const sorted = finite(values).sort((a, b) => a - b);
    const axis = { text: axisTitle(metric) };
    if (!sorted.length) return axis;
    const low = sorted[0], high = sorted[sorted.length - 1];
    const log = !metric.maximize && low > 0 && high > 3 * low;
    if (log) return { ...axis, ...logAxis(Math.log10(low), Math.log10(high), 0.05) };
    const reach = metric.unit === "%" ? Infinity : 8 * (quantile(sorted, 0.75) - quantile(sorted, 0.25)) || Infinity;
    const bottom = Math.max(low, quantile(sorted, 0.25) - reach), top = Math.min(high, quantile(sorted, 0.75) + reach);
    const margin = 0.04 * (top - bottom) || 0.05 * Math.abs(top) || 1;
    return { ...axis, range: [bottom - margin, top + margin] };
  }

  /** The worst end of an axis that `metricAxis` made, a little inside. */
  function worstEnd(metric, axis) {
    if (!axis.range) return 0;
    const [low, high] = axis.range, end = metric.maximize ? low + 0.02 * (high - low) : high - 0.02 * (high - low);
    return axis.type === "log" ? 10 ** end : end;
  }

  /** The axis of a hyperparameter, with its whole range in view. */
  function settingAxis(study, name) {
    const found = study.space[name] || { log: false, choices: null, low: null, high: null };
    if (found.choices) {
      const text = found.choices.map((choice) => escape(choice.length > 16 ? choice.slice(0, 15) + "…" : choice));
      return { text: name, tickvals: text.map((_, i) => i), ticktext: text, range: [-0.4, text.length - 0.6] };
    }
    if (found.low === null || found.low === undefined) return { text: name };
    if (found.log) {
      const low = Math.log10(found.low), high = Math.log10(found.high);
      return { text: `${name} (log)`, ...logAxis(low, high, 0.06 * (high - low)) };
    }
    const margin = 0.06 * (found.high - found.low);
    return { text: name, range: [found.low - margin, found.high + margin] };
  }

  /** Where a hyperparameter's value is on that axis. */
  function height(study, name, value) {
    const choices = (study.space[name] || {}).choices;
    if (!choices) return typeof value === "number" ? value : null;
    const at = choices.indexOf(String(value));
    return at < 0 ? null : at;
  }

  // --- rows ----------------------------------------------------------------------------------------------------------------

  function values(study, rows) {
    return rows.metrics[study.metric.name] || [];
  }

  /** The rows from a root to row `at`, in this order. */
  function path(rows, at) {
    const found = [];
    for (let i = at; i !== null && i !== undefined; i = rows.origin[i]) found.push(i);
    return found.reverse();
  }

  /** Whether row i started from another member's checkpoint. */
  function isCopy(rows, i) {
    const from = rows.origin[i];
    return rows.parent[i] !== null && (rows.parent[i] !== rows.member[i] || (from !== null && rows.member[from] !== rows.member[i]));
  }

  /** Whether weights were shrunk and perturbed before row i. */
  function isShrunk(rows, i) {
    return Boolean((rows.transform || [])[i]);
  }

  /** The row of the answer; while a search runs, the best row so far; null without any. */
  function answer(study, rows) {
    const value = values(study, rows);
    let found = null;
    const marked = rows.best.some((best) => best === 1);
    rows.member.forEach((_, i) => {
      if (marked ? rows.best[i] !== 1 : value[i] === null) return;
      const better = found === null || (marked ? rows.interval[i] > rows.interval[found]
        : study.metric.maximize ? value[i] > value[found] : value[i] < value[found]);
      if (better) found = i;
    });
    return found;
  }

  function pointText(study, rows, i) {
    const at = study.is_function ? `trial ${rows.member[i] + 1}`
      : `member ${rows.member[i]}, interval ${rows.interval[i]} (${time(study, rows.interval[i])} ${study.unit})`;
    const lines = [at, `${study.metric.label} ${rows.diverged[i] ? "diverged" : valueText(study.metric, values(study, rows)[i])}`];
    if (isCopy(rows, i)) lines.push(`copied from member ${rows.parent[i]}`);
    if (isShrunk(rows, i)) lines.push(`weights before it: ${rows.transform[i]}`);
    for (const name of Object.keys(rows.hparams)) {
      if (rows.hparams[name][i] !== null) lines.push(`${name} ${settingText(rows.hparams[name][i])}`);
    }
    return lines.map(escape).join("<br>");
  }

  /** All members' lines as one trace, broken between members: y of row i is `of(i)`. */
  function slots(study, rows, of) {
    const order = rows.member.map((_, i) => i).sort((a, b) => rows.member[a] - rows.member[b] || rows.interval[a] - rows.interval[b]);
    const x = [], y = [], hovertext = [];
    order.forEach((i, k) => {
      if (k && rows.member[order[k - 1]] !== rows.member[i]) { x.push(null); y.push(null); hovertext.push(""); }
      x.push(time(study, rows.interval[i])); y.push(of(i)); hovertext.push(pointText(study, rows, i));
    });
    return { x, y, hovertext };
  }

  // --- charts --------------------------------------------------------------------------------------------------------------

  /** The best value so far over the budget: a thin line per seed, a thick one for the mean of an arm.
   * curves: [{seed, arm, x, y}], y in the metric's own scale. */
  function incumbents(el, study, curves) {
    const traces = [], said = [], all = [];
    for (const arm of study.arms.filter((label) => curves.some((curve) => curve.arm === label))) {
      const mine = curves.filter((curve) => curve.arm === arm), look = armLook(study, arm);
      const thin = { x: [], y: [], hovertext: [] };
      for (const curve of mine) {
        curve.x.forEach((x, k) => {
          thin.x.push(x); thin.y.push(shown(study.metric, curve.y[k]));
          thin.hovertext.push(escape(`${arm}, seed ${curve.seed}\n${significant(x)} ${study.unit}: ${valueText(study.metric, curve.y[k])}`).replace("\n", "<br>"));
        });
        thin.x.push(null); thin.y.push(null); thin.hovertext.push("");
      }
      all.push(...thin.y);
      const several = mine.length > 1;
      const line = { ...look, width: several ? 1 : 2.4 };
      traces.push({ ...thin, name: escape(arm), legendgroup: arm, mode: "lines", line, opacity: several ? 0.35 : 1, hoverinfo: "text", showlegend: !several });
      const longest = Math.max(...mine.map((curve) => curve.x.length));
      const whole = mine.filter((curve) => curve.x.length === longest); // those of a running search end earlier
      const mean = whole[0].x.map((_, k) => whole.every((curve) => typeof curve.y[k] === "number") ? whole.reduce((sum, curve) => sum + curve.y[k], 0) / whole.length : null);
      if (several) {
        const hovertext = mean.map((value, k) => escape(`${arm}, mean of ${plural(whole.length, "seed")}, ${significant(whole[0].x[k])} ${study.unit}: ${valueText(study.metric, value, 1)}`));
        traces.push({ x: whole[0].x, y: mean.map((value) => shown(study.metric, value)), hovertext, name: escape(arm), legendgroup: arm, mode: "lines", line: { ...look, width: 3 }, hoverinfo: "text" });
      }
      said.push(`${arm} ${valueText(study.metric, mean[mean.length - 1], several ? 1 : 0)}`);
    }
    const seeds = new Set(curves.map((curve) => curve.seed)).size;
    const summary = `Best ${study.metric.label} so far over the budget, ${seeds > 1 ? `mean of ${seeds} seeds` : plural(seeds, "seed")}. At the end: ${said.join(", ") || "nothing yet"}.`;
    const budget = study.is_function ? study.unit : `training charged (${study.unit} per member)`;
    draw(el, summary, traces, { xaxis: { text: budget, rangemode: "tozero" }, yaxis: metricAxis(study.metric, all) }, () => incumbents(el, study, curves));
  }

  /** The metric of every member, or of every trial of a function. A member's line stays in its slot. */
  function members(el, study, rows) {
    const t = theme(), value = values(study, rows), last = answer(study, rows);
    const axis = metricAxis(study.metric, value.map((each) => shown(study.metric, each)));
    const x = (i) => study.is_function ? rows.member[i] + 1 : time(study, rows.interval[i]);
    const traces = [];
    if (study.is_function) {
      const every = rows.member.map((_, i) => i);
      traces.push({ x: every.map(x), y: every.map((i) => shown(study.metric, value[i])), hovertext: every.map((i) => pointText(study, rows, i)), mode: "markers", name: "a trial", marker: { color: t.member, size: 7 }, hoverinfo: "text" });
    } else {
      const every = slots(study, rows, (i) => shown(study.metric, value[i]));
      traces.push({ ...every, mode: "lines+markers", name: "a member's slot", line: { color: t.member, width: 1 }, marker: { size: 3 }, opacity: 0.75, hoverinfo: "text" });
    }
    const best = last === null ? [] : path(rows, last);
    traces.push({ x: best.map(x), y: best.map((i) => shown(study.metric, value[i])), hovertext: best.map((i) => pointText(study, rows, i)), mode: "lines+markers", name: study.is_function ? "best trial" : "best lineage", line: { color: t.best, width: 2.6 }, marker: { size: study.is_function ? 13 : 5, symbol: study.is_function ? "star" : "circle" }, hoverinfo: "text" });
    const fell = rows.member.map((_, i) => i).filter((i) => rows.diverged[i] && (rows.origin[i] === null || !rows.diverged[rows.origin[i]]));
    if (fell.length) traces.push({ x: fell.map(x), y: fell.map(() => worstEnd(study.metric, axis)), hovertext: fell.map((i) => pointText(study, rows, i)), mode: "markers", name: "diverged", marker: { color: t.copy, symbol: "x", size: 8 }, hoverinfo: "text" });
    const shrunk = [...rows.member.keys()].filter((i) => isShrunk(rows, i));
    if (shrunk.length) traces.push({ x: shrunk.map(x), y: shrunk.map((i) => shown(study.metric, value[i])), hovertext: shrunk.map((i) => pointText(study, rows, i)), ...shrunkMark() });
    const count = new Set(rows.member).size;
    const end = last === null ? "" : ` The best, ${study.is_function ? `trial ${rows.member[last] + 1}` : `member ${rows.member[last]}`}, ends at ${valueText(study.metric, value[last])}.`;
    const summary = `${study.metric.label} of ${plural(count, study.is_function ? "trial" : "member")}, ${fell.length} diverged.${end}`;
    draw(el, summary, traces, { xaxis: { text: study.is_function ? "trial" : `training (${study.unit})`, rangemode: "tozero" }, yaxis: axis }, () => members(el, study, rows));
  }

  /** A panel per hyperparameter: its value in every member over time, the best lineage on top. */
  function hparams(el, study, rows) {
    const t = theme(), names = Object.keys(rows.hparams), last = answer(study, rows);
    const best = last === null ? [] : path(rows, last);
    panels(el, names.length).forEach((panel, k) => {
      const name = names[k], of = (i) => height(study, name, rows.hparams[name][i]);
      const every = slots(study, rows, of);
      const x = best.map((i) => time(study, rows.interval[i]));
      const traces = [
        { ...every, mode: "lines+markers", name: "a member's slot", line: { color: t.member, width: 1, shape: "vh" }, marker: { size: 3 }, opacity: 0.7, hoverinfo: "text" },
        { x, y: best.map(of), hovertext: best.map((i) => pointText(study, rows, i)), mode: "lines+markers", name: "best lineage", line: { color: t.best, width: 2.6, shape: "vh" }, marker: { size: 5 }, hoverinfo: "text" },
      ];
      const ends = best.length ? ` The best lineage goes from ${settingText(rows.hparams[name][best[0]])} to ${settingText(rows.hparams[name][last])}.` : "";
      draw(panel, `${name} of ${plural(new Set(rows.member).size, "member")} over time.${ends}`, traces,
        { height: 270, showlegend: k === 0, xaxis: { text: `training (${study.unit})`, rangemode: "tozero" }, yaxis: settingAxis(study, name) }, () => hparams(el, study, rows));
    });
  }

  /** A panel per hyperparameter: the schedule of each answer. schedules: [{seed, arm, steps: [{start, stop, member, hparams,
   * transform}]}]. A mark shows where weights were shrunk. */
  function schedule(el, study, schedules) {
    const names = Object.keys(study.space).filter((name) => schedules.some((one) => one.steps.some((step) => name in step.hparams)));
    panels(el, names.length).forEach((panel, k) => {
      const name = names[k], seen = new Set(), ends = [], marks = { x: [], y: [], hovertext: [] };
      const traces = schedules.map((one) => {
        const x = [], y = [], hovertext = [];
        one.steps.forEach((step, j) => {
          if (j && one.steps[j - 1].stop < step.start) { x.push(null); y.push(null); hovertext.push(""); }
          const text = `${one.arm}, seed ${one.seed}\nfrom ${significant(step.start * study.interval)} to ${significant(step.stop * study.interval)} ${study.unit}, member ${step.member}\n${name} ${settingText(step.hparams[name])}`;
          if (step.transform) {
            marks.x.push(step.start * study.interval); marks.y.push(height(study, name, step.hparams[name]));
            marks.hovertext.push(escape(`${one.arm}, seed ${one.seed}\nat ${significant(step.start * study.interval)} ${study.unit}, weights: ${step.transform}`).replaceAll("\n", "<br>"));
          }
          for (const at of [step.start, step.stop]) {
            x.push(at * study.interval); y.push(height(study, name, step.hparams[name]));
            hovertext.push(escape(text).replaceAll("\n", "<br>"));
          }
        });
        const first = !seen.has(one.arm);
        seen.add(one.arm);
        ends.push(`${one.arm} from ${settingText(one.steps[0].hparams[name])} to ${settingText(one.steps[one.steps.length - 1].hparams[name])}`);
        return { x, y, hovertext, mode: "lines", name: escape(one.arm), legendgroup: one.arm, showlegend: k === 0 && first, line: { ...armLook(study, one.arm), width: 2.4 }, hoverinfo: "text" };
      });
      if (marks.x.length) traces.push({ ...marks, ...shrunkMark(), showlegend: k === 0 });
      draw(panel, `${name} along ${plural(schedules.length, "schedule")}: ${ends.slice(0, 6).join(", ")}${ends.length > 6 ? " and more" : ""}.`, traces,
        { height: 270, showlegend: k === 0, xaxis: { text: `training (${study.unit})`, rangemode: "tozero" }, yaxis: settingAxis(study, name) }, () => schedule(el, study, schedules));
    });
  }

  /** The look of places where weights were shrunk and perturbed. */
  function shrunkMark() {
    const t = theme();
    return { mode: "markers", name: "weights shrunk", marker: { symbol: "triangle-down", size: 10, color: t.ink, line: { color: t.paper, width: 1 } }, hoverinfo: "text" };
  }

  /** Draw a figure that another library made, in the colours of the page. */
  function foreign(el, figure, summary) {
    const t = theme(), layout = { ...figure.layout };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      const title = { ...layout[name].title, font: { size: 12 } };
      layout[name] = { ...layout[name], title, color: t.soft, gridcolor: t.rule, linecolor: t.faint, zeroline: false, automargin: true };
    }
    layout.annotations = (layout.annotations || []).map((one) => ({ ...one, font: { ...one.font, color: t.ink } }));
    const fonts = { labelfont: { color: t.ink }, tickfont: { color: t.ink }, rangefont: { color: t.ink } };
    const traces = figure.data.map((trace) => (trace.type === "parcoords" ? { ...trace, ...fonts } : trace));
    draw(el, summary, traces, layout, () => foreign(el, figure, summary));
  }

  return {
    theme, escape, foreign, incumbents, members, hparams, schedule, redraw,
    // For the other chart files.
    kit: { make, draw, panels, shown, valueText, settingText, significant, axisTitle, time, plural, armLook, finite, quantile, metricAxis, height, values, path, isCopy, isShrunk, answer, pointText, narrow },
  };
})();
