// Asks for things again and shows what Brink says it did (the Cache-Status field, RFC 9211).
"use strict";

const $ = (id) => document.getElementById(id);

// One answer in our words. `hit`, `stale`, `miss` or `pass` decides the colour.
function read(field) {
  const last = field.split(",").pop() || "";
  const words = Object.fromEntries(last.split(";").slice(1).map((part) => {
    const [name, value] = part.trim().split("=");
    return [name, value === undefined ? true : value];
  }));
  const ttl = words.ttl === undefined ? null : Number(words.ttl);
  if (words.hit) {
    return ttl !== null && ttl < 0
      ? { kind: "stale", word: "stale", ttl, text: "Too old, but allowed: shown at once from memory, without waiting for the origin." }
      : { kind: "hit", word: "hit", ttl, text: "Served from memory. The origin was not asked." };
  }
  if (words.fwd === "stale" && (ttl !== null && ttl < 0)) {
    return { kind: "stale", word: "rescued", ttl, text: "The origin failed. The stored copy is shown in its place, old as it is." };
  }
  if (words.fwd === "stale" && words["fwd-status"] === "304") {
    return { kind: "stale", word: "checked", ttl, text: "The origin was asked whether the copy still holds, and it does: no body was sent." };
  }
  if (words.collapsed) {
    return { kind: "miss", word: "shared", ttl, text: "Somebody else had just asked; this answer was read along with theirs." };
  }
  if (words.fwd === "bypass" || words.fwd === "method" || words.fwd === "request") {
    return { kind: "pass", word: "pass", ttl, text: "Passed to the origin and back; nothing is kept." };
  }
  if (words.fwd && !words.stored) {
    return { kind: "pass", word: "pass", ttl, text: "Fetched from the origin. The rules do not allow keeping it." };
  }
  if (words.fwd) {
    return { kind: "miss", word: "miss", ttl, text: "Not in memory: fetched from the origin and kept for the next one." };
  }
  return { kind: "pass", word: "?", ttl, text: "No Cache-Status field: is Brink in between?" };
}

// Asks past the browser's own cache, so that Brink is the one who answers.
async function ask(path, headers = {}) {
  const start = performance.now();
  const answer = await fetch(path, { cache: "no-store", headers });
  const body = await answer.arrayBuffer();
  const field = answer.headers.get("cache-status") || "";
  const took = performance.now() - start;
  return { answer, body, field, took, verdict: read(field), age: answer.headers.get("age") };
}

const ms = (time) => (time < 10 ? time.toFixed(1) : Math.round(time)) + " ms";
const seconds = (value) => (value === null || Number.isNaN(value) ? "-" : value + " s");

function tag(verdict) {
  const tag = document.createElement("span");
  tag.className = "tag " + verdict.kind;
  tag.textContent = verdict.word;
  return tag;
}

async function board() {
  $("again").disabled = true;
  try {
    const { field, took, verdict, age } = await ask(location.pathname);
    const entry = performance.getEntriesByType("resource").pop();
    $("verdict").textContent = verdict.word;
    $("verdict").className = "verdict " + verdict.kind;
    $("age").textContent = age === null ? "new" : age + " s";
    $("ttl").textContent = seconds(verdict.ttl);
    $("took").textContent = ms(took);
    $("protocol").textContent = (entry && entry.nextHopProtocol) || "-";
    $("words").textContent = verdict.text;
    $("raw").textContent = "Cache-Status: " + field;
    const far = verdict.kind === "miss" || verdict.kind === "pass" || verdict.word === "checked";
    $("path").className = "way " + (far ? "far" : "hit") + (verdict.word === "stale" ? " behind" : "");
    $("edge-note").textContent = far ? "fetched" : "from memory";
    $("origin-note").textContent = far ? "asked" : verdict.word === "stale" ? "asked behind you" : "not asked";
    await files();
  } catch (error) {
    $("words").textContent = "No answer: is the demo still running? (" + error.message + ")";
  }
  $("again").disabled = false;
}

async function files() {
  const paths = ["/", "/assets/style.css", "/assets/app.js", "/assets/pixel.woff2", "/assets/mark.svg", "/assets/skyline.png"];
  const rows = await Promise.all(paths.map(async (path) => {
    const { answer, body, took, verdict, age } = await ask(path);
    const row = document.createElement("tr");
    const cell = (content, name) => {
      const cell = document.createElement("td");
      if (name) cell.className = name;
      cell.append(content);
      row.append(cell);
    };
    const code = (text) => Object.assign(document.createElement("code"), { textContent: text });
    cell(code(path));
    cell(tag(verdict));
    cell(age === null ? "new" : age + " s", "n");
    cell(body.byteLength.toLocaleString("en"), "n");
    cell(ms(took), "n");
    cell(code(answer.headers.get("cache-control") || "-"));
    return row;
  }));
  $("files").replaceChildren(...rows);
}

// A card of the experiments page: a button, the same as a curl line, and the last tries.
function card(article) {
  const { path, header } = article.dataset;
  const values = (article.dataset.values || "").split(",").filter(Boolean);
  let count = 0;
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Send a request" });
  const row = Object.assign(document.createElement("div"), { className: "row" });
  const tries = Object.assign(document.createElement("ol"), { className: "tries" });
  const line = document.createElement("pre");
  line.tabIndex = 0;
  const insecure = location.protocol === "https:" ? "k" : "";
  const with_header = header ? ` -H '${header}: ${values[0].replace("Range: ", "")}'` : "";
  line.textContent = `curl -s${insecure}D- ${location.origin}${path}${with_header}` + (path.endsWith(".bin") ? " -o /dev/null" : "");
  row.append(button);
  article.append(row, line, tries);
  button.addEventListener("click", async () => {
    button.disabled = true;
    const value = values.length ? values[count++ % values.length] : null;
    try {
      const { answer, body, field, took, verdict } = await ask(path, value ? { [header]: value } : {});
      const item = document.createElement("li");
      const type = answer.headers.get("content-type") || "";
      const shown = /text|json/.test(type) ? new TextDecoder().decode(body).trim() : body.byteLength.toLocaleString("en") + " bytes";
      item.append(tag(verdict), ` ${answer.status} in ${ms(took)}` + (value ? `, ${header}: ${value}` : ""));
      item.append(Object.assign(document.createElement("div"), { textContent: shown }));
      item.append(Object.assign(document.createElement("small"), { textContent: field }));
      tries.prepend(item);
      while (tries.children.length > 4) tries.lastChild.remove();
    } catch (error) {
      tries.prepend(Object.assign(document.createElement("li"), { textContent: "No answer: " + error.message }));
    }
    button.disabled = false;
  });
}

if ($("again")) {
  $("again").addEventListener("click", board);
  board();
}
document.querySelectorAll("#cards article").forEach(card);
