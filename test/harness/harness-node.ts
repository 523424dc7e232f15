import { Containerd, type ContainerdOptions } from './containerd.ts';
import { Deckhand, type DeckhandOptions } from './deckhand.ts';
import { HarnessRun } from './harness-run.ts';
import { connectNetns, inNetns } from './netns.ts';
import { NetnsDialer } from './netns-dialer.ts';
import { runCommand } from './run-command.ts';

/** Documentation addresses (RFC 5737): the cable between the node and its client exists in two namespaces only. */
export const NODE_ADDRESS = '192.0.2.1';
export const CLIENT_ADDRESS = '192.0.2.2';
export const POD_CIDR = '10.244.1.0/24';
export const SERVICE_CIDR = '10.96.0.0/16';

export interface NodeOptions {
  readonly containerd?: ContainerdOptions;
  readonly deckhand?: Partial<DeckhandOptions>;
  /** Runs when the run's folders are there and before containerd starts. */
  readonly beforeContainerd?: (run: HarnessRun) => void | Promise<void>;
  /** Runs when the run's folders are there and before deckhand starts. */
  readonly beforeDeckhand?: (run: HarnessRun) => void | Promise<void>;
  /** Told before each step. */
  readonly say?: (step: string) => void;
}

/**
 * A whole node: a namespace with containerd and deckhand in it, and a second namespace with a client at the other end of
 * a cable, whose default route is the node.
 */
export interface HarnessNode {
  readonly run: HarnessRun;
  readonly netns: string;
  readonly clientNetns: string;
  /** Dials from the node itself. */
  readonly local: NetnsDialer;
  /** Dials from the client: what comes from outside the node. */
  readonly client: NetnsDialer;
  readonly containerd: Containerd;
  readonly deckhand: Deckhand;
  close(): Promise<void>;
}

/** The two namespaces and the cable, without any daemon. */
export async function openNetwork(run: HarnessRun): Promise<{ netns: string; clientNetns: string }> {
  const netns = await run.netns();
  const clientNetns = await run.netns('client');
  await connectNetns(
    { netns, device: 'cable', address: `${NODE_ADDRESS}/24` },
    { netns: clientNetns, device: 'cable', address: `${CLIENT_ADDRESS}/24` },
  );
  await runCommand(['ip', '-n', clientNetns, 'route', 'add', 'default', 'via', NODE_ADDRESS]);
  // The client is not a router: what the node cannot place ends there instead of going round.
  await runCommand(inNetns(clientNetns, ['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward']));
  // An address that has no route is refused by the node itself; Service addresses need one to reach the rules.
  await runCommand(inNetns(netns, ['ip', 'route', 'add', 'default', 'via', CLIENT_ADDRESS]));
  return { netns, clientNetns };
}

/** Starts a node under a run name of your own ("deckhand-test-…"). Undoes everything when a step fails. */
export async function startNode(name: string, options: NodeOptions = {}): Promise<HarnessNode> {
  const say = options.say ?? (() => {});
  say('network namespaces for the node and a client, without uplink');
  const run = await HarnessRun.open(name);
  try {
    const { netns, clientNetns } = await openNetwork(run);
    const [local, client] = await Promise.all([NetnsDialer.start(run, netns), NetnsDialer.start(run, clientNetns)]);
    await options.beforeContainerd?.(run);
    say('containerd in the namespace, images from busybox-static');
    const containerd = await Containerd.start(run, netns, { subnet: POD_CIDR, ...options.containerd });
    await options.beforeDeckhand?.(run);
    say(`deckhand (containerd ${containerd.version})`);
    const deckhand = await Deckhand.start(run, netns, local, {
      endpoint: containerd.endpoint,
      nodeIp: NODE_ADDRESS,
      podCidr: POD_CIDR,
      serviceCidr: SERVICE_CIDR,
      ...options.deckhand,
    });
    return { run, netns, clientNetns, local, client, containerd, deckhand, close: () => run.close() };
  } catch (error) {
    await run.close();
    throw error;
  }
}
