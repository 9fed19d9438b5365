"use strict";

const $ = (id) => document.getElementById(id);
const chosen = []; // items {item, label} of the history, oldest first
const about = new Map(); // items whose absence the user asked about, by raw id
let latest = 0; // number of the latest request, so that a late response to an earlier one is dropped
let maxRead = null;
let pending = new AbortController(); // aborts the latest request, which the service then drops

function element(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const shown = (item) => (item.is_new ? `${item.label} (new)` : item.label);
// The prefix "id:" is needed because some titles, such as "187", are ids of other items.
const nameOf = (item) => `id:${item.item}`;

function combobox(input, list, choose) {
  let found = [];
  let at = -1;
  let asked = 0;
  let timer = 0;
  let isCurrent = true; // whether `found` belongs to the current input

  function close() {
    asked += 1;
    clearTimeout(timer);
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    at = place;
    [...list.children].forEach((option, number) => option.setAttribute("aria-selected", String(number === at)));
    if (at < 0) {
      input.removeAttribute("aria-activedescendant");
      return;
    }
    input.setAttribute("aria-activedescendant", list.children[at].id);
    list.children[at].scrollIntoView({ block: "nearest" });
  }

  function take(place) {
    const item = found[place];
    input.value = "";
    close();
    input.focus();
    choose(item);
  }

  async function search() {
    const number = ++asked;
    let items;
    try {
      const answer = await fetch(`items?limit=8&query=${encodeURIComponent(input.value)}`);
      if (!answer.ok) throw new Error(`the service responded with ${answer.status}`);
      items = await answer.json();
    } catch (error) {
      if (number === asked) showErrors([`The search failed: ${error.message}.`]);
      return;
    }
    if (number !== asked) return; // the input has changed
    found = items;
    isCurrent = true;
    list.replaceChildren(
      ...found.map((item, place) => {
        const option = element("li", shown(item), { role: "option", id: `${list.id}-${place}`, "aria-selected": "false" });
        option.addEventListener("mousedown", (event) => {
          event.preventDefault(); // the input keeps the focus
          take(place);
        });
        return option;
      }),
    );
    if (found.length === 0) list.append(element("li", "No item found.", { "aria-disabled": "true" }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(found.length && input.value.trim() ? 0 : -1);
  }

  input.addEventListener("input", () => {
    asked += 1;
    isCurrent = false;
    clearTimeout(timer);
    timer = setTimeout(search, 120);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", async (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) search();
      else if (found.length) {
        const step = event.key === "ArrowDown" ? 1 : -1;
        mark(at < 0 ? (step > 0 ? 0 : found.length - 1) : (at + step + found.length) % found.length);
      }
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!isCurrent && input.value.trim()) await search();
      if (isCurrent && !list.hidden && at >= 0) take(at);
    } else if (event.key === "Escape") {
      close();
    }
  });
}

function showErrors(messages) {
  $("errors").replaceChildren(...messages.map((message) => element("li", message)));
}

function button(text, label, disabled, act) {
  const node = element("button", text, { type: "button", class: "quiet", "aria-label": label, title: label });
  node.disabled = disabled;
  node.addEventListener("click", act);
  return node;
}

function showHistory(focus = null) {
  $("history-empty").hidden = chosen.length > 0;
  const nUnread = maxRead === null ? 0 : Math.max(0, chosen.length - maxRead);
  $("history").replaceChildren(
    ...chosen.map((item, place) => {
      const row = element("li", null, place < nUnread ? { class: "unread" } : {});
      row.append(
        element("span", shown(item)),
        button("↑", `Move ${item.label} up`, place === 0, () => move(place, -1)),
        button("↓", `Move ${item.label} down`, place === chosen.length - 1, () => move(place, 1)),
        button("×", `Remove ${item.label}`, false, () => remove(place)),
      );
      return row;
    }),
  );
  $("unread").hidden = nUnread === 0;
  $("unread").textContent = `Only the last ${maxRead} items are read; no item of the history is recommended.`;
  if (focus !== null) {
    const buttons = $("history").children[focus[0]]?.querySelectorAll("button");
    const wanted = buttons?.[focus[1]];
    if (wanted && !wanted.disabled) wanted.focus();
    else if (buttons) buttons[2].focus();
    else $("search").focus();
  }
}

function move(place, step) {
  const [item] = chosen.splice(place, 1);
  chosen.splice(place + step, 0, item);
  showHistory([place + step, step < 0 ? 0 : 1]);
}

function remove(place) {
  chosen.splice(place, 1);
  showHistory([Math.min(place, chosen.length - 1), 2]);
}

function rankedRows(items, isMarked) {
  return items.map((item) => {
    const row = element("tr", null, isMarked(item) ? { class: "marked" } : {});
    row.append(
      element("td", String(item.rank), { class: "number" }),
      element("td", isMarked(item) ? `${shown(item)} ●` : shown(item)),
      element("td", item.score.toFixed(3), { class: "number" }),
    );
    return row;
  });
}

// Marks the smaller group: the items in both lists, or those in only one of them.
function compareLists(items, others) {
  const known = new Set(others.map((item) => item.item));
  const shared = new Set(items.map((item) => item.item).filter((item) => known.has(item)));
  const nAlone = items.length + others.length - 2 * shared.size;
  if (shared.size === 0) return ["No item is in both lists.", () => false];
  if (nAlone === 0) return ["Both lists have the same items.", () => false];
  if (2 * shared.size <= nAlone) return [`● in both lists: ${shared.size}`, (item) => shared.has(item.item)];
  return [`● in only one list: ${nAlone}`, (item) => !shared.has(item.item)];
}

function showAnswer(answer) {
  const alone = answer.recommender;
  const [legend, isMarked] = alone
    ? compareLists(answer.recommendations, alone.recommendations)
    : ["", () => false];
  $("shared").textContent = legend;
  $("shared").hidden = alone === null;
  $("ranked-title").textContent = `Recommended by ${answer.system}`;
  $("ranked").replaceChildren(...rankedRows(answer.recommendations, isMarked));
  $("alone-section").hidden = alone === null;
  if (alone !== null) {
    $("alone-title").textContent = `${alone.name} alone would recommend`;
    $("alone").replaceChildren(...rankedRows(alone.recommendations, isMarked));
  }
  const listed = new Map(answer.recommendations.map((item) => [item.item, item]));
  const asked = [...about.values()].filter((item) => listed.has(item.item));
  const rows = [
    ...asked.map((item) => [shown(item), `recommended, rank ${listed.get(item.item).rank}`]),
    ...answer.excluded.filter((item) => about.has(item.item)).map((item) => [shown(item), item.why]),
    ...answer.excluded.filter((item) => !about.has(item.item)).map((item) => [shown(item), item.why]),
  ];
  $("excluded").replaceChildren(
    ...rows.map(([label, why]) => {
      const row = element("tr", null);
      row.append(element("td", label), element("td", why));
      return row;
    }),
  );
  $("answer").hidden = false;
}

async function ask(focus) {
  showErrors([]);
  if (chosen.length === 0) {
    showErrors(["Add at least one item to the history."]);
    $("search").focus();
    return;
  }
  const number = ++latest;
  pending.abort();
  pending = new AbortController();
  $("status").textContent = "Waiting for the answer …";
  const start = performance.now();
  try {
    const response = await fetch("recommend", {
      method: "POST",
      signal: pending.signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        history: chosen.map(nameOf),
        top: Number($("top").value),
        about: [...about.values()].map(nameOf),
      }),
    });
    const answer = await response.json().catch(() => ({ detail: `the service responded with ${response.status}` }));
    if (number !== latest) return;
    if (!response.ok) {
      const detail = Array.isArray(answer.detail) ? answer.detail.map((one) => one.msg) : [answer.detail];
      throw new Error(detail.join("; "));
    }
    showHistory();
    showAnswer(answer);
    $("status").textContent =
      `${answer.recommendations.length} items in ${((performance.now() - start) / 1000).toFixed(1)} s.`;
    if (focus) $("ranked-title").focus();
  } catch (error) {
    if (number !== latest) return;
    $("status").textContent = "";
    showErrors([error instanceof TypeError ? "The service cannot be reached." : error.message]);
  }
}

combobox($("search"), $("found"), (item) => {
  chosen.push(item);
  showHistory();
  $("status").textContent = `${item.label} added.`;
});
combobox($("why"), $("why-found"), (item) => {
  about.delete(item.item);
  about.set(item.item, item);
  if (about.size > 20) about.delete(about.keys().next().value); // as many as the service explains
  ask(false);
});
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(true);
});
$("clear").addEventListener("click", () => {
  latest += 1;
  pending.abort();
  chosen.length = 0;
  about.clear();
  $("answer").hidden = true;
  $("status").textContent = "";
  showErrors([]);
  showHistory([0, 0]);
});

function offerExample(metadata, items) {
  if (items.length === 0) return;
  const alone = metadata.llm !== null && metadata.retriever !== null ? `what ${metadata.retriever} alone would recommend, ` : "";
  $("example-shows").textContent =
    `${items.map((item) => item.label).join(", ")}: shows what ${metadata.system} recommends next, ${alone}and why other titles are missing.`;
  $("example-section").hidden = false;
  $("example").addEventListener("click", () => {
    chosen.push(...items);
    showHistory();
    ask(true);
  });
}

fetch("metadata")
  .then((answer) => answer.json())
  .then(async (metadata) => {
    maxRead = metadata.max_history_len;
    const model = metadata.llm === null ? "" : ` with ${metadata.llm.model}`;
    const nNew = (await (await fetch("health")).json()).new_items;
    $("about-system").textContent =
      `${metadata.system} on ${metadata.dataset}${model}, ${metadata.n_items.toLocaleString("en")} items` +
      (nNew ? ` and ${nNew.toLocaleString("en")} new` : "");
    document.title = `${metadata.system} on ${metadata.dataset}`;
    showHistory();
    offerExample(metadata, await (await fetch("items?limit=3")).json());
  })
  .catch(() => {
    $("about-system").textContent = "The service cannot be reached.";
  });
