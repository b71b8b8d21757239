// What the scripts of this folder share: the bridge as a hardware program starts it, and pages by the clients that real
// pages use. Nothing here sleeps for luck: who waits, waits for something to be said.
import { spawn } from 'node:child_process';
import { createServer, connect as dial } from 'node:net';
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';

const require = createRequire(import.meta.url);
/** The two versions of the client that the pages of the site have used. */
export const versions = { '2.3.0': require('io2'), '2.5.0': require('io25') };
export const WebSocket = require('ws');

const BINARY = process.env.SPANDREL_HARDWARE_BRIDGE;
/** Longer than anything takes on a busy machine; only a hang meets it. */
const PATIENCE_MS = 20_000;

/** The three ways a page gets its session. */
export const ways = {
  websocket: ['websocket'],
  polling: ['polling'],
  upgrade: ['polling', 'websocket'],
};

let failed = 0;
let closers = [];
const only = process.argv[2] === '--only' ? process.argv[3] : '';

// A script that hangs must not hang the tests with it.
setTimeout(() => {
  console.log('FAILED  not done after four minutes');
  process.exit(1);
}, 240_000).unref();

/** Runs one check; whatever it started is ended after it. */
export async function check(name, run) {
  if (!name.includes(only)) return;
  const started = performance.now();
  let why;
  try {
    await run();
  } catch (error) {
    why = error;
  }
  for (const close of closers.reverse()) await close();
  closers = [];
  const took = `(${Math.round(performance.now() - started)} ms)`;
  if (why) failed += 1;
  console.log(why ? `FAILED  ${name} ${took}: ${why.stack ?? why}` : `ok      ${name} ${took}`);
}

export function expect(isTrue, what) {
  if (!isTrue) throw new Error(what);
}

/** Deep equality; both sides are in the failure. */
export function same(have, want, what) {
  const text = (value) => (JSON.stringify(value) ?? 'undefined').slice(0, 1500);
  expect(isDeepStrictEqual(have, want), `${what}:\n  have ${text(have)}\n  want ${text(want)}`);
}

/** Prints the sum and ends the script. */
export function done() {
  console.log(failed === 0 ? 'all good' : `${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

export const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** What was said so far, and a way to wait for more of it. */
export class Heard {
  #waiting = new Set();

  constructor(who) {
    this.who = who;
    this.all = [];
  }

  add(item) {
    this.all.push(item);
    this.stir();
  }

  stir() {
    for (const look of this.#waiting) look();
  }

  /** Resolves to what `find(all)` gives, as soon as that is truthy. */
  when(what, find, ms = PATIENCE_MS) {
    return new Promise((resolve, reject) => {
      const stop = () => { this.#waiting.delete(look); clearTimeout(timer); };
      const look = () => {
        try {
          const found = find(this.all);
          if (found) { stop(); resolve(found); }
        } catch (error) { stop(); reject(error); }
      };
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`${this.who}: not within ${ms} ms: ${what}; heard ${JSON.stringify(this.all.slice(-12)).slice(0, 1500)}`));
      }, ms);
      this.#waiting.add(look);
      look();
    });
  }

  /** Resolves once `count` things were said. */
  count(count, ms) {
    return this.when(`${count} of them (${this.all.length} are there)`, (all) => all.length >= count, ms);
  }
}

/** One hardware program with its bridge, started as the real one starts it. */
export class Program {
  /** @param {{ port?: number, env?: Record<string, string>, channel?: 'ipc' | 'pipe', options?: object }} [how] */
  constructor({ port = 0, env = {}, channel = 'ipc', options = {} } = {}) {
    const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('SPANDREL_HW_'));
    const raw = channel === 'pipe' ? { NODE_CHANNEL_FD: '3', NODE_CHANNEL_SERIALIZATION_MODE: 'json' } : {};
    this.child = spawn(BINARY, [], {
      stdio: ['ignore', 'pipe', 'pipe', channel],
      detached: true,
      env: { ...Object.fromEntries(clean), SPANDREL_HW_PORT: String(port), SPANDREL_HW_TLS_DIR: '/nowhere', ...raw, ...env },
      ...options,
    });
    this.port = port || undefined;
    this.scheme = 'http';
    /** Messages of the bridge, `{ key, value? }`. */
    this.said = new Heard('bridge');
    /** Lines of its standard error. */
    this.log = new Heard('log');
    this.exit = new Promise((resolve) => {
      this.child.on('exit', (code, signal) => {
        this.ended = { code, signal };
        this.said.stir();
        resolve(this.ended);
      });
    });
    lines(this.child.stderr, (line) => {
      this.port ??= Number(/127\.0\.0\.1:(\d+)/.exec(line)?.[1]) || undefined;
      this.log.add(line);
    });
    this.child.stdout?.resume();
    if (channel === 'pipe') {
      this.pipe = this.child.stdio[3];
      this.pipe.on('error', () => {});
      /** The same as text, as it came. */
      this.text = new Heard('channel');
      lines(this.pipe, (line) => { this.text.add(line); this.said.add(JSON.parse(line)); });
    } else {
      this.child.on('message', (message) => this.said.add(message));
      this.child.on('error', (error) => this.log.add(String(error)));
    }
    closers.push(() => this.kill());
  }

  say(key, value) {
    const message = { key, value };
    if (this.pipe) this.pipe.write(`${JSON.stringify(message)}\n`);
    else this.child.send(message, () => {});
  }

  /** Has it listen, and waits until it says so and where. */
  async open() {
    this.say('open');
    await this.hears('cloudModeChanged', 0);
    if (this.port === undefined) await this.log.when('a line with the port', () => this.port);
    return this;
  }

  /** Waits for a message with this key, and value when one is given, from index `from` on. */
  hears(key, value, { from = 0, ms } = {}) {
    const what = value === undefined ? key : `${key} ${JSON.stringify(value)}`;
    return this.said.when(what, (all) => {
      expect(!this.ended, `the bridge ended (${JSON.stringify(this.ended)}) before ${what}; log: ${this.log.all.slice(-5).join(' | ')}`);
      return all.slice(from).find((one) => one.key === key && (value === undefined || isDeepStrictEqual(one.value, value)));
    }, ms);
  }

  /** Waits for `count` messages with this key. */
  async times(key, count, { from = 0, ms } = {}) {
    const of = (all) => all.slice(from).filter((one) => one.key === key);
    const found = await this.said.when(`${count} times ${key} (${of(this.said.all).length} are there)`, (all) => of(all).length >= count && of(all), ms);
    return found.map((one) => one.value);
  }

  /** What `data` carried so far. */
  data(from = 0) {
    return this.said.all.slice(from).filter((one) => one.key === 'data').map((one) => one.value);
  }

  /** Everything from `from` on, short: `connection`, `close r`, `cloudModeChanged 0`. */
  story(from = 0) {
    return this.said.all.slice(from).map(({ key, value }) => (value === undefined ? key : `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`));
  }

  get mark() {
    return this.said.all.length;
  }

  get url() {
    return `${this.scheme}://127.0.0.1:${this.port}`;
  }

  async kill(signal = 'SIGKILL') {
    if (!this.ended && this.child.pid) this.child.kill(signal);
    if (signal === 'SIGKILL' && this.child.pid) await this.exit;
  }
}

/** Calls `take` with each line of a stream. */
function lines(stream, take) {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('error', () => {});
  stream.on('data', (part) => {
    const whole = (rest + part).split('\n');
    rest = whole.pop();
    whole.forEach(take);
  });
}

/** A page of the site at a bridge. `heard` holds what its `message` event carried. */
export async function page(program, room, { version = '2.3.0', way = 'websocket', query = {}, ...options } = {}) {
  const socket = socketOf(program.url, { client: true, ...(room === undefined ? {} : { roomId: room }), ...query }, { version, way, ...options });
  await socket.opened;
  if (way === 'upgrade' && options.waits !== false) await upgraded(socket);
  return socket;
}

/** A second hardware program that is not ours: it joins the host by Socket.IO. */
export async function member(program, { version = '2.3.0', way = 'upgrade', ...options } = {}) {
  const socket = socketOf(program.url, { childServer: true }, { version, way, ...options });
  await socket.opened;
  return socket;
}

export function socketOf(url, query, { version = '2.3.0', way = 'websocket', ...options } = {}) {
  const socket = versions[version].connect(url, { forceNew: true, reconnection: false, transports: ways[way], query, ...options });
  socket.heard = new Heard(`page ${JSON.stringify(query)}`);
  socket.lost = new Heard(`loss of ${JSON.stringify(query)}`);
  socket.on('message', (message) => socket.heard.add(message));
  socket.on('disconnect', (why) => socket.lost.add(why));
  socket.opened = new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    const refuse = (error) => reject(new Error(`${way} ${version} at ${url}: ${error.message ?? error} ${error.description ?? ''}`));
    if (options.reconnection !== true) socket.once('connect_error', refuse);
    socket.once('error', refuse);
  });
  socket.opened.catch(() => {});
  closers.push(() => { socket.io.reconnection(false); socket.close(); });
  return socket;
}

/** Resolves once a page that began by polling is on WebSocket. */
export function upgraded(socket) {
  const { engine } = socket.io;
  return engine.transport.name === 'websocket' ? undefined : new Promise((resolve) => { engine.once('upgrade', resolve); });
}

/** Emits and resolves to what the acknowledgement carries. */
export function ask(socket, ...args) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no acknowledgement of ${JSON.stringify(args).slice(0, 200)}`)), PATIENCE_MS).unref();
    socket.emit(...args, (...answer) => resolve(answer.length > 1 ? answer : answer[0]));
  });
}

/** A WebSocket past its greeting, for frames by hand. `heard` holds the texts after it. */
export async function raw(program, query = 'client=true', options = {}) {
  const address = `${program.url.replace('http', 'ws')}/socket.io/?EIO=3&transport=websocket&${query}`;
  const socket = new WebSocket(address, options);
  socket.heard = new Heard(`raw ${query}`);
  socket.gone = new Promise((resolve) => { socket.on('close', (code) => { socket.isGone = true; resolve(code); }); });
  closers.push(() => socket.terminate());
  await new Promise((resolve, reject) => {
    let left = 2;
    socket.on('message', (data, isBinary) => {
      if (left === 2) socket.handshake = JSON.parse(String(data).slice(1));
      if (left > 0) { left -= 1; if (left === 0) resolve(); return; }
      socket.heard.add(isBinary ? data : String(data));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed before its greeting')));
  });
  return socket;
}

/** A port that was free a moment ago, for what has to share one. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address();
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

/** Does something listen there? */
export function listens(port) {
  return new Promise((resolve) => {
    const socket = dial({ port, host: '127.0.0.1' });
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

/** Tries again and again until it is true; for what nobody announces. */
export async function eventually(what, isTrue, ms = PATIENCE_MS) {
  const end = Date.now() + ms;
  while (!(await isTrue())) {
    expect(Date.now() < end, `not within ${ms} ms: ${what}`);
    await after(10);
  }
}
