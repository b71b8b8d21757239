// One program, its bridge and its pages: what each hears, and that nothing is changed on the way.
import { ask, check, done, expect, listens, page, Program, raw, same, upgraded, versions, ways } from './harness.mjs';

const HEAVY = 5_000_000;

await check('nothing listens and nothing is said before open', async () => {
  const program = new Program({ port: 0, env: { SPANDREL_HW_SECRET: 'words before open' } });
  program.say('addRoomId', 'early');
  program.say('send', 'into the void');
  program.say('encrypt', 'x');
  await program.hears('encrypt'); // in order: what came before has been looked at
  same(program.story().map((line) => line.split(' ')[0]), ['encrypt'], 'said before open');
  expect(program.port === undefined, 'a port before open');
  await program.open();
  expect(await listens(program.port), 'it listens after open');
});

for (const version of Object.keys(versions)) {
  for (const way of Object.keys(ways)) {
    await check(`a page comes, speaks and goes: ${way}, client ${version}`, async () => {
      const program = await new Program().open();
      same(program.story(), ['runningModeChanged 2', 'cloudModeChanged 0'], 'at the start');
      const from = program.mark;
      const tab = await page(program, '3f09a1c2d4', { version, way });
      const said = { data: '{"servo":90}', mode: 0, type: 'utf8' };
      tab.emit('message', said);
      await program.hears('data', said);
      program.say('send', { action: 'state', data: { statement: 'connected' } });
      await tab.heard.count(1);
      same(tab.heard.all, [{ data: { action: 'state', data: { statement: 'connected' } } }], 'at the page');
      tab.close();
      await program.hears('close', '3f09a1c2d4', { from });
      same(program.said.all.slice(from), [
        { key: 'connection' }, { key: 'cloudModeChanged', value: 0 }, { key: 'data', value: said }, { key: 'close', value: '3f09a1c2d4' },
      ], 'the whole story');
    });

    await check(`every kind of value keeps its shape: ${way}, client ${version}`, async () => {
      const program = await new Program().open();
      const tab = await page(program, '방 7/😀?&=#', { version, way });
      await program.hears('connection');
      const values = [
        null, true, false, 0, -0.25, 6.02e23, '', 'plain', '안녕하세요', '👩‍🔬🇰🇷', '\ud83d', 'tail \udc00', '\u0000\u0007\u2028\u2029"\\/', [], {}, [[[]]],
        { b: 1, a: { '한': [null, '😀'] } }, { data: { data: 'nested' } }, '가'.repeat(5000),
      ];
      for (const value of values) program.say('send', value);
      program.say('send');
      program.say('disconnectHardware');
      await tab.heard.count(values.length + 2);
      same(tab.heard.all, [...values.map((data) => ({ data })), {}, { data: 'disconnectHardware' }], 'down');
      for (const value of values) tab.emit('message', value);
      await program.times('data', values.length);
      same(program.data(), values, 'up');
      tab.close();
      await program.hears('close', '방 7/😀?&=#');
    });

    await check(`acknowledgements come in order: ${way}, client ${version}`, async () => {
      const program = await new Program().open();
      const tab = await page(program, 'r', { version, way });
      const answers = await Promise.all([
        ask(tab, 'message', { key: 'a key', data: 1 }), ask(tab, 'message', { key: { any: ['thing', null] } }), ask(tab, 'message', { data: 'none' }),
        ask(tab, 'message', 'text'), ask(tab, 'message', null), ask(tab, 'message', [{ key: 'not mine' }]),
      ]);
      same(answers, ['a key', { any: ['thing', null] }, true, true, true, true], 'acknowledgements');
      await program.times('data', 6);
      same(await ask(tab, 'message'), true, 'nothing said, still acknowledged');
      tab.emit('message', 'with a second argument', 2);
      same(await ask(tab, 'message', 'and', 'more', 'of', 'them'), true, 'more arguments');
      await program.times('data', 8);
      same(program.data().slice(6), ['with a second argument', 'and'], 'only the first argument counts');
    });

    await check(`binary becomes a list of bytes for the program: ${way}, client ${version}`, async () => {
      const program = await new Program().open();
      const tab = await page(program, 'r', { version, way });
      const bytes = Buffer.from([0, 1, 127, 128, 254, 255]);
      tab.emit('message', { picture: bytes, list: ['x', Buffer.from('한')] });
      same(await ask(tab, 'message', { key: 'k', empty: Buffer.alloc(0) }), 'k', 'acknowledged');
      tab.emit('message', 'after');
      const data = await program.times('data', 3);
      const list = (buffer) => ({ type: 'Buffer', data: [...buffer] });
      same(data, [{ picture: list(bytes), list: ['x', list(Buffer.from('한'))] }, { key: 'k', empty: list(Buffer.alloc(0)) }, 'after'], 'data');
    });
  }
}

for (const way of ['websocket', 'polling']) {
  await check(`five megabytes pass both ways: ${way}`, async () => {
    const program = await new Program().open();
    const tab = await page(program, 'r', { way });
    await program.hears('connection');
    const text = `${'ab한😀'.repeat(HEAVY / 10)}!`;
    program.say('send', text);
    await tab.heard.count(1, 60_000);
    expect(tab.heard.all[0].data === text, 'down, unchanged');
    same(await ask(tab, 'message', { data: text, key: 1 }), 1, 'acknowledged');
    await program.times('data', 1, { ms: 60_000 });
    expect(program.data()[0].data === text, 'up, unchanged');
    const bytes = Buffer.alloc(HEAVY, 'spandrel');
    tab.emit('message', { bytes });
    const [, { bytes: got }] = await program.times('data', 2, { ms: 60_000 });
    expect(Buffer.from(got.data).equals(bytes), 'binary up, unchanged');
  });
}

await check('numbers keep their text and objects their order', async () => {
  const program = await new Program({ channel: 'pipe' }).open();
  const tab = await raw(program);
  const exact = '{"z":12345678901234567890,"a":1.0,"m":1e400,"\\ud83d":-0,"z":[0.10000000000000000001]}';
  tab.send(`42["message",${exact}]`);
  await program.text.when('the message', (all) => all.find((line) => line === `{"key":"data","value":${exact}}`));
  program.pipe.write(`{"key":"send","value":${exact}}\n`);
  await tab.heard.count(1);
  same(tab.heard.all, [`42["message",{"data":${exact}}]`], 'at the page');
});

for (const version of Object.keys(versions)) {
  await check(`nothing is lost or overtaken while a page moves to WebSocket: client ${version}`, async () => {
    const program = await new Program().open();
    const tab = await page(program, 'r', { version, way: 'upgrade', waits: false });
    await program.hears('connection');
    const count = 500;
    for (let i = 0; i < count; i += 1) {
      program.say('send', i);
      tab.emit('message', i);
      if (i % 25 === 0) await new Promise(setImmediate);
    }
    await upgraded(tab);
    program.say('send', count);
    tab.emit('message', count);
    await tab.heard.count(count + 1);
    await program.times('data', count + 1);
    const wanted = Array.from({ length: count + 1 }, (_, i) => i);
    same(tab.heard.all.map((message) => message.data), wanted, 'down');
    same(program.data(), wanted, 'up');
  });
}

await check('every page hears the program, whatever its room', async () => {
  const program = await new Program().open();
  program.say('addRoomId', 'mine');
  const tabs = [await page(program, 'mine'), await page(program, 'other', { way: 'polling' }), await page(program), await page(program, '', { version: '2.5.0' })];
  await program.times('connection', tabs.length);
  program.say('send', 'all of you');
  for (const tab of tabs) await tab.heard.count(1);
  for (const tab of tabs) tab.emit('message', 'from each');
  await program.times('data', tabs.length);
  for (const tab of tabs) tab.close();
  const rooms = await program.times('close', tabs.length);
  same(rooms.filter(Boolean).sort(), ['mine', 'other'], 'rooms of those who left');
});

await check('other events mean nothing, whatever they are called', async () => {
  const program = await new Program().open();
  const tab = await page(program, 'r');
  await program.hears('connection');
  const from = program.mark;
  const answered = [];
  for (const name of ['close', 'mode', 'ping', 'matchTarget', '', '메시지', 'constructor', '__proto__', 'Message']) {
    tab.emit(name, { data: name });
    tab.emit(name, null, () => answered.push(name));
    tab.emit(name);
  }
  same(await ask(tab, 'message', { key: 'last' }), 'last', 'still served');
  same(answered, [], 'acknowledged');
  await program.hears('data', { key: 'last' });
  same(program.story(from), ['data {"key":"last"}'], 'told the program');
  tab.close();
  await program.hears('close', 'r');
  same(program.story(from).filter((line) => line.startsWith('close')), ['close r'], 'one close');
});

await check('a second open changes nothing', async () => {
  const program = await new Program({ env: { SPANDREL_HW_SECRET: 's' } }).open();
  const tab = await page(program, 'r');
  await program.hears('connection');
  const from = program.mark;
  program.say('open');
  program.say('open', 'production');
  program.say('encrypt', 'a line behind them');
  await program.hears('encrypt');
  same(program.story(from).length, 1, `said: ${program.story(from)}`);
  same(await ask(tab, 'message', { key: 1 }), 1, 'the page is still there');
});

done();
