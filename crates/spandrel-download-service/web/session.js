// @ts-check
/**
 * Who this page speaks as: the connection and the HTTP calls everything else uses, open or with credentials.
 *
 * Credentials stay in memory, and in `sessionStorage` when asked to, which ends with the tab. They are never in an
 * address. Other tabs, and this page after a reload without the check mark, ask again.
 */
import { DownloadClient, DownloadError, DownloadHttp, fromBase64Url } from './client.js';

/** @typedef {{ token: string, keyId: string, secret: string, seals: boolean }} Credentials `secret` as base64url */

const STORED_AS = 'spandrel.credentials';

export let client = new DownloadClient();
export let http = new DownloadHttp();
/** @type {Credentials | undefined} */
export let credentials;

/** @type {[string, (event: Event) => void][]} */
const listeners = [];

/** Listens to the connection, also to the one after a sign-in. @param {string} name @param {(detail: any) => void} handler */
export function on(name, handler) {
  const listener = (/** @type {Event} */ event) => {
    if (event.target === client) handler(/** @type {CustomEvent} */ (event).detail);
  };
  listeners.push([name, listener]);
  client.addEventListener(name, listener);
}

/** @type {(() => void)[]} */
const leaving = [];

/** Has this called when somebody else is there: what one person saw is not for the next. @param {() => void} forgetting */
export function onOther(forgetting) {
  leaving.push(forgetting);
}

/** Speaks with these credentials from now on; `client.connect()` opens the connection. @param {Credentials} given */
export function use(given) {
  const secret = fromBase64Url(given.secret) ?? new Uint8Array();
  const next = new DownloadClient({ key: { id: given.keyId, secret }, seal: given.seals });
  http = new DownloadHttp({ bearer: given.token });
  const before = client;
  client = next;
  before.close();
  for (const [name, listener] of listeners) client.addEventListener(name, listener);
  const isOther = credentials?.token !== given.token || credentials.keyId !== given.keyId;
  credentials = given;
  if (isOther) for (const forgetting of leaving) forgetting();
}

/** Whether the server wants other credentials than it got. @param {unknown} error */
export const isAuthError = (error) => error instanceof DownloadError && (error.status === 401 || error.code === 'AUTH_INVALID');

/** @returns {Credentials | undefined} */
export function stored() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORED_AS) ?? 'null');
    const texts = [kept.token, kept.keyId, kept.secret];
    return texts.every((text) => typeof text === 'string') ? { ...kept, seals: kept.seals === true } : undefined;
  } catch {
    return undefined; // nothing kept, or no storage
  }
}
/** @param {Credentials} given */
export function keep(given) {
  try {
    sessionStorage.setItem(STORED_AS, JSON.stringify(given));
  } catch {
    // Storage is switched off: a reload asks again.
  }
}
export function forget() {
  try {
    sessionStorage.removeItem(STORED_AS);
  } catch {
    // then there is nothing to forget
  }
}
