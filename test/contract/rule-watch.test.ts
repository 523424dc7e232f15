import { execFileSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { openNftables } from '../../src/host/nftables/real.ts';
import { FakeRuleWatch } from '../../src/host/rule-watch/fake.ts';
import { OwnWriters } from '../../src/host/rule-watch/own-writers.ts';
import type { RuleWatch, Writer } from '../../src/host/rule-watch/port.ts';
import { XtablesMonitor } from '../../src/host/rule-watch/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import { listenIn } from '../harness/listen-in.ts';
import { runCommand } from '../harness/run-command.ts';
import { pause, waitFor } from '../harness/wait-for.ts';

const isRoot = process.getuid?.() === 0;

interface Subject {
  readonly watch: RuleWatch;
  /** A transaction that changes something, by somebody else, and how the kernel names that one. */
  theirs(): Promise<string>;
  /** One by us. */
  ours(): Promise<void>;
  /** Ends what the watch lives on. */
  kill(): void;
  close(): Promise<void>;
}

let namespaces = 0;

async function realSubject(write: 'nft' | 'iptables-nft'): Promise<Subject> {
  const name = `dhsvc-rw-${process.pid}-${namespaces++}`;
  execFileSync('ip', ['netns', 'add', name]);
  const prefix = ['nsenter', `--net=/run/netns/${name}`];
  const { own, watch } = listenIn(prefix);
  const port = await openNftables({ family: 'IPv4', prefix, started: own.note });
  if (port === undefined) throw new Error('no nftables here');
  let turns = 0;
  return {
    watch,
    theirs: async () => {
      turns++;
      if (write === 'nft') await runCommand([...prefix, 'nft', 'add', 'table', 'ip', `theirs${turns}`]);
      else await runCommand([...prefix, 'iptables-nft', '-t', 'nat', '-N', `THEIRS${turns}`]);
      return write;
    },
    ours: () => port.apply(`add table ip ours${++turns}\n`),
    kill: () => process.kill(watch.pid ?? 0, 'SIGKILL'),
    close: async () => {
      await watch.close();
      execFileSync('ip', ['netns', 'del', name]);
    },
  };
}

async function fakeSubject(): Promise<Subject> {
  const own = new OwnWriters();
  const watch = new FakeRuleWatch(own);
  own.note(7);
  return {
    watch,
    theirs: async () => {
      watch.commit({ pid: 8, name: 'nft' });
      return 'nft';
    },
    ours: async () => watch.commit({ pid: 7, name: 'nft' }),
    kill: () => watch.fail(),
    close: () => watch.close(),
  };
}

const subjects = [
  { name: 'fake', needsRoot: false, open: fakeSubject },
  { name: 'xtables-monitor and nft', needsRoot: true, open: () => realSubject('nft') },
  { name: 'xtables-monitor and iptables-nft', needsRoot: true, open: () => realSubject('iptables-nft') },
];

describe.each(subjects.filter(({ needsRoot }) => isRoot || !needsRoot))('rule watch: $name', ({ open }) => {
  let subject: Subject | undefined;
  afterEach(async () => {
    await subject?.close();
    subject = undefined;
  });

  /** It hears only what is written once it listens. */
  async function listening(): Promise<Subject & { readonly told: (Writer | undefined)[] }> {
    const opened = await open();
    subject = opened;
    const told: (Writer | undefined)[] = [];
    opened.watch.subscribe((writer) => told.push(writer));
    await waitFor('the watch', async () => {
      await opened.ours();
      await pause(20);
      return opened.watch.hears || undefined;
    });
    return { ...opened, told };
  }

  it('does not say that it hears before it has heard something', async () => {
    subject = await open();
    expect(subject.watch.hears).toBe(false);
  });

  it('tells of what others write, with who they are, and not of what we write', async () => {
    const { told, theirs, ours } = await listening();
    expect(told).toEqual([]);
    const name = await theirs();
    await waitFor('word of it', async () => told.length > 0 || undefined);
    expect(told.map((writer) => writer?.name)).toEqual(told.map(() => name));
    const before = told.length;
    await ours();
    await theirs();
    await waitFor('word of the next', async () => told.length > before || undefined);
    expect(told.map((writer) => writer?.name)).toEqual(told.map(() => name));
  });

  it('says that it may have missed something when it ends, and hears nothing from then on', async () => {
    const { watch, told, kill } = await listening();
    kill();
    await waitFor('word of it', async () => told.length > 0 || undefined);
    expect(told).toEqual([undefined]);
    expect(watch.hears).toBe(false);
  });

  it('hears again by itself', async () => {
    const { watch, told, kill, theirs } = await listening();
    kill();
    await waitFor('word of it', async () => told.length > 0 || undefined);
    await waitFor('the watch', async () => {
      await theirs();
      await pause(50);
      return watch.hears || undefined;
    });
    expect(told.at(-1)?.pid).toBeGreaterThan(0);
  });

  it('tells nobody any more after that one has left, and nobody at all after its end', async () => {
    const { watch, told, theirs } = await listening();
    const second: unknown[] = [];
    const leave = watch.subscribe((writer) => second.push(writer));
    leave();
    await theirs();
    await waitFor('word of it', async () => told.length > 0 || undefined);
    expect(second).toEqual([]);
    const before = told.length;
    await watch.close();
    expect(watch.hears).toBe(false);
    if (isRoot) await pause(50);
    expect(told).toHaveLength(before);
  });
});

describe.skipIf(!isRoot)('without xtables-monitor', () => {
  it('hears nothing and harms nothing', async () => {
    const told: unknown[] = [];
    const prefix = ['env', 'PATH=/nonexistent'];
    const watch = new XtablesMonitor({ prefix }, { clock: new SystemClock(), log: silent, own: new OwnWriters() });
    watch.subscribe((writer) => told.push(writer));
    await waitFor('its end', async () => watch.pid === undefined || undefined);
    expect([watch.hears, told]).toEqual([false, []]);
    await watch.close();
  });
});

describe('own writers', () => {
  it('remembers the last of many', () => {
    const own = new OwnWriters();
    for (let pid = 1; pid <= 1_000; pid++) own.note(pid);
    own.note(990);
    expect([own.has(1_000), own.has(990), own.has(1)]).toEqual([true, true, false]);
  });
});
