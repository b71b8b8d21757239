// The hardware bridge in a real Chromium: the demonstration, the status page, the client that real pages load, and pages
// of strangers.
//
//   node bridge.mjs demo URL
//   node bridge.mjs status URL BRIDGE
//   node bridge.mjs pages BRIDGE        of a program that says everything it hears to all its pages
import { readFile } from 'node:fs/promises';
import { check, done, expect, launch, same, serve } from './harness.mjs';

const [what, ...places] = process.argv.slice(2);
const STRANGER = 'stranger.example';
const browser = await launch([STRANGER]);

/** A tab that collects what a person would call an error. */
async function tab(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 1000 }, ...options });
  const page = await context.newPage();
  page.errors = [];
  page.foreign = [];
  page.on('console', (message) => { if (message.type() === 'error') page.errors.push(message.text()); });
  page.on('pageerror', (error) => page.errors.push(error.message));
  page.on('request', (request) => { if (new URL(request.url()).hostname !== '127.0.0.1' && !request.url().startsWith('data:')) page.foreign.push(request.url()); });
  await page.goto(url);
  return page;
}
const text = (page, id) => page.locator(`#${id}`).textContent();
const isOpen = (page) => page.locator('#connection[data-state="open"]').waitFor();

/** Polls the page until the function, run in it, is truthy. */
const until = (page, isTrue, argument) => page.waitForFunction(isTrue, argument, { timeout: 20_000 });

/** Every control has a name, and everything with an `aria-` reference points at something. */
async function isLabelled(page) {
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, select, a[href], [role="img"], meter')].filter((element) => {
    if (element.closest('[hidden]')) return false;
    const by = element.getAttribute('aria-labelledby')?.split(' ').map((id) => document.getElementById(id)?.textContent).join('');
    return !(element.getAttribute('aria-label') || by || element.labels?.[0]?.textContent || element.textContent.trim());
  }).map((element) => element.outerHTML));
  same(nameless, [], 'controls without a name');
  const dangling = await page.evaluate(() => [...document.querySelectorAll('[aria-labelledby], [aria-describedby]')].flatMap((element) => (
    `${element.getAttribute('aria-labelledby') ?? ''} ${element.getAttribute('aria-describedby') ?? ''}`.split(' ').filter((id) => id && !document.getElementById(id))
  )));
  same(dangling, [], 'references to nothing');
}

async function demo(url) {
  let page;
  await check('values come in and change', async () => {
    page = await tab(url);
    await isOpen(page);
    await until(page, () => /^\d+$/.test(document.getElementById('light').textContent));
    for (const id of ['light', 'distance', 'temperature']) {
      const before = await text(page, id);
      await until(page, ([name, old]) => document.getElementById(name).textContent !== old, [id, before]);
    }
    same(await text(page, 'board-name'), 'Simulated board', 'the board');
    expect((await page.locator('#chart-light .line').getAttribute('d')).split('L').length > 5, 'a line in the chart');
  });

  await check('the button switches the lamp of the board, which its light sensor sees, in every tab', async () => {
    const second = await tab(url);
    await isOpen(second);
    await until(page, () => document.getElementById('connection-note').textContent.includes('2 tabs'));
    const dark = Number(await text(page, 'light'));
    await page.getByRole('switch', { name: 'LED' }).click();
    await page.locator('#led[aria-checked="true"]').waitFor();
    await second.locator('#board[data-led="true"]').waitFor();
    await until(second, (than) => Number(document.getElementById('light').textContent) > than + 120, dark);
    await second.getByRole('switch', { name: 'LED' }).press('Space');
    await page.locator('#led[aria-checked="false"]').waitFor();
    same(second.errors, [], 'console');
    await second.context().close();
    await until(page, () => !document.getElementById('connection-note').textContent.includes('tabs'));
  });

  await check('the slider turns the servo, by keyboard too', async () => {
    const slider = page.getByRole('slider', { name: 'Servo' });
    const before = Number(await text(page, 'distance'));
    await slider.fill('140');
    await until(page, () => document.getElementById('arm').getAttribute('transform').startsWith('rotate(50 '));
    await until(page, (than) => Math.abs(Number(document.getElementById('distance').textContent) - than) > 20, before);
    await slider.press('Home');
    await until(page, () => document.getElementById('arm').getAttribute('transform').startsWith('rotate(-90 '));
    same(await text(page, 'servo-value'), '0°', 'shown');
    same(await slider.getAttribute('aria-valuetext'), '0 degrees', 'said');
  });

  await check('what goes over the wire is shown, until it is paused', async () => {
    await until(page, () => document.getElementById('frames').textContent.includes('{\\"servo\\":0}'));
    const rows = await page.locator('#frames li').allTextContents();
    expect(rows.some((row) => row.includes('"light"') && /×\d+/.test(row)), `values share a line: ${rows}`);
    await page.getByRole('button', { name: 'Pause' }).click();
    const still = await text(page, 'frames');
    const light = await text(page, 'light');
    await until(page, (old) => document.getElementById('light').textContent !== old, light);
    same(await text(page, 'frames'), still, 'while paused');
  });

  await check('everything has a name, nothing comes from elsewhere, the console is empty', async () => {
    await isLabelled(page);
    same(page.foreign, [], 'requests to other hosts');
    same(page.errors, [], 'console');
  });

  await check('it works in the dark, on a phone, and without motion', async () => {
    const small = await tab(url, { viewport: { width: 360, height: 720 }, colorScheme: 'dark', reducedMotion: 'reduce' });
    await isOpen(small);
    const light = await until(small, () => /^\d+$/.test(document.getElementById('light').textContent) && document.getElementById('light').textContent);
    await until(small, (old) => document.getElementById('light').textContent !== old, await light.jsonValue());
    const wide = await small.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide <= 0, `${wide} pixels too wide`);
    same(small.errors, [], 'console');
    await small.context().close();
  });

  const picture = process.env.SPANDREL_PICTURE;
  if (picture) {
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('switch', { name: 'LED' }).click();
    await page.getByRole('slider', { name: 'Servo' }).fill('120');
    await page.waitForTimeout(12_000);
    await page.getByRole('switch', { name: 'LED' }).click();
    await page.waitForTimeout(5_000);
    await page.getByRole('switch', { name: 'LED' }).click();
    await page.waitForTimeout(4_000);
    await page.screenshot({ path: picture, fullPage: true });
  }

  await check('a name that somebody else points here shows nothing', async () => {
    const address = new URL(url);
    address.hostname = STRANGER;
    const page = await (await browser.newContext()).newPage();
    const answer = await page.goto(address.href);
    same(answer.status(), 403, 'status');
  });
}

async function status(url, bridge) {
  let page;
  await check('it says what the bridge is and does', async () => {
    page = await tab(url);
    await isOpen(page);
    same(await text(page, 'mode'), 'Host', 'mode');
    same(await text(page, 'address'), bridge, 'address');
    same(await text(page, 'browsers'), '0', 'browsers');
    same(await page.locator('#rooms-empty').isVisible(), true, 'no room');
  });

  await check('pages that come, speak and go are seen', async () => {
    const web = new URL('../../crates/spandrel-bridge-service/web/', import.meta.url);
    const files = await serve(async (path) => (path === '/socket.mjs'
      ? ['text/javascript', await readFile(new URL('socket.mjs', web))]
      : ['text/html', '<!doctype html><title>a page</title>']));
    const visitor = await tab(`http://127.0.0.1:${files.port}/`);
    await visitor.evaluate(async (address) => {
      const { connect } = await import('/socket.mjs');
      await new Promise((resolve) => { window.socket = connect(address, { query: { client: 'true', roomId: 'a-room-with-a-long-name' }, onState: (state) => { if (state === 'open') resolve(); } }); });
      window.speak = setInterval(() => window.socket.emit('message', { data: 1 }), 20);
    }, bridge);
    await until(page, () => document.getElementById('browsers').textContent === '1');
    await until(page, () => parseFloat(document.getElementById('rate-up').textContent) > 10);
    const rooms = await page.locator('#rooms tr').allTextContents();
    same(rooms.length, 1, 'rooms');
    expect(!rooms[0].includes('a-room-with-a-long-name'), `the name of a room is a key to it: ${rooms[0]}`);
    await visitor.context().close();
    await until(page, () => document.getElementById('browsers').textContent === '0');
    files.stop();
  });

  await check('who was refused is named, with the setting that would admit it', async () => {
    const port = new URL(bridge).port;
    const stranger = await serve(() => ['text/html', '<!doctype html><title>a stranger</title>']);
    const visitor = await (await browser.newContext()).newPage();
    await visitor.goto(`http://${STRANGER}:${stranger.port}/`);
    await visitor.evaluate((at) => new Promise((resolve) => { new WebSocket(`ws://127.0.0.1:${at}/socket.io/?EIO=3&transport=websocket`).onerror = resolve; }), port);
    await until(page, (name) => document.getElementById('refusals').textContent.includes(name), STRANGER);
    const one = await page.locator('#refusals li').first().textContent();
    expect(one.includes('SPANDREL_HW_ORIGINS'), one);
    await visitor.context().close();
    stranger.stop();
  });

  await check('everything has a name, nothing comes from elsewhere, the console is empty', async () => {
    await isLabelled(page);
    same(page.foreign, [], 'requests to other hosts');
    same(page.errors, [], 'console');
    const small = await tab(url, { viewport: { width: 360, height: 720 }, colorScheme: 'dark' });
    await isOpen(small);
    const wide = await small.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide <= 0, `${wide} pixels too wide`);
  });

  await check('a name that somebody else points here shows nothing, and no other page reads it', async () => {
    const address = new URL(url);
    address.hostname = STRANGER;
    const elsewhere = await (await browser.newContext()).newPage();
    same((await elsewhere.goto(address.href)).status(), 403, 'under another name');
    const stranger = await serve(() => ['text/html', '<!doctype html><title>a stranger</title>']);
    await elsewhere.goto(`http://${STRANGER}:${stranger.port}/`);
    const read = await elsewhere.evaluate((at) => fetch(`${at}status.json`).then((answer) => answer.text(), () => 'refused'), url);
    expect(!read.includes('uptimeMs'), `read by a stranger: ${read}`);
    stranger.stop();
  });
}

async function pages(bridge) {
  const version = { 'io2': '2.3.0', 'io25': '2.5.0' };
  const library = (name) => readFile(new URL(`../bridge/node_modules/${name}/dist/socket.io.js`, import.meta.url));
  const files = await serve(async (path) => (path.endsWith('.js')
    ? ['text/javascript', await library(path.slice(1, -3))]
    : ['text/html', '<!doctype html><title>a page of the site</title>']));

  for (const name of Object.keys(version)) {
    for (const [way, transports] of Object.entries({ websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] })) {
      await check(`the client that pages load, ${version[name]}, by ${way}`, async () => {
        const page = await tab(`http://127.0.0.1:${files.port}/`);
        await page.addScriptTag({ url: `/${name}.js` });
        const got = await page.evaluate(async ([address, by]) => {
          const socket = window.io.connect(address, { forceNew: true, transports: by, query: { client: true, roomId: '3f09a1c2d4' } });
          const heard = [];
          socket.on('message', (message) => heard.push(message));
          await new Promise((resolve, reject) => { socket.on('connect', resolve); socket.on('connect_error', reject); });
          if (by.length > 1) await new Promise((resolve) => { if (socket.io.engine.transport.name === 'websocket') resolve(); else socket.io.engine.on('upgrade', resolve); });
          const ask = (value) => new Promise((resolve) => { socket.emit('message', value, resolve); });
          const answers = [await ask({ data: '한글 😀', key: 'k' }), await ask({ bytes: new Uint8Array([0, 127, 255]).buffer, big: 'x'.repeat(300_000) })];
          // The program answers everything it hears with the same, names in order of the alphabet.
          while (heard.length < 2) await new Promise((resolve) => { setTimeout(resolve, 5); });
          const transport = socket.io.engine.transport.name;
          socket.close();
          return { answers, heard: heard.map(({ data }) => (data.big ? { ...data, big: data.big.length } : data)), transport };
        }, [bridge, transports]);
        same(got.answers, ['k', true], 'acknowledged');
        same(got.heard, [{ data: '한글 😀', key: 'k' }, { big: 300_000, bytes: { data: [0, 127, 255], type: 'Buffer' } }], 'heard');
        same(got.transport, way === 'polling' ? 'polling' : 'websocket', 'transport');
        same(page.errors, [], 'console');
        await page.context().close();
      });
    }
  }

  await check('a page of a stranger gets nothing, however it tries', async () => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`http://${STRANGER}:${files.port}/`);
    const got = await page.evaluate(async (address) => {
      const at = (transport, more = '') => `${address}/socket.io/?EIO=3&transport=${transport}${more}`;
      const socket = (query) => new Promise((resolve) => {
        const link = new WebSocket(at('websocket', query).replace('http', 'ws'));
        link.onopen = () => resolve('open');
        link.onerror = () => resolve('refused');
      });
      const element = (name, url) => new Promise((resolve) => {
        const made = Object.assign(document.createElement(name), { src: url, onload: () => resolve('loaded'), onerror: () => resolve('refused') });
        document.head.append(made);
      });
      const read = (url, how) => fetch(url, how).then((answer) => (answer.type === 'opaque' ? 'opaque' : answer.text()), () => 'refused');
      return {
        socket: await socket(''),
        program: await socket('&childServer=true'),
        read: await read(at('polling')),
        blind: await read(at('polling'), { mode: 'no-cors' }),
        post: await read(at('polling', '&sid=x'), { method: 'POST', body: '1:1' }),
        script: await element('script', at('polling', '&j=0')),
        image: await element('img', at('polling')),
      };
    }, bridge);
    same(got, { socket: 'refused', program: 'refused', read: 'refused', blind: 'opaque', post: 'refused', script: 'refused', image: 'refused' }, 'what it got');
    await page.context().close();
  });

  await check('a sandboxed frame on a listed page gets nothing either', async () => {
    const page = await tab(`http://127.0.0.1:${files.port}/`);
    const got = await page.evaluate((address) => new Promise((resolve) => {
      addEventListener('message', ({ data }) => resolve(data));
      const frame = Object.assign(document.createElement('iframe'), { sandbox: 'allow-scripts' });
      frame.srcdoc = `<script>const s=new WebSocket('${address}');s.onopen=()=>parent.postMessage('open','*');s.onerror=()=>parent.postMessage('refused','*')</scr` + 'ipt>';
      document.body.append(frame);
    }), `${bridge.replace('http', 'ws')}/socket.io/?EIO=3&transport=websocket`);
    same(got, 'refused', 'what it got');
    await page.context().close();
  });
  files.stop();
}

await { demo, status, pages }[what](...places);
await browser.close();
done();
