// Campaigns: values are put into the text where it is being written, and a file that is too large is
// told so before it is sent.
"use strict";

document.addEventListener("click", (event) => {
  const chip = event.target.closest("button[data-insert]");
  if (!chip) return;
  const field = document.getElementById(chip.dataset.into);
  field.setRangeText(chip.dataset.insert, field.selectionStart, field.selectionEnd, "end");
  field.focus();
});

for (const input of document.querySelectorAll("input[type=file][data-max-bytes]")) {
  const told = document.querySelector("[data-too-large]");
  const tooLarge = () => [...input.files].some((file) => file.size > Number(input.dataset.maxBytes));
  input.addEventListener("change", () => {
    told.hidden = !tooLarge();
    input.setAttribute("aria-invalid", String(tooLarge()));
  });
  input.form.addEventListener("submit", (event) => {
    if (tooLarge()) event.preventDefault();
  });
}
