// Draws every chart of the page in the reader's theme, and lets the reader choose what it shows.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themes = {
    light: {
      ink: "#1b2026", quiet: "#59626d", line: "#e3e6ea", ground: "#ffffff", grey: "#6d7680", empty: "#f1f3f5",
      // Okabe and Ito's colours; yellow is too pale on white, so black takes its place
      palette: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"],
      heat: [[0, "#f1f3f5"], [0.1, "#d3e4f0"], [0.4, "#74aed4"], [0.75, "#1f77b0"], [1, "#084a78"]],
    },
    dark: {
      ink: "#e6e9ed", quiet: "#a0a9b4", line: "#2c3238", ground: "#14171a", grey: "#9aa3ad", empty: "#1c2025",
      palette: ["#56B4E9", "#E69F00", "#23b88c", "#CC79A7", "#e8743b", "#4d94d8", "#F0E442"],
      heat: [[0, "#1c2025"], [0.1, "#1f3a4d"], [0.4, "#2b6f9c"], [0.75, "#56b4e9"], [1, "#c5e8fb"]],
    },
  };
  const theme = () => themes[dark.matches ? "dark" : "light"];

  function shade(token, colours) {
    const [name, alpha] = token.slice(1).split("/");
    const found = name in colours ? colours[name] : colours.palette[Number(name)];
    if (!alpha) return found;
    const part = (i) => parseInt(found.slice(i, i + 2), 16);
    return `rgba(${part(1)},${part(3)},${part(5)},${alpha})`;
  }

  // "@name" in a place for colours becomes that colour; everything else is copied
  function painted(value, colours, key) {
    if (Array.isArray(value)) return value;
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, colours, k)]));
    const isToken = typeof value === "string" && value[0] === "@" && /color/.test(key || "");
    return isToken ? shade(value, colours) : value;
  }

  function merged(first, second) {
    const out = { ...first };
    for (const [key, value] of Object.entries(second || {})) {
      const both = value && typeof value === "object" && !Array.isArray(value) && out[key] && typeof out[key] === "object";
      out[key] = both ? merged(out[key], value) : value;
    }
    return out;
  }

  function framed(layout, colours) {
    const axis = {
      gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line, tickcolor: colours.line,
      tickfont: { color: colours.quiet, size: 12 }, title: { font: { color: colours.quiet, size: 13 }, standoff: 10 },
      zeroline: false, separatethousands: true,
    };
    const frame = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis, hovermode: "closest",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colours.ink },
      hoverlabel: { bgcolor: colours.ground, bordercolor: colours.grey, font: { color: colours.ink }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.grey, activecolor: colours.ink }, dragmode: "zoom",
    };
    return merged(frame, layout);
  }

  // A confusion matrix: rows and columns in the order chosen, coloured by the share of the row
  // that many characters of a name
  const cut = (name, limit) => ([...name].length > limit ? [...name].slice(0, limit - 1).join("") + "…" : name);

  // a name as plotly shows it literally
  const literal = (name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // a count in four characters
  const brief = (n) => (n < 10000 ? String(n) : n < 1e6 ? `${Math.round(n / 1e3)}k` : `${(n / 1e6).toPrecision(2)}M`);

  function matrix(spec, order, colours, width) {
    const { counts, names } = spec.matrix, size = order.length > 25 ? 10 : 12;
    // names take less than half of a narrow page, and are there only if a cell is as high as a line
    const ticks = spec.matrix.ticks.map((t) => cut(t, Math.max(4, Math.floor((0.45 * width - 42) / (size * 0.58)))));
    const longest = Math.max(...ticks.map((t) => t.length));
    const room = (left) => Math.max(120, Math.min(width - left - 8, 720, order.length * 110));
    const wished = longest * size * 0.58 + 42, named = room(wished) / order.length >= size;
    const left = named ? wished : 40, edge = room(left), cell = edge / order.length;
    const flat = longest * size * 0.62 < cell, below = !named ? 40 : flat ? 52 : longest * size * 0.47 + 52;
    const few = order.length <= 12;
    const cells = order.map((i) => order.map((j) => counts[i][j]));
    const sums = order.map((i) => counts[i].reduce((a, b) => a + b, 0));
    const z = cells.map((row, r) => row.map((n) => (sums[r] ? n / sums[r] : 0)));
    const told = cells.map((row, r) =>
      row.map((n, c) => `truth ${names[order[r]]}<br>predicted ${names[order[c]]}<br><b>${n.toLocaleString("en")}</b> of ${sums[r].toLocaleString("en")}`));
    const places = order.map((_, i) => i);
    const trace = {
      type: "heatmap", x: places, y: places, z, text: cells.map((row) => row.map(brief)), customdata: told, zmin: 0, zmax: 1, colorscale: colours.heat,
      hovertemplate: "%{customdata} (%{z:.0%})<extra></extra>", xgap: few ? 2 : 0, ygap: few ? 2 : 0, showscale: false,
    };
    const digits = Math.max(...cells.flat().map((n) => brief(n).length));
    if (few && cell > 8 * digits + 2) trace.texttemplate = "%{text}";
    const side = {
      tickvals: places, ticktext: order.map((i) => literal(ticks[i])), showticklabels: named, showgrid: false,
      tickfont: { color: colours.quiet, size }, automargin: false, constrain: "domain", ticks: "",
    };
    const layout = {
      width: left + edge + 8, height: edge + below + 10, margin: { l: left, r: 8, t: 10, b: below },
      xaxis: { ...side, tickangle: flat ? 0 : -50, title: { standoff: 4 } },
      yaxis: { ...side, autorange: "reversed", scaleanchor: "x", title: { standoff: 4 } },
    };
    if (!named)
      layout.shapes = [{ type: "rect", xref: "x", yref: "y", x0: -0.5, y0: -0.5, x1: order.length - 0.5,
        y1: order.length - 0.5, line: { color: colours.line, width: 1 } }];
    return { data: [trace], layout };
  }

  function draw(chart) {
    const colours = theme(), { spec, plot } = chart, choice = spec.choices[chart.choice] || {};
    let data = spec.data.map((trace) => painted(trace, colours));
    let layout = merged(spec.layout, choice.layout);
    if (choice.visible) data = data.map((trace, i) => ({ ...trace, visible: choice.visible[i] }));
    if (spec.matrix) {
      const drawn = matrix(spec, choice.order, colours, plot.clientWidth);
      data = drawn.data;
      layout = merged(layout, drawn.layout);
      plot.style.minHeight = `${layout.height}px`;
    }
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    return Plotly.react(plot, data, framed(painted(layout, colours), colours), config);
  }

  function offer(chart, place) {
    if (chart.spec.choices.length < 2) return;
    const label = document.createElement("label"), select = document.createElement("select");
    chart.spec.choices.forEach((choice, i) => select.add(new Option(choice.label, String(i))));
    label.append(chart.spec.matrix ? "Order" : "Show", select);
    select.addEventListener("change", () => { chart.choice = Number(select.value); draw(chart); });
    place.append(label);
  }

  const charts = [...document.querySelectorAll(".chart")].map((element) => {
    const spec = JSON.parse(element.querySelector("script").textContent);
    const chart = { spec, plot: element.querySelector(".plot"), choice: 0 };
    offer(chart, element.querySelector(".controls"));
    return chart;
  });
  charts.forEach(draw);
  dark.addEventListener("change", () => charts.forEach(draw));
})();
