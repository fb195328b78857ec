/* Charts of the values that are compared: pairs, differences, bands over the budget, evidence after each seed.
 *
 * Load it after charts.js. `study.test` is the compared metric, in the form of `study.metric`.
 */
"use strict";
Object.assign(hpoCharts, (() => {
  const { draw, panels, shown, valueText, significant, axisTitle, plural, armLook, finite } = hpoCharts.kit;
  const { escape, theme } = hpoCharts;

  /** A difference of the metric, as displayed: rates in percentage points. */
  function gap(metric, value) {
    return value === null || value === undefined ? null : metric.scale * value;
  }

  function unitOf(metric) {
    return metric.unit === "%" ? "pp" : metric.unit;
  }

  function gapText(metric, value, extra = 0) {
    const number = gap(metric, value);
    if (number === null) return "–";
    const text = metric.digits === null ? significant(number, 4 + extra) : number.toFixed(metric.digits + extra).replace("-", "−");
    return `${number > 0 ? "+" : ""}${text}${unitOf(metric) ? `\u202f${unitOf(metric)}` : ""}`;
  }

  function gapTitle(metric) {
    return unitOf(metric) ? `difference (${unitOf(metric)})` : "difference";
  }

  /** Where an interval's ends are, as displayed and in order; an end that is missing is far outside. */
  function ends(metric, interval) {
    const found = [interval.low === null ? -Infinity : gap(metric, interval.low), interval.high === null ? Infinity : gap(metric, interval.high)];
    if (metric.scale < 0) return [interval.high === null ? -Infinity : gap(metric, interval.high), interval.low === null ? Infinity : gap(metric, interval.low)];
    return found;
  }

  function intervalText(metric, interval) {
    const [low, high] = ends(metric, interval);
    const one = (value) => Number.isFinite(value) ? gapText(metric, value / metric.scale, 1) : value < 0 ? "−∞" : "+∞";
    return `${one(low)} to ${one(high)}`;
  }

  /** The compared value of every arm; a line joins the arms of a seed. pairs: [{seed, values: {arm: value}}]. */
  function pairs(el, study, found, { seed = null } = {}) {
    const t = theme(), metric = study.test, arms = study.arms.filter((arm) => found.some((pair) => arm in pair.values));
    const lines = { x: [], y: [], hovertext: [] }, picked = { x: [], y: [], hovertext: [] };
    for (const pair of found) {
      for (const into of pair.seed === seed ? [lines, picked] : [lines]) {
        arms.forEach((arm, at) => {
          into.x.push(at); into.y.push(shown(metric, pair.values[arm]));
          into.hovertext.push(escape(`${arm}, seed ${pair.seed}: ${valueText(metric, pair.values[arm])}`));
        });
        into.x.push(null); into.y.push(null); into.hovertext.push("");
      }
    }
    const means = arms.map((arm) => {
      const known = found.map((pair) => pair.values[arm]).filter((value) => typeof value === "number");
      return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
    });
    const traces = [{ ...lines, mode: "lines+markers", name: "one replicate (seed)", line: { color: t.member, width: 1.2 }, marker: { size: 7 }, opacity: seed === null ? 0.85 : 0.3, hoverinfo: "text" }];
    if (picked.x.length) traces.push({ ...picked, mode: "lines+markers", name: `seed ${seed}`, line: { color: t.best, width: 2.4 }, marker: { size: 8 }, hoverinfo: "text" });
    if (found.length > 1) {
      traces.push({
        x: arms.map((_, at) => at), y: means.map((value) => shown(metric, value)), mode: "lines+markers+text", name: `mean of ${found.length}`, line: { color: t.ink, width: 2.4 },
        marker: { size: 11, symbol: "diamond" }, text: means.map((value) => escape(valueText(metric, value, 1))), textposition: "top right", textfont: { color: t.ink },
        hovertext: arms.map((arm, at) => escape(`${arm}, mean of ${found.length}: ${valueText(metric, means[at], 1)}`)), hoverinfo: "text",
      });
    }
    const summary = `${metric.label} of every arm in ${plural(found.length, "replicate")}. ${found.length > 1 ? "Means" : "Values"}: ${arms.map((arm, at) => `${arm} ${valueText(metric, means[at], 1)}`).join(", ")}.`;
    const ticks = { tickvals: arms.map((_, at) => at), ticktext: arms.map((arm) => escape(arm.length > 22 ? `${arm.slice(0, 21)}…` : arm)), range: [-0.4, arms.length - 0.4], showgrid: false };
    draw(el, summary, traces, { height: 400, xaxis: ticks, yaxis: { text: axisTitle(metric) } }, () => pairs(el, study, found, { seed }));
  }

  /** Every difference to the baseline, its mean and its interval.
   * comparisons: [{arm, baseline, mean, differences: [{seed, value}], intervals: [{name, low, high}]}]; study.rope: half a width, or null. */
  function differences(el, study, comparisons, { seed = null } = {}) {
    const t = theme(), metric = study.test, rows = comparisons.map((_, at) => comparisons.length - 1 - at);
    const dots = { x: [], y: [], text: [], opacity: [] }, all = [0];
    comparisons.forEach((one, at) => one.differences.forEach((each, k) => {
      dots.x.push(gap(metric, each.value));
      dots.y.push(rows[at] + 0.18 + 0.05 * (k % 4));
      dots.text.push(escape(`${one.arm} − ${one.baseline}, ${each.seed === null ? `pair ${k + 1}` : `seed ${each.seed}`}: ${gapText(metric, each.value)}`));
      dots.opacity.push(seed === null || each.seed === seed ? 0.85 : 0.2);
    }));
    all.push(...finite(dots.x));
    const bounded = comparisons.flatMap((one) => one.intervals.flatMap((each) => ends(metric, each).filter(Number.isFinite)));
    all.push(...bounded);
    const low = Math.min(...all), high = Math.max(...all), margin = 0.08 * (high - low) || 1, range = [low - margin, high + margin];
    const traces = [{ x: dots.x, y: dots.y, hovertext: dots.text, mode: "markers", name: "one replicate (seed)", marker: { color: t.member, size: 8, opacity: dots.opacity, line: { color: t.paper, width: 0.6 } }, hoverinfo: "text" }];
    const names = [...new Set(comparisons.flatMap((one) => one.intervals.map((each) => each.name)))];
    names.forEach((name, place) => {
      const x = [], y = [], hovertext = [];
      comparisons.forEach((one, at) => one.intervals.filter((each) => each.name === name).forEach((each) => {
        const [a, b] = ends(metric, each), text = escape(`${name}: ${intervalText(metric, each)}`);
        x.push(Math.max(a, range[0]), Math.min(b, range[1]), null);
        y.push(...Array(2).fill(rows[at] - 0.06 - 0.15 * place), null);
        hovertext.push(text, text, "");
      }));
      traces.push({ x, y, hovertext, mode: "lines", name: escape(name), line: { color: place ? t.copy : t.ink, width: place ? 2.4 : 3.4 }, hoverinfo: "text" });
    });
    traces.push({
      x: comparisons.map((one) => gap(metric, one.mean)), y: rows.map((row) => row - 0.06), mode: "markers", name: "mean", marker: { color: t.ink, size: 11, symbol: "diamond", line: { color: t.paper, width: 1 } },
      hovertext: comparisons.map((one) => escape(`${one.arm} − ${one.baseline}, mean: ${gapText(metric, one.mean, 1)}`)), hoverinfo: "text",
    });
    const shapes = [{ type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", line: { color: t.soft, width: 1 } }];
    if (study.rope !== null) shapes.push({ type: "rect", x0: -Math.abs(gap(metric, study.rope)), x1: Math.abs(gap(metric, study.rope)), y0: 0, y1: 1, yref: "paper", fillcolor: "#009e73", opacity: 0.14, line: { width: 0 }, layer: "below" });
    const better = metric.maximize ? "right" : "left";
    const summary = `Differences in ${metric.label} to ${comparisons[0]?.baseline ?? "the baseline"}. ${comparisons.map((one) => `${one.arm}: mean ${gapText(metric, one.mean, 1)}${one.intervals.length ? `, ${one.intervals[0].name} ${intervalText(metric, one.intervals[0])}` : ""}`).join("; ")}.`;
    draw(el, summary, traces, {
      height: 150 + 74 * comparisons.length, shapes, showlegend: true,
      xaxis: { text: `${gapTitle(metric)}, arm − ${comparisons[0]?.baseline ?? "baseline"} (${better} is better)${study.rope === null ? "" : "; shaded: ROPE"}`, range },
      yaxis: { tickvals: rows, ticktext: comparisons.map((one) => escape(one.arm.length > 22 ? `${one.arm.slice(0, 21)}…` : one.arm)), range: [-0.55, comparisons.length - 0.4], showgrid: false },
    }, () => differences(el, study, comparisons, { seed }));
  }

  /** A filled band between two lines. */
  function filled(x, low, high, t) {
    const line = { color: t.faint, width: 0.5 };
    return [{ x, y: low, mode: "lines", line, hoverinfo: "skip", showlegend: false },
      { x, y: high, mode: "lines", line, fill: "tonexty", fillcolor: t.dark ? "rgba(120,132,145,.35)" : "rgba(160,170,180,.35)", hoverinfo: "skip", showlegend: false }];
  }

  /** Limits around where curves settle: the start would dwarf what comes later. */
  function settled(columns, part) {
    const all = [0, ...columns.flatMap((column) => finite(column.slice(Math.floor(column.length * part))))];
    const low = Math.min(...all), high = Math.max(...all), margin = 0.08 * (high - low) || 1;
    return [low - margin, high + margin];
  }

  /** A panel per arm: the mean difference of the incumbents over the budget, and the band that holds at all budgets at once.
   * Each comparison has `band: {x, mean, low, high, starts: [{word, x}]}`. */
  function bands(el, study, comparisons) {
    const t = theme(), metric = study.metric, found = comparisons.filter((one) => one.band);
    const columns = found.flatMap((one) => [one.band.mean, one.band.low, one.band.high].map((column) => column.map((value) => gap(metric, value))));
    const range = settled(columns, 1 / 3);
    panels(el, found.length).forEach((panel, k) => {
      const { arm, baseline, band } = found[k], of = (column) => column.map((value) => gap(metric, value));
      const swap = metric.scale < 0;
      const text = band.x.map((x, at) => escape(`${significant(x)} ${study.unit}: ${gapText(metric, band.mean[at], 1)}, band ${intervalText(metric, { low: band.low[at], high: band.high[at] })}`));
      const traces = [...filled(band.x, of(swap ? band.high : band.low).map((v) => v ?? range[0]), of(swap ? band.low : band.high).map((v) => v ?? range[1]), t),
        { x: band.x, y: of(band.mean), hovertext: text, mode: "lines", name: escape(arm), line: { ...armLook(study, arm), width: 2.6 }, hoverinfo: "text", showlegend: false }];
      const shapes = [{ type: "line", x0: 0, x1: 1, xref: "paper", y0: 0, y1: 0, line: { color: t.soft, width: 1 } },
        ...band.starts.map(({ x }) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: t.copy, width: 1.4, dash: "dash" } }))];
      const starts = band.starts.map(({ word, x }) => ` It is ${word} from ${significant(x)} ${study.unit} on.`).join("");
      draw(panel, `${arm} minus ${baseline} over the budget: ${gapText(metric, band.mean[band.mean.length - 1], 1)} at the end.${starts}`, traces, {
        height: 290, shapes, title: { text: escape(`${arm} − ${baseline}`), font: { size: 13 }, x: 0.02 },
        xaxis: { text: study.is_function ? study.unit : `training charged (${study.unit} per member)`, rangemode: "tozero" }, yaxis: { text: gapTitle(metric), range },
      }, () => bands(el, study, comparisons));
    });
  }

  /** Two panels per arm: the e-value after each seed, and the confidence sequence.
   * Each comparison has `anytime: {path (log10 e), threshold (log10), low, high, mean, decided_at}`. */
  function anytime(el, study, comparisons) {
    const t = theme(), metric = study.test, found = comparisons.filter((one) => one.anytime);
    const all = panels(el, 2 * found.length);
    found.forEach(({ arm, baseline, anytime: one }, k) => {
      const x = one.path.map((_, at) => at + 1), look = armLook(study, arm), again = () => anytime(el, study, comparisons);
      const title = { text: escape(`${arm} − ${baseline}`), font: { size: 13 }, x: 0.02 };
      const at = one.decided_at === null ? [] : [{ type: "line", x0: one.decided_at, x1: one.decided_at, y0: 0, y1: 1, yref: "paper", line: { color: t.soft, width: 1.4, dash: "dot" } }];
      const needed = { type: "line", x0: 0, x1: 1, xref: "paper", y0: one.threshold, y1: one.threshold, line: { color: t.copy, width: 1.4, dash: "dash" } };
      const evidence = { x, y: one.path, hovertext: one.path.map((value, n) => `after ${n + 1} seeds: e = ${significant(10 ** value, 3)}`), mode: "lines+markers", line: { ...look, width: 2.4 }, hoverinfo: "text", showlegend: false };
      draw(all[2 * k], `e-value of ${arm} against ${baseline} after ${x.length} seeds: ${significant(10 ** one.path[x.length - 1], 3)}; ${significant(10 ** one.threshold, 3)} decides.`, [evidence], {
        height: 270, title, shapes: [needed, ...at], xaxis: { text: "seeds" }, yaxis: { text: "log₁₀ e-value (dashed: needed)" } }, again);
      const of = (column) => column.map((value) => gap(metric, value));
      const range = settled([of(one.low), of(one.high), of(one.mean)], 0.5), swap = metric.scale < 0;
      const traces = [...filled(x, of(swap ? one.high : one.low).map((v) => v ?? range[0]), of(swap ? one.low : one.high).map((v) => v ?? range[1]), t),
        { x, y: of(one.mean), hovertext: one.mean.map((value, n) => escape(`after ${n + 1} seeds: ${gapText(metric, value, 1)}, ${intervalText(metric, { low: one.low[n], high: one.high[n] })}`)), mode: "lines", line: { ...look, width: 2.4 }, hoverinfo: "text", showlegend: false }];
      draw(all[2 * k + 1], `Mean difference and confidence sequence of ${arm} − ${baseline}: ${gapText(metric, one.mean[x.length - 1], 1)} after ${x.length} seeds.`, traces, {
        height: 270, title, shapes: at, xaxis: { text: "seeds" }, yaxis: { text: gapTitle(metric), range } }, again);
    });
  }

  return { pairs, differences, bands, anytime };
})());
