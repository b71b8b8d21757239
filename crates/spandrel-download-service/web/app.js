// @ts-check
/**
 * The page of the download server: a form, a preview of what it asks for, and the exports with their progress.
 *
 * What it knows comes from four places: the WebSocket (`client.js`), `GET /v1/datasets`, `POST /v1/preview` and
 * `GET /v1/downloads`. It keeps nothing of its own, so a reload or a restarted server loses nothing.
 * Everything that came from outside goes into the page as text, never as markup.
 */
import { DownloadClient, DownloadError, listDatasets, listDownloads, newRequestId, preview } from './client.js';

/** @typedef {import('./client.js').Column} Column */
/** @typedef {import('./client.js').Dataset} Dataset */
/** @typedef {import('./client.js').DownloadRequest} DownloadRequest */
/** @typedef {import('./client.js').DownloadStatus} DownloadStatus */
/** @typedef {import('./client.js').FinishedFile} FinishedFile */
/** @typedef {{ path: string, message: string }} Problem */

const PREVIEW_ROWS = 20;
const PREVIEW_DELAY_MS = 300;
const JOBS_PER_PAGE = 20;
/** A job may have a thousand files; more are shown when asked for. */
const FILES_SHOWN = 5;
/** How often the list of finished files of a running job is asked for. */
const FILES_EVERY_MS = 3000;
/** How long after giving up the page tries again by itself. */
const RETRY_MS = 30000;

const FINAL_STATES = new Set(['completed', 'failed', 'cancelled', 'expired']);
const STATE_NAMES = {
  pending: 'Waiting', generating: 'Running', paused: 'Paused', completed: 'Done',
  failed: 'Failed', cancelled: 'Cancelled', expired: 'Expired',
};
/** Kinder words for refusals whose own message is about the protocol; the others are shown as they come. */
const HUMAN = {
  NETWORK_ERROR: 'The server cannot be reached. Your settings are kept; try again in a moment.',
  AUTH_REQUIRED: 'This server asks for credentials, which this page cannot give. Use a client with a key or a token.',
  OVERLOADED: 'The server is busy. Try again in a moment.',
  SHUTTING_DOWN: 'The server is restarting. Try again in a moment.',
};

/** @template {HTMLElement} T @param {string} selector @param {ParentNode} [root] @returns {T} */
function $(selector, root = document) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (found);
}
/** @param {string} id @returns {HTMLInputElement} */
const input = (id) => $(`#${id}`);
/** @param {string} id @returns {HTMLSelectElement} */
const select = (id) => $(`#${id}`);

/** A new element with text. @param {string} tag @param {string} [text] @param {string} [className] */
function element(tag, text = '', className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
/** A copy of a template's one element. @param {string} id @returns {HTMLElement} */
const stamp = (id) => /** @type {any} */ ($(`#${id}`)).content.firstElementChild.cloneNode(true);

/** Shows a banner with text, or hides it. @param {HTMLElement} banner @param {string} text */
function setBanner(banner, text) {
  banner.textContent = text;
  banner.hidden = !text;
}
/** @param {string} text */
function announce(text) {
  $('#announce').textContent = text;
}

// ---------------------------------------------------------------------------------------------------- words and numbers

const numbers = new Intl.NumberFormat('en-US');
const count = (/** @type {number} */ n) => numbers.format(Math.round(n));
/** @param {number} n @param {string} noun */
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** @param {number} bytes */
function size(bytes) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let value = bytes;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}
/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const dayAndClock = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
/** A moment in the reader's own zone. @param {number} ms */
const moment = (ms) => (new Date(ms).toDateString() === new Date().toDateString() ? clock : dayAndClock).format(ms);
/** What a `datetime-local` input holds for an instant. @param {number} ms */
const inputTime = (ms) => new Date(ms).toISOString().slice(0, 19);
/** The other way; the inputs are read as UTC. @param {string} value */
const wireTime = (value) => `${value.length === 16 ? `${value}:00` : value}Z`;

/** @param {unknown} error */
function humanError(error) {
  if (!(error instanceof DownloadError)) return 'Something went wrong in this page. Reload it.';
  const known = HUMAN[/** @type {keyof typeof HUMAN} */ (error.code)];
  return known ?? sentence(error.message);
}
/** A message as a sentence; a name at its start stays as it is spelt. @param {string} message */
function sentence(message) {
  const isWord = /^[a-z]+[ ,]/.test(message);
  return `${isWord ? message.charAt(0).toUpperCase() : message.charAt(0)}${message.slice(1)}${/[.!?]$/.test(message) ? '' : '.'}`;
}

// ------------------------------------------------------------------------------------------------------------- the form

/** @type {Dataset[]} */
let datasets = [];
/** @type {Dataset | undefined} */
let dataset;
const form = $('#form');

const OPERATORS = {
  eq: { string: 'is', timestamp: 'is', bool: 'is', number: '=' },
  ne: { string: 'is not', timestamp: 'is not', bool: 'is not', number: '≠' },
  contains: { string: 'contains' },
  startsWith: { string: 'starts with' },
  in: { string: 'is one of', number: 'is one of' },
  lt: { number: '<', timestamp: 'before', string: 'sorts before' },
  lte: { number: '≤', timestamp: 'at or before' },
  gt: { number: '>', timestamp: 'after', string: 'sorts after' },
  gte: { number: '≥', timestamp: 'at or after' },
  between: { number: 'between', timestamp: 'between', string: 'between' },
  exists: { string: 'has a value', number: 'has a value', timestamp: 'has a value', bool: 'has a value' },
  missing: { string: 'has no value', number: 'has no value', timestamp: 'has no value', bool: 'has no value' },
};
/** @param {Column} column @returns {'string' | 'number' | 'timestamp' | 'bool'} */
function kind(column) {
  if (column.type === 'string' || column.type === 'timestamp' || column.type === 'bool') return column.type;
  return 'number';
}

/** @param {HTMLSelectElement} target @param {[string, string][]} options value and text */
function fillSelect(target, options) {
  target.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
}

function showDatasets() {
  fillSelect(select('dataset'), datasets.map((set) => [set.name, set.name]));
  const first = datasets.find((set) => set.default) ?? datasets[0];
  if (first) select('dataset').value = first.name;
  chooseDataset();
}

function chooseDataset() {
  dataset = datasets.find((set) => set.name === select('dataset').value);
  if (!dataset) {
    $('#dataset-hint').textContent = 'This server has no data set to offer.';
    return;
  }
  const { rows, columns, timeMin, timeMax, timeColumn } = dataset;
  const range = timeMin && timeMax ? `, ${timeMin.slice(0, 10)} to ${timeMax.slice(0, 10)}` : '';
  $('#dataset-hint').textContent = `${plural(rows, 'row')} by ${timeColumn}${range}`;
  $('#filters').replaceChildren();
  showQuickRanges();
  showColumns(columns);
  /** @type {[string, string][]} */
  const fields = columns.map((column) => [column.name, column.name]);
  fillSelect(select('sort-field'), [['', `${timeColumn} (default)`], ...fields]);
  changed();
}

/** The ends of the data set in whole seconds, the finest an input offers here; the end is one past the last row. */
function bounds() {
  const min = Date.parse(dataset?.timeMin ?? '1970-01-01T00:00:00Z');
  const max = Date.parse(dataset?.timeMax ?? '1970-01-02T00:00:00Z');
  return { from: Math.floor(min / 1000) * 1000, to: Math.floor(max / 1000) * 1000 + 1000 };
}

function quickRanges() {
  const { from, to } = bounds();
  const day = 86400000;
  const last = (/** @type {number} */ days) => Math.max(from, to - days * day);
  return [
    { name: 'All', from, to },
    { name: 'First day', from, to: Math.min(to, from + day) },
    { name: 'Last day', from: last(1), to },
    { name: 'Last 7 days', from: last(7), to },
    { name: 'Last 30 days', from: last(30), to },
  ];
}

function showQuickRanges() {
  const buttons = quickRanges().map((range) => {
    const button = /** @type {HTMLButtonElement} */ (element('button', range.name));
    button.type = 'button';
    button.addEventListener('click', () => {
      setRange(range);
      changed();
    });
    return button;
  });
  $('#quick-ranges').replaceChildren(...buttons);
  setRange(bounds());
}
/** @param {{ from: number, to: number }} range */
function setRange({ from, to }) {
  input('time-from').value = inputTime(from);
  input('time-to').value = inputTime(to);
}
function markQuickRange() {
  const [from, to] = [input('time-from').value, input('time-to').value].map((value) => (value ? Date.parse(wireTime(value)) : NaN));
  let isFound = false;
  quickRanges().forEach((range, at) => {
    const isOn = !isFound && range.from === from && range.to === to;
    isFound ||= isOn;
    $('#quick-ranges').children[at]?.setAttribute('aria-pressed', String(isOn));
  });
}

/** @param {Column[]} columns */
function showColumns(columns) {
  const boxes = columns.map((column) => {
    const label = element('label', '', 'check');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.checked = true;
    box.value = column.name;
    const name = element('span', column.name, 'name');
    name.title = column.name;
    label.append(box, name, element('span', column.type, 'type'));
    return label;
  });
  $('#columns').replaceChildren(...boxes);
  input('columns-search').value = '';
  input('columns-search').hidden = columns.length <= 12;
}
const columnBoxes = () => [.../** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('#columns input'))];

function searchColumns() {
  const wanted = input('columns-search').value.trim().toLowerCase();
  for (const box of columnBoxes()) {
    box.parentElement?.toggleAttribute('hidden', !box.value.toLowerCase().includes(wanted));
  }
}
/** Checks or clears what the search shows. @param {boolean} isOn */
function setColumns(isOn) {
  for (const box of columnBoxes()) {
    if (!box.parentElement?.hidden) box.checked = isOn;
  }
  changed();
}

// ---------------------------------------------------------------------------------------------------------- the filters

function addFilter() {
  if (!dataset) return;
  const row = stamp('filter-template');
  const field = /** @type {HTMLSelectElement} */ ($('.filter-field', row));
  fillSelect(field, dataset.columns.map((column) => [column.name, column.name]));
  field.addEventListener('change', () => showOperators(row));
  $('.filter-op', row).addEventListener('change', () => showValues(row));
  $('.filter-remove', row).addEventListener('click', () => {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    numberFilters();
    /** @type {HTMLElement} */ (next?.querySelector('.filter-field') ?? $('#add-filter')).focus();
    changed();
  });
  $('#filters').append(row);
  numberFilters();
  showOperators(row);
  field.focus();
  changed();
}
function numberFilters() {
  [...$('#filters').children].forEach((row, at) => {
    row.setAttribute('aria-label', `Filter ${at + 1}`);
    /** @type {HTMLElement} */ (row).dataset.path = `/searchParams/filters/${at}`;
  });
}
/** @param {HTMLElement} row */
const filterColumn = (row) => /** @type {Column} */ (dataset?.columns.find((column) => column.name === /** @type {HTMLSelectElement} */ ($('.filter-field', row)).value));

/** @param {HTMLElement} row */
function showOperators(row) {
  const of = kind(filterColumn(row));
  /** @type {[string, string][]} */
  const options = [];
  for (const [op, names] of Object.entries(OPERATORS)) {
    const name = /** @type {Record<string, string>} */ (names)[of];
    if (name) options.push([op, name]);
  }
  fillSelect(/** @type {HTMLSelectElement} */ ($('.filter-op', row)), options);
  showValues(row);
}
/** @param {HTMLElement} row */
function showValues(row) {
  const column = filterColumn(row);
  const op = /** @type {HTMLSelectElement} */ ($('.filter-op', row)).value;
  const values = $('.filter-values', row);
  const labels = { between: ['From', 'To'], exists: [], missing: [] }[op] ?? ['Value'];
  values.replaceChildren(...labels.map((label) => valueInput(column, op, label)));
  row.classList.toggle('wide', op === 'between' || kind(column) === 'timestamp');
  changed();
}
/** @param {Column} column @param {string} op @param {string} label @returns {HTMLElement} */
function valueInput(column, op, label) {
  const name = `${label} for ${column.name}`;
  if (column.type === 'bool') {
    const choice = document.createElement('select');
    choice.setAttribute('aria-label', name);
    fillSelect(choice, [['true', 'true'], ['false', 'false']]);
    return choice;
  }
  const field = document.createElement('input');
  field.setAttribute('aria-label', name);
  field.autocomplete = 'off';
  if (column.type === 'timestamp') {
    field.type = 'datetime-local';
    field.step = '1';
  } else {
    field.type = 'text';
    if (kind(column) === 'number') field.inputMode = 'decimal';
    field.placeholder = op === 'in' ? 'a, b, c' : label === 'Value' ? 'value' : label.toLowerCase();
  }
  return field;
}

/** One filter as the protocol wants it. @param {HTMLElement} row @param {Problem[]} problems */
function readFilter(row, problems) {
  const column = filterColumn(row);
  const op = /** @type {HTMLSelectElement} */ ($('.filter-op', row)).value;
  const path = String(row.dataset.path);
  if (op === 'exists' || op === 'missing') return { field: column.name, op: 'exists', value: op === 'exists' };
  const texts = [...$('.filter-values', row).children].map((field) => /** @type {HTMLInputElement} */ (field).value);
  const given = op === 'in' ? String(texts[0]).split(',').map((text) => text.trim()).filter(Boolean) : texts;
  const values = given.map((text) => filterValue(column, text));
  if (values.length === 0 || values.includes(undefined)) {
    problems.push({ path, message: wantedValue(column, given) });
  }
  return { field: column.name, op, value: op === 'in' || op === 'between' ? values : values[0] };
}
/** @param {Column} column @param {string} text @returns {unknown} undefined when it is no value of that type */
function filterValue(column, text) {
  const trimmed = text.trim();
  switch (column.type) {
    case 'string': return text; // an empty string is a value too
    case 'bool': return text === 'true';
    case 'timestamp': return text ? wireTime(text) : undefined;
    // As text, because a JavaScript number holds neither every integer nor every decimal.
    case 'int': return /^[+-]?\d{1,19}$/.test(trimmed) ? String(BigInt(trimmed.replace('+', ''))) : undefined;
    case 'decimal': return /^-?\d+(\.\d+)?$/.test(trimmed) ? trimmed : undefined;
    default: return trimmed !== '' && Number.isFinite(Number(trimmed)) ? Number(trimmed) : undefined;
  }
}
/** @param {Column} column @param {string[]} given */
function wantedValue(column, given) {
  const what = { int: 'a whole number', decimal: 'a decimal such as 12.50', timestamp: 'a date and time', string: 'at least one value' };
  const wanted = what[/** @type {keyof typeof what} */ (column.type)] ?? 'a number';
  return given.every((text) => text.trim() === '') ? `Give ${wanted} for ${column.name}.` : `${column.name} takes ${wanted}.`;
}

// ---------------------------------------------------------------------------------------------------------- the request

/** @param {string} name */
const radio = (name) => /** @type {HTMLInputElement} */ ($(`input[name="${name}"]:checked`)).value;

/** A positive whole number, or nothing. @param {string} id @param {string} path @param {Problem[]} problems */
function wholeNumber(id, path, problems) {
  const text = input(id).value.replace(/[\s,_]/g, '');
  if (text === '') return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value;
  problems.push({ path, message: 'Give a whole number from 1, or leave it empty.' });
  return undefined;
}

/** What the form asks for, and what is wrong with it. @returns {{ request: DownloadRequest, problems: Problem[] }} */
function readForm() {
  /** @type {Problem[]} */
  const problems = [];
  const [from, to] = [input('time-from').value, input('time-to').value];
  if (!from) problems.push({ path: '/searchParams/timeFrom', message: 'Give the start of the range.' });
  if (!to) problems.push({ path: '/searchParams/timeTo', message: 'Give the end of the range.' });
  if (from && to && wireTime(from) >= wireTime(to)) {
    problems.push({ path: '/searchParams/timeTo', message: 'The end must be after the start.' });
  }
  const chosen = columnBoxes().filter((box) => box.checked).map((box) => box.value);
  if (chosen.length === 0) problems.push({ path: '/searchParams/columns', message: 'Choose at least one column.' });
  const filters = [...$('#filters').children].map((row) => readFilter(/** @type {HTMLElement} */ (row), problems));
  const format = radio('format');
  const codec = radio('codec');

  /** @type {DownloadRequest} */
  const request = {
    searchParams: { timeFrom: wireTime(from), timeTo: wireTime(to), filters, dataset: dataset?.name },
    outputFormat: format,
    compression: codec !== 'none',
    options: {},
  };
  const { searchParams, options = {} } = request;
  if (chosen.length !== columnBoxes().length) searchParams.columns = chosen;
  const [field, order] = [select('sort-field').value, select('sort-order').value];
  if (field) searchParams.sort = [{ field, order: order === 'desc' ? 'desc' : 'asc' }];
  else if (order === 'desc' && dataset) searchParams.sort = [{ field: dataset.timeColumn, order: 'desc' }];
  searchParams.limit = wholeNumber('limit', '/searchParams/limit', problems);
  if (request.compression) options.codec = codec;
  options.maxRowsPerFile = wholeNumber('rows-per-file', '/options/maxRowsPerFile', problems);
  options.maxRowsPerSecond = wholeNumber('rows-per-second', '/options/maxRowsPerSecond', problems);
  options.timeZone = input('time-zone').value.trim() || undefined;
  if (format === 'csv') {
    options.csv = {
      formulaGuard: input('formula-guard').checked,
      delimiter: select('delimiter').value,
      header: input('csv-header').checked,
      bom: input('csv-bom').checked,
    };
  }
  return { request, problems };
}

/** Shows each problem beside the field it is about. @param {Problem[]} problems @returns {Problem[]} those without a field */
function showProblems(problems) {
  for (const old of form.querySelectorAll('.field-error')) old.remove();
  for (const field of form.querySelectorAll('[aria-invalid]')) {
    field.removeAttribute('aria-invalid');
    field.removeAttribute('aria-errormessage');
  }
  const places = [.../** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll('[data-path]'))];
  return problems.filter(({ path, message }, at) => {
    const fits = (/** @type {HTMLElement} */ place) => path === place.dataset.path || path.startsWith(`${place.dataset.path}/`);
    const place = places.find(fits);
    if (!place) return true;
    const note = element('p', message, 'field-error');
    note.id = `problem-${at}`;
    place.append(note);
    const controls = place.querySelectorAll('input, select');
    const control = place.classList.contains('filter') ? (place.querySelector('.filter-values > *') ?? controls[0]) : controls[0];
    control?.setAttribute('aria-invalid', 'true');
    control?.setAttribute('aria-errormessage', note.id);
    const details = place.closest('details');
    if (details) details.open = true;
    return false;
  });
}
/** What a refusal says, as problems of fields. @param {unknown} error @returns {Problem} */
function problemOf(error) {
  let path = error instanceof DownloadError && typeof error.details?.path === 'string' ? error.details.path : '';
  if (!path && error instanceof DownloadError && error.code === 'INVALID_TIME_RANGE') path = '/searchParams/timeTo';
  return { path, message: humanError(error) };
}

// ---------------------------------------------------------------------------------------------------------- the preview

/** @type {number | undefined} */
let previewTimer;
/** @type {AbortController | undefined} */
let previewCall;

/** Something in the form is different now. */
function changed() {
  markQuickRange();
  form.classList.toggle('no-csv', radio('format') !== 'csv');
  const boxes = columnBoxes();
  const chosen = boxes.filter((box) => box.checked).length;
  $('#columns-count').textContent = chosen === boxes.length ? `all ${boxes.length}` : `${chosen} of ${boxes.length}`;
  setBanner($('#form-error'), '');
  $('#preview-frame').setAttribute('aria-busy', 'true');
  clearTimeout(previewTimer);
  previewTimer = window.setTimeout(runPreview, PREVIEW_DELAY_MS);
}

async function runPreview() {
  if (!dataset) return;
  previewCall?.abort();
  const call = new AbortController();
  previewCall = call;
  const { request, problems } = readForm();
  showProblems(problems);
  if (problems.length > 0) {
    showPreview(undefined, request);
    setBanner($('#preview-error'), '');
    return;
  }
  try {
    const shown = await preview(request, PREVIEW_ROWS, call.signal);
    if (call.signal.aborted) return;
    setBanner($('#preview-error'), '');
    showPreview(shown, request);
  } catch (error) {
    if (call.signal.aborted) return;
    const homeless = showProblems([problemOf(error)]);
    setBanner($('#preview-error'), homeless[0]?.message ?? '');
    showPreview(undefined, request);
  }
}

/** @param {import('./client.js').Preview | undefined} shown @param {DownloadRequest} request */
function showPreview(shown, request) {
  const frame = $('#preview-frame');
  frame.setAttribute('aria-busy', 'false');
  const note = $('#preview-count');
  const summary = $('#summary');
  if (!shown) {
    note.textContent = '';
    summary.textContent = 'Correct the marked fields to see what will be exported.';
    if (!$('#preview-error').hidden) summary.textContent = '';
    frame.classList.add('stale');
    return;
  }
  frame.classList.remove('stale');
  const columns = shown.columns.map((name) => dataset?.columns.find((column) => column.name === name) ?? { name, type: '' });
  const isNumber = columns.map((column) => ['int', 'float', 'decimal'].includes(column.type));
  const heads = columns.map((column, at) => {
    const head = element('th', column.name, isNumber[at] ? 'number' : '');
    /** @type {HTMLTableCellElement} */ (head).scope = 'col';
    head.append(element('small', column.type));
    return head;
  });
  $('#preview thead tr').replaceChildren(...heads);
  const rows = shown.rows.map((cells) => {
    const row = document.createElement('tr');
    row.append(...cells.map((cell, at) => {
      if (cell === null) return element('td', 'null', isNumber[at] ? 'null number' : 'null');
      const made = element('td', cell, isNumber[at] ? 'number' : '');
      if (cell.length > 40) made.title = cell;
      return made;
    }));
    return row;
  });
  $('#preview tbody').replaceChildren(...rows);
  $('#preview-empty').hidden = rows.length > 0;

  const limit = request.searchParams.limit;
  const total = limit ? Math.min(limit, shown.totalRows) : shown.totalRows;
  const bound = shown.totalRowsExact ? '' : 'at most ';
  const first = rows.length < total ? `First ${rows.length} of ${bound}` : bound;
  note.replaceChildren(first, element('b', count(total)), total === 1 ? ' row' : ' rows');
  const codec = request.compression ? `, ${request.options?.codec}` : '';
  summary.replaceChildren(bound, element('b', plural(total, 'row')), `, ${plural(columns.length, 'column')}, ${request.outputFormat.toUpperCase()}${codec}`);
}

// ---------------------------------------------------------------------------------------------------------- the exports

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
const client = new DownloadClient();
/** @type {string | undefined} */
let olderCursor;

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
    list.replaceChildren(...shown.map(fileRow));
  }
  list.hidden = shown.length === 0;
  const more = $('.job-more', job.card);
  more.hidden = shown.length === files.length;
  more.textContent = `Show all ${count(files.length)} files`;
}
/** @param {FinishedFile} file */
function fileRow(file) {
  const row = stamp('file-template');
  const link = /** @type {HTMLAnchorElement} */ ($('.file-name', row));
  link.textContent = file.fileName;
  // Only where the server itself serves files: an address of another scheme would run, not load.
  const url = new URL(file.url, location.href);
  if (url.protocol === 'http:' || url.protocol === 'https:') link.href = url.href;
  link.download = file.fileName;
  $('.file-facts', row).textContent = `${size(file.bytes)} · ${plural(file.rows, 'row')}`;
  $('code', row).textContent = file.sha256;
  $('code', row).title = file.sha256;
  const copy = $('.copy', row);
  copy.setAttribute('aria-label', `Copy the SHA-256 of ${file.fileName}`);
  copy.addEventListener('click', () => copyText(file.sha256, copy, $('code', row)));
  return row;
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

async function loadJobs() {
  try {
    const { downloads, nextCursor } = await listDownloads({ limit: JOBS_PER_PAGE });
    setBanner($('#exports-error'), '');
    if (jobs.size === 0 || olderCursor === undefined) setOlder(nextCursor);
    downloads.forEach(follow);
  } catch (error) {
    setBanner($('#exports-error'), humanError(error));
  }
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
async function loadOlder() {
  try {
    const { downloads, nextCursor } = await listDownloads({ cursor: olderCursor, limit: JOBS_PER_PAGE });
    downloads.forEach(follow);
    setOlder(nextCursor);
  } catch (error) {
    setBanner($('#exports-error'), humanError(error));
  }
}

/** @param {Event} event */
async function start(event) {
  event.preventDefault();
  const button = /** @type {HTMLButtonElement} */ ($('#start'));
  if (!dataset || button.getAttribute('aria-busy') === 'true') return;
  const { request, problems } = readForm();
  showProblems(problems);
  if (problems.length > 0) {
    /** @type {HTMLElement | null} */ (form.querySelector('[aria-invalid]'))?.focus();
    return;
  }
  button.setAttribute('aria-busy', 'true');
  button.textContent = client.ready ? 'Starting …' : 'Waiting for the server …';
  setBanner($('#form-error'), '');
  try {
    const started = await client.request(request, newRequestId());
    announce(`Export started, ${plural(started.totalRows, 'row')}`);
    jobs.get(started.downloadId)?.card.scrollIntoView({ block: 'nearest' });
  } catch (error) {
    const homeless = showProblems([problemOf(error)]);
    setBanner($('#form-error'), homeless[0]?.message ?? '');
    /** @type {HTMLElement | null} */ (form.querySelector('[aria-invalid]'))?.focus();
  } finally {
    button.removeAttribute('aria-busy');
    button.textContent = 'Start export';
  }
}

// -------------------------------------------------------------------------------------------------------- the connection

/** @param {string} name @param {(detail: any) => void} handler */
const on = (name, handler) => client.addEventListener(name, (event) => handler(/** @type {CustomEvent} */ (event).detail));

/** @type {number | undefined} */
let countdown;
/** @param {import('./client.js').ConnectionState} connection */
function showConnection({ state, attempt, delayMs }) {
  clearInterval(countdown);
  // While it tries, the words of the last wait stay: a flicker helps nobody.
  if (state === 'connecting' && attempt > 0) return;
  $('#connection').dataset.state = state;
  const text = $('#connection-text');
  $('#reconnect').hidden = state !== 'failed' && state !== 'waiting';
  if (state === 'waiting') text.textContent = `Connection lost, attempt ${attempt} of ${client.maxReconnectAttempts} in ${duration(Math.ceil(delayMs / 1000))}`;
  else text.textContent = { open: 'Connected', connecting: 'Connecting', failed: 'No connection', closed: 'Closed' }[state];
}

on('connection', (connection) => {
  showConnection(connection);
  for (const job of jobs.values()) {
    if (FINAL_STATES.has(job.state)) continue;
    if (!client.ready) Object.assign(job, { speed: 0, remaining: -1 }); // nobody knows them now
    showJob(job);
  }
});
on('connection:failed', ({ code, reason }) => {
  if (reason) $('#connection-text').textContent = `No connection: ${reason}`;
  // A policy or version refusal does not heal by itself, anything else may: exports go on without us meanwhile.
  if (![4400, 4401, 4406, 1008].includes(code)) setTimeout(reconnect, RETRY_MS);
});
on('hello', ({ features }) => {
  if (Array.isArray(features)) $('#codec-zstd').hidden = !features.includes('codec:zstd');
  loadJobs();
  if (datasets.length === 0) load();
  else if (!$('#preview-error').hidden) changed();
});
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

function reconnect() {
  client.connect();
}
async function load() {
  try {
    datasets = await listDatasets();
    setBanner($('#preview-error'), '');
    showDatasets();
  } catch (error) {
    setBanner($('#preview-error'), humanError(error));
  }
}

// --------------------------------------------------------------------------------------------------------------- wiring

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

load();
client.connect();
