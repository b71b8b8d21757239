// A client of signed, sealed and deflated sessions that shares no code with ours: node's own cryptography over the
// framing of protocol section 2.2. Talks to a running server and fails loudly.
//
//   node secure.mjs '{"port":1,"tls":false,"keys":{"k1":"<secret>","k2":"…","old":"…"}}'
import crypto from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import zlib from 'node:zlib';
import assert from 'node:assert/strict';

const { port, tls: isTls, keys, required } = JSON.parse(process.argv[2]);
const LABEL = 'spandrel.download.v1';
const names = { json: `${LABEL}+json`, deflate: `${LABEL}+json+deflate`, seal: `${LABEL}+json+aes256gcm`, both: `${LABEL}+json+deflate+aes256gcm` };
const secret = (kid) => Buffer.from(keys[kid] ?? crypto.randomBytes(32).toString('base64url'), 'base64url');
const derive = (kid, salt, info) => Buffer.from(crypto.hkdfSync('sha256', secret(kid), salt, info, 32));

/** The signed text; `change` may spoil any of its parts. */
function sign(text, kid, change = {}) {
  const { direction = 'c2s', at = Date.now(), nonce = crypto.randomBytes(16), keyOf = kid, nameOf = kid } = change;
  const head = text.slice(0, -1);
  const token = `${nameOf}.${nonce.toString('base64url')}`;
  const mac = crypto.createHmac('sha256', derive(keyOf, LABEL, 'sign'));
  mac.update(`${LABEL}\n${direction}\n${token}\n${at}\n${head}`);
  return `${head},"auth":{"token":"${token}","timestamp":${at},"signature":"${mac.digest('base64url')}"}}`;
}

/** Throws unless the server's signature holds. */
function check(text, kid) {
  const at = text.lastIndexOf(',"auth":{');
  assert.ok(at > 0, `unsigned: ${text.slice(0, 80)}`);
  const { token, timestamp, signature } = JSON.parse(text.slice(at + 8, -1));
  assert.equal(token.split('.')[0], kid);
  const mac = crypto.createHmac('sha256', derive(kid, LABEL, 'sign'));
  mac.update(`${LABEL}\ns2c\n${token}\n${timestamp}\n${text.slice(0, at)}`);
  assert.equal(mac.digest('base64url'), signature, 'the signature of the server');
}

const aad = (direction, n) => {
  const count = Buffer.alloc(8);
  count.writeBigUInt64BE(BigInt(n));
  return Buffer.concat([Buffer.from(`${LABEL}\0${direction}\0`), count]);
};

function seal(plain, key, direction, n) {
  const iv = crypto.randomBytes(12);
  const cipher = crypto.createCipheriv('aes-256-gcm', key, iv).setAAD(aad(direction, n));
  const text = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([iv, text, cipher.getAuthTag()]);
}

function open(frame, key, direction, n) {
  const cipher = crypto.createDecipheriv('aes-256-gcm', key, frame.subarray(0, 12)).setAAD(aad(direction, n));
  cipher.setAuthTag(frame.subarray(-16));
  return Buffer.concat([cipher.update(frame.subarray(12, -16)), cipher.final()]);
}

const inJson = (frame) => JSON.stringify({
  encrypted: frame.subarray(12, -16).toString('base64url'),
  iv: frame.subarray(0, 12).toString('base64url'),
  tag: frame.subarray(-16).toString('base64url'),
});

let count = 0;

class Peer {
  /** Connects, says the offer, and waits for the hello, unless `noHello`. */
  static async connect({ protocol = 'json', kid, signs = Boolean(kid), cn = crypto.randomBytes(16), form = 'binary', noHello, query } = {}) {
    const peer = Object.assign(new Peer(), { kid, signs, form, have: Buffer.alloc(0), queue: [], waiting: [], sent: 0, got: 0, closed: null });
    peer.deflates = protocol === 'deflate' || protocol === 'both';
    const seals = protocol === 'seal' || protocol === 'both';
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false };
    peer.socket = isTls ? tls.connect(options) : net.connect(options);
    peer.socket.on('error', () => {});
    peer.socket.on('data', (data) => peer.#read(data));
    peer.socket.on('close', () => { peer.closed ??= 1006; for (const next of peer.waiting.splice(0)) next(null); });
    await new Promise((done, fail) => { peer.socket.once(isTls ? 'secureConnect' : 'connect', done); peer.socket.once('error', fail); });
    query ??= kid ? `kid=${kid}${seals ? `&cn=${cn.toString('base64url')}` : ''}` : '';
    peer.frame(0, names[protocol] + (query ? ` ${query}` : ''));
    if (noHello) return peer;
    assert.equal((await peer.next()).text, names[protocol], 'the offer is taken');
    const hello = await peer.next();
    if (!hello) return peer;
    peer.hello = JSON.parse(hello.text);
    assert.equal(peer.hello.data.kind, 'hello');
    if (seals) {
      const salt = Buffer.concat([cn, Buffer.from(peer.hello.data.serverNonce, 'base64url')]);
      peer.c2s = derive(kid, salt, 'aes c2s');
      peer.s2c = derive(kid, salt, 'aes s2c');
    } else if (peer.signs && keys[kid]) {
      check(hello.text, kid);
    }
    return peer;
  }

  #read(data) {
    this.have = Buffer.concat([this.have, data]);
    while (this.have.length >= 4 && this.have.length >= 4 + this.have.readUInt32BE(0)) {
      const end = 4 + this.have.readUInt32BE(0);
      const [kind, body] = [this.have[4], Buffer.from(this.have.subarray(5, end))];
      this.have = this.have.subarray(end);
      if (kind === 3) { this.closed = body.readUInt16BE(0); this.socket.end(); for (const next of this.waiting.splice(0)) next(null); }
      else this.#put(this.#layers(kind, body));
    }
  }

  #layers(kind, body) {
    let bytes = body;
    if (this.c2s) {
      const frame = kind === 2 ? body : (({ encrypted, iv, tag }) => Buffer.concat([iv, encrypted, tag].map((part) => Buffer.from(part, 'base64url'))))(JSON.parse(body));
      this.lastForm = kind === 2 ? 'binary' : 'text';
      bytes = open(frame, this.s2c, 's2c', this.got++);
      if (bytes[0] !== 0x7b) bytes = zlib.inflateSync(bytes);
    } else if (kind === 2) {
      bytes = zlib.inflateSync(body);
    }
    return { kind, text: bytes.toString() };
  }

  #put(frame) {
    const next = this.waiting.shift();
    if (next) next(frame);
    else this.queue.push(frame);
  }

  next() {
    if (this.queue.length) return this.queue.shift();
    if (this.closed) return null;
    return new Promise((done) => this.waiting.push(done));
  }

  frame(kind, body) {
    const bytes = Buffer.from(body);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes.length + 1);
    head[4] = kind;
    this.socket.write(Buffer.concat([head, bytes]));
  }

  text(event, data = {}, requestId = `foreign-${++count}`) {
    return JSON.stringify({ event, data, timestamp: Date.now(), requestId });
  }

  /** Through deflate and seal, as they are spoken here. */
  send(text) {
    let bytes = this.deflates ? zlib.deflateSync(text) : Buffer.from(text);
    if (!this.c2s) return this.frame(this.deflates ? 2 : 1, bytes);
    bytes = seal(bytes, this.c2s, 'c2s', this.sent++);
    return this.form === 'binary' ? this.frame(2, bytes) : this.frame(1, inJson(bytes));
  }

  /** The next message that is no health of the connection. */
  async message() {
    for (;;) {
      const frame = await this.next();
      if (!frame) return null;
      if (this.signs && keys[this.kid]) check(frame.text, this.kid);
      const message = JSON.parse(frame.text);
      if (message.event !== 'connection:health') return message;
    }
  }

  async ask(event, data) {
    const text = this.text(event, data);
    this.send(this.signs ? sign(text, this.kid) : text);
    return this.message();
  }

  async code() {
    while (!this.closed) await this.next();
    return this.closed;
  }

  async error(code, what) {
    const message = await this.message();
    assert.equal(message?.event, 'system:error', `${what}: ${JSON.stringify(message)}, closed ${this.closed}`);
    assert.equal(message.data.code, code, what);
    return message;
  }
}

const request = {
  searchParams: { timeFrom: '2013-01-01T00:00:00Z', timeTo: '2013-02-01T00:00:00Z', filters: [], limit: 50 },
  outputFormat: 'csv',
  compression: false,
};

/** A whole export over each stack. */
async function exports() {
  for (const protocol of Object.keys(names)) {
    for (const form of protocol === 'seal' || protocol === 'both' ? ['binary', 'text'] : ['binary']) {
      const peer = await Peer.connect({ protocol, kid: 'k1', form });
      let message = await peer.ask('download:request', request);
      assert.equal(message.event, 'download:start', JSON.stringify(message));
      while (message.event !== 'download:complete') message = await peer.message();
      assert.equal(message.data.totalRows, 50);
      if (peer.c2s) assert.equal(peer.lastForm, form, 'the server answers in the client\'s form');
      peer.socket.destroy();
    }
  }
}

/** Section 13.5, the rows of signed sessions. */
async function signatures() {
  const with_ = async (spoil, code, what) => {
    const peer = await Peer.connect({ kid: 'k1' });
    const text = peer.text('status:check', {}, 'spoilt');
    peer.send(spoil(peer, text));
    const answer = await peer.error(code, what);
    const ownId = code === 'AUTH_EXPIRED' || code === 'AUTH_REPLAYED';
    if (ownId) assert.equal(answer.requestId, 'spoilt', what);
    else assert.match(answer.requestId, /^srv-/, what);
    assert.equal(answer.data.recoverable, code === 'AUTH_EXPIRED', what);
    assert.equal((await peer.ask('status:check')).event, 'status:update', `${what}: the connection stays`);
    peer.socket.destroy();
    return answer;
  };
  await with_((_, text) => text, 'AUTH_REQUIRED', 'no auth');
  for (const [what, spoil] of [
    ['a space', (text) => text.replace('"token":', '"token": ')],
    ['a space before auth', (text) => text.replace(',"auth"', ', "auth"')],
    ['another order', (text) => text.replace(/("token":"[^"]+"),("timestamp":\d+)/, '$2,$1')],
    ['one more member in auth', (text) => text.replace('"token":', '"x":1,"token":')],
    ['a member after auth', (text) => `${text.slice(0, -1)},"x":1}`],
    ['padding', (text) => text.replace('"}}', '="}}')],
    ['a plain alphabet', (text) => text.replace(/"signature":"./, '"signature":"+')],
    ['a leading zero', (text) => text.replace('"auth":{', '"auth":{').replace(/"timestamp":(\d+),"sig/, '"timestamp":0$1,"sig')],
    ['another timestamp', (text) => text.replace(/"timestamp":(\d+),"sig/, (_, at) => `"timestamp":${Number(at) + 1},"sig`)],
    ['another head', (text) => text.replace('status:check', 'status:chexk')],
    ['a shorter signature', (text) => text.replace(/.("}})$/, '$1')],
    ['auth in the middle', (text) => text.replace(/(.*)(,"auth":\{.*\})\}$/, (_, head, auth) => `{${auth.slice(1)},${head.slice(1)}}`)],
  ]) {
    // A space before auth hides the tail altogether.
    const code = what === 'a space before auth' || what === 'auth in the middle' ? ['AUTH_REQUIRED', 'AUTH_INVALID'] : ['AUTH_INVALID'];
    const peer = await Peer.connect({ kid: 'k1' });
    peer.send(spoil(sign(peer.text('status:check'), 'k1')));
    const answer = await peer.message();
    assert.ok(code.includes(answer?.data.code), `${what}: ${JSON.stringify(answer)}`);
    peer.socket.destroy();
  }
  await with_((_, text) => sign(text, 'k1', { direction: 's2c' }), 'AUTH_INVALID', 'a reflected direction');
  await with_((_, text) => sign(text, 'k1', { keyOf: 'k2' }), 'AUTH_INVALID', 'another key');
  await with_((_, text) => sign(text, 'k2'), 'AUTH_INVALID', 'the name and key of another');
  for (const off of [-31_000, 31_000, -3_600_000, 3_600_000]) {
    const answer = await with_((_, text) => sign(text, 'k1', { at: Date.now() + off }), 'AUTH_EXPIRED', `${off} ms off`);
    assert.ok(Math.abs(answer.data.details.serverTime - Date.now()) < 60_000, 'the server tells its time');
  }
  let copy;
  await with_((peer, text) => {
    copy = sign(text, 'k1');
    return copy;
  }, 'AUTH_REPLAYED', 'once').then(() => assert.fail('the first copy is taken'), () => {});
  await with_(() => copy, 'AUTH_REPLAYED', 'again on another connection');

  for (const kid of ['old', 'nobody']) {
    // What signs for the server then is nobody's key.
    const peer = await Peer.connect({ kid, signs: false });
    for (let at = 0; at < 3; at += 1) peer.send(sign(peer.text('status:check'), kid));
    assert.equal(await peer.code(), 4401, `${kid}: the third failure`);
  }
  const late = await Peer.connect({ kid: 'k1' });
  for (let at = 0; at < 5; at += 1) late.send(sign(late.text('status:check'), 'k1', { at: Date.now() - 40_000 }));
  for (let at = 0; at < 5; at += 1) await late.error('AUTH_EXPIRED', 'several under way');
  assert.equal((await late.ask('status:check')).event, 'status:update', 'a late clock does not end a connection');
  late.socket.destroy();
}

/** Section 13.5, the rows of sealed sessions: each ends with 4401 and not a word. */
async function seals() {
  const flipped = (frame, at) => {
    const copy = Buffer.from(frame);
    copy[at < 0 ? copy.length + at : at] ^= 1;
    return copy;
  };
  const sealed = (peer, n = 0) => seal(Buffer.from(sign(peer.text('status:check'), 'k1')), peer.c2s, 'c2s', n);
  for (const [what, make] of [
    ['nothing', () => [[2, '']]],
    ['too short', () => [[2, Buffer.alloc(27)]]],
    ['zeros', () => [[2, Buffer.alloc(64)]]],
    ['a bit of the vector', (peer) => [[2, flipped(sealed(peer), 0)]]],
    ['a bit of the text', (peer) => [[2, flipped(sealed(peer), 20)]]],
    ['a bit of the tag', (peer) => [[2, flipped(sealed(peer), -1)]]],
    ['a tag cut short', (peer) => [[2, sealed(peer).subarray(0, -1)]]],
    ['a dropped message', (peer) => [[2, sealed(peer, 1)]]],
    ['reordered messages', (peer) => [[2, sealed(peer, 1)], [2, sealed(peer, 0)]]],
    ['the other direction', (peer) => [[2, seal(Buffer.from('{}'), peer.s2c, 's2c', 0)]]],
    ['the other direction, own key', (peer) => [[2, seal(Buffer.from('{}'), peer.c2s, 's2c', 0)]]],
    ['plain text', (peer) => [[1, sign(peer.text('status:check'), 'k1')]]],
    ['a text form with more', (peer) => [[1, `${inJson(sealed(peer)).slice(0, -1)},"x":1}`]]],
    ['a text form without tag', (peer) => [[1, JSON.stringify({ encrypted: 'AA', iv: 'AAAAAAAAAAAAAAAA' })]]],
    ['padded base64', (peer) => [[1, inJson(sealed(peer)).replace(/"tag":"([^"]+)"/, '"tag":"$1=="')]]],
    ['not base64', (peer) => [[1, inJson(sealed(peer)).replace(/"iv":"./, '"iv":"+')]]],
  ]) {
    const peer = await Peer.connect({ protocol: 'seal', kid: 'k1' });
    const said = peer.message();
    for (const [kind, bytes] of make(peer)) peer.frame(kind, bytes);
    assert.equal(await peer.code(), 4401, what);
    assert.equal(await said, null, `${what}: not a word`);
  }
  const peer = await Peer.connect({ protocol: 'seal', kid: 'k1' });
  const frame = sealed(peer);
  peer.frame(2, frame);
  assert.equal((await peer.message()).event, 'status:update');
  peer.frame(2, frame);
  assert.equal(await peer.code(), 4401, 'replayed');
  for (const kid of ['nobody', 'old']) {
    const wrong = await Peer.connect({ protocol: 'seal', kid });
    wrong.send(wrong.text('status:check'));
    assert.equal(await wrong.code(), 4401, `sealed by ${kid}`);
  }
  for (const query of ['kid=k1', 'cn=AAAAAAAAAAAAAAAAAAAAAA', 'kid=k1&cn=AAAA', 'kid=bad!&cn=AAAAAAAAAAAAAAAAAAAAAA']) {
    const bad = await Peer.connect({ protocol: 'seal', noHello: true, query });
    assert.equal(await bad.code(), 4400, query);
  }
}

/** What inflates to nothing good. */
async function inflation() {
  for (const [what, bytes, code] of [
    ['no zlib', Buffer.from('not zlib'), 1007],
    ['a gzip', zlib.gzipSync('{}'), 1007],
    ['raw deflate', zlib.deflateRawSync('{}'), 1007],
    ['half a stream', zlib.deflateSync('{"a":1}'.repeat(100)).subarray(0, 20), 1007],
    ['bytes after the stream', Buffer.concat([zlib.deflateSync('{}'), Buffer.from('x')]), 1007],
    ['two streams', Buffer.concat([zlib.deflateSync('{}'), zlib.deflateSync('{}')]), 1007],
    ['a wrong checksum', (() => { const z = zlib.deflateSync('{}'); z[z.length - 1] ^= 1; return z; })(), 1007],
    ['not UTF-8', zlib.deflateSync(Buffer.from([0xff, 0xfe])), 1007],
    ['one byte over', zlib.deflateSync(Buffer.alloc((1 << 20) + 1, 0x20)), 1009],
    ['64 MiB of spaces', zlib.deflateSync(Buffer.alloc(64 << 20, 0x20)), 1009],
    ['512 MiB of zeros', zlib.deflateSync(Buffer.alloc(512 << 20)), 1009],
  ]) {
    const peer = await Peer.connect({ protocol: 'deflate', kid: 'k1' });
    peer.frame(2, bytes);
    assert.equal(await peer.code(), code, what);
  }
  const plain = await Peer.connect({ protocol: 'deflate', kid: 'k1' });
  plain.frame(1, sign(plain.text('status:check'), 'k1'));
  assert.equal((await plain.message()).event, 'status:update', 'a text frame is fine');
  plain.socket.destroy();
}

if (required) {
  const nobody = await Peer.connect({ noHello: true });
  assert.equal(await nobody.code(), 4401, 'no key where one is required');
}
for (const part of [exports, signatures, seals, inflation]) await part();
console.log('all good');
process.exit(0);
