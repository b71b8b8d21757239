// How a bridge begins and ends, and how sessions do: parents that leave, signals, silence, pipes that close.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { after, ask, check, done, eventually, expect, listens, page, Program, raw, same } from './harness.mjs';

/** The protocol's bound for a bridge whose parent is gone. */
const GONE_WITHIN_MS = 3500;

// Started by a check below: a parent of its own, to be killed from outside.
if (process.argv[2] === '--parent') {
  const program = await new Program().open();
  console.log(JSON.stringify({ pid: program.child.pid, port: program.port }));
  await new Promise(() => {});
}

const isAlive = (pid) => {
  try { process.kill(pid, 0); return true; } catch { return false; }
};

/** Settles like `promise`, or fails after `ms`. */
function within(what, ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

await check('the parent closes the channel: exit code 0, the port is free', async () => {
  const program = await new Program().open();
  const tab = await page(program, 'r');
  program.child.disconnect();
  for (let i = 0; i < 50; i += 1) tab.emit('message', i); // nobody is there to be told
  const ended = await within('the end', GONE_WITHIN_MS, program.exit);
  same(ended, { code: 0, signal: null }, 'exit');
  await tab.lost.count(1);
  expect(!(await listens(program.port)), 'the port is free');
});

await check('the parent leaves before open: exit code 0', async () => {
  const program = new Program({ env: { SPANDREL_HW_SECRET: 's' } });
  program.say('encrypt', 'so that it has started');
  await program.hears('encrypt');
  program.child.disconnect();
  same(await within('the end', GONE_WITHIN_MS, program.exit), { code: 0, signal: null }, 'exit');
});

await check('the parent is killed: the bridge goes with it', async () => {
  const parent = spawn(process.execPath, [fileURLToPath(import.meta.url), '--parent'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise((resolve) => { parent.stdout.once('data', resolve); });
  const { pid, port } = JSON.parse(line);
  expect(await listens(port), 'it listens');
  parent.kill('SIGKILL');
  await eventually('the bridge is gone', () => !isAlive(pid), GONE_WITHIN_MS);
  expect(!(await listens(port)), 'the port is free');
});

for (const way of ['websocket', 'polling']) {
  await check(`SIGTERM: every page is reported and dropped, the process ends: ${way}`, async () => {
    const program = await new Program().open();
    const tabs = [await page(program, 'a', { way }), await page(program, undefined, { way })];
    await program.times('connection', 2);
    const from = program.mark;
    program.child.kill('SIGTERM');
    await within('the end', 3000, program.exit);
    for (const tab of tabs) await tab.lost.count(1, 8000);
    same(program.story(from).sort(), ['close', 'close a'], 'told');
    same(program.ended, { code: 0, signal: null }, 'exit');
    expect(!(await listens(program.port)), 'the port is free');
  });
}

await check('SIGTERM before open ends it, too', async () => {
  const program = new Program({ env: { SPANDREL_HW_SECRET: 's' } });
  program.say('encrypt', 'so that it has started');
  await program.hears('encrypt');
  program.child.kill('SIGTERM');
  await within('the end', 3000, program.exit);
});

await check('a silent page is dropped after six seconds, one that pings stays', async () => {
  const program = await new Program().open();
  const silent = await raw(program, 'client=true&roomId=silent');
  const { pingInterval, pingTimeout } = silent.handshake;
  same([pingInterval, pingTimeout], [1000, 5000], 'what the handshake promises');
  const lively = await page(program, 'lively');
  const polling = await page(program, 'polling', { way: 'polling' });
  const started = performance.now();
  await program.hears('close', 'silent', { ms: 12_000 });
  const took = performance.now() - started;
  expect(took > 5000 && took < 8500, `dropped after ${took} ms`);
  await silent.gone;
  same([await ask(lively, 'message', { key: 1 }), await ask(polling, 'message', { key: 2 })], [1, 2], 'the others');
  same(program.story().filter((line) => line.startsWith('close')), ['close silent'], 'closes');
});

await check('a page whose process was killed is noticed at once', async () => {
  const program = await new Program().open();
  const tab = await raw(program, 'client=true&roomId=gone');
  await program.hears('connection');
  tab._socket.resetAndDestroy();
  await program.hears('close', 'gone', { ms: 2000 });
});

await check('closed standard output and error end nothing', async () => {
  const program = await new Program().open();
  program.child.stdout.destroy();
  program.child.stderr.destroy();
  await page(program, 'r');
  // Each is worth a line in the log, which nobody reads.
  for (let i = 0; i < 5; i += 1) await raw(program, 'client=true', { origin: `https://stranger${i}.example` }).catch(() => {});
  program.child.send({ key: 'encrypt', value: 'without a secret' });
  await after(50);
  const tab = await page(program, 'r2');
  same(await ask(tab, 'message', { key: 'on' }), 'on', 'it goes on');
});

await check('without a channel, or with one it cannot speak, it says so and ends with 2', async () => {
  for (const [name, env, word] of [
    ['no channel', { NODE_CHANNEL_FD: '' }, /NODE_CHANNEL_FD|--stdio/],
    ['no number', { NODE_CHANNEL_FD: 'three' }, /three/],
    ['not open', { NODE_CHANNEL_FD: '77' }, /77/],
    ['structured clone', { NODE_CHANNEL_FD: '3', NODE_CHANNEL_SERIALIZATION_MODE: 'advanced' }, /advanced/],
  ]) {
    const program = new Program({ channel: 'pipe', env });
    same(await within(name, 5000, program.exit), { code: 2, signal: null }, name);
    await program.log.when(`${name}: a reason`, (all) => all.some((line) => word.test(line)), 2000);
  }
});

done();
