// Several programs on one machine: the first holds the port, the others join it, and each room has one program.
import {
  after, ask, check, done, eventually, expect, freePort, listens, member, page, Program, raw, same,
} from './harness.mjs';

/** With `--tls DIR`: the folder of the certificate files, and everything over https. */
const tls = process.argv.includes('--tls') ? process.argv[process.argv.indexOf('--tls') + 1] : undefined;
const env = tls ? { SPANDREL_HW_TLS_DIR: tls } : {};
const BACK = { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 300 };
const trust = tls ? { rejectUnauthorized: false } : {};

function program(port, more) {
  const one = new Program({ port, env: { ...env, ...more } });
  if (tls) one.scheme = 'https';
  return one;
}
const tab = (host, room, how) => page(host, room, { ...trust, ...how });

/** A host and programs that joined it, one per room; the first room is the host's. */
async function cloud(...rooms) {
  const port = await freePort();
  const host = await program(port).open();
  const joined = [];
  for (const _ of rooms.slice(1)) {
    const one = program(port);
    one.say('open');
    await one.hears('cloudModeChanged', 1);
    joined.push(one);
  }
  await host.times('connection', joined.length);
  [host, ...joined].forEach((one, i) => { if (rooms[i]) one.say('addRoomId', rooms[i]); });
  return [host, ...joined];
}

/** Waits until what a page says arrives at a program: then its room is known. */
async function paired(socket, one) {
  const word = `are you there ${Math.random()}`;
  await eventually('a page reaches its program', async () => {
    if (socket.connected) socket.emit('message', word);
    await after(30);
    return one.data().includes(word);
  });
}

await check('the second program joins the first', async () => {
  const [host, joined] = await cloud(undefined, undefined);
  same(joined.story(), ['runningModeChanged 3', 'cloudModeChanged 1'], 'at the second');
  await host.hears('cloudModeChanged', 1);
  same(host.story(), ['runningModeChanged 2', 'cloudModeChanged 0', 'connection', 'cloudModeChanged 1'], 'at the first');
  await joined.kill();
  await host.hears('cloudModeChanged', 0, { from: 4 });
  same(host.story(4), ['close', 'cloudModeChanged 0'], 'when it leaves');
});

await check('each room has its program, and nobody hears another', async () => {
  const [host, one, two] = await cloud('host', 'one', 'two');
  const tabs = { host: await tab(host, 'host'), one: await tab(host, 'one', { way: 'polling' }), two: await tab(host, 'two', { way: 'upgrade', version: '2.5.0' }), nobody: await tab(host, 'nobody') };
  await paired(tabs.host, host);
  await paired(tabs.one, one);
  await paired(tabs.two, two);
  const programs = { host, one, two };
  const marks = Object.fromEntries(Object.entries(programs).map(([name, { mark }]) => [name, mark]));
  for (const [name, socket] of Object.entries(tabs)) same(await ask(socket, 'message', { from: name, key: name }), name, `acknowledged to ${name}`);
  for (const [name, { said }] of Object.entries(programs)) {
    await said.when(`what the page of ${name} said`, (all) => all.slice(marks[name]).some((item) => item.value?.from === name));
    same(programs[name].data(marks[name]), [{ from: name, key: name }], `at the program ${name}`);
  }
  for (const [name, each] of Object.entries(programs)) for (let i = 0; i < 100; i += 1) each.say('send', `${name} ${i}`);
  for (const name of Object.keys(programs)) {
    await tabs[name].heard.count(100);
    same(tabs[name].heard.all, Array.from({ length: 100 }, (_, i) => ({ data: `${name} ${i}` })), `at the page of ${name}`);
  }
  same(tabs.nobody.heard.all, [], 'at the page of no program');
});

await check('two pages of one room both hear it, and both are heard', async () => {
  const [host, one] = await cloud('host', 'one');
  const both = [await tab(host, 'one'), await tab(host, 'one', { way: 'polling', version: '2.5.0' })];
  for (const socket of both) await paired(socket, one);
  one.say('send', 'to both');
  one.say('disconnectHardware');
  for (const socket of both) {
    await socket.heard.count(2);
    same(socket.heard.all, [{ data: 'to both' }, { data: 'disconnectHardware' }], 'heard');
  }
});

await check('binary between a page and a program that joined', async () => {
  const [host, one] = await cloud('host', 'one');
  const socket = await tab(host, 'one');
  await paired(socket, one);
  socket.emit('message', { bytes: Buffer.from([0, 200, 255]), text: '한' });
  await one.hears('data', { bytes: { type: 'Buffer', data: [0, 200, 255] }, text: '한' });
  const foreign = await member(host, trust);
  await host.times('connection', 3);
  foreign.emit('matchTarget', { roomId: 'two' });
  const other = await tab(host, 'two');
  await eventually('the foreign program is paired', async () => { other.emit('message', { b: Buffer.from([7]) }); await after(30); return foreign.heard.all.length > 0; });
  expect(Buffer.isBuffer(foreign.heard.all[0].b) && foreign.heard.all[0].b[0] === 7, 'binary stays binary');
  foreign.emit('message', { data: Buffer.from([8, 9]) });
  await other.heard.count(1);
  same([...other.heard.all[0].data], [8, 9], 'binary down');
});

await check('a room can be told early or late, and only the last one counts', async () => {
  const port = await freePort();
  const host = await program(port).open();
  const early = program(port);
  early.say('addRoomId', 'early');
  early.say('open');
  await early.hears('runningModeChanged', 3);
  await paired(await tab(host, 'early'), early);
  early.say('addRoomId', 'later');
  await paired(await tab(host, 'later'), early);
  // The room it left has no program any more.
  const left = await tab(host, 'early');
  const from = early.mark;
  same(await ask(left, 'message', { key: 1 }), 1, 'acknowledged all the same');
  const now = await tab(host, 'later');
  same(await ask(now, 'message', { key: 2 }), 2, 'acknowledged');
  await early.hears('data', { key: 2 }, { from });
  same(early.data(from), [{ key: 2 }], 'what it hears');
});

await check('a page cannot take a room, and a program that leaves gives its room back', async () => {
  const [host, one, two] = await cloud(undefined, 'one', 'two');
  const thief = await tab(host, 'thief');
  for (const value of ['one', { roomId: 'one' }, null, 7, [], { roomId: 7 }]) thief.emit('matchTarget', value);
  const socket = await tab(host, 'one');
  await paired(socket, one);
  same(thief.heard.all, [], 'at the thief');
  await one.kill();
  await host.hears('close', 'one');
  host.say('addRoomId', 'one');
  await paired(socket, host);
  await paired(await tab(host, 'two'), two);
});

await check('a host without a room speaks to pages without a program only', async () => {
  const [host, one] = await cloud(undefined, 'one');
  const [theirs, free] = [await tab(host, 'one'), await tab(host, 'free')];
  await paired(theirs, one);
  host.say('send', 'from the host');
  await free.heard.count(1);
  one.say('send', 'from its own');
  await theirs.heard.count(1);
  same([theirs.heard.all, free.heard.all], [[{ data: 'from its own' }], [{ data: 'from the host' }]], 'heard');
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
  await check(`the host ends by ${signal}: another takes over within a second, pages come back`, async () => {
    const [host, one] = await cloud('host', 'one');
    const socket = await tab(host, 'one', BACK);
    await paired(socket, one);
    const from = one.mark;
    const started = performance.now();
    host.child.kill(signal);
    await one.hears('runningModeChanged', 2, { from });
    const took = performance.now() - started;
    expect(took < 1500, `took over after ${took} ms`);
    await one.hears('connection', undefined, { from });
    same(one.story(from).slice(0, 3), ['runningModeChanged 2', 'cloudModeChanged 0', 'connection'], 'the order');
    await eventually('the page is back', () => socket.connected);
    one.say('send', 'here again');
    await socket.heard.when('the program again', (all) => all.some((message) => message.data === 'here again'));
    await paired(socket, one);
  });
}

await check('who takes over never takes itself for a client of the one that died', async () => {
  // What a program that is killed lets go of first, its links or its port, is a matter of microseconds.
  for (let i = 0; i < 15; i += 1) {
    const [host, one] = await cloud('host', 'one');
    const from = one.mark;
    await host.kill();
    await one.hears('cloudModeChanged', 0, { from });
    same(one.story(from), ['runningModeChanged 2', 'cloudModeChanged 0'], `the story of round ${i}`);
    await one.kill();
  }
});

await check('of three programs one takes over, and every room finds its program again', async () => {
  const [host, ...rest] = await cloud('host', 'a', 'b', 'c');
  const rooms = ['a', 'b', 'c'];
  const tabs = [];
  for (const [i, room] of rooms.entries()) {
    tabs.push(await tab(host, room, BACK));
    await paired(tabs[i], rest[i]);
  }
  const marks = rest.map((one) => one.mark);
  await host.kill();
  const modes = () => rest.map((one, i) => one.said.all.slice(marks[i]).filter(({ key }) => key === 'runningModeChanged').at(-1)?.value);
  await eventually('one host, two clients', () => String(modes().sort()) === '2,3,3');
  for (const [i] of rooms.entries()) await paired(tabs[i], rest[i]);
  tabs.forEach((socket) => { socket.heard.all.length = 0; });
  rest.forEach((one, i) => one.say('send', `for ${rooms[i]}`));
  for (const [i, room] of rooms.entries()) {
    await tabs[i].heard.count(1);
    same(tabs[i].heard.all, [{ data: `for ${room}` }], `room ${room}`);
  }
});

await check('what a program says while the host is replaced arrives, once and in order', async () => {
  const [host, one] = await cloud('host', 'one');
  const socket = await tab(host, 'one', BACK);
  await paired(socket, one);
  const from = one.mark;
  let sent = 0;
  const speak = setInterval(() => { one.say('send', sent); sent += 1; }, 5);
  await socket.heard.count(50);
  await host.kill();
  await one.hears('runningModeChanged', 2, { from });
  await one.hears('connection', undefined, { from });
  const seen = socket.heard.all.length;
  await socket.heard.count(seen + 50);
  clearInterval(speak);
  one.say('send', 'the end');
  await socket.heard.when('the end', (all) => all.at(-1)?.data === 'the end');
  const numbers = socket.heard.all.slice(0, -1).map((message) => message.data);
  expect(numbers.every((n, i) => i === 0 || n > numbers[i - 1]), `once and in order: ${numbers}`);
  // What the host had taken and not passed on died with it.
  expect(sent - numbers.length <= 3, `${sent - numbers.length} of ${sent} were lost`);
});

await check('after a take-over no program hears the page of another', async () => {
  const [host, one, two] = await cloud('host', 'one', 'two');
  const tabs = { one: await tab(host, 'one', BACK), two: await tab(host, 'two', BACK) };
  await paired(tabs.one, one);
  await paired(tabs.two, two);
  let count = 0;
  const speak = setInterval(() => {
    count += 1;
    for (const [name, socket] of Object.entries(tabs)) if (socket.connected) socket.emit('message', { from: name, count });
    one.say('send', { from: 'one', count });
    two.say('send', { from: 'two', count });
  }, 2);
  await after(200);
  const marks = { one: one.mark, two: two.mark };
  await host.kill();
  await eventually('both are there again', () => [one, two].every((each, i) => each.said.all.slice(Object.values(marks)[i]).some(({ key }) => key === 'cloudModeChanged')));
  await paired(tabs.one, one);
  await paired(tabs.two, two);
  clearInterval(speak);
  for (const [name, each] of Object.entries({ one, two })) {
    const wrong = each.data().filter((value) => value?.from && value.from !== name);
    same(wrong, [], `at the program ${name}`);
    const heard = tabs[name].heard.all.filter((message) => message.data?.from && message.data.from !== name);
    same(heard, [], `at the page of ${name}`);
  }
});

await check('a program waits for a port that something else holds, and takes it when it is free', async () => {
  const { createServer } = await import('node:net');
  const stranger = createServer((socket) => socket.on('error', () => {}).end('not a bridge\r\n'));
  await new Promise((resolve) => { stranger.listen(0, '127.0.0.1', resolve); });
  const { port } = stranger.address();
  const one = program(port);
  one.say('open');
  await one.hears('runningModeChanged', 3);
  stranger.close();
  await one.hears('runningModeChanged', 2, { ms: 15_000 });
  expect(await listens(port), 'it listens');
});

if (!tls) {
  await check('a page cannot pose as a program', async () => {
    const port = await freePort();
    const host = await program(port, { SPANDREL_HW_ORIGINS: '*' }).open();
    for (const headers of [{ origin: 'https://playentry.org' }, { origin: 'http://localhost' }, { origin: 'null' }]) {
      const refused = await raw(host, 'childServer=true', { headers }).then(() => 'let in', (error) => error.message);
      expect(/403/.test(refused), `${JSON.stringify(headers)}: ${refused}`);
    }
    same(host.story(2), [], 'told');
  });
}

done();
