"use strict";
// Set-up and log-in. The secret of a link, to set up or to come in by, stands behind the # of its address, which a browser sends to
// nobody.

const part = (id) => document.getElementById(id);

const WORDS = {
  400: "密码不符合要求（至少 12 个字符）。 It does not fit: 12 characters or more.",
  403: "密码错误，或链接、令牌已失效。 The password is wrong, or the link or token is no good any more.",
  429: "尝试次数过多，请一分钟后再试。 Too many tries: wait a minute.",
};
const UNKNOWN = "网关没有回应，请稍后再试。 The gateway did not answer: try again later.";

function tell(text) {
  part("told").textContent = text;
  part("told").hidden = text === "";
}

function enter(reads_all) {
  for (const outside of ["form", "by-token"]) {
    if (part(outside)) {
      part(outside).hidden = true;
    }
  }
  if (part("to-status")) {
    part("to-status").hidden = !reads_all;
  }
  part("inside").hidden = false;
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin" });
  if (!answer.ok) {
    throw new Error(WORDS[answer.status] || UNKNOWN);
  }
  return answer.json();
}

async function log_in(secret) {
  location.assign((await post("/api/login", secret)).to);
}

async function submitted() {
  const password = part("password").value;
  if (part("form").dataset.does === "log-in") {
    await log_in({ password });
    return;
  }
  if (password !== part("again").value) {
    throw new Error("两次输入不一致。 The two are not the same.");
  }
  await post("/api/set-up", { secret: location.hash.slice(1), password });
  history.replaceState(null, "", "/set-up");
  enter(true);
}

// What `does` fails with is told.
async function tried(does) {
  tell("");
  try {
    await does();
  } catch (error) {
    tell(error instanceof TypeError ? UNKNOWN : error.message);
  }
}

function on_submit(form, does) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    await tried(does);
    button.disabled = false;
  });
}

on_submit(part("form"), submitted);

// A link logs in at once, unless somebody is logged in already: they are asked, since whoever made the link may not be them.
async function came() {
  const token = location.hash.slice(1);
  // It is in no history from here on.
  history.replaceState(null, "", "/login");
  const answer = await fetch("/api/session");
  const session = await answer.json();
  const is_inside = session.administrator || session.by_token;
  if (token && !is_inside) {
    await log_in({ token });
  } else if (is_inside) {
    enter(session.reads_all);
    part("who").textContent = session.who;
    part("by-link").hidden = !token;
    part("by-link").onclick = () => tried(() => log_in({ token }));
  }
}

if (part("form").dataset.does === "log-in") {
  on_submit(part("token-form"), () => log_in({ token: part("token").value.trim() }));
  part("leave").addEventListener("click", () => tried(async () => {
    await post("/api/logout", {});
    location.reload();
  }));
  window.addEventListener("hashchange", () => tried(came));
  tried(came);
}
