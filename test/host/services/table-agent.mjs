// Runs in a network namespace for the table of packets: serves TCP and UDP on the addresses given, and takes whole
// batches of rows on stdin. A server answers with its own address and port and the client's address as it sees it.
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const { addresses, tcp, udp, patience } = JSON.parse(process.argv[2] ?? '{}');
const DROPPED_MS = 600 * patience;
// Not a measure of speed: on a busy machine an answer that has come may wait for seconds to be read.
const SLOW_MS = 20_000 * patience;
/** So many connections at a time, of so many for each row. */
const AT_ONCE = 24;
const MOST = 96;
const WAVE = 6;
const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const listening = [];
for (const address of addresses) {
  for (const port of tcp) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(`${address} ${port} ${socket.remoteAddress}`);
    });
    listening.push(new Promise((resolve) => server.listen({ port, host: address, backlog: 1024 }, resolve)));
  }
  for (const port of udp) {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (_data, from) => socket.send(`${address} ${port} ${from.address}`, from.port, from.address));
    listening.push(new Promise((resolve) => socket.bind(port, address, resolve)));
  }
}
Promise.all(listening).then(() => answer({ ready: true }));

// No port twice within the two minutes that IPVS remembers a connection for: when it forgets an old one (its virtual server
// goes), the kernel forgets the tracking of whatever has the same addresses and ports by then (ip_vs_conn_drop_conntrack).
const PORTS = { first: 10_000, last: 60_000 };
let nextPort = PORTS.first;

function overTcp({ source, destination, port }, timeoutMs) {
  return new Promise((resolve) => {
    const localPort = nextPort++;
    if (nextPort > PORTS.last) nextPort = PORTS.first;
    const socket = connect({ host: destination, port, localAddress: source, localPort });
    let text = '';
    const finish = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(timeoutMs, () => finish('TIMEOUT'));
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', (error) => finish(error.code));
    socket.on('end', () => finish(text));
  });
}

function overUdp({ source, destination, port }, timeoutMs) {
  return new Promise((resolve) => {
    const socket = createSocket(destination.includes(':') ? 'udp6' : 'udp4');
    const finish = (result) => {
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(() => finish('TIMEOUT'), timeoutMs);
    socket.on('message', (data) => finish(String(data)));
    socket.on('error', (error) => finish(error.code));
    // A connected socket is told of an ICMP refusal.
    socket.bind(0, source, () => socket.connect(port, destination, () => socket.send('hello')));
  });
}

/** Asks until as many different answers came as are expected, and a few times more, in which others could come. */
async function probe(row) {
  const timeoutMs = row.dropped ? DROPPED_MS : SLOW_MS;
  const once = () => (row.protocol === 'udp' ? overUdp(row, timeoutMs) : overTcp(row, timeoutMs));
  const seen = new Set();
  if (row.want === 1) {
    for (const one of await Promise.all([once(), once()])) seen.add(one);
    return [...seen];
  }
  let enough = false;
  for (let asked = 0; asked < MOST && !enough; asked += WAVE) {
    enough = seen.size >= row.want;
    for (const one of await Promise.all(Array.from({ length: WAVE }, once))) seen.add(one);
  }
  return [...seen];
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const rows = JSON.parse(line);
  const answers = new Array(rows.length);
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < rows.length; at = next++) answers[at] = await probe(rows[at]);
  };
  // Those that will be dropped wait by themselves.
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  answer({ answers });
});
process.stdin.on('end', () => process.exit(0));
