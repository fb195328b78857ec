/* The lineage of a search: a dot per member and interval, an edge to each from the one that it started from.
 *
 * Load it after charts.js. Edges of a kind are one trace, so that thousands of them stay fluid.
 */
"use strict";
hpoCharts.lineage = (() => {
  const { make, draw, shown, valueText, settingText, time, plural, finite, quantile, metricAxis, height, values, path, isCopy, isShrunk, answer, pointText, narrow } = hpoCharts.kit;
  const PICKED = 3, DOTS = 4; // the places of two traces

  /** Draw the lineage with its controls and the table of the selected path.
   * onSelect({member, interval, path}): called when a point is selected; path holds row numbers from the root on. */
  return function lineage(el, study, rows, { onSelect } = {}) {
    const state = el.hpoLineage || (el.hpoLineage = build(el));
    const same = state.rows && state.picked !== null && state.touched ? [state.rows.member[state.picked], state.rows.interval[state.picked]] : null;
    Object.assign(state, { study, rows, onSelect, best: answer(study, rows) });
    state.picked = same ? find(rows, ...same) ?? state.best : state.best;
    options(state.colour, [["", study.metric.label], ...Object.keys(rows.hparams).map((name) => [name, name])]);
    options(state.member, [...new Set(rows.member)].sort((a, b) => a - b).map((m) => [String(m), String(m)]));
    options(state.y, [["slot", "member"], ["value", study.metric.label]]);
    state.note.textContent = rows.part ? `Shown: ${rows.part}. Edges lead to the nearest ancestor that is shown.` : "";
    redraw(state);
  };

  function build(el) {
    const state = { y: make("select"), colour: make("select"), member: make("select"), picked: null, touched: false };
    state.button = make("button", { type: "button" }, "best lineage");
    const labelled = (text, control) => make("label", {}, text, control);
    state.plot = make("div", { tabindex: "0" });
    state.said = make("p", { class: "hpo-said", "aria-live": "polite" });
    state.table = make("div", { class: "hpo-path", tabindex: "0", role: "region", "aria-label": "The path to the root" });
    state.note = make("p", { class: "hpo-note" });
    el.replaceChildren(
      make("div", { class: "hpo-controls" }, labelled("height", state.y), labelled("colour", state.colour), labelled("path of member", state.member), state.button),
      state.plot, state.said, state.table, state.note);
    state.y.addEventListener("change", () => redraw(state));
    state.colour.addEventListener("change", () => redraw(state));
    state.member.addEventListener("change", () => select(state, lastOf(state.rows, Number(state.member.value))));
    state.button.addEventListener("click", () => select(state, state.best));
    state.plot.addEventListener("keydown", (event) => {
      const to = moved(state, event.key);
      if (to === undefined) return;
      event.preventDefault();
      select(state, to);
    });
    return state;
  }

  function options(control, pairs) {
    const before = control.value;
    if (pairs.map(([value]) => value).join("\n") !== [...control.options].map((one) => one.value).join("\n")) {
      control.replaceChildren(...pairs.map(([value, text]) => make("option", { value }, text)));
      if (pairs.some(([value]) => value === before)) control.value = before;
    }
  }

  // --- choosing a point ----------------------------------------------------------------------------------------------------

  function find(rows, member, interval) {
    const at = rows.member.findIndex((m, i) => m === member && rows.interval[i] === interval);
    return at < 0 ? null : at;
  }

  function lastOf(rows, member) {
    let found = null;
    rows.member.forEach((m, i) => { if (m === member && (found === null || rows.interval[i] > rows.interval[found])) found = i; });
    return found;
  }

  /** The row that a key leads to: the one that it started from, the interval after, the member above or below, the root, the
   * member's last one; undefined for other keys. */
  function moved({ rows, picked, best }, key) {
    if (key === "Escape" || picked === null) return key === "Escape" ? best : undefined;
    if (key === "ArrowLeft") return rows.origin[picked] ?? picked;
    if (key === "Home") return path(rows, picked)[0];
    if (key === "End") return lastOf(rows, rows.member[picked]);
    const along = { ArrowRight: 1 }[key], across = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (along === undefined && across === undefined) return undefined;
    const [own, fixed] = along !== undefined ? [rows.interval, rows.member] : [rows.member, rows.interval];
    let found = picked;
    own.forEach((value, i) => {
      const gap = (value - own[picked]) * (along ?? across);
      if (fixed[i] === fixed[picked] && gap > 0 && (found === picked || gap < (own[found] - own[picked]) * (along ?? across))) found = i;
    });
    return found;
  }

  function select(state, at) {
    if (at === null || at === undefined) return;
    state.picked = at;
    state.touched = at !== state.best;
    const { rows, onSelect } = state, found = path(rows, at), place = state.place;
    Plotly.restyle(state.plot, { x: [found.map(place.x)], y: [found.map(place.y)] }, [PICKED]);
    list(state, found);
    if (onSelect) onSelect({ member: rows.member[at], interval: rows.interval[at], path: found });
  }

  /** List the path, a row per interval. */
  function list({ study, rows, picked, best, table, said, member }, found) {
    member.value = String(rows.member[picked]);
    const names = Object.keys(rows.hparams);
    const head = make("tr", {}, ...["interval", study.unit, "member", "started from", ...names, study.metric.label].map((title) => make("th", { scope: "col" }, title)));
    const body = found.map((i) => {
      const from = rows.parent[i] === null ? "initialization" : isCopy(rows, i) ? `copy of member ${rows.parent[i]}` : "itself";
      const changed = isShrunk(rows, i) ? `: ${rows.transform[i]}` : "";
      const cells = [rows.interval[i], time(study, rows.interval[i]), rows.member[i], from + changed, ...names.map((name) => settingText(rows.hparams[name][i])),
        rows.diverged[i] ? "diverged" : valueText(study.metric, values(study, rows)[i])];
      return make("tr", isCopy(rows, i) ? { class: "copy" } : {}, ...cells.map((cell) => make("td", {}, cell)));
    });
    table.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
    const copies = found.filter((i) => isCopy(rows, i)).length;
    const what = picked === best ? "The best lineage: " : "";
    said.textContent = `${what}${study.is_function ? "trial" : "member"} ${rows.member[picked]} at interval ${rows.interval[picked]}, ${study.metric.label} ` +
      `${valueText(study.metric, values(study, rows)[picked])}, after ${copies} ${copies === 1 ? "copy" : "copies"} on the path from its root, member ${rows.member[found[0]]}. ` +
      "Click a dot, or use the arrow keys in the chart, for another path: left goes towards the root.";
  }

  // --- drawing -------------------------------------------------------------------------------------------------------------

  /** Edges into the rows that `wanted` names, as one broken line. */
  function edges(rows, place, wanted) {
    const x = [], y = [];
    rows.origin.forEach((from, i) => {
      if (from === null || !wanted(i)) return;
      x.push(place.x(from), place.x(i), null);
      y.push(place.y(from), place.y(i), null);
    });
    return { x, y };
  }

  function redraw(state) {
    const { study, rows, plot } = state, t = hpoCharts.theme(), value = values(study, rows);
    const bySlot = state.y.value !== "value", count = new Set(rows.member).size;
    const axis = metricAxis(study.metric, value.map((each) => shown(study.metric, each)));
    const place = state.place = { x: (i) => time(study, rows.interval[i]), y: (i) => bySlot ? rows.member[i] : shown(study.metric, value[i]) };
    const all = rows.member.map((_, i) => i), copied = all.filter((i) => isCopy(rows, i));
    const best = state.best === null ? [] : path(rows, state.best), picked = state.picked === null ? [] : path(rows, state.picked);
    const line = (points) => ({ x: points.map(place.x), y: points.map(place.y) });
    const traces = [
      { ...edges(rows, place, (i) => !isCopy(rows, i)), mode: "lines", name: "goes on", line: { color: t.faint, width: 1.2 }, hoverinfo: "skip" },
      { ...edges(rows, place, (i) => isCopy(rows, i)), mode: "lines", name: "copy", line: { color: t.copy, width: 1.4 }, hoverinfo: "skip" },
      { ...line(best), mode: "lines", name: "best lineage", line: { color: t.best, width: 7 }, opacity: 0.45, hoverinfo: "skip" },
      { ...line(picked), mode: "lines", name: "selected path", line: { color: t.picked, width: 2 }, hoverinfo: "skip" },
    ];
    traces[DOTS] = {
      x: all.map(place.x), y: all.map(place.y), mode: "markers", showlegend: false, hoverinfo: "text",
      hovertext: all.map((i) => pointText(study, rows, i)), marker: dots(state, t, count),
    };
    const diverged = rows.diverged.reduce((sum, one) => sum + one, 0);
    const end = state.best === null ? "" : ` The best lineage ends at member ${rows.member[state.best]} with ${valueText(study.metric, value[state.best])} and started at member ${rows.member[best[0]]}.`;
    const summary = `Lineage of ${plural(count, "member")} over ${plural(new Set(rows.interval).size, "interval")}: ${copied.length} copies, ${diverged} dots diverged.${end}`;
    draw(plot, summary, traces, {
      height: bySlot ? Math.min(760, Math.max(260, 130 + 17 * count)) : 440,
      xaxis: { text: `training (${study.unit})`, rangemode: "tozero" },
      yaxis: bySlot ? { text: "member", range: [Math.max(...rows.member) + 0.6, Math.min(...rows.member) - 0.6], tickformat: "d", ...(count <= 24 ? { dtick: 1 } : {}) } : axis,
    }, () => redraw(state));
    if (!state.listening) {
      state.listening = true;
      plot.on("plotly_click", ({ points }) => { if (points[0].curveNumber === DOTS) select(state, points[0].pointNumber); });
    }
    if (state.picked !== null) list(state, picked);
  }

  /** The dots' look: coloured by the metric, or by a hyperparameter. */
  function dots({ study, rows, colour }, t, count) {
    const name = colour.value, found = study.space[name] || {};
    const log = Boolean(name && found.log);
    const raw = name ? rows.hparams[name].map((each) => height(study, name, each)) : values(study, rows).map((each) => shown(study.metric, each));
    const color = raw.map((each) => (each === null ? null : log ? Math.log10(each) : each));
    const sorted = finite(color).sort((a, b) => a - b);
    const ends = sorted.length ? [sorted[0], sorted[sorted.length - 1]] : [0, 1];
    // What is far from good would leave one colour to all others.
    if (!name && sorted.length) ends[study.metric.maximize ? 0 : 1] = quantile(sorted, study.metric.maximize ? 0.2 : 0.8);
    const ticks = log ? { tickprefix: "10<sup>", ticksuffix: "</sup>" } : found.choices ? { tickvals: found.choices.map((_, k) => k), ticktext: found.choices.map((one) => hpoCharts.escape(one.slice(0, 16))) } : {};
    const wide = { thickness: 10, len: 0.9, outlinewidth: 0, title: { text: hpoCharts.escape(name || study.metric.label), side: "right" }, ...ticks };
    return {
      color: color.map((each) => each ?? t.faint), colorscale: "Viridis", reversescale: !name && !study.metric.maximize, cmin: ends[0], cmax: ends[1],
      showscale: !narrow.matches, colorbar: wide, size: (count <= 20 ? 10 : count <= 60 ? 7 : 5) * (narrow.matches ? 0.7 : 1),
      symbol: rows.diverged.map((one, i) => (one ? "x" : isShrunk(rows, i) ? "triangle-down" : "circle")), line: { color: t.dark ? t.soft : t.paper, width: 0.6 },
    };
  }
})();
