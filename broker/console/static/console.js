// What the pages do beyond plain HTML: fragments that stay live, dialogs, copying, confirmation by typing.
// Everything here is an addition: each page does its work without it.
"use strict";

(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // The server shows times in the zone that this cookie names; the first page is loaded again for it, once.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zoneCookie = `binwire_zone=${encodeURIComponent(zone)}`;
  if (zone && !document.cookie.split("; ").includes(zoneCookie)) {
    document.cookie = `${zoneCookie}; path=/; max-age=31536000; samesite=lax`;
    if (document.cookie.split("; ").includes(zoneCookie) && root.dataset.zone !== zone && root.dataset.method === "GET") {
      location.reload();
    }
  }

  // --- live fragments: asked for only while they are seen, replaced only when they changed ---------------------------

  const last = new WeakMap();
  const polls = (element) => (element.getAttribute("hx-trigger") || "").startsWith("every");
  const selectionIn = (element) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.target;
    if (polls(element) && (document.hidden || element.querySelector("details[open][data-keep], select:focus, .busy-form") || selectionIn(element))) {
      event.preventDefault();
    }
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, requestConfig } = event.detail;
    const source = requestConfig && requestConfig.elt;
    if (!source || !polls(source)) {
      return;
    }
    if (xhr.status !== 200) {
      event.detail.shouldSwap = false;
      if (xhr.status === 403 || xhr.status === 404) {
        location.reload(); // what is shown is gone, or is not shown any more: the page itself says so
      }
      return;
    }
    if (last.get(target) === xhr.response || selectionIn(target)) {
      event.detail.shouldSwap = false;
      return;
    }
    last.set(target, xhr.response);
    remember(target);
  });

  // What a person has ticked, opened, closed or scrolled within a fragment stays so when it is replaced.
  let kept = null;
  const sameness = (element) => [
    element.tagName, element.getAttribute("href"), element.form?.getAttribute("action"), element.getAttribute("name"),
    element.getAttribute("value"), element.getAttribute("aria-label"), element.dataset.copy,
  ].join("\u0000");
  const remember = (target) => {
    const focused = target.contains(document.activeElement) ? document.activeElement : null;
    kept = {
      ticked: [...target.querySelectorAll("input[type=checkbox]:checked")].map((box) => [box.name, box.value]),
      folds: [...target.querySelectorAll("details[id]")].map((element) => [element.id, element.open]),
      scrolled: [...target.querySelectorAll(".table-wrap")].map((element) => element.scrollLeft),
      focused: focused && !focused.id && sameness(focused),
    };
  };
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    if (kept && target) {
      for (const [name, value] of kept.ticked) {
        for (const box of target.querySelectorAll("input[type=checkbox]")) {
          if (box.name === name && box.value === value) {
            box.checked = true;
          }
        }
      }
      for (const [id, open] of kept.folds) {
        document.getElementById(id)?.toggleAttribute("open", open);
      }
      target.querySelectorAll(".table-wrap").forEach((element, index) => {
        element.scrollLeft = kept.scrolled[index] || 0;
      });
      if (kept.focused) {
        [...target.querySelectorAll("a, button, input, .table-wrap")].find((element) => sameness(element) === kept.focused)?.focus({ preventScroll: true });
      }
      kept = null;
    }
    prepare(document);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      document.querySelectorAll("[hx-trigger^=every]").forEach((element) => window.htmx.trigger(element, "seen"));
    }
  });

  const offline = (is) => {
    const bar = document.getElementById("offline");
    if (bar) {
      bar.hidden = !is;
    }
  };
  document.addEventListener("htmx:sendError", () => offline(true));
  document.addEventListener("htmx:afterOnLoad", () => offline(false));

  // --- dialogs: a link marked so opens the page it leads to within this one ------------------------------------------

  const dialog = () => document.getElementById("dialog");
  let opener = null;

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog], button[data-dialog]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0 || !window.htmx) {
      return;
    }
    let address = link.getAttribute("href");
    if (link.form) {
      const given = new URLSearchParams(new FormData(link.form));
      address = `${link.getAttribute("formaction") || link.form.getAttribute("action")}?${given}`;
    }
    event.preventDefault();
    if (!link.closest("#dialog")) {
      opener = { element: link, href: link.getAttribute("href"), id: link.id };
    }
    dialog().dataset.wanted = "";
    window.htmx.ajax("GET", address, { target: "#dialog-body", swap: "innerHTML" });
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    const box = dialog();
    if (event.detail.target?.id !== "dialog-body" || !box) {
      return;
    }
    // An answer that comes after the dialog was closed does not open it again.
    if (box.dataset.wanted === undefined) {
      document.getElementById("dialog-body").replaceChildren();
      return;
    }
    if (!box.open) {
      box.showModal();
    }
    const heading = box.querySelector("h1, h2");
    if (heading) {
      heading.id = "dialog-title";
    }
    const first = box.querySelector("[aria-invalid=true], [role=alert], [autofocus]") || box.querySelector("#dialog-body input:not([type=hidden]), #dialog-body select, #dialog-body button");
    first?.focus();
  });

  // Within a dialog a form is sent and answered in place, and a way back is a way out.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.closest("#dialog") || form.method !== "post" || !window.htmx) {
      return;
    }
    event.preventDefault();
    if (form.dataset.sent) {
      return;
    }
    form.dataset.sent = "yes";
    const again = () => delete form.dataset.sent;
    const values = Object.fromEntries([...new Set(new FormData(form, event.submitter).keys())].map((name) => [name, new FormData(form, event.submitter).getAll(name)]));
    window.htmx.ajax("POST", form.getAttribute("action"), { target: "#dialog-body", swap: "innerHTML", values, source: form }).then(again, again);
  });
  // What changes something is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    setTimeout(() => {
      if (!event.defaultPrevented && event.target.method === "post" && button) {
        button.disabled = true;
      }
    });
  });
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]") && event.target.closest("dialog")) {
      event.preventDefault();
      dialog().close();
    } else if (event.target === dialog()) {
      dialog().close();
    }
  });
  document.addEventListener("close", (event) => {
    if (event.target === dialog()) {
      delete dialog().dataset.wanted;
      document.getElementById("dialog-body").replaceChildren();
      const again = opener && (opener.element.isConnected ? opener.element
        : (opener.id && document.getElementById(opener.id)) || [...document.querySelectorAll("a[data-dialog]")].find((link) => link.getAttribute("href") === opener.href));
      again?.focus();
      opener = null;
    }
  }, true);

  // --- small things ---------------------------------------------------------------------------------------------------

  const say = (text) => {
    const place = document.getElementById("said");
    if (place) {
      place.textContent = "";
      setTimeout(() => { place.textContent = text; }, 50);
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) {
      return;
    }
    const text = document.getElementById(button.dataset.copy)?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      (button.closest("dialog") || document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    say(button.dataset.copied);
    setTimeout(() => { button.textContent = before; }, 1500);
  });

  document.addEventListener("input", (event) => {
    const input = event.target.closest("[data-confirm]");
    if (input) {
      const submit = input.form.querySelector("button[type=submit]");
      submit.disabled = input.value.trim() !== input.dataset.confirm;
    }
    const filter = event.target.closest("[data-filter]");
    if (filter) {
      narrow(filter);
    }
  });

  // Another row of a form, made of its template, and a row that goes.
  document.addEventListener("click", (event) => {
    const more = event.target.closest("button[data-clone]");
    if (more) {
      event.preventDefault();
      const place = document.getElementById(more.dataset.into);
      place.append(document.getElementById(more.dataset.clone).content.cloneNode(true));
      place.lastElementChild.querySelector("input, select")?.focus();
    }
    const drop = event.target.closest("button[data-drop]");
    if (drop) {
      const next = drop.closest("form").querySelector("button[data-clone]");
      drop.closest("[data-row]").remove();
      next?.focus();
    }
  });

  // A search within what is there already: each element that has a text for it is shown or not.
  const narrow = (filter) => {
    const words = filter.value.trim().toLowerCase();
    document.querySelectorAll(`${filter.dataset.filter} [data-words]`).forEach((element) => {
      element.hidden = words !== "" && !element.dataset.words.toLowerCase().includes(words);
    });
  };

  // A box that ticks all those in its set, and is told by them; buttons that need one ticked.
  const sets = (form) => {
    const parts = [...form.elements];
    for (const branch of form.querySelectorAll(".branch")) {
      const whole = branch.querySelector(":scope > .check input")?.checked ?? false;
      branch.querySelectorAll(".leaves input[type=checkbox]").forEach((leaf) => { leaf.disabled = whole; });
    }
    const named = (name) => parts.filter((part) => part.type === "checkbox" && part.name === name && !part.disabled);
    for (const all of parts.filter((part) => part.dataset.all)) {
      const boxes = named(all.dataset.all).filter((box) => !box.closest(".leaves"));
      const ticked = boxes.filter((box) => box.checked).length;
      all.checked = boxes.length > 0 && ticked === boxes.length;
      all.indeterminate = ticked > 0 && ticked < boxes.length;
    }
    for (const button of parts.filter((part) => part.dataset.needs)) {
      button.disabled = !named(button.dataset.needs).some((box) => box.checked);
    }
  };
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.dataset.all && box.form) {
      for (const other of box.form.elements) {
        if (other.type === "checkbox" && other.name === box.dataset.all && !other.disabled && !other.closest("[hidden], .leaves")) {
          other.checked = box.checked;
        }
      }
    }
    if (box.type === "checkbox" && box.name && box.form) {
      for (const same of box.form.elements) {
        if (same.type === "checkbox" && same.name === box.name && same.value === box.value) {
          same.checked = box.checked;
        }
      }
    }
    if (box.dataset.switches) {
      switchParts(box);
    }
    if (box.dataset.submits !== undefined) {
      box.form.requestSubmit();
    }
    if (box.form) {
      sets(box.form);
    }
  });

  // A choice that shows the parts of a form that go with it.
  const switchParts = (input) => {
    for (const part of input.form.querySelectorAll(`[data-shown-by="${input.name}"]`)) {
      part.hidden = !part.dataset.shownFor.split(" ").includes(input.value);
    }
  };

  const prepare = (within) => {
    within.querySelectorAll("form").forEach(sets);
    within.querySelectorAll("[data-switches]").forEach((input) => {
      if (input.type !== "radio" || input.checked) {
        switchParts(input);
      }
    });
    within.querySelectorAll("[data-confirm]").forEach((input) => {
      input.form.querySelector("button[type=submit]").disabled = input.value.trim() !== input.dataset.confirm;
    });
  };
  document.addEventListener("DOMContentLoaded", () => prepare(document));
})();
