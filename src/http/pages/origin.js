// Puts this server's address into the examples, as the person reached it.
for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
