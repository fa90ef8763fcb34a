"use strict";
// The review page. The server keeps the decisions; this script shows them and sends what the person does.
// Texts of the images come from the web: they are only ever set as text, never as HTML.
//
// Of all images the script knows what it counts, filters and sorts by; an image is its place in the order of the ids.
// Everything else it asks for when the image comes near the window, and only cards near the window exist.

const byId = (id) => document.getElementById(id);
const grid = byId("grid"), form = byId("filters"), large = byId("large"), help = byId("help");
const GAP = 10, CAPTION = 42, SPARE = 2; // px, px, rows drawn beyond the window
const NOTHING = { decision: "", domain: "", reason: "" };
const LABELS = {
  score: "face score", bytes: "bytes", crop_side: "side of the crop", raw_bytes: "bytes of the raw file",
  character: "is the character", raw_width: "width of the raw image", raw_height: "height of the raw image",
};
const DONE = { keep: "kept", reject: "rejected", photo: "marked as photo", portrait: "marked as portrait", clear: "left to the rules" };

const AT_ONCE = 500; // images that may be asked about in one request
const KNOWN = 2000; // images whose texts and numbers are kept for when they come back

let data = { name: "", numbers: [], undo: 0 };
let images = { ids: [] }; // what is known of all images; see collection.py
let places = new Map(); // id -> image
const made = new Map(); // image -> what was decided about it
const items = new Map(); // image -> all that is known of it, for those that were near the window last
const columnOf = new Map(); // name of a number -> that number of all images, once it was needed
let wanted = {}; // what the filters say
let shown = []; // the images that matched when the filters were last applied
let placeOf = new Int32Array(0); // image -> place in `shown`, or -1
let stale = new Set(); // images shown that no longer match
let cursor = 0; // place in `shown`
let anchor = 0; // where a range starts
let selected = new Set(); // images
let columns = 1, width = 100; // of the grid
const cards = new Map(); // place -> element, for those near the window
let sending = Promise.resolve();
let asked = null; // what the server said last about who it is; null while nobody wants to know
let answering = false; // whether the images shown are its questions, and not those that match the filters
const STRANGER = "wrong subject"; // the reason by which it learns

// --- what is true of an image now: the decision, or else the rules

const said = (name, image) => images[name].texts[images[name].codes[image]];

function now(image) {
  const by = made.get(image) || NOTHING, rules = said("rules", image), before = said("domain", image);
  const domain = by.domain || before;
  let status = rules ? "rejected" : "kept", reason = rules;
  if (by.decision === "keep") [status, reason] = ["kept", "kept by hand"];
  if (by.decision === "reject") [status, reason] = ["rejected", "rejected by hand"];
  const hand = Boolean(by.decision || by.domain);
  const waiting = status !== said("status", image) || domain !== before || (said("note", image) === "domain by hand" && !by.domain);
  return { status, reason, domain, hand, waiting, why: by.reason };
}

function matches(image) {
  const is = now(image);
  if (wanted.status === "hand" ? !is.hand : wanted.status === "waiting" ? !is.waiting : wanted.status && is.status !== wanted.status) return false;
  if (wanted.reason && is.reason !== wanted.reason) return false;
  if (wanted.domain && is.domain !== wanted.domain) return false;
  if (wanted.source && said("source", image) !== wanted.source) return false;
  if (Number.isNaN(wanted.low) && Number.isNaN(wanted.high)) return true;
  const value = wanted.values[image]; // an image without the number matches no range
  return value !== null && (Number.isNaN(wanted.low) || value >= wanted.low) && (Number.isNaN(wanted.high) || value <= wanted.high);
}

/** How many images are what, kept up to date with each decision. */
const tally = { kept: 0, photos: 0, hand: 0, waiting: 0, reason: new Map(), domain: new Map() };

function count(image, by) {
  const is = now(image);
  if (is.status === "kept") {
    tally.kept += by;
    if (is.domain === "photo") tally.photos += by;
  }
  if (is.hand) tally.hand += by;
  if (is.waiting) tally.waiting += by;
  for (const name of ["reason", "domain"]) tally[name].set(is[name], (tally[name].get(is[name]) || 0) + by);
}

/** Take over what the server says was decided. */
function learn(decisions) {
  for (const [id, by] of Object.entries(decisions)) {
    const image = places.get(id);
    if (image === undefined) continue;
    count(image, -1);
    made.set(image, by);
    count(image, 1);
    if (placeOf[image] < 0 || answering) continue;
    if (matches(image)) stale.delete(image);
    else stale.add(image);
  }
}

// --- filters

async function applyFilters() {
  const now = Object.fromEntries(new FormData(form));
  const low = parseFloat(now.low), high = parseFloat(now.high), sorted = now.order === "up" || now.order === "down";
  wanted = { ...now, low, high };
  if (sorted || !Number.isNaN(low) || !Number.isNaN(high)) {
    const asked = wanted, values = columnOf.get(now.number) || (await numbersOf(now.number));
    if (wanted !== asked) return; // the filters have changed meanwhile
    wanted.values = values;
  }
  filterImages();
}

/** A number of all images. */
async function numbersOf(name) {
  if (!name) return []; // no image has one
  try {
    columnOf.set(name, await ask(`number/${encodeURIComponent(name)}`));
  } catch (error) {
    complain(error);
  }
  return columnOf.get(name) || [];
}

function filterImages() {
  const { values, order, status, reason } = wanted;
  grid.classList.toggle("plain", status === "rejected" || Boolean(reason)); // rejected images dimmed only among others
  const at = shown[cursor], found = [];
  answering = false;
  for (let image = 0; image < images.ids.length; image++) if (matches(image)) found.push(image);
  const sign = order === "down" ? -1 : 1;
  const size = (image) => (values[image] === null ? Infinity : sign * values[image]); // without a number: last
  if (order === "up" || order === "down") found.sort((a, b) => (size(a) === size(b) ? 0 : size(a) - size(b)));
  if (order === "similar") found.sort((a, b) => images.groups[a] - images.groups[b]);
  location.replace("#" + new URLSearchParams([...new FormData(form)].filter(([name, value]) => value && name !== "size")));
  present(found, at);
}

/** Show these images, with the cursor at one of them. */
function present(found, at) {
  shown = found;
  placeOf = new Int32Array(images.ids.length).fill(-1);
  shown.forEach((image, place) => (placeOf[image] = place));
  stale = new Set();
  cursor = at === undefined ? 0 : Math.max(0, placeOf[at]);
  anchor = cursor;
  selected = new Set();
  layout();
}

function choices(name, values, first) {
  const select = form.elements[name], before = select.value;
  const options = first ? [["", first]] : [];
  for (const [value, label] of values) options.push([value, label]);
  select.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
  if (options.some(([value]) => value === before)) select.value = before;
}

const counted = (counts) => [...counts].filter(([value, n]) => value && n).sort().map(([value, n]) => [value, `${value} (${n})`]);

function fillFilters() {
  const current = form.elements.reason.value, reasons = counted(tally.reason);
  if (current && !reasons.some(([value]) => value === current)) reasons.push([current, `${current} (0)`]);
  choices("reason", reasons, "all");
  choices("domain", counted(tally.domain), "all");
}

// --- what is known of single images

/** Ask for the images near the window of which too little is known; one request at a time, for what is there then. */
let asking = false;
async function ensure() {
  if (asking) return;
  const missing = [...cards.keys()].map((place) => shown[place]).filter((image) => !items.has(image)).slice(0, AT_ONCE);
  if (!missing.length) return;
  asking = true;
  try {
    know((await ask("items", { ids: missing.map((image) => images.ids[image]) })).items);
    for (const image of missing) if (!items.has(image)) items.set(image, { id: images.ids[image] }); // gone meanwhile
  } catch (error) {
    complain(error);
    return;
  } finally {
    asking = false;
  }
  for (const [place, card] of cards) complete(card, shown[place], place);
  if (large.open) enlarge();
  ensure();
}

function know(found) {
  for (const item of found) items.set(places.get(item.id), item);
  const near = new Set([...cards.keys()].map((place) => shown[place]));
  for (const image of items.keys()) {
    if (items.size <= KNOWN) break;
    if (!near.has(image)) items.delete(image); // the oldest first
  }
}

// --- the grid: only the cards near the window exist

function layout() {
  const space = grid.clientWidth, size = Math.min(Number(form.elements.size.value), (space - GAP) / 2);
  columns = Math.max(1, Math.floor((space + GAP) / (size + GAP)));
  width = Math.floor((space - (columns - 1) * GAP) / columns);
  const rows = Math.ceil(shown.length / columns);
  grid.style.height = `${rows * (width + CAPTION + GAP)}px`;
  for (const place of cards.keys()) drop(place);
  grid.querySelector("p")?.remove();
  if (!shown.length && images.ids.length) {
    const note = document.createElement("p");
    note.textContent = "No image matches these filters.";
    grid.append(note);
  }
  draw();
  describe();
}

function draw() {
  const height = width + CAPTION + GAP, top = -grid.getBoundingClientRect().top;
  const from = Math.max(0, Math.floor(top / height) - SPARE) * columns;
  const to = Math.min(shown.length, (Math.ceil((top + innerHeight) / height) + SPARE) * columns);
  for (const place of cards.keys()) if (place < from || place >= to) drop(place);
  for (let place = from; place < to; place++) {
    if (!cards.has(place)) {
      const card = makeCard(shown[place], place);
      cards.set(place, card);
      grid.append(card);
    }
  }
  ensure();
}

function drop(place) {
  const card = cards.get(place);
  card.querySelector("img")?.removeAttribute("src"); // or the browser would still fetch what was passed by
  card.remove();
  cards.delete(place);
}

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

function address(item, size) {
  return `image/${size}/${encodeURIComponent(item.id)}?${item.key}`;
}

function makeCard(image, place) {
  const card = element("div", "card");
  card.id = `at-${place}`;
  card.dataset.place = place;
  card.dataset.id = images.ids[image];
  card.setAttribute("role", "option");
  card.style.width = `${width}px`;
  card.style.transform = `translate(${(place % columns) * (width + GAP)}px, ${Math.floor(place / columns) * (width + CAPTION + GAP)}px)`;
  const picture = element("div", "picture");
  const pick = element("button", "pick", "✓"), quick = element("div", "quick");
  pick.title = "select";
  const keep = element("button", "keep", "✓"), reject = element("button", "reject", "✕");
  keep.dataset.quick = "keep";
  reject.dataset.quick = "reject";
  keep.title = "keep";
  reject.title = "reject";
  quick.append(keep, reject);
  for (const button of [pick, keep, reject]) {
    button.type = "button";
    button.tabIndex = -1;
    button.setAttribute("aria-label", button.title);
  }
  picture.append(pick, quick);
  const caption = element("div", "caption"), first = element("div", ""), second = element("div", "");
  first.append(element("span", "badge"), element("span", "score"));
  second.append(element("span", "status"), element("span", "dot"));
  caption.append(first, second);
  card.append(picture, caption);
  complete(card, image, place);
  return card;
}

/** Paint a card, with its picture as soon as it is known. */
function complete(card, image, place) {
  const item = items.get(image);
  paint(card, image, place);
  if (!item || card.dataset.known) return;
  card.dataset.known = "yes";
  let look = element("span", "missing", "no file here");
  if (item.key) {
    const img = (look = element("img", item.cropped ? "" : "raw"));
    img.decoding = "async";
    img.draggable = false;
    img.alt = item.title || item.id;
    img.onerror = () => img.replaceWith(element("span", "missing", "cannot be shown"));
    img.src = address(item, "small");
  }
  card.querySelector(".picture").prepend(look);
}

function paint(card, image, place) {
  const is = now(image), number = answering ? "character" : form.elements.number.value || "score";
  const value = columnOf.get(number)?.[image] ?? items.get(image)?.[number];
  card.className = `card ${is.status}${is.hand ? " hand" : ""}${images.cropped[image] ? "" : " fixed"}${place === cursor ? " cursor" : ""}`;
  card.setAttribute("aria-selected", selected.has(image));
  const [badge, score, status, dot] = card.querySelectorAll(".badge, .score, .status, .dot");
  badge.className = `badge ${is.domain}`;
  badge.textContent = is.domain;
  score.textContent = value === undefined ? "" : short(value);
  score.title = label(number);
  status.textContent = is.reason ? is.reason + (is.why ? `: ${is.why}` : "") : is.status;
  status.title = status.textContent;
  dot.textContent = is.waiting ? "●" : "";
  dot.title = is.waiting ? "counts from the next dvc repro on" : "";
}

function repaint() {
  for (const [place, card] of cards) paint(card, shown[place], place);
  grid.setAttribute("aria-activedescendant", `at-${cursor}`);
  describe();
  if (large.open) enlarge();
}

const label = (name) => LABELS[name] || name.replaceAll("_", " ");
const short = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3))));

function describe() {
  const { kept, hand, photos, waiting } = tally;
  byId("n-kept").textContent = kept;
  byId("n-rejected").textContent = images.ids.length - kept;
  byId("n-hand").textContent = hand;
  const share = kept ? (100 * photos) / kept : 0;
  byId("share-bar").style.width = `${share}%`;
  byId("share").textContent = kept ? `${Math.round(share)}% photos` : "none kept";
  byId("waiting").hidden = !waiting;
  byId("waiting").textContent = `● ${waiting} wait${waiting === 1 ? "s" : ""} for dvc repro`;
  const line = byId("shown");
  line.textContent = `${shown.length} of ${images.ids.length} images shown`;
  if (stale.size) {
    const again = element("button", "", "filter again (F)");
    again.type = "button";
    again.onclick = refilter;
    line.append(`, ${stale.size} no longer match${stale.size === 1 ? "es" : ""}: `, again);
  }
  const n = targets().length;
  byId("selected").textContent = selected.size ? `${selected.size} selected` : n ? "none selected" : "";
  for (const button of document.querySelectorAll("[data-action]")) button.disabled = !n;
  byId("undo").disabled = !data.undo;
}

function refilter() {
  fillFilters();
  applyFilters();
}

// --- moving and selecting

function range(a, b) {
  return new Set(shown.slice(Math.min(a, b), Math.max(a, b) + 1));
}

function goTo(place, extend = false) {
  if (!shown.length) return;
  cursor = Math.min(Math.max(place, 0), shown.length - 1);
  if (!extend) anchor = cursor;
  selected = range(anchor, cursor);
  reveal();
  repaint();
}

function reveal() {
  const height = width + CAPTION + GAP, head = document.querySelector("header").offsetHeight + 8;
  const top = Math.floor(cursor / columns) * height + grid.getBoundingClientRect().top;
  const bottom = innerHeight - byId("bar").offsetHeight - 8;
  if (top < head) scrollBy(0, top - head);
  else if (top + height - GAP > bottom) scrollBy(0, top + height - GAP - bottom);
  draw();
}

function toggle(place) {
  const image = shown[place];
  if (!selected.delete(image)) selected.add(image);
  cursor = anchor = place;
  repaint();
}

/** The images an action is about: the selected ones, or else the one under the cursor; in the large view that one. */
function targets() {
  if (!shown.length) return [];
  if (large.open || !selected.size) return [shown[cursor]].filter((image) => images.cropped[image]);
  return [...selected].filter((image) => images.cropped[image]);
}

// --- decisions

async function ask(url, body) {
  const answer = await fetch(url, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: data.name, ...body }) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

/** One request after the other, in the order of the keys; what the server says is what is shown. */
function send(url, body, told) {
  sending = sending.then(async () => {
    try {
      const answer = await ask(url, body);
      learn(answer.decisions);
      data.undo = answer.undo;
      fillFilters();
      told(answer);
    } catch (error) {
      complain(error);
    }
    repaint();
  });
}

function complain(error) {
  toast(error instanceof TypeError ? "The server does not answer: nothing was saved. Start semireal review again." : error.message, true);
}

function decide(action, chosen = targets()) {
  if (!chosen.length) {
    if (shown.length) toast(`${now(shown[cursor]).reason}: it never came to the filter, so there is nothing to decide`);
    return;
  }
  const why = byId("why");
  const usual = answering && action === "reject" ? STRANGER : "";
  const reason = action === "keep" || action === "reject" ? why.value || usual : "";
  send("decide", { ids: chosen.map((image) => images.ids[image]), action, reason }, () => {
    if (chosen.length > 1) toast(`${chosen.length} images ${DONE[action]} · U undoes it`);
    if (answering && shown.every((image) => made.get(image)?.decision)) learnWho();
  });
  if (reason) why.value = "";
}

function undo() {
  send("undo", {}, (answer) => {
    const ids = Object.keys(answer.decisions);
    toast(ids.length ? `undone: ${ids.length} image${ids.length === 1 ? "" : "s"}` : "nothing to undo");
    const back = ids.map((id) => places.get(id)).filter((image) => placeOf[image] >= 0);
    if (!back.length) return;
    cursor = anchor = back.reduce((first, image) => Math.min(first, placeOf[image]), Infinity);
    selected = new Set(back);
    reveal();
  });
}

// --- who is it? The server asks about those whose answer helps most, and learns from what was decided

/** Let the server learn from all decisions, and say what came of it. */
async function learnWho() {
  const line = byId("asking-line");
  byId("asking").hidden = false;
  if (!asked) line.textContent = "looking at all heads, each once \u2026";
  const buttons = ["ask-more", "ask-strangers"].map(byId);
  for (const button of buttons) button.disabled = true;
  try {
    await sending; // what was answered is on disk
    asked = await ask("ask", {});
  } catch (error) {
    complain(error);
    byId("asking").hidden = !asked;
    return;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
  if (large.open) large.close();
  const { answers, heads, strangers, wrong, ids } = asked;
  columnOf.set("character", asked.character);
  if (!data.numbers.includes("character")) {
    data.numbers.push("character");
    choices("number", data.numbers.map((name) => [name, label(name)]));
  }
  const sure = wrong === null ? "nobody was somebody else yet" : `up to ${Math.ceil(wrong)} of the other ${heads - answers} may be taken wrongly`;
  line.textContent = `${answers} of ${heads} answered: ${sure}`;
  byId("ask-more").disabled = !ids.length;
  byId("ask-strangers").hidden = !strangers.length;
  byId("ask-strangers").textContent = `Look at ${strangers.length} that seem somebody else`;
  repaint();
}

async function askMore() {
  if (!asked || answering) await learnWho();
  if (!asked?.ids.length) return;
  answering = true;
  present(imagesOf(asked.ids));
  goTo(0);
  enlarge();
}

/** All at once, with one look at them: selected, to take out by a click who is not. */
function showStrangers() {
  answering = true;
  present(imagesOf(asked.strangers));
  selected = new Set(shown);
  scrollTo(0, 0);
  repaint();
  grid.focus({ preventScroll: true });
}

function stopAsking() {
  asked = null;
  byId("asking").hidden = true;
  refilter();
}

const imagesOf = (ids) => ids.map((id) => places.get(id)).filter((image) => image !== undefined);

let hiding;
function toast(text, error = false) {
  const box = byId("toast");
  box.textContent = text;
  box.className = error ? "error" : "";
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), error ? 12000 : 2500);
}

// --- the large picture

function enlarge() {
  const image = shown[cursor];
  if (image === undefined) return;
  const is = now(image), known = items.get(image), item = known || { id: images.ids[image] };
  const img = large.querySelector("img"), url = item.key ? address(item, "large") : "";
  img.hidden = !url;
  large.querySelector(".missing").hidden = Boolean(url) || !known;
  if (url && img.getAttribute("src") !== url) img.src = url;
  large.querySelector("h2").textContent = answering ? `Is this ${data.name.replaceAll("_", " ")}?` : item.title || item.id;
  const state = large.querySelector(".state");
  state.className = `state ${is.status}`;
  state.textContent = (is.reason || is.status) + (is.why ? `: ${is.why}` : "") + (is.waiting ? " (from the next dvc repro on)" : "");
  const facts = [["domain", is.domain], ["source", item.source], ["artist", item.artist], ["page", item.page_url], ["last stage", item.stage],
    ["rules say", said("rules", image) || "keep"], ["near-duplicates", item.cluster], ["id", item.id],
    ...data.numbers.filter((name) => item[name] !== undefined).map((name) => [label(name), short(item[name])])];
  large.querySelector(".facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => {
    const text = element("dd", "", name === "page" ? "" : value);
    if (name === "page" && /^https?:/.test(value)) {
      const link = element("a", "", value);
      [link.href, link.target, link.rel] = [value, "_blank", "noreferrer noopener"];
      text.append(link);
    } else text.textContent = value;
    return [element("dt", "", name), text];
  }));
  byId("place").textContent = known ? `${cursor + 1} / ${shown.length}` : "\u2026";
  const next = items.get(shown[cursor + 1]);
  if (next?.key) new Image().src = address(next, "large"); // the next one is there when it is wanted
  if (!large.open) {
    large.showModal();
    describe();
  }
}

// --- keyboard and mouse

const MOVES = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns, ArrowDown: () => columns,
  PageUp: () => -columns * perPage(), PageDown: () => columns * perPage(), Home: () => -Infinity, End: () => Infinity };
const ACTIONS = { k: "keep", r: "reject", p: "photo", o: "portrait", c: "clear" };
const perPage = () => Math.max(1, Math.floor((innerHeight - 160) / (width + CAPTION + GAP)));

document.addEventListener("keydown", (event) => {
  if (help.open || event.altKey) return;
  if (event.target.matches("select, input")) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "why")) grid.focus({ preventScroll: true });
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const go = MOVES[key];
  if (event.ctrlKey || event.metaKey) {
    if (key === "a" && !large.open) {
      selected = new Set(shown);
      repaint();
    } else if (key === "z") undo();
    else return;
  } else if (go) {
    const step = large.open && key.startsWith("Arrow") ? Math.sign(go()) : go();
    goTo(cursor + step, event.shiftKey && !large.open);
  } else if (ACTIONS[key]) {
    if (event.repeat) return; // a key held too long is not a decision about the next ten
    const one = large.open || selected.size <= 1;
    decide(ACTIONS[key]);
    if (one && cursor < shown.length - 1) goTo(cursor + 1);
  } else if (key === "u") undo();
  else if (key === "f") refilter();
  else if (key === "a" && !large.open) askMore();
  else if (key === "w" && !large.open) byId("why").focus();
  else if (key === "?") help.showModal();
  else if (key === "Escape" && !large.open) {
    selected = new Set();
    repaint();
  } else if ((key === " " || key === "Enter") && !event.target.matches("button, a")) {
    if (large.open) large.close();
    else enlarge();
  } else return;
  event.preventDefault();
});

grid.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (!card) return;
  const place = Number(card.dataset.place), quick = event.target.dataset.quick;
  grid.focus({ preventScroll: true });
  if (quick) {
    cursor = anchor = place;
    decide(quick, [shown[place]]);
  } else if (event.shiftKey) {
    cursor = place;
    const more = range(anchor, place);
    selected = event.ctrlKey || event.metaKey ? new Set([...selected, ...more]) : more;
    repaint();
  } else if (event.ctrlKey || event.metaKey || event.target.matches(".pick")) toggle(place);
  else goTo(place);
});
grid.addEventListener("dblclick", (event) => {
  if (event.target.closest(".card") && !event.target.closest("button")) enlarge();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.action) {
    decide(button.dataset.action);
    if (large.open) goTo(cursor + 1);
  } else if (button.dataset.step) goTo(cursor + Number(button.dataset.step));
  else if ("close" in button.dataset) button.closest("dialog").close();
});
large.addEventListener("close", () => {
  grid.focus({ preventScroll: true });
  describe();
});
byId("undo").onclick = undo;
byId("ask-button").onclick = byId("ask-more").onclick = askMore;
byId("ask-strangers").onclick = showStrangers;
byId("ask-done").onclick = stopAsking;
byId("help-button").onclick = () => help.showModal();
byId("filters-button").onclick = () => byId("filters-button").setAttribute("aria-expanded", form.classList.toggle("open"));
form.addEventListener("input", (event) => {
  if (event.target.name === "size") {
    localStorage.setItem("size", event.target.value);
    layout();
    reveal();
  } else applyFilters();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => {
  form.elements.size.value = localStorage.getItem("size") || 150;
  if (data.numbers.includes("score")) form.elements.number.value = "score";
  refilter();
}));
addEventListener("scroll", draw, { passive: true });
addEventListener("resize", draw);
let laidOut = 0; // px; the height of the grid is ours, only its width asks for a new layout
new ResizeObserver(() => {
  if (grid.clientWidth !== laidOut) layout();
  laidOut = grid.clientWidth;
}).observe(grid);

// --- start

async function start() {
  try {
    data = await ask("images");
  } catch (error) {
    toast(error.message, true);
    return;
  }
  images = data.images;
  images.ids.forEach((id, image) => places.set(id, image));
  for (const [id, by] of Object.entries(data.decisions)) made.set(places.get(id), by);
  for (let image = 0; image < images.ids.length; image++) count(image, 1);
  know(data.items);
  document.title = `${data.name}: review`;
  byId("title").replaceChildren(data.name, element("small", "", data.stage));
  byId("file").textContent = data.file;
  const sources = new Map();
  for (const code of images.source.codes) sources.set(images.source.texts[code], (sources.get(images.source.texts[code]) || 0) + 1);
  choices("source", counted(sources), "all");
  choices("number", data.numbers.map((name) => [name, label(name)]));
  if (data.numbers.includes("score")) form.elements.number.value = "score";
  fillFilters();
  form.elements.size.value = localStorage.getItem("size") || (innerWidth < 640 ? 110 : 150);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) if (form.elements[name]) form.elements[name].value = value;
  await applyFilters();
  requestAnimationFrame(() => grid.focus({ preventScroll: true })); // the browser looks for `autofocus` first
  if (!columnOf.has(form.elements.number.value)) numbersOf(form.elements.number.value); // what is filtered by next, as a rule
}
start();
