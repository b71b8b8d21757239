// Pages of other origins against a running server: none may start, read or cancel anything, on any route.
//
//     node foreign.mjs http://127.0.0.1:8001/
//
// Four strangers: a page on another port, a page under another name, a sandboxed frame (its origin is `null`), and a
// page whose name was bound to this machine after it was loaded, so that the browser takes the server for its own.
// The server needs a data set of at least 20,000 rows and must not ask for credentials: they would only help it.
import { check, done, expect, launch, same, serve } from './harness.mjs';

const base = process.argv[2];
if (!base) {
  console.error('usage: node foreign.mjs BASE_URL');
  process.exit(2);
}
const { port } = new URL(base);
const call = async (path, init) => {
  const response = await fetch(new URL(path, base), init);
  return { status: response.status, body: await response.json().catch(() => undefined) };
};
const post = (path, body) => call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

// What there is to steal and to break: a finished export and a running one.
const { datasets: [{ timeMin }] } = (await call('/v1/datasets')).body;
const REQUEST = { searchParams: { timeFrom: timeMin, timeTo: '9999-01-01T00:00:00Z', filters: [], limit: 100 }, outputFormat: 'csv', compression: false };
const finished = (await post('/v1/downloads', REQUEST)).body.downloadId;
const { files: [file] } = (await call(`/v1/downloads/${finished}?wait=30`)).body;
const slow = { ...REQUEST, searchParams: { ...REQUEST.searchParams, limit: 20000 }, options: { maxRowsPerSecond: 100 } };
const running = (await post('/v1/downloads', slow)).body.downloadId;
const { paths } = (await call('/v1/openapi.json')).body;
const real = (path) => path.replace('{id}', running).replace('{fileName}', 'x.csv');
const routes = Object.entries(paths).map(([path, methods]) => ({ path: real(path), methods: Object.keys(methods) }));
routes.push({ path: new URL(file.url, base).pathname + new URL(file.url, base).search, methods: ['get'] });
const PAGE = ['/', '/app.js', '/client.js', '/favicon.ico'];

/** All jobs with their states. */
async function state() {
  const { downloads } = (await call('/v1/downloads?limit=100')).body;
  return downloads.map(({ downloadId, state }) => [downloadId, state]).sort();
}
const untouched = await state();
expect(untouched.some(([id, is]) => id === running && is === 'generating'), 'the slow export does not run');

const stranger = await serve((path) => {
  if (path === '/') return ['text/html', '<!doctype html><title>stranger</title><body>'];
  if (path === '/sandbox') return ['text/html', '<!doctype html><iframe sandbox="allow-scripts allow-forms" srcdoc="<body>"></iframe>'];
  return undefined;
});
const browser = await launch(['evil.example', 'rebound.example']);

/** What a page can try, all in the page. Each gives what it found out: an empty list is what we want. */
const attacks = {
  async read({ target, routes, body }) {
    const read = [];
    const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
    const plain = { GET: [{}], HEAD: [{}], POST: [{ body }, { body, headers: { 'Content-Type': 'application/json' } }, { body: new URLSearchParams({ a: body }) }], DELETE: [{}], PUT: [{ body }], PATCH: [{ body }], OPTIONS: [{}] };
    const one = async (path, method, more) => {
      const init = { method, signal: AbortSignal.timeout(10000), ...more };
      const answer = await fetch(target + path, init).catch(() => undefined);
      // An answer of the browser's own kind that says nothing, or a refusal, is no leak.
      if (!answer || answer.type === 'opaque' || answer.status === 403) return;
      read.push(`${method} ${path} ${JSON.stringify(more)}: ${answer.status} ${(await answer.text()).slice(0, 60)}`);
    };
    for (const { path } of routes) {
      for (const [method, ways] of Object.entries(plain)) {
        const all = [...ways, { ...ways[0], headers: { Authorization: 'Bearer x' } }];
        if (['GET', 'HEAD', 'POST'].includes(method)) all.push(...ways.map((way) => ({ ...way, mode: 'no-cors', credentials: 'include' })));
        await Promise.all(all.map((more) => one(path, method, more)));
      }
      navigator.sendBeacon(target + path, new Blob([body], { type: 'text/plain' }));
    }
    await wait(0);
    return read;
  },
  /** Forms send what looks like JSON, without asking first. */
  async submit({ target, routes, body }) {
    const read = [];
    const posts = routes.filter(({ methods }) => methods.includes('post') || methods.includes('delete'));
    await Promise.all(posts.flatMap(({ path }) => ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'].map(async (enctype, i) => {
      const frame = document.createElement('iframe');
      frame.name = `f${path}${i}`;
      document.body.append(frame);
      const form = document.createElement('form');
      Object.assign(form, { method: 'post', action: target + path, enctype, target: frame.name });
      const field = document.createElement('textarea');
      // As text/plain this becomes `name=value`, and with an allowed extra member that is a whole request.
      field.name = body.replace(/\}$/, ',"x-a":"');
      field.value = '"}';
      form.append(field);
      document.body.append(form);
      const loaded = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 2500); });
      form.submit();
      await loaded;
      try {
        const text = frame.contentDocument?.body?.textContent ?? '';
        if (text && !text.includes('FORBIDDEN')) read.push(`form ${path}: ${text.slice(0, 60)}`);
      } catch {
        // of another origin: not readable
      }
    })));
    return read;
  },
  async embed({ target, routes, page }) {
    const read = [];
    const gets = [...routes.filter(({ methods }) => methods.includes('get')).map(({ path }) => path), ...page];
    const before = new Set(Object.getOwnPropertyNames(window));
    await Promise.all(gets.flatMap((path) => ['script', 'img', 'iframe', 'object', 'video'].map(async (tag) => {
      const made = document.createElement(tag);
      const loaded = new Promise((resolve) => { made.onload = () => resolve(true); made.onerror = () => resolve(false); setTimeout(() => resolve(false), 2500); });
      made[tag === 'object' ? 'data' : 'src'] = target + path;
      document.body.append(made);
      await loaded;
      try {
        const text = made.contentDocument?.body?.textContent ?? '';
        if (text && !text.includes('FORBIDDEN')) read.push(`${tag} ${path}: ${text.slice(0, 60)}`);
      } catch {
        // of another origin: not readable
      }
      if (tag === 'img' && made.naturalWidth > 0) read.push(`img ${path}: ${made.naturalWidth}`);
    })));
    for (const name of Object.getOwnPropertyNames(window)) if (!before.has(name) && !/^\d+$/.test(name) && !name.startsWith('f/')) read.push(`a script left ${name}`);
    await Promise.all(page.map((path) => import(target + path).then(() => read.push(`import ${path}`), () => {})));
    await Promise.all(gets.map((path) => new Promise((resolve) => {
      const source = new EventSource(target + path);
      source.onopen = () => read.push(`EventSource ${path}`);
      source.onerror = () => { source.close(); resolve(undefined); };
      setTimeout(() => { source.close(); resolve(undefined); }, 1500);
    })));
    return read;
  },
  async connect({ target, routes, running }) {
    const read = [];
    const names = ['', '+deflate', '+aes256gcm', '+deflate+aes256gcm'].map((stack) => `spandrel.download.v1+json${stack}`);
    const at = target.replace('http', 'ws');
    const offers = [[], ...names.map((name) => [name]), names];
    const tries = [...routes.map(({ path }) => [at + path, names]), ...offers.flatMap((offer) => [[`${at}/v1/ws`, offer], [`${at}/v1/ws?kid=k1&cn=${'A'.repeat(22)}`, offer]])];
    await Promise.all(tries.map(([address, offer]) => new Promise((resolve) => {
      const socket = new WebSocket(address, offer);
      socket.onopen = () => {
        read.push(`WebSocket ${address} ${offer}`);
        socket.send(JSON.stringify({ event: 'download:cancel', data: { downloadId: running }, timestamp: 0, requestId: 'evil' }));
      };
      socket.onmessage = ({ data }) => read.push(String(data).slice(0, 60));
      socket.onclose = () => resolve(undefined);
      setTimeout(() => { socket.close(); resolve(undefined); }, 3000);
    })));
    return read;
  },
};

function strangers(run) {
  const all = [
    ['another port', async (page) => { await page.goto(`http://127.0.0.1:${stranger.port}/`); return page.mainFrame(); }],
    ['another name', async (page) => { await page.goto(`http://evil.example:${stranger.port}/`); return page.mainFrame(); }],
    ['a sandboxed frame', async (page) => { await page.goto(`http://127.0.0.1:${stranger.port}/sandbox`); return page.mainFrame().childFrames()[0]; }],
    ['a rebound name', async (page) => {
      // Its first page would have come from elsewhere; here it is the refusal itself, which has the same origin.
      await page.goto(`http://rebound.example:${port}/`);
      return page.mainFrame();
    }],
  ];
  // The server under its own address, and under the name that leads to it.
  const targetOf = (name) => (name === 'a rebound name' ? `http://rebound.example:${port}` : base.replace(/\/$/, ''));
  return Promise.all(all.map(([name, open]) => run(name, open, targetOf(name))));
}

await strangers(async (name, open, target) => {
  for (const [attack, code] of Object.entries(attacks)) {
    await check(`${name}: ${attack} gets nothing and changes nothing`, async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      const answers = [];
      page.on('response', (response) => {
        const request = response.request();
        if (new URL(response.url()).port === port && response.status() !== 403) answers.push(`${request.method()} ${response.status()} ${new URL(response.url()).pathname}`);
      });
      const frame = await open(page);
      answers.length = 0;
      let refused = 0;
      page.on('response', (response) => { refused += response.status() === 403 ? 1 : 0; });
      const read = await frame.evaluate(code, { target, routes, body: JSON.stringify(REQUEST), page: PAGE, running });
      same(read, [], 'it learned');
      // What changes something was refused, not merely hidden; under a rebound name nothing at all is answered.
      const done = answers.filter((answer) => name === 'a rebound name' || /^(POST|DELETE|PUT|PATCH) 2/.test(answer));
      same(done, [], 'the server did');
      if (attack === 'read' || attack === 'submit') expect(refused > 0, 'no request reached the server, so nothing was tried');
      await context.close();
      same(await state(), untouched, 'the jobs after');
    });
  }
});

// The same means in the server's own page do reach it: the attacks above fail for the right reason.
await check('the page of the server itself can do all of it', async () => {
  const page = await browser.newPage();
  await page.goto(base);
  const told = await page.evaluate(async (body) => {
    const socket = new WebSocket(`ws://${location.host}/v1/ws`, ['spandrel.download.v1+json']);
    const opened = await new Promise((resolve) => { socket.onopen = () => resolve(true); socket.onclose = () => resolve(false); });
    const made = await fetch('/v1/downloads', { method: 'POST', body });
    return [opened, made.status, (await fetch('/v1/datasets')).status];
  }, JSON.stringify(REQUEST));
  same(told, [true, 202, 200], 'its own page');
});

await call(`/v1/downloads/${running}`, { method: 'DELETE' });
await browser.close();
stranger.stop();
done();
