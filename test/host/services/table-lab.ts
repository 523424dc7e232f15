import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createNetns, deleteNetns, inNetns } from '../../harness/netns.ts';
import { projectRoot } from '../../harness/project-root.ts';
import { runCommand, tryCommand } from '../../harness/run-command.ts';
import { type Client, plans, type Row } from '../../unit/services/support/packet-table.ts';

const families = [plans.IPv4, plans.IPv6];
const prefixOf = (address: string): string => (address.includes(':') ? '64' : '24');

/** A process in one namespace that serves and asks, whole batches at a time. */
class TableAgent {
  private readonly child: ChildProcess;
  private readonly replies: ((answers: string[][]) => void)[] = [];
  readonly ready: Promise<void>;

  constructor(netns: string, addresses: readonly string[], patience: number) {
    const script = join(projectRoot(), 'test/host/services/table-agent.mjs');
    const settings = JSON.stringify({ addresses, tcp: [8080, 9090], udp: [5353], patience });
    const [file = '', ...args] = inNetns(netns, [process.execPath, '--max-semi-space-size=4', script, settings]);
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child = child;
    this.ready = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`an agent ended with ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        const message: { ready?: boolean; answers?: string[][] } = JSON.parse(line);
        if (message.ready) resolve();
        else this.replies.shift()?.(message.answers ?? []);
      });
    });
  }

  ask(rows: readonly Row[]): Promise<string[][]> {
    const requests = rows.map(({ source, destination, port, protocol, expected }) => ({
      source,
      destination,
      port,
      protocol,
      want: expected.split(' ').length,
      dropped: expected === 'drop',
    }));
    return new Promise((resolve) => {
      this.replies.push(resolve);
      this.child.stdin?.write(`${JSON.stringify(requests)}\n`);
    });
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.stdin?.end();
    await ended;
  }
}

/**
 * The world of the table in both families: a node with a bridge and four pods; the far endpoints on another cable; and
 * one namespace with everybody else, which is also the way out and turns back whatever the node sends on to it.
 */
export class TableLab {
  private readonly tag: string;
  private readonly patience: number;
  private readonly pods: readonly (readonly [name: 'p1' | 'p2' | 'p3' | 'pod', netns: string])[];
  private readonly agents = new Map<string, TableAgent>();

  /** `patience`: so many times as slow as usual, such as in an emulated machine. */
  constructor(tag: string, patience = 1) {
    this.tag = tag;
    this.patience = patience;
    this.pods = (['p1', 'p2', 'p3', 'pod'] as const).map((name) => [name, this.name(name)]);
  }

  get prefix(): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.name('n')}`];
  }

  /** Name of the namespace of a pod, or of everybody outside ("c"). */
  netns(of: 'p1' | 'p2' | 'p3' | 'c'): string {
    return this.name(of);
  }

  async open(): Promise<void> {
    const [node, client, far] = [this.name('n'), this.name('c'), this.name('f')];
    for (const name of this.names()) await createNetns(name);
    for (const name of this.names()) await this.settings(name);
    await ip(node, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', client);
    await ip(node, 'link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far);
    await ip(node, 'link', 'add', 'cni0', 'type', 'bridge');
    for (const device of ['eth0', 'eth1', 'cni0']) await ip(node, 'link', 'set', device, 'up');
    for (const name of [client, far]) await ip(name, 'link', 'set', 'eth0', 'up');
    for (const [index, [, pod]] of this.pods.entries()) {
      await ip(node, 'link', 'add', `veth${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pod);
      await ip(node, 'link', 'set', `veth${index}`, 'master', 'cni0', 'up');
      await ip(node, 'link', 'set', `veth${index}`, 'type', 'bridge_slave', 'hairpin', 'on');
      await ip(pod, 'link', 'set', 'eth0', 'up');
    }
    for (const plan of families) {
      const add = (netns: string, device: string, address: string): Promise<void> =>
        ip(netns, 'addr', 'add', `${address}/${prefixOf(address)}`, 'dev', device, ...nodad(address));
      await add(node, 'eth0', plan.node);
      await add(node, 'eth1', plan.node2);
      await add(node, 'cni0', plan.bridge);
      await add(client, 'eth0', plan.gateway);
      for (const name of ['far', 'out', 'out2'] as const) {
        const length = plan.family === 'IPv4' ? '32' : '128';
        await ip(client, 'addr', 'add', `${plan.of[name]}/${length}`, 'dev', 'eth0', ...nodad(plan.of[name]));
        await ip(node, 'route', 'add', `${plan.of[name]}/${length}`, 'via', plan.gateway);
      }
      for (const name of ['r1', 'r2'] as const) await add(far, 'eth0', plan.of[name]);
      for (const [name, pod] of this.pods) {
        await add(pod, 'eth0', plan.of[name]);
        await route(pod, plan.family, 'default', 'via', plan.bridge);
      }
      await route(client, plan.family, 'default', 'via', plan.node);
      await route(far, plan.family, 'default', 'via', plan.node2);
      await route(node, plan.family, 'default', 'via', plan.gateway);
    }
    // Not by a route of the type prohibit: its messages are limited to a few for each client.
    await runCommand(
      inNetns(client, ['nft', `add table inet back; add chain inet back f { type filter hook forward priority 0; }`]),
    );
    await runCommand(inNetns(client, ['nft', 'add rule inet back f reject with icmpx type admin-prohibited']));
    this.agents.set('client', new TableAgent(client, [], this.patience));
    this.agents.set('node', new TableAgent(node, [], this.patience));
    this.agents.set(
      'far',
      new TableAgent(
        far,
        families.flatMap(({ of }) => [of.r1, of.r2]),
        this.patience,
      ),
    );
    for (const [name, pod] of this.pods)
      this.agents.set(
        name,
        new TableAgent(
          pod,
          families.map(({ of }) => of[name]),
          this.patience,
        ),
      );
    await Promise.all([...this.agents.values()].map(({ ready }) => ready));
  }

  /** What each row's packets met, in the words of the servers and the kernel. */
  async ask(rows: readonly Row[]): Promise<ReadonlyMap<Row, readonly string[]>> {
    const byAgent = new Map<string, Row[]>();
    for (const row of rows) byAgent.set(agentOf(row.client), [...(byAgent.get(agentOf(row.client)) ?? []), row]);
    const met = new Map<Row, readonly string[]>();
    await Promise.all(
      [...byAgent].map(async ([name, own]) => {
        const answers = await this.agents.get(name)?.ask(own);
        for (const [index, row] of own.entries()) met.set(row, answers?.[index] ?? []);
      }),
    );
    return met;
  }

  /** Sets sysctls of the node; what its kernel does not have is left out. */
  async sysctls(wishes: readonly { readonly name: string; readonly value: number }[]): Promise<void> {
    const lines = wishes.map(({ name, value }) => {
      const path = `/proc/sys/${name.replaceAll('.', '/')}`;
      return `[ ! -w ${path} ] || echo ${value} > ${path}`;
    });
    await runCommand([...this.prefix, 'sh', '-c', lines.join('\n')]);
  }

  /** Forgets all connections: UDP ports come up again. */
  async forget(): Promise<void> {
    await tryCommand([...this.prefix, 'conntrack', '-F']);
  }

  async close(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.close()));
    for (const name of this.names()) await deleteNetns(name);
  }

  private name(part: string): string {
    return `dhtab-${this.tag}-${part}`;
  }

  private names(): string[] {
    return [this.name('n'), this.name('c'), this.name('f'), ...this.pods.map(([, pod]) => pod)];
  }

  private async settings(netns: string): Promise<void> {
    // A refusal is an ICMP message, of which the kernel sends few by default. What a kernel does not have is left out.
    const wishes = {
      // Whoever is outside gets back what it sent itself, from the node that had no use for it.
      'ipv4/conf/all/accept_local': 1,
      'ipv6/conf/all/forwarding': 1,
      'ipv4/icmp_ratelimit': 0,
      'ipv4/icmp_msgs_per_sec': 1_000_000,
      'ipv4/icmp_msgs_burst': 1_000_000,
      'ipv6/icmp/ratelimit': 0,
      'bridge/bridge-nf-call-iptables': 1,
      'bridge/bridge-nf-call-ip6tables': 1,
    };
    const lines = Object.entries(wishes).map(
      ([name, value]) => `[ ! -w /proc/sys/net/${name} ] || echo ${value} > /proc/sys/net/${name} || true`,
    );
    await runCommand(inNetns(netns, ['sh', '-c', lines.join('\n')]));
  }
}

function agentOf(client: Client): string {
  return client === 'far' || client === 'out' || client === 'out2' ? 'client' : client;
}

const nodad = (address: string): string[] => (address.includes(':') ? ['nodad'] : []);

async function route(netns: string, family: string, ...args: readonly string[]): Promise<void> {
  await runCommand(['ip', '-n', netns, family === 'IPv4' ? '-4' : '-6', 'route', 'add', ...args]);
}

async function ip(netns: string, ...args: readonly string[]): Promise<void> {
  await runCommand(['ip', '-n', netns, ...args]);
}
