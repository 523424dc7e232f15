// Runs in a network namespace: serves TCP and UDP on the ports given, and opens connections when told to on stdin.
// A server answers with its name and the client's address as it sees it; on the port after it, with its name to whatever
// comes, for as long as the client likes.
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const [name = '?', tcpPort = '0', udpPort = '0'] = process.argv.slice(2);
const timeoutMs = 700;
const bare = (address) => address.replace(/^::ffff:/, '');
const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
let listening = 0;
const ready = () => {
  if (--listening === 0) answer({ ready: true });
};

if (tcpPort !== '0') {
  listening++;
  createServer((socket) => {
    socket.on('error', () => {});
    socket.end(`${name} ${bare(socket.remoteAddress ?? '')}`);
  }).listen(Number(tcpPort), '::', ready);
  listening++;
  createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.write(`${name} ${bare(socket.remoteAddress ?? '')}`));
  }).listen(Number(tcpPort) + 1, '::', ready);
}
if (udpPort !== '0') {
  listening++;
  const server = createSocket('udp6');
  server.on('message', (_data, from) => server.send(`${name} ${bare(from.address)}`, from.port, from.address));
  server.bind(Number(udpPort), ready);
}
if (listening === 0) answer({ ready: true });

function overTcp({ id, host, port }) {
  const socket = connect({ host, port });
  let text = '';
  const finish = (result) => {
    socket.destroy();
    answer({ id, ...result });
  };
  socket.setTimeout(timeoutMs, () => finish({ error: 'TIMEOUT' }));
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('error', (error) => finish({ error: error.code }));
  socket.on('end', () => finish({ answer: text }));
}

const held = new Map();

/** Asks again on the connection that was made for this host and port, or makes it. */
function onHeld({ id, host, port }) {
  const key = `${host} ${port}`;
  const socket = held.get(key) ?? connect({ host, port });
  const finish = (result) => {
    clearTimeout(timer);
    socket.off('data', onData);
    if (result.error !== undefined) {
      held.delete(key);
      socket.destroy();
    }
    answer({ id, ...result });
  };
  const onData = (data) => finish({ answer: String(data) });
  const timer = setTimeout(() => finish({ error: 'TIMEOUT' }), timeoutMs);
  socket.on('data', onData);
  socket.removeAllListeners('error');
  socket.on('error', (error) => finish({ error: error.code }));
  held.set(key, socket);
  socket.write('hello');
}

function overUdp({ id, host, port, localPort = 0 }) {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const finish = (result) => {
    clearTimeout(timer);
    socket.close();
    answer({ id, ...result });
  };
  const timer = setTimeout(() => finish({ error: 'TIMEOUT' }), timeoutMs);
  socket.on('message', (data) => finish({ answer: String(data) }));
  socket.on('error', (error) => finish({ error: error.code }));
  // A connected socket is told of an ICMP refusal.
  socket.bind(localPort, () => socket.connect(port, host, () => socket.send('hello')));
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const request = JSON.parse(line);
  if (request.protocol === 'udp') overUdp(request);
  else if (request.protocol === 'held') onHeld(request);
  else overTcp(request);
});
process.stdin.on('end', () => process.exit(0));
