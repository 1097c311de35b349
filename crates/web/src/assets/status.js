// Fills the page from /api/status every two seconds. Text is only ever set as text.
"use strict";

const EVERY_MS = 2000;
const PATIENCE_MS = 8000;
const ROAD = ["received", "packed", "uploaded", "verified"];
const ASIDE = {
  retrying: ["等待重试", "warn"],
  quarantined: ["隔离", "warn"],
  damaged: ["损坏", "bad"],
  deleted: ["已删除", ""],
  absent: ["由离线节点保管", "bad"],
};
const ALARMS = {
  "conflicting-instance": "同一 SOP Instance UID 收到不同内容，两份都已保存",
  "damaged-pack": "一个包无法再打开",
  "damaged-record": "一份已接收的影像无法再打开",
  "key-provider-away": "密钥提供方没有响应",
  "site-keys-changed": "另一节点更换了站点密钥，本节点还不能打开",
};

const NOTICES = {
  "no-recovery-sheet": "还没有确认密钥恢复单：这台机器一旦丢失，存储中的影像将无法打开。请运行 filmgate key backup 打印恢复单，再用 filmgate key confirm 输入核对。",
  "certificate-ends": "证书或吊销列表即将到期（或已到期），请及时更换：",
};

const part = (id) => document.getElementById(id);
const count = (number) => Number(number).toLocaleString("zh-CN");

let lastAnswerAt = null;

function english(text) {
  const span = document.createElement("span");
  span.lang = "en";
  span.textContent = text;
  return span;
}

function say(element, chinese, other) {
  element.replaceChildren(chinese);
  if (other) element.append(" ", english(other));
}

function bytes(number) {
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

// The two largest units of a duration, in both languages.
function duration(ms) {
  const units = [[86400, "天", "d"], [3600, "小时", "h"], [60, "分", "min"], [1, "秒", "s"]];
  let seconds = Math.max(0, Math.round(ms / 1000));
  const [chinese, other] = [[], []];
  for (const [length, unit, short] of units) {
    const whole = Math.floor(seconds / length);
    seconds -= whole * length;
    if ((whole > 0 || (length === 1 && chinese.length === 0)) && chinese.length < 2) {
      chinese.push(`${whole} ${unit}`);
      other.push(`${whole} ${short}`);
    }
  }
  return [chinese.join(" "), other.join(" ")];
}

function row(title, note, code) {
  const item = document.createElement("li");
  const what = document.createElement("div");
  what.textContent = title;
  const when = document.createElement("span");
  when.append(...[note].flat());
  const id = document.createElement("code");
  id.textContent = code;
  item.append(what, when, id);
  return item;
}

function list(section, into, rows) {
  section.hidden = rows.length === 0;
  into.replaceChildren(...rows);
}

function showRoad(states) {
  for (const state of ROAD) {
    const figure = document.getElementById(`count-${state}`);
    figure.textContent = count(states[state] ?? 0);
    figure.parentElement.classList.toggle("busy", (states[state] ?? 0) > 0);
  }
  part("road").classList.toggle("moving", ROAD.slice(0, 3).some((state) => states[state] > 0));
  const aside = Object.keys(ASIDE).filter((state) => states[state] > 0).map((state) => {
    const [name, kind] = ASIDE[state];
    const item = document.createElement("li");
    item.className = kind;
    const figure = document.createElement("b");
    figure.textContent = count(states[state]);
    item.append(`${name} `, figure, " ", english(state));
    return item;
  });
  part("aside").hidden = aside.length === 0;
  part("aside").replaceChildren(...aside);
}

function showOldest(status) {
  if (status.oldest_unverified_at === null) {
    say(part("oldest"), "无", "none");
    part("oldest-note").textContent = "收到的影像都已校验";
    return;
  }
  const [chinese, other] = duration(status.at - status.oldest_unverified_at);
  say(part("oldest"), chinese, other);
  part("oldest-note").textContent = `收到于 ${new Date(status.oldest_unverified_at).toLocaleString("zh-CN")}`;
}

function showRoom(spool) {
  const share = spool.bytes_max > 0 ? spool.used_bytes / spool.bytes_max : 0;
  say(part("room"), `${bytes(spool.used_bytes)} / ${bytes(spool.bytes_max)}`, `${Math.round(share * 100)} %`);
  part("room-bar").value = share;
  part("room-bar").classList.toggle("high", share > 0.8);
  say(part("room-note"), `待打包 ${bytes(spool.unpacked_bytes)}，正在接收 ${bytes(spool.uncommitted_bytes)}`, "to be packed, arriving");
  part("full").hidden = spool.accepting;
  part("packs").textContent = bytes(spool.packs_bytes);
  say(part("packs-note"), `磁盘剩余 ${bytes(spool.disk_free_bytes)}`, "free on the disk");
}

function showPlacements(status) {
  part("placements").textContent = status.placements.map((placement) => placement.name).join("，") || "–";
  say(part("placements-note"), `重复收到而未再存：${count(status.copies_dropped)}`, "same bytes again, not kept twice");
  part("catalog").textContent = `目录 catalog: ${status.catalog}`;
}

function showNotices(notices) {
  list(part("notices"), part("notices"), notices.map((notice) => {
    const item = document.createElement("li");
    say(item, `${NOTICES[notice.kind] ?? notice.kind} ${notice.subject}`.trim(), notice.detail);
    return item;
  }));
}

// Where this node's log stands or how far a follower has read, who else is of the site, and what is kept and not served.
function showLog(status) {
  const { log, follow, nodes } = status;
  if (follow) {
    const [chinese, other] = follow.behind_ms === null ? ["尚未追上", "not caught up"] : duration(follow.behind_ms);
    say(part("log"), chinese, `${other} behind`);
    say(part("log-note"), `已读 ${count(follow.batches)} 批`, `batches read; ${Object.keys(follow.stopped).length} logs stopped`);
  } else {
    say(part("log"), `第 ${count(log.sequence)} 批`, "batch");
    say(part("log-note"), log.problem ?? `待写入 ${count(log.waiting)} 条`, log.problem ? "put off" : "to be told");
  }
  const away = nodes.filter((node) => !node.present).length;
  say(part("nodes"), `节点 ${count(nodes.length)}，离线 ${count(away)}`, "nodes, away");
  say(part("beside"), `变体 ${count(status.variants)}，冲突 ${count(status.conflicts)}，隐藏 ${count(status.hidden)}`, "variants, conflicts, hidden");
}

function showLists(status) {
  list(part("alarms-section"), part("alarms"), status.alarms.map((alarm) =>
    row(`${ALARMS[alarm.kind] ?? alarm.kind}：${alarm.detail}`, new Date(alarm.raised_at).toLocaleString("zh-CN"), alarm.subject)));
  list(part("retrying-section"), part("retrying"), status.retrying.map((pack) => {
    const [chinese, other] = duration((pack.next_try_at ?? status.at) - status.at);
    const next = [`第 ${pack.attempts + 1} 次，${chinese}后 `, english(`in ${other}`)];
    return row(pack.reason, next, `pack ${pack.pack_id}`);
  }));
  list(part("quarantined-section"), part("quarantined"), status.quarantined.map((instance) =>
    row(instance.reason, `${bytes(instance.dataset_bytes)} · ${new Date(instance.received_at).toLocaleString("zh-CN")}`, `record ${instance.record_id}`)));
}

function showSender(status) {
  const { ae_title: title, address } = status.send_to;
  const total = Object.values(status.states).reduce((sum, number) => sum + number, 0);
  // Bound to every address of the machine: others reach it by the one they know it by.
  const anywhere = /^(0\.0\.0\.0|\[::\]):/;
  part("empty").hidden = total > 0;
  part("send-ae").textContent = title;
  part("send-address").textContent = address.replace(anywhere, "本机 IP:");
  part("send-command").textContent = `filmgate send ${address.replace(anywhere, "127.0.0.1:")} 文件夹 --aec ${title}`;
  part("foot-send").textContent = `${title}@${address}`;
}

function showHealth(status) {
  const chip = part("health");
  const { damaged, absent, retrying } = status.states;
  if (!status.spool.accepting) {
    chip.className = "chip bad";
    say(chip, "暂停接收", "not accepting");
  } else if (damaged > 0 || absent > 0 || status.alarms.length > 0) {
    chip.className = "chip bad";
    say(chip, "需要处理", "needs attention");
  } else if (retrying > 0) {
    chip.className = "chip warn";
    say(chip, "上传受阻，正在重试", "retrying");
  } else {
    chip.className = "chip good";
    say(chip, "运行正常", "running");
  }
}

function show(status) {
  lastAnswerAt = new Date();
  document.body.classList.remove("silent");
  part("silence").hidden = true;
  showHealth(status);
  showRoad(status.states);
  showOldest(status);
  showRoom(status.spool);
  showPlacements(status);
  showNotices(status.notices ?? []);
  showLog(status);
  showLists(status);
  showSender(status);
  part("updated").textContent = lastAnswerAt.toLocaleTimeString("zh-CN");
  part("version").textContent = `Filmgate ${status.version}`;
}

function showSilence(why) {
  document.body.classList.add("silent");
  const chip = part("health");
  chip.className = "chip bad";
  say(chip, "没有响应", "no answer");
  const since = lastAnswerAt ? `下面是 ${lastAnswerAt.toLocaleTimeString("zh-CN")} 的情况。` : "";
  const old = lastAnswerAt ? " What is shown below is old." : "";
  say(part("silence"), `网关没有响应（${why}）。${since}正在继续尝试。`, `The gateway does not answer.${old} Still trying.`);
  part("silence").hidden = false;
}

async function ask() {
  try {
    const answer = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    showSilence(error.name === "TimeoutError" ? "超时" : error.message);
  }
  setTimeout(ask, EVERY_MS);
}

ask();
