// Drives the page of the download server in a real Chromium.
//
//     node page.mjs http://127.0.0.1:8001/        against a running server
//     node page.mjs --fake                        against the stand-in of fixtures/
//
//   --shot FILE    a picture of the page with a running and a finished export (PNG)
//   --restart      asks for a real restart: prints the line `RESTART` and waits for a line on standard input, which
//                  the caller writes when the server is up again at the same address; without it only the
//                  connection is cut
//   --dark         in the dark theme
//   --width N --height N
//
// Prints one line per check and exits with 1 when one failed. The server needs one data set of at least 20,000 rows
// and an empty state, because the test looks at the newest export. SPANDREL_CHROMIUM names the browser.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    fake: { type: 'boolean' }, restart: { type: 'boolean' }, shot: { type: 'string' }, dark: { type: 'boolean' },
    width: { type: 'string', default: '1280' }, height: { type: 'string', default: '800' },
  },
});
const fake = options.fake ? await (await import('./fixtures/fake-server.mjs')).startFakeServer() : undefined;
const base = fake?.base ?? positionals[0];
if (!base) {
  console.error('usage: node page.mjs BASE_URL | --fake  [--shot FILE] [--dark] [--width N] [--height N]');
  process.exit(2);
}
const origin = new URL(base).origin;

// A page that hangs must not hang the tests with it.
setTimeout(() => {
  console.log('FAILED  not done after four minutes');
  process.exit(1);
}, 240_000).unref();

const browser = await chromium.launch({
  executablePath: process.env.SPANDREL_CHROMIUM ?? process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Nothing but the server is ever resolved, so a foreign request cannot leave the machine either.
  args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});
const context = await browser.newContext({
  viewport: { width: Number(options.width), height: Number(options.height) },
  colorScheme: options.dark ? 'dark' : 'light',
  acceptDownloads: true,
  permissions: ['clipboard-read', 'clipboard-write'],
});
const page = await context.newPage();
// Real sockets, only remembered, so that a test can cut them.
await page.addInitScript(() => {
  window.testSockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...parameters) {
      super(...parameters);
      window.testSockets.push(this);
    }
  };
});
page.setDefaultTimeout(20000);

const faults = [];
/** Set while the connection is cut on purpose; the browser writes to the console then. */
let isCut = false;
page.on('pageerror', (error) => faults.push(`exception: ${error.stack ?? error}`));
page.on('console', (message) => {
  if (message.type() === 'error' && !isCut) faults.push(`console: ${message.text()}`);
});
page.on('request', (request) => {
  const url = request.url();
  if (!/^(data|blob):/.test(url) && new URL(url).origin !== origin) faults.push(`foreign request: ${url}`);
});

let failed = 0;
async function check(name, run) {
  const started = performance.now();
  try {
    await run();
    console.log(`ok      ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.message}`);
  }
}
function expect(isTrue, message) {
  if (!isTrue) throw new Error(message);
}

const connected = () => page.waitForSelector('#connection[data-state="open"]');
const previewed = () => page.waitForSelector('#preview-frame[aria-busy="false"]:not(.stale) #preview tbody tr');
const newest = page.locator('.job').first();
const inState = (state) => page.waitForSelector(`.job:first-child[data-state="${state}"]`);
const barValue = () => newest.locator('progress').evaluate((bar) => bar.value);

/** Presses Tab until an element that fits has the focus, as somebody without a mouse would. */
async function tabTo(selector, most = 120) {
  for (let i = 0; i < most; i += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${selector} cannot be reached with ${most} presses of Tab`);
}
/** Replaces what is in the focused text field. */
async function typeOver(text) {
  await page.keyboard.press('Control+A');
  await page.keyboard.type(text);
}
async function openAdvanced() {
  if (!(await page.locator('#advanced').evaluate((details) => details.open))) await page.click('#advanced summary');
}
/** Has the caller restart the server; see `--restart`. */
function restartServer() {
  console.log('RESTART');
  return new Promise((resolve) => process.stdin.once('data', resolve));
}
/** Starts an export that takes about twenty seconds unless it is stopped. */
async function startSlow() {
  const before = await page.locator('.job').count();
  await openAdvanced();
  await page.fill('#rows-per-second', '1000');
  await page.fill('#limit', '20000');
  await page.click('#start');
  await page.waitForFunction((n) => document.querySelectorAll('.job').length > n, before);
}

await check('the page loads, connects and shows rows', async () => {
  const response = await page.goto(base);
  const policy = response.headers()['content-security-policy'] ?? '';
  expect(policy.includes("default-src 'none'") && !policy.includes('unsafe'), `the policy is "${policy}"`);
  await Promise.all([connected(), previewed()]);
  const heads = await page.locator('#preview thead th').count();
  expect(heads > 1, `the preview has ${heads} columns`);
  expect(/\d/.test(await page.textContent('#preview-count')), 'the preview counts no rows');
});

await check('a filter that needs a value says so, and the preview follows it', async () => {
  const all = await page.textContent('#preview-count b');
  await page.click('#add-filter');
  const field = page.locator('.filter-field');
  const names = await field.locator('option').allTextContents();
  const ints = await page.locator('#columns label').evaluateAll((labels) => labels.filter((l) => l.querySelector('.type').textContent === 'int').map((l) => l.querySelector('input').value));
  const name = ints.find((n) => names.includes(n));
  expect(name, 'the data set has no int column to filter on');
  await field.selectOption(name);
  await page.waitForSelector('.filter .field-error');
  await page.locator('.filter-op').selectOption('exists');
  await previewed();
  await page.locator('.filter-op').selectOption('missing');
  await page.waitForFunction((before) => document.querySelector('#preview-count b')?.textContent !== before, all);
  expect((await page.locator('.filter .field-error').count()) === 0, 'the filter is still marked');
  await page.click('.filter-remove');
  await page.waitForFunction((before) => document.querySelector('#preview-count b')?.textContent === before, all);
});

await check("a refusal of the server stands beside its field, in its own words", async () => {
  await openAdvanced();
  await page.fill('#rows-per-file', '500001');
  await page.waitForSelector('[data-path="/options/maxRowsPerFile"] .field-error');
  expect((await page.getAttribute('#rows-per-file', 'aria-invalid')) === 'true', 'the field is not marked invalid');
  await page.fill('#rows-per-file', '');
  await previewed();
  faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes('400'))); // Chromium logs every status of 400
});

if (fake) {
  await check('text that looks like markup stays text', async () => {
    await page.selectOption('#dataset', 'notes');
    await page.waitForFunction(() => document.querySelector('#preview tbody')?.textContent.includes('<img src=x onerror=alert(1)>'));
    expect((await page.locator('img').count()) === 0, 'a cell became an element');
  });
}

await check('an export runs from the first key to the file without a mouse', async () => {
  await page.reload();
  await Promise.all([connected(), previewed()]);
  await tabTo('#columns-none');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-path="/searchParams/columns"] .field-error');
  for (let i = 0; i < 3; i += 1) {
    await tabTo(`#columns label:nth-child(${i + 1}) input`);
    await page.keyboard.press('Space');
  }
  await tabTo('input[name="format"]');
  await page.keyboard.press('ArrowRight'); // JSON
  await page.keyboard.press('ArrowLeft'); // and back
  expect(await page.isChecked('input[value="csv"]'), 'the arrow keys do not choose the format');
  await tabTo('#limit');
  await typeOver('15000');
  await tabTo('#advanced summary');
  if (!(await page.locator('#advanced').evaluate((details) => details.open))) await page.keyboard.press('Enter');
  await tabTo('#rows-per-file');
  await typeOver('9000');
  await tabTo('#rows-per-second');
  await typeOver('5000');
  await tabTo('#start');
  const outline = await page.locator('#start').evaluate((button) => getComputedStyle(button).outlineStyle);
  expect(outline !== 'none', 'the focus on the start button cannot be seen');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.job');
});

await check('the bar moves while rows are written', async () => {
  const seen = new Set();
  while (!(await page.locator('.job:first-child[data-state="completed"]').count())) {
    seen.add(await barValue().catch(() => 100));
    await page.waitForTimeout(150);
  }
  const between = [...seen].filter((value) => value > 0 && value < 100);
  expect(between.length >= 1, `the bar only showed ${[...seen].join(', ')}`);
  const values = [...seen];
  expect(values.every((value, i) => i === 0 || value >= values[i - 1]), `the bar went back: ${values.join(', ')}`);
  expect((await newest.locator('.job-stats').textContent()).includes('15,000 rows'), 'the export does not end with its rows');
  expect((await newest.locator('.file').count()) === 2, 'there are not two files');
});

await check('each downloaded file has the SHA-256 that is shown', async () => {
  for (const row of await newest.locator('.file').all()) {
    const shown = await row.locator('code').textContent();
    const [download] = await Promise.all([page.waitForEvent('download'), row.locator('.file-name').click()]);
    const bytes = await readFile(await download.path());
    const digest = createHash('sha256').update(bytes).digest('hex');
    expect(digest === shown, `${download.suggestedFilename()} has ${digest}, shown is ${shown}`);
    expect(download.suggestedFilename() === (await row.locator('.file-name').textContent()), 'the file has another name');
  }
  await newest.locator('.copy').first().click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied === (await newest.locator('code').first().textContent()), `the clipboard holds "${copied}"`);
});

await check('a reload finds the running export again', async () => {
  await page.reload();
  await Promise.all([connected(), previewed()]);
  await startSlow();
  await inState('generating');
  const id = await newest.getAttribute('id');
  await page.reload();
  await page.waitForSelector(`#${id}[data-state="generating"]`);
  const first = await page.locator(`#${id} progress`).evaluate((bar) => bar.value);
  await page.waitForFunction(([job, value]) => document.querySelector(`#${job} progress`).value > value, [id, first]);
});

await check('pause holds it, resume lets it go on', async () => {
  await newest.locator('.job-pause').click();
  await inState('paused');
  expect((await newest.locator('.job-pause').textContent()) === 'Resume', 'the button does not offer to resume');
  const held = await newest.locator('.job-stats').textContent();
  await page.waitForTimeout(1500); // nothing may happen, and nothing tells when nothing happened
  expect((await newest.locator('.job-stats').textContent()) === held, 'rows went on while it was paused');
  const value = await barValue();
  await newest.locator('.job-pause').click();
  await inState('generating');
  await page.waitForFunction((held) => document.querySelector('.job progress').value > held, value);
});

await check('a lost connection comes back by itself and goes on with the export', async () => {
  isCut = true;
  const lost = page.waitForSelector('#connection[data-state="waiting"]');
  if (options.restart) await restartServer();
  else if (fake) fake.drop();
  else await page.evaluate(() => window.testSockets.at(-1).close(4999)); // a code that says nothing against trying again
  await lost;
  await connected();
  isCut = false;
  const value = await barValue();
  await page.waitForFunction((held) => document.querySelector('.job progress').value > held, value);
  if (options.restart) {
    const facts = await newest.locator('.job-sub').textContent();
    expect(facts.includes('continued after 1 restart'), `the export says "${facts}"`);
  }
});

if (options.shot) {
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: options.shot });
}

await check('cancel ends it and keeps the keyboard where it was', async () => {
  await newest.locator('.job-cancel').focus();
  await page.keyboard.press('Enter');
  await inState('cancelled');
  expect((await newest.locator('.file').count()) === 0, 'a cancelled export still shows files');
  const isHere = await newest.evaluate((card) => card.contains(document.activeElement));
  expect(isHere, 'the focus left the export');
});

await check('a finished export is still there after a reload', async () => {
  await page.reload();
  await page.waitForSelector('.job[data-state="completed"] .file-name');
  await page.waitForSelector('.job[data-state="cancelled"]');
});

/** How many exports the server has. */
const exportsThere = () => page.evaluate(async () => (await (await fetch('/v1/downloads?limit=100')).json()).downloads.length);

if (fake) {
  await check('a start whose answer was lost makes no second export', async () => {
    await Promise.all([connected(), previewed()]);
    const before = await exportsThere();
    await page.fill('#limit', '100');
    fake.spoil('download:request', 'TIMEOUT', true);
    await page.click('#start');
    await page.waitForSelector('#form-error:not([hidden])');
    await page.click('#start');
    await page.waitForFunction((n) => document.querySelectorAll('.job').length > n, before);
    expect((await exportsThere()) === before + 1, `there are ${await exportsThere()} exports, there were ${before}`);
  });
}

if (fake) {
  await check('what a pause was refused with goes away when it works', async () => {
    await startSlow();
    await inState('generating');
    fake.spoil('download:pause', 'OVERLOADED');
    await newest.locator('.job-pause').click();
    await newest.locator('.job-error').waitFor({ state: 'visible' });
    await page.waitForSelector('.job:first-child:not([aria-busy])');
    await newest.locator('.job-pause').click();
    await inState('paused');
    await newest.locator('.job-error').waitFor({ state: 'hidden' });
    await newest.locator('.job-cancel').click();
    await inState('cancelled');
  });

  await check('what is older is offered until all of it is shown, also after a lost connection', async () => {
    fake.fill(45);
    await page.reload();
    await Promise.all([connected(), previewed()]);
    const there = await exportsThere();
    for (let shown = 20; shown < there; shown += 20) {
      await page.waitForFunction((n) => document.querySelectorAll('.job').length === n, shown);
      await page.click('#older');
    }
    await page.waitForFunction((n) => document.querySelectorAll('.job').length === n, there);
    await page.locator('#older').waitFor({ state: 'hidden' });
    isCut = true;
    const listed = page.waitForResponse((response) => response.url().includes('/v1/downloads'));
    fake.drop();
    await (await listed).finished();
    await connected();
    isCut = false;
    await page.evaluate(() => new Promise(requestAnimationFrame)); // the page takes the list before the next picture
    expect(await page.locator('#older').isHidden(), 'there is nothing older');
  });
}

await check('nothing leaves the server, nothing fails in the console', async () => {
  expect(faults.length === 0, `\n  ${faults.join('\n  ')}`);
});

await browser.close();
fake?.stop();
console.log(failed === 0 ? 'all good' : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
