// @ts-check
/**
 * The exports: one card per job, kept up to date by the events of the client, and the list they come from.
 *
 * A card is made once and changed in place, so that focus and selection stay where they are.
 */
import { DownloadError } from './client.js';
import { client, http, isAuthError, on, onOther } from './session.js';
import { askToSignIn } from './signin.js';
import { $, announce, count, duration, element, humanError, moment, plural, setBanner, size, stamp } from './text.js';

/** @typedef {import('./client.js').DownloadStatus} DownloadStatus */
/** @typedef {import('./client.js').FinishedFile} FinishedFile */

const JOBS_PER_PAGE = 20;
/** A job may have a thousand files; more are shown when asked for. */
const FILES_SHOWN = 5;
/** How often the list of finished files of a running job is asked for. */
const FILES_EVERY_MS = 3000;
/** An address with less time left than this is asked for again before it is used. */
const URL_SPARE_MS = 10000;

const FINAL_STATES = new Set(['completed', 'failed', 'cancelled', 'expired']);
const STATE_NAMES = {
  pending: 'Waiting', generating: 'Running', paused: 'Paused', completed: 'Done',
  failed: 'Failed', cancelled: 'Cancelled', expired: 'Expired',
};

/**
 * One export on the page.
 * @typedef {{
 *   id: string, card: HTMLElement, state: string, createdAt: number, processedRows: number, totalRows: number,
 *   totalRowsExact: boolean, progress: number, speed: number, remaining: number, bytes: number, restarts: number,
 *   elapsedMs: number, expiresAt: number, files: FinishedFile[], fileNames: string[], format: string, error: string,
 *   isOpen: boolean, filesShown: string, filesAskedAt: number, saidQuarter: number,
 * }} Job
 */
/** @type {Map<string, Job>} */
const jobs = new Map();
/** @type {string | undefined} */
let olderCursor;
/** Whether the list was seen once, so that no cursor means that there is nothing older. */
let isListed = false;

/** @param {string} id @param {number} createdAt @returns {Job} */
function jobOf(id, createdAt) {
  const known = jobs.get(id);
  if (known) return known;
  const card = stamp('job-template');
  card.id = `job-${id}`;
  /** @type {Job} */
  const job = {
    id, card, createdAt, state: 'pending', processedRows: 0, totalRows: 0, totalRowsExact: false, progress: 0, speed: 0,
    remaining: -1, bytes: 0, restarts: 0, elapsedMs: -1, expiresAt: 0, files: [], fileNames: [], format: '', error: '',
    isOpen: false, filesShown: '', filesAskedAt: 0, saidQuarter: 0,
  };
  jobs.set(id, job);
  $('.job-pause', card).addEventListener('click', () => act(job, job.state === 'paused' ? 'resume' : 'pause'));
  $('.job-cancel', card).addEventListener('click', () => act(job, 'cancel'));
  $('.job-more', card).addEventListener('click', () => {
    job.isOpen = true;
    showJob(job);
    /** @type {HTMLElement | null} */ (card.querySelectorAll('.file-name')[FILES_SHOWN])?.focus();
  });
  const later = [...jobs.values()].filter((other) => other !== job && other.createdAt < createdAt);
  const next = later.sort((a, b) => b.createdAt - a.createdAt)[0];
  $('#jobs').insertBefore(card, next?.card ?? null);
  return job;
}

/** @param {Job} job @param {'pause' | 'resume' | 'cancel'} what */
async function act(job, what) {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (job.card.querySelectorAll('.job-actions button'));
  // Not `disabled`, which would take the focus away under the reader's fingers.
  if (job.card.getAttribute('aria-busy') === 'true') return;
  job.card.setAttribute('aria-busy', 'true');
  try {
    await client[what](job.id);
    if (job.state !== 'failed') job.error = ''; // what an earlier try was refused with
    showJob(job);
    announce(`${buttons[0] ? titleOf(job) : 'Export'}: ${{ pause: 'paused', resume: 'running again', cancel: 'cancelled' }[what]}`);
  } catch (error) {
    job.error = humanError(error);
    showJob(job);
  } finally {
    job.card.removeAttribute('aria-busy');
  }
}

/** `flights_20130101T100000Z_20140101T040000Z-part00001.csv.gz` taken apart. @param {string} name */
function readFileName(name) {
  const parts = /^(.*)_(\d{8}T\d{6}Z)_(\d{8}T\d{6}Z)-part\d+\.(.+)$/.exec(name);
  if (!parts) return undefined;
  const time = (/** @type {string} */ t) => `${t.slice(0, 4)}-${t.slice(4, 6)}-${t.slice(6, 8)} ${t.slice(9, 11)}:${t.slice(11, 13)}`;
  return { dataset: parts[1], from: time(String(parts[2])), to: time(String(parts[3])), kind: String(parts[4]) };
}
/** @param {Job} job */
const nameOf = (job) => readFileName(job.files[0]?.fileName ?? job.fileNames[0] ?? '');
/** @param {Job} job */
function titleOf(job) {
  const name = nameOf(job);
  return name ? `${name.dataset}, ${name.from} to ${name.to}` : `Export ${job.id.slice(0, 11)}`;
}

/** Puts a job on the page as it is now. @param {Job} job */
function showJob(job) {
  const { card } = job;
  const hadFocus = card.contains(document.activeElement);
  const isFinal = FINAL_STATES.has(job.state);
  card.dataset.state = job.state;
  $('.job-title', card).textContent = titleOf(job);
  card.setAttribute('aria-label', titleOf(job));
  const pill = $('.pill', card);
  pill.textContent = STATE_NAMES[/** @type {keyof typeof STATE_NAMES} */ (job.state)] ?? job.state;
  const format = nameOf(job)?.kind.toUpperCase().replace('.GZ', ', gzip').replace('.ZST', ', zstd') ?? job.format;
  const facts = [format, `started ${moment(job.createdAt)}`];
  if (job.state === 'completed' && job.expiresAt) facts.push(`kept until ${moment(job.expiresAt)}`);
  if (job.restarts > 0) facts.push(`continued after ${plural(job.restarts, 'restart')}`);
  $('.job-sub', card).textContent = facts.filter(Boolean).join(' · ');

  const bar = /** @type {HTMLProgressElement} */ ($('.job-bar', card));
  bar.hidden = isFinal;
  bar.value = job.progress;
  bar.setAttribute('aria-label', `Progress of ${titleOf(job)}`);
  $('.job-stats', card).replaceChildren(...statsOf(job).map((text) => element('span', text)));
  const bold = $('.job-stats', card).firstElementChild;
  if (bold && !isFinal) bold.replaceChildren(element('b', `${job.progress.toFixed(job.progress >= 100 ? 0 : 1)} %`));
  $('.job-actions', card).hidden = isFinal;
  $('.job-pause', card).textContent = job.state === 'paused' ? 'Resume' : 'Pause';
  setBanner($('.job-error', card), job.error);
  showFiles(job);
  // The button that had the focus may be gone now; the keyboard stays with this export.
  if (hadFocus && !card.contains(document.activeElement)) card.focus();
  else if (hadFocus && isFinal && document.activeElement?.closest('.job-actions')) card.focus();
  const running = [...jobs.values()].filter((other) => !FINAL_STATES.has(other.state)).length;
  $('#exports-count').textContent = running ? `${running} running` : '';
  document.title = running === 1 && !isFinal ? `${Math.floor(job.progress)} % – Export` : 'Export – Spandrel';
}

/** @param {Job} job @returns {string[]} */
function statsOf(job) {
  const bytes = job.files.reduce((sum, file) => sum + file.bytes, 0);
  switch (job.state) {
    case 'completed': {
      const took = job.elapsedMs >= 0 ? [`took ${duration(job.elapsedMs / 1000)}`] : [];
      return [plural(job.processedRows, 'row'), plural(job.files.length, 'file'), size(bytes), ...took];
    }
    case 'failed':
    case 'cancelled':
      return [`stopped at ${plural(job.processedRows, 'row')}; its files were deleted`];
    case 'expired':
      return [plural(job.processedRows, 'row'), 'its files were deleted'];
    default: {
      const bound = job.totalRowsExact ? '' : 'at most ';
      const stats = ['%', `${count(job.processedRows)} of ${bound}${plural(job.totalRows, 'row')}`];
      if (job.state === 'generating' && job.speed > 0) stats.push(`${count(job.speed)} rows/s`);
      if (job.state === 'generating' && job.remaining >= 0) stats.push(`${duration(job.remaining)} left`);
      if (job.state === 'pending') stats.push('waiting for a free place');
      if (!client.ready) stats.push('as last heard');
      return stats;
    }
  }
}

/** Rebuilds the list of files only when it is another one, so that focus and selection stay. @param {Job} job */
function showFiles(job) {
  const list = $('.files', job.card);
  const files = job.state === 'expired' ? [] : job.files;
  const shown = job.isOpen ? files : files.slice(0, FILES_SHOWN);
  const key = shown.map((file) => `${file.index} ${file.sha256} ${file.url}`).join('\n');
  if (key !== job.filesShown) {
    job.filesShown = key;
    list.replaceChildren(...shown.map((file) => fileRow(job, file)));
  }
  list.hidden = shown.length === 0;
  const more = $('.job-more', job.card);
  more.hidden = shown.length === files.length;
  more.textContent = `Show all ${count(files.length)} files`;
}
/** @param {Job} job @param {FinishedFile} file */
function fileRow(job, file) {
  const row = stamp('file-template');
  const link = /** @type {HTMLAnchorElement} */ ($('.file-name', row));
  link.textContent = file.fileName;
  const url = http.fileUrl(file);
  if (url) link.href = url;
  link.download = file.fileName;
  link.addEventListener('click', (event) => {
    if (client.serverNow() < file.urlExpiresAt - URL_SPARE_MS) return;
    event.preventDefault();
    openFresh(job, file.index);
  });
  $('.file-facts', row).textContent = `${size(file.bytes)} · ${plural(file.rows, 'row')}`;
  $('code', row).textContent = file.sha256;
  $('code', row).title = file.sha256;
  const copy = $('.copy', row);
  copy.setAttribute('aria-label', `Copy the SHA-256 of ${file.fileName}`);
  copy.addEventListener('click', () => copyText(file.sha256, copy, $('code', row)));
  return row;
}
/** Signed addresses live for minutes, a page for days: asks for a new one and loads that. @param {Job} job @param {number} index */
async function openFresh(job, index) {
  try {
    await client.status({ downloadId: job.id }); // its `status` event has put the new addresses into the list
    const at = job.files.findIndex((file) => file.index === index);
    const file = job.files[at];
    const url = file && http.fileUrl(file);
    if (!url) return;
    const link = document.createElement('a');
    link.href = url;
    link.download = file.fileName;
    link.click();
    /** @type {HTMLElement | undefined} */ (job.card.querySelectorAll('.file-name')[at])?.focus();
  } catch (error) {
    setBanner($('.job-error', job.card), humanError(error));
  }
}
/** @param {string} text @param {HTMLElement} button @param {HTMLElement} shown */
async function copyText(text, button, shown) {
  try {
    await navigator.clipboard.writeText(text);
    button.classList.add('done');
    announce('SHA-256 copied');
    setTimeout(() => button.classList.remove('done'), 1500);
  } catch {
    // No clipboard on plain http: select the text, so that Ctrl+C copies it.
    getSelection()?.selectAllChildren(shown);
    announce('Press Ctrl+C to copy the selected SHA-256');
  }
}

/** @param {Job} job @param {string} state */
function setState(job, state) {
  if (FINAL_STATES.has(job.state) && !FINAL_STATES.has(state)) return; // a late word about an ended job
  job.state = state;
}
/** @param {DownloadStatus} status */
function takeStatus(status) {
  const job = jobOf(status.downloadId, status.createdAt);
  setState(job, status.state);
  const { progress, processedRows, totalRows, totalRowsExact, restarts } = status;
  Object.assign(job, { progress, processedRows, totalRows, totalRowsExact, restarts });
  if (status.files.length > 0 || FINAL_STATES.has(status.state)) job.files = status.files;
  if (status.expiresAt) job.expiresAt = status.expiresAt;
  if (status.error && status.state === 'failed') job.error = humanError(new DownloadError(status.error));
  showJob(job);
  return job;
}

/** Asks for the finished files of a running job with several, at most every few seconds. @param {Job} job */
function askForFiles(job) {
  const now = performance.now();
  if (job.fileNames.length < 2 || now - job.filesAskedAt < FILES_EVERY_MS) return;
  job.filesAskedAt = now;
  client.status({ downloadId: job.id }).catch(() => {}); // the next one may work
}

export async function loadJobs() {
  const asked = http;
  try {
    const { downloads, nextCursor } = await asked.list({ limit: JOBS_PER_PAGE });
    if (asked !== http) return; // a late answer, to whoever was here before
    setBanner($('#exports-error'), '');
    // A newest page without anything that is shown leaves a gap, which "older" fills.
    if (!isListed || !downloads.some(({ downloadId }) => jobs.has(downloadId))) setOlder(nextCursor);
    isListed = true;
    downloads.forEach(follow);
  } catch (error) {
    if (asked === http) showListError(error);
  }
}
/** @param {unknown} error */
function showListError(error) {
  if (isAuthError(error)) askToSignIn(humanError(error));
  else setBanner($('#exports-error'), humanError(error));
}
/** Shows a job of the list and attaches to it while it runs. @param {DownloadStatus} status */
function follow(status) {
  takeStatus(status);
  if (FINAL_STATES.has(status.state) || client.followed.has(status.downloadId)) return;
  client.attach(status.downloadId).catch(() => {}); // it ended in between, and the next list says how
}
/** @param {string | undefined} cursor */
function setOlder(cursor) {
  olderCursor = cursor;
  $('#older').hidden = !cursor;
}
export async function loadOlder() {
  const asked = http;
  try {
    const { downloads, nextCursor } = await asked.list({ cursor: olderCursor, limit: JOBS_PER_PAGE });
    if (asked !== http) return;
    downloads.forEach(follow);
    setOlder(nextCursor);
  } catch (error) {
    if (asked === http) showListError(error);
  }
}

onOther(() => {
  jobs.clear();
  $('#jobs').replaceChildren();
  setOlder(undefined);
  isListed = false;
  setBanner($('#exports-error'), '');
  $('#exports-count').textContent = '';
  document.title = 'Export – Spandrel';
});

/** Brings a card into view. @param {string} id */
export function showCard(id) {
  jobs.get(id)?.card.scrollIntoView({ block: 'nearest' });
}

/** The connection came or went: what is known of running jobs is fresh, or only what was last heard. */
export function showFreshness() {
  for (const job of jobs.values()) {
    if (FINAL_STATES.has(job.state)) continue;
    if (!client.ready) Object.assign(job, { speed: 0, remaining: -1 }); // nobody knows them now
    showJob(job);
  }
}

on('start', (data) => {
  const job = jobOf(data.downloadId, data.createdAt);
  setState(job, data.state);
  job.totalRows = data.totalRows;
  job.totalRowsExact = data.totalRowsExact;
  job.fileNames = data.files.map((/** @type {{ fileName: string }} */ file) => file.fileName);
  job.format = [data.outputFormat.toUpperCase(), data.codec].filter(Boolean).join(', ');
  showJob(job);
});
on('progress', (update) => {
  const job = jobs.get(update.downloadId);
  if (!job) return;
  setState(job, update.state);
  job.progress = update.progress;
  job.processedRows = update.processedRows;
  job.totalRows = update.totalRows;
  job.speed = update.speed;
  job.remaining = update.estimatedTimeRemaining;
  job.bytes = update.bytesWritten;
  job.restarts = update.restarts;
  showJob(job);
  askForFiles(job);
  const quarter = Math.floor(update.progress / 25);
  if (quarter > job.saidQuarter && quarter < 4) announce(`${titleOf(job)}: ${quarter * 25} percent`);
  job.saidQuarter = quarter;
});
on('status', ({ activeDownloads }) => {
  for (const status of Object.values(activeDownloads)) takeStatus(status);
});
on('complete', (data) => {
  const job = jobs.get(data.downloadId);
  if (!job) return;
  Object.assign(job, { state: 'completed', progress: 100, files: data.files, elapsedMs: data.elapsedMs, expiresAt: data.expiresAt });
  job.totalRows = data.totalRows;
  job.processedRows = data.totalRows;
  job.error = '';
  showJob(job);
  announce(`${titleOf(job)}: done, ${plural(data.files.length, 'file')}`);
});
on('failed', (data) => {
  const job = jobs.get(data.downloadId);
  if (!job) return;
  job.files = [];
  job.state = { CANCELLED: 'cancelled', EXPIRED: 'expired' }[String(data.code)] ?? 'failed';
  job.error = job.state === 'failed' ? humanError(new DownloadError(data)) : '';
  showJob(job);
  if (job.state === 'failed') announce(`${titleOf(job)}: failed. ${job.error}`);
});
