// @ts-check
/**
 * A small client of the download protocol, version 1, for people who write their own page.
 *
 * No dependencies, no build step. It speaks `spandrel.download.v1+json` over a WebSocket, keeps the connection alive,
 * reconnects with a growing delay, re-attaches to every job it follows and repeats what was never answered. The four
 * HTTP calls a page needs are functions beside it.
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
 * | `system-error`      | `ErrorResponse`                | the server says something about itself                   |
 *
 * A call that is refused rejects with a `DownloadError`, whose `code` is for programs and `message` for people.
 * A call made while there is no connection waits for the next one.
 *
 * @typedef {{ field: string, op: string, value: unknown } | { and: Filter[] } | { or: Filter[] } | { not: Filter }} Filter
 * @typedef {{
 *   searchParams: { timeFrom: string, timeTo: string, filters: Filter[], dataset?: string, columns?: string[],
 *     sort?: { field: string, order: 'asc' | 'desc' }[], limit?: number },
 *   outputFormat: string, compression: boolean,
 *   options?: { codec?: string, timeZone?: string, maxRowsPerFile?: number, maxRowsPerSecond?: number,
 *     csv?: { header?: boolean, delimiter?: string, bom?: boolean, formulaGuard?: boolean } },
 * }} DownloadRequest
 * @typedef {'pending' | 'generating' | 'paused' | 'completed' | 'failed' | 'cancelled' | 'expired'} JobState
 * @typedef {{ index: number, fileName: string, contentType: string, bytes: number, rows: number, sha256: string,
 *   uncompressedBytes: number, url: string, urlExpiresAt: number, expiresAt: number }} FinishedFile
 * @typedef {{ downloadId: string, state: JobState, totalRows: number, totalRowsExact: boolean, outputFormat: string,
 *   compression: boolean, codec: string | null, formulaGuard: boolean, timeZone: string,
 *   files: { index: number, fileName: string, url: string }[], statusUrl: string, createdAt: number,
 *   duplicate?: true, attached?: true, queuePosition?: number }} DownloadStart
 * @typedef {{ requestId: string, downloadId: string, state: JobState, progress: number, processedRows: number,
 *   totalRows: number, speed: number, estimatedTimeRemaining: number, bytesWritten: number,
 *   restarts: number }} ProgressUpdate
 * @typedef {{ downloadId: string, totalRows: number, elapsedMs: number, expiresAt: number,
 *   files: FinishedFile[] }} DownloadComplete
 * @typedef {{ code: string, message: string, details?: any, recoverable: boolean, retryAfter?: number }} ErrorResponse
 * @typedef {{ downloadId: string, requestId: string, state: JobState, progress: number, processedRows: number,
 *   totalRows: number, totalRowsExact: boolean, createdAt: number, restarts: number, files: FinishedFile[],
 *   error?: ErrorResponse, expiresAt?: number, statusUrl: string }} DownloadStatus
 * @typedef {{ connected: boolean, lastHeartbeat: number, activeDownloads: Record<string, DownloadStatus>,
 *   systemHealth: unknown }} SessionState
 * @typedef {{ state: 'connecting' | 'open' | 'waiting' | 'failed' | 'closed', attempt: number,
 *   delayMs: number }} ConnectionState
 * @typedef {{ name: string, type: string, precision?: number }} Column
 * @typedef {{ name: string, default: boolean, timeColumn: string, columns: Column[], rows: number,
 *   timeMin: string | null, timeMax: string | null }} Dataset
 * @typedef {{ totalRows: number, totalRowsExact: boolean, columns: string[], rows: (string | null)[][] }} Preview
 * @typedef {{ event: string, data: object, resolve: (data: any) => void, reject: (error: Error) => void,
 *   tries: number }} Pending
 */

const SUBPROTOCOL = 'spandrel.download.v1+json';

/** Close codes after which trying again cannot help. */
const FINAL_CODES = new Set([1000, 1003, 1007, 1008, 1009, 4400, 4401, 4406]);

/** How often a call is repeated when the server says it came too fast. */
const RATE_LIMIT_TRIES = 3;

/** A refusal by the server, or a failure to reach it (`code` is then `NETWORK_ERROR`). */
export class DownloadError extends Error {
  /** @param {ErrorResponse} response @param {number} [status] the HTTP status, for answers over HTTP */
  constructor(response, status) {
    super(response.message);
    this.name = 'DownloadError';
    this.code = response.code;
    this.details = response.details;
    this.recoverable = response.recoverable;
    /** Milliseconds to wait before the same call may succeed. */
    this.retryAfter = response.retryAfter;
    this.status = status;
  }
}

/** A connection that follows jobs. See the head of this file. */
export class DownloadClient extends EventTarget {
  /**
   * @param {{ url?: string, maxReconnectAttempts?: number, reconnectDelay?: number }} [options]
   *   `url` defaults to `/v1/ws` of the page's own host; `reconnectDelay` is in milliseconds and doubles per attempt
   */
  constructor(options = {}) {
    super();
    this.url = options.url ?? `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/ws`;
    this.maxReconnectAttempts = options.maxReconnectAttempts ?? 5;
    this.reconnectDelay = options.reconnectDelay ?? 1000;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** True between the server's hello and the loss of the connection. */
    this.ready = false;
    /** @type {Map<string, Pending>} calls without an answer, by request id */
    this.pending = new Map();
    /** @type {Set<string>} jobs without a terminal event, to attach to again */
    this.followed = new Set();
    this.attempt = 0;
    this.retryAfter = 0;
    this.lastReceived = 0;
    this.heartbeat = { intervalMs: 10000, timeoutMs: 5000 };
    /** @type {number | undefined} */
    this.heartbeatTimer = undefined;
    /** @type {number | undefined} */
    this.reconnectTimer = undefined;
  }

  /** Opens the connection, or tries at once when it was waiting or had given up. Does nothing when it is open. */
  connect() {
    if (this.socket) return;
    clearTimeout(this.reconnectTimer);
    this.#tell('connection', { state: 'connecting', attempt: this.attempt, delayMs: 0 });
    const socket = new WebSocket(this.url, [SUBPROTOCOL]);
    this.socket = socket;
    socket.onmessage = (message) => this.#receive(String(message.data));
    socket.onclose = (event) => {
      if (this.socket === socket) this.#lost(event.code, event.reason);
    };
    // A server that takes the connection and never says hello is as good as none.
    this.lastReceived = performance.now();
    this.#beat();
  }

  /** Ends the connection for good. Jobs go on without it. */
  close() {
    clearTimeout(this.reconnectTimer);
    clearInterval(this.heartbeatTimer);
    const socket = this.socket;
    this.socket = null;
    this.ready = false;
    this.attempt = 0;
    socket?.close(1000);
    this.#tell('connection', { state: 'closed', attempt: 0, delayMs: 0 });
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

  /** Follows a job that exists already. @param {string} downloadId @returns {Promise<DownloadStart>} */
  attach(downloadId) {
    this.followed.add(downloadId);
    return this.#call('download:attach', { downloadId }).catch((error) => {
      if (!error.recoverable) this.followed.delete(downloadId);
      throw error;
    });
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
   * Asks how jobs stand: one, those of this connection, or all.
   * @param {{ downloadId?: string, scope?: 'session' | 'all' }} [which]
   * @returns {Promise<SessionState>}
   */
  status(which = {}) {
    return this.#call('status:check', which);
  }

  /** @param {string} event @param {object} data @param {string} [requestId] @returns {Promise<any>} */
  #call(event, data, requestId = newRequestId()) {
    return new Promise((resolve, reject) => {
      this.pending.set(requestId, { event, data, resolve, reject, tries: 0 });
      if (this.ready) this.#send(event, data, requestId);
    });
  }

  /** @param {string} event @param {object} data @param {string} requestId */
  #send(event, data, requestId) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ event, data, timestamp: Date.now(), requestId }));
    }
  }

  /** @param {string} name @param {unknown} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** @param {string} text */
  #receive(text) {
    this.lastReceived = performance.now();
    /** @type {{ event: string, data: any, requestId: string }} */
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours to act on; the server closes when something is really wrong
    }
    const { event, data, requestId } = message;
    switch (event) {
      case 'connection:health':
        if (data.kind === 'hello') this.#hello(data);
        else if (data.kind === 'ping') this.#send('connection:health', { kind: 'pong' }, requestId);
        return;
      case 'download:start':
        this.followed.add(data.downloadId);
        this.#tell('start', data);
        this.#settle(requestId, data);
        return;
      case 'download:progress':
        for (const update of Array.isArray(data) ? data : [data]) this.#tell('progress', update);
        return;
      case 'download:complete':
        this.followed.delete(data.downloadId);
        this.#tell('complete', data);
        return;
      case 'status:update':
        this.#tell('status', data);
        this.#settle(requestId, data);
        return;
      case 'download:error':
        if (this.#refuse(requestId, data)) return;
        this.followed.delete(data.downloadId);
        this.#tell('failed', data);
        return;
      case 'system:error':
        if (this.#refuse(requestId, data)) return;
        this.retryAfter = Math.max(this.retryAfter, data.retryAfter ?? 0);
        this.#tell('system-error', data);
        return;
      default: // a newer server may say more
    }
  }

  /** @param {any} health */
  #hello(health) {
    this.attempt = 0;
    this.retryAfter = 0;
    this.ready = true;
    this.heartbeat = {
      intervalMs: health.heartbeatIntervalMs ?? this.heartbeat.intervalMs,
      timeoutMs: health.heartbeatTimeoutMs ?? this.heartbeat.timeoutMs,
    };
    this.#beat();
    // First what was never answered, under its old id; then every job that is not attached by one of those.
    const asked = new Set();
    for (const [requestId, call] of this.pending) {
      if (call.event === 'download:attach') asked.add(/** @type {any} */ (call.data).downloadId);
      this.#send(call.event, call.data, requestId);
    }
    for (const downloadId of this.followed) {
      if (!asked.has(downloadId)) this.attach(downloadId).catch(() => this.#gone(downloadId));
    }
    this.#tell('connection', { state: 'open', attempt: 0, delayMs: 0 });
    this.#tell('hello', health);
  }

  /** A followed job that the server no longer knows has ended, only we were not told how. @param {string} downloadId */
  #gone(downloadId) {
    if (this.followed.has(downloadId)) return; // a refusal that may pass; the next hello tries again
    const message = 'the server no longer has this export';
    this.#tell('failed', { downloadId, code: 'DOWNLOAD_NOT_FOUND', message, recoverable: false });
  }

  /** @param {string} requestId @param {unknown} data */
  #settle(requestId, data) {
    const call = this.pending.get(requestId);
    this.pending.delete(requestId);
    call?.resolve(data);
  }

  /** Rejects the call this error answers. @param {string} requestId @param {ErrorResponse} error @returns {boolean} */
  #refuse(requestId, error) {
    const call = this.pending.get(requestId);
    if (!call) return false;
    if (error.code === 'RATE_LIMITED' && call.tries < RATE_LIMIT_TRIES) {
      call.tries += 1;
      setTimeout(() => {
        if (this.ready && this.pending.has(requestId)) this.#send(call.event, call.data, requestId);
      }, error.retryAfter ?? 1000);
      return true;
    }
    this.pending.delete(requestId);
    call.reject(new DownloadError(error));
    return true;
  }

  /** A browser cannot see Ping frames, so the client asks for a sign of life when there was none for an interval. */
  #beat() {
    clearInterval(this.heartbeatTimer);
    const { intervalMs, timeoutMs } = this.heartbeat;
    this.heartbeatTimer = setInterval(() => {
      const silentMs = performance.now() - this.lastReceived;
      if (silentMs > intervalMs + timeoutMs) this.#abandon();
      else if (this.ready && silentMs >= intervalMs / 2) this.#send('connection:health', { kind: 'ping' }, newRequestId());
    }, intervalMs / 2);
  }

  /** Gives up a silent connection without waiting for its close, which may never come. */
  #abandon() {
    const socket = this.socket;
    this.#lost(4408, 'no sign of life');
    socket?.close(4408);
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    this.socket = null;
    this.ready = false;
    clearInterval(this.heartbeatTimer);
    if (FINAL_CODES.has(code) || this.attempt >= this.maxReconnectAttempts) {
      this.attempt = 0;
      this.#tell('connection', { state: 'failed', attempt: 0, delayMs: 0 });
      this.#tell('connection:failed', { code, reason });
      return;
    }
    // 1, 2, 4, 8, 16 s, each 20 % up or down so that a thousand pages do not come back in the same instant.
    const jitter = 0.8 + Math.random() * 0.4;
    const delayMs = Math.max(this.reconnectDelay * 2 ** this.attempt * jitter, this.retryAfter);
    this.attempt += 1;
    this.retryAfter = 0;
    this.#tell('connection', { state: 'waiting', attempt: this.attempt, delayMs });
    this.reconnectTimer = setTimeout(() => this.connect(), delayMs);
  }
}

/** The data sets this server offers. @returns {Promise<Dataset[]>} */
export async function listDatasets() {
  return (await http('/v1/datasets')).datasets;
}

/**
 * The newest jobs first, page by page.
 * @param {{ cursor?: string, limit?: number }} [page]
 * @returns {Promise<{ downloads: DownloadStatus[], nextCursor?: string }>}
 */
export function listDownloads(page = {}) {
  const query = new URLSearchParams();
  if (page.cursor) query.set('cursor', page.cursor);
  if (page.limit) query.set('limit', String(page.limit));
  return http(`/v1/downloads?${query}`);
}

/**
 * The first rows of what a request would export, and how many there are. Makes no job.
 * @param {DownloadRequest} request
 * @param {number} rows
 * @param {AbortSignal} [signal]
 * @returns {Promise<Preview>}
 */
export function preview(request, rows, signal) {
  const headers = { 'Content-Type': 'application/json' };
  return http(`/v1/preview?rows=${rows}`, { method: 'POST', headers, body: JSON.stringify(request), signal });
}

/** A new request id. `crypto.randomUUID` exists on secure pages only, so not on a plain-http address in the network. */
export function newRequestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** @param {string} path @param {RequestInit} [init] @returns {Promise<any>} */
async function http(path, init) {
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new DownloadError({ code: 'NETWORK_ERROR', message: 'the server cannot be reached', recoverable: true });
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const { code = 'INTERNAL', detail, details, recoverable = false, retryAfter } = body;
  const message = detail ?? `the server answered with status ${response.status}`;
  throw new DownloadError({ code, message, details, recoverable, retryAfter }, response.status);
}
