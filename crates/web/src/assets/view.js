// The page of one study: its objects by series, and each of them shown. What is an image for the viewer can be looked at
// here too, picture by picture.
"use strict";

const STUDY = new URLSearchParams(location.search).get("study") ?? "";
const ROOT = `/dicomweb/studies/${encodeURIComponent(STUDY)}`;
const PAGE = 500;
const OBJECTS_MAX = 5000;

let bytes = 0;
let saving = null;
let choosing = null;

function fail(error) {
  const unheard = error.name === "TimeoutError" || error instanceof TypeError;
  part("why").textContent = error.status === 404 ? word("no-study") : word("failed") + (unheard ? word("no-answer") : error.message);
  part("failed").hidden = false;
  part("contents").setAttribute("aria-busy", "false");
}

function showSubject(study) {
  const name = personName(first(study, "00100010"));
  part("title").textContent = name || word("unnamed");
  part("title").removeAttribute("data-word");
  const born = first(study, "00100030");
  const facts = [first(study, "00100020"), first(study, "00100040"), born && `${word("born")} ${dateOf(born)}`,
    `${dateOf(first(study, "00080020"))} ${timeOf(first(study, "00080030"))}`.trim(), values(study, "00080061").join(" "),
    first(study, "00081030"), first(study, "00080050")];
  part("subject").replaceChildren(...facts.filter(Boolean).map((fact) => make("span", "", fact)));
}

async function showProgress() {
  const progress = await ask(`/api/studies/${encodeURIComponent(STUDY)}/progress`);
  bytes = progress.dataset_bytes;
  const whole = progress.verified >= progress.arrived;
  const safe = whole ? word("all-verified") : `${word("verified")} ${number(progress.verified)} / ${number(progress.arrived)}`;
  part("progress").replaceChildren(make("span", "", `${word("arrived")} ${number(progress.arrived)} · ${bytesOf(bytes)}`), make("span", whole ? "safe" : "waiting", safe));
}

// Every instance, page by page.
async function objects() {
  const all = [];
  for (;;) {
    const some = await ask(`${ROOT}/instances?limit=${PAGE}&offset=${all.length}`);
    all.push(...some);
    if (some.length < PAGE || all.length >= OBJECTS_MAX) return all;
  }
}

function seriesOf(all) {
  const series = new Map();
  for (const object of all) {
    const uid = first(object, "0020000E") ?? "";
    if (!series.has(uid)) series.set(uid, []);
    series.get(uid).push(object);
  }
  const byNumber = (tag) => (one, other) => Number(first(one, tag) ?? 0) - Number(first(other, tag) ?? 0);
  const list = [...series.values()].map((instances) => instances.sort(byNumber("00200013")));
  return list.sort((one, other) => byNumber("00200011")(one[0], other[0]));
}

// A row for each object that is no plain image, and one for all the images of a series.
function contents(instances) {
  const [head] = instances;
  const heading = [`${word("series-of")} ${first(head, "00200011") ?? ""}`.trim(), first(head, "00080060"), first(head, "0008103E")];
  const rows = [];
  const images = instances.filter((object) => kindOf(object) === "image");
  if (images.length > 0) rows.push(row("image", images, `${word("image")} × ${number(images.length)}`));
  for (const object of instances) {
    const kind = kindOf(object);
    if (kind !== "image") rows.push(row(kind, [object], `${word(WORD_OF_KIND[kind])} ${first(object, "00200013") ?? ""}`));
  }
  return make("section", "", make("h2", "", heading.filter(Boolean).join(" · ")), make("ul", "", ...rows));
}

function row(kind, instances, text) {
  const button = make("button", "button", text);
  button.type = "button";
  button.addEventListener("click", () => choose(button, kind, instances));
  return make("li", "", button);
}

async function choose(button, kind, instances) {
  for (const other of part("contents").querySelectorAll("button")) other.setAttribute("aria-current", String(other === button));
  choosing?.abort();
  choosing = new AbortController();
  const mine = choosing;
  part("pane").replaceChildren(make("p", "told", word("reading")));
  try {
    const shown = await showObjects(kind, instances, ROOT, mine.signal);
    if (!mine.signal.aborted) part("pane").replaceChildren(...shown);
  } catch (error) {
    if (!mine.signal.aborted) part("pane").replaceChildren(make("p", "banner bad", `${word("failed")}${error.message}`));
  }
}

async function download() {
  if (saving) {
    saving.abort();
    return;
  }
  saving = new AbortController();
  part("save").textContent = word("stop");
  const told = (share, had) => {
    part("saving").textContent = `${word("downloading")} ${Math.round(share * 100)} % · ${bytesOf(had)}`;
  };
  try {
    await downloadStudy(STUDY, bytes, told, saving.signal);
    part("saving").textContent = "";
  } catch (error) {
    part("saving").textContent = error.name === "AbortError" ? "" : word("download-failed");
  } finally {
    saving = null;
    part("save").textContent = word("download-all");
  }
}

async function show() {
  part("failed").hidden = true;
  try {
    const [found, viewer, all] = await Promise.all([
      ask(`/dicomweb/studies?StudyInstanceUID=${encodeURIComponent(STUDY)}&limit=1`), ask("/api/viewer"), objects(),
    ]);
    if (found.length === 0) throw Object.assign(new Error(word("no-study")), { status: 404 });
    showSubject(found[0]);
    const series = seriesOf(all);
    part("contents").replaceChildren(...series.map(contents));
    part("contents").setAttribute("aria-busy", "false");
    part("tools").hidden = false;
    part("no-viewer").hidden = viewer.installed;
    part("no-viewer").textContent = word("no-viewer");
    part("open").hidden = !viewer.installed || !all.some((object) => kindOf(object) === "image");
    part("open").href = viewerAddress(STUDY);
    part("pane").replaceChildren(make("p", "told", word("choose")));
    await showProgress();
    // What this page is for comes first; a study of images alone waits for a choice.
    const foremost = [...part("contents").querySelectorAll("button")];
    const kinds = series.flatMap((instances) => [instances.some((object) => kindOf(object) === "image") && "image", ...instances.map(kindOf).filter((kind) => kind !== "image")].filter(Boolean));
    const at = kinds.findIndex((kind) => kind !== "other");
    foremost[at >= 0 ? at : 0]?.click();
  } catch (error) {
    fail(error);
  }
}

offerLanguage(part("language"), show);
part("again").addEventListener("click", show);
part("save").addEventListener("click", download);
show();
