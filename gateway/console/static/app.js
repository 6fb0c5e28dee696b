// The console works without this: links and forms do everything. It unfolds branches in place, and keeps pages live.
import { parse, note } from "./dom.js";

const main = document.getElementById("main");
const address = main.dataset.live;

// --- the tree: a fold mark is a link to the page with that branch unfolded -------------------------------------------

const level = (row) => Number(row.dataset.level);

function branchOf(row) {
  const rows = [];
  for (let next = row.nextElementSibling; next && level(next) > level(row); next = next.nextElementSibling) rows.push(next);
  return rows;
}

function setFolded(mark, isFolded) {
  mark.setAttribute("aria-expanded", String(!isFolded));
  mark.textContent = isFolded ? "▸" : "▾";
  mark.setAttribute("aria-label", mark.getAttribute("aria-label").replace(/^\S+/, isFolded ? "Unfold" : "Fold"));
}

async function rowsOf(query) {
  const answer = await fetch(`${main.dataset.rows}?${new URLSearchParams(query)}`);
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return parse(await answer.text());
}

async function unfold(row, mark) {
  const fresh = await rowsOf({ parent: row.dataset.node, level: level(row) + 1 });
  row.after(...fresh.querySelectorAll("tr"));
  setFolded(mark, false);
  note(`${branchOf(row).length} rows unfolded`);
}

main.addEventListener("click", async (event) => {
  const mark = event.target.closest("a.fold");
  if (!mark || !main.dataset.rows || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const row = mark.closest("tr");
  if (mark.getAttribute("aria-expanded") === "true") {
    branchOf(row).forEach((below) => below.remove());
    setFolded(mark, true);
    return;
  }
  try {
    await unfold(row, mark);
  } catch {
    location.assign(mark.href); // The page says what is the matter.
  }
});

// --- live: events say what has changed, and what is shown of it is fetched anew ---------------------------------------

const REFRESH_MS = 1000;
const ROWS_MAX = 200;
const changed = new Set();
let everything = false;
let timer = 0;
let source = null;
let isPaused = false;
let polling = 0;

// While a refresh is on its way, its timer is set: they never overlap.
function later(milliseconds = REFRESH_MS) {
  if (!timer && !isPaused && !document.hidden) timer = setTimeout(refresh, milliseconds);
}

async function refresh() {
  const whole = everything;
  const ids = [...changed];
  everything = false;
  changed.clear();
  let isPostponed = false;
  try {
    if (main.dataset.rows) isPostponed = await refreshRows(whole, ids);
    else if (whole || !main.dataset.node || ids.includes(main.dataset.node)) isPostponed = await refreshPage();
    document.body.classList.remove("away");
  } catch {
    document.body.classList.add("away");
    isPostponed = true;
  } finally {
    timer = 0;
    if (isPostponed) everything = true;
    if (everything || changed.size) later(isPostponed ? 5 * REFRESH_MS : REFRESH_MS);
  }
}

async function refreshRows(whole, ids) {
  const shown = new Map([...main.querySelectorAll("tr[data-node]")].map((row) => [row.dataset.node, row]));
  const wanted = whole ? [...shown.keys()] : ids.filter((id) => shown.has(id));
  // The next refresh has those that are too many for one.
  wanted.splice(ROWS_MAX).forEach((id) => changed.add(id));
  const isFirst = shown.size === 0;
  if (isFirst) return refreshPage();
  const fresh = await rowsOf({ ids: wanted.join(",") });
  for (const row of fresh.querySelectorAll("tr[data-node]")) replaceRow(shown.get(row.dataset.node), row);
  main.querySelectorAll(".shares").forEach((shares) => shares.replaceChildren(...fresh.querySelector(".shares").cloneNode(true).childNodes));
  return false;
}

function replaceRow(old, row) {
  // What has the focus is never moved away.
  if (!old || old.contains(document.activeElement)) return;
  const wasUnfolded = branchOf(old).length > 0;
  row.dataset.level = old.dataset.level;
  row.cells[0].className = old.cells[0].className;
  const mark = row.querySelector("a.fold");
  if (mark) setFolded(mark, !wasUnfolded);
  old.replaceWith(row);
}

// Fetch the page anew; true: somebody is at work on it, so later.
async function refreshPage() {
  const isTouched = main.contains(document.activeElement) && document.activeElement !== main;
  if (isTouched || !getSelection().isCollapsed) return true;
  const answer = await fetch(location.href);
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  const fresh = parse(await answer.text()).querySelector("main");
  const opened = [...main.querySelectorAll("details")].map((details) => details.open);
  main.replaceChildren(...fresh.childNodes);
  main.querySelectorAll("details").forEach((details, index) => { if (index in opened) details.open = opened[index]; });
  return false;
}

function listen() {
  if (source || isPaused || document.hidden) return;
  clearInterval(polling);
  source = new EventSource(address);
  source.addEventListener("nodes", (event) => { JSON.parse(event.data).ids.forEach((id) => changed.add(id)); later(); });
  source.addEventListener("stale", () => { everything = true; later(); });
  source.addEventListener("figures", () => { everything = true; later(); });
  source.addEventListener("error", () => {
    if (source && source.readyState === EventSource.CLOSED) {
      // No room for one more: the page asks by itself.
      stop();
      polling = setInterval(() => { everything = true; later(); }, 5 * REFRESH_MS);
    }
  });
}

function stop() {
  if (source) source.close();
  source = null;
}

function addSwitch() {
  const place = document.getElementById("live");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  const show = () => { button.textContent = isPaused ? "Paused. Go on" : "Live. Pause"; };
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    clearInterval(polling);
    if (isPaused) stop();
    else { everything = true; listen(); later(); }
    show();
  });
  show();
  place.replaceChildren(button);
}

if (address) {
  addSwitch();
  // A page loads itself anew only where nothing tells it of changes.
  document.addEventListener("visibilitychange", () => {
    clearInterval(polling);
    if (document.hidden) stop();
    else { everything = true; listen(); later(); }
  });
  addEventListener("pagehide", stop);
  listen();
}
