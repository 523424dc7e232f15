import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { IPFamily } from '../../../src/model/service.ts';
import { inNetns } from '../../harness/netns.ts';
import { tryCommand } from '../../harness/run-command.ts';
import type { TableLab } from '../../host/services/table-lab.ts';
import { backendOf, loopOf, type TableKind } from '../../host/services/table-run.ts';
import { FakeView } from '../../unit/services/support/fake-view.ts';
import { here, service, slice } from '../../unit/services/support/objects.ts';
import { plans } from '../../unit/services/support/packet-table.ts';
import { must } from './machine.ts';

const PORT = 7000;
const ASKED = 16;

// Node has no sockets of SCTP; Perl, which every Debian has, takes any protocol.
const COMMON = `use Socket qw(:DEFAULT getaddrinfo getnameinfo :addrinfo); $| = 1;
my ($host, $port) = @ARGV;
my ($error, $at) = getaddrinfo($host, $port, { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
socket(my $socket, $at->{family}, SOCK_STREAM, 132) or die "socket: $!";`;
/** Tells each association who it reached, and as whom. */
const SERVER = `${COMMON}
sub name { my ($error, $host) = getnameinfo($_[0], NI_NUMERICHOST); $host }
bind($socket, $at->{addr}) or die "bind: $!"; listen($socket, 16); print "ready\\n";
while (my $peer = accept(my $near, $socket)) { syswrite($near, name(getsockname($near)) . " " . name($peer)); close $near }`;
const CLIENT = `${COMMON}
my ($wrong, $from) = getaddrinfo($ARGV[2], 0, { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
bind($socket, $from->{addr}) or die "bind: $!";
alarm 30; connect($socket, $at->{addr}) or die "connect: $!"; sysread($socket, my $text, 200); print $text;`;

async function serve(netns: string, address: string): Promise<ChildProcess> {
  const [file = '', ...args] = inNetns(netns, ['perl', '-e', SERVER, address, String(PORT)]);
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', () => resolve());
    child.once('exit', (code) => reject(new Error(`the server on ${address} ended with ${code}`)));
  });
  return child;
}

/** Who answered, and which clients they saw, of so many associations one after the other. */
async function ask(
  netns: string,
  source: string,
  address: string,
): Promise<{ readonly from: string; readonly seen: string }> {
  const answers: string[] = [];
  for (let turn = 0; turn < ASKED; turn++) {
    const outcome = await tryCommand(inNetns(netns, ['perl', '-e', CLIENT, address, String(PORT), source]));
    must(outcome.code === 0, `SCTP to ${address}: ${outcome.stderr}`);
    answers.push(outcome.stdout);
  }
  const words = (index: number): string =>
    [...new Set(answers.map((answer) => answer.split(' ')[index] ?? ''))].sort().join(' ');
  return { from: words(0), seen: words(1) };
}

/** Real associations of SCTP to a Service, from a pod and from outside, and after an endpoint has gone. */
export async function sctp(lab: TableLab, kind: TableKind, family: IPFamily): Promise<string> {
  const plan = plans[family];
  const vip = plan.vip(203);
  const ports = [{ name: 'sctp', protocol: 'SCTP' as const, port: PORT }];
  const sliceOf = (...names: readonly ('p1' | 'p2')[]) =>
    slice(
      'ns/sctp',
      names.map((name) => here(plan.of[name])),
      { ports, addressType: family },
    );
  const slices = new FakeView([sliceOf('p1', 'p2')]);
  const services = new FakeView([
    service('ns/sctp', { clusterIP: vip, clusterIPs: [vip], ipFamilies: [family], ports }),
  ]);
  const loop = await loopOf(await backendOf(lab, kind, family), family, { services, slices });
  const servers: ChildProcess[] = [];
  try {
    for (const name of ['p1', 'p2'] as const) servers.push(await serve(lab.netns(name), plan.of[name]));
    const ofPod = await ask(lab.netns('p3'), plan.of.p3, vip);
    must(ofPod.from === `${plan.of.p1} ${plan.of.p2}`, `a pod was answered by ${ofPod.from}`);
    must(ofPod.seen === plan.of.p3, `a pod was seen as ${ofPod.seen}`);
    const ofOther = await ask(lab.netns('c'), plan.of.out, vip);
    must(ofOther.seen === plan.bridge, `who is no pod was seen as ${ofOther.seen}, not masqueraded`);
    slices.put(sliceOf('p2'));
    await loop.settled();
    const later = await ask(lab.netns('p3'), plan.of.p3, vip);
    must(later.from === plan.of.p2, `without ${plan.of.p1} a pod was answered by ${later.from}`);
    return `${kind} ${family}: ${ofPod.from}, then ${later.from}`;
  } finally {
    for (const server of servers) server.kill();
    await loop.cleanup();
    await lab.forget();
  }
}
