// What the pages do better with JavaScript than without; none of it is needed to use them.
"use strict";

// Times come in UTC; show them in the reader's own zone, the UTC one as their title.
function localTimes(root) {
  for (const element of root.querySelectorAll("time[data-local]")) {
    const at = new Date(element.dateTime);
    const pad = (number) => String(number).padStart(2, "0");
    const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    element.title = element.textContent;
    element.textContent = `${day} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
    element.removeAttribute("data-local");
  }
}

function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

// What works by a script only is hidden until there is one that can do it.
function offerPasskeys(root) {
  if (!window.PublicKeyCredential) return;
  for (const button of root.querySelectorAll("[data-passkey][hidden]")) button.hidden = false;
}

function prepare(root) {
  localTimes(root);
  offerCopies(root);
  offerPasskeys(root);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) {
    navigator.clipboard.writeText(button.dataset.copy).then(() => {
      document.getElementById("spoken").textContent = button.dataset.copied;
    });
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// A slash goes to the search, from wherever nothing is being written.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const field = document.querySelector("[data-search]");
  if (!field) return;
  event.preventDefault();
  const drawer = field.closest("[popover]");
  if (drawer && !field.checkVisibility()) drawer.showPopover();
  field.focus();
  field.select();
});

// A list with a button of its own needs the button only once another entry is chosen.
for (const button of document.querySelectorAll("[data-when-changed]")) {
  const select = button.form.querySelector("select");
  const first = select.value;
  button.hidden = true;
  select.addEventListener("change", () => { button.hidden = select.value === first; });
}

// A page in the background asks for nothing.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});

// A refusal that says when to try again stands where the answer would.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 429) event.detail.shouldSwap = true;
});

// What a person unfolded in a part that refreshes stays unfolded, where it has an id.
let unfolded = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  unfolded = [...event.target.querySelectorAll("details[open][id]")].map((details) => details.id);
});
document.addEventListener("htmx:afterSettle", () => {
  for (const id of unfolded) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
  prepare(document);
});
prepare(document);
