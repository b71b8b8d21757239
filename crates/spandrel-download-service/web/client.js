// @ts-check
/**
 * A client of the download protocol, version 1, for people who write their own page.
 *
 * No dependencies, no build step: this file, `link.js`, `secure.js` and `http.js` beside each other. It keeps the
 * connection alive, reconnects with a growing delay, re-attaches to every job it follows and repeats what was never
 * answered. With a key it signs every message and checks every signature of the server; it can seal and deflate them.
 *
 *     import { DownloadClient } from './client.js';
 *
 *     const client = new DownloadClient();
 *     client.addEventListener('progress', (event) => console.log(event.detail.progress, '%'));
 *     client.addEventListener('complete', (event) => console.log(event.detail.files));
 *     client.connect();
 *     const start = await client.request({
 *       searchParams: { timeFrom: '2013-01-01T00:00:00Z', timeTo: '2013-02-01T00:00:00Z', filters: [] },
 *       outputFormat: 'csv',
 *       compression: false,
 *     });
 *     await client.pause(start.downloadId);
 *
 * Events, each a `CustomEvent`:
 *
 * | name                | detail                         | when                                                     |
 * |---------------------|--------------------------------|----------------------------------------------------------|
 * | `connection`        | `ConnectionState`              | the connection opened, was lost, is waiting to try again |
 * | `connection:failed` | `{ code, reason }`             | it gave up; `connect()` starts over                      |
 * | `hello`             | `ConnectionHealth`             | the server is ready, after every (re)connect             |
 * | `start`             | `DownloadStart`                | a job was accepted or attached to                        |
 * | `progress`          | `ProgressUpdate`               | once per job, also when the server sent several in one   |
 * | `status`            | `SessionState`                 | a state changed, or `status()` was answered              |
 * | `complete`          | `DownloadComplete`             | the end of a job: its files                              |
 * | `failed`            | `ErrorResponse`, `downloadId`  | the end of a job without files, cancelled ones too       |
 * | `system-error`      | `ErrorResponse`                | the server says something about itself, or no longer     |
 * |                     |                                | lets a job (`downloadId`) be followed that goes on       |
 *
 * A call that is refused rejects with a `DownloadError`, whose `code` is for programs and `message` for people.
 * A call made while there is no connection waits for the next one; all that wait are rejected when the client gives up
 * or is closed. Nothing a server sends makes anything here throw: what is no message is left alone.
 *
 * @typedef {import('./http.js').DownloadRequest} DownloadRequest
 * @typedef {import('./http.js').JobState} JobState
 * @typedef {import('./http.js').FinishedFile} FinishedFile
 * @typedef {import('./http.js').DownloadStatus} DownloadStatus
 * @typedef {import('./http.js').ErrorResponse} ErrorResponse
 * @typedef {import('./http.js').Column} Column
 * @typedef {import('./http.js').Dataset} Dataset
 * @typedef {import('./http.js').Preview} Preview
 * @typedef {{ downloadId: string, state: JobState, totalRows: number, totalRowsExact: boolean, outputFormat: string,
 *   compression: boolean, codec: string | null, formulaGuard: boolean, timeZone: string,
 *   files: { index: number, fileName: string, url: string }[], statusUrl: string, createdAt: number,
 *   duplicate?: true, attached?: true, queuePosition?: number }} DownloadStart
 * @typedef {{ requestId: string, downloadId: string, state: JobState, progress: number, processedRows: number,
 *   totalRows: number, speed: number, estimatedTimeRemaining: number, bytesWritten: number,
 *   restarts: number }} ProgressUpdate
 * @typedef {{ downloadId: string, totalRows: number, elapsedMs: number, expiresAt: number,
 *   files: FinishedFile[] }} DownloadComplete
 * @typedef {{ connected: boolean, lastHeartbeat: number, activeDownloads: Record<string, DownloadStatus>,
 *   systemHealth: unknown }} SessionState
 * @typedef {{ state: 'connecting' | 'open' | 'waiting' | 'failed' | 'closed', attempt: number,
 *   delayMs: number }} ConnectionState
 * @typedef {{ url?: string, key?: { id: string, secret: Uint8Array | CryptoKey }, seal?: boolean, deflate?: boolean,
 *   signed?: boolean, maxReconnectAttempts?: number, reconnectDelay?: number }} Options
 * @typedef {{ event: string, data: object, resolve: (data: any) => void, reject: (error: Error) => void,
 *   tries: number, isResigned: boolean }} Pending
 */
import { DownloadError, newRequestId } from './http.js';
import { Link, ServerClock } from './link.js';
import { hasDeflate, hasWebCrypto, importSecret, signingKey, utf8 } from './secure.js';

export { DownloadError, DownloadHttp, newRequestId } from './http.js';
export { fromBase64Url, importSecret } from './secure.js';

/** Close codes after which trying again cannot help. */
const FINAL_CODES = new Set([1000, 1003, 1007, 1008, 1009, 4400, 4401, 4406]);

/** Stands where a close code would when the browser did not even try. No server can send it. */
const NO_ADDRESS = 0;

/** How often a call is repeated when the server says it came too fast. */
const RATE_LIMIT_TRIES = 3;

/** Bounds of everything that could grow, each with its unit in its name. */
export const LIMITS = Object.freeze({
  /** Of a frame and of what it inflates to; the protocol's own number. */
  messageBytesMax: 1048576,
  /** What signature and seal add to a message, and a little more. */
  layerBytesMax: 512,
  /** Calls without an answer. One more is refused with `OVERLOADED`: that many at once is a loop, not a user. */
  pendingMax: 256,
  /** Jobs followed; as many as a server attaches to one connection. */
  followedMax: 1000,
  /** Of those, attached to again at the same time after a reconnect; the calls of the page find room beside them. */
  reattachingMax: 32,
  /** Pings and pongs that wait to be sent; more are left out. */
  heartbeatsMax: 32,
  /** Longest wait a server can ask for, and the longest heartbeat interval it can set. */
  waitMsMax: 3600000,
});

/** A connection that follows jobs. See the head of this file. */
export class DownloadClient extends EventTarget {
  /** @type {Link | null} */
  #link = null;
  /** @type {Map<string, Pending>} calls without an answer, by request id */
  #pending = new Map();
  #profile;
  #clock = new ServerClock();
  #attempt = 0;
  #retryAfterMs = 0;
  #lastReceived = 0;
  /** @type {number | undefined} when the first ping since something was received was sent */
  #pingedAt;
  /** @type {{ id: string, at: number }} the newest ping */
  #ping = { id: '', at: 0 };
  #intervalMs = 10000;
  #timeoutMs = 5000;
  #sendBytesMax = LIMITS.messageBytesMax;
  /** @type {number | undefined} */
  #heartbeatTimer;
  /** @type {number | undefined} */
  #reconnectTimer;
  /** @type {Set<string>} followed jobs that this connection is not attached to yet */
  #unattached = new Set();
  #reattaching = 0;
  /** @type {number | undefined} set while the server wants no more of them */
  #reattachTimer;

  /**
   * @param {Options} [options]
   * - `url` of the message endpoint, by default `/v1/ws` of the page's own host. Nothing secret belongs into it.
   * - `key`: the id of a key of the server, and its secret as 32 bytes or as the `CryptoKey` of {@link importSecret}.
   *   With it every message is signed in both directions.
   * - `seal`: encrypt every message; takes a key.
   * - `deflate`: compress messages from 512 bytes. Not together with `seal` when strangers choose what is in them.
   * - `signed`: `false` leaves out the signatures inside sealed messages, for a server of auth mode `none`.
   * - `maxReconnectAttempts` and `reconnectDelay`, in milliseconds, which doubles per attempt.
   * @throws {TypeError} when the options contradict each other
   * @throws {DownloadError} `INSECURE_CONTEXT` when this page may not use WebCrypto, `UNSUPPORTED` when the browser cannot deflate
   */
  constructor(options = {}) {
    super();
    /** True from the time calls go out at once to the loss of the connection. */
    this.ready = false;
    /** @type {Set<string>} jobs without a terminal event, to attach to again */
    this.followed = new Set();
    this.url = urlOf(options.url);
    this.maxReconnectAttempts = options.maxReconnectAttempts ?? 5;
    this.reconnectDelay = options.reconnectDelay ?? 1000;
    this.#profile = profileOf(options);
  }

  /** Opens the connection, or tries at once when it was waiting or had given up. Does nothing when it is open. */
  connect() {
    if (this.#link) return;
    clearTimeout(this.#reconnectTimer);
    try {
      /** @type {Link} */
      const link = new Link(this.url, this.#profile, this.#clock, {
        message: (message) => this.#receive(message),
        lost: (code, reason) => { if (this.#link === link) this.#lost(code, reason); },
      });
      this.#link = link;
    } catch (error) {
      this.#giveUp(NO_ADDRESS, error instanceof Error ? error.message : 'the browser takes no such address');
      return;
    }
    // A server that takes the connection and never says hello is as good as none.
    this.#heard();
    this.#beat();
    this.#tell('connection', { state: 'connecting', attempt: this.#attempt, delayMs: 0 });
  }

  /** Ends the connection for good, after what was sent. Jobs go on without it; calls without an answer are rejected. */
  close() {
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#reattachTimer);
    clearInterval(this.#heartbeatTimer);
    const link = this.#link;
    this.#link = null;
    this.ready = false;
    this.#attempt = 0;
    link?.close(1000);
    this.#rejectAll({ code: 'NETWORK_ERROR', message: 'the connection was closed by this page', recoverable: true });
    this.#tell('connection', { state: 'closed', attempt: 0, delayMs: 0 });
  }

  /** Milliseconds since 1970 on the server's clock, for its `expiresAt`s; this machine's own may be wrong. */
  serverNow() {
    return this.#clock.now();
  }

  /**
   * Asks for an export and follows it. Repeating it with the same `requestId` never makes a second job.
   * @param {DownloadRequest} request
   * @param {string} [requestId]
   * @returns {Promise<DownloadStart>}
   */
  request(request, requestId = newRequestId()) {
    return this.#call('download:request', request, requestId);
  }

  /**
   * Follows a job that exists already. Refused for now (`recoverable`), it is tried again until {@link detach}.
   * @param {string} downloadId
   * @returns {Promise<DownloadStart>}
   */
  async attach(downloadId) {
    const isNew = !this.followed.has(downloadId);
    if (!this.#follow(downloadId)) throw overloaded(`${LIMITS.followedMax} exports are followed already`);
    this.#unattached.delete(downloadId);
    try {
      return await this.#call('download:attach', { downloadId });
    } catch (error) {
      if (isForNow(error)) this.#reattachLater(downloadId, error);
      else if (isNew || !isOfTheKey(error)) this.followed.delete(downloadId);
      throw error;
    }
  }

  /** Stops following a job; the job goes on. @param {string} downloadId @returns {Promise<SessionState>} */
  detach(downloadId) {
    this.followed.delete(downloadId);
    return this.#call('download:detach', { downloadId });
  }

  /** @param {string} downloadId @returns {Promise<SessionState>} */
  pause(downloadId) {
    return this.#call('download:pause', { downloadId });
  }

  /** @param {string} downloadId @returns {Promise<SessionState>} */
  resume(downloadId) {
    return this.#call('download:resume', { downloadId });
  }

  /** Stops a job and deletes its files. @param {string} downloadId @returns {Promise<SessionState>} */
  cancel(downloadId) {
    return this.#call('download:cancel', { downloadId });
  }

  /**
   * Asks how jobs stand: one, those of this connection, or all. The addresses of their files are fresh in the answer.
   * @param {{ downloadId?: string, scope?: 'session' | 'all' }} [which]
   * @returns {Promise<SessionState>}
   */
  status(which = {}) {
    return this.#call('status:check', which);
  }

  // ------------------------------------------------------------------------------------------------------------ sending

  /** @param {string} event @param {object} data @param {string} [requestId] @returns {Promise<any>} */
  async #call(event, data, requestId = newRequestId()) {
    if (this.#pending.size >= LIMITS.pendingMax && event !== 'connection:health') throw overloaded(`${LIMITS.pendingMax} calls wait for an answer already`);
    if (this.#pending.has(requestId)) throw new DownloadError({ code: 'REQUEST_ID_CONFLICT', message: 'a call with this request id waits for its answer' });
    const bytes = utf8(JSON.stringify(data)).length + LIMITS.layerBytesMax;
    if (bytes > this.#sendBytesMax) throw new DownloadError({ code: 'LIMIT_EXCEEDED', message: `a message has at most ${this.#sendBytesMax} bytes, this one would have ${bytes}` });
    return new Promise((resolve, reject) => {
      this.#pending.set(requestId, { event, data, resolve, reject, tries: 0, isResigned: false });
      if (this.ready || event === 'connection:health') this.#send(event, data, requestId);
    });
  }

  /** @param {string} event @param {object} data @param {string} requestId */
  #send(event, data, requestId) {
    // What fails here ends the connection, and the call waits for the next one.
    this.#link?.send(JSON.stringify({ event, data, timestamp: Date.now(), requestId })).catch(() => {});
  }

  /** @param {'ping' | 'pong'} kind @param {string} requestId */
  #sendHeartbeat(kind, requestId) {
    // A call may wait its turn, a sign of life that comes late is none.
    if (this.#link && this.#link.waiting < LIMITS.pendingMax + LIMITS.heartbeatsMax) this.#send('connection:health', { kind }, requestId);
  }

  /** @param {string} name @param {unknown} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // ---------------------------------------------------------------------------------------------------------- receiving

  /** @param {import('./link.js').Message} message */
  #receive({ event, data, requestId }) {
    this.#heard();
    switch (event) {
      case 'connection:health':
        this.#health(data, requestId);
        return;
      case 'download:start':
        if (!isJob(data) || !Array.isArray(data.files)) return this.#unreadable(requestId);
        this.#follow(data.downloadId);
        this.#tell('start', data);
        this.#settle(requestId, data);
        return;
      case 'download:progress':
        for (const update of Array.isArray(data) ? data : [data]) if (isJob(update)) this.#tell('progress', update);
        return;
      case 'download:complete':
        if (!isJob(data) || !Array.isArray(data.files)) return;
        this.followed.delete(data.downloadId);
        this.#tell('complete', data);
        return;
      case 'status:update':
        if (!isState(data)) return this.#unreadable(requestId);
        this.#tell('status', data);
        this.#settle(requestId, data);
        return;
      case 'download:error':
        if (this.#refuse(requestId, data)) return;
        if (!isJob(data)) return;
        this.followed.delete(data.downloadId);
        this.#tell('failed', data);
        return;
      case 'system:error':
        this.#systemError(requestId, data);
        return;
      default: // a newer server may say more
    }
  }

  /** @param {any} data @param {string} requestId */
  #health(data, requestId) {
    if (data.kind === 'hello') this.#hello(data);
    else if (data.kind === 'ping') this.#sendHeartbeat('pong', requestId);
    else if (data.kind === 'pong') {
      // No two clocks run alike for days. An answer that came slowly says too little about the time.
      if (requestId === this.#ping.id && performance.now() - this.#ping.at < this.#timeoutMs) this.#clock.learn(data.serverTime);
      this.#settle(requestId, data);
    }
  }

  /** @param {any} health */
  #hello(health) {
    if (this.ready) return;
    this.#intervalMs = within(health.heartbeatIntervalMs, 100) ?? this.#intervalMs;
    this.#timeoutMs = within(health.heartbeatTimeoutMs, 100) ?? this.#timeoutMs;
    if (Number.isSafeInteger(health.maxMessageBytes) && health.maxMessageBytes > 0) this.#sendBytesMax = health.maxMessageBytes;
    this.#beat();
    if (!this.#profile.seals) {
      this.#open(health);
      return;
    }
    // The hello of a sealed connection is in the clear and proves nothing: whoever opens a first message has the key.
    this.#ping = { id: newRequestId(), at: performance.now() };
    const isOurs = this.#call('connection:health', { kind: 'ping' }, this.#ping.id);
    isOurs.then(() => { if (!this.ready && this.#link) this.#open(health); }, () => {});
  }

  /** The server is who it should be, and listens. @param {any} health */
  #open(health) {
    this.#attempt = 0;
    this.#retryAfterMs = 0;
    this.ready = true;
    // First what was never answered, under its old id; then every job that is not attached by one of those.
    const asked = new Set();
    for (const [requestId, call] of this.#pending) {
      if (call.event === 'download:attach') asked.add(/** @type {any} */ (call.data).downloadId);
      this.#send(call.event, call.data, requestId);
    }
    clearTimeout(this.#reattachTimer);
    this.#reattachTimer = undefined;
    this.#unattached = new Set([...this.followed].filter((downloadId) => !asked.has(downloadId)));
    this.#reattach();
    const link = this.#link;
    this.#tell('connection', { state: 'open', attempt: 0, delayMs: 0 });
    if (this.#link === link) this.#tell('hello', health);
  }

  /** Whether it is followed now. @param {string} downloadId */
  #follow(downloadId) {
    if (this.followed.size >= LIMITS.followedMax && !this.followed.has(downloadId)) return false;
    this.followed.add(downloadId);
    return true;
  }

  /** Attaches again to what is followed, a few at a time. */
  #reattach() {
    for (const downloadId of this.#unattached) {
      if (!this.ready || this.#reattachTimer !== undefined || this.#reattaching >= LIMITS.reattachingMax) return;
      this.#unattached.delete(downloadId);
      if (!this.followed.has(downloadId)) continue; // it ended, or nobody wants it any more
      this.#reattaching += 1;
      this.#call('download:attach', { downloadId })
        .catch((error) => this.#notAttached(downloadId, error))
        .finally(() => {
          this.#reattaching -= 1;
          this.#reattach();
        });
    }
  }

  /** Goes on when the server says, with this job last. @param {string} downloadId @param {DownloadError} error */
  #reattachLater(downloadId, error) {
    if (!this.ready || !this.followed.has(downloadId)) return; // the next hello tries all of them
    this.#unattached.add(downloadId);
    clearTimeout(this.#reattachTimer);
    this.#reattachTimer = setTimeout(() => {
      this.#reattachTimer = undefined;
      this.#reattach();
    }, within(error.retryAfter, 0) ?? 1000);
  }

  /** @param {string} downloadId @param {DownloadError} error */
  #notAttached(downloadId, error) {
    if (isForNow(error)) return this.#reattachLater(downloadId, error);
    // A refused key says nothing about the job; who comes back with a right one follows it again.
    if (isOfTheKey(error) || !this.followed.delete(downloadId)) return;
    const { code, message, details, recoverable } = error;
    const isGone = code === 'DOWNLOAD_NOT_FOUND' || code === 'EXPIRED';
    this.#tell(isGone ? 'failed' : 'system-error', { downloadId, code, message, details, recoverable });
  }

  /** @param {string} requestId @param {unknown} data */
  #settle(requestId, data) {
    const call = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    call?.resolve(data);
  }

  /** An answer without what an answer holds. @param {string} requestId */
  #unreadable(requestId) {
    const call = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    call?.reject(new DownloadError({ code: 'INVALID_RESPONSE', message: 'the server gave an answer that cannot be read' }));
  }

  /** @param {string} requestId @param {any} error */
  #systemError(requestId, error) {
    if (error.code === 'AUTH_EXPIRED' && this.#resign(requestId, error)) return;
    // Somebody repeated a message of ours. The first one was taken, and its answer still comes.
    if (error.code === 'AUTH_REPLAYED' && this.#pending.has(requestId)) return;
    if (this.#refuse(requestId, error)) return;
    if (error.code === 'AUTH_REQUIRED' || error.code === 'AUTH_INVALID') {
      // It does not say which message it refused, and the next one will fare no better.
      this.#link?.abandon(4401, String(error.message ?? 'the server does not accept this key'));
      return;
    }
    this.#retryAfterMs = Math.max(this.#retryAfterMs, within(error.retryAfter, 0) ?? 0);
    this.#tell('system-error', error);
  }

  /** Signs a call again by the server's clock, once. @param {string} requestId @param {any} error */
  #resign(requestId, error) {
    this.#clock.learn(error.details?.serverTime);
    const call = this.#pending.get(requestId);
    if (!call || call.isResigned) return false;
    call.isResigned = true;
    this.#send(call.event, call.data, requestId);
    return true;
  }

  /** Rejects the call this error answers. @param {string} requestId @param {any} error @returns {boolean} */
  #refuse(requestId, error) {
    const call = this.#pending.get(requestId);
    if (!call) return false;
    if (error.code === 'RATE_LIMITED' && call.tries < RATE_LIMIT_TRIES) {
      call.tries += 1;
      setTimeout(() => {
        if (this.ready && this.#pending.has(requestId)) this.#send(call.event, call.data, requestId);
      }, within(error.retryAfter, 0) ?? 1000);
      return true;
    }
    this.#pending.delete(requestId);
    call.reject(new DownloadError(error));
    return true;
  }

  // ---------------------------------------------------------------------------------------------------- life and its end

  #heard() {
    this.#lastReceived = performance.now();
    this.#pingedAt = undefined;
  }

  /** A browser cannot see Ping frames, so the client asks for a sign of life when there was none for a while. */
  #beat() {
    clearInterval(this.#heartbeatTimer);
    this.#heartbeatTimer = setInterval(() => this.#checkLife(), this.#intervalMs / 2);
  }

  #checkLife() {
    const now = performance.now();
    const silentMs = now - this.#lastReceived;
    // In the background a browser runs timers once a minute. Silence counts only after a ping had time to be answered.
    const isUnanswered = !this.ready || (this.#pingedAt !== undefined && now - this.#pingedAt >= this.#timeoutMs);
    if (silentMs > this.#intervalMs + this.#timeoutMs && isUnanswered) {
      this.#link?.abandon(4408, 'no sign of life');
    } else if (this.ready && silentMs >= this.#intervalMs / 2) {
      this.#pingedAt ??= now;
      this.#ping = { id: newRequestId(), at: now };
      this.#sendHeartbeat('ping', this.#ping.id);
    }
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    this.#link = null;
    this.ready = false;
    clearInterval(this.#heartbeatTimer);
    for (const [requestId, call] of this.#pending) if (call.event === 'connection:health') this.#unreadable(requestId);
    if (FINAL_CODES.has(code) || this.#attempt >= this.maxReconnectAttempts) {
      this.#giveUp(code, reason);
      return;
    }
    // 1, 2, 4, 8, 16 s, each 20 % up or down so that a thousand pages do not come back in the same instant.
    const jitter = 0.8 + Math.random() * 0.4;
    const delayMs = Math.max(this.reconnectDelay * 2 ** this.#attempt * jitter, this.#retryAfterMs);
    this.#attempt += 1;
    this.#retryAfterMs = 0;
    // First the timer, then the word: whoever hears it may close.
    this.#reconnectTimer = setTimeout(() => this.connect(), delayMs);
    this.#tell('connection', { state: 'waiting', attempt: this.#attempt, delayMs });
  }

  /** @param {number} code @param {string} reason */
  #giveUp(code, reason) {
    this.#attempt = 0;
    const isAuth = code === 4401 || code === 4400;
    const why = reason || `the connection failed with code ${code}`;
    if (code === NO_ADDRESS) this.#rejectAll({ code: 'INVALID_ADDRESS', message: why, recoverable: false });
    else this.#rejectAll({ code: isAuth ? 'AUTH_INVALID' : 'NETWORK_ERROR', message: why, recoverable: !isAuth });
    this.#tell('connection', { state: 'failed', attempt: 0, delayMs: 0 });
    this.#tell('connection:failed', { code, reason });
  }

  /** @param {ErrorResponse} why */
  #rejectAll(why) {
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of calls) call.reject(new DownloadError(why));
  }
}

/** @param {Options} options @returns {import('./link.js').Profile} */
function profileOf({ key, seal = false, deflate = false, signed = key !== undefined }) {
  if (!key && (seal || signed)) throw new TypeError('sealing and signing take a key: { id, secret }');
  if (key && !signed && !seal) throw new TypeError('a connection with a key is signed; leave the key out for an unsigned one');
  if (deflate && !hasDeflate()) throw new DownloadError({ code: 'UNSUPPORTED', message: 'this browser cannot deflate messages' });
  const profile = { seals: seal, deflates: deflate, signs: signed, messageBytesMax: LIMITS.messageBytesMax };
  if (!key) return { ...profile, key: undefined };
  if (!hasWebCrypto()) {
    throw new DownloadError({ code: 'INSECURE_CONTEXT', message: 'signing and sealing take a secure page: open this one over https, or on localhost' });
  }
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(key.id)) throw new TypeError('a key id has 1 to 32 letters, digits, - and _');
  const secret = secretOf(key.secret);
  const signing = secret.then(signingKey);
  signing.catch(() => {}); // a connection that needs it says so
  return { ...profile, key: { id: key.id, secret, signing } };
}

/** @param {Uint8Array | CryptoKey} secret @returns {Promise<CryptoKey>} */
function secretOf(secret) {
  if (secret instanceof CryptoKey) {
    if (secret.algorithm.name !== 'HKDF' || !secret.usages.includes('deriveKey')) throw new TypeError('the secret is no CryptoKey of importSecret()');
    return Promise.resolve(secret);
  }
  if (!(secret instanceof Uint8Array) || secret.length !== 32) throw new TypeError('a secret is 32 bytes, or the CryptoKey of importSecret()');
  return importSecret(secret);
}

/** @param {string | undefined} url */
function urlOf(url) {
  const at = new URL(url ?? '/v1/ws', location.href);
  if (at.protocol === 'http:' || at.protocol === 'https:') at.protocol = at.protocol.replace('http', 'ws');
  at.hash = '';
  return at.href;
}

/** A number of milliseconds a server may ask for; undefined for anything else. @param {unknown} ms @param {number} least */
function within(ms, least) {
  return typeof ms === 'number' && ms >= least ? Math.min(ms, LIMITS.waitMsMax) : undefined;
}

/** @param {string} message */
const overloaded = (message) => new DownloadError({ code: 'OVERLOADED', message, recoverable: true });

/** Whether the same call may succeed later. @param {unknown} error @returns {error is DownloadError} */
const isForNow = (error) => error instanceof DownloadError && error.recoverable;
/** Whether it says who is asking is not accepted, and nothing about what was asked. @param {unknown} error */
const isOfTheKey = (error) => error instanceof DownloadError && error.code === 'AUTH_INVALID';

/** @param {any} data @returns {boolean} */
const isJob = (data) => typeof data === 'object' && data !== null && typeof data.downloadId === 'string';
/** @param {any} data @returns {boolean} */
const isState = (data) => typeof data.activeDownloads === 'object' && data.activeDownloads !== null && Object.values(data.activeDownloads).every((job) => isJob(job) && Array.isArray(job.files));
