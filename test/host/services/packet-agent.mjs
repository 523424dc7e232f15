// Runs in a network namespace: serves TCP and UDP on the ports given, and opens connections when told to on stdin.
// A server answers with its name and the client's address as it sees it.
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
  else overTcp(request);
});
process.stdin.on('end', () => process.exit(0));
