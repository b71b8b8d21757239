// What the scripts of this folder share: a browser that reaches this machine only, and checks that count.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

export const WEB = new URL('../../crates/spandrel-download-service/web/', import.meta.url);

// A page that hangs must not hang the tests with it.
setTimeout(() => {
  console.log('FAILED  not done after four minutes');
  process.exit(1);
}, 240_000).unref();

/** A Chromium to which nothing but this machine exists; `names` are further host names for it. */
export function launch(names = []) {
  const rules = [...names.map((name) => `MAP ${name} 127.0.0.1`), 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'];
  return chromium.launch({
    executablePath: process.env.SPANDREL_CHROMIUM ?? process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [`--host-resolver-rules=${rules.join(', ')}`],
  });
}

let failed = 0;
export async function check(name, run) {
  const started = performance.now();
  try {
    await run();
    console.log(`ok      ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.message}`);
  }
}
export function expect(isTrue, message) {
  if (!isTrue) throw new Error(message);
}
/** `have` and `want` as JSON. */
export function same(have, want, what) {
  const [left, right] = [JSON.stringify(have), JSON.stringify(want)];
  expect(left === right, `${what}: have ${left}, want ${right}`);
}
/** Prints the sum and ends the script. */
export function done() {
  console.log(failed === 0 ? 'all good' : `${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

/** Has the caller kill the server and start it again at the same address. */
export function restartServer() {
  console.log('RESTART');
  return new Promise((resolve) => { process.stdin.once('data', resolve); });
}

/** Serves files by `answer(path)`, which gives `[type, body]` or nothing, on a free port unless one is given. */
export async function serve(answer, port = 0) {
  const server = createServer(async (request, response) => {
    const [type, body] = (await answer(new URL(request.url, 'http://x').pathname)) ?? [];
    response.writeHead(body === undefined ? 404 : 200, { 'Content-Type': type ?? 'text/plain' });
    response.end(body);
  });
  await new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
  return { port: server.address().port, stop: () => { server.closeAllConnections(); server.close(); } };
}
/** The modules of the page, and an empty page to run them in. */
export async function webFile(path) {
  if (path === '/') return ['text/html', '<!doctype html><title>empty</title>'];
  if (path === '/favicon.ico') return ['image/x-icon', ''];
  if (!/^\/\w+\.js$/.test(path)) return undefined;
  return ['text/javascript', await readFile(new URL(`.${path}`, WEB))];
}
