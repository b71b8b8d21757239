// Certificates as clients see them: the whole chain, both transports, new files without a restart, files that are none.
//
//   node tls.mjs DIR      with chains in DIR/one and DIR/two
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import tls from 'node:tls';
import { ask, check, done, eventually, expect, page, Program, same } from './harness.mjs';

const FILES = ['hardware.key', 'cert.pem', 'ChainCA1.crt', 'RootCA.crt'];
const work = process.argv[2];
const read = (name, file) => fs.readFileSync(path.join(work, name, file), 'utf8');

let folders = 0;
/** A folder of its own with these files of a chain. */
function folder(name, files = FILES) {
  folders += 1;
  const made = path.join(work, `served ${folders}`);
  fs.mkdirSync(made);
  for (const file of files) fs.copyFileSync(path.join(work, name, file), path.join(made, file));
  return made;
}

function secure(dir) {
  const program = new Program({ env: { SPANDREL_HW_TLS_DIR: dir } });
  program.scheme = 'https';
  return program;
}

/** Common names from the leaf up, as a client that trusts `root` is shown them. */
function chain(port, root, { servername = 'hw.playentry.org', ...more } = {}) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ca: root, servername, ...more }, () => {
      const names = [];
      for (let at = socket.getPeerCertificate(true); at && !names.includes(at.subject.CN); at = at.issuerCertificate) names.push(at.subject.CN);
      resolve({ names, protocol: socket.getProtocol() });
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

await check('the whole chain is served, to either name, in both versions of TLS', async () => {
  const program = await secure(folder('one')).open();
  const root = read('one', 'RootCA.crt');
  for (const servername of ['hw.playentry.org', 'hardware.playentry.org']) {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const seen = await chain(program.port, root, { servername, minVersion: version, maxVersion: version });
      same(seen, { names: ['Leaf one', 'Middle one', 'Root one'], protocol: version }, servername);
    }
  }
});

for (const way of ['websocket', 'polling', 'upgrade']) {
  await check(`a page over https: ${way}`, async () => {
    const program = await secure(folder('one')).open();
    const tab = await page(program, 'r', { way, ca: read('one', 'RootCA.crt') });
    same(await ask(tab, 'message', { key: 'k' }), 'k', 'acknowledged');
    program.say('send', '한'.repeat(200_000));
    await tab.heard.count(1);
    same(tab.heard.all[0].data.length, 200_000, 'down');
  });
}

await check('keys in each form that people have', async () => {
  const key = crypto.createPrivateKey(read('one', 'hardware.key'));
  for (const type of ['pkcs8', 'sec1']) {
    const dir = folder('one');
    fs.writeFileSync(path.join(dir, 'hardware.key'), key.export({ type, format: 'pem' }));
    const program = await secure(dir).open();
    same((await chain(program.port, read('one', 'RootCA.crt'))).names.length, 3, type);
  }
});

await check('new files are served without a restart, and sessions go on', async () => {
  const dir = folder('one');
  const program = await secure(dir).open();
  const tab = await page(program, 'r', { ca: read('one', 'RootCA.crt') });
  await program.hears('connection');
  for (const file of FILES) fs.copyFileSync(path.join(work, 'two', file), path.join(dir, file));
  await eventually('the new certificate', async () => {
    const { names } = await chain(program.port, undefined, { rejectUnauthorized: false });
    return names[0] === 'Leaf two';
  });
  same((await chain(program.port, read('two', 'RootCA.crt'))).names, ['Leaf two', 'Middle two', 'Root two'], 'the new chain');
  same(await ask(tab, 'message', { key: 'still here' }), 'still here', 'the page from before');
  same(program.story().filter((line) => line.startsWith('running')), ['runningModeChanged 2'], 'told');
});

await check('files that are broken later leave the old certificate in force', async () => {
  const dir = folder('one');
  const program = await secure(dir).open();
  const lines = program.log.all.length;
  fs.writeFileSync(path.join(dir, 'cert.pem'), 'half a certif');
  // The files are looked at when somebody comes.
  await eventually('a line about the file', async () => {
    same((await chain(program.port, read('one', 'RootCA.crt'))).names[0], 'Leaf one', 'served');
    return program.log.all.slice(lines).some((line) => line.includes('cert.pem'));
  });
  same((await chain(program.port, read('one', 'RootCA.crt'))).names[0], 'Leaf one', 'served after it was seen');
});

await check('one of the four missing: plain HTTP', async () => {
  for (const missing of FILES) {
    const program = new Program({ env: { SPANDREL_HW_TLS_DIR: folder('one', FILES.filter((file) => file !== missing)) } });
    await program.open();
    const tab = await page(program, 'r');
    same(await ask(tab, 'message', { key: missing }), missing, 'plain');
  }
});

await check('files that cannot be used: a reason and exit code 2', async () => {
  for (const [what, break_] of [
    ['a certificate that is none', (dir) => fs.writeFileSync(path.join(dir, 'cert.pem'), 'nothing')],
    ['an empty key', (dir) => fs.writeFileSync(path.join(dir, 'hardware.key'), '')],
    ['the key of another', (dir) => fs.copyFileSync(path.join(work, 'two', 'hardware.key'), path.join(dir, 'hardware.key'))],
    ['a folder in the place of a file', (dir) => { fs.rmSync(path.join(dir, 'RootCA.crt')); fs.mkdirSync(path.join(dir, 'RootCA.crt')); }],
  ]) {
    const dir = folder('one');
    break_(dir);
    const program = secure(dir);
    program.say('open');
    same(await program.exit, { code: 2, signal: null }, what);
    expect(program.log.all.length > 0, `${what}: a reason`);
  }
});

await check('a plain request at the secure port ends, and harms nobody', async () => {
  const program = await secure(folder('one')).open();
  const { request } = await import('node:http');
  const end = await new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port: program.port, path: '/' }, (answer) => { answer.resume(); resolve(answer.statusCode); });
    asked.on('error', (error) => resolve(error.code));
    asked.end();
  });
  expect(end !== 200, `answered ${end}`);
  const answer = await new Promise((resolve, reject) => {
    https.get({ host: '127.0.0.1', port: program.port, path: '/', ca: read('one', 'RootCA.crt'), servername: 'hw.playentry.org' }, (response) => {
      response.setEncoding('utf8');
      response.on('data', resolve);
    }).on('error', reject);
  });
  same(answer, 'hello entry', 'over https');
});

done();
