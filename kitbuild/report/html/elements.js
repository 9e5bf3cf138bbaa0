"use strict";
// Elements, and values as people read them. What comes from a build gets into the page as text alone.

/** An element. `properties` are attributes, and `on`: listeners by event. Children are elements and texts. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function button(properties, ...children) {
  return make("button", { type: "button", ...properties }, ...children);
}

/** Two lists as a list of terms: [[term, description], ...]; what has no description is left out. */
function facts(pairs) {
  const list = make("dl", { class: "facts" });
  for (const [term, description] of pairs) {
    if (description === "" || description === null || description === undefined) continue;
    list.append(make("dt", {}, term), make("dd", {}, description));
  }
  return list;
}

function humanSize(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  if (bytes < 1024) return `${bytes} B`;
  let amount = bytes / 1024;
  let unit = "KiB";
  for (const larger of ["MiB", "GiB", "TiB"]) {
    if (amount < 999.5) break;
    amount /= 1024;
    unit = larger;
  }
  return `${amount >= 99.95 ? amount.toFixed(0) : amount.toFixed(1)} ${unit}`;
}

function humanSeconds(seconds) {
  if (!seconds) return "0 s";
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** The beginning of a digest; whoever points at it sees all of it, and whoever copies it gets that. */
function shortDigest(text) {
  const copy = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  return make("span", { class: "digest", title: text, on: { copy } }, text.slice(0, 12));
}

function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function moment(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** Says something to those who hear the page and do not see it. */
function say(text) {
  document.getElementById("said").textContent = text;
}

/**
 * A table that is sorted by its headings. A column is {name, value(row), cell(row), number, descends}: `value` is what
 * it is sorted by, `cell` what is shown. `sorted` is the number of the first column to sort by, if any.
 */
function table(label, columns, rows, { sorted = null, first = 100 } = {}) {
  const body = make("tbody");
  const heads = columns.map((column, number) => {
    const press = button({ on: { click: () => sort(number) } }, column.name);
    return make("th", { scope: "col", class: column.number ? "number" : null }, press);
  });
  const more = button({ class: "more", on: { click: () => fill(Infinity) } });
  let ordered = [...rows];
  let by = { number: null, down: false };

  function fill(most) {
    body.replaceChildren(...ordered.slice(0, most).map(line));
    more.hidden = ordered.length <= most;
    more.textContent = `Show all ${ordered.length.toLocaleString("en")}`;
  }

  function line(row) {
    return make("tr", {}, ...columns.map((column) => {
      const shown = column.cell ? column.cell(row) : column.value(row);
      return make("td", { class: [column.number ? "number" : "", column.class ?? ""].join(" ").trim() || null }, shown);
    }));
  }

  function sort(number) {
    const column = columns[number];
    const down = by.number === number ? !by.down : Boolean(column.descends);
    by = { number, down };
    const way = down ? -1 : 1;
    const keyed = rows.map((row) => [column.value(row), row]);
    keyed.sort(([left], [right]) => way * (typeof left === "number" ? left - right : left < right ? -1 : left > right ? 1 : 0));
    ordered = keyed.map(([, row]) => row);
    heads.forEach((head, place) => {
      if (place === number) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    fill(first);
  }

  if (sorted === null) fill(first);
  else sort(sorted);
  const sheet = make("table", { "aria-label": label }, make("thead", {}, make("tr", {}, ...heads)), body);
  return make("div", { class: "sheet" }, sheet, more);
}
