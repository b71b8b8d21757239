// Holds the protocol client of the page to the protocol, with a stub socket and a clock of its own:
//
//     node --test client.test.mjs
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { load } from './modules.mjs';

/** A clock that stands still until it is told. */
const clock = { now: 0, next: 1, timers: new Map() };
function later(run, delay, isRepeated) {
  const id = clock.next++;
  clock.timers.set(id, { run, at: clock.now + delay, every: isRepeated ? delay : 0 });
  return id;
}
/** Lets everything run that waits for nothing but its turn. */
const settled = () => new Promise(setImmediate);
async function pass(ms) {
  await settled();
  const end = clock.now + ms;
  for (;;) {
    const due = [...clock.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
    if (!due) break;
    const [id, timer] = due;
    clock.now = timer.at;
    if (timer.every) timer.at += timer.every;
    else clock.timers.delete(id);
    timer.run();
    await settled();
  }
  clock.now = end;
}
class Socket {
  static OPEN = 1;
  static all = [];
  constructor(url, protocols) {
    Object.assign(this, { url, protocols, readyState: 1, sent: [] });
    Socket.all.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close(code) {
    this.closedWith = code;
  }
  /** The server says something. */
  says(event, data, requestId = 'srv-1') {
    return this.sends(JSON.stringify({ event, data, requestId, timestamp: 0 }));
  }
  sends(data) {
    this.onmessage({ data });
    return settled();
  }
  hello() {
    return this.says('connection:health', { kind: 'hello', heartbeatIntervalMs: 10000, heartbeatTimeoutMs: 5000, features: [] });
  }
  drop(code) {
    this.readyState = 3;
    this.onclose({ code, reason: '' });
    return settled();
  }
  static get last() {
    return Socket.all.at(-1);
  }
}
Object.assign(globalThis, { location: new URL('http://server:1/page'), WebSocket: Socket });
Object.defineProperty(globalThis, 'performance', { value: { now: () => clock.now }, configurable: true, writable: true });
const stubs = `const setTimeout = globalThis.stubTimeout, setInterval = globalThis.stubInterval;
const clearTimeout = globalThis.stubClear, clearInterval = globalThis.stubClear;\n`;
Object.assign(globalThis, {
  stubTimeout: (run, delay) => later(run, delay, false),
  stubInterval: (run, delay) => later(run, delay, true),
  stubClear: (id) => clock.timers.delete(id),
});
const { DownloadClient, LIMITS } = await load('client.js', stubs);

let client;
let heard;
beforeEach(() => {
  clock.timers.clear();
  Socket.all = [];
  Math.random = () => 0.5; // the middle of the jitter
  client = new DownloadClient();
  heard = [];
  for (const name of ['connection', 'connection:failed', 'hello', 'start', 'progress', 'complete', 'failed', 'system-error']) {
    client.addEventListener(name, (event) => heard.push([name, event.detail]));
  }
});
const waits = () => heard.filter(([name, detail]) => name === 'connection' && detail.state === 'waiting').map(([, detail]) => detail.delayMs);
const gaveUp = () => heard.some(([name]) => name === 'connection:failed');
const START = { downloadId: 'dl_1', state: 'generating', files: [] };
const ASK = { searchParams: { timeFrom: 'a', timeTo: 'b', filters: [] }, outputFormat: 'csv', compression: false };

test('it offers the one subprotocol and the endpoint of its own host', async () => {
  client.connect();
  assert.equal(Socket.last.url, 'ws://server:1/v1/ws');
  assert.deepEqual(Socket.last.protocols, ['spandrel.download.v1+json']);
});

test('it waits 1, 2, 4, 8 and 16 s and gives up after the fifth try', async () => {
  client.connect();
  for (let i = 0; i < 6; i += 1) {
    assert.equal(gaveUp(), false, `it gave up after ${i}`);
    await Socket.last.drop(1006);
    await pass(16000);
  }
  assert.deepEqual(waits(), [1000, 2000, 4000, 8000, 16000]);
  assert.equal(gaveUp(), true);
  assert.equal(Socket.all.length, 6);
});

test('the jitter is a fifth up and down', async () => {
  for (const [random, want] of [[0, 800], [1, 1200]]) {
    Math.random = () => random;
    heard.length = 0;
    client = Object.assign(new DownloadClient());
    client.addEventListener('connection', (event) => heard.push(['connection', event.detail]));
    client.connect();
    await Socket.last.drop(1006);
    assert.deepEqual(waits().map(Math.round), [want]);
  }
});

test('a hello sets the counter back', async () => {
  client.connect();
  await Socket.last.drop(1006);
  await pass(1000);
  await Socket.last.drop(1006);
  await pass(2000);
  await Socket.last.hello();
  await Socket.last.drop(1006);
  assert.deepEqual(waits(), [1000, 2000, 1000]);
});

test('a longer retryAfter of the server counts, once', async () => {
  client.connect();
  await Socket.last.hello();
  await Socket.last.says('system:error', { code: 'SHUTTING_DOWN', message: 'm', recoverable: true, retryAfter: 7000 });
  await Socket.last.drop(1001);
  await pass(7000);
  await Socket.last.drop(1006);
  assert.deepEqual(waits(), [7000, 2000]);
});

test('codes that say no end it at once, the others do not', async () => {
  for (const code of [1000, 1003, 1007, 1008, 1009, 4400, 4401, 4406]) {
    heard.length = 0;
    client.connect();
    await Socket.last.drop(code);
    assert.equal(gaveUp(), true, String(code));
  }
  for (const code of [1001, 1006, 1011, 1012, 1013, 4408, 4410]) {
    heard.length = 0;
    client.connect();
    await Socket.last.drop(code);
    assert.equal(gaveUp(), false, String(code));
    client.close();
  }
});

test('what was never answered is repeated under its old id after a reconnect', async () => {
  client.connect();
  await Socket.last.hello();
  const asked = client.request(ASK, 'r-1');
  await Socket.last.drop(1006);
  await pass(1000);
  assert.deepEqual(Socket.last.sent, [], 'nothing goes out before the hello');
  await Socket.last.hello();
  const [again] = Socket.last.sent;
  assert.deepEqual([again.event, again.requestId, again.data], ['download:request', 'r-1', ASK]);
  await Socket.last.says('download:start', START, 'r-1');
  assert.equal((await asked).downloadId, 'dl_1');
});

test('a job without an end is attached to again, an ended one is not', async () => {
  client.connect();
  await Socket.last.hello();
  client.request(ASK, 'r-1');
  client.request(ASK, 'r-2');
  await Socket.last.says('download:start', START, 'r-1');
  await Socket.last.says('download:start', { ...START, downloadId: 'dl_2' }, 'r-2');
  await Socket.last.says('download:complete', { downloadId: 'dl_2', files: [] }, 'r-2');
  await Socket.last.drop(1012);
  await pass(1000);
  await Socket.last.hello();
  assert.deepEqual(Socket.last.sent.map((message) => [message.event, message.data]), [['download:attach', { downloadId: 'dl_1' }]]);
});

/** A connection past its hello that follows these jobs again. */
async function following(count) {
  client.connect();
  await Socket.last.hello();
  for (let i = 0; i < count; i += 1) await Socket.last.says('download:start', { ...START, downloadId: `dl_${i}` }, `r-${i}`);
  await Socket.last.drop(1012);
  await pass(1000);
  await Socket.last.hello();
}
const attaches = () => Socket.last.sent.filter(({ event }) => event === 'download:attach');

test('more jobs than calls may wait are all attached to again, and leave room for calls', async () => {
  await following(LIMITS.followedMax);
  assert.equal(attaches().length, LIMITS.reattachingMax);
  const asked = client.status();
  for (let i = 0; i < LIMITS.followedMax; i += 1) {
    const { data, requestId } = attaches()[i];
    await Socket.last.says('download:start', { ...START, downloadId: data.downloadId, attached: true }, requestId);
    await pass(20);
  }
  assert.equal(new Set(attaches().map(({ data }) => data.downloadId)).size, LIMITS.followedMax);
  assert.equal(attaches().length, LIMITS.followedMax, 'each once');
  await Socket.last.says('status:update', { activeDownloads: {} }, Socket.last.sent.find(({ event }) => event === 'status:check').requestId);
  await asked;
});

test('a job that cannot be attached to for now is tried again when the server says, or after a second', async () => {
  for (const [code, retryAfter, after] of [['OVERLOADED', 700, 700], ['TIMEOUT', undefined, 1000], ['SHUTTING_DOWN', undefined, 1000]]) {
    client.close();
    client.followed.clear();
    await following(1);
    await Socket.last.says('download:error', { code, message: 'm', recoverable: true, retryAfter }, attaches()[0].requestId);
    await pass(after - 1);
    assert.equal(attaches().length, 1, code);
    await pass(1);
    assert.equal(attaches().length, 2, code);
    await Socket.last.says('download:start', { ...START, downloadId: 'dl_0', attached: true }, attaches()[1].requestId);
    await pass(5000);
    assert.equal(attaches().length, 2, code);
  }
  assert.equal(heard.filter(([name]) => name === 'failed').length, 0);
});

test('a job nobody follows any more is not tried again', async () => {
  await following(1);
  await Socket.last.says('download:error', { code: 'OVERLOADED', message: 'm', recoverable: true }, attaches()[0].requestId);
  client.detach('dl_0').catch(() => {});
  await pass(5000);
  assert.equal(attaches().length, 1);
});

test('a first attach that is refused for now rejects, and is tried again too', async () => {
  client.connect();
  await Socket.last.hello();
  const refused = assert.rejects(client.attach('dl_1'), (error) => error.code === 'OVERLOADED');
  await settled();
  await Socket.last.says('download:error', { code: 'OVERLOADED', message: 'm', recoverable: true }, attaches()[0].requestId);
  await refused;
  await pass(1000);
  assert.deepEqual(attaches().map(({ data }) => data.downloadId), ['dl_1', 'dl_1']);
});

test('only a job that is gone has failed; another refusal is told as it is', async () => {
  for (const [code, name] of [['DOWNLOAD_NOT_FOUND', 'failed'], ['EXPIRED', 'failed'], ['LIMIT_EXCEEDED', 'system-error']]) {
    client.close();
    client.followed.clear();
    await following(1);
    heard.length = 0;
    await Socket.last.says('download:error', { code, message: 'of the server', recoverable: false }, attaches()[0].requestId);
    assert.deepEqual(heard.map(([event, error]) => [event, error.downloadId, error.code, error.message]), [[name, 'dl_0', code, 'of the server']]);
    assert.equal(client.followed.size, 0, code);
  }
});

test('a key that is refused while it attaches ends no job', async () => {
  await following(1);
  await Socket.last.drop(4401);
  assert.deepEqual([heard.filter(([name]) => name === 'failed'), [...client.followed]], [[], ['dl_0']]);
  client.connect();
  await Socket.last.hello();
  assert.deepEqual(attaches().map(({ data }) => data.downloadId), ['dl_0']);
});

test('progress comes one by one, also from a batch', async () => {
  client.connect();
  await Socket.last.hello();
  await Socket.last.says('download:progress', { downloadId: 'dl_1', progress: 1 }, 'r-1');
  await Socket.last.says('download:progress', [{ downloadId: 'dl_1', progress: 2 }, { downloadId: 'dl_2', progress: 3 }]);
  assert.deepEqual(heard.filter(([name]) => name === 'progress').map(([, update]) => update.progress), [1, 2, 3]);
});

test('a refusal rejects its call, the same event later is the end of the job', async () => {
  client.connect();
  await Socket.last.hello();
  const refused = assert.rejects(client.request(ASK, 'r-1'), (error) => error.code === 'INVALID_FILTER' && error.details.path === '/x');
  await Socket.last.says('download:error', { code: 'INVALID_FILTER', message: 'm', recoverable: false, details: { path: '/x' } }, 'r-1');
  await refused;
  client.request(ASK, 'r-2');
  await Socket.last.says('download:start', START, 'r-2');
  await Socket.last.says('download:error', { code: 'CANCELLED', message: 'm', recoverable: false, downloadId: 'dl_1' }, 'r-2');
  assert.deepEqual(heard.filter(([name]) => name === 'failed').map(([, error]) => error.code), ['CANCELLED']);
  assert.equal(client.followed.size, 0);
});

test('a call that came too fast is made again when the server says', async () => {
  client.connect();
  await Socket.last.hello();
  const paused = client.pause('dl_1');
  await settled();
  const [first] = Socket.last.sent;
  await Socket.last.says('system:error', { code: 'RATE_LIMITED', message: 'm', recoverable: true, retryAfter: 400 }, first.requestId);
  await pass(399);
  assert.equal(Socket.last.sent.length, 1);
  await pass(1);
  assert.equal(Socket.last.sent[1].requestId, first.requestId);
  await Socket.last.says('status:update', { activeDownloads: {} }, first.requestId);
  await paused;
});

test('a message that somebody repeats on the way does not reject the call it carried', async () => {
  client.connect();
  await Socket.last.hello();
  const asked = client.request(ASK, 'r-1');
  await Socket.last.says('system:error', { code: 'AUTH_REPLAYED', message: 'm', recoverable: false }, 'r-1');
  await Socket.last.says('download:start', START, 'r-1');
  assert.equal((await asked).downloadId, 'dl_1');
});

test('it answers pings, and asks for a sign of life when there is none', async () => {
  client.connect();
  await Socket.last.hello();
  await Socket.last.says('connection:health', { kind: 'ping' }, 'srv-9');
  assert.deepEqual([Socket.last.sent[0].data.kind, Socket.last.sent[0].requestId], ['pong', 'srv-9']);
  await pass(10000);
  assert.ok(Socket.last.sent.some((message) => message.event === 'connection:health' && message.data.kind === 'ping'));
});

test('in the background, where timers run once a minute, a living connection is kept', async () => {
  client.connect();
  await Socket.last.hello();
  for (let minute = 0; minute < 5; minute += 1) {
    clock.now += 60000; // no timer ran
    for (const timer of clock.timers.values()) timer.at = Math.max(timer.at, clock.now);
    await pass(0);
    await Socket.last.says('connection:health', { kind: 'pong' }, Socket.last.sent.at(-1).requestId);
  }
  assert.equal(Socket.all.length, 1);
  assert.equal(Socket.last.closedWith, undefined);
});

test('a silent connection is given up after interval and timeout', async () => {
  client.connect();
  await Socket.last.hello();
  await pass(15000);
  assert.deepEqual(waits(), []);
  await pass(5001);
  assert.equal(Socket.all[0].closedWith, 4408);
  assert.deepEqual(waits(), [1000]);
});

test('a server that never says hello is given up too', async () => {
  client.connect();
  await pass(20001);
  assert.equal(Socket.all[0].closedWith, 4408);
});

test('what was said before the end is told before the end', async () => {
  client.connect();
  await Socket.last.hello();
  Socket.last.says('system:error', { code: 'SHUTTING_DOWN', message: 'm', recoverable: true });
  await Socket.last.drop(1001);
  assert.deepEqual(heard.map(([name]) => name).slice(-2), ['system-error', 'connection']);
});

test('an address the browser refuses is no refused key', async () => {
  globalThis.WebSocket = class { constructor() { throw new DOMException('no such scheme', 'SyntaxError'); } };
  try {
    const refused = assert.rejects(client.request(ASK), (error) => error.code === 'INVALID_ADDRESS' && !error.recoverable && error.message === 'no such scheme');
    client.connect();
    await refused;
    assert.deepEqual(heard.at(-1), ['connection:failed', { code: 0, reason: 'no such scheme' }]);
    await pass(60000);
    assert.equal(heard.filter(([name]) => name === 'connection:failed').length, 1, 'it tried again');
  } finally {
    globalThis.WebSocket = Socket;
  }
});

test('calls that wait are rejected when it gives up, and when it is closed', async () => {
  client.connect();
  await Socket.last.hello();
  const refused = assert.rejects(client.request(ASK), (error) => error.code === 'AUTH_INVALID' && !error.recoverable);
  await Socket.last.drop(4401);
  await refused;
  const lost = assert.rejects(client.pause('dl_1'), (error) => error.code === 'NETWORK_ERROR' && error.recoverable);
  client.close();
  await lost;
});

test('after close nothing is told any more, and what was sent still goes out', async () => {
  client.connect();
  await Socket.last.hello();
  client.status().catch(() => {});
  client.close();
  const told = heard.length;
  await Socket.last.says('system:error', { code: 'INTERNAL', message: 'm', recoverable: true });
  await Socket.last.drop(1000);
  assert.deepEqual(Socket.last.sent.map(({ event }) => event), ['status:check']);
  assert.deepEqual([Socket.last.closedWith, heard.length], [1000, told]);
});

test('close() holds whatever state of the connection it was called at', async () => {
  for (const at of ['connecting', 'open', 'waiting', 'failed']) {
    client = new DownloadClient({ maxReconnectAttempts: at === 'failed' ? 0 : 5 });
    heard.length = 0;
    for (const name of ['connection', 'hello']) client.addEventListener(name, ({ detail }) => heard.push(detail.state ?? name));
    client.addEventListener('connection', ({ detail }) => { if (detail.state === at) client.close(); });
    client.connect();
    await settled();
    const opened = Socket.all.length;
    if (at !== 'connecting') await Socket.last.hello();
    if (at === 'waiting' || at === 'failed') await Socket.last.drop(1006);
    else assert.equal(Socket.last.closedWith, 1000, `the socket after ${at}`);
    await pass(60000);
    assert.deepEqual([heard.at(-1), Socket.all.length], ['closed', opened], at);
  }
});

test('one call over the bound is refused at once, also one that is too big', async () => {
  client.connect();
  await Socket.last.hello();
  const calls = Array.from({ length: LIMITS.pendingMax }, () => client.status());
  await assert.rejects(client.status(), (error) => error.code === 'OVERLOADED' && error.recoverable);
  await assert.rejects(client.request(ASK, 'x'.repeat(3)), (error) => error.code === 'OVERLOADED');
  client.close();
  for (const call of calls) await assert.rejects(call);
  const big = { ...ASK, searchParams: { ...ASK.searchParams, dataset: 'x'.repeat(LIMITS.messageBytesMax) } };
  await assert.rejects(client.request(big), (error) => error.code === 'LIMIT_EXCEEDED');
});

test('one job over the bound is not followed', async () => {
  for (let i = 0; i < LIMITS.followedMax; i += 1) client.followed.add(`dl_${i}`);
  await assert.rejects(client.attach('dl_more'), (error) => error.code === 'OVERLOADED');
  assert.equal(client.followed.size, LIMITS.followedMax);
});

test('a request id that waits already is not taken twice', async () => {
  client.connect();
  const first = client.request(ASK, 'r-1');
  await assert.rejects(client.request(ASK, 'r-1'), (error) => error.code === 'REQUEST_ID_CONFLICT');
  client.close();
  await assert.rejects(first);
});

test('messages go out no faster than a server takes them', async () => {
  client.connect();
  await Socket.last.hello();
  for (let i = 0; i < 200; i += 1) client.status().catch(() => {});
  await settled();
  assert.equal(Socket.last.sent.length, 150);
  await pass(500);
  const sent = Socket.last.sent.length;
  assert.ok(sent > 150 && sent <= 192, `${sent} after half a second`);
  await pass(500);
  assert.equal(Socket.last.sent.filter(({ event }) => event === 'status:check').length, 200);
});

test('nothing a server says makes it throw or forget', async () => {
  client.connect();
  await Socket.last.hello();
  const waiting = client.status();
  await settled();
  const [{ requestId }] = Socket.last.sent;
  const faults = [];
  const fault = (error) => faults.push(error);
  process.on('unhandledRejection', fault);
  for (const text of ['', '{', 'null', '[]', '7', '"x"', '{}', '{"event":5}', '{"event":"download:start","data":null,"requestId":"r"}', '\u0000', '\ufeff{}', `[${'['.repeat(2000)}`]) {
    await Socket.last.sends(text);
  }
  const odd = [{}, [], [null, 1, 'x', {}], { downloadId: 7 }, { downloadId: 'dl_1', files: 5 }, { activeDownloads: [null] }, { activeDownloads: { a: {} } }, { code: 7, message: {}, retryAfter: 'x' }];
  for (const event of ['connection:health', 'download:start', 'download:progress', 'download:complete', 'download:error', 'status:update', 'system:error', 'download:request', 'nobody:knows', '__proto__']) {
    for (const data of odd) await Socket.last.says(event, data, 'srv-7');
  }
  await Socket.last.says('connection:health', { kind: 'hello', heartbeatIntervalMs: -1, heartbeatTimeoutMs: 'x', maxMessageBytes: null });
  await settled();
  process.off('unhandledRejection', fault);
  assert.deepEqual(faults, []);
  await Socket.last.says('status:update', { activeDownloads: {} }, requestId);
  assert.deepEqual(await waiting, { activeDownloads: {} });
  assert.equal(Socket.last.closedWith, undefined);
});

test('an answer that cannot be read rejects its call', async () => {
  client.connect();
  await Socket.last.hello();
  const asked = assert.rejects(client.request(ASK, 'r-1'), (error) => error.code === 'INVALID_RESPONSE');
  await Socket.last.says('download:start', { downloadId: 7 }, 'r-1');
  await asked;
});

test('a wait no clock can hold is cut to an hour', async () => {
  client.connect();
  await Socket.last.hello();
  await Socket.last.says('system:error', { code: 'SHUTTING_DOWN', message: 'm', recoverable: true, retryAfter: 1e300 });
  await Socket.last.drop(1001);
  assert.deepEqual(waits(), [LIMITS.waitMsMax]);
});

test('a message over the limit, or a binary frame on a connection of text, ends it', async () => {
  for (const [frame, code] of [['x'.repeat(LIMITS.messageBytesMax + 1), 1009], [new ArrayBuffer(4), 1003]]) {
    heard.length = 0;
    client.connect();
    await Socket.last.hello();
    await Socket.last.sends(frame);
    assert.deepEqual(heard.at(-1), ['connection:failed', { code, reason: heard.at(-1)[1].reason }]);
    assert.equal(Socket.last.closedWith, 4000, 'a page may not send the code itself');
  }
});

test('options that contradict each other are refused at once', () => {
  const secret = new Uint8Array(32);
  for (const options of [{ seal: true }, { signed: true }, { key: { id: 'k1', secret }, signed: false }, { key: { id: 'k 1', secret } },
    { key: { id: '', secret } }, { key: { id: 'k1', secret: new Uint8Array(31) } }, { key: { id: 'k1', secret: 'x'.repeat(43) } }]) {
    assert.throws(() => new DownloadClient(options), TypeError, JSON.stringify(options));
  }
});

test('a page that may not use WebCrypto is told so, but only when it wants a key', () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
  Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: (bytes) => bytes }, configurable: true });
  try {
    assert.throws(() => new DownloadClient({ key: { id: 'k1', secret: new Uint8Array(32) } }), (error) => error.code === 'INSECURE_CONTEXT' && error.message.includes('https'));
    new DownloadClient();
  } finally {
    Object.defineProperty(globalThis, 'crypto', own);
  }
});
