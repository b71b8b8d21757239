// The demo page: shows what the simulated board reports, and has it obey. Speaks to the bridge as the pages of a
// block-coding site do: `message` events up with JSON text in `data`, `message` events down with the values.
import { Chart } from './chart.mjs';
import { connect } from './socket.mjs';

const SECONDS = 30;
const PER_SECOND = 20;
const FRAMES = 11;
const SLIDER_MS = 50;

/** @typedef {{ light: number, temperature: number, distance: number, button: boolean, led: boolean, servo: number, tabs: number }} Values */

const at = (id) => document.getElementById(id);
const put = (place, text) => { if (place.textContent !== text) place.textContent = text; };
const isCalm = matchMedia('(prefers-reduced-motion: reduce)');

const ranges = { light: { max: 1023 }, temperature: { min: 18, max: 30 }, distance: { max: 200 }, button: { max: 1 } };
const charts = Object.fromEntries(Object.entries(ranges)
  .map(([name, range]) => [name, new Chart(at(`chart-${name}`), SECONDS * PER_SECOND, range)]));

// ---- what the board says ----

/** @type {Values | undefined} */
let values;
let isDrawn = true;

/** @param {Values} now */
function take(now) {
  values = now;
  for (const [name, chart] of Object.entries(charts)) chart.add(Number(now[name]), false);
  if (isDrawn) {
    isDrawn = false;
    if (isCalm.matches) setTimeout(draw, 1000);
    else requestAnimationFrame(draw);
  }
}

function draw() {
  isDrawn = true;
  const { light, temperature, distance, button, led, servo, tabs } = values;
  for (const chart of Object.values(charts)) chart.draw();
  put(at('light'), String(light));
  put(at('temperature'), temperature.toFixed(1));
  put(at('distance'), String(distance));
  put(at('button'), button ? 'pressed' : 'released');
  at('board').dataset.led = String(led);
  at('board').dataset.button = String(button);
  at('arm').setAttribute('transform', `rotate(${servo - 90} 316 78)`);
  at('led').setAttribute('aria-checked', String(led));
  at('board').setAttribute('aria-label', `Drawing of the board: LED ${led ? 'on' : 'off'}, servo at ${Math.round(servo)} degrees`);
  if (!isSliding) slide(servoGoal ?? servo);
  note(tabs);
}

function event(name, message) {
  if (name !== 'message') return;
  const data = message?.data;
  if (data === 'disconnectHardware') put(at('board-name'), 'unplugged');
  else if (data?.action === 'init') put(at('board-name'), String(data.data?.name ?? ''));
  else if (typeof data?.light === 'number') take(data);
}

// ---- what the page asks for ----

function order(change) {
  // When it is lost, the connection's state is on the page already.
  socket.ask('message', { data: JSON.stringify(change), mode: 0, type: 'utf8' }).catch(() => {});
}

at('led').addEventListener('click', () => order({ led: at('led').getAttribute('aria-checked') !== 'true' }));

const servo = at('servo');
let isSliding = false;
let servoGoal;
let slideTimer;
function slide(degrees) {
  servo.value = String(Math.round(degrees));
  servo.setAttribute('aria-valuetext', `${servo.value} degrees`);
  put(at('servo-value'), `${servo.value}°`);
}
servo.addEventListener('input', () => {
  isSliding = true;
  servoGoal = Number(servo.value);
  slide(servoGoal);
  slideTimer ??= setTimeout(() => {
    slideTimer = undefined;
    order({ servo: servoGoal });
  }, SLIDER_MS);
});
// The handle stays where it was put until the board is there; then it follows the board, whoever turns it.
servo.addEventListener('change', () => {
  isSliding = false;
  const goal = servoGoal;
  setTimeout(() => { if (servoGoal === goal) servoGoal = undefined; }, 1500);
});

// ---- the connection ----

const STATES = { connecting: 'Connecting', open: 'Connected', waiting: 'Connection lost, trying again', closed: 'Closed' };
function become(state) {
  at('connection').dataset.state = state;
  put(at('connection-text'), STATES[state]);
  for (const id of ['led', 'servo']) at(id).disabled = state !== 'open';
  if (state !== 'open') put(at('connection-note'), '');
}

/** Milliseconds from the last pings to their pongs. */
let trips = [];
let pinged;
function time(way, text) {
  if (way === 'out' && text === '2') pinged = performance.now();
  if (way === 'in' && text === '3') trips = [performance.now() - pinged, ...trips].slice(0, 5);
}

let noted = 0;
function note(tabs) {
  if (performance.now() - noted < 500) return;
  noted = performance.now();
  const median = trips.toSorted((a, b) => a - b)[trips.length >> 1];
  const parts = [median === undefined ? '' : `${median.toFixed(1)} ms round trip`, tabs > 1 ? `${tabs} tabs` : ''];
  put(at('connection-note'), parts.filter(Boolean).join(' · '));
}

// ---- the wire ----

/** @type {{ way: 'in' | 'out', text: string, kind: string, time: number, times: number }[]} Newest first. */
let frames = [];
const counts = { in: 0, out: 0 };
let isPaused = false;
let isStale = false;

/** What comes again and again shares a line: values, pings and pongs each count up where they stand. */
const kindOf = (way, text) => (/^[23]$/.test(text) ? `${way}${text}` : text.includes('"light"') ? 'values' : '');

function wire(way, text) {
  time(way, text);
  counts[way] += 1;
  const kind = kindOf(way, text);
  const known = kind && frames.find((frame) => frame.kind === kind);
  const entry = { way, text, kind, time: Date.now(), times: known ? known.times + 1 : 1 };
  if (known) Object.assign(known, entry);
  else frames = [entry, ...frames].slice(0, FRAMES);
  isStale = true;
}

const clock = (time) => new Date(time).toISOString().slice(11, 23);
function show() {
  if (!isStale || isPaused) return;
  isStale = false;
  const list = at('frames');
  while (list.children.length < frames.length) list.append(at('frame').content.cloneNode(true));
  frames.forEach(({ way, text, time, times }, index) => {
    const row = list.children[index];
    const [when, direction, code, count] = row.children;
    row.dataset.way = way;
    put(when, clock(time));
    put(direction, way === 'in' ? 'received' : 'sent');
    put(code, text.length > 400 ? `${text.slice(0, 400)}…` : text);
    put(count, times > 1 ? `×${times}` : '');
  });
}
setInterval(show, 250);
setInterval(() => {
  put(at('wire-rate'), `${counts.in} in, ${counts.out} out a second`);
  counts.in = counts.out = 0;
}, 1000);

at('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  at('pause').setAttribute('aria-pressed', String(isPaused));
});

// ---- start ----

const { bridge, status } = await (await fetch('/bridge.json')).json();
if (status) Object.assign(at('status'), { href: status, hidden: false });
const roomId = Array.from(crypto.getRandomValues(new Uint8Array(5)), (byte) => byte.toString(16).padStart(2, '0')).join('');
const socket = connect(bridge, { query: { client: 'true', roomId }, onEvent: event, onState: become, onFrame: wire });
