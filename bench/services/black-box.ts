import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resources } from '../../src/model/resource.ts';
import type { EndpointSlice, Service } from '../../src/model/service.ts';
import { NODE_ADDRESS } from '../../test/harness/harness-node.ts';
import type { StartedProcess } from '../../test/harness/harness-run.ts';
import { JoinedNode } from '../../test/harness/joined-node.ts';
import { runCommand } from '../../test/harness/run-command.ts';
import { NODE_NAME } from '../../test/unit/standalone/embedded-api.ts';

export interface BlackBoxOptions {
  readonly services: number;
  readonly changes: number;
  readonly mode: 'nftables' | 'iptables';
  /** A kube-proxy binary; undefined: deckhand. */
  readonly peer: string | undefined;
}

export interface BlackBoxResult {
  /** From the start of the program until the last Service answers. */
  readonly coldMs: number;
  /** From the answer to the write of an EndpointSlice until a new connection reaches the new endpoint. */
  readonly changesMs: readonly number[];
  readonly rssMiB: number;
  readonly cpuMsPerChange: number;
}

/** Two servers on one machine that say at which address they were asked. */
const ENDPOINTS = ['192.0.2.11', '192.0.2.12'] as const;
const SERVER = "require('node:http').createServer((q, r) => r.end(q.socket.localAddress)).listen(8080, '0.0.0.0')";
const CONCURRENT = 32;
const NAMESPACE = 'default';

/**
 * A whole program against an API server, seen from outside. The API is the same for both, and so is the client.
 */
export async function blackBox(options: BlackBoxOptions): Promise<BlackBoxResult> {
  const { services, changes, peer, mode } = options;
  const node = await JoinedNode.open(`deckhand-test-bench-bb-${process.pid}`, {
    apiPort: 16_450,
    args: ['--proxy-mode', mode],
  });
  try {
    for (const address of ENDPOINTS) {
      await runCommand(['ip', '-n', node.clientNetns, 'addr', 'add', `${address}/24`, 'dev', 'cable']);
    }
    node.run.spawn('servers', [process.execPath, '-e', SERVER], { netns: node.clientNetns });
    await fill(node, services);
    const started = performance.now();
    const subject = peer === undefined ? startDeckhand(node) : startPeer(node, peer, mode);
    await reaches(node, services - 1, ENDPOINTS[0], subject, 300_000);
    const coldMs = performance.now() - started;
    // What it does at its start should not be in the way of what is measured.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const changesMs: number[] = [];
    const cpu = cpuMsOf(subject.pid);
    for (let turn = 0; turn < changes; turn++) {
      const index = Math.floor((turn * services) / changes);
      await node.admin.update(
        resources.endpointslices,
        { namespace: NAMESPACE, name: `s${index}-x` },
        sliceOf(index, ENDPOINTS[1]),
      );
      const written = performance.now();
      await reaches(node, index, ENDPOINTS[1], subject, 60_000);
      changesMs.push(performance.now() - written);
    }
    return {
      coldMs,
      changesMs,
      rssMiB: rssMiBOf(subject.pid),
      cpuMsPerChange: (cpuMsOf(subject.pid) - cpu) / changes,
    };
  } finally {
    await node.close();
  }
}

function startDeckhand(node: JoinedNode): StartedProcess {
  node.start();
  return node.deckhand;
}

function startPeer(node: JoinedNode, peer: string, mode: string): StartedProcess {
  const folder = `${node.run.paths.libDir}/peer`;
  mkdirSync(folder);
  const config = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    clusterCIDR: '10.244.0.0/16',
    hostnameOverride: NODE_NAME,
    clientConnection: { kubeconfig: node.kubeconfig },
    conntrack: { maxPerCore: 0 },
  };
  writeFileSync(`${folder}/config.yaml`, JSON.stringify(config));
  return node.run.spawn('kube-proxy', [peer, '--config', `${folder}/config.yaml`], { netns: node.netns });
}

async function fill(node: JoinedNode, amount: number): Promise<void> {
  const target = { namespace: NAMESPACE };
  const status = { addresses: [{ type: 'InternalIP', address: NODE_ADDRESS }] };
  await node.admin.create(resources.nodes, {}, { metadata: { name: NODE_NAME }, status });
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < amount; index = next++) {
      await node.admin.create(resources.services, target, serviceOf(index));
      await node.admin.create(resources.endpointslices, target, sliceOf(index, ENDPOINTS[0]));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT }, work));
}

const vipOf = (index: number): string => `10.96.${(index >> 8) + 1}.${index & 255}`;

function serviceOf(index: number): Service {
  return {
    metadata: { namespace: NAMESPACE, name: `s${index}` },
    spec: { clusterIP: vipOf(index), ports: [{ name: 'http', protocol: 'TCP', port: 80 }] },
  };
}

function sliceOf(index: number, address: string): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: NAMESPACE,
      name: `s${index}-x`,
      labels: { 'kubernetes.io/service-name': `s${index}` },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
  };
}

/** Connects again and again, each time anew, until the endpoint answers. */
async function reaches(
  node: JoinedNode,
  index: number,
  address: string,
  subject: StartedProcess,
  limitMs: number,
): Promise<void> {
  const since = performance.now();
  for (;;) {
    const answer = await node.local.request(`http://${vipOf(index)}/`, { timeoutMs: 300 }).catch(() => undefined);
    if (answer?.body.includes(address)) return;
    if (subject.exitCode !== undefined || performance.now() - since > limitMs) {
      throw new Error(
        `Service ${index} does not lead to ${address}: ${readFileSync(subject.logFile, 'utf8').slice(-3000)}`,
      );
    }
    if (answer === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function rssMiBOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
