// Opens pages in one headless Chromium and tells what was seen: a line of JSON for each visit named on standard input.
//
// A visit: { name, url, width, height, waits, acts }. It waits for pixels (a canvas, a picture or a video that is drawn
// and not of one colour), or for an element by its selector. Only loopback can be reached; what else was asked for is told.
import { createRequire } from "node:module";
import path from "node:path";
import { text } from "node:stream/consumers";

// Installed in a folder of the build, not here.
const { chromium } = createRequire(path.join(process.env.FILMGATE_TEST_BROWSER, "visit.cjs"))("playwright-core");
const { base, screenshots, visits } = JSON.parse(await text(process.stdin));

const PIXELS_WITHIN_MS = 90_000;
const QUIET_MS = 1_500;
const QUIET_WITHIN_MS = 20_000;

// Looks at what is drawn on the page: the best of its canvases, pictures and videos. A first slice may hold little more than
// the rest of a head, in a window of two shades.
const LOOK = () => {
  const SIDE = 96;
  const probe = document.createElement("canvas");
  probe.width = probe.height = SIDE;
  const context = probe.getContext("2d", { willReadFrequently: true });
  let best = null;
  for (const drawn of document.querySelectorAll("canvas, img[data-frame], video")) {
    const box = drawn.getBoundingClientRect();
    if (box.width < 100 || box.height < 100) continue;
    try {
      context.clearRect(0, 0, SIDE, SIDE);
      context.drawImage(drawn, 0, 0, SIDE, SIDE);
    } catch {
      continue;
    }
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    const shades = new Set();
    let lit = 0;
    for (let at = 0; at < data.length; at += 4) {
      const shade = Math.max(data[at], data[at + 1], data[at + 2]);
      shades.add(shade);
      if (shade > 24 && data[at + 3] > 0) lit += 1;
    }
    const seen = { shades: shades.size, lit: lit / (SIDE * SIDE), width: Math.round(box.width), height: Math.round(box.height) };
    if (!best || seen.lit > best.lit) best = seen;
  }
  return best && best.shades > 4 && best.lit > 0.005 ? best : null;
};

const until = async (deadline, look) => {
  for (;;) {
    const seen = await look().catch(() => null);
    if (seen || Date.now() > deadline) return seen;
    await new Promise((done) => setTimeout(done, 100));
  }
};

async function visit(browser, { name, url, width = 1280, height = 900, waits, acts = [], language }) {
  const context = await browser.newContext({ viewport: { width, height }, acceptDownloads: true, locale: "zh-CN" });
  const page = await context.newPage();
  const began = Date.now();
  const [console_, foreign, failed] = [[], [], []];
  const pending = new Set();
  let last = Date.now();
  const isOurs = (address) => /^(data|blob|about|chrome)/.test(address) || new URL(address).host === new URL(base).host;
  page.on("console", (message) => {
    if (message.type() === "error") console_.push(message.text().slice(0, 400));
  });
  page.on("pageerror", (error) => console_.push(String(error).slice(0, 400)));
  context.on("request", (request) => {
    if (!isOurs(request.url())) foreign.push(request.url());
    pending.add(request);
  });
  const done = (request) => {
    pending.delete(request);
    last = Date.now();
  };
  context.on("requestfinished", done);
  context.on("requestfailed", done);
  context.on("response", (response) => {
    if (response.status() >= 400) failed.push(`${response.status()} ${new URL(response.url()).pathname}`);
  });
  const told = { name };
  try {
    if (language) await context.addInitScript((kept) => localStorage.setItem("filmgate-language", kept), language);
    await page.goto(base + url, { waitUntil: "commit", timeout: 30_000 });
    const deadline = began + PIXELS_WITHIN_MS;
    told.seen = await until(deadline, () => (waits === "pixels" ? page.evaluate(LOOK) : page.locator(waits).first().isVisible()));
    told.seen_ms = told.seen ? Date.now() - began : null;
    for (const act of acts) told.acted = await perform(page, act);
    await until(Date.now() + QUIET_WITHIN_MS, async () => pending.size === 0 && Date.now() - last > QUIET_MS);
    told.text = (await page.evaluate(() => document.body.innerText)).replace(/\s+/g, " ").slice(0, 3000);
    told.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    told.address = new URL(page.url()).pathname + new URL(page.url()).search;
    await page.screenshot({ path: path.join(screenshots, `${name}.png`) });
  } catch (error) {
    told.error = String(error).slice(0, 600);
  }
  await context.close();
  return { ...told, console: console_, foreign, failed };
}

async function perform(page, { click, fill, value, download, waits, pixels, evaluate }) {
  if (fill) await page.fill(fill, value);
  if (download) {
    const [file] = await Promise.all([page.waitForEvent("download", { timeout: 60_000 }), page.click(download)]);
    await file.saveAs(path.join(screenshots, file.suggestedFilename()));
    return file.suggestedFilename();
  }
  if (click) await page.click(click);
  if (waits) await page.locator(waits).first().waitFor({ state: "attached", timeout: 60_000 });
  if (pixels) return until(Date.now() + PIXELS_WITHIN_MS, () => page.evaluate(LOOK));
  return evaluate ? page.evaluate(evaluate) : null;
}

const browser = await chromium.launch({
  executablePath: process.env.FILMGATE_TEST_CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"],
});
for (const each of visits) console.log(JSON.stringify(await visit(browser, each)));
await browser.close();
