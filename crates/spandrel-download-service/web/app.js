// @ts-check
/**
 * The page of the download server: a form, a preview of what it asks for, and the exports with their progress.
 *
 * What it knows comes from four places: the WebSocket (`client.js`), `GET /v1/datasets`, `POST /v1/preview` and
 * `GET /v1/downloads`. It keeps nothing of its own, so a reload or a restarted server loses nothing.
 * `form.js` and `exports.js` are the two halves, `text.js` serves both; `session.js` knows who is there and `signin.js`
 * asks. Here they meet the connection and the keyboard.
 */
import { DownloadError, newRequestId } from './client.js';
import { loadJobs, loadOlder, showCard, showFreshness } from './exports.js';
import { addFilter, changed, chooseDataset, form, hasDataset, loadDatasets, problemOf, readForm, searchColumns, setColumns, showProblems } from './form.js';
import { client, credentials, isAuthError, on } from './session.js';
import { askToSignIn, begin } from './signin.js';
import { $, announce, duration, plural, setBanner } from './text.js';

/** How long after giving up the page tries again by itself. */
const RETRY_MS = 30000;

/** After these nobody knows whether the request arrived: the answer, or the proof of who gave it, is what went wrong. */
const UNSURE = new Set(['NETWORK_ERROR', 'TIMEOUT', 'AUTH_INVALID', 'INVALID_RESPONSE']);

/** A request of which nobody said whether it arrived. @type {{ text: string, requestId: string } | undefined} */
let unanswered;

/** @param {Event} event */
async function start(event) {
  event.preventDefault();
  const button = /** @type {HTMLButtonElement} */ ($('#start'));
  if (!hasDataset() || button.getAttribute('aria-busy') === 'true') return;
  const { request, problems } = readForm();
  showProblems(problems);
  if (problems.length > 0) {
    /** @type {HTMLElement | null} */ (form.querySelector('[aria-invalid]'))?.focus();
    return;
  }
  button.setAttribute('aria-busy', 'true');
  button.textContent = client.ready ? 'Starting …' : 'Waiting for the server …';
  setBanner($('#form-error'), '');
  const text = JSON.stringify([credentials?.keyId, request]);
  // The same request of the same key under its old id makes no second export, should the first have arrived.
  const requestId = unanswered?.text === text ? unanswered.requestId : newRequestId();
  unanswered = undefined;
  try {
    const started = await client.request(request, requestId);
    announce(`Export started, ${plural(started.totalRows, 'row')}`);
    showCard(started.downloadId);
  } catch (error) {
    if (error instanceof DownloadError && UNSURE.has(error.code)) unanswered = { text, requestId };
    const homeless = showProblems([problemOf(error)]);
    setBanner($('#form-error'), homeless[0]?.message ?? '');
    /** @type {HTMLElement | null} */ (form.querySelector('[aria-invalid]'))?.focus();
  } finally {
    button.removeAttribute('aria-busy');
    button.textContent = 'Start export';
  }
}

/** @param {import('./client.js').ConnectionState} connection */
function showConnection({ state, attempt, delayMs }) {
  // While it tries, the words of the last wait stay: a flicker helps nobody.
  if (state === 'connecting' && attempt > 0) return;
  $('#connection').dataset.state = state;
  const text = $('#connection-text');
  $('#reconnect').hidden = state !== 'failed' && state !== 'waiting';
  if (state === 'waiting') text.textContent = `Connection lost, attempt ${attempt} of ${client.maxReconnectAttempts} in ${duration(Math.ceil(delayMs / 1000))}`;
  else text.textContent = { open: 'Connected', connecting: 'Connecting', failed: 'No connection', closed: 'Closed' }[state];
  $('#sign-out').hidden = credentials === undefined;
  if (credentials && state === 'open') text.textContent = `Signed in as ${credentials.keyId}${credentials.seals ? ', sealed' : ''}`;
}

on('connection', (connection) => {
  showConnection(connection);
  showFreshness();
});
on('connection:failed', ({ code, reason }) => {
  if (reason) $('#connection-text').textContent = `No connection: ${reason}`;
  // A policy or version refusal does not heal by itself, anything else may: exports go on without us meanwhile.
  if (![0, 4400, 4401, 4406, 1008].includes(code)) setTimeout(reconnect, RETRY_MS);
});
on('hello', ({ features }) => {
  if (Array.isArray(features)) $('#codec-zstd').hidden = !features.includes('codec:zstd');
  loadJobs();
  if (!hasDataset()) load();
  else if (!$('#preview-error').hidden) changed();
});

function load() {
  return loadDatasets().catch((error) => { if (isAuthError(error)) askToSignIn(); });
}
function reconnect() {
  // Not behind the sign-in form: without the right key it cannot succeed.
  if (document.body.dataset.view === '') client.connect();
}

form.addEventListener('submit', start);
form.addEventListener('input', (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.id === 'columns-search') searchColumns();
  else if (target.id === 'dataset') chooseDataset();
  else changed();
});
form.addEventListener('keydown', (event) => {
  // Enter in a search must not start an export.
  if (event.key === 'Enter' && /** @type {HTMLElement} */ (event.target).id === 'columns-search') event.preventDefault();
});
$('#columns-all').addEventListener('click', () => setColumns(true));
$('#columns-none').addEventListener('click', () => setColumns(false));
$('#add-filter').addEventListener('click', addFilter);
$('#older').addEventListener('click', loadOlder);
$('#reconnect').addEventListener('click', reconnect);
window.addEventListener('online', reconnect);
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState !== 'visible') return;
  reconnect();
  if (client.ready) loadJobs();
});

begin(loadDatasets);
