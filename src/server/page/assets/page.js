// Improvements only: every page works without them.
"use strict";
(() => {
  const all = (selector, act, root = document) => root.querySelectorAll(selector).forEach(act);
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

  // A form is not sent twice by a double click. Later it may be: a connection can break, and the page
  // can come back from the browser's memory.
  const submitted = new WeakSet();
  document.addEventListener("submit", (event) => {
    if (submitted.has(event.target)) {
      event.preventDefault();
    } else if (event.target.method === "post") {
      submitted.add(event.target);
      const open = () => submitted.delete(event.target);
      window.addEventListener("pageshow", open, { once: true });
      setTimeout(open, 3000);
    }
  });

  // Values can be hidden from who looks over a shoulder.
  all("[data-hide]", (field) => {
    if (!CSS.supports("-webkit-text-security", "disc") && field.type !== "password") return;
    const password = field.type === "password";
    const label = make("label", { className: "check small" });
    const box = make("input", { type: "checkbox" });
    label.append(box, password ? "Show the password" : "Hide the value while I type");
    box.addEventListener("change", () => {
      if (password) field.type = box.checked ? "text" : "password";
      else field.classList.toggle("hidden-value", box.checked);
    });
    // What is sent is never shown by the browser's own list of earlier entries.
    field.form.addEventListener("submit", () => { if (password) field.type = "password"; });
    (field.closest(".numbered") ?? field).after(label);
  });

  // Line numbers beside a text whose errors name lines.
  all("[data-numbered]", (area) => {
    const frame = make("div", { className: "numbered" });
    const gutter = make("div", { className: "gutter" });
    gutter.setAttribute("aria-hidden", "true");
    area.before(frame);
    frame.append(gutter, area);
    const draw = () => {
      const lines = area.value.split("\n").length;
      gutter.textContent = Array.from({ length: lines }, (_, i) => i + 1).join("\n");
      gutter.scrollTop = area.scrollTop;
    };
    area.addEventListener("input", draw);
    area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
    draw();
  });

  // A token that is shown once is easily copied.
  all("[data-copy]", (place) => {
    if (!navigator.clipboard) return;
    const button = make("button", { type: "button", className: "tight", textContent: "Copy" });
    const said = make("span", { className: "soft small" });
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(place.textContent);
      said.textContent = " Copied";
    });
    place.after(button, said);
  });
})();
