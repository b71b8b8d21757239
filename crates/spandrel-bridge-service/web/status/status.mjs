// The status page: asks `/status.json` once a second and shows what it says. Nothing here changes the bridge.
import { Chart } from './chart.mjs';

/**
 * What `/status.json` answers. Counters only grow while the bridge runs; the page makes rates of them by `uptimeMs`.
 *
 * @typedef {object} Status
 * @property {string} version
 * @property {number} uptimeMs Since the process started.
 * @property {'closed' | 'host' | 'client'} mode `closed`: the program has not said `open`.
 * @property {boolean} joined As a client: its host has taken it in.
 * @property {boolean} cloud Other programs share this bridge, or it has joined one.
 * @property {string | null} address Where it listens, such as `127.0.0.1:23518`.
 * @property {boolean} tls
 * @property {{ browsers: number, clients: number, max: number, opened: number, refused: number,
 *   turnedAway: number, crowded: number }} connections `clients` are other hardware programs; the last four are counters.
 * @property {{ fromBrowsers: number, toBrowsers: number, fromParent: number, toParent: number, fromHost: number,
 *   toHost: number, dropped: number }} messages Counters. `toBrowsers` counts deliveries: a message to fifty browsers is
 *   fifty. `fromHost` and `toHost` are what a client exchanges with its host.
 * @property {{ messages: number, bytes: number }} held What waits for a host, or shortly after a take-over for a browser.
 * @property {{ name: string, browsers: number, program: 'here' | 'client' | null }[]} rooms At most 100, the fullest
 *   first. `name` is shortened: who knows a room may enter it.
 * @property {number} roomsTotal
 * @property {{ id: number, isClient: boolean, room: string | null, transport: string, ageMs: number, messagesIn: number,
 *   bytesIn: number, messagesOut: number, bytesOut: number, waitingBytes: number }[]} sessions At most 100, the oldest
 *   first.
 * @property {{ agoMs: number, what: string, setting: string | null }[]} refusals The last 20 at most, newest first.
 *   `what` names the origin, host or site; `setting` is the one that would admit it.
 */

const EVERY_MS = 1000;
const SECONDS = 60;

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const at = (id) => document.getElementById(id);
const put = (id, text) => { const place = at(id); if (place.textContent !== text) place.textContent = text; };
const rate = (value) => (value < 10 ? small : number).format(value);

const charts = { up: new Chart(at('chart-up'), SECONDS), down: new Chart(at('chart-down'), SECONDS) };

/** @type {Status | undefined} */
let before;
/** Answers missed in a row. */
let failures = 0;

async function ask() {
  const answer = await fetch('/status.json', { cache: 'no-store', signal: AbortSignal.timeout(4000) });
  if (!answer.ok) throw new Error(`the bridge answered ${answer.status}`);
  return answer.json();
}

/** @param {Status} now */
function show(now) {
  const restarted = before === undefined || now.uptimeMs < before.uptimeMs;
  const seconds = restarted ? 0 : (now.uptimeMs - before.uptimeMs) / 1000;
  const perSecond = (pick) => (seconds > 0 ? Math.max(0, pick(now) - pick(before)) / seconds : 0);
  // A client has its browsers by way of the host: what comes from there is what they say.
  const fromPages = (s) => s.messages.fromBrowsers + s.messages.fromHost;
  const toPages = (s) => s.messages.toBrowsers + s.messages.toHost;
  const up = perSecond(fromPages);
  const down = perSecond(toPages);
  const pages = now.mode === 'client' ? 'the host' : 'browsers';
  before = now;

  put('mode', { closed: 'Not open yet', host: now.cloud ? 'Host, shared' : 'Host', client: 'Client of another' }[now.mode] ?? now.mode);
  put('mode-note', {
    closed: 'the program has not asked to listen',
    host: now.cloud ? 'browsers are paired with programs by room' : 'one program, every browser is its own',
    client: now.joined ? 'joined: another bridge holds the port and passes messages on' : 'looking for the bridge that holds the port',
  }[now.mode] ?? '');
  put('address', now.address ? `${now.tls ? 'https' : 'http'}://${now.address}` : 'not listening');
  put('uptime', `up ${span(now.uptimeMs)}, version ${now.version}`);

  const { connections, messages } = now;
  put('browsers', number.format(connections.browsers));
  put('browsers-note', now.mode === 'client' ? 'those of this program are with the host' : `of ${number.format(connections.max)} places, ${number.format(connections.opened)} since start`);
  at('places').max = connections.max;
  at('places').value = connections.browsers + connections.clients;
  put('clients', number.format(connections.clients));
  put('refused', number.format(connections.refused));
  put('dropped', number.format(messages.dropped));
  put('dropped-note', now.held.messages > 0 ? `messages without a taker, ${number.format(now.held.messages)} wait for one` : 'messages without a taker');

  title('up', `From ${pages}`);
  title('down', `To ${pages}`);
  put('rate-up', rate(up));
  put('rate-down', rate(down));
  put('total-up', `${number.format(fromPages(now))} in all, ${number.format(messages.toParent)} for the program`);
  put('total-down', `${number.format(toPages(now))} in all, ${number.format(messages.fromParent)} from the program`);
  if (!restarted) {
    charts.up.add(up);
    charts.down.add(down);
    put('scale-up', number.format(charts.up.top));
    put('scale-down', number.format(charts.down.top));
  }
  rooms(now);
  sessions(now);
  refusals(now.refusals);
}

function title(chart, text) {
  put(`${chart}-title`, text);
  at(`chart-${chart}`).setAttribute('aria-label', `${text} in the last minute`);
}

/** @param {Status} now */
function sessions({ sessions: list = [], connections: { browsers, clients } }) {
  fill(at('sessions'), list, (one) => [
    [`${one.isClient ? 'program' : 'page'} ${one.id}`, 'nowrap'],
    [one.room || 'no room', one.room ? 'code nowrap' : 'muted nowrap'],
    [one.transport, ''],
    [span(one.ageMs), 'nowrap'],
    [`${number.format(one.messagesIn)} · ${bytes(one.bytesIn)}`, 'number nowrap'],
    [`${number.format(one.messagesOut)} · ${bytes(one.bytesOut)}`, 'number nowrap'],
    [bytes(one.waitingBytes), `number nowrap ${one.waitingBytes > 0 ? '' : 'muted'}`],
  ]);
  at('sessions-empty').hidden = list.length > 0;
  at('sessions-table').hidden = list.length === 0;
  put('sessions-count', browsers + clients > list.length ? `the oldest ${list.length} of ${number.format(browsers + clients)}` : '');
}

/** @param {Status} now */
function rooms({ rooms: list, roomsTotal }) {
  fill(at('rooms'), list, (room) => [
    [room.name || 'no room', room.name ? 'code' : 'muted'],
    [number.format(room.browsers), 'number'],
    [{ here: 'this one', client: 'a client' }[room.program] ?? 'none', room.program ? '' : 'muted'],
  ]);
  at('rooms-empty').hidden = list.length > 0;
  at('rooms-table').hidden = list.length === 0;
  put('rooms-count', roomsTotal > list.length ? `${list.length} of ${number.format(roomsTotal)}` : list.length ? String(list.length) : '');
}

/** @param {Status['refusals']} list */
function refusals(list) {
  const place = at('refusals');
  while (place.children.length > list.length) place.lastChild.remove();
  list.forEach(({ what, setting, agoMs }, index) => {
    const item = place.children[index] ?? place.appendChild(at('refusal').content.cloneNode(true).firstElementChild);
    const texts = [what, setting ? 'admitted by ' : 'no setting admits it', setting ?? '', `${span(agoMs)} ago`];
    item.querySelectorAll('.text').forEach((part, i) => { if (part.textContent !== texts[i]) part.textContent = texts[i]; });
  });
  at('refusals-empty').hidden = list.length > 0;
}

/** Makes the rows of a table body say `cells(item)`, touching only what changed. */
function fill(body, items, cells) {
  while (body.rows.length > items.length) body.deleteRow(-1);
  items.forEach((item, index) => {
    const row = body.rows[index] ?? body.insertRow();
    cells(item).forEach(([text, kind], column) => {
      const cell = row.cells[column] ?? row.insertCell();
      if (cell.textContent !== text) cell.textContent = text;
      if (cell.className !== kind) cell.className = kind;
    });
  });
}

function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${small.format(count / 1024)} KiB`;
  return `${small.format(count / 1024 / 1024)} MiB`;
}

/** A length of time as people say it. */
function span(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

function link(state, text) {
  at('connection').dataset.state = state;
  document.body.dataset.stale = String(state === 'failed');
  put('connection-text', text);
}

async function turn() {
  const started = performance.now();
  try {
    show(await ask());
    failures = 0;
    link('open', 'Live');
  } catch {
    failures += 1;
    if (failures > 1) link('failed', 'No answer from the bridge');
  }
  setTimeout(turn, Math.max(100, EVERY_MS - (performance.now() - started)));
}

turn();
