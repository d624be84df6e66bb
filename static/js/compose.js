// Compose: the browser's own time zone, where its owner has chosen none.
"use strict";

const zone = document.querySelector("#id_zone[data-browsers-own]");
if (zone) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (own) {
    zone.value = own;
    document.getElementById("zone-shown").textContent = own;
  }
}
