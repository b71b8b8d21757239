// The page of docs/browser-client.md, as it is printed there, on an origin the server allows:
//
//     node docs.mjs http://127.0.0.1:8001/ --port 5500 --token TOKEN --key ID:SECRET
//
// The server's `allowedOrigins` must list `http://127.0.0.1:5500`.
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { parseArgs } from 'node:util';
import { check, done, expect, launch, same, serve } from './harness.mjs';

const { values: options, positionals: [base] } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '' }, token: { type: 'string', default: '' }, key: { type: 'string', default: ':' } },
});
if (!base || !options.port) {
  console.error('usage: node docs.mjs BASE_URL --port PORT [--token TOKEN --key ID:SECRET]');
  process.exit(2);
}
const [id, secret] = options.key.split(':');
const guide = await readFile(new URL('../../docs/browser-client.md', import.meta.url), 'utf8');
const [, html] = /```html\n([\s\S]*?)```/.exec(guide) ?? [];
const printed = html?.replaceAll('http://127.0.0.1:8001/', new URL('/', base).href);

const site = await serve((path) => (path === '/' ? ['text/html', printed] : undefined), Number(options.port));
const browser = await launch();
const page = await browser.newPage();
const faults = [];
page.on('pageerror', (error) => faults.push(`exception: ${error}`));
page.on('dialog', (dialog) => { faults.push(`alert: ${dialog.message()}`); dialog.dismiss(); });

await check('the page of the guide exports on another, allowed origin', async () => {
  expect(html.split('\n').length < 40, 'it is no short page any more');
  await page.goto(`http://127.0.0.1:${site.port}/`);
  for (const [field, value] of Object.entries({ token: options.token, id, secret })) await page.fill(`#${field}`, value);
  await page.click('button');
  await page.waitForSelector('#files a', { timeout: 30000 });
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#files a')]);
  const rows = gunzipSync(await readFile(await download.path())).toString().trimEnd().split('\r\n');
  expect(rows.length > 20000, `the file has ${rows.length} lines`);
  same(await page.textContent('#state'), 'closed', 'the connection');
  same(faults, [], 'faults');
});

await check('the guide names every option, event and bound there is', async () => {
  const source = await readFile(new URL('../../crates/spandrel-download-service/web/client.js', import.meta.url), 'utf8');
  const names = [
    ...source.matchAll(/#tell\('([\w:-]+)'/g),
    ...(/@typedef \{\{ (url\?[\s\S]*?) \}\} Options/.exec(source)?.[1] ?? '').matchAll(/(\w+)\?:/g),
    ...source.matchAll(/code: '([A-Z_]+)'/g),
  ].map(([, name]) => name).filter((name) => !['INTERNAL', 'DOWNLOAD_NOT_FOUND'].includes(name));
  expect(names.length > 20, 'the source is read');
  same([...new Set(names)].filter((name) => !guide.includes(`\`${name}\``)), [], 'not in the guide');
});

await browser.close();
site.stop();
done();
