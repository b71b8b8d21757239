// @ts-check
/**
 * The calls over HTTP: what the server offers, a preview, the list of jobs. With a bearer token where it wants one.
 *
 * Files need no call: a job's `url`s are links, signed by the server when it asks for credentials. The token goes into
 * a header, never into an address.
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
 * @typedef {{ code: string, message: string, details?: any, recoverable: boolean, retryAfter?: number }} ErrorResponse
 * @typedef {{ downloadId: string, requestId: string, state: JobState, progress: number, processedRows: number,
 *   totalRows: number, totalRowsExact: boolean, createdAt: number, restarts: number, files: FinishedFile[],
 *   error?: ErrorResponse, expiresAt?: number, statusUrl: string }} DownloadStatus
 * @typedef {{ name: string, type: string, precision?: number }} Column
 * @typedef {{ name: string, default: boolean, timeColumn: string, columns: Column[], rows: number,
 *   timeMin: string | null, timeMax: string | null }} Dataset
 * @typedef {{ totalRows: number, totalRowsExact: boolean, columns: string[], rows: (string | null)[][] }} Preview
 */

/** A refusal by the server, or a failure to reach it (`code` is then `NETWORK_ERROR`). */
export class DownloadError extends Error {
  /** @param {Partial<ErrorResponse>} response @param {number} [status] the HTTP status, for answers over HTTP */
  constructor(response, status) {
    super(typeof response.message === 'string' ? response.message : 'the server gave no reason');
    this.name = 'DownloadError';
    this.code = typeof response.code === 'string' ? response.code : 'INTERNAL';
    this.details = response.details;
    this.recoverable = response.recoverable === true;
    /** Milliseconds to wait before the same call may succeed. */
    this.retryAfter = response.retryAfter;
    this.status = status;
  }
}

/** The HTTP side of one server. */
export class DownloadHttp {
  #base;
  #bearer;

  /**
   * @param {{ base?: string, bearer?: string }} [options] `base` is the server's address, by default the page's own
   * @throws {TypeError} when the token cannot be one
   */
  constructor({ base = location.href, bearer } = {}) {
    if (bearer !== undefined && !/^[\x21-\x7e]+$/.test(bearer)) throw new TypeError('a token is one word of ASCII');
    this.#base = base;
    this.#bearer = bearer;
  }

  /** The data sets the caller may read. @returns {Promise<Dataset[]>} */
  async datasets() {
    const { datasets } = await this.#call('GET', '/v1/datasets');
    return Array.isArray(datasets) ? datasets : [];
  }

  /**
   * The newest jobs first, page by page.
   * @param {{ cursor?: string, limit?: number, state?: JobState }} [page]
   * @returns {Promise<{ downloads: DownloadStatus[], nextCursor?: string }>}
   */
  list(page = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(page)) if (value) query.set(name, String(value));
    return this.#call('GET', `/v1/downloads?${query}`);
  }

  /**
   * The first rows of what a request would export, and how many there are. Makes no job.
   * @param {DownloadRequest} request
   * @param {number} rows 0 to 100
   * @param {AbortSignal} [signal]
   * @returns {Promise<Preview>}
   */
  preview(request, rows, signal) {
    return this.#call('POST', `/v1/preview?rows=${rows}`, { body: request, signal });
  }

  /**
   * Makes a job without a connection. Repeating it with the same `requestId` never makes a second one.
   * @param {DownloadRequest} request
   * @param {string} [requestId]
   * @returns {Promise<DownloadStatus>}
   */
  create(request, requestId = newRequestId()) {
    return this.#call('POST', '/v1/downloads', { body: request, headers: { 'Idempotency-Key': requestId } });
  }

  /**
   * How one job stands, with fresh addresses of its files.
   * @param {string} downloadId
   * @param {number} [waitS] answer when it has ended, or after so many seconds (up to 60)
   * @returns {Promise<DownloadStatus>}
   */
  get(downloadId, waitS = 0) {
    return this.#call('GET', `${pathOf(downloadId)}${waitS > 0 ? `?wait=${waitS}` : ''}`);
  }

  /** @param {string} downloadId @returns {Promise<DownloadStatus>} */
  cancel(downloadId) {
    return this.#call('POST', `${pathOf(downloadId)}/cancel`);
  }

  /** Cancels the job if it runs, and deletes its files and its record. @param {string} downloadId @returns {Promise<unknown>} */
  remove(downloadId) {
    return this.#call('DELETE', pathOf(downloadId));
  }

  /**
   * The whole address of a file, for a link. Undefined unless it is one of http: an address of another scheme would run.
   * @param {{ url: string }} file
   */
  fileUrl({ url }) {
    let whole;
    try {
      whole = new URL(url, this.#base);
    } catch {
      return undefined;
    }
    return whole.protocol === 'http:' || whole.protocol === 'https:' ? whole.href : undefined;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} [more]
   * @returns {Promise<any>}
   */
  async #call(method, path, { body, headers = {}, signal } = {}) {
    const all = { ...headers };
    if (body !== undefined) all['Content-Type'] = 'application/json';
    if (this.#bearer !== undefined) all.Authorization = `Bearer ${this.#bearer}`;
    let response;
    try {
      response = await fetch(new URL(path, this.#base), { method, headers: all, body: JSON.stringify(body), signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new DownloadError({ code: 'NETWORK_ERROR', message: 'the server cannot be reached', recoverable: true });
    }
    const answer = await response.json().catch(() => undefined);
    const said = typeof answer === 'object' && answer !== null ? answer : {};
    if (response.ok) return said;
    throw new DownloadError({ message: `the server answered with status ${response.status}`, ...said, ...(said.detail && { message: said.detail }) }, response.status);
  }
}

/** @param {string} downloadId */
const pathOf = (downloadId) => `/v1/downloads/${encodeURIComponent(downloadId)}`;

/** A new request id. `crypto.randomUUID` exists on secure pages only, so not on a plain-http address in the network. */
export function newRequestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
