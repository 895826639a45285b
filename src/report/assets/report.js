// Draws the charts of the report and switches its language. Everything else is in the page already.
(() => {
  "use strict";
  const groups = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const words = {
    zh: { pieces: "件数（对数刻度）", price: "单件价", from: "起", need: "件", below: "未达起订量", none: "没有可画的数据", one: "只有一个发布日" },
    en: { pieces: "pieces (log scale)", price: "price a piece", from: "from", need: "pieces", below: "below the minimum", none: "There is nothing to draw", one: "only one published day" },
  };
  const say = () => words[root.dataset.lang] ?? words.en;
  const color = (line) => (line.look === "ours" ? "var(--ours)" : `var(--c${line.look})`);
  const dash = (line) => ({ 4: "6 3", 5: "2 3", 6: "8 3 2 3", 7: "4 2" })[line.look];
  const weight = (line) => (line.look === "ours" ? 3 : 1.75);
  const short = (text, length) => (text && [...text].length > length ? [...text].slice(0, length).join("") + "…" : text ?? "");
  const sign = (group) => (group.currency === "CNY" || !group.currency ? "¥" : group.currency);

  /** Lets a mark's element say which line it is of. */
  const named = (letter) => (index, scales, values, dimensions, context, next) => {
    const element = next(index, scales, values, dimensions, context);
    element.dataset.letter = letter;
    return element;
  };
  /** A line's marks: the line, and dots where a value begins. */
  const marks = (line, points, curve) => [
    Plot.line(points, {
      x: "x", y: "y", curve, stroke: color(line), strokeWidth: weight(line), strokeDasharray: dash(line),
      strokeLinejoin: "round", render: named(line.letter),
    }),
    Plot.dot(points.filter((point) => point.text), {
      x: "x", y: "y", r: line.look === "ours" ? 3.5 : 2.5, stroke: color(line), strokeWidth: 1.5,
      fill: (point) => (point.hollow ? "var(--bg)" : color(line)), render: named(line.letter),
    }),
  ];
  const tips = (points) =>
    Plot.tip(points, Plot.pointer({
      x: "x", y: "y", title: "text", fontSize: 12.5, lineWidth: 26, lineHeight: 1.4, textPadding: 10, pathFilter: "none", stroke: "var(--strong-rule)",
    }));
  const about = (line) => `${line.letter} · ${short(line.shop, 22)}\n${short(line.title, 40)}\n`;

  /** What a piece costs by how many are bought: each step holds until the next one begins. */
  function ladder(group, box) {
    const lines = group.lines.filter((line) => line.steps.length);
    if (!lines.length) return null;
    const starts = lines.flatMap((line) => line.steps.map((step) => step[0]));
    const first = Math.max(1, Math.min(...starts, group.pieces));
    const last = Math.max(...starts, group.pieces) * 1.8;
    const ticks = decades(first, last, box);
    const t = say();
    const all = [];
    const drawn = lines.flatMap((line) => {
      const points = line.steps.map(([from, price, shown]) => ({
        x: Math.max(1, from), y: Number(price), text: `${about(line)}${t.from} ${from.toLocaleString()}: ${shown}`,
      }));
      all.push(...points);
      const end = { x: last, y: points.at(-1).y };
      return marks(line, [...points, end], "step-after");
    });
    const ends = lines.map((line) => ({ line, x: last, y: Number(line.steps.at(-1)[1]) }));
    return finish(box, ends, {
      x: { type: "log", domain: [first, last], axis: null },
      y: { label: `↑ ${t.price} (${sign(group)})`, nice: true, grid: true, ticks: 6 },
      marks: [
        Plot.axisX(ticks, { text: (number) => number.toLocaleString(), label: `${t.pieces} →`, labelArrow: "none" }),
        Plot.ruleX([group.pieces], { stroke: "var(--ink)", strokeOpacity: 0.55, strokeDasharray: "3 3" }),
        Plot.text([group.pieces], {
          x: (number) => number, frameAnchor: "top", dy: -14, fontWeight: 600,
          text: (number) => `${number.toLocaleString()} ${t.need}`,
        }),
        ...drawn,
        tips(all),
      ],
    });
  }

  /** 1, 2, 5 of every decade while there is room, else the decades. */
  function decades(first, last, box) {
    const ticks = [];
    for (let decade = 10 ** Math.floor(Math.log10(first)); decade <= last; decade *= 10) {
      ticks.push(decade, 2 * decade, 5 * decade);
    }
    const seen = ticks.filter((tick) => tick >= first && tick <= last);
    const room = Math.max(2, Math.floor(box.clientWidth / 52));
    return seen.length <= room ? seen : seen.filter((tick) => Number.isInteger(Math.log10(tick)));
  }

  /** What a piece cost at the group's quantity on each published day; a day without a price is a gap. */
  function days(group, box) {
    const lines = group.lines.filter((line) => line.days.length);
    if (!lines.length) return null;
    const dates = [...new Set(lines.flatMap((line) => line.days.map((day) => day[0])))].sort();
    const at = (text) => new Date(`${text}T00:00:00Z`);
    const t = say();
    const all = [];
    const ends = [];
    const drawn = lines.flatMap((line) => {
      const known = new Map(line.days.map((day) => [day[0], day]));
      const points = dates.map((date) => {
        const [, price, shown, buyable] = known.get(date) ?? [];
        if (price === undefined) return { x: at(date), y: NaN };
        const note = buyable ? "" : ` (${t.below})`;
        return { x: at(date), y: Number(price), hollow: !buyable, text: `${about(line)}${date}: ${shown}${note}` };
      });
      const priced = points.filter((point) => point.text);
      all.push(...priced);
      ends.push({ line, x: priced.at(-1).x, y: priced.at(-1).y });
      return marks(line, points, "linear");
    });
    const every = Math.ceil(dates.length / Math.max(2, Math.floor(box.clientWidth / 64)));
    const shown = dates.filter((_, place) => (dates.length - 1 - place) % every === 0);
    return finish(box, ends, {
      x: { type: "utc", label: dates.length === 1 ? t.one : null, ticks: shown.map(at), tickFormat: (date) => date.toISOString().slice(5, 10), insetLeft: 8, insetRight: 4 },
      y: { label: `↑ ${t.price} (${sign(group)})`, nice: true, grid: true, ticks: 6 },
      marks: [...drawn, tips(all)],
    });
  }

  /** Plots, then sets the letters at the lines' ends, apart from each other. */
  function finish(box, ends, options) {
    const width = Math.max(260, Math.floor(box.clientWidth));
    const height = width < 420 ? 270 : 310;
    const plot = Plot.plot({ width, height, marginLeft: 52, marginRight: 30, marginTop: 30, marginBottom: 40, style: { fontSize: "12px", background: "none" }, ...options });
    plot.setAttribute("aria-hidden", "true");
    const [x, y] = [plot.scale("x"), plot.scale("y")];
    const places = ends.map((end) => ({ ...end, px: x.apply(end.x), py: y.apply(end.y) })).sort((a, b) => a.py - b.py);
    const gap = 14;
    for (let i = 1; i < places.length; i++) places[i].py = Math.max(places[i].py, places[i - 1].py + gap);
    const floor = height - 46;
    for (let i = places.length - 1, limit = floor; i >= 0; i--, limit = places[i + 1].py - gap) places[i].py = Math.min(places[i].py, limit);
    const right = width - 30;
    const letters = d3.select(plot).append("g").attr("font-weight", 700).attr("text-anchor", "start");
    for (const { line, py } of places) {
      letters.append("text").attr("x", right + 9).attr("y", py).attr("dy", "0.35em").attr("fill", color(line)).attr("data-letter", line.letter).text(line.letter);
    }
    return plot;
  }

  const draws = { ladder, days };
  function draw(box) {
    const plot = draws[box.dataset.chart](groups[box.dataset.group], box);
    if (plot) return box.replaceChildren(plot);
    const empty = document.createElement("p");
    empty.className = "empty";
    empty.textContent = say().none;
    box.replaceChildren(empty);
  }

  const boxes = [...document.querySelectorAll(".chart")];
  const widths = new Map();
  /** A few at a time: the page answers while it draws, whatever the number of groups. */
  let turn = 0;
  function drawAll() {
    const mine = ++turn;
    const left = [...boxes];
    const some = () => {
      if (mine !== turn) return;
      left.splice(0, 6).forEach(draw);
      if (left.length) setTimeout(some);
      else root.dataset.drawn = root.dataset.lang;
    };
    some();
  }

  const buttons = [...document.querySelectorAll("[data-switch]")];
  function speak(language) {
    root.dataset.lang = language;
    root.lang = language === "zh" ? "zh-CN" : "en";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.switch === language));
    drawAll();
  }
  for (const button of buttons) button.addEventListener("click", () => speak(button.dataset.switch));

  /** The row under the pointer stands out in the charts of its group. */
  function focus(section, letter) {
    for (const box of section.querySelectorAll(".chart")) {
      box.classList.toggle("focused", Boolean(letter));
      for (const part of box.querySelectorAll("[data-letter]")) part.classList.toggle("focus", part.dataset.letter === letter);
    }
  }
  for (const section of document.querySelectorAll("section.group")) {
    section.addEventListener("pointerover", (event) => focus(section, event.target.closest("tr[data-line]")?.dataset.line));
    section.addEventListener("pointerleave", () => focus(section, ""));
  }

  const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const width = Math.floor(contentRect.width);
      const before = widths.get(target);
      widths.set(target, width);
      if (before !== undefined && width > 0 && Math.abs(width - before) > 4 && !matchMedia("print").matches) draw(target);
    }
  });
  boxes.forEach((box) => observer.observe(box));

  speak(root.dataset.lang);
})();
