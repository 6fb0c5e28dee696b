// The console works without this: links and forms do everything. It unfolds branches in place, and keeps pages live.
import { parse, note } from "./dom.js";
import { addDecoders } from "./codec.js";

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

// A page stays as it was while its gateway is away, and says so.
function showAway(isAway) {
  if (isAway === document.body.classList.contains("away")) return;
  document.body.classList.toggle("away", isAway);
  note(isAway ? "The gateway does not answer" : "The gateway answers again");
}

async function fetched(address) {
  // A proxy answers for a gateway that is away with 502 or 504.
  const answer = await fetch(address, { headers: { "X-Backbeat-Live": "1" } }).catch(() => null);
  showAway(!answer || answer.status === 502 || answer.status === 504);
  if (!answer || !answer.ok || answer.redirected) throw new Error(answer ? String(answer.status) : "away");
  return parse(await answer.text());
}

const rowsOf = (query) => fetched(`${main.dataset.rows}?${new URLSearchParams(query)}`);

const ROWS = 200;
const MANY = 1000;
const PAGE_ROWS_MAX = 2000;
// What is unfolded, in the order in which that was done.
const unfolded = new Set();
const noteUnfolded = () => main.querySelectorAll("a.fold[aria-expanded=true]").forEach((mark) => unfolded.add(mark.closest("tr").dataset.node));
const nodeRows = () => main.querySelectorAll("table.tree tr[data-node]");

function fold(row) {
  branchOf(row).forEach((below) => below.remove());
  setFolded(row.querySelector("a.fold"), true);
  unfolded.delete(row.dataset.node);
}

// Fold what was unfolded first while the page is too long, but nothing that this row is in; what was folded, in words.
function makeRoom(row) {
  const names = [];
  for (const id of unfolded) {
    if (nodeRows().length <= PAGE_ROWS_MAX) break;
    const oldest = main.querySelector(`table.tree tr[data-node="${id}"]`);
    if (!oldest) unfolded.delete(id);
    if (!oldest || oldest === row || branchOf(oldest).includes(row)) continue;
    names.push(oldest.querySelector("a.fold").getAttribute("aria-label").replace(/^\S+ /, ""));
    fold(oldest);
  }
  return names.length ? `. Folded, since a page has ${PAGE_ROWS_MAX} rows at most: ${names.join(", ")}` : "";
}

async function unfold(row, limit = ROWS) {
  const fresh = await rowsOf({ parent: row.dataset.node, level: level(row) + 1, limit });
  fold(row);
  row.after(...fresh.querySelectorAll("tr"));
  setFolded(row.querySelector("a.fold"), false);
  unfolded.add(row.dataset.node);
  note(`${branchOf(row).length} rows unfolded${makeRoom(row)}`, true);
}

// Show many more at the end of a branch that goes on, with what is unfolded in it.
async function showMany(row) {
  const { parent, first } = shownBranches().find((shown) => shown.rows.includes(row));
  const fresh = await rowsOf({ branch: `${parent},${level(row)},${first || ""},${MANY}` });
  const rows = [...fresh.querySelector("table").rows];
  // Its rows may have been fetched anew meanwhile, and are others then.
  const branch = shownBranches().find((shown) => shown.parent === parent);
  if (!branch) return;
  document.activeElement.blur(); // What has the focus is not replaced; afterwards the first new row has it.
  placeRows(branch, rows);
  const next = rows[branch.rows.length - 1] || rows.at(-1);
  next.querySelector("a.name")?.focus();
  note(`${rows.length} rows shown${makeRoom(next)}`, true);
}

// Where that cannot be done here, the page that the link leads to says what is the matter.
async function inPlace(event, doing, address) {
  event.preventDefault();
  await doing.catch(() => location.assign(address));
}

main.addEventListener("click", (event) => {
  const link = event.target.closest("a.fold, a.many");
  if (!link || !main.dataset.rows || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const row = link.closest("tr");
  if (link.matches(".many")) inPlace(event, showMany(row), link.href);
  else if (link.getAttribute("aria-expanded") === "false") inPlace(event, unfold(row), link.href);
  else {
    event.preventDefault();
    fold(row);
  }
});

// `*` in a row unfolds many of its children.
main.addEventListener("keydown", (event) => {
  const mark = event.key === "*" && main.dataset.rows && event.target.closest("tr[data-node]")?.querySelector("a.fold");
  if (mark) inPlace(event, unfold(mark.closest("tr"), MANY), mark.href);
});

// --- live: events say what has changed, and what is shown of it is fetched anew ---------------------------------------

const REFRESH_MS = Number(main.dataset.every || 1000);
const BRANCHES_MAX = 5;
const NEW_MS = 10000;
let nextNewAt = 0;
const changed = new Set();
// Times by the gateway's clock: of the newest event, and of the newest that a refresh on its way is to show.
let newestAt = 0;
let wantedUntil = 0;
let everything = false;
let timer = 0;
let source = null;
let isPaused = false;
let isOver = false;
let polling = 0;

// True where what was fetched may lack a change that an event has told of.
const lacks = (fresh) => Number(fresh.dataset.until) < wantedUntil;

// A long page is asked for more rarely.
const pace = () => (nodeRows().length > 2 * ROWS ? 5 * REFRESH_MS : REFRESH_MS);

// While a refresh is on its way, its timer is set: they never overlap.
function later(milliseconds = pace()) {
  if (!timer && !isPaused && !document.hidden) timer = setTimeout(refresh, milliseconds);
}

async function refresh() {
  const whole = everything;
  const ids = [...changed];
  everything = false;
  changed.clear();
  wantedUntil = newestAt;
  let isPostponed = false;
  try {
    if (main.dataset.rows) isPostponed = await refreshRows(whole, ids);
    else if (whole || !main.dataset.id || ids.includes(main.dataset.id)) isPostponed = await refreshPage();
  } catch {
    isPostponed = true;
  } finally {
    timer = 0;
    if (isPostponed) everything = true;
    if (everything || changed.size) later(isPostponed ? 5 * REFRESH_MS : pace());
  }
}

// Branches that are shown: rows with one parent, in their order.
function shownBranches() {
  const branches = new Map();
  const parents = [];
  for (const row of main.querySelectorAll("table.tree tbody > tr")) {
    const parent = level(row) ? parents[level(row) - 1] : "";
    if (!branches.has(parent)) branches.set(parent, { parent, level: level(row), rows: [], first: "" });
    const branch = branches.get(parent);
    branch.rows.push(row);
    if (row.querySelector("a.earlier")) branch.first = null;
    else if (branch.first === null) branch.first = row.dataset.node;
    if (row.dataset.node) parents[level(row)] = row.dataset.node;
  }
  return [...branches.values()];
}

// Fetch the branches anew that have changed; true: once more, later, since their counts may miss something.
async function refreshRows(whole, ids) {
  const branches = shownBranches();
  if (!branches.length) return refreshPage();
  const shown = new Set(branches.flatMap((branch) => branch.rows.map((row) => row.dataset.node)));
  // What is not shown may be new in any branch; most of it is in branches that are folded, so that is looked at rarely.
  const unknown = ids.find((id) => !shown.has(id));
  const isNew = unknown && Date.now() >= nextNewAt;
  if (isNew) nextNewAt = Date.now() + NEW_MS;
  else if (unknown) changed.add(unknown);
  // A group counts nodes that are not shown.
  const has = (row) => ids.includes(row.dataset.node) || (ids.length && "group" in row.dataset);
  const hasChanged = (branch) => ids.includes(branch.parent) || branch.rows.some(has);
  const wanted = whole || isNew ? branches : branches.filter(hasChanged);
  if (!wanted.length) return false;
  // The next refresh has those that are too many for one.
  for (const branch of wanted.splice(BRANCHES_MAX)) branch.rows.forEach((row) => row.dataset.node && changed.add(row.dataset.node));
  const query = wanted.map((branch) => ["branch", `${branch.parent},${branch.level},${branch.first || ""},${limitOf(branch)}`]);
  const fresh = await rowsOf(query);
  const tables = [...fresh.querySelectorAll("table")];
  // A branch whose parent is gone has no table: then the page as a whole is another one.
  if (tables.length !== wanted.length) return refreshPage();
  wanted.forEach((branch, index) => placeRows(branch, [...tables[index].rows]));
  const counts = fresh.querySelector(".shares");
  main.querySelectorAll(".shares").forEach((shares) => shares.replaceChildren(...counts.cloneNode(true).childNodes));
  replaceAlarms(fresh);
  return lacks(counts);
}

// A branch that goes on stays as long as it is; one that is shown to its end may grow.
function limitOf(branch) {
  const count = branch.rows.filter((row) => row.dataset.node).length;
  if (branch.rows.some((row) => row.querySelector("a.later"))) return count;
  return count > ROWS ? MANY : ROWS;
}

const sameAs = (row) => row.dataset.node || (row.querySelector("a.earlier") ? "earlier" : "later");

// Put fresh rows where the old ones of a branch are, each with what is unfolded below it.
function placeRows(branch, rows) {
  const body = main.querySelector("table.tree tbody");
  const old = new Map(branch.rows.map((row) => [sameAs(row), row]));
  let last = branch.parent ? body.querySelector(`tr[data-node="${branch.parent}"]`) : null;
  if (branch.parent && !last) return; // It has just been removed with its parent.
  for (const row of rows) {
    let placed = old.get(sameAs(row));
    old.delete(sameAs(row));
    if (placed) placed = replaceRow(placed, row);
    else if (last) last.after(row);
    else body.prepend(row);
    placed = placed || row;
    last = branchOf(placed).at(-1) || placed;
  }
  for (const row of old.values()) {
    if (row.contains(document.activeElement)) continue;
    branchOf(row).forEach((below) => below.remove());
    row.remove();
  }
}

function replaceAlarms(fresh) {
  const alarms = document.getElementById("alarms");
  const now = fresh.querySelector("#alarms");
  if (alarms && now && alarms.textContent.trim() !== now.textContent.trim()) alarms.replaceChildren(...now.childNodes);
}

// The row that stands there afterwards.
function replaceRow(old, row) {
  // What has the focus is never moved away.
  if (old.contains(document.activeElement)) return old;
  const wasUnfolded = branchOf(old).length > 0;
  const mark = row.querySelector("a.fold");
  if (mark) setFolded(mark, !wasUnfolded);
  old.replaceWith(row);
  return row;
}

// A field has another value than the page came with.
function isFilledIn(field) {
  if (!field.options) return field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  return field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
}

// Somebody is at work on the page: a field or a link has the focus or is filled in, text is marked, payloads are decoded.
function isInUse() {
  const isTouched = main.contains(document.activeElement) && document.activeElement !== main;
  const isFilled = [...main.querySelectorAll("input, select, textarea")].some(isFilledIn);
  return isTouched || isFilled || !getSelection().isCollapsed || main.querySelector(".decoding") !== null;
}

// Fetch the page anew; true: once more, later, since somebody is at work on it or its lists may miss something.
async function refreshPage() {
  if (isInUse()) return true;
  const fresh = (await fetched(location.href)).querySelector("main");
  if (isInUse()) return true; // Begun while the page was on its way.
  const opened = [...main.querySelectorAll("details")].map((details) => details.open);
  main.replaceChildren(...fresh.childNodes);
  noteUnfolded();
  addDecoders(main);
  main.querySelectorAll("details").forEach((details, index) => { if (index in opened) details.open = opened[index]; });
  return "old" in fresh.dataset || lacks(fresh);
}

function listen() {
  if (source || isPaused || document.hidden) return;
  clearInterval(polling);
  source = new EventSource(address);
  const take = (event) => { const news = JSON.parse(event.data); newestAt = Math.max(newestAt, news.at); return news; };
  const noteChanged = (event) => { take(event).ids.forEach((id) => changed.add(id)); later(); };
  source.addEventListener("nodes", noteChanged);
  source.addEventListener("jobs", noteChanged);
  source.addEventListener("stale", (event) => { take(event); everything = true; later(); });
  source.addEventListener("figures", (event) => { take(event); everything = true; later(); });
  // A stream that has lasted long is ended, and begun anew by the browser.
  source.addEventListener("bye", () => { isOver = true; });
  source.addEventListener("open", () => {
    isOver = false;
    if (document.body.classList.contains("away")) { everything = true; later(); }
  });
  source.addEventListener("error", () => {
    if (source && source.readyState === EventSource.CLOSED) {
      // No room for one more: the page asks by itself.
      stop();
      polling = setInterval(() => { everything = true; later(); }, 5 * REFRESH_MS);
    } else if (source && !isOver) {
      showAway(true);
    }
    isOver = false;
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

noteUnfolded();
addDecoders(main);
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
  // No event tells that what was shown at once has been read anew.
  if ("old" in main.dataset) { everything = true; later(); }
}
