// How single objects are shown: PDF, structured report, waveform, video, picture; for all of them their attributes and
// the file itself. Everything that came with an object is set as text.
"use strict";

const STORAGE = "1.2.840.10008.5.1.4.1.1.";
const VIDEO_SYNTAX = /^1\.2\.840\.10008\.1\.2\.4\.10\d(\.1)?$/;
const WORD_OF_KIND = { image: "image", video: "video", pdf: "document", document: "document", report: "report", waveform: "waveform", other: "other" };
const MPEG2_SYNTAX = /^1\.2\.840\.10008\.1\.2\.4\.10[01](\.1)?$/;
const ATTRIBUTES_MAX = 2000;
const DEPTH_MAX = 40;
// Samples of a lead that are drawn; more would not be seen.
const POINTS_MAX = 6000;

function kindOf(object) {
  const uid = first(object, "00080016") ?? "";
  const kind = uid.startsWith(STORAGE) ? uid.slice(STORAGE.length) : "";
  if (VIDEO_SYNTAX.test(first(object, "00083002") ?? "") || ["77.1.1.1", "77.1.2.1", "77.1.4.1"].includes(kind)) return "video";
  if (kind === "104.1") return "pdf";
  if (kind.startsWith("104.")) return "document";
  if (kind.startsWith("88.")) return "report";
  if (kind.startsWith("9.")) return "waveform";
  return first(object, "00280010") ? "image" : "other";
}

const addressOf = (root, object) => `${root}/series/${encodeURIComponent(first(object, "0020000E"))}/instances/${encodeURIComponent(first(object, "00080018"))}`;

async function showObjects(kind, instances, root, signal) {
  if (kind === "image") return pictures(instances, root, signal);
  const address = addressOf(root, instances[0]);
  const [dataset] = await ask(`${address}/metadata`, signal);
  const shown = await showObject(kind, dataset, address, instances[0], signal);
  return [...shown, ...always(dataset, address)];
}

async function showObject(kind, dataset, address, object, signal) {
  switch (kind) {
    case "pdf": return pdf(dataset, address);
    case "report": return report(dataset);
    case "waveform": return waveforms(dataset, signal);
    case "video": return video(dataset, object);
    default: return [make("p", "told", word("not-drawn"))];
  }
}

// The file as it came, and every attribute.
function always(dataset, address) {
  const file = link("button", `${address}?accept=${encodeURIComponent("application/dicom; transfer-syntax=*")}`, word("download-object"));
  file.download = `${first(dataset, "00080018") ?? "object"}.dcm`;
  return [make("p", "tools", file), attributes(dataset)];
}

// Bulk data as a browser shows it, of our own origin alone.
function bulkAddress(element, type) {
  const uri = element?.BulkDataURI;
  if (typeof uri !== "string") return null;
  const address = new URL(uri, location.origin);
  if (address.origin !== location.origin) return null;
  if (type) address.searchParams.set("accept", type);
  return address.pathname + address.search;
}

// A short document stands in the metadata itself; by its address it comes as what it is all the same.
function pdf(dataset, object) {
  const address = `${object}/bulkdata/00420011?accept=${encodeURIComponent("application/pdf")}`;
  if (first(dataset, "00420012") !== "application/pdf") return [make("p", "told", word("not-drawn"))];
  const frame = document.createElement("iframe");
  frame.src = address;
  frame.title = first(dataset, "00420010") ?? word("document");
  const alone = link("button", address, word("open-document"));
  alone.target = "_blank";
  alone.rel = "noopener";
  return [make("p", "tools", alone), frame];
}

// MPEG-2 is played by no browser, so it is not asked for.
function video(dataset, object) {
  const isMpeg2 = MPEG2_SYNTAX.test(first(object, "00083002") ?? "");
  const address = isMpeg2 ? null : bulkAddress(dataset["7FE00010"], "video/mp4");
  const unplayed = make("p", "told", word("no-video"));
  if (!address) return [unplayed];
  const player = document.createElement("video");
  player.controls = true;
  player.preload = "auto";
  player.playsInline = true;
  player.src = address;
  unplayed.hidden = true;
  player.addEventListener("error", () => {
    player.hidden = true;
    unplayed.hidden = false;
  });
  return [player, unplayed];
}

// Pictures of a series, or of the frames of an object, made by the gateway.
function pictures(instances, root, signal) {
  const steps = instances.flatMap((object) => {
    const frames = Math.max(1, Number(first(object, "00280008") ?? 1));
    const address = addressOf(root, object);
    if (frames === 1) return [`${address}/rendered`];
    return Array.from({ length: frames }, (_, frame) => `${address}/frames/${frame + 1}/rendered`);
  });
  const picture = document.createElement("img");
  picture.alt = word("image");
  picture.dataset.frame = "";
  const told = make("p", "told", word("no-picture"));
  told.hidden = true;
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = "1";
  slider.max = String(steps.length);
  slider.value = String(Math.ceil(steps.length / 2));
  slider.setAttribute("aria-label", word("frame"));
  const where = make("output", "");
  const file = link("button", "", word("download-object"));
  const rest = make("div", "");
  const go = () => {
    const at = Number(slider.value) - 1;
    where.textContent = `${number(at + 1)} / ${number(steps.length)}`;
    picture.src = `${steps[at]}?viewport=1024%2C1024`;
    const address = steps[at].replace(/(\/frames\/\d+)?\/rendered$/, "");
    file.href = `${address}?accept=${encodeURIComponent("application/dicom; transfer-syntax=*")}`;
    rest.replaceChildren(laterAttributes(address, signal));
  };
  picture.addEventListener("load", () => {
    told.hidden = true;
    picture.hidden = false;
  });
  picture.addEventListener("error", () => {
    told.hidden = false;
    picture.hidden = true;
  });
  slider.addEventListener("input", go);
  go();
  const frames = make("p", "frames", slider, where);
  frames.hidden = steps.length < 2;
  return [make("div", "picture", picture, told), frames, make("p", "tools", file), rest];
}

// Attributes that are asked for when somebody opens them.
function laterAttributes(address, signal) {
  const details = make("details", "attributes", make("summary", "", word("attributes")));
  details.addEventListener("toggle", async () => {
    if (!details.open || details.querySelector("table")) return;
    try {
      const [dataset] = await ask(`${address}/metadata`, signal);
      details.append(table(dataset));
    } catch (error) {
      details.append(make("p", "told", error.message));
    }
  }, { once: false });
  return details;
}

function attributes(dataset) {
  return make("details", "attributes", make("summary", "", word("attributes")), table(dataset));
}

function table(dataset) {
  const rows = [];
  collect(dataset, 0, rows);
  return make("table", "", make("tbody", "", ...rows));
}

function collect(dataset, depth, rows) {
  for (const tag of Object.keys(dataset ?? {}).sort()) {
    if (rows.length >= ATTRIBUTES_MAX || depth > DEPTH_MAX) return;
    const element = dataset[tag];
    const name = `${"› ".repeat(depth)}${tag.slice(0, 4)},${tag.slice(4)}`;
    rows.push(make("tr", "", make("td", "", name), make("td", "", element.vr ?? ""), make("td", "", textOf(element))));
    if (element.vr === "SQ") for (const item of element.Value ?? []) collect(item, depth + 1, rows);
  }
}

function textOf(element) {
  if (element.vr === "SQ") return `× ${(element.Value ?? []).length}`;
  if (element.BulkDataURI || element.InlineBinary) return word("binary");
  const told = (element.Value ?? []).map((value) => (value && typeof value === "object" ? personName(value) : String(value ?? "")));
  const text = told.join(" \\ ");
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}

// A structured report as a tree (PS3.3 C.17.3). An item that lacks what it should have is shown as far as it goes.
function report(dataset) {
  const items = values(dataset, "0040A730");
  const title = codeText(first(dataset, "0040A043"));
  const shown = [make("h2", "", title || word("report"))];
  shown.push(items.length > 0 ? tree(items, 0) : make("p", "told", word("no-content")));
  return shown;
}

const codeText = (code) => first(code, "00080104") ?? first(code, "00080100") ?? "";

function tree(items, depth) {
  const list = make("ul", "tree");
  for (const item of items) {
    const kind = first(item, "0040A040") ?? "";
    const name = codeText(first(item, "0040A043"));
    const text = contentText(item, kind);
    const row = make("li", kind === "CONTAINER" ? "heading" : "");
    if (name) row.append(make("b", "", name));
    if (text) row.append(make("span", "text", text));
    if (!name && !text) row.append(make("span", "", kind || word("empty")));
    const below = values(item, "0040A730");
    if (below.length > 0 && depth < DEPTH_MAX) row.append(tree(below, depth + 1));
    list.append(row);
  }
  return list;
}

function contentText(item, kind) {
  switch (kind) {
    case "TEXT": return first(item, "0040A160") ?? "";
    case "CODE": return codeText(first(item, "0040A168"));
    case "NUM": {
      const measured = first(item, "0040A300");
      return [values(measured, "0040A30A").join(" "), codeText(first(measured, "004008EA")).replace("no units", "")].join(" ").trim();
    }
    case "PNAME": return personName(first(item, "0040A123"));
    case "DATE": return dateOf(first(item, "0040A121"));
    case "TIME": return timeOf(first(item, "0040A122"));
    case "DATETIME": return `${dateOf((first(item, "0040A120") ?? "").slice(0, 8))} ${timeOf((first(item, "0040A120") ?? "").slice(8))}`.trim();
    case "UIDREF": return first(item, "0040A124") ?? "";
    case "IMAGE": case "COMPOSITE": case "WAVEFORM": return first(first(item, "00081199"), "00081155") ?? "";
    case "SCOORD": case "SCOORD3D": return [first(item, "00700023"), values(item, "00700022").map((at) => Number(at).toFixed(1)).join(", ")].filter(Boolean).join(" ");
    default: return "";
  }
}

// Waveforms (PS3.3 C.10.9): each group of channels, sample by sample, channels interleaved.
async function waveforms(dataset, signal) {
  const groups = values(dataset, "54000100");
  const shown = [];
  for (const group of groups) {
    const channels = Number(first(group, "003A0005") ?? 0);
    const rate = Number(first(group, "003A001A") ?? 0);
    const samples = await samplesOf(group, signal);
    if (!samples || channels < 1 || channels > 64 || !(rate > 0)) {
      shown.push(make("p", "told", word("not-drawn")));
      continue;
    }
    const count = Math.floor(samples.length / channels);
    const leads = values(group, "003A0200");
    const label = [first(group, "003A0020"), `${number(channels)} ${word("leads")}`, `${(count / rate).toFixed(1)} ${word("seconds")}`, `${word("rate")} ${number(rate)} Hz`];
    shown.push(make("p", "told", label.filter(Boolean).join(" · ")), make("div", "waves", drawn(samples, channels, count, rate, leads)));
  }
  return shown.length > 0 ? shown : [make("p", "told", word("not-drawn"))];
}

async function samplesOf(group, signal) {
  const element = group["54001010"];
  let buffer = null;
  if (element?.InlineBinary) {
    buffer = Uint8Array.from(atob(element.InlineBinary), (letter) => letter.charCodeAt(0)).buffer;
  } else {
    const address = bulkAddress(element, null);
    if (!address) return null;
    const answer = await fetch(address, { headers: { accept: "application/octet-stream" }, signal });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    buffer = await answer.arrayBuffer();
  }
  switch (first(group, "54001006")) {
    case "SS": return new Int16Array(buffer, 0, buffer.byteLength >> 1);
    case "US": return new Uint16Array(buffer, 0, buffer.byteLength >> 1);
    case "SB": return new Int8Array(buffer);
    case "UB": return new Uint8Array(buffer);
    case "SL": return new Int32Array(buffer, 0, buffer.byteLength >> 2);
    default: return null;
  }
}

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

// One strip below the other, all to the same scale: 1 mV is as high everywhere.
function drawn(samples, channels, count, rate, leads) {
  const [width, height, left] = [1200, 84, 52];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${channels * height + 10}`, role: "img", "aria-label": word("waveform") });
  const seconds = count / rate;
  for (let at = 0; at <= seconds * 5; at += 1) {
    const x = left + ((width - left) * at) / (seconds * 5);
    picture.append(svg("line", { class: "grid", x1: x, x2: x, y1: 0, y2: channels * height + 10 }));
  }
  const scales = Array.from({ length: channels }, (_, channel) => {
    const lead = leads[channel];
    return Number(first(lead, "003A0210") ?? 1) * Number(first(lead, "003A0212") ?? 1) || 1;
  });
  const spans = scales.map((scale, channel) => span(samples, channels, count, channel, scale));
  const reach = Math.max(1e-9, ...spans.map(({ low, high }) => high - low));
  for (let channel = 0; channel < channels; channel += 1) {
    const { low, high } = spans[channel];
    const middle = (low + high) / 2;
    const base = 5 + channel * height + height / 2;
    const step = Math.max(1, Math.floor(count / POINTS_MAX));
    const points = [];
    for (let at = 0; at < count; at += step) {
      const value = samples[at * channels + channel] * scales[channel];
      const x = left + ((width - left) * at) / count;
      points.push(`${x.toFixed(1)},${(base - ((value - middle) / reach) * (height - 8)).toFixed(1)}`);
    }
    picture.append(svg("polyline", { class: "wave", points: points.join(" ") }));
    const name = svg("text", { x: 4, y: base });
    name.textContent = leadName(leads[channel], channel);
    picture.append(name);
  }
  return picture;
}

function leadName(lead, channel) {
  const name = codeText(first(lead, "003A0208")) || first(lead, "003A0203") || String(channel + 1);
  return name.replace(/^lead\s+/i, "").replace(/\s*\(.*$/, "").slice(0, 8);
}

function span(samples, channels, count, channel, scale) {
  let [low, high] = [Infinity, -Infinity];
  for (let at = 0; at < count; at += 1) {
    const value = samples[at * channels + channel] * scale;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}
