// One headless Chromium for all visits: takes a visit from its input, a line of JSON, and answers with what was seen in a line.
//
// A visit { url, frames } has a context of its own, and so nothing cached: when the first pixels stand in a viewport, and
// when so many frames have come as a whole, in milliseconds from the beginning of the navigation.
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

// Installed in a folder of the build, not here.
const { chromium } = createRequire(path.join(process.env.FILMGATE_TEST_BROWSER, "browser.cjs"))("playwright-core");

const WITHIN_MS = 120_000;

// Looks at each canvas that is as large as a viewport until one shows something; told as milliseconds of the page's clock.
const WATCH = () => {
  const probe = document.createElement("canvas");
  probe.width = probe.height = 16;
  const context = probe.getContext("2d", { willReadFrequently: true });
  const shows = (canvas) => {
    const box = canvas.getBoundingClientRect();
    if (box.width < 300 || box.height < 300) return false;
    context.clearRect(0, 0, 16, 16);
    context.drawImage(canvas, 0, 0, 16, 16);
    const { data } = context.getImageData(0, 0, 16, 16);
    const shades = new Set();
    for (let at = 0; at < data.length; at += 4) shades.add(data[at]);
    return shades.size > 1;
  };
  const look = () => {
    if ([...document.querySelectorAll("canvas")].some(shows)) window.firstPixelsMs = performance.now();
    else setTimeout(() => requestAnimationFrame(look), 30);
  };
  if (window.top === window) look();
};

async function visit(browser, { url, frames }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const errors = [];
  // What tells why, where nothing was seen.
  const said = [];
  const came = new Set();
  let requests = 0;
  try {
    await context.addInitScript(WATCH);
    const page = await context.newPage();
    let bytes = 0;
    let began = 0;
    page.on("console", (message) => {
      if (message.type() === "error") said.push(message.text().slice(0, 200));
    });
    page.on("pageerror", (error) => errors.push(String(error).slice(0, 200)));
    const all = new Promise((resolve) => {
      context.on("requestfinished", async (request) => {
        const response = await request.response().catch(() => null);
        const { pathname } = new URL(request.url());
        if (!pathname.startsWith("/dicomweb/")) return;
        requests += 1;
        if (!response?.ok()) said.push(`${response?.status()} ${pathname}`);
        if (!/\/frames\/\d+$/.test(pathname)) return;
        if (response?.status() !== 200) errors.push(`${response?.status()} ${pathname}`);
        came.add(pathname);
        bytes += Number(response?.headers()["content-length"] ?? 0);
        if (came.size === frames) resolve(Date.now() - began);
      });
    });
    const late = new Promise((resolve) => setTimeout(() => resolve(null), WITHIN_MS));
    began = Date.now();
    await page.goto(url, { waitUntil: "commit", timeout: WITHIN_MS });
    const pixels = page.waitForFunction(() => window.firstPixelsMs, null, { timeout: WITHIN_MS, polling: 200 });
    const [first, last] = await Promise.all([pixels.then((handle) => handle.jsonValue()), Promise.race([all, late])]);
    if (last === null) return { error: `${came.size} of ${frames} frames came in time` };
    if (errors.length > 0) return { error: errors[0] };
    return { first_pixels_ms: first, all_frames_ms: last, requests, frame_bytes: bytes };
  } catch (error) {
    const seen = `${requests} requests, ${came.size} frames; ${[...errors, ...said].slice(0, 5).join("; ") || "no error on the page"}`;
    return { error: `${String(error).slice(0, 200)} (${seen})` };
  } finally {
    await context.close();
  }
}

const browser = await chromium.launch({
  executablePath: process.env.FILMGATE_TEST_CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"],
});
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await visit(browser, JSON.parse(line))));
await browser.close();
