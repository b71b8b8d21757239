// Holds signed, sealed and deflated connections of the page's client to the protocol, against a server in this file
// that holds the same key and can be told to lie:
//
//     node --test secure.test.mjs
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { beforeEach, afterEach, test } from 'node:test';
import { load } from './modules.mjs';

const secure = await load('secure.js');
const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
const KEY = { id: 'k1', secret: SECRET };
const root = await secure.importSecret(SECRET);
const signing = await secure.signingKey(root);
const START = { downloadId: 'dl_1', state: 'generating', files: [] };
const ASK = { searchParams: { timeFrom: 'a', timeTo: 'b', filters: [] }, outputFormat: 'csv', compression: false };

/** Resolves with what is pushed, in order. */
class Queue {
  #have = [];
  #want = [];
  push(item) {
    const want = this.#want.shift();
    if (want) want(item);
    else this.#have.push(item);
  }
  next() {
    return this.#have.length > 0 ? Promise.resolve(this.#have.shift()) : new Promise((resolve) => { this.#want.push(resolve); });
  }
  get length() {
    return this.#have.length;
  }
}

/** Both ends of a connection: a WebSocket to the client, a server to the test. */
class Peer {
  static OPEN = 1;
  static opened = new Queue();
  constructor(url, protocols) {
    Object.assign(this, { url: new URL(url), protocol: protocols[0], readyState: 1, received: new Queue(), frames: [], sent: 0, got: 0, skewMs: 0 });
    this.seals = this.protocol.includes('aes256gcm');
    this.signs = true;
    this.closed = new Promise((resolve) => { this.isClosed = resolve; });
    this.reading = Promise.resolve();
    queueMicrotask(() => { this.onopen?.(); Peer.opened.push(this); });
  }
  // The client's side.
  send(frame) {
    this.frames.push(frame);
    this.reading = this.reading.then(async () => this.received.push(await this.#read(frame)));
  }
  close(code) {
    this.readyState = 3;
    this.isClosed(code);
  }
  // The server's side.
  async hello(more = {}) {
    const nonce = secure.randomBytes(16);
    this.keys = this.seals && (await secure.sealingKeys(root, secure.fromBase64Url(this.url.searchParams.get('cn')), nonce));
    const data = { kind: 'hello', serverTime: Date.now() + this.skewMs, heartbeatIntervalMs: 10000, heartbeatTimeoutMs: 5000, maxMessageBytes: 1048576, features: [], ...(this.seals && { serverNonce: secure.toBase64Url(nonce) }), ...more };
    const text = this.#text('connection:health', data, 'srv-1');
    this.raw(this.seals || !this.signs ? text : await this.sign(text));
    if (!this.seals || !this.keys) return;
    const ping = await this.received.next();
    assert.deepEqual([ping.event, ping.data.kind], ['connection:health', 'ping'], 'a sealed connection is tried out first');
    await this.says('connection:health', { kind: 'pong', serverTime: Date.now() + this.skewMs }, ping.requestId);
  }
  async says(event, data, requestId = 'srv-2', options) {
    this.raw(await this.frame(event, data, requestId, options));
  }
  async frame(event, data, requestId, { sign = this.signs, at, nonce, json, deflates } = {}) {
    const plain = this.#text(event, data, requestId);
    const text = sign ? await this.sign(plain, at, nonce) : plain;
    let bytes = secure.utf8(text);
    if (deflates) bytes = await secure.deflate(bytes);
    if (!this.seals) return deflates ? bytes.buffer : text;
    const sealed = await secure.seal(this.keys.s2c, 's2c', this.sent++, bytes);
    if (!json) return sealed.buffer;
    const [iv, encrypted, tag] = [sealed.slice(0, 12), sealed.slice(12, -16), sealed.slice(-16)].map(secure.toBase64Url);
    return JSON.stringify({ encrypted, iv, tag });
  }
  raw(data) {
    this.onmessage({ data });
  }
  sign(text, at = Date.now() + this.skewMs, nonce = undefined, key = signing, id = KEY.id) {
    return secure.sign(key, id, 's2c', text, at, nonce);
  }
  #text(event, data, requestId) {
    return JSON.stringify({ event, data, timestamp: 0, requestId });
  }
  async #read(frame) {
    let bytes = typeof frame === 'string' ? secure.utf8(frame) : frame;
    if (this.seals) bytes = await secure.open(this.keys.c2s, 'c2s', this.got++, bytes);
    const text = secure.textOf(bytes[0] === 0x7b ? bytes : await secure.inflate(bytes, 1 << 20));
    const message = JSON.parse(text);
    const read = message.auth && (await secure.verify(signing, KEY.id, 'c2s', text));
    return { ...message, text, signedAt: read?.timestampMs };
  }
}
Object.assign(globalThis, { location: new URL('http://server:1/page'), WebSocket: Peer });
const { DownloadClient } = await load('client.js');

let client;
let told;
function connect(options) {
  client = new DownloadClient({ key: KEY, reconnectDelay: 1, ...options });
  told = new Queue();
  for (const name of ['hello', 'connection:failed', 'start', 'progress', 'complete', 'failed', 'system-error']) {
    client.addEventListener(name, (event) => told.push([name, event.detail]));
  }
  client.connect();
  return Peer.opened.next();
}
/** A connection past its hello. */
async function opened(options, more) {
  const peer = await connect(options);
  const hello = once(client, 'hello');
  if (options?.signed === false) peer.signs = false;
  await peer.hello(more);
  await hello;
  await told.next();
  return peer;
}
/** The event, code and reason with which the client gave up. */
async function failure() {
  for (;;) {
    const [name, detail] = await told.next();
    if (name === 'connection:failed') return detail;
  }
}
beforeEach(() => { Peer.opened = new Queue(); });
afterEach(() => client.close());

const STACKS = [{}, { deflate: true }, { seal: true }, { seal: true, deflate: true }, { seal: true, signed: false }, { seal: true, signed: false, deflate: true }];

for (const options of STACKS) {
  const name = JSON.stringify(options);
  test(`${name}: calls and answers get through, small and big`, async () => {
    const peer = await opened(options);
    assert.equal(peer.url.searchParams.get('kid'), 'k1');
    assert.equal(peer.url.searchParams.has('cn'), options.seal === true);
    assert.equal(peer.protocol, `spandrel.download.v1+json${options.deflate ? '+deflate' : ''}${options.seal ? '+aes256gcm' : ''}`);
    const filters = Array.from({ length: 100 }, () => ({ field: 'x', op: 'eq', value: '김철수 ,"auth":{ 😀' }));
    const asked = client.request({ ...ASK, searchParams: { ...ASK.searchParams, filters } }, 'r-1');
    const message = await peer.received.next();
    assert.deepEqual([message.event, message.data.searchParams.filters], ['download:request', filters]);
    assert.equal(message.auth !== undefined, options.signed !== false, 'signed');
    const frame = peer.frames.at(-1);
    assert.equal(typeof frame === 'string', !options.seal && !options.deflate, 'the kind of frame');
    if (options.deflate) assert.ok(frame.length < message.text.length / 4, 'deflated');
    await peer.says('download:start', START, 'r-1', { deflates: options.deflate });
    assert.equal((await asked).downloadId, 'dl_1');
    await peer.says('download:progress', { downloadId: 'dl_1', progress: 5 }, 'r-1', { json: true });
    await told.next();
    assert.deepEqual((await told.next())[1].progress, 5);
  });
}

test('no frame and no address holds the secret', async () => {
  const peer = await opened({ deflate: true });
  client.status().catch(() => {});
  await peer.received.next();
  const secrets = [Buffer.from(SECRET).toString('base64url'), Buffer.from(SECRET).toString('hex')];
  for (const text of [peer.url.href, ...peer.frames.map(String)]) assert.ok(!secrets.some((secret) => text.includes(secret)), text);
});

test('a CryptoKey does as well as bytes', async () => {
  const peer = await opened({ key: { id: 'k1', secret: root } });
  const asked = client.status();
  const { requestId } = await peer.received.next();
  await peer.says('status:update', { activeDownloads: {} }, requestId);
  await asked;
  assert.throws(() => new DownloadClient({ key: { id: 'k1', secret: signing } }), TypeError);
});

test('messages keep their order both ways, however long each takes', async () => {
  const peer = await opened({ seal: true, deflate: true });
  const sizes = [400, 1, 20000, 5, 100000, 2, 600, 3];
  const calls = sizes.map((size, i) => client.request({ ...ASK, searchParams: { ...ASK.searchParams, dataset: 'x'.repeat(size) } }, `r-${i}`));
  for (let i = 0; i < sizes.length; i += 1) assert.equal((await peer.received.next()).requestId, `r-${i}`);
  const frames = [];
  for (let i = 0; i < sizes.length; i += 1) frames.push(await peer.frame('download:start', { ...START, codec: 'y'.repeat(sizes[i]) }, `r-${i}`, { deflates: i % 2 === 0 }));
  const order = [];
  calls.forEach((call, i) => call.then(() => order.push(i)));
  frames.forEach((frame) => peer.raw(frame)); // all in one turn
  await Promise.all(calls);
  assert.deepEqual(order, sizes.map((_, i) => i));
});

test('messages are signed by the clock of the server', async () => {
  for (const skewMs of [-86400000, 86400000]) {
    const peer = await connect();
    peer.skewMs = skewMs;
    await peer.hello();
    client.status().catch(() => {});
    const { signedAt } = await peer.received.next();
    assert.ok(Math.abs(signedAt - (Date.now() + skewMs)) < 5000, `${signedAt}`);
    assert.ok(Math.abs(client.serverNow() - (Date.now() + skewMs)) < 5000);
    client.close();
  }
});

test('AUTH_EXPIRED is answered by signing again, once', async () => {
  const peer = await opened();
  const asked = assert.rejects(client.status(), (error) => error.code === 'AUTH_EXPIRED');
  const first = await peer.received.next();
  const serverTime = Date.now() + 20000;
  const expired = { code: 'AUTH_EXPIRED', message: 'm', recoverable: true, details: { serverTime } };
  await peer.says('system:error', expired, first.requestId);
  const second = await peer.received.next();
  assert.deepEqual([second.event, second.requestId], [first.event, first.requestId]);
  assert.notEqual(second.auth.token, first.auth.token);
  assert.ok(Math.abs(second.signedAt - serverTime) < 5000, `${second.signedAt} instead of ${serverTime}`);
  await peer.says('system:error', expired, first.requestId);
  await asked;
});

const flip = (frame, at) => {
  if (typeof frame === 'string') return frame.slice(0, at) + String.fromCharCode(frame.charCodeAt(at) ^ 1) + frame.slice(at + 1);
  const bytes = new Uint8Array(frame.slice(0));
  bytes[at] ^= 1;
  return bytes.buffer;
};
const UPDATE = ['status:update', { activeDownloads: {} }, 'srv-9'];
for (const [why, options, lie] of [
  ['a changed head', {}, async (peer) => peer.raw(flip(await peer.frame(...UPDATE), 12))],
  ['a changed signature', {}, async (peer) => { const text = await peer.frame(...UPDATE); peer.raw(flip(text, text.length - 10)); }],
  ['no signature', {}, (peer) => peer.says(...UPDATE, { sign: false })],
  ['no signature inside a seal', { seal: true }, (peer) => peer.says(...UPDATE, { sign: false })],
  ['another key id', {}, async (peer) => peer.raw(await peer.sign('{"event":"status:update","data":{"activeDownloads":{}},"requestId":"srv-9"}', undefined, undefined, signing, 'k2'))],
  ['an own message reflected', {}, async (peer) => { client.status().catch(() => {}); await peer.received.next(); peer.raw(peer.frames.at(-1)); }],
  ['the same message twice', {}, async (peer) => { const text = await peer.frame(...UPDATE); peer.raw(text); peer.raw(text); }],
  ['the same nonce twice', {}, async (peer) => { const nonce = new Uint8Array(16); await peer.says(...UPDATE, { nonce }); await peer.says('connection:health', { kind: 'pong' }, 'srv-8', { nonce }); }],
  ['a changed byte of the iv', { seal: true }, async (peer) => peer.raw(flip(await peer.frame(...UPDATE), 3))],
  ['a changed byte of the text', { seal: true }, async (peer) => peer.raw(flip(await peer.frame(...UPDATE), 30))],
  ['a sealed message twice', { seal: true }, async (peer) => { const frame = await peer.frame(...UPDATE); peer.raw(frame); peer.raw(frame); }],
  ['a sealed message left out', { seal: true }, async (peer) => { await peer.frame(...UPDATE); await peer.says(...UPDATE); }],
  ['two sealed messages swapped', { seal: true }, async (peer) => { const [a, b] = [await peer.frame(...UPDATE), await peer.frame(...UPDATE)]; peer.raw(b); peer.raw(a); }],
  ['a message in the clear', { seal: true }, (peer) => peer.raw(JSON.stringify({ event: 'status:update', data: { activeDownloads: {} }, requestId: 'r' }))],
  ['a short frame', { seal: true }, (peer) => peer.raw(new ArrayBuffer(27))],
]) {
  test(`${why} ends the connection for good: 4401`, async () => {
    const peer = await opened(options);
    const waiting = assert.rejects(client.pause('dl_1'), (error) => error.code === 'AUTH_INVALID');
    await lie(peer);
    const { code, reason } = await failure();
    assert.equal(code, 4401, reason);
    assert.ok(reason.length > 10, 'it says why');
    assert.equal(await peer.closed, 4401);
    await waiting;
    assert.equal(Peer.opened.length, 0, 'it does not come back');
  });
}

for (const [why, options, lie, wanted] of [
  ['a bomb', { deflate: true }, async (peer) => peer.raw((await secure.deflate(new Uint8Array(2 << 20).fill(0x20))).buffer), 1009],
  ['zlib garbage', { deflate: true }, (peer) => peer.raw(Uint8Array.from([0x78, 0x9c, 1, 2, 3]).buffer), 1007],
  ['a binary frame without deflate', {}, (peer) => peer.raw(new ArrayBuffer(40)), 1003],
]) {
  test(`${why} ends the connection: ${wanted}`, async () => {
    const peer = await opened(options);
    await lie(peer);
    assert.equal((await failure()).code, wanted);
  });
}

test('a nonce in another spelling of base64 is refused, though it is signed', async () => {
  for (const [nonce, taken] of [['A'.repeat(22), true], [`${'A'.repeat(21)}B`, false]]) {
    const [head, token] = ['{"event":"status:update","data":{},"requestId":"srv-1"', `k1.${nonce}`];
    const mac = await crypto.subtle.sign('HMAC', signing, secure.utf8(`spandrel.download.v1\ns2c\n${token}\n5\n${head}`));
    const text = `${head},"auth":{"token":"${token}","timestamp":5,"signature":"${secure.toBase64Url(new Uint8Array(mac))}"}}`;
    const read = await secure.verify(signing, 'k1', 's2c', text).then(() => true, (error) => error.code);
    assert.equal(read, taken || 4401, nonce);
  }
});

test('the answer to a ping sets the clock again', async () => {
  const peer = await connect({ seal: true });
  await peer.hello({ serverTime: Date.now() - 20000 }); // in the clear, so anybody may have written it
  await once(client, 'hello');
  assert.ok(Math.abs(client.serverNow() - Date.now()) < 5000, 'the sealed pong knows better');
});

test('a hello that is not signed, or signed by another key, is refused', async () => {
  const other = await secure.signingKey(await secure.importSecret(new Uint8Array(32)));
  for (const make of [(text) => text, (text, peer) => peer.sign(text, undefined, undefined, other)]) {
    const peer = await connect();
    peer.raw(await make(JSON.stringify({ event: 'connection:health', data: { kind: 'hello', serverTime: Date.now() }, requestId: 'srv-1' }), peer));
    assert.equal((await failure()).code, 4401);
    client.close();
  }
});

test('a sealed connection is not open before somebody with the key has answered', async () => {
  const peer = await connect({ seal: true });
  peer.keys = await secure.sealingKeys(await secure.importSecret(new Uint8Array(32)), new Uint8Array(16), new Uint8Array(16));
  const text = JSON.stringify({ event: 'connection:health', data: { kind: 'hello', serverTime: Date.now(), serverNonce: 'A'.repeat(22) }, requestId: 'srv-1' });
  const asked = assert.rejects(client.request(ASK), (error) => error.code === 'AUTH_INVALID');
  peer.received.push = () => {};
  peer.reading.catch(() => {});
  peer.send = (frame) => { peer.frames.push(frame); };
  peer.raw(text);
  while (peer.frames.length === 0) await new Promise(setImmediate);
  assert.equal(client.ready, false);
  assert.equal(peer.frames.length, 1, 'the request does not go to a stranger');
  await peer.says('connection:health', { kind: 'pong' }, 'srv-3');
  assert.equal((await failure()).code, 4401);
  await asked;
});

test('a hello without a good nonce, or anything else first, is refused', async () => {
  const first = [
    JSON.stringify({ event: 'connection:health', data: { kind: 'hello', serverNonce: 'short' }, requestId: 'srv-1' }),
    JSON.stringify({ event: 'connection:health', data: { kind: 'hello' }, requestId: 'srv-1' }),
    JSON.stringify({ event: 'status:update', data: { activeDownloads: {} }, requestId: 'srv-1' }),
    'nonsense', new ArrayBuffer(60),
  ];
  for (const frame of first) {
    const peer = await connect({ seal: true });
    peer.raw(frame);
    assert.equal((await failure()).code, 4401);
    client.close();
  }
});

test('a message that is too old ends the connection, but the client comes back', { timeout: 10000 }, async () => {
  for (const off of [-30500, 30500]) {
    const peer = await opened({}, { heartbeatIntervalMs: 3600000 }); // not the heartbeat, which ends it in the same way
    await peer.says(...UPDATE, { at: Date.now() + off });
    assert.equal(await peer.closed, 4408);
    const next = await Peer.opened.next();
    const again = once(client, 'hello');
    await next.hello();
    await again;
    client.close();
  }
  const peer = await opened();
  await peer.says('system:error', { code: 'OVERLOADED', message: 'm' }, 'srv-9', { at: Date.now() - 25000 });
  assert.equal((await told.next())[0], 'system-error');
});

test('a server that does not take the key ends it, though it cannot say for which message', async () => {
  const peer = await opened({ seal: true, signed: false });
  const asked = assert.rejects(client.status(), (error) => error.code === 'AUTH_INVALID' && error.message === 'sign your messages');
  await peer.received.next();
  await peer.says('system:error', { code: 'AUTH_REQUIRED', message: 'sign your messages' }, 'srv-5');
  assert.deepEqual(await failure(), { code: 4401, reason: 'sign your messages' });
  await asked;
});

test('every connection has nonces of its own, and counts from nought', async () => {
  const peer = await opened({ seal: true });
  const asked = client.request(ASK, 'r-1');
  await peer.received.next();
  peer.readyState = 3;
  peer.onclose({ code: 1006, reason: '' });
  const next = await Peer.opened.next();
  assert.notEqual(next.url.searchParams.get('cn'), peer.url.searchParams.get('cn'));
  await next.hello();
  const again = await next.received.next();
  assert.deepEqual([again.event, again.requestId], ['download:request', 'r-1']);
  await next.says('download:start', START, 'r-1');
  await asked;
});
