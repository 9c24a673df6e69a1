// Leads a real browser to a page, by its own protocol (https://chromedevtools.github.io/devtools-protocol/), and prints what it found:
// node look.mjs BROWSER AXE FOLDER URL. Pictures go into the folder.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const [browser, axe, folder, url] = process.argv.slice(2);
const SIZES = { desktop: { width: 1280, height: 900, mobile: false }, phone: { width: 390, height: 844, mobile: true } };
const LOADS = 5;

const profile = mkdtempSync(join(tmpdir(), "look-"));
// Root has no sandbox; the page is our own.
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
// Debian's is started by a script, and starts more: all of them are one group, which ends as one.
const child = spawn(browser, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe"], detached: true });
try {
  const page = await attach(await address(child.stderr));
  console.log(JSON.stringify(await look(page)));
} finally {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  process.kill(-child.pid, "SIGKILL");
  await ended;
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(0);

async function look(page) {
  const complaints = [];
  page.on("Log.entryAdded", ({ entry }) => complaints.push(`${entry.source}: ${entry.text} ${entry.url ?? ""}`));
  page.on("Network.loadingFailed", ({ errorText }) => complaints.push(errorText));
  for (const domain of ["Page", "Log", "Network", "Runtime"]) await page.send(`${domain}.enable`);
  const views = [];
  for (const scheme of ["light", "dark"]) {
    for (const [size, screen] of Object.entries(SIZES)) views.push(await view(page, scheme, size, screen));
  }
  const times = [];
  for (let load = 0; load < LOADS; load += 1) times.push(await open(page));
  return { views, keyboard: await keyboard(page), ready: Math.round(Math.min(...times)), complaints };
}

async function view(page, scheme, size, screen) {
  await page.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  await page.send("Emulation.setDeviceMetricsOverride", { ...screen, deviceScaleFactor: 1 });
  await open(page);
  const name = `${scheme}-${size}`;
  const { data } = await page.send("Page.captureScreenshot", { format: "png" });
  writeFileSync(join(folder, `${basename(new URL(url).pathname, ".html") || "index"}-${name}.png`), Buffer.from(data, "base64"));
  await page.run("document.querySelectorAll('details').forEach((folded) => (folded.open = true))");
  const [overflow, background] = await page.run(
    // What is too wide makes the window of a phone wider, too.
    `[document.documentElement.scrollWidth - ${screen.width}, getComputedStyle(document.documentElement).backgroundColor]`,
  );
  await page.run(readFileSync(axe, "utf8") + "; 0");
  const found = await page.run("axe.run(document, { resultTypes: ['violations'] })");
  const violations = found.violations.map(({ id, help, nodes }) => ({ id, help, where: nodes.slice(0, 3).map((node) => node.html) }));
  return { name, violations, passes: found.passes.length, overflow: Math.max(0, overflow), background };
}

/** Milliseconds until the page stands there. */
async function open(page) {
  const loaded = page.once("Page.loadEventFired");
  await page.send("Page.navigate", { url });
  await loaded;
  return page.run("performance.getEntriesByType('navigation')[0].loadEventStart");
}

/** What Tab comes to first, and whether Enter folds or unfolds the first that can be. */
async function keyboard(page) {
  const focused = "[document.activeElement.tagName, document.activeElement.textContent]";
  let first;
  for (let steps = 0; steps < 40; steps += 1) {
    await press(page, "Tab", 9);
    const [tag, text] = await page.run(focused);
    first ??= text;
    if (tag !== "SUMMARY") continue;
    const isOpen = () => page.run("document.activeElement.parentElement.open");
    const before = await isOpen();
    await press(page, "Enter", 13, "\r");
    return { first, folds: (await isOpen()) !== before };
  }
  return { first, folds: false };
}

async function press(page, key, code, text) {
  const event = { key, code: key, windowsVirtualKeyCode: code, text };
  await page.send("Input.dispatchKeyEvent", { ...event, type: text ? "keyDown" : "rawKeyDown" });
  await page.send("Input.dispatchKeyEvent", { ...event, text: undefined, type: "keyUp" });
}

/** Where the browser listens: it says so on its standard error. */
function address(stderr) {
  return new Promise((resolve, reject) => {
    let said = "";
    stderr.on("data", (chunk) => {
      said += chunk;
      const found = /DevTools listening on ws:\/\/([^/]+)/.exec(said);
      if (found) resolve(found[1]);
    });
    stderr.on("close", () => reject(new Error(`the browser ended: ${said}`)));
  });
}

/** The first tab, to send commands to and hear of events. */
async function attach(host) {
  const tabs = await (await fetch(`http://${host}/json/list`)).json();
  const socket = new WebSocket(tabs.find((tab) => tab.type === "page").webSocketDebuggerUrl);
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  const waiting = new Map();
  const listeners = [];
  socket.onmessage = ({ data }) => {
    const { id, result, error, method, params } = JSON.parse(data);
    if (id === undefined) return listeners.filter((listener) => listener.method === method).forEach((listener) => listener.heard(params));
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    return error ? reject(new Error(JSON.stringify(error))) : resolve(result);
  };
  let last = 0;
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  const on = (method, heard) => listeners.push({ method, heard });
  const run = async (expression) => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return { send, on, run, once: (method) => new Promise((resolve) => on(method, resolve)) };
}
