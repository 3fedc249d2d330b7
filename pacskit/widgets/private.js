// Shows HTML that comes only by custom message, so that no saved notebook ever holds it.
// Clicks, keys and text on elements with data-key / data-steps / data-input go back as messages.
const STEPS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10,
  Home: -1e9, End: 1e9 };

// JupyterLab takes plain keys for itself where nothing is written: arrows on a drop-down would leave the cell,
// and X on a check box would cut it. In our panels they belong to what has the focus; Enter in a field is OK
// and Escape is CANCEL, as in a dialog.
function ownKeys(event) {
  const control = event.target.closest?.(".pk-root :is(select, button, input)");
  if (!control) return;
  const plain = !(event.ctrlKey || event.altKey || event.metaKey || (event.shiftKey && event.key === "Enter"));
  if (plain) control.setAttribute("data-lm-suppress-shortcuts", "true");
  else control.removeAttribute("data-lm-suppress-shortcuts");
  const buttons = control.closest(".pk-form")?.querySelector(".pk-buttons");
  if (!plain || !buttons) return;
  if (event.key === "Enter" && control.matches("input[type=text], input[type=password]")) {
    buttons.querySelector(".mod-primary:not(:disabled)")?.click();
  } else if (event.key === "Escape") buttons.querySelector("button:last-child")?.click();
}

// Core widgets have no ARIA of their own: tie each field to the line below it, and say what unfolds.
function describe(root) {
  for (const row of root.querySelectorAll(".pk-row")) {
    const control = row.querySelector(".pk-input :is(input, select)"), under = row.querySelector(".pk-under");
    if (!control || !under) continue;
    under.id ||= `pk-${Math.random().toString(36).slice(2)}`;
    const help = row.querySelector("button.pk-help");
    set(control, "aria-describedby", under.id);
    set(control, "aria-invalid", String(Boolean(under.querySelector(".pk-error"))));
    if (help) {
      set(control, "title", help.title);
      set(help, "aria-pressed", String(help.classList.contains("mod-active")));
    }
  }
  for (const more of root.querySelectorAll("button.pk-more")) {
    set(more, "aria-expanded", String(more.classList.contains("mod-active")));
  }
  for (const handle of root.querySelectorAll(".pk-slice .noUi-handle")) set(handle, "aria-label", "Image");
  for (const tabs of root.querySelectorAll("[role=tablist]")) set(tabs, "aria-label", "Services");
}
const set = (element, name, value) => {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};
// Core widgets send what is typed when the kernel has taken the letters before; a click would overtake it.
// So OK takes along what stands in the fields.
function takeAlong(event) {
  const form = event.target.closest?.(".pk-buttons .mod-primary")?.closest(".pk-form");
  if (!form?.pacskitSend) return;
  const values = {};
  for (const input of form.querySelectorAll(".pk-row :is(input[type=text], input[type=password])")) {
    const name = [...input.closest(".pk-row").classList].find((word) => word.startsWith("pk-row-"));
    if (name) values[name.slice("pk-row-".length)] = input.value;
  }
  form.pacskitSend({ type: "typed", values });
}
// The button that offered a port is gone once it was taken: the focus goes on to OK.
function keepFocus(event) {
  const form = event.target.closest?.(".pk-take")?.closest(".pk-form");
  if (form) form.querySelector(".pk-buttons .mod-primary")?.focus();
}

// One for the page, however often this module is loaded: each widget loads it anew.
const page = (window.pacskitPanels ??= (() => {
  window.addEventListener("keydown", ownKeys, true);
  window.addEventListener("click", takeAlong, true);
  window.addEventListener("click", keepFocus);
  return { described: new WeakSet() };
})());

function follow(root) {
  if (!root || page.described.has(root)) return;
  page.described.add(root);
  const again = () => describe(root);
  new MutationObserver(again).observe(root, {
    subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
  again();
}

async function copyText(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no permission, or a page without TLS on another computer: the old way, by a selection
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus({ preventScroll: true });
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "pk-private";
  el.append(box);
  let typing, lost;

  const fields = () => [...box.querySelectorAll("input[data-value]")];
  const click = (key) => {
    model.send({ type: "click", key, values: Object.fromEntries(fields().map((f) => [f.dataset.value, f.value])) });
  };
  const show = (message) => {
    follow(box.closest(".pk-services, .pk-dashboard"));
    const form = box.closest(".pk-form");
    if (form) form.pacskitSend = (content) => model.send(content);
    if (message.type !== "html" || box.dataset.html === message.version) return;
    box.dataset.html = message.version;
    const active = document.activeElement;
    const focused = box.contains(active) ? active.dataset.focus : active === document.body ? lost : undefined;
    const scroller = box.querySelector("[data-scroll]");
    const scrolled = scroller ? [scroller.scrollLeft, scroller.scrollTop] : undefined;
    const typed = new Map(fields().map((field) => [field.dataset.value, field.value]));
    box.innerHTML = message.html;
    for (const field of fields()) if (typed.has(field.dataset.value)) field.value = typed.get(field.dataset.value);
    if (scrolled) box.querySelector("[data-scroll]")?.scrollTo(...scrolled);
    // What had the focus may be back only after something else: "Working …", then "Undo".
    const again = focused && box.querySelector(`[data-focus="${CSS.escape(focused)}"]`);
    again?.focus({ preventScroll: true });
    lost = again ? undefined : focused;
  };
  const step = (target, by) => {
    const steps = target.closest?.("[data-steps]");
    if (steps) model.send({ type: "step", key: steps.dataset.steps, by });
    return Boolean(steps);
  };

  box.addEventListener("click", (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) return void copyText(copy);
    const target = event.target.closest("[data-key]");
    if (target) click(target.dataset.key);
  });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    event.stopPropagation(); // the notebook's own shortcuts must not hear what is typed here
    const entered = event.key === "Enter" ? event.target.dataset.enter : undefined;
    if (entered) click(entered);
    if (event.key === "Escape") box.querySelector("[data-escape]")?.click();
    if (event.key in STEPS && step(event.target, STEPS[event.key])) event.preventDefault();
  });
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && event.deltaY && step(event.target, Math.sign(event.deltaY))) event.preventDefault();
  }, { passive: false });
  box.addEventListener("input", (event) => {
    const key = event.target.dataset.input;
    if (!key) return;
    clearTimeout(typing);
    typing = setTimeout(() => model.send({ type: "input", key, text: event.target.value }), 150);
  });

  model.on("msg:custom", show);
  model.send({ type: "ready" });
  return () => model.off("msg:custom", show);
}

export default { render };
