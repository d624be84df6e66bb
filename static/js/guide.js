// The guide with JavaScript: the language is remembered, code is copied, examples run. Without it
// everything can be read, and the tabs work.
"use strict";

const guide = document.getElementById("guide");
const LANGUAGE = "guide-language";
const SHOWN_HEADERS = [
  "x-request-id",
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
  "retry-after",
  "idempotent-replayed",
];

// ---- the language

function choose(language) {
  for (const radio of guide.querySelectorAll(".example-tabs input")) {
    if (radio.value === language) radio.checked = true;
  }
}

function remembered() {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function remember(language) {
  try {
    localStorage.setItem(LANGUAGE, language);
  } catch {
    // It holds for this page alone.
  }
}

guide.addEventListener("change", (event) => {
  const radio = event.target;
  if (!radio.matches(".example-tabs input")) return;
  // The others change their height; what is being looked at stays where it is.
  const before = radio.getBoundingClientRect().top;
  choose(radio.value);
  window.scrollBy({ top: radio.getBoundingClientRect().top - before, behavior: "instant" });
  remember(radio.value);
});

// ---- copying

function shownCode(example) {
  return [...example.querySelectorAll("pre[data-language]")].find((code) => code.offsetParent);
}

guide.addEventListener("click", (event) => {
  const button = event.target.closest(".copy-code");
  if (!button) return;
  const code = shownCode(button.closest(".example"));
  navigator.clipboard.writeText(code.textContent).then(() => {
    document.getElementById("spoken").textContent = guide.dataset.copied;
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  });
});

// ---- the table of contents

const links = new Map();
for (const link of guide.querySelectorAll(".guide-contents .nav a")) {
  links.set(link.hash.slice(1), link);
}

guide.querySelector(".guide-contents .nav").addEventListener("click", (event) => {
  const contents = document.getElementById("contents");
  if (event.target.closest("a") && contents.matches(":popover-open")) contents.hidePopover();
});

function followReading() {
  const headings = [...guide.querySelectorAll(".guide-section :is(h2, h3)[id]")];
  let current = null;
  const mark = () => {
    const line = window.innerHeight / 4;
    const above = headings.filter((heading) => heading.getBoundingClientRect().top <= line);
    const link = above.length ? links.get(above[above.length - 1].id) : null;
    if (link === current) return;
    current?.removeAttribute("aria-current");
    current = link;
    if (!link) return;
    link.setAttribute("aria-current", "true");
    const list = link.closest("nav");
    const box = link.getBoundingClientRect();
    const seen = list.getBoundingClientRect();
    if (box.top < seen.top || box.bottom > seen.bottom) {
      list.scrollTop += box.top - seen.top - list.clientHeight / 2;
    }
  };
  let waiting = false;
  addEventListener(
    "scroll",
    () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        mark();
      });
    },
    { passive: true },
  );
  mark();
}

// ---- running an example with the reader's test key

const answers = new Map(); // the last answer of each example, by its name

// What an example prints of earlier ones, as their answers gave it; `told` hears of those that have
// to be run first. What an example uses up is made for it alone.
async function known(form, told) {
  const kept = form.dataset.again === "true" ? new Map() : answers;
  const found = [];
  for (const [printed, source] of Object.entries(JSON.parse(form.dataset.uses))) {
    const [name, ...path] = source.split(".");
    if (!kept.has(name)) {
      const needed = guide.querySelector(`form.run[data-name="${name}"]`);
      const result = await send(needed, told);
      told(needed, result);
      if (result.response.ok) kept.set(name, result.answer);
    }
    const value = path.reduce((part, field) => part?.[field], kept.get(name));
    if (value) found.push([printed, value]);
  }
  return (text) => found.reduce((all, [printed, value]) => all.replaceAll(printed, value), text);
}

async function send(form, told) {
  const filled = await known(form, told);
  const path = filled(form.elements.path.value);
  const body = form.elements.body && filled(form.elements.body.value);
  const headers = { Authorization: `Bearer ${guide.dataset.key}`, ...JSON.parse(form.dataset.headers) };
  if (body) headers["Content-Type"] = "application/json";
  const begun = performance.now();
  const response = await fetch(path, { method: form.dataset.method, headers, body });
  const text = await response.text();
  const answer = text ? JSON.parse(text) : null;
  return { response, answer, path, milliseconds: Math.round(performance.now() - begun) };
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function show(box, form, { response, answer, path, milliseconds }, label) {
  const line = document.createElement("p");
  if (label) line.append(element("span", `${label}:`, "soft"));
  const call = element("code", `${form.dataset.method} ${path}`);
  const status = element(
    "span",
    `${response.status} ${response.statusText}`.trim(),
    response.ok ? "pill good" : "pill bad",
  );
  status.dir = "ltr";
  const time = element("span", `${milliseconds} ms`, "soft");
  time.dir = "ltr";
  line.append(call, status, time);
  box.append(line);
  if (label) return;
  const headers = SHOWN_HEADERS.filter((name) => response.headers.has(name))
    .map((name) => `${name}: ${response.headers.get(name)}`)
    .join("\n");
  const text = answer === null ? "" : `\n\n${JSON.stringify(answer, null, 2)}`;
  const code = document.createElement("pre");
  code.className = "code";
  code.tabIndex = 0;
  code.append(element("code", `${headers}${text}`));
  box.append(code);
}

async function run(form) {
  const box = form.querySelector(".run-answer");
  const button = form.querySelector("button");
  const body = form.elements.body;
  box.replaceChildren(element("p", guide.dataset.running, "soft"));
  button.disabled = true;
  const found = document.createDocumentFragment();
  try {
    if (body) JSON.parse(body.value);
    const result = await send(form, (needed, first) => {
      show(found, needed, first, guide.dataset.first);
    });
    if (result.response.ok) answers.set(form.dataset.name, result.answer);
    show(found, form, result, "");
  } catch (error) {
    const told = error instanceof SyntaxError ? guide.dataset.badBody : guide.dataset.failed;
    found.append(element("p", told, "errorlist"));
  }
  box.replaceChildren(found);
  button.disabled = false;
}

guide.addEventListener("submit", (event) => {
  if (!event.target.matches("form.run")) return;
  event.preventDefault();
  run(event.target);
});

// ---- begin

if (remembered()) choose(remembered());
if (navigator.clipboard) {
  for (const button of guide.querySelectorAll(".copy-code")) button.hidden = false;
}
if (guide.dataset.key) {
  for (const form of guide.querySelectorAll("form.run")) form.hidden = false;
}
followReading();
