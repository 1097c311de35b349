// The list of studies: searched by QIDO-RS, with how much of each is here and safe. Text is only ever set as text.
"use strict";

const PAGE = 25;
const SLOW_MS = 3000;
const PROGRESS_EVERY_MS = 4000;
const DAY_MS = 86400000;

const TAGS = {
  study: "0020000D", date: "00080020", time: "00080030", accession: "00080050", modalities: "00080061",
  description: "00081030", name: "00100010", id: "00100020", born: "00100030", sex: "00100040",
  series: "00201206", instances: "00201208",
};

// Studies shown, by their UID: the row's parts that change, and what was told last.
const rows = new Map();
let shown = 0;
let asking = null;

function query() {
  const pairs = new URLSearchParams();
  const somewhere = (name, value) => {
    const text = value.trim().replaceAll("*", "");
    if (text) pairs.set(name, `*${text}*`);
  };
  somewhere("PatientName", part("name").value);
  somewhere("PatientID", part("id").value);
  somewhere("AccessionNumber", part("accession").value);
  if (part("modality").value) pairs.set("ModalitiesInStudy", part("modality").value);
  const [from, to] = [part("from").value, part("to").value].map((date) => date.replaceAll("-", ""));
  if (from || to) pairs.set("StudyDate", from === to ? from : `${from}-${to}`);
  return pairs;
}

function tell(text) {
  part("told").textContent = text;
}

function fail(error) {
  const unheard = error.name === "TimeoutError" || error instanceof TypeError;
  part("why").textContent = word("failed") + (unheard ? word("no-answer") : error.message);
  part("failed").hidden = false;
  tell("");
}

// Searches anew, or for the page behind what is shown.
async function search(further) {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  part("failed").hidden = true;
  part("more").hidden = true;
  part("list").setAttribute("aria-busy", "true");
  if (!further) {
    shown = 0;
    tell(word("asking"));
  }
  const slow = setTimeout(() => tell(word("slow")), SLOW_MS);
  try {
    const pairs = query();
    const isEmptyQuery = pairs.size === 0;
    pairs.set("limit", String(PAGE + 1));
    pairs.set("offset", String(shown));
    const found = await ask(`/dicomweb/studies?${pairs}`, mine.signal);
    if (!further) {
      rows.clear();
      part("list").replaceChildren();
    }
    const some = found.slice(0, PAGE);
    part("list").append(...some.map(row));
    shown += some.length;
    const more = found.length > PAGE;
    part("more").hidden = !more;
    tell(shown > 0 ? `${number(shown)} ${word(more ? "found-more" : "found")}` : word(isEmptyQuery ? "none-yet" : "none-found"));
    await showProgress(some.map((study) => first(study, TAGS.study)));
  } catch (error) {
    if (!mine.signal.aborted) fail(error);
  } finally {
    clearTimeout(slow);
    if (asking === mine) part("list").setAttribute("aria-busy", "false");
  }
}

function row(study) {
  const uid = first(study, TAGS.study) ?? "";
  const name = personName(first(study, TAGS.name));
  const who = make("h2", "who", name || word("unnamed"));
  const facts = [first(study, TAGS.id), first(study, TAGS.sex), first(study, TAGS.born) && `${word("born")} ${dateOf(first(study, TAGS.born))}`];
  const when = dateOf(first(study, TAGS.date));
  const made = make("p", "when", make("b", "", when || word("no-date")), " ", timeOf(first(study, TAGS.time)));
  const modalities = make("p", "modalities", ...values(study, TAGS.modalities).filter(Boolean).map((modality) => make("span", "modality", modality)));
  const what = make("p", "what", [first(study, TAGS.description), first(study, TAGS.accession)].filter(Boolean).join(" · "));
  const counts = `${number(first(study, TAGS.instances) ?? 0)} ${word("images")} · ${number(first(study, TAGS.series) ?? 0)} ${word("series")}`;
  const state = make("p", "state", make("span", "arrived", counts));
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  const save = make("button", "button", word("download"));
  save.type = "button";
  const acts = make("p", "acts", link("button main", viewerAddress(uid), word("open")), link("button", `/view?study=${encodeURIComponent(uid)}`, word("details")), save);
  const saving = make("p", "saving");
  saving.hidden = true;
  const item = make("li", "study card", make("div", "person", who, make("p", "facts", ...facts.filter(Boolean).map((fact) => make("span", "", fact)))), make("div", "exam", made, modalities, what), make("div", "standing", state, bar, saving), acts);
  const known = { state, bar, save, saving, bytes: 0, whole: false, instances: Number(first(study, TAGS.instances) ?? 0) };
  rows.set(uid, known);
  save.addEventListener("click", () => download(uid, known));
  return item;
}

// How much has arrived and is safe. What a sender still means to send is not known here: what has come is the whole.
async function showProgress(studies) {
  if (studies.length === 0) return;
  const pairs = new URLSearchParams(studies.map((study) => ["study", study]));
  for (const progress of await ask(`/api/progress?${pairs}`)) {
    const known = rows.get(progress.study_instance_uid);
    if (!known) continue;
    const { arrived, verified, troubled } = progress;
    known.bytes = progress.dataset_bytes;
    known.whole = arrived > 0 && verified >= arrived;
    known.bar.value = arrived > 0 ? verified / arrived : 0;
    known.bar.classList.toggle("high", troubled > 0);
    const came = `${word("arrived")} ${number(arrived)}`;
    const safe = known.whole ? word("all-verified") : `${word("verified")} ${number(verified)} / ${number(arrived)}`;
    const parts = [make("span", "arrived", `${came} · ${bytesOf(progress.dataset_bytes)}`), make("span", known.whole ? "safe" : "waiting", safe)];
    if (troubled > 0) parts.push(make("span", "troubled", `${word("troubled")} ${number(troubled)}`));
    known.state.replaceChildren(...parts);
  }
}

async function watch() {
  const waiting = [...rows].filter(([, known]) => !known.whole).map(([uid]) => uid);
  if (!document.hidden) await showProgress(waiting.slice(0, 100)).catch(() => {});
  setTimeout(watch, PROGRESS_EVERY_MS);
}

async function download(uid, known) {
  if (known.stop) {
    known.stop.abort();
    return;
  }
  known.stop = new AbortController();
  known.save.textContent = word("stop");
  known.saving.hidden = false;
  const told = (share, had) => {
    known.saving.textContent = `${word("downloading")} ${Math.round(share * 100)} % · ${bytesOf(had)}`;
  };
  told(0, 0);
  try {
    await downloadStudy(uid, known.bytes, told, known.stop.signal);
    known.saving.hidden = true;
  } catch (error) {
    known.saving.hidden = error.name === "AbortError";
    known.saving.textContent = word("download-failed");
  } finally {
    known.stop = null;
    known.save.textContent = word("download");
  }
}

function lastDays(days) {
  const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 10);
  part("to").value = local(Date.now());
  part("from").value = local(Date.now() - (days - 1) * DAY_MS);
}

async function showViewer() {
  const viewer = await ask("/api/viewer");
  part("no-viewer").hidden = viewer.installed;
  part("no-viewer").textContent = word("no-viewer");
}

// Who logged in can log out; who may see single studies sees nothing of how the gateway stands.
async function showWhoAsks() {
  const session = await ask("/api/session");
  part("status").hidden = !session.reads_all;
  part("leave").hidden = !(session.administrator || session.by_token);
  part("leave").title = session.who;
}

async function leave() {
  await fetch("/api/logout", { method: "POST" });
  location.assign("/login");
}

function begin() {
  offerLanguage(part("language"), () => {
    showViewer().catch(() => {});
    search(false);
  });
  part("asked").addEventListener("submit", (event) => {
    event.preventDefault();
    search(false);
  });
  part("clear").addEventListener("click", () => {
    part("asked").reset();
    search(false);
  });
  for (const button of document.querySelectorAll("[data-days]")) {
    button.addEventListener("click", () => {
      lastDays(Number(button.dataset.days));
      search(false);
    });
  }
  part("again").addEventListener("click", () => search(shown > 0));
  part("more").addEventListener("click", () => search(true));
  part("leave").addEventListener("click", () => leave().catch(fail));
  // Several studies had the accession number that a link named.
  part("accession").value = new URLSearchParams(location.search).get("accession") ?? "";
  showViewer().catch(() => {});
  showWhoAsks().catch(() => {});
  search(false);
  watch();
}

begin();
