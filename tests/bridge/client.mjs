// The small client that our own pages use, against a real bridge.
import { connect } from '../../crates/spandrel-bridge-service/web/socket.mjs';
import { check, done, expect, freePort, Heard, Program, same, WebSocket } from './harness.mjs';

/** A client whose states and events are kept. */
function client(base, options = {}) {
  const states = new Heard('states');
  const events = new Heard('events');
  const made = connect(base, {
    WebSocket, retryMs: 20, retryMaxMs: 100, onState: (state) => states.add(state), onEvent: (...event) => events.add(event), ...options,
  });
  return Object.assign(made, { states, events });
}

await check('it speaks, hears and is acknowledged', async () => {
  const program = await new Program().open();
  const page = client(program.url, { query: { client: 'true', roomId: '방 1' } });
  await page.states.when('open', (all) => all.includes('open'));
  same(page.states.all, ['connecting', 'open'], 'states');
  same(await page.ask('message', { data: '한😀', key: 'k' }), ['k'], 'acknowledged');
  same(page.emit('message', { data: 2 }), true, 'sent');
  program.say('send', { a: [1, null] });
  await page.events.count(1);
  same(page.events.all, [['message', { data: { a: [1, null] } }]], 'heard');
  await program.times('data', 2);
  page.close();
  await program.hears('close', '방 1');
  same(page.states.all.at(-1), 'closed', 'the end');
  same(page.emit('message', 3), false, 'sent after the end');
});

await check('it stays for longer than a silent page may', async () => {
  const program = await new Program().open();
  const page = client(program.url);
  await page.states.when('open', (all) => all.includes('open'));
  const start = performance.now();
  while (performance.now() - start < 7500) {
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    same(page.state, 'open', 'state');
  }
  page.close();
});

await check('it comes back when the bridge does, and says what got lost', async () => {
  const port = await freePort();
  const first = await new Program({ port }).open();
  const page = client(first.url);
  await page.states.when('open', (all) => all.includes('open'));
  first.child.kill('SIGSTOP'); // so that the question is on its way when the bridge dies
  const asked = page.ask('message', 'never answered').then(() => 'answered', (error) => error.message);
  await first.kill();
  expect((await asked).includes('lost'), `the question: ${await asked}`);
  await page.states.when('waiting', (all) => all.includes('waiting'));
  same(page.emit('message', 1), false, 'sent while away');
  await page.ask('message', 1).then(() => expect(false, 'asked while away'), () => {});
  const second = await new Program({ port }).open();
  await page.states.when('open again', (all) => all.at(-1) === 'open');
  await second.hears('connection');
  same(await page.ask('message', { key: 'again' }), ['again'], 'acknowledged');
  page.close();
});

await check('a bridge that hangs is given up', async () => {
  const program = await new Program().open();
  const page = client(program.url);
  await page.states.when('open', (all) => all.includes('open'));
  program.child.kill('SIGSTOP');
  await page.states.when('waiting', (all) => all.includes('waiting'), 9000);
  program.child.kill('SIGCONT');
  await page.states.when('open again', (all) => all.at(-1) === 'open');
  page.close();
});

done();
