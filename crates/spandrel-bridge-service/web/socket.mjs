// A Socket.IO 2 client (Engine.IO 3) for pages of our own: WebSocket only, JSON only, namespace "/" only.
// No build step and no package; pages that need more take `socket.io-client` 2.x, which speaks the same to a bridge.

/**
 * @typedef {object} Options
 * @property {Record<string, string>} [query] Goes into the address, such as `{ roomId }`.
 * @property {(event: string, ...args: unknown[]) => void} [onEvent] Called for each event of the server.
 * @property {(state: 'connecting' | 'open' | 'waiting' | 'closed') => void} [onState] `waiting`: for the next try.
 * @property {(direction: 'in' | 'out', frame: string) => void} [onFrame] Every text frame, for who wants to look.
 * @property {number} [retryMs] First wait after a loss; doubles up to `retryMaxMs`, each ± 25 %. Default 250.
 * @property {number} [retryMaxMs] Default 4000.
 * @property {typeof WebSocket} [WebSocket] For places that have another one.
 */

/**
 * Connects, and again after each loss until `close()`. What is emitted while not open is dropped: `emit` says so.
 * @param {string} base Such as `http://127.0.0.1:23518`.
 * @param {Options} [options]
 */
export function connect(base, { query = {}, onEvent, onState, onFrame, retryMs = 250, retryMaxMs = 4000, WebSocket = globalThis.WebSocket } = {}) {
  const address = new URL('/socket.io/', base);
  address.protocol = address.protocol.replace('http', 'ws');
  address.search = new URLSearchParams({ ...query, EIO: '3', transport: 'websocket' });

  let link, beat, retry, losses = 0, state, lastId = 0;
  /** @type {Map<number, { resolve: (args: unknown[]) => void, reject: (why: Error) => void }>} */
  const asked = new Map();

  const become = (next) => { if (state !== next) onState?.(state = next); };
  const send = (frame) => { link.send(frame); onFrame?.('out', frame); };

  function dial() {
    become('connecting');
    const mine = link = new WebSocket(address);
    mine.onmessage = ({ data }) => {
      if (mine !== link || typeof data !== 'string') return;
      try { take(data); } catch (error) { console.error('not understood:', data.slice(0, 200), error); }
    };
    mine.onerror = () => {}; // a close follows
    mine.onclose = () => { if (mine === link) lost(); };
  }

  function lost() {
    clearTimeout(beat);
    link = undefined;
    for (const { reject } of asked.values()) reject(new Error('the connection was lost before the answer'));
    asked.clear();
    if (state === 'closed') return;
    become('waiting');
    const wait = Math.min(retryMaxMs, retryMs * 2 ** losses++);
    retry = setTimeout(dial, wait * (0.75 + Math.random() / 2));
  }

  /** Pings after the interval, and gives the link up when no answer came within the timeout. */
  function keepAlive({ pingInterval, pingTimeout }) {
    clearTimeout(beat);
    beat = setTimeout(() => {
      send('2');
      beat = setTimeout(() => { const dead = link; lost(); dead.close(); }, pingTimeout);
    }, pingInterval);
  }

  let pace = { pingInterval: 25_000, pingTimeout: 5_000 };
  function take(frame) {
    onFrame?.('in', frame);
    const [, kind, id, body] = /^(0|1|3|40|41|42|43|44)(?:,?)(\d*)(.*)$/s.exec(frame) ?? [];
    if (kind === '0') keepAlive(pace = JSON.parse(frame.slice(1)));
    else if (kind === '3') keepAlive(pace);
    else if (kind === '40') { losses = 0; become('open'); }
    else if (kind === '42') onEvent?.(...JSON.parse(body));
    else if (kind === '43') { asked.get(Number(id))?.resolve(JSON.parse(body)); asked.delete(Number(id)); }
    else if (kind === '1' || kind === '41') link.close();
  }

  dial();
  return {
    get state() { return state; },
    /** Sends an event; `false` when there is no connection. @param {string} event @param {unknown[]} args */
    emit(event, ...args) {
      if (state !== 'open') return false;
      send(`42${JSON.stringify([event, ...args])}`);
      return true;
    },
    /** Sends an event and resolves to the arguments of its acknowledgement. @param {string} event @param {unknown[]} args */
    ask(event, ...args) {
      if (state !== 'open') return Promise.reject(new Error('not connected'));
      const id = lastId++;
      return new Promise((resolve, reject) => {
        asked.set(id, { resolve, reject });
        send(`42${id}${JSON.stringify([event, ...args])}`);
      });
    },
    /** Ends it for good. */
    close() {
      clearTimeout(retry);
      clearTimeout(beat);
      become('closed');
      link?.close();
    },
  };
}
