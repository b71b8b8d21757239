// @ts-check
/**
 * One connection: a WebSocket, the layers its subprotocol names, and the order of messages.
 *
 * WebCrypto answers later, and a message must not overtake another for it: each direction is one chain of promises, so
 * everything is sent and told in the order it was given, and the counters of sealed messages are right. The end of the
 * connection is told last, after the messages that came before it.
 *
 * Send: sign, deflate, seal. Receive: open, inflate, verify, parse (protocol section 13.4).
 */
import {
  LayerError, NONCE_BYTES, deflate, fromBase64Url, inflate, open, randomBytes, seal, sealingKeys, sign, textOf, toBase64Url, utf8, verify,
} from './secure.js';

/** @typedef {import('./secure.js').Bytes} Bytes */
/** @typedef {import('./secure.js').Signed} Signed */
/** @typedef {{ event: string, data: any, requestId: string }} Message */
/**
 * What a connection proves itself by; both are derived from one secret.
 * @typedef {{ id: string, secret: Promise<CryptoKey>, signing: Promise<CryptoKey> }} Key
 * @typedef {{ key: Key | undefined, seals: boolean, deflates: boolean, signs: boolean, messageBytesMax: number }} Profile
 * @typedef {{ message: (message: Message) => void, lost: (code: number, reason: string) => void }} Listener
 */

/** A message may be as old, or as far ahead, on the server's clock. */
const FRESH_MS = 30000;
/** Under this a message goes as text: deflating would hardly shrink it. */
const DEFLATE_FROM_BYTES = 512;
/** A sealed connection is over after as many messages in one direction. */
const SEALED_MAX = 2 ** 24;
/** Nonces remembered per generation of a minute; a server that says more is not ours. */
const NONCES_MAX = 100000;
/** Frames that came and were not yet opened. The browser takes them from the network whether we keep up or not. */
const INBOUND_BYTES_MAX = 64 * 1048576;
/** Under the 100 messages per second and the burst of 200 that a server grants by default. */
const SEND_PER_S = 80;
const SEND_BURST = 150;

/** The server's clock as far as it is known. Runs on the monotonic clock: a corrected wall clock changes nothing. */
export class ServerClock {
  /** @type {number | undefined} */
  #offsetMs;

  /** @param {unknown} serverTimeMs milliseconds since 1970; anything that is no time is ignored */
  learn(serverTimeMs) {
    if (typeof serverTimeMs === 'number' && serverTimeMs >= 0 && serverTimeMs <= Number.MAX_SAFE_INTEGER) {
      this.#offsetMs = serverTimeMs - performance.now();
    }
  }

  /** Milliseconds since 1970; by this machine's clock as long as the server said nothing. */
  now() {
    return this.#offsetMs === undefined ? Date.now() : this.#offsetMs + performance.now();
  }
}

/** Nonces of the last minute at least. A message with an older one is refused for its age already. */
class SeenNonces {
  /** @type {Set<string>} */
  #now = new Set();
  /** @type {Set<string>} */
  #before = new Set();
  #since = performance.now();

  /** Whether it is new; from now on it is not. @param {string} nonce */
  admit(nonce) {
    if (performance.now() - this.#since > 2 * FRESH_MS) {
      this.#before = this.#now;
      this.#now = new Set();
      this.#since = performance.now();
    }
    if (this.#now.has(nonce) || this.#before.has(nonce) || this.#now.size >= NONCES_MAX) return false;
    this.#now.add(nonce);
    return true;
  }
}

/** The layers between the text of a message and a frame, for one connection. Calls must not overlap. */
class Layers {
  #sent = 0;
  #received = 0;
  #seen = new SeenNonces();
  /** @type {Record<'c2s' | 's2c', CryptoKey> | undefined} none before the hello of a sealed connection */
  #keys;

  /** @param {Profile} profile @param {ServerClock} clock */
  constructor(profile, clock) {
    this.profile = profile;
    this.clock = clock;
    this.clientNonce = randomBytes(NONCE_BYTES);
  }

  /** The hello of a sealed connection travels in the clear; with it the keys are complete. @param {any} hello */
  async begin(hello) {
    const { key, seals } = this.profile;
    if (!seals || !key) return;
    const serverNonce = fromBase64Url(hello.serverNonce);
    if (serverNonce?.length !== NONCE_BYTES) throw new LayerError(4401, 'the hello of the server has no nonce to seal with');
    this.#keys = await sealingKeys(await key.secret, this.clientNonce, serverNonce);
  }

  /** @param {string} message @returns {Promise<string | Bytes>} the frame */
  async wrap(message) {
    const { key, signs, seals, deflates } = this.profile;
    const text = signs && key ? await sign(await key.signing, key.id, 'c2s', message, this.clock.now()) : message;
    if (!seals && !deflates) return text;
    const plain = utf8(text);
    const small = deflates && plain.length >= DEFLATE_FROM_BYTES ? await deflate(plain) : plain;
    const shrank = small.length < plain.length;
    if (!seals) return shrank ? small : text;
    if (!this.#keys) throw new LayerError(4401, 'nothing can be sealed before the hello of the server');
    if (this.#sent >= SEALED_MAX) throw new LayerError(1012, 'this connection sealed all it may');
    return seal(this.#keys.c2s, 'c2s', this.#sent++, shrank ? small : plain);
  }

  /** @param {string | ArrayBuffer} frame @returns {Promise<{ text: string, signed: Signed | undefined }>} */
  async unwrap(frame) {
    const { key, signs, seals, deflates } = this.profile;
    if (seals && !this.#keys) {
      if (typeof frame !== 'string') throw new LayerError(4401, 'a sealed connection begins with a hello in the clear');
      return { text: frame, signed: undefined };
    }
    const text = seals ? await this.#unseal(frame) : await this.#plain(frame, deflates);
    if (!signs || !key) return { text, signed: undefined };
    const signed = await verify(await key.signing, key.id, 's2c', text);
    if (!this.#seen.admit(signed.nonce)) throw new LayerError(4401, 'a message of the server came twice');
    return { text, signed };
  }

  /** @param {string | ArrayBuffer} frame */
  async #unseal(frame) {
    const keys = /** @type {Record<'c2s' | 's2c', CryptoKey>} */ (this.#keys);
    const sealed = typeof frame === 'string' ? frame : new Uint8Array(frame);
    const plain = await open(keys.s2c, 's2c', this.#received++, sealed);
    const { deflates, messageBytesMax } = this.profile;
    // `{` begins a JSON text, and never a zlib stream.
    return textOf(deflates && plain[0] !== 0x7b ? await inflate(plain, messageBytesMax) : plain);
  }

  /** @param {string | ArrayBuffer} frame @param {boolean} deflates */
  async #plain(frame, deflates) {
    if (typeof frame === 'string') return frame;
    if (!deflates) throw new LayerError(1003, 'a binary frame on a connection of text');
    return textOf(await inflate(new Uint8Array(frame), this.profile.messageBytesMax));
  }
}

/** One connection from the first byte to the last. Never throws at its listener, never tells anything after `lost`. */
export class Link {
  /** @type {WebSocket} */
  #socket;
  #isOver = false;
  #isGreeted = false;
  #inbound = Promise.resolve();
  #inboundBytes = 0;
  #outbound = Promise.resolve();
  #waiting = 0;
  #tokens = SEND_BURST;
  #pacedAt = performance.now();

  /**
   * @param {string} url of the message endpoint, without `kid` and `cn`
   * @param {Profile} profile
   * @param {ServerClock} clock
   * @param {Listener} listener
   * @throws {SyntaxError | DOMException} when the browser takes no such address
   */
  constructor(url, profile, clock, listener) {
    this.clock = clock;
    this.profile = profile;
    this.listener = listener;
    this.layers = new Layers(profile, clock);
    const name = subprotocol(profile);
    const socket = new WebSocket(this.#address(url), [name]);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      if (socket.protocol && socket.protocol !== name) this.#end(4406, `the server chose ${socket.protocol}`);
    };
    socket.onmessage = (event) => this.#arrived(event.data);
    socket.onclose = ({ code, reason }) => {
      this.#inbound = this.#inbound.then(() => this.#end(code, reason));
    };
  }

  /** Frames given and not yet sent; a bound for what can be left out. */
  get waiting() {
    return this.#waiting;
  }

  /** Sends a message after all that were given before it. @param {string} text one JSON object @returns {Promise<void>} when it left */
  send(text) {
    this.#waiting += 1;
    const sent = this.#outbound.then(() => this.#put(text)).finally(() => { this.#waiting -= 1; });
    this.#outbound = sent.catch((error) => this.#broke(error));
    return sent;
  }

  /** Ends it in good order, after what was given to send. @param {number} code */
  close(code) {
    this.listener = { message: () => {}, lost: () => {} };
    this.#outbound = this.#outbound.then(() => {
      this.#isOver = true;
      this.#socket.close(code);
    });
  }

  /** Ends it now, without waiting for a peer that may be gone. @param {number} code @param {string} reason */
  abandon(code, reason) {
    this.#end(code, reason);
  }

  /** @param {string} url */
  #address(url) {
    const at = new URL(url);
    const { key, seals } = this.profile;
    if (key) at.searchParams.set('kid', key.id);
    if (key && seals) at.searchParams.set('cn', toBase64Url(this.layers.clientNonce));
    return at.href;
  }

  /** @param {string} text */
  async #put(text) {
    await this.#pace();
    const frame = await this.layers.wrap(text);
    if (!this.#isOver && this.#socket.readyState === WebSocket.OPEN) this.#socket.send(frame);
  }

  /** Waits until one more message fits the rate a server grants. */
  async #pace() {
    for (;;) {
      const now = performance.now();
      this.#tokens = Math.min(SEND_BURST, this.#tokens + ((now - this.#pacedAt) * SEND_PER_S) / 1000);
      this.#pacedAt = now;
      if (this.#tokens >= 1) break;
      await new Promise((resolve) => { setTimeout(resolve, 1000 / SEND_PER_S); });
    }
    this.#tokens -= 1;
  }

  /** @param {string | ArrayBuffer} frame */
  #arrived(frame) {
    if (this.#isOver) return;
    const length = typeof frame === 'string' ? frame.length : frame.byteLength;
    this.#inboundBytes += length;
    if (length > this.profile.messageBytesMax) this.#end(1009, `a message of ${length} bytes is over the limit`);
    else if (this.#inboundBytes > INBOUND_BYTES_MAX) this.#end(4410, 'messages come faster than this page reads them');
    this.#inbound = this.#inbound
      .then(() => this.#take(frame))
      .catch((error) => this.#broke(error))
      .then(() => { this.#inboundBytes -= length; });
  }

  /** @param {string | ArrayBuffer} frame */
  async #take(frame) {
    if (this.#isOver) return;
    const { text, signed } = await this.layers.unwrap(frame);
    const message = messageOf(text);
    if (message && !this.#isGreeted && message.event === 'connection:health' && message.data.kind === 'hello') {
      this.#isGreeted = true;
      this.clock.learn(message.data.serverTime);
      await this.layers.begin(message.data);
    } else if (!this.#isGreeted && this.profile.key) {
      throw new LayerError(4401, 'the first message of the server is no hello');
    }
    if (signed && Math.abs(this.clock.now() - signed.timestampMs) > FRESH_MS) {
      // The signature is good, so nobody is pretending: this machine slept, or the network held the message back. A
      // new connection cures both, so this is no refusal for good.
      throw new LayerError(4408, 'a message of the server is too old');
    }
    if (message && !this.#isOver) this.listener.message(message);
  }

  /** @param {unknown} error */
  #broke(error) {
    if (error instanceof LayerError) this.#end(error.code, error.message);
    else this.#end(1011, 'this page failed to read or write a message');
  }

  /** @param {number} code @param {string} reason */
  #end(code, reason) {
    if (this.#isOver) return;
    this.#isOver = true;
    // A page may close with 1000 and its own codes only.
    this.#socket.close(code >= 3000 && code <= 4999 ? code : 4000);
    this.listener.lost(code, reason);
  }
}

/** The one name to offer: it holds the whole stack, so nothing can be talked down. @param {Profile} profile */
function subprotocol({ deflates, seals }) {
  return `spandrel.download.v1+json${deflates ? '+deflate' : ''}${seals ? '+aes256gcm' : ''}`;
}

/** A message a page can act on; undefined for anything else a server may say. @param {string} text @returns {Message | undefined} */
function messageOf(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof message !== 'object' || message === null) return undefined;
  const { event, data, requestId } = message;
  if (typeof event !== 'string' || typeof requestId !== 'string' || typeof data !== 'object' || data === null) return undefined;
  return { event, data, requestId };
}
