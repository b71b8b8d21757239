// The channel to the parent, byte by byte, and the two keys that only it can use.
import crypto from 'node:crypto';
import { createServer } from 'node:net';
import { ask, check, done, eventually, expect, listens, page, Program, same } from './harness.mjs';

const SECRET = 'a secret of the test';
const withSecret = { env: { SPANDREL_HW_SECRET: SECRET } };

/** Key and vector, as OpenSSL made them from a passphrase before it counted rounds. */
function derive(salt) {
  const md5 = (...parts) => crypto.createHash('md5').update(Buffer.concat(parts)).digest();
  const rounds = [];
  while (rounds.length < 3) rounds.push(md5(rounds.at(-1) ?? Buffer.alloc(0), Buffer.from(SECRET), salt));
  const all = Buffer.concat(rounds);
  return [all.subarray(0, 32), all.subarray(32, 48)];
}
function open(text) {
  const bytes = Buffer.from(text, 'base64');
  same(bytes.subarray(0, 8).toString(), 'Salted__', 'how it begins');
  const cipher = crypto.createDecipheriv('aes-256-cbc', ...derive(bytes.subarray(8, 16)));
  return Buffer.concat([cipher.update(bytes.subarray(16)), cipher.final()]).toString();
}
function seal(text) {
  const salt = crypto.randomBytes(8);
  const cipher = crypto.createCipheriv('aes-256-cbc', ...derive(salt));
  return Buffer.concat([Buffer.from('Salted__'), salt, cipher.update(text), cipher.final()]).toString('base64');
}

await check('what the bridge encrypts, others decrypt, and the other way round', async () => {
  const program = new Program(withSecret);
  const texts = ['', 'a', 'sixteen bytes...', '모듈 파일 😀', 'x'.repeat(100_000)];
  for (const text of texts) program.say('encrypt', text);
  for (const text of texts) program.say('decrypt', seal(text));
  same((await program.times('encrypt', texts.length)).map(open), texts, 'encrypted by the bridge');
  same(await program.times('decrypt', texts.length), texts, 'decrypted by the bridge');
});

await check('the same text is encrypted differently each time', async () => {
  const program = new Program(withSecret);
  for (let i = 0; i < 20; i += 1) program.say('encrypt', 'the same');
  const made = await program.times('encrypt', 20);
  same(new Set(made).size, 20, 'different results');
});

await check('what cannot be decrypted is answered with nothing in it, what is no text not at all', async () => {
  const program = new Program(withSecret);
  const whole = seal('a text that fills more than one block');
  const broken = ['', '!', 'AAAA', whole.slice(0, 20), `${whole.slice(0, -8)}AAAAAAA=`, Buffer.from('Salted__12345678').toString('base64')];
  for (const text of broken) program.say('decrypt', text);
  for (const value of [undefined, null, 7, {}, ['x'], true]) {
    program.say('encrypt', value);
    program.say('decrypt', value);
  }
  program.say('encrypt', 'the end');
  await program.hears('encrypt');
  same(program.story().slice(0, -1), broken.map(() => 'decrypt '), 'answers');
});

await check('without a secret there is no answer and one line in the log', async () => {
  const program = new Program({ env: { SPANDREL_HW_SECRET: '' } });
  for (let i = 0; i < 5; i += 1) {
    program.say('encrypt', 'x');
    program.say('decrypt', 'x');
  }
  await program.open();
  same(program.story(), ['runningModeChanged 2', 'cloudModeChanged 0'], 'said');
  const lines = await program.log.when('a line about the secret', (all) => {
    const about = all.filter((line) => line.includes('SPANDREL_HW_SECRET'));
    return about.length > 0 && about;
  });
  same(lines.length, 1, `lines: ${lines}`);
});

await check('messages may come in any pieces', async () => {
  const text = '한글 😀 \\" {}\n';
  const bytes = Buffer.from([
    { key: 'encrypt', value: text }, { key: 'addRoomId', value: '방' }, { key: 'encrypt', value: '2' },
  ].map((message) => `${JSON.stringify(message)}\n`).join(''));
  const program = new Program({ channel: 'pipe', ...withSecret });
  for (const byte of bytes) { // one at a time, so that each border is inside something once
    program.pipe.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  program.pipe.write(Buffer.concat(Array.from({ length: 50 }, () => bytes)));
  const made = await program.times('encrypt', 102);
  same(made.map(open), Array.from({ length: 51 }, () => [text, '2']).flat(), 'answers, in order');
});

await check('lines that are no message are passed over', async () => {
  const program = new Program({ channel: 'pipe', ...withSecret });
  const bad = [
    '', '   ', '{', '}', '{"key":', 'open', '{"key":"encrypt" "value":"x"}', "{'key':'encrypt'}", '\ufeff{}', '[]', '[{"key":"encrypt","value":"x"}]',
    'null', 'true', '-1', '"exit"', '{}', '{"value":1}', '{"key":null,"value":"x"}', '{"key":7,"value":"x"}', '{"key":"","value":"x"}', '{"key":["encrypt"]}',
    '{"key":"unheard of","value":"x"}', '{"key":"__proto__","value":"x"}', '{"cmd":"NODE_UNKNOWN","key":"encrypt","value":"x"}', `${'['.repeat(20_000)}`,
  ];
  for (const line of bad) program.pipe.write(`${line}\n`);
  program.pipe.write(Buffer.from([0xff, 0xfe, 0x0a, 0x00, 0x0a, 0xc3, 0x28, 0x0a]));
  program.say('encrypt', 'after them');
  await program.hears('encrypt');
  same(program.said.all.length, 1, `said: ${program.text.all}`);
  same(open(program.said.all[0].value), 'after them', 'the answer');
  await program.open();
});

await check('a line that is far too long is passed over, too', async () => {
  const program = new Program({ channel: 'pipe', ...withSecret });
  program.pipe.write(`{"key":"encrypt","value":"${'x'.repeat(65 * 1024 * 1024)}"}\n`);
  program.say('encrypt', 'after it');
  await program.hears('encrypt', undefined, { ms: 60_000 });
  same(open(program.said.all[0].value), 'after it', 'the answer');
});

await check('a real Node parent may send anything', async () => {
  const program = await new Program(withSecret).open();
  const from = program.mark;
  for (const message of ['exit', 5, true, [1], {}, { key: 7 }, { cmd: 'NODE_OTHER', key: 'encrypt', value: 'x' }]) program.child.send(message);
  for (const key of ['connectHardwareSuccess', 'connectHardwareFailed', 'addRoomId', 'unheard of']) program.say(key);
  program.say('addRoomId', 7);
  program.say('addRoomId', '');
  program.say('encrypt', 'x');
  await program.hears('encrypt');
  same(program.story(from).length, 1, `said: ${program.story(from)}`);
  const tab = await page(program, 'r');
  same(await ask(tab, 'message', { key: 1 }), 1, 'served');
});

await check('a descriptor that a Node parent sends along is not kept', async () => {
  const program = await new Program().open();
  const server = createServer();
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  // Wrapped by Node in a message of its own. It holds back what follows until it is answered, which the bridge, as one
  // that knows no such messages, does not do.
  program.child.send({ key: 'send', value: 'with a handle' }, server);
  const tab = await page(program, 'r');
  same(await ask(tab, 'message', { key: 1 }), 1, 'served');
  await program.hears('data', { key: 1 });
  same(tab.heard.all, [], 'at the page');
  const { port } = server.address();
  server.close();
  await eventually('nobody holds the descriptor', async () => !(await listens(port)), 5000);
});

await check('ten thousand messages arrive in order, both ways', async () => {
  const program = await new Program().open();
  const tab = await page(program, 'r');
  await program.hears('connection');
  const count = 10_000;
  for (let i = 0; i < count; i += 1) program.say('send', i);
  for (let i = 0; i < count; i += 1) tab.emit('message', i);
  await tab.heard.count(count, 60_000);
  await program.times('data', count, { ms: 60_000 });
  const isOrdered = (list) => list.every((value, i) => value === i);
  expect(isOrdered(tab.heard.all.map((message) => message.data)), 'down');
  expect(isOrdered(program.data()), 'up');
});

done();
