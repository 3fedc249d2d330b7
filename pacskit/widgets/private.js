// Shows HTML that comes only by custom message, so that no saved notebook ever holds it.
// Clicks, keys and text on elements with data-key / data-steps / data-input go back as messages, and so do
// files that are chosen in data-file.
const LARGEST = 1 << 20; // bytes of a file; private.py has the same
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
  if (control.closest(".pk-dialog, .pk-part")) return; // these have keys of their own
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
  for (const row of root.querySelectorAll(".pk-chooser")) {
    const choose = row.querySelector("button.pk-choose"), dialog = row.querySelector(".pk-dialog");
    const label = row.querySelector(".pk-input > .widget-label")?.textContent, under = row.querySelector(".pk-under");
    if (!choose || !dialog) continue;
    under.id ||= `pk-${Math.random().toString(36).slice(2)}`;
    set(choose, "aria-label", `CHOOSE ${label}`);
    set(choose, "aria-expanded", String(choose.classList.contains("pk-open")));
    set(choose, "aria-describedby", under.id);
    set(dialog, "role", "dialog");
    set(dialog, "aria-label", dialog.querySelector("h4")?.textContent ?? label);
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
    if (input.closest(".pk-dialog")) continue;
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

  // A dialog is one whole, though it is drawn in several boxes.
  const whole = () => box.closest(".pk-dialog, .pk-part") ?? box;
  const fields = (of) => [...of.querySelectorAll("input[data-value]")];
  const values = () => Object.fromEntries(fields(whole()).map((f) => [f.dataset.value, f.value]));
  const click = (key) => {
    clearTimeout(typing);
    model.send({ type: "click", key, values: values() });
  };
  const upload = async (input) => {
    const [file] = input.files, key = input.dataset.file;
    if (!file) return;
    const content = file.size <= LARGEST ? [await file.arrayBuffer()] : [];
    input.value = ""; // the same file may be chosen again, mended
    model.send({ type: "file", key, name: file.name }, undefined, content);
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
    const opener = box.closest(".pk-chooser")?.querySelector("button.pk-choose");
    const was = box.childElementCount, held = box.contains(active);
    const caret = focused && active.matches("input[type=text]") ? [active.selectionStart, active.selectionEnd] : undefined;
    // What is typed stays; what was put there since replaces it.
    const typed = new Map(fields(box).map((field) => [`${field.dataset.value} ${field.dataset.put}`, field.value]));
    box.innerHTML = message.html;
    for (const field of fields(box)) {
      const before = typed.get(`${field.dataset.value} ${field.dataset.put}`);
      if (before !== undefined) field.value = before;
    }
    if (scrolled) box.querySelector("[data-scroll]")?.scrollTo(...scrolled);
    // What had the focus may be back only after something else: "Working …", then "Undo".
    const again = focused && box.querySelector(`[data-focus="${CSS.escape(focused)}"]`);
    again?.focus({ preventScroll: true });
    if (caret && again?.matches("input[type=text]")) again.setSelectionRange(...caret);
    // A dialog that opens takes the focus from its button, and gives it back when it ends.
    if (opener && !was && active === opener) setTimeout(() => box.querySelector("[data-first]")?.focus(), 100);
    if (opener && held && !box.childElementCount) opener.focus({ preventScroll: true });
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
    const browse = event.target.closest("[data-browse]");
    if (browse) return void (browse.ariaDisabled === "true" || browse.parentElement.querySelector("[data-file]").click());
    const target = event.target.closest("[data-key]");
    if (target) click(target.dataset.key);
  });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    event.stopPropagation(); // the notebook's own shortcuts must not hear what is typed here
    const entered = event.key === "Enter" ? event.target.dataset.enter : undefined;
    if (entered) click(entered);
    if (event.key === "Escape") whole().querySelector("[data-escape]")?.click();
    if (event.key in STEPS && step(event.target, STEPS[event.key])) event.preventDefault();
  });
  box.addEventListener("change", (event) => {
    if (event.target.dataset.file) upload(event.target);
  });
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && event.deltaY && step(event.target, Math.sign(event.deltaY))) event.preventDefault();
  }, { passive: false });
  box.addEventListener("input", (event) => {
    const key = event.target.dataset.input;
    if (!key) return;
    clearTimeout(typing);
    typing = setTimeout(() => model.send({ type: "input", key, text: event.target.value, values: values() }), 150);
  });

  model.on("msg:custom", show);
  model.send({ type: "ready" });
  return () => model.off("msg:custom", show);
}

export default { render };
