"use strict";

// Tables: sort by any column, find rows, turn pages. All rows are in the page; those that are not shown are hidden.
const PAGE = 50;

function cellValue(row, column, isNumber) {
  const text = row.cells[column].textContent.trim();
  if (!isNumber) return text.toLowerCase();
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? null : number;
}

function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null); // what has no value comes last, both ways
  if (typeof a === "string") return direction * a.localeCompare(b, undefined, { numeric: true });
  return direction * (a - b);
}

function setUpTable(table) {
  const body = table.tBodies[0];
  let rows = [...body.rows];
  const controls = document.querySelector(`.controls[data-for="${table.id}"]`);
  const state = { page: 0, all: !controls };

  function show() {
    const search = controls?.querySelector("input");
    const wanted = search ? search.value.trim().toLowerCase() : "";
    const level = controls?.querySelector("select")?.value ?? "";
    const found = rows.filter(
      (row) => (!wanted || row.dataset.text.includes(wanted)) && (!level || row.dataset.level === level),
    );
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.all ? 0 : state.page * PAGE;
    const shown = found.slice(first, state.all ? undefined : first + PAGE);
    const kept = new Set(shown);
    for (const row of rows) row.hidden = !kept.has(row);
    body.append(...shown);
    if (!controls) return;
    const last = first + shown.length;
    const count = (number) => number.toLocaleString("en");
    controls.querySelector(".status").textContent = found.length
      ? `${count(first + 1)}–${count(last)} of ${count(found.length)}` : "none found";
    controls.querySelector('[data-step="-1"]').disabled = first === 0;
    controls.querySelector('[data-step="1"]').disabled = last >= found.length;
    controls.querySelector(".pages").hidden = rows.length <= PAGE;
  }

  for (const heading of table.tHead.rows[0].cells) {
    if (!heading.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const isNumber = heading.dataset.sort === "number";
      const before = heading.getAttribute("aria-sort");
      const next = before === "none" ? (isNumber ? "descending" : "ascending")
        : before === "ascending" ? "descending" : "ascending";
      for (const other of table.tHead.rows[0].cells) if (other.dataset.sort) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", next);
      const direction = next === "ascending" ? 1 : -1;
      const keyed = rows.map((row) => [cellValue(row, heading.cellIndex, isNumber), row]);
      rows = keyed.sort((a, b) => compare(a[0], b[0], direction)).map((pair) => pair[1]);
      state.page = 0;
      show();
    });
  }
  if (controls) {
    for (const row of rows) row.dataset.text = row.textContent.toLowerCase();
    controls.hidden = false;
    for (const kind of ["input", "change"]) controls.addEventListener(kind, () => { state.page = 0; show(); });
    controls.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if ("all" in button.dataset) {
        state.all = !state.all;
        button.setAttribute("aria-pressed", String(state.all));
      } else {
        state.page += Number(button.dataset.step);
      }
      show();
    });
    show();
  }
}

// Precision and recall of the labels that somebody names; geometry as in charts.py.
function setUpCurves(data) {
  const figure = document.getElementById("chart-pr");
  const controls = document.getElementById("pr-controls");
  if (!figure || !controls || !data || !data.names.length) return;
  const input = controls.querySelector("input");
  const status = controls.querySelector(".status");
  const chips = controls.querySelector(".chips");
  const places = new Map(data.names.map((name, place) => [name, place]));
  const list = controls.querySelector("datalist");
  list.append(...data.names.map((name) => Object.assign(document.createElement("option"), { value: name })));
  const chosen = new Map(); // place of the label → its colour
  const lines = figure.querySelector(".lines");
  const legend = figure.querySelector(".legend");
  const fixed = data.first;
  for (const drawn of [lines, legend]) while (drawn.children.length > fixed) drawn.lastElementChild.remove();

  function path(curve) {
    const step = 360 / (curve.length - 1);
    return curve.map((p, i) => `${i ? "L" : "M"}${(46 + i * step).toFixed(1)} ${(240 - (228 * p) / 1000).toFixed(1)}`).join("");
  }

  function add(place) {
    const used = new Set(chosen.values());
    const colour = [...Array(8).keys()].find((number) => number >= fixed && !used.has(number));
    if (chosen.has(place)) return "It is there already.";
    if (colour === undefined) return "Remove a label first: there are no more colours.";
    chosen.set(place, colour);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", `line c${colour}`);
    line.setAttribute("d", path(data.curves[place]));
    const entry = document.createElement("li");
    const key = document.createElement("span");
    key.className = `key c${colour}`;
    entry.append(key, data.names[place]);
    const chip = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Remove ${data.names[place]}`;
    button.addEventListener("click", () => {
      chosen.delete(place);
      for (const part of [line, entry, chip]) part.remove();
      status.textContent = `${data.names[place]} removed.`;
      input.focus();
    });
    chip.append(button);
    chips.append(chip);
    lines.append(line);
    legend.append(entry);
    return `${data.names[place]} added.`;
  }

  function addNamed() {
    const place = places.get(input.value) ?? data.names.findIndex((name) => name.toLowerCase() === input.value.toLowerCase());
    status.textContent = place >= 0 ? add(place) : "There is no such label.";
    if (place >= 0) input.value = "";
  }

  for (const place of data.chosen) add(place);
  controls.hidden = false;
  controls.querySelector("[data-add]").addEventListener("click", addNamed);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") addNamed(); });
}

document.querySelectorAll("table.sortable").forEach(setUpTable);
setUpCurves(JSON.parse(document.getElementById("page-data").textContent).curves);

// On paper nothing can be unfolded.
const folded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    folded.push(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => { for (const details of folded.splice(0)) details.open = false; });
