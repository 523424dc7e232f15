import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connectNetns, createNetns, deleteNetns, inNetns } from '../../harness/netns.ts';
import { projectRoot } from '../../harness/project-root.ts';
import { runCommand } from '../../harness/run-command.ts';

export const lab = {
  nodeIP: '10.200.0.1',
  clientIP: '10.200.0.2',
  bridgeIP: '10.1.0.1',
  pods: ['10.1.0.11', '10.1.0.12', '10.1.0.13'],
  tcpPort: 8080,
  /** The port after `tcpPort`. */
  heldPort: 8081,
  udpPort: 5353,
} as const;

export interface Reply {
  /** Who answered. */
  readonly from?: string;
  /** The client's address as the server saw it. */
  readonly seen?: string;
  /** An errno's name, or TIMEOUT. */
  readonly error?: string;
}

/** A process in one namespace that serves, and opens connections for the test. */
export class Agent {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, (reply: Reply) => void>();
  private sequence = 0;
  readonly ready: Promise<void>;

  constructor(netns: string, name: string, tcpPort: number, udpPort: number) {
    const script = join(projectRoot(), 'test/host/services/packet-agent.mjs');
    const argv = inNetns(netns, [process.execPath, script, name, String(tcpPort), String(udpPort)]);
    const [file = '', ...args] = argv;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child = child;
    this.ready = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`agent ${name} ended with ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        const message: { ready?: boolean; id?: number; answer?: string; error?: string } = JSON.parse(line);
        if (message.ready) resolve();
        const [from, seen] = message.answer?.split(' ') ?? [];
        this.waiting.get(message.id ?? -1)?.({
          ...(from === undefined ? {} : { from }),
          ...(seen === undefined ? {} : { seen }),
          ...(message.error === undefined ? {} : { error: message.error }),
        });
        this.waiting.delete(message.id ?? -1);
      });
    });
  }

  /** `held`: on one TCP connection, which stays. */
  ask(protocol: 'tcp' | 'udp' | 'held', host: string, port: number, localPort?: number): Promise<Reply> {
    const id = this.sequence++;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      this.child.stdin?.write(`${JSON.stringify({ id, protocol, host, port, localPort })}\n`);
    });
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.stdin?.end();
    await ended;
  }
}

/** A client, a node with a bridge, and three pods on it, each in a namespace of its own; no way out. */
export class PacketLab {
  readonly node: string;
  private readonly client: string;
  private readonly podNames: readonly string[];
  readonly agents: { client?: Agent; node?: Agent; pods: Agent[] } = { pods: [] };

  constructor(tag: string) {
    this.node = `dhsvc-${tag}-n`;
    this.client = `dhsvc-${tag}-c`;
    this.podNames = lab.pods.map((_pod, index) => `dhsvc-${tag}-p${index + 1}`);
  }

  get prefix(): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.node}`];
  }

  async open(): Promise<void> {
    const { node, client } = this;
    for (const name of this.names()) await createNetns(name);
    await connectNetns(
      { netns: node, device: 'eth0', address: `${lab.nodeIP}/24` },
      { netns: client, device: 'eth0', address: `${lab.clientIP}/24` },
    );
    await ip(client, 'route', 'add', 'default', 'via', lab.nodeIP);
    // Routing comes before NAT: without any route to the cluster IPs the node's own packets would not get that far.
    await ip(node, 'route', 'add', 'default', 'via', lab.clientIP);
    await ip(node, 'link', 'add', 'cni0', 'type', 'bridge');
    await ip(node, 'addr', 'add', `${lab.bridgeIP}/24`, 'dev', 'cni0');
    await ip(node, 'link', 'set', 'cni0', 'up');
    for (const [index, pod] of this.podNames.entries()) {
      const device = `veth${index}`;
      await ip(node, 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pod);
      await ip(node, 'link', 'set', device, 'master', 'cni0', 'up');
      // What the CNI bridge plugin does with hairpinMode: a pod that is its own endpoint gets its frames back.
      await ip(node, 'link', 'set', device, 'type', 'bridge_slave', 'hairpin', 'on');
      await ip(pod, 'addr', 'add', `${lab.pods[index]}/24`, 'dev', 'eth0');
      await ip(pod, 'link', 'set', 'eth0', 'up');
      await ip(pod, 'route', 'add', 'default', 'via', lab.bridgeIP);
    }
    await this.onNode('sh', '-c', 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables');
    // A refusal is an ICMP message, of which the kernel sends one a second to each client by default.
    await this.onNode('sh', '-c', 'echo 0 > /proc/sys/net/ipv4/icmp_ratelimit');
    this.agents.client = new Agent(client, 'client', 0, 0);
    this.agents.node = new Agent(node, 'node', 0, 0);
    this.agents.pods = this.podNames.map((pod, index) => new Agent(pod, `p${index + 1}`, lab.tcpPort, lab.udpPort));
    await Promise.all(this.everyAgent().map((agent) => agent.ready));
  }

  async close(): Promise<void> {
    await Promise.all(this.everyAgent().map((agent) => agent.close()));
    for (const name of this.names()) await deleteNetns(name);
  }

  async onNode(...argv: readonly string[]): Promise<void> {
    await runCommand(inNetns(this.node, argv));
  }

  private everyAgent(): Agent[] {
    const { client, node, pods } = this.agents;
    return [client, node, ...pods].flatMap((agent) => agent ?? []);
  }

  private names(): string[] {
    return [this.node, this.client, ...this.podNames];
  }
}

async function ip(netns: string, ...args: readonly string[]): Promise<void> {
  await runCommand(['ip', '-n', netns, ...args]);
}
