// @ts-check
/**
 * Signing, sealing and deflating of single messages with what the browser brings: WebCrypto and (De)CompressionStream.
 *
 * Only the rules of protocol sections 2.1 and 13, no connection: `link.js` keeps order, counters and clocks, and
 * `client.js` is what a page uses. Keys are `CryptoKey`s that cannot be read back.
 *
 * WebCrypto exists in secure contexts only: pages that came over https, or from this machine (`http://localhost`,
 * `http://127.0.0.1`). See {@link hasWebCrypto}.
 *
 * @typedef {'c2s' | 's2c'} Direction from the client to the server, or back
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 * @typedef {{ nonce: string, timestampMs: number }} Signed what a good signature says about its message
 */

const LABEL = 'spandrel.download.v1';
const SECRET_BYTES = 32;
export const NONCE_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * How much of a zlib stream is fed at once. Chromium inflates all it is given before anybody reads, and one byte can
 * become about a thousand: this is what bounds memory while inflating, at the limit and 1 MiB.
 */
const INFLATE_STEP_BYTES = 1024;

const TAIL = /^,"auth":\{"token":"([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{22})","timestamp":(0|[1-9][0-9]{0,15}),"signature":"([A-Za-z0-9_-]{43})"\}\}$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A frame that must not be acted on. The connection ends with `code`, one of protocol section 2.4. */
export class LayerError extends Error {
  /** @param {number} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = 'LayerError';
    this.code = code;
  }
}

/** Whether this page may sign and seal. */
export const hasWebCrypto = () => globalThis.crypto?.subtle !== undefined;
/** Whether this browser can deflate and inflate. */
export const hasDeflate = () => globalThis.DecompressionStream !== undefined;

/** @param {string} text @returns {Bytes} */
export const utf8 = (text) => encoder.encode(text);

/** Text of bytes. @param {BufferSource} bytes @returns {string} */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new LayerError(1007, 'the message is not UTF-8');
  }
}

/** Fresh random bytes. @param {number} length @returns {Bytes} */
export const randomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));

/** Base64url without padding. @param {Uint8Array} bytes */
export function toBase64Url(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 0x2000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x2000));
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The bytes of base64url; undefined for any other spelling, also of the same bytes. @param {unknown} text @returns {Bytes | undefined} */
export function fromBase64Url(text) {
  if (typeof text !== 'string' || !/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined;
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  return toBase64Url(bytes) === text ? bytes : undefined;
}

// -------------------------------------------------------------------------------------------------------------- the keys

/**
 * The secret of a key as a `CryptoKey` from which the others are derived. It cannot be read back, so it may be kept, in
 * IndexedDB too, where the bytes should not be.
 * @param {Uint8Array} secret 32 bytes
 * @returns {Promise<CryptoKey>}
 */
export async function importSecret(secret) {
  if (secret.length !== SECRET_BYTES) throw new TypeError(`a secret has ${SECRET_BYTES} bytes, this one ${secret.length}`);
  return crypto.subtle.importKey('raw', Uint8Array.from(secret), 'HKDF', false, ['deriveKey']);
}

/** @param {Bytes} salt @param {string} info */
const hkdf = (salt, info) => ({ name: 'HKDF', hash: 'SHA-256', salt, info: utf8(info) });

/** The key that signs the messages of every connection. @param {CryptoKey} secret @returns {Promise<CryptoKey>} */
export function signingKey(secret) {
  const hmac = { name: 'HMAC', hash: 'SHA-256', length: 256 };
  return crypto.subtle.deriveKey(hkdf(utf8(LABEL), 'sign'), secret, hmac, false, ['sign', 'verify']);
}

/**
 * The two keys that seal the messages of one connection.
 * @param {CryptoKey} secret
 * @param {Uint8Array} clientNonce 16 bytes, `cn` of the URL
 * @param {Uint8Array} serverNonce 16 bytes, of the hello
 * @returns {Promise<Record<Direction, CryptoKey>>}
 */
export async function sealingKeys(secret, clientNonce, serverNonce) {
  const salt = Uint8Array.from([...clientNonce, ...serverNonce]);
  const derive = (/** @type {Direction} */ direction) =>
    crypto.subtle.deriveKey(hkdf(salt, `aes ${direction}`), secret, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  const [c2s, s2c] = await Promise.all([derive('c2s'), derive('s2c')]);
  return { c2s, s2c };
}

// ----------------------------------------------------------------------------------------------------------- signatures

/** @param {Direction} direction @param {string} token @param {string | number} timestamp @param {string} head */
const signedInput = (direction, token, timestamp, head) => utf8(`${LABEL}\n${direction}\n${token}\n${timestamp}\n${head}`);

/**
 * A message with its `auth` member.
 * @param {CryptoKey} key of {@link signingKey}
 * @param {string} keyId
 * @param {Direction} direction
 * @param {string} text one JSON object with at least one member
 * @param {number} timestampMs on the server's clock
 * @param {Uint8Array} [nonce] 16 bytes, new for every message; only a test gives it
 */
export async function sign(key, keyId, direction, text, timestampMs, nonce = randomBytes(NONCE_BYTES)) {
  const head = text.slice(0, -1);
  const token = `${keyId}.${toBase64Url(nonce)}`;
  const timestamp = Math.max(0, Math.round(timestampMs));
  const signature = await crypto.subtle.sign('HMAC', key, signedInput(direction, token, timestamp, head));
  return `${head},"auth":{"token":"${token}","timestamp":${timestamp},"signature":"${toBase64Url(new Uint8Array(signature))}"}}`;
}

/**
 * Checks form, key id and signature of a message; neither its age nor whether its nonce was seen, which take a memory.
 * @param {CryptoKey} key of {@link signingKey}
 * @param {string} keyId
 * @param {Direction} direction
 * @param {string} text
 * @returns {Promise<Signed>}
 */
export async function verify(key, keyId, direction, text) {
  const at = text.lastIndexOf(',"auth":{');
  if (at < 0) throw new LayerError(4401, 'a message of the server is not signed');
  const [, id, nonce, timestamp, signature] = TAIL.exec(text.slice(at)) ?? [];
  const mac = fromBase64Url(signature);
  const isWellFormed = id === keyId && nonce !== undefined && timestamp !== undefined && mac !== undefined;
  const isNonce = isWellFormed && fromBase64Url(nonce) !== undefined;
  // One sentence for all of them: which of the checks failed helps nobody who holds the key.
  const wrong = new LayerError(4401, 'the signature of the server does not hold: wrong key id or secret, or not that server');
  if (!isWellFormed || !isNonce) throw wrong;
  const input = signedInput(direction, `${id}.${nonce}`, timestamp, text.slice(0, at));
  if (!(await crypto.subtle.verify('HMAC', key, mac, input))) throw wrong;
  return { nonce, timestampMs: Number(timestamp) };
}

// -------------------------------------------------------------------------------------------------------------- sealing

/** Binds a sealed message to its direction and its place. @param {Direction} direction @param {number} n */
function additionalData(direction, n) {
  const head = utf8(`${LABEL}\0${direction}\0`);
  const bytes = new Uint8Array(head.length + 8);
  bytes.set(head);
  new DataView(bytes.buffer).setBigUint64(head.length, BigInt(n));
  return bytes;
}

/** @param {Direction} direction @param {number} n @param {Bytes} iv */
const gcm = (direction, n, iv) => ({ name: 'AES-GCM', iv, additionalData: additionalData(direction, n), tagLength: TAG_BYTES * 8 });

/**
 * The binary form of a sealed message: iv, ciphertext, tag.
 * @param {CryptoKey} key one of {@link sealingKeys}
 * @param {Direction} direction
 * @param {number} n sealed messages of this direction and connection before this one
 * @param {Bytes} plain
 * @param {Bytes} [iv] 12 bytes, new for every message; only a test gives it
 * @returns {Promise<Bytes>}
 */
export async function seal(key, direction, n, plain, iv = randomBytes(IV_BYTES)) {
  const text = new Uint8Array(await crypto.subtle.encrypt(gcm(direction, n, iv), key, plain));
  const sealed = new Uint8Array(IV_BYTES + text.length);
  sealed.set(iv);
  sealed.set(text, IV_BYTES);
  return sealed;
}

const unsealed = () => new LayerError(4401, 'a sealed message cannot be opened: wrong key id or secret, or it was changed on the way');

/**
 * What was sealed.
 * @param {CryptoKey} key one of {@link sealingKeys}
 * @param {Direction} direction
 * @param {number} n
 * @param {string | Bytes} sealed the JSON or the binary form
 * @returns {Promise<Bytes>}
 */
export async function open(key, direction, n, sealed) {
  const bytes = typeof sealed === 'string' ? ofJsonForm(sealed) : sealed;
  if (!bytes || bytes.length < IV_BYTES + TAG_BYTES) throw unsealed();
  try {
    return new Uint8Array(await crypto.subtle.decrypt(gcm(direction, n, bytes.slice(0, IV_BYTES)), key, bytes.subarray(IV_BYTES)));
  } catch {
    throw unsealed();
  }
}

/** The binary form of `{"encrypted":…,"iv":…,"tag":…}`. @param {string} text @returns {Bytes | undefined} */
function ofJsonForm(text) {
  let form;
  try {
    form = JSON.parse(text);
  } catch {
    return undefined;
  }
  const isThree = typeof form === 'object' && form !== null && Object.keys(form).length === 3;
  // Three members and twelve quotes: `JSON.parse` alone would take a repeated member.
  if (!isThree || text.split('"').length !== 13) return undefined;
  const [iv, body, tag] = [form.iv, form.encrypted, form.tag].map(fromBase64Url);
  if (!body || iv?.length !== IV_BYTES || tag?.length !== TAG_BYTES) return undefined;
  const bytes = new Uint8Array(IV_BYTES + body.length + TAG_BYTES);
  bytes.set(iv);
  bytes.set(body, IV_BYTES);
  bytes.set(tag, IV_BYTES + body.length);
  return bytes;
}

// ------------------------------------------------------------------------------------------------------------ deflating

/** A zlib stream (RFC 1950). @param {Bytes} bytes @returns {Promise<Bytes>} */
export function deflate(bytes) {
  return through(new CompressionStream('deflate'), bytes, Infinity);
}

/**
 * What a zlib stream holds. Stops at the limit: a small frame cannot fill the memory.
 * @param {Bytes} bytes one whole stream and nothing after it
 * @param {number} limit most bytes that may come out
 * @returns {Promise<Bytes>}
 */
export async function inflate(bytes, limit) {
  try {
    return await through(new DecompressionStream('deflate'), bytes, limit);
  } catch (error) {
    if (error instanceof LayerError) throw error;
    throw new LayerError(1007, 'a message does not inflate');
  }
}

/** @param {CompressionStream | DecompressionStream} stream @param {Bytes} bytes @param {number} limit @returns {Promise<Bytes>} */
async function through(stream, bytes, limit) {
  const fed = feed(stream.writable.getWriter(), bytes);
  fed.catch(() => {}); // the reading side says the same
  const reader = stream.readable.getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > limit) {
      reader.cancel().catch(() => {});
      throw new LayerError(1009, `a message inflates to more than ${limit} bytes`);
    }
    chunks.push(value);
  }
  await fed;
  return joined(chunks, length);
}

/** @param {WritableStreamDefaultWriter<BufferSource>} writer @param {Bytes} bytes */
async function feed(writer, bytes) {
  for (let at = 0; at < bytes.length; at += INFLATE_STEP_BYTES) await writer.write(bytes.subarray(at, at + INFLATE_STEP_BYTES));
  await writer.close();
}

/** @param {Uint8Array[]} chunks @param {number} length @returns {Bytes} */
function joined(chunks, length) {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
