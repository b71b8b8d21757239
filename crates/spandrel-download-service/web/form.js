// @ts-check
/**
 * The form: what may be asked for, what is asked for, what is wrong with it, and the preview of what would come out.
 *
 * A refusal names the field it is about by a JSON Pointer into the request; an element with that `data-path` shows it.
 */
import { DownloadError } from './client.js';
import { http, isAuthError, onOther } from './session.js';
import { askToSignIn } from './signin.js';
import { $, count, element, humanError, input, inputTime, plural, select, setBanner, stamp, wireTime } from './text.js';

/** @typedef {import('./client.js').Column} Column */
/** @typedef {import('./client.js').Dataset} Dataset */
/** @typedef {import('./client.js').DownloadRequest} DownloadRequest */
/** @typedef {{ path: string, message: string }} Problem */

const PREVIEW_ROWS = 20;
const PREVIEW_DELAY_MS = 300;

/** @type {Dataset[]} */
let datasets = [];
/** @type {Dataset | undefined} */
let dataset;
export const form = $('#form');

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

export function chooseDataset() {
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

/** Whether there is something to ask for. */
export const hasDataset = () => dataset !== undefined;

let isLoading = false;
/** Asks what the server offers and fills the form with it. Rejects only when the server wants other credentials. */
export async function loadDatasets() {
  if (isLoading) return; // a second answer would wipe what was chosen since the first
  isLoading = true;
  try {
    datasets = await http.datasets();
    setBanner($('#preview-error'), '');
    showDatasets();
  } catch (error) {
    if (isAuthError(error)) throw error;
    setBanner($('#preview-error'), humanError(error));
  } finally {
    isLoading = false;
  }
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

export function searchColumns() {
  const wanted = input('columns-search').value.trim().toLowerCase();
  for (const box of columnBoxes()) {
    box.parentElement?.toggleAttribute('hidden', !box.value.toLowerCase().includes(wanted));
  }
}
/** Checks or clears what the search shows. @param {boolean} isOn */
export function setColumns(isOn) {
  for (const box of columnBoxes()) {
    if (!box.parentElement?.hidden) box.checked = isOn;
  }
  changed();
}

// ---------------------------------------------------------------------------------------------------------- the filters

export function addFilter() {
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
export function readForm() {
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
export function showProblems(problems) {
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
export function problemOf(error) {
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
export function changed() {
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
    const shown = await http.preview(request, PREVIEW_ROWS, call.signal);
    if (call.signal.aborted) return;
    setBanner($('#preview-error'), '');
    showPreview(shown, request);
  } catch (error) {
    if (call.signal.aborted) return;
    if (isAuthError(error)) return askToSignIn(humanError(error));
    const homeless = showProblems([problemOf(error)]);
    setBanner($('#preview-error'), homeless[0]?.message ?? '');
    showPreview(undefined, request);
  }
}

onOther(() => {
  previewCall?.abort();
  clearTimeout(previewTimer);
  dataset = undefined;
  for (const part of ['#preview thead tr', '#preview tbody', '#preview-count', '#summary']) $(part).replaceChildren();
});

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
