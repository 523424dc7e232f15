import { readdirSync } from 'node:fs';
import type { Node } from '../../../src/model/node.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import type { Check } from './checks.ts';
import { api, must, pods, run, SLOWLY } from './machine.ts';

/** What containerd runs for pods, sandboxes included, whoever looks after it. */
export async function tasks(): Promise<string> {
  const lines = (await run('ctr', '-n', 'k8s.io', 'tasks', 'list')).split('\n').slice(1);
  return lines
    .filter((line) => line.includes('RUNNING'))
    .map((line) => line.trim().split(/\s+/).slice(0, 2).join(' '))
    .sort()
    .join('\n');
}

/** A line that may stand in the journal as a warning or worse, and why that is right. */
interface Expected {
  readonly line: RegExp;
  readonly why: string;
}

/** Of a life in which nothing was done to the daemon. An emulated machine beside others may be starved of its processors. */
const HEALTHY: readonly Expected[] = [
  {
    line: /no answer within \d+ ms|nothing came from the server for \d+ ms/,
    why: 'what should have answered was starved of its processor for seconds',
  },
];
/** Of what the checks do to it. */
const TREATED: readonly Expected[] = [
  ...HEALTHY,
  { line: /^The ipvs proxier is now deprecated/, why: 'mode ipvs, in kube-proxy’s words' },
  { line: /Watchdog timeout|Killing process \d+ \(node\) with signal SIGABRT/, why: 'systemd: the daemon was stopped' },
  { line: /code=(killed|dumped), status=(9\/KILL|6\/ABRT)/, why: 'systemd: it was killed' },
  { line: /Failed with result '(signal|watchdog|core-dump)'/, why: 'systemd: it was killed' },
];

async function warnings(expected: readonly Expected[]): Promise<string> {
  const lines = (await run('journalctl', '-b', '-u', 'deckhand', '-p', 'warning', '-o', 'json', '--no-pager')).split(
    '\n',
  );
  const counts = new Map<string, number>();
  const unexpected: string[] = [];
  for (const line of lines) {
    if (line === '') continue;
    const { MESSAGE } = JSON.parse(line) as { readonly MESSAGE: string };
    const { msg, error = '' } = MESSAGE.startsWith('{')
      ? (JSON.parse(MESSAGE) as { readonly msg: string; readonly error?: string })
      : { msg: MESSAGE };
    const said = `${msg}: ${error}`;
    const known = expected.find((one) => one.line.test(said));
    if (known === undefined) unexpected.push(MESSAGE.slice(0, 400));
    else counts.set(known.why, (counts.get(known.why) ?? 0) + 1);
  }
  must(unexpected.length === 0, `${unexpected.length} lines: ${unexpected.join('\n')}`);
  return counts.size === 0 ? 'none' : [...counts].map(([why, count]) => `${count}: ${why}`).join('; ');
}

export const healthyJournal: Check = {
  title: 'journalctl -p warning: nothing, after a life without incidents',
  run: async () => {
    const all = (await run('journalctl', '-b', '-t', 'deckhand', '-o', 'cat', '--no-pager')).trim().split('\n').length;
    return `${await warnings(HEALTHY)}, of ${all} lines`;
  },
};

export const treatedJournal: Check = {
  title: 'journalctl -p warning: what was done to the daemon, and no more',
  run: () => warnings(TREATED),
};

export const drained: Check = {
  title: 'deckhand drain ends the pods, which come back with uncordon',
  run: async () => {
    const before = (await tasks()).split('\n').length;
    const began = performance.now();
    const said = await run('deckhand', 'drain', '--timeout', '5m', '--delete-emptydir-data');
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    must((await tasks()) === '', `containers are left: ${await tasks()}`);
    const groups = readdirSync('/sys/fs/cgroup/kubepods/burstable').filter((name) => name.startsWith('pod'));
    must(groups.length === 0, `cgroups are left: ${groups.join(' ')}`);
    const { spec } = await api.read<Node>('/api/v1/nodes/vm');
    must(spec?.unschedulable === true, `the node is not cordoned: ${JSON.stringify(spec)}`);
    await run('deckhand', 'uncordon');
    await waitFor(
      'the pods to come back',
      async () => {
        const found = (await pods()).filter(isReady);
        return ['web-1', 'web-2', 'web-3'].every((name) => found.some(({ metadata }) => metadata.name === name));
      },
      SLOWLY,
    );
    const evicted = said.split('\n').filter((line) => line.includes('evict')).length;
    return `${before} containers and sandboxes gone in ${seconds} s (${evicted} evictions); Ready again after uncordon`;
  },
};
