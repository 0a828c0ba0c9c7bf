// The dashboard in a headless Chromium: real clicks and keys, light, dark and on a phone.
//
//     node --experimental-websocket tests/proof/dashboard.mjs URL TOKEN_FILE PAGE_URL [DIR]
//
// URL is the admin listener of a node under some load, PAGE_URL a page that it has stored.
// Every view is opened, used and its words checked; pictures go to DIR if one is given, to be
// looked at. Ends with 1 if anything is not as it should be: wrong words, an error in the
// console, a request to anywhere else, sideways scrolling on a phone, a key that does nothing.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const [base, tokenFile, page, pictures] = process.argv.slice(2);
const token = fs.readFileSync(tokenFile, 'utf8').trim().split(/\s+/).at(-1);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'brink-dashboard-'));
const chromium = spawn('chromium', ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
  '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'], { stdio: 'ignore' });
const rest = (ms) => new Promise((done) => setTimeout(done, ms));

// Polls until `get` gives something true; machines under load are slow.
async function until(what, get, ms = 30_000) {
  for (const end = Date.now() + ms; Date.now() < end; await rest(100)) {
    const got = await get();
    if (got) return got;
  }
  throw new Error(`never happened: ${what}`);
}

const port = await until('Chromium starts', () => {
  try { return fs.readFileSync(path.join(profile, 'DevToolsActivePort'), 'utf8').split('\n')[0]; } catch { return null; }
});
const target = await until('a page', async () =>
  (await (await fetch(`http://127.0.0.1:${port}/json`)).json()).find((one) => one.type === 'page'));
const socket = new WebSocket(target.webSocketDebuggerUrl);
await new Promise((open) => socket.addEventListener('open', open));

let last = 0;
const waiting = new Map();
const noise = [];
const asked = new Set();
socket.addEventListener('message', ({ data }) => {
  const message = JSON.parse(data);
  if (message.id) waiting.get(message.id)(message.result ?? message.error);
  else if (message.method === 'Network.requestWillBeSent') asked.add(new URL(message.params.request.url).origin);
  else if (message.method === 'Runtime.exceptionThrown') noise.push(message.params.exceptionDetails.exception?.description);
  else if (message.method === 'Log.entryAdded' && message.params.entry.level === 'error') noise.push(message.params.entry.text);
  else if (message.method === 'Page.javascriptDialogOpening') command('Page.handleJavaScriptDialog', { accept: true });
});
function command(method, params = {}) {
  return new Promise((done) => { waiting.set(++last, done); socket.send(JSON.stringify({ id: last, method, params })); });
}
async function js(expression) {
  const answer = await command('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  return answer.result?.value;
}
const text = (selector) => js(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`);
async function click(selector) {
  await js(`document.querySelector(${JSON.stringify(selector)}).scrollIntoView({ block: 'center' })`);
  const [x, y] = await until(selector, () => js(`(() => { const b = document.querySelector(${JSON.stringify(selector)})?.getBoundingClientRect();
    return b && b.width ? [b.x + b.width / 2, b.y + b.height / 2] : null; })()`));
  for (const type of ['mousePressed', 'mouseReleased']) {
    await command('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }
}
async function write(selector, words) {
  await js(`document.querySelector(${JSON.stringify(selector)}).value = ''`);
  await click(selector);
  await command('Input.insertText', { text: words });
}
async function press(key, code, more = {}) {
  for (const type of ['keyDown', 'keyUp']) await command('Input.dispatchKeyEvent', { type, key, code, ...more });
}
const screen = (width, height, mobile) =>
  command('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
const scheme = (value) =>
  command('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
async function picture(name) {
  if (!pictures) return;
  const { data } = await command('Page.captureScreenshot', { format: 'png' });
  fs.writeFileSync(path.join(pictures, `${name}.png`), Buffer.from(data, 'base64'));
}

let wrong = 0;
function check(what, holds, seen) {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}${holds ? '' : `: ${JSON.stringify(seen)}`}`);
  wrong += holds ? 0 : 1;
}
async function says(what, selector, pattern, ms) {
  let seen = '';
  const found = await until(what, async () => pattern.test(seen = await text(selector)), ms).catch(() => false);
  check(what, found, seen);
}

try {
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await command(`${domain}.enable`);
  await screen(1280, 860, false);
  await scheme('light');
  await command('Page.navigate', { url: base });
  await until('the page', () => js(`document.readyState === 'complete' && !!document.querySelector('#login')`));
  await picture('login');
  await write('#token', 'wrong');
  await click('#login button');
  await says('a wrong token is refused in words', '#login-error', /token/i);
  noise.length = 0; // The browser itself notes the 401.
  await write('#token', token);
  await click('#login button');
  await says('the overview shows figures', '#figures', /\d/);
  await until('curves', () => js(`document.querySelectorAll('#overview svg path').length > 2`));
  await rest(9000);
  await picture('overview');

  await click('#tab-top');
  await says('the heaviest URLs are listed', '#top-list', /\//);
  await picture('top');

  await click('#tab-objects');
  await says('objects are listed', '#objects-list', /KiB|B\b/);
  await js(`document.querySelector('#objects-kind').value = 'host'`);
  await write('#objects-text', new URL(page).hostname);
  await click('#objects-form button');
  await says('objects of one host are listed', '#objects-list', new RegExp(new URL(page).hostname.replaceAll('.', '\\.')));
  await picture('objects');
  await click('#objects-list button');
  await says('an object leads to its explanation', '#explain-answer', /hit|revalidate|miss/);

  await write('#explain-url', page);
  await click('#explain-form button');
  await says('explain tells key and freshness', '#explain-answer', /key/);
  await picture('explain');

  await click('#tab-purge');
  await write('#purge-items', page);
  await click('#purge-dry');
  await says('a dry run changes nothing and says so', '#purge-answer', /would purge 1 /i);
  await picture('purge-dry');
  await click('#purge-form button.danger');
  await says('a purge says what it did', '#purge-answer', /Purged 1 /);
  await picture('purge');

  await click('#tab-origins');
  await says('origins and servers are listed', '#origin-list', /up/);
  await click('#origin-list button');
  await says('a server is drained by a click', '#origin-answer', /no new requests/);
  await says('and is shown as drained', '#origin-list', /drained/);
  await picture('origins');
  await click('#origin-list button');
  await says('and taken back by another', '#origin-answer', /back in use/);

  await click('#tab-lab');
  await rest(2500);
  await picture('lab');

  await click('#tab-log');
  await click('#log-switch');
  await says('the log shows exchanges as they finish', '#log-lines', /GET/);
  await picture('log');
  await click('#log-switch');

  await js(`document.querySelector('#tab-log').focus()`);
  await press('Home', 'Home');
  check('Home leads to the first view', (await js('document.activeElement.id')) === 'tab-overview');
  await press('ArrowRight', 'ArrowRight');
  check('an arrow leads to the next', (await js('document.activeElement.id')) === 'tab-top');
  await press('Tab', 'Tab');
  const outline = `getComputedStyle(document.activeElement).outlineStyle`;
  check('what has the focus is marked', (await js(outline)) !== 'none');

  await scheme('dark');
  await click('#tab-overview');
  await rest(2500);
  await picture('dark');
  await screen(390, 844, true);
  for (const view of await js(`[...document.querySelectorAll('[role=tab]')].map((tab) => tab.id.slice(4))`)) {
    await js(`document.querySelector('#tab-${view}').click()`);
    await rest(700);
    check(`${view} fits a phone`, await js('document.documentElement.scrollWidth <= innerWidth'));
    await picture(`phone-${view}`);
  }
  await scheme('light');
  check('nothing else was asked for', [...asked].every((origin) => base.startsWith(origin)), [...asked]);
  check('the console is quiet', noise.length === 0, noise);
} catch (error) {
  check('no step is stuck', false, error.message);
} finally {
  chromium.kill();
  await rest(300);
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(wrong ? 1 : 0);
