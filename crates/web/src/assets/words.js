// Words of the pages about studies, in Chinese and English, and how DICOM JSON (PS3.18 annex F) is read.
"use strict";

const WORDS = {
  "studies": ["检查列表", "Studies"],
  "study": ["检查", "Study"],
  "status": ["网关状态", "Gateway status"],
  "log-out": ["退出登录", "Log out"],
  "language": ["English", "中文"],
  "back": ["返回列表", "Back to the list"],
  "name": ["姓名", "Name"],
  "id": ["患者编号", "Patient ID"],
  "accession": ["检查号", "Accession number"],
  "from": ["检查日期从", "Date from"],
  "to": ["到", "to"],
  "modality": ["设备类型", "Modality"],
  "any": ["全部", "Any"],
  "search": ["查找", "Search"],
  "clear": ["清除", "Clear"],
  "today": ["今天", "Today"],
  "week": ["近 7 天", "Last 7 days"],
  "month": ["近 30 天", "Last 30 days"],
  "part-of-it": ["可以只写一部分", "a part of it will do"],
  "more": ["更多", "More"],
  "again": ["再试一次", "Try again"],
  "asking": ["正在查找…", "Searching…"],
  "slow": ["还在查找，比平时慢…", "Still searching; it takes longer than usual…"],
  "failed": ["没有查到：", "The search failed: "],
  "no-answer": ["网关没有响应", "the gateway does not answer"],
  "log-in": ["请先登录", "Log in first"],
  "none-yet": ["还没有收到检查。", "No study has arrived yet."],
  "none-found": ["没有符合条件的检查。", "No study is as you ask."],
  "found": ["项检查", "studies"],
  "found-more": ["项检查，还有更多", "studies, and there are more"],
  "open": ["阅片", "Open"],
  "details": ["内容", "Contents"],
  "download": ["下载", "Download"],
  "downloading": ["正在下载", "Downloading"],
  "download-failed": ["下载中断，请再试", "The download broke off: try again"],
  "stop": ["停止", "Stop"],
  "unnamed": ["（无姓名）", "(no name)"],
  "no-date": ["无日期", "no date"],
  "born": ["生于", "born"],
  "images": ["幅/份", "objects"],
  "series": ["序列", "series"],
  "arrived": ["已到", "arrived"],
  "of": ["共", "of"],
  "verified": ["已安全存储", "safe in storage"],
  "all-verified": ["全部安全存储", "all safe in storage"],
  "troubled": ["需要处理", "needs a person"],
  "no-viewer": ["此网关没有安装阅片器：运行 cargo xtask viewer，并把 viewer.path 设为它给出的文件夹。下面仍可逐项查看。", "This gateway has no image viewer: run cargo xtask viewer and set viewer.path to the folder it names. Studies can be looked at object by object all the same."],
  "no-study": ["这里没有这项检查。", "There is no such study here."],
  "reading": ["正在读取…", "Reading…"],
  "open-in-viewer": ["在阅片器中打开", "Open in the viewer"],
  "download-all": ["下载整个检查 (zip)", "Download the study (zip)"],
  "choose": ["选择一项查看。", "Choose something to look at."],
  "series-of": ["序列", "Series"],
  "image": ["图像", "Image"],
  "video": ["视频", "Video"],
  "document": ["文档", "Document"],
  "report": ["报告", "Report"],
  "waveform": ["波形", "Waveform"],
  "other": ["其他对象", "Other object"],
  "frame": ["帧", "Frame"],
  "not-drawn": ["此对象不能在浏览器中显示，可以下载。", "This object cannot be shown in a browser; it can be downloaded."],
  "no-picture": ["网关无法生成此图像。", "The gateway cannot make a picture of this."],
  "no-video": ["浏览器不能播放此视频，可以下载。", "The browser cannot play this video; it can be downloaded."],
  "attributes": ["全部属性", "All attributes"],
  "download-object": ["下载原始 DICOM", "Download the DICOM file"],
  "open-document": ["在新页中打开", "Open on a page of its own"],
  "binary": ["（数据）", "(data)"],
  "empty": ["（空）", "(empty)"],
  "no-content": ["报告没有内容。", "The report has no content."],
  "seconds": ["秒", "s"],
  "rate": ["采样率", "sampled at"],
  "leads": ["导联", "leads"],
};

const LANGUAGE_KEPT = "filmgate-language";
const PATIENCE_MS = 60000;

const part = (id) => document.getElementById(id);

// Chinese unless somebody chose otherwise in this browser.
function language() {
  try {
    return localStorage.getItem(LANGUAGE_KEPT) === "en" ? "en" : "zh";
  } catch {
    return "zh";
  }
}

const word = (name) => WORDS[name][language() === "en" ? 1 : 0];

// Puts words where the page asks for them.
function translate() {
  document.documentElement.lang = language() === "en" ? "en" : "zh-CN";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = word(element.dataset.hint);
}

// The button that changes the language; the viewer is told by its address.
function offerLanguage(button, changed) {
  button.addEventListener("click", () => {
    try {
      localStorage.setItem(LANGUAGE_KEPT, language() === "en" ? "zh" : "en");
    } catch {
      // A browser that keeps nothing stays with Chinese.
    }
    translate();
    changed();
  });
  translate();
}

// An element with text and children, never with markup.
function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function link(className, address, text) {
  const element = make("a", className, text);
  element.href = address;
  return element;
}

function viewerAddress(study) {
  return `/viewer?study=${encodeURIComponent(study)}&lng=${language() === "en" ? "en-US" : "zh"}`;
}

// Asks for JSON. Who is not logged in is led there.
async function ask(address, signal) {
  const signals = [AbortSignal.timeout(PATIENCE_MS), signal].filter(Boolean);
  const answer = await fetch(address, { headers: { accept: "application/json, application/dicom+json" }, signal: AbortSignal.any(signals) });
  if (answer.status === 401) {
    location.assign("/login");
    throw new Error(word("log-in"));
  }
  if (answer.status === 204) return [];
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    const error = new Error(told.message ?? `HTTP ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return answer.json();
}

// Values of an attribute, by its tag.
const values = (dataset, tag) => dataset?.[tag]?.Value ?? [];
const first = (dataset, tag) => values(dataset, tag)[0];

// A person's name as it is read: the letters of its own script before the Latin ones (PS3.5 6.2.1).
function personName(value) {
  if (!value || typeof value !== "object") return "";
  const read = (group) => (group ?? "").split("^").filter(Boolean).join(" ").trim();
  const own = (value.Ideographic ?? "").split("^").filter(Boolean).join("");
  const latin = read(value.Alphabetic);
  return own ? (latin && latin !== own ? `${own}  ${latin}` : own) : latin || read(value.Phonetic);
}

const dateOf = (text) => (/^\d{8}$/.test(text ?? "") ? `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}` : text ?? "");
const timeOf = (text) => (/^\d{4}/.test(text ?? "") ? `${text.slice(0, 2)}:${text.slice(2, 4)}` : "");
const number = (count) => Number(count).toLocaleString(language() === "en" ? "en" : "zh-CN");

function bytesOf(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

// Larger than this is left to the browser's own downloads, which hold nothing in memory.
const HELD_BYTES_MAX = 400e6;

// Downloads a study as a zip file; tells how far it is. What is told of its size is a little less than it will be.
async function downloadStudy(study, bytes, told, signal) {
  const address = `/api/studies/${encodeURIComponent(study)}/zip`;
  if (bytes > HELD_BYTES_MAX) {
    location.assign(address);
    return;
  }
  const answer = await fetch(address, { signal });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const pieces = [];
  let had = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    had += value.length;
    told(Math.min(1, bytes > 0 ? had / bytes : 0), had);
  }
  const file = URL.createObjectURL(new Blob(pieces, { type: "application/zip" }));
  const saved = link("", file, "");
  saved.download = `study-${study}.zip`;
  saved.click();
  setTimeout(() => URL.revokeObjectURL(file), 60000);
}
