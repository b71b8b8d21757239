// The page of a server of auth mode `required` in Chromium: signing in by keyboard, exporting, staying, leaving.
//
//     node signin.mjs http://127.0.0.1:8001/ --token TOKEN --key ID:SECRET --other-token TOKEN --other-key ID:SECRET [--shots FOLDER]
//
// Token and key must be of one principal, the other two of another. With short-lived addresses (`retention.urlTtlMs` of some seconds) it shows
// that the page asks for fresh ones. `--shots` leaves pictures in light, dark and narrow.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { check, done, expect, launch, same } from './harness.mjs';

const { values: options, positionals: [base] } = parseArgs({
  allowPositionals: true,
  options: { token: { type: 'string', default: '' }, key: { type: 'string', default: '' }, shots: { type: 'string' },
    'other-token': { type: 'string', default: '' }, 'other-key': { type: 'string', default: '' } },
});
const [id, secret] = options.key.split(':');
const [otherId, otherSecret] = options['other-key'].split(':');
if (!base || !secret || !options.token || !otherSecret || !options['other-token']) {
  console.error('usage: node signin.mjs BASE_URL --token TOKEN --key ID:SECRET --other-token TOKEN --other-key ID:SECRET [--shots FOLDER]');
  process.exit(2);
}
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', acceptDownloads: true });
const page = await context.newPage();
// With `window.isTampering` the next message of the server is changed on the way, which its signature shows.
await page.addInitScript(() => {
  const Native = WebSocket;
  window.WebSocket = class extends Native {
    set onmessage(listener) {
      super.onmessage = ({ data }) => {
        const isChanged = window.isTampering;
        window.isTampering = false;
        listener({ data: isChanged ? data.replace('"requestId":"', '"requestId":"x') : data });
      };
    }
  };
});
page.setDefaultTimeout(20000);
const faults = [];
const addresses = [];
page.on('pageerror', (error) => faults.push(`exception: ${error.stack ?? error}`));
page.on('console', (message) => {
  // Chromium logs every 401 by itself; here they are part of the play.
  if (message.type() === 'error' && !/401|WebSocket/.test(message.text())) faults.push(`console: ${message.text()}`);
});
page.on('request', (request) => addresses.push(request.url()));
page.on('websocket', (socket) => addresses.push(socket.url()));

async function shot(name, looks = {}) {
  if (!options.shots) return;
  const { width = 1280, height = 800, dark = false } = looks;
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: `${options.shots}/${name}.png` });
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: 'light' });
}
const shown = () => page.evaluate(() => [document.querySelector('#sign-in'), document.querySelector('#form')].map((part) => part.checkVisibility()));
const isAsked = () => page.waitForFunction(() => document.body.dataset.view === 'sign-in');
const isIn = () => page.waitForSelector('body[data-view=""] #connection[data-state="open"]');
const focused = () => page.evaluate(() => document.activeElement?.id);
const fields = { token: options.token, 'key-id': id, 'key-secret': secret };
/** Fills the fields from the keyboard, from the first to the last. */
async function typeIn(values) {
  await page.focus('#token');
  for (const [field, value] of Object.entries({ ...fields, ...values })) {
    same(await focused(), field, 'the focus');
    await page.keyboard.press('Control+A');
    await page.keyboard.press('Delete');
    await page.keyboard.type(value);
    await page.keyboard.press('Tab');
  }
}
const enter = () => page.press('#key-secret', 'Enter');
const errorAt = (field) => page.waitForSelector(`#${field}[aria-invalid="true"]`);

await check('the page asks who is there, and shows nothing else', async () => {
  await page.goto(base);
  await isAsked();
  same(await shown(), [true, false], 'the form to sign in, the form of exports');
  same(await focused(), 'token', 'the focus');
  await shot('sign-in');
  await shot('sign-in-narrow', { width: 380, height: 760 });
  await shot('sign-in-dark', { dark: true });
});

await check('what cannot be right is said beside its field, and nothing is sent', async () => {
  const before = addresses.length;
  await typeIn({ token: 'two words', 'key-id': 'k 1', 'key-secret': 'short' });
  await enter();
  for (const field of Object.keys(fields)) await errorAt(field);
  same(await focused(), 'token', 'the focus');
  same(addresses.slice(before), [], 'addresses');
  await shot('sign-in-wrong');
});

await check('a wrong token, a wrong secret and a wrong key id are told apart from each other only by field', async () => {
  await typeIn({ token: 'wrong' });
  await enter();
  await errorAt('token');
  same(await page.textContent('#token-problem'), 'The server does not accept this token.', 'the token');
  for (const values of [{ 'key-secret': 'A'.repeat(43) }, { 'key-id': 'nobody' }]) {
    await typeIn(values);
    await enter();
    await errorAt('key-secret');
    same(await page.textContent('#key-id-problem'), 'The server does not accept this key id and secret.', 'the key');
    same(await shown(), [true, false], 'the form to sign in, the form of exports');
  }
});

await check('the right ones open the page, by keyboard alone', async () => {
  await typeIn({});
  await enter();
  await isIn();
  same(await shown(), [false, true], 'the form to sign in, the form of exports');
  expect((await page.textContent('#connection-text')).includes(id), 'it does not say who is signed in');
  await page.waitForSelector('#preview-frame[aria-busy="false"]:not(.stale) #preview tbody tr');
  same(await page.evaluate(() => ['token', 'key-secret'].map((field) => document.getElementById(field).value)), ['', ''], 'the fields');
  same(await page.evaluate(() => sessionStorage.length + localStorage.length), 0, 'things stored');
});

await check('an export runs and its files load from signed addresses, fresh ones when they ran out', async () => {
  await page.fill('#limit', '15000');
  await page.click('#advanced summary');
  await page.fill('#rows-per-file', '9000');
  const before = await page.locator('.job').count();
  await page.click('#start');
  await page.waitForFunction((n) => document.querySelectorAll('.job').length > n, before);
  await page.waitForSelector('.job:first-child[data-state="completed"]');
  await shot('signed-in', { height: 900 });
  await shot('signed-in-narrow', { width: 380, height: 900 });
  await shot('signed-in-dark', { dark: true });
  for (const at of [0, 1]) {
    const row = page.locator('.job:first-child .file').nth(at);
    const digest = await row.locator('code').textContent();
    const left = await row.locator('.file-name').evaluate((link) => Number(new URL(link.href).searchParams.get('exp')) * 1000 - Date.now());
    expect(Number.isFinite(left), 'the address is not signed');
    if (left < 8000) await page.waitForTimeout(Math.max(0, left + 1000)); // until nobody takes it any more
    const [download] = await Promise.all([page.waitForEvent('download'), row.locator('.file-name').click()]);
    const bytes = await readFile(await download.path());
    same(createHash('sha256').update(bytes).digest('hex'), digest, `file ${at + 1}`);
  }
});

/** How many exports a token sees. */
const exportsOf = (token) => page.evaluate(async (bearer) => {
  const answer = await fetch('/v1/downloads', { headers: { Authorization: `Bearer ${bearer}` } });
  return (await answer.json()).downloads.length;
}, token);

await check('an answer that cannot be believed asks again who is there, and starts no export twice', async () => {
  const before = await exportsOf(options.token);
  await page.fill('#limit', '500');
  await page.evaluate(() => { window.isTampering = true; });
  await page.click('#start');
  await isAsked();
  same(await exportsOf(options.token), before + 1, 'exports made');
  await typeIn({});
  await enter();
  await isIn();
  await page.waitForFunction((n) => document.querySelectorAll('.job').length === n, before + 1);
  same(await page.inputValue('#limit'), '500', 'the form');
  await page.click('#start');
  await page.waitForSelector('#start:not([aria-busy])');
  same(await exportsOf(options.token), before + 1, 'exports after the second start');
});

await check('whoever signs in next sees nothing of the one before', async () => {
  const refuse = async () => {
    await page.evaluate(async () => {
      const { client } = await import('/session.js');
      window.isTampering = true;
      client.status().catch(() => {});
    });
    await isAsked();
  };
  const mine = await page.locator('.job').count();
  expect(mine > 0, 'there is nothing to see');
  await refuse();
  await typeIn({ token: options['other-token'], 'key-id': otherId, 'key-secret': otherSecret });
  const listed = page.waitForResponse((response) => response.url().includes('/v1/downloads'));
  await enter();
  await isIn();
  await (await listed).finished();
  await page.evaluate(() => new Promise(requestAnimationFrame));
  same(await page.evaluate(() => document.querySelectorAll('.job').length), 0, 'exports of the one before');
  expect((await page.textContent('#connection-text')).includes(otherId), 'somebody else is signed in');
  await refuse();
  await typeIn({});
  await enter();
  await isIn();
  await page.waitForFunction((n) => document.querySelectorAll('.job').length === n, mine);
});

await check('a reload asks again, unless it was asked to stay signed in', async () => {
  await page.reload();
  await isAsked();
  await typeIn({});
  await page.check('#keep');
  await page.check('#seal');
  await page.focus('#key-secret');
  await enter();
  await isIn();
  expect((await page.textContent('#connection-text')).endsWith('sealed'), 'it does not say that messages are sealed');
  await page.reload();
  await isIn();
  await page.waitForSelector('.job[data-state="completed"]');
  const other = await context.newPage();
  await other.goto(base);
  await other.waitForFunction(() => document.body.dataset.view === 'sign-in');
  await other.close();
});

await check('signing out forgets everything', async () => {
  await page.focus('#sign-out');
  await page.keyboard.press('Enter');
  await isAsked();
  same(await page.evaluate(() => [sessionStorage.length, document.querySelectorAll('.job').length]), [0, 0], 'stored and shown');
  await page.reload();
  await isAsked();
});

await check('no address held a token or a secret, nothing failed', async () => {
  same(addresses.filter((address) => [secret, options.token, otherSecret, options['other-token']].some((text) => address.includes(text))), [], 'addresses');
  same(faults, [], 'faults');
  expect(addresses.some((address) => address.includes('kid=')), 'the connection was never seen');
});

await browser.close();
done();
