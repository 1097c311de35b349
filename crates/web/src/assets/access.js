"use strict";
// Set-up and log-in. A set-up link's secret stands behind the # of its address, which a browser sends to nobody.

const part = (id) => document.getElementById(id);

const WORDS = {
  400: "密码不符合要求（至少 12 个字符）。 It does not fit: 12 characters or more.",
  403: "密码错误，或链接已失效。 The password is wrong, or the link is no good any more.",
  429: "尝试次数过多，请一分钟后再试。 Too many tries: wait a minute.",
};
const UNKNOWN = "网关没有回应，请稍后再试。 The gateway did not answer: try again later.";

function tell(text) {
  part("told").textContent = text;
  part("told").hidden = text === "";
}

function enter() {
  part("form").hidden = true;
  part("inside").hidden = false;
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin" });
  if (!answer.ok) {
    throw new Error(WORDS[answer.status] || UNKNOWN);
  }
}

async function submitted() {
  const password = part("password").value;
  if (part("form").dataset.does === "log-in") {
    await post("/api/login", { password });
    location.assign("/");
    return;
  }
  if (password !== part("again").value) {
    throw new Error("两次输入不一致。 The two are not the same.");
  }
  await post("/api/set-up", { secret: location.hash.slice(1), password });
  history.replaceState(null, "", "/set-up");
  enter();
}

part("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = part("form").querySelector("button");
  button.disabled = true;
  tell("");
  try {
    await submitted();
  } catch (error) {
    tell(error instanceof TypeError ? UNKNOWN : error.message);
  } finally {
    button.disabled = false;
  }
});

if (part("form").dataset.does === "log-in") {
  part("leave").addEventListener("click", async () => {
    await post("/api/logout", {});
    location.reload();
  });
  fetch("/api/session").then((answer) => answer.json()).then((session) => {
    if (session.administrator) {
      enter();
    }
  }).catch(() => tell(UNKNOWN));
}
