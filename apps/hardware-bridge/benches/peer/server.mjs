// The peer of the bridge's benchmark: what the bridge does in single mode, done by the npm package `socket.io` 2.3.0.
// Spawn it as the bridge is spawned, with an `ipc` channel; it listens once the parent says `open`.
// Only the duties that the benchmark looks at, and nothing that would slow them: no rooms, no checks, no logging.
import http from 'node:http';
import socketIo from 'socket.io';

const HOST = '127.0.0.1';
const PORT = 23518;

const report = (key, value) => process.send({ key, value });

const server = http.createServer((request, response) => response.end('hello entry'));
const io = socketIo(server, { pingInterval: 1000, pingTimeout: 5000, serveClient: false, cookie: false });

io.on('connection', (socket) => {
  report('connection');
  report('cloudModeChanged', 0);
  socket.on('message', (message, answer) => {
    report('data', message);
    answer?.(message?.key ?? true);
  });
  socket.on('disconnect', () => report('close', socket.handshake.query.roomId));
});

const orders = {
  open: () => server.listen(PORT, HOST, () => {
    report('runningModeChanged', 2);
    report('cloudModeChanged', 0);
  }),
  send: (value) => io.emit('message', { data: value }),
};
process.on('message', ({ key, value }) => orders[key]?.(value));
process.on('disconnect', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
