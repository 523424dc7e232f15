import { type ChildProcess, spawn } from 'node:child_process';
import { RealIpvs } from '../../../src/host/ipvs/real.ts';
import { inNetns } from '../../harness/netns.ts';
import { waitFor } from '../../harness/wait-for.ts';
import type { TableLab } from '../../host/services/table-lab.ts';
import { backendOf, loopOf } from '../../host/services/table-run.ts';
import { FakeView } from '../../unit/services/support/fake-view.ts';
import { here, service, slice } from '../../unit/services/support/objects.ts';
import { plans, type Row } from '../../unit/services/support/packet-table.ts';
import { must } from './machine.ts';

const SLOWLY = { timeoutMs: 120_000, intervalMs: 500 };
const ECHO = 7000;
const held = '172.30.0.201';
const sticky = '172.30.0.202';

/** A connection that stays open: what is sent on it comes back. */
class Held {
  private readonly child: ChildProcess;
  private text = '';

  constructor(netns: string, address: string) {
    const script = `const s = require('net').connect(${ECHO}, '${address}'); process.stdin.pipe(s, { end: false });
      s.on('error', (e) => console.log(e.code)); s.pipe(process.stdout); process.stdin.on('end', () => s.resetAndDestroy());`;
    const [file = '', ...args] = inNetns(netns, [process.execPath, '-e', script]);
    this.child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
    });
  }

  async echoes(word: string): Promise<void> {
    this.child.stdin?.write(word);
    await waitFor(
      `${word} to come back, not only ${JSON.stringify(this.text)}`,
      async () => this.text.includes(word),
      SLOWLY,
    );
  }

  /** Ends it with a reset, of which the kernel keeps no memory for minutes. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin?.end();
    await ended;
  }
}

/** Graceful removal and affinity with the kernel's own virtual servers. */
export async function ipvsLife(lab: TableLab): Promise<string> {
  const plan = plans.IPv4;
  const ports = [{ name: 'echo', port: ECHO }];
  const ends = (...names: readonly ('p1' | 'p2')[]) => names.map((name) => here(plan.of[name]));
  const slices = new FakeView([
    slice('ns/held', ends('p1'), { ports }),
    slice('ns/sticky', ends('p1', 'p2'), { ports: [{ name: 'p80', port: 8080 }] }),
  ]);
  const services = new FakeView([
    service('ns/held', { clusterIP: held, ports }),
    service('ns/sticky', { clusterIP: sticky, sessionAffinity: 'ClientIP' }),
  ]);
  const backend = await backendOf(lab, 'ipvs-nft', 'IPv4');
  const loop = await loopOf(backend, 'IPv4', { services, slices });
  const ipvs = new RealIpvs({ prefix: lab.prefix });
  const server = `-t ${held}:${ECHO}`;
  const ofFirst = async () =>
    (await ipvs.connections()).find((one) => one.server === server && one.real === `${plan.of.p1}:${ECHO}`);
  const script = `require('net').createServer((s) => { s.on('error', () => {}); s.pipe(s); }).listen(${ECHO}, '0.0.0.0');`;
  const [file = '', ...args] = inNetns(lab.netns('p1'), [process.execPath, '-e', script]);
  const echo = spawn(file, args, { stdio: 'inherit' });
  try {
    await waitFor(
      'the echo to listen',
      async () => {
        const probe = spawn(file, [
          ...args.slice(0, -2),
          '-e',
          `require('net').connect(${ECHO}).on('connect', () => process.exit(0)).on('error', () => process.exit(1))`,
        ]);
        return (await new Promise((resolve) => probe.once('exit', resolve))) === 0;
      },
      SLOWLY,
    );
    const connection = new Held(lab.netns('c'), held);
    await connection.echoes('before');
    slices.put(slice('ns/held', ends('p2'), { ports }));
    await loop.settled();
    const going = await ofFirst();
    must(going?.weight === 0 && going.connections === 1, `the real server that goes is ${JSON.stringify(going)}`);
    await connection.echoes('after');
    await connection.close();
    await waitFor('the real server to go', async () => (await ofFirst()) === undefined, SLOWLY);

    const row: Row = {
      client: 'out',
      source: plan.of.out,
      protocol: 'tcp',
      destination: sticky,
      port: 80,
      direct: false,
      // Two are asked for, so that many connections are made.
      expected: 'p1 p2',
      name: 'sticky',
    };
    const answer = async (): Promise<string> => {
      const texts = (await lab.ask([row])).get(row) ?? [];
      must(texts.length === 1, `a client with affinity met ${texts.join(' and ')}`);
      return texts[0]?.split(' ')[0] ?? '';
    };
    const first = await answer();
    const other = first === plan.of.p1 ? 'p2' : 'p1';
    slices.put(slice('ns/sticky', ends(other), { ports: [{ name: 'p80', port: 8080 }] }));
    await loop.settled();
    const second = await answer();
    must(second === plan.of[other], `after ${first} the client went to ${second}`);
    return `a connection was answered before and after its endpoint went; a client stayed at ${first}, then at ${second}`;
  } finally {
    echo.kill();
    await loop.cleanup();
    await lab.forget();
  }
}
