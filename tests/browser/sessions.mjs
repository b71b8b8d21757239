// The page's module inside Chromium against a running server, with every stack of layers:
//
//     node sessions.mjs http://127.0.0.1:8001/ --key ID:SECRET            a server of auth mode `required`
//     node sessions.mjs http://127.0.0.1:8001/ --key ID:SECRET --open     a server of auth mode `none` that has the key
//
// `--restart` has the caller kill and start the server again, see `harness.mjs`. The secret is base64url, as in the
// configuration. The server needs a data set of at least 20,000 rows.
import { parseArgs } from 'node:util';
import { check, done, expect, launch, restartServer, same } from './harness.mjs';

const { values: options, positionals: [base] } = parseArgs({
  allowPositionals: true,
  options: { key: { type: 'string', default: '' }, open: { type: 'boolean' }, restart: { type: 'boolean' } },
});
const [id, secret] = options.key.split(':');
if (!base || !secret) {
  console.error('usage: node sessions.mjs BASE_URL --key ID:SECRET [--open] [--restart]');
  process.exit(2);
}
const OTHER = 'A'.repeat(43);

const browser = await launch();
const page = await browser.newPage({ ignoreHTTPSErrors: base.startsWith('https:') }); // a certificate of the server's own
// What this file tells the module about the network: it may change what arrives, and it remembers what was sent.
await page.addInitScript(() => {
  window.frames_ = [];
  window.tamper = undefined;
  const Native = WebSocket;
  window.WebSocket = class extends Native {
    send(frame) {
      window.frames_.push({ to: this.url, frame });
      super.send(frame);
    }
    set onmessage(listener) {
      super.onmessage = (event) => {
        const data = window.tamper ? window.tamper(event.data) : event.data;
        for (const each of Array.isArray(data) ? data : [data]) listener({ data: each });
      };
    }
  };
});
await page.goto(base);
await page.evaluate(async ({ id, secret }) => {
  const module = await import('/client.js');
  const key = { id, secret: module.fromBase64Url(secret) };
  const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
  /** A client that is connecting, with everything it tells. */
  const client = (options = {}) => {
    const it = new module.DownloadClient({ key, reconnectDelay: 50, ...options });
    it.heard = [];
    it.failed = new Promise((resolve) => it.addEventListener('connection:failed', ({ detail }) => resolve(detail)));
    it.open = new Promise((resolve) => it.addEventListener('hello', resolve, { once: true }));
    for (const name of ['progress', 'complete', 'failed', 'connection']) it.addEventListener(name, ({ detail }) => it.heard.push([name, detail]));
    it.until = (name, is = () => true) => new Promise((resolve) => {
      const had = it.heard.find(([at, detail]) => at === name && is(detail));
      if (had) resolve(had[1]);
      else it.addEventListener(name, ({ detail }) => { if (is(detail)) resolve(detail); });
    });
    it.connect();
    return it;
  };
  const ask = (limit, more = {}) => ({
    searchParams: { timeFrom: '0001-01-01T00:00:00Z', timeTo: '9999-01-01T00:00:00Z', filters: [], limit }, outputFormat: 'csv', compression: false, ...more,
  });
  /** The data set's name, over and over, so that messages grow past the bound of deflating. */
  const long = (request) => ({ ...request, 'x-note': 'the quick brown fox '.repeat(100) });
  Object.assign(window, { module, key, client, ask, long, hex });
}, { id, secret });

const stacks = [{}, { deflate: true }, { seal: true }, { seal: true, deflate: true }];
if (options.open) stacks.push({ seal: true, signed: false }, { seal: true, signed: false, deflate: true }, { key: undefined }, { key: undefined, deflate: true });

for (const stack of stacks) {
  const name = JSON.stringify({ ...stack, ...('key' in stack && { key: null }) });
  await check(`${name}: an export from the request to the bytes`, async () => {
    const got = await page.evaluate(async ({ stack, isOpen }) => {
      const one = client(stack);
      await Promise.race([one.open, one.failed.then((why) => { throw new Error(JSON.stringify(why)); })]);
      const start = await one.request(long(ask(2000)));
      const { files: [file], totalRows } = await one.until('complete');
      // The address alone is enough: no header goes with a link.
      const bytes = await (await fetch(file.url)).arrayBuffer();
      const digest = hex(await crypto.subtle.digest('SHA-256', bytes));
      const unsigned = (await fetch(file.url.split('?')[0])).status;
      const state = await one.status({ downloadId: start.downloadId });
      const sent = window.frames_.splice(0).map(({ frame }) => (typeof frame === 'string' ? 'text' : `binary ${frame[0] === 0x78 ? 'zlib' : ''}`));
      one.close();
      return { totalRows, digests: digest === file.sha256, unsigned: isOpen || unsigned, state: state.activeDownloads[start.downloadId].state, sent };
    }, { stack: 'key' in stack ? { ...stack, key: undefined, none: true } : stack, isOpen: options.open });
    const { sent, ...rest } = got;
    same(rest, { totalRows: 2000, digests: true, unsigned: options.open ? true : 401, state: 'completed' }, 'the export');
    const kinds = new Set(sent);
    if (stack.seal) expect(!kinds.has('text'), 'a frame of a sealed connection went out in the clear');
    else expect(kinds.has('binary zlib') === (stack.deflate === true), `frames: ${[...kinds]}`);
  });
}

await check('what a wrong secret, key id or stack gets is one refusal, and no second try', async () => {
  const got = await page.evaluate(async (other) => {
    const wrong = { id: key.id, secret: module.fromBase64Url(other) };
    const ones = [{ key: wrong }, { key: wrong, seal: true }, { key: { ...key, id: 'nobody' } }, { key: { ...key, id: 'nobody' }, seal: true }].map(client);
    const codes = (await Promise.all(ones.map((one) => one.failed))).map(({ code }) => code);
    const tries = ones.map((one) => one.heard.filter(([, { state }]) => state === 'connecting').length);
    return [codes, tries];
  }, OTHER);
  same(got, [[4401, 4401, 4401, 4401], [1, 1, 1, 1]], 'codes and tries');
});

if (!options.open) {
  await check('sealed messages without signatures are refused, and the refusal is told', async () => {
    const got = await page.evaluate(async () => {
      const one = client({ seal: true, signed: false });
      return Promise.race([one.failed, one.open.then(() => one.status()).then(() => 'answered', () => one.failed)]);
    });
    expect(got.code === 4401 && got.reason.length > 3, JSON.stringify(got));
  });
  await check('a connection without a key does not come about', async () => {
    const got = await page.evaluate(async () => {
      const one = new module.DownloadClient({ maxReconnectAttempts: 0 });
      const failed = new Promise((resolve) => one.addEventListener('connection:failed', ({ detail }) => resolve(detail)));
      one.connect();
      return failed;
    });
    expect(got.code === 1006, JSON.stringify(got));
  });
}

for (const stack of [{}, { deflate: true }, { seal: true }, { seal: true, deflate: true }]) {
  for (const lie of ['a changed byte', 'a repeated frame', 'a frame left out']) {
    // Signatures do not count messages, and nothing else in a signed session does either.
    if (lie === 'a frame left out' && !stack.seal) continue;
    await check(`${JSON.stringify(stack)}: ${lie} on the way ends the connection`, async () => {
      const got = await page.evaluate(async ({ stack, lie }) => {
        const one = client(stack);
        await one.open;
        let count = 0;
        window.tamper = (data) => {
          count += 1;
          if (lie === 'a repeated frame') return count === 1 ? [data, data] : data;
          if (lie === 'a frame left out') return count === 1 ? [] : data;
          if (count > 1) return data;
          if (typeof data === 'string') return data.replace('"requestId":"', '"requestId":"x');
          const bytes = new Uint8Array(data.slice(0));
          bytes[bytes.length >> 1] ^= 1;
          return bytes.buffer;
        };
        one.status().catch(() => {});
        one.status().catch(() => {});
        const { code } = await one.failed;
        window.tamper = undefined;
        return [code, one.heard.filter(([, { state }]) => state === 'connecting').length];
      }, { stack, lie });
      // A changed byte of a zlib stream may stop it from inflating before there is a signature to check.
      const codes = stack.deflate && !stack.seal && lie === 'a changed byte' ? [4401, 1007] : [4401];
      expect(codes.includes(got[0]) && got[1] === 1, JSON.stringify(got));
    });
  }
}

if (options.restart) {
  await check('a killed server is found again, and a running export goes on, under each stack', async () => {
    await page.evaluate(async (stacks) => {
      window.survivors = stacks.map((stack) => client({ ...stack, reconnectDelay: 300 }));
      await Promise.all(window.survivors.map(async (one) => {
        await one.open;
        one.start = await one.request(ask(4000, { options: { maxRowsPerSecond: 1000 } }));
        await one.until('progress', ({ processedRows }) => processedRows > 0);
      }));
    }, [{}, { seal: true, deflate: true }]);
    await restartServer();
    const got = await page.evaluate(() => Promise.all(window.survivors.map(async (one) => {
      const { totalRows, downloadId } = await one.until('complete');
      const restarts = Math.max(...one.heard.filter(([name]) => name === 'progress').map(([, update]) => update.restarts));
      one.close();
      return [totalRows, downloadId === one.start.downloadId, restarts];
    })));
    same(got, [[4000, true, 1], [4000, true, 1]], 'rows, the same export, restarts');
  });
}

await check('neither the secret nor what follows from it was in an address or a frame', async () => {
  const got = await page.evaluate((secret) => [...performance.getEntriesByType('resource').map(({ name }) => name), ...window.frames_.map(({ to, frame }) => `${to} ${frame}`)].filter((text) => text.includes(secret)), secret);
  same(got, [], 'leaks');
});

await browser.close();
done();
