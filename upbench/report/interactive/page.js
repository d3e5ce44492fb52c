"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const print = matchMedia("print");

  // Tables: rows are sorted within their body, numbers by their value, those without one last.
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
  };
  const compare = (a, b) => {
    const numbers = typeof a === "number";
    if (numbers && typeof b === "number") return a - b;
    if (numbers !== (typeof b === "number")) return null;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sort = (table, column, descending) => {
    for (const body of table.tBodies) {
      if (body.classList.contains("heading")) continue;
      const rows = [...body.rows].map((row, n) => [key(row, column), n, row]);
      rows.sort(([a, m], [b, n]) => {
        const order = compare(a, b);
        if (order === null) return typeof a === "number" ? -1 : 1;
        return (descending ? -order : order) || m - n;
      });
      body.append(...rows.map(([, , row]) => row));
    }
  };
  for (const table of document.querySelectorAll("table.results")) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const head = button.closest("th");
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, Number(button.dataset.column), descending);
    });
  }
  for (const field of document.querySelectorAll("[data-filters]")) {
    const table = document.getElementById(field.dataset.filters);
    const count = document.querySelector(`[data-counts="${field.dataset.filters}"]`);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0, all = 0;
      for (const body of table.tBodies) {
        if (body.classList.contains("heading")) continue;
        for (const row of body.rows) {
          const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
          all += 1;
          shown += row.hidden ? 0 : 1;
        }
      }
      count.textContent = `${shown} of ${all}`;
    });
  }

  // Pictures.
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f6a00", "#56b4e9", "#8c510a", "#6a3d9a"];
  const DARK = ["#56b4e9", "#f28e4b", "#2fc79a", "#e6a3c8", "#f0e442", "#9ecae1", "#dfc27d", "#b39ddb"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon"];
  const symbol = (n) => SYMBOLS[(n + Math.floor(n / SYMBOLS.length)) % SYMBOLS.length]; // none twice with one colour, up to 64
  const isDark = () =>
    !print.matches && (root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches));
  const axisStyle = () => ({ gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true });
  const isNarrow = () => innerWidth < 640;
  const perRow = () => Math.max(2, Math.floor(innerWidth / 150));
  // x and y: what the axes show, and whether 0 belongs to it; many: how many series there are.
  const layout = (x, y, many) => ({
    autosize: true,
    ...(isNarrow() && many > 6 ? { height: 340 + 20 * Math.ceil(many / perRow()) } : {}),
    margin: { t: 20, r: 20, b: isNarrow() && many > 1 ? 60 + 20 * Math.ceil(many / perRow()) : 50, l: 60 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--text"), family: "system-ui, sans-serif" },
    hoverlabel: { bgcolor: colour("--head"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    hovermode: "closest",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: colour("--text") },
    colorway: isDark() ? DARK : LIGHT,
    showlegend: many > 1,
    legend: isNarrow() ? { orientation: "h", yref: "container", y: 0, yanchor: "bottom" } : {},
    xaxis: { title: { text: x.title }, rangemode: x.zero ? "tozero" : "normal", ...axisStyle() },
    yaxis: { title: { text: y.title }, rangemode: y.zero ? "tozero" : "normal", ...axisStyle() },
  });
  const CONFIG = { responsive: true, displaylogo: false, scrollZoom: false,
    showSendToCloud: false, plotlyServerURL: "", // by default a button of plotly uploads what is drawn
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d"]] };
  const rounded = (value) => String(Number(value.toPrecision(4)));
  const bars = (points, quantity, axis) => {
    const values = points.map((point) => point.values[quantity.key]);
    if (!values.some(([value, low, high]) => low !== value || high !== value)) return {};
    return {
      [`error_${axis}`]: {
        type: "data", symmetric: false, thickness: 1, width: 3,
        array: values.map(([value, , high]) => high - value), arrayminus: values.map(([value, low]) => value - low),
      },
    };
  };
  const said = (point, quantities) =>
    [`<b>${point.name}</b>`, ...quantities.filter((q) => q && point.values[q.key]).map((q) => {
      const [value, low, high] = point.values[q.key];
      return `${q.title}: ${rounded(value)}` + (low !== value || high !== value ? ` (${rounded(low)} to ${rounded(high)})` : "");
    }), point.device].join("<br>");
  const groups = (points, name) => {
    const found = new Map();
    for (const point of points) {
      const called = name(point);
      if (!found.has(called)) found.set(called, []);
      found.get(called).push(point);
    }
    return [...found];
  };
  const devices = (section) => new Set(section.points.map((point) => point.device)).size > 1;

  const along = (section, chosen) => {
    const quantity = chosen("metric", section.quantities);
    const axis = chosen("axis", section.axes);
    const others = section.axes.filter((one) => one.key !== axis.key && (one.key !== "upsampler" || axis.key !== "upsampler"));
    const drawn = section.points.filter((point) => point.values[quantity.key]);
    const name = (point) => [...others.map((one) => (one.key === "upsampler" ? point.at[one.key] : `${one.key} ${point.at[one.key]}`)),
      ...(devices(section) ? [point.device] : [])].join(", ");
    const lines = groups(drawn, name);
    const data = lines.map(([called, points], n) => {
      if (axis.numeric) points.sort((a, b) => a.at[axis.key] - b.at[axis.key]);
      return {
        type: "scatter", mode: axis.numeric ? "lines+markers" : "markers", name: called || quantity.title,
        marker: { symbol: symbol(n), size: 8 },
        x: points.map((point) => (axis.numeric ? point.at[axis.key] : String(point.at[axis.key]))),
        y: points.map((point) => point.values[quantity.key][0]), ...bars(points, quantity, "y"),
        hovertext: points.map((point) => said(point, [quantity])), hoverinfo: "text",
      };
    });
    const shape = layout({ title: axis.title }, quantity, lines.length);
    if (!axis.numeric) shape.xaxis.type = "category";
    return [data, shape];
  };
  const against = (section, chosen) => {
    const x = chosen("x", section.quantities), y = chosen("y", section.quantities);
    const drawn = section.points.filter((point) => point.values[x.key] && point.values[y.key]);
    const several = new Set(drawn.map((point) => point.upsampler)).size > 1;
    const lines = groups(drawn, (point) => (several ? point.upsampler : point.name));
    const data = lines.map(([called, points], n) => ({
      type: "scatter", mode: "markers", name: called, marker: { symbol: symbol(n), size: 10 },
      x: points.map((point) => point.values[x.key][0]), y: points.map((point) => point.values[y.key][0]),
      ...bars(points, x, "x"), ...bars(points, y, "y"),
      hovertext: points.map((point) => said(point, x === y ? [x] : [x, y])), hoverinfo: "text",
    }));
    const shape = layout(x, y, lines.length);
    return [data, shape];
  };
  const KINDS = { along, against };
  const redraws = [];
  for (const figure of document.querySelectorAll("figure.picture")) {
    const section = DATA[Number(figure.closest("section").dataset.section)];
    const fields = Object.fromEntries([...figure.querySelectorAll("select")].map((field) => [field.dataset.picks, field]));
    for (const [name, field] of Object.entries(fields)) {
      for (const one of name === "axis" ? section.axes : section.quantities) {
        const option = document.createElement("option");
        option.value = one.key;
        option.innerHTML = one.title; // escaped, as the plotting library wants it
        field.append(option);
      }
      field.value = section.first[name];
      if (field.selectedIndex < 0) field.selectedIndex = 0;
    }
    const chosen = (name, list) => list.find((one) => one.key === fields[name].value);
    const draw = () => {
      const [data, shape] = KINDS[figure.dataset.kind](section, chosen);
      const plot = figure.querySelector(".plot");
      plot.style.height = shape.height ? `${shape.height}px` : "";
      Plotly.react(plot, data, shape, CONFIG);
    };
    for (const field of Object.values(fields)) field.addEventListener("change", draw);
    redraws.push(draw);
  }
  const redraw = () => redraws.forEach((draw) => draw());
  document.getElementById("theme").addEventListener("change", (event) => {
    if (event.target.value) root.dataset.theme = event.target.value;
    else delete root.dataset.theme;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  print.addEventListener("change", redraw);
  // What is closed on the screen is open on paper.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  redraw();
  root.dataset.ready = "yes";
})();
