// Runs the known values of signing, sealing and deflating through the page's own module, inside Chromium:
//
//     node vectors.mjs
//
// The values are the ones that the Rust side is tested with, in `crates/spandrel-session/tests/data`.
import { readFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import { check, done, expect, launch, same, serve, webFile } from './harness.mjs';

const DATA = new URL('../../crates/spandrel-session/tests/data/', import.meta.url);
const data = async (name) => JSON.parse(await readFile(new URL(name, DATA), 'utf8'));
const [signed, sealed, deflated, layered] = await Promise.all(['signed.json', 'sealed.json', 'deflated.json', 'layered.json'].map(data));

const site = await serve(webFile);
const browser = await launch();
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${site.port}/`);
await page.evaluate(async () => {
  const secure = await import('/secure.js');
  const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  /** The close code something is refused with, or what it gave. */
  const codeOf = (promise) => promise.then((value) => `taken: ${JSON.stringify(value)}`, (error) => error.code ?? String(error));
  Object.assign(window, { secure, bytes, hex, codeOf });
});

await check('signing gives the known messages, and they verify', async () => {
  const got = await page.evaluate(async ({ secret, kid, good }) => {
    const key = await secure.signingKey(await secure.importSecret(bytes(secret)));
    return Promise.all(good.map(async ({ to, text, nonce, at, message }) => {
      const made = await secure.sign(key, kid, to, text, at, bytes(nonce));
      const read = await secure.verify(key, kid, to, message);
      return [made, hex(secure.fromBase64Url(read.nonce)), read.timestampMs];
    }));
  }, signed);
  same(got, signed.good.map(({ message, nonce, at }) => [message, nonce, at]), 'signed');
});

await check('what is signed wrongly is refused', async () => {
  const got = await page.evaluate(async ({ secret, kid, refused }) => {
    const key = await secure.signingKey(await secure.importSecret(bytes(secret)));
    return Promise.all(refused.map(({ message }) => codeOf(secure.verify(key, kid, 'c2s', message))));
  }, signed);
  same(got, signed.refused.map(() => 4401), signed.refused.map(({ why }) => why).join(', '));
});

await check('one changed bit anywhere in a signed message, or a shorter one, is refused', async () => {
  const taken = await page.evaluate(async ({ secret, kid, good: [{ message }] }) => {
    const key = await secure.signingKey(await secure.importSecret(bytes(secret)));
    const wrong = Array.from({ length: message.length }, (_, at) => message.slice(0, at));
    for (let at = 0; at < message.length; at += 1) {
      for (let bit = 0; bit < 7; bit += 1) wrong.push(message.slice(0, at) + String.fromCharCode(message.charCodeAt(at) ^ (1 << bit)) + message.slice(at + 1));
    }
    const codes = await Promise.all(wrong.map((text) => codeOf(secure.verify(key, kid, 'c2s', text))));
    return wrong.filter((_, i) => codes[i] !== 4401);
  }, signed);
  same(taken, [], 'taken');
});

await check('sealing gives the known bytes, and both forms open', async () => {
  const got = await page.evaluate(async ({ secret, client_nonce, server_nonce, good }) => {
    const keys = await secure.sealingKeys(await secure.importSecret(bytes(secret)), bytes(client_nonce), bytes(server_nonce));
    return Promise.all(good.map(async ({ to, n, iv, text, binary, json }) => [
      hex(await secure.seal(keys[to], to, n, bytes(text), bytes(iv))),
      hex(await secure.open(keys[to], to, n, bytes(binary))),
      hex(await secure.open(keys[to], to, n, json)),
    ]));
  }, sealed);
  same(got, sealed.good.map(({ binary, text }) => [binary, text, text]), 'sealed');
});

await check('what is sealed wrongly is refused', async () => {
  const got = await page.evaluate(async ({ secret, client_nonce, server_nonce, refused }) => {
    const keys = await secure.sealingKeys(await secure.importSecret(bytes(secret)), bytes(client_nonce), bytes(server_nonce));
    return Promise.all(refused.map(({ to, n, binary, json }) => codeOf(secure.open(keys[to], to, n, json ?? bytes(binary)))));
  }, sealed);
  same(got, sealed.refused.map(() => 4401), sealed.refused.map(({ why }) => why).join(', '));
});

await check('one changed bit anywhere in a sealed message, or a shorter one, is refused', async () => {
  const taken = await page.evaluate(async ({ secret, client_nonce, server_nonce, good: [{ to, n, binary }] }) => {
    const keys = await secure.sealingKeys(await secure.importSecret(bytes(secret)), bytes(client_nonce), bytes(server_nonce));
    const whole = bytes(binary);
    const wrong = Array.from({ length: whole.length }, (_, at) => whole.slice(0, at));
    for (let bit = 0; bit < whole.length * 8; bit += 1) {
      const copy = whole.slice();
      copy[bit >> 3] ^= 1 << (bit & 7);
      wrong.push(copy);
    }
    const codes = await Promise.all(wrong.map((frame) => codeOf(secure.open(keys[to], to, n, frame))));
    return wrong.filter((_, i) => codes[i] !== 4401).map(hex);
  }, sealed);
  same(taken, [], 'taken');
});

await check('a JSON form with other members, twice the same or other base64 is refused', async () => {
  const got = await page.evaluate(async ({ secret, client_nonce, server_nonce, good: [{ to, n, json }] }) => {
    const keys = await secure.sealingKeys(await secure.importSecret(bytes(secret)), bytes(client_nonce), bytes(server_nonce));
    const { encrypted, iv, tag } = JSON.parse(json);
    const forms = [
      JSON.stringify({ tag, iv, encrypted }), // any order is the same object
      json.replace('}', ',"x":1}'), json.replace('}', `,"tag":"${tag}"}`), JSON.stringify({ encrypted, iv }), JSON.stringify({ encrypted, iv, x: tag }),
      JSON.stringify({ encrypted, iv: `${iv}=`, tag }), JSON.stringify({ encrypted: `${encrypted} `, iv, tag }), JSON.stringify({ encrypted: null, iv, tag }),
      JSON.stringify([encrypted, iv, tag]), '', 'null', '{', '"encrypted"',
    ];
    return Promise.all(forms.map((form) => codeOf(secure.open(keys[to], to, n, form).then(() => 'opens'))));
  }, sealed);
  expect(got[0].includes('opens'), 'members in another order are refused');
  same(got.slice(1), got.slice(1).map(() => 4401), 'refused forms');
});

await check('zlib streams inflate to the known text, and so do our own', async () => {
  const got = await page.evaluate(({ good, limit }) => Promise.all(good.map(async ({ text, zlib }) => {
    const own = await secure.deflate(secure.utf8(text));
    return [secure.textOf(await secure.inflate(bytes(zlib), limit)) === text, secure.textOf(await secure.inflate(own, limit)) === text];
  })), deflated);
  same(got, deflated.good.map(() => [true, true]), 'inflated');
});

await check('what does not inflate is refused with its close code', async () => {
  const got = await page.evaluate(({ refused, limit }) => Promise.all(refused.map(({ zlib }) => codeOf(secure.inflate(bytes(zlib), limit).then(secure.textOf)))), deflated);
  same(got, deflated.refused.map(({ close }) => close), deflated.refused.map(({ why }) => why).join(', '));
});

/** The most memory a page of this browser ever took, in MiB; undefined where nobody says. */
async function peakMib() {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  await cdp.detach();
  const peaks = await Promise.all(processInfo.filter(({ type }) => type === 'renderer').map(async ({ id }) => {
    const status = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) / 1024;
  }));
  const most = Math.max(...peaks);
  return Number.isFinite(most) ? most : undefined;
}

await check('inflating stops at the limit, not at the end of the stream', async () => {
  const bomb = deflateSync(Buffer.alloc(512 << 20, 0x20), { level: 9 });
  const [exact, over] = [1 << 20, (1 << 20) + 1].map((length) => deflateSync(Buffer.alloc(length, 0x20)).toString('hex'));
  await page.evaluate((hexes) => { window.streams = hexes.map(bytes); }, [bomb.toString('hex'), exact, over]);
  const before = await peakMib();
  const got = await page.evaluate(async () => {
    const [bomb, exact, over] = window.streams;
    return [await codeOf(secure.inflate(bomb, 1 << 20)), (await secure.inflate(exact, 1 << 20)).length, await codeOf(secure.inflate(over, 1 << 20))];
  });
  same(got, [1009, 1 << 20, 1009], 'codes and lengths');
  const after = await peakMib();
  // Fed whole, Chromium inflates all 512 MiB before the first of them can be read.
  if (before && after) expect(after - before < 64, `the page grew by ${Math.round(after - before)} MiB over a bomb of ${bomb.length} bytes`);
});

await check('a message through every layer is read again', async () => {
  const got = await page.evaluate(async ([{ secret, kid }, { client_nonce, server_nonce }, { binary, json, n }]) => {
    const root = await secure.importSecret(bytes(secret));
    const keys = await secure.sealingKeys(root, bytes(client_nonce), bytes(server_nonce));
    const forms = await Promise.all([bytes(binary), json].map((form) => secure.open(keys.c2s, 'c2s', n, form)));
    const texts = await Promise.all(forms.map(async (plain) => secure.textOf(await secure.inflate(plain, 1 << 20))));
    await secure.verify(await secure.signingKey(root), kid, 'c2s', texts[0]);
    return [...forms.map(hex), ...texts];
  }, [signed, sealed, layered]);
  same(got, [layered.deflated, layered.deflated, layered.signed, layered.signed], 'layers');
});

await check('no key can be read back', async () => {
  const got = await page.evaluate(async () => {
    const root = await secure.importSecret(crypto.getRandomValues(new Uint8Array(32)));
    const nonce = new Uint8Array(16);
    const keys = [root, await secure.signingKey(root), ...Object.values(await secure.sealingKeys(root, nonce, nonce))];
    return Promise.all(keys.map((key) => crypto.subtle.exportKey('raw', key).then(() => 'exported', (error) => error.name)));
  });
  same(got, ['NotSupportedError', 'InvalidAccessError', 'InvalidAccessError', 'InvalidAccessError'], 'keys');
});

await check('base64url is taken in one spelling only', async () => {
  const got = await page.evaluate(() => ['', 'AA', 'AQ', '_-_-', 'A', 'AB', 'AA==', 'A A', 'AA\n', '+/+/', 5, undefined].map((text) => {
    const read = secure.fromBase64Url(text);
    return read ? hex(read) : null;
  }));
  same(got, ['', '00', '01', 'ffeffe', null, null, null, null, null, null, null, null], 'base64url');
});

await browser.close();
site.stop();
done();
