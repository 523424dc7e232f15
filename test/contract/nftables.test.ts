import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FakeNftables } from '../../src/host/nftables/fake.ts';
import { FastNftables } from '../../src/host/nftables/fast.ts';
import { type NftablesPort, nftFamily } from '../../src/host/nftables/port.ts';
import { openNftables } from '../../src/host/nftables/real.ts';
import { NftSession } from '../../src/host/nftables/session.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import type { IPFamily } from '../../src/model/service.ts';
import { waitFor } from '../harness/wait-for.ts';

const isRoot = process.getuid?.() === 0;

interface Subject {
  readonly name: string;
  readonly family: IPFamily;
  readonly needsRoot: boolean;
  open(): Promise<{ port: NftablesPort; session?: NftSession; close(): Promise<void> }>;
}

let namespaces = 0;

function realSubject(kind: 'plain' | 'fast', family: IPFamily): Subject {
  return {
    name: `${kind}, ${family}`,
    family,
    needsRoot: true,
    async open() {
      const name = `dhsvc-nc-${process.pid}-${namespaces++}`;
      execFileSync('ip', ['netns', 'add', name]);
      const prefix = ['nsenter', `--net=/run/netns/${name}`];
      const plain = await openNftables({ family, prefix });
      if (plain === undefined) throw new Error(`no nftables for ${family} here`);
      const session = new NftSession({ prefix }, { clock: new SystemClock() });
      const port = kind === 'plain' ? plain : new FastNftables({ plain, session, log: silent });
      const close = async (): Promise<void> => {
        await port.close();
        await session.close();
        execFileSync('ip', ['netns', 'del', name]);
      };
      return { port, session, close };
    },
  };
}

function fakeSubject(family: IPFamily): Subject {
  return {
    name: `fake, ${family}`,
    family,
    needsRoot: false,
    open: async () => ({ port: new FakeNftables({ family }), close: async () => {} }),
  };
}

const families = ['IPv4', 'IPv6'] as const;
const subjects = families.flatMap((family) => [
  fakeSubject(family),
  realSubject('plain', family),
  realSubject('fast', family),
]);

describe.skipIf(!isRoot)('an nft that', () => {
  const withNft = async (script: string): Promise<NftablesPort | undefined> => {
    const folder = mkdtempSync(join(tmpdir(), 'dh-nft-'));
    try {
      writeFileSync(join(folder, 'nft'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      return await openNftables({ family: 'IPv4', prefix: ['env', `PATH=${folder}:${process.env['PATH']}`] });
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  it('is too old is refused by its version', async () => {
    await expect(withNft('echo "nftables v1.0.0 (Fearless Fosdick)"')).rejects.toMatchObject({
      code: 'Unavailable',
      message: 'nft is of version 1.0.0; expected 1.0.1 or later',
    });
  });

  it.each(['v1.0.1 (x)', 'v1.1 (x)', 'of another world'])('is %s is tried', async (version) => {
    expect(await withNft(`echo "nftables ${version}"`)).toBeDefined();
  });
});

describe.skipIf(!isRoot)('the nft process that stays', () => {
  it('is replaced after so many lines, and leaves no history behind', async () => {
    const home = mkdtempSync(join(tmpdir(), 'dh-nft-'));
    const name = `dhsvc-nc-${process.pid}-history`;
    execFileSync('ip', ['netns', 'add', name]);
    vi.stubEnv('HOME', home);
    const pids: number[] = [];
    const session = new NftSession(
      {
        prefix: ['nsenter', `--net=/run/netns/${name}`],
        linesPerProcess: 2,
        started: (pid) => pids.push(pid),
      },
      { clock: new SystemClock() },
    );
    try {
      for (let turn = 0; turn < 5; turn++) expect(await session.ask(`add table ip t${turn}`)).toBe('');
      expect(new Set(pids).size).toBe(3);
      expect(session.pid).toBe(pids[2]);
      const [first = 0] = pids;
      // It writes its history when it ends.
      await waitFor('its end', async () => !existsSync(`/proc/${first}`) || undefined);
      expect(readdirSync(home)).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
      await session.close();
      execFileSync('ip', ['netns', 'del', name]);
      rmSync(home, { recursive: true });
    }
  });
});

describe.each(subjects.filter(({ needsRoot }) => isRoot || !needsRoot))('nftables port: $name', (subject) => {
  let port: NftablesPort;
  let session: NftSession | undefined;
  let close: () => Promise<void> = async () => {};
  const family = nftFamily(subject.family);
  const [one, two] = subject.family === 'IPv4' ? ['10.0.0.1', '10.0.0.2'] : ['fd00::1', 'fd00::2'];
  const t = `${family} t`;
  const apply = (...lines: readonly string[]): Promise<void> => port.apply(`${lines.join('\n')}\n`);
  const refused = (...lines: readonly string[]): Promise<void> =>
    expect(apply(...lines)).rejects.toMatchObject({ code: 'CommandFailed' });

  beforeAll(async () => {
    ({ port, session, close } = await subject.open());
    const address = subject.family === 'IPv4' ? 'ipv4_addr' : 'ipv6_addr';
    await apply(
      `add table ${t}`,
      `add map ${t} m { type ${address} . inet_service : verdict; }`,
      `add set ${t} s { type ${address}; }`,
      `add chain ${t} c`,
      `add rule ${t} c ${family} daddr @s drop`,
      `add chain ${t} hooked { type filter hook forward priority 0; policy accept; }`,
      `add rule ${t} hooked jump c`,
    );
  });
  afterAll(() => close());

  it('prints what it holds', async () => {
    await apply(`add element ${t} s { ${one}, ${two} }`, `add element ${t} m { ${one} . 80 : goto c }`);
    const text = (await port.table('t')) ?? '';
    expect(text).toContain(`table ${t} {`);
    expect(text).toMatch(/\tset s \{\n\t\ttype ipv\d_addr\n\t\telements = \{/);
    expect(text).toContain(`${one} . 80 : goto c`);
    expect(text).toContain(`\tchain c {\n\t\t${family} daddr @s drop\n\t}`);
    expect(text).toContain('\t\ttype filter hook forward priority 0; policy accept;\n\t\tjump c\n');
    expect(await port.table('nosuch')).toBeUndefined();
    expect(await port.chains('t', ['hooked'])).toMatch(/chain hooked [^}]*jump c/);
    expect(await port.chains('t', ['c', 'hooked'])).toMatch(/chain c \{[^}]*drop[\s\S]*chain hooked [^}]*jump c/);
    expect(await port.chains('t', ['nosuch'])).toBeUndefined();
    expect(await port.chains('t', ['c', 'nosuch'])).toBeUndefined();
    expect(await port.chains('nosuch', ['c'])).toBeUndefined();
    await apply(`delete element ${t} s { ${one}, ${two} }`, `delete element ${t} m { ${one} . 80 }`);
  });

  it('tells whether rules are there by their numbers, and changes nothing by asking', async () => {
    await apply(`add chain ${t} probed`, `add rule ${t} probed accept`, `add rule ${t} probed jump c`);
    const numbers = async (): Promise<number[]> =>
      [...((await port.chains('t', ['probed'], 'handles')) ?? '').matchAll(/(?:accept|jump c) # handle (\d+)$/gm)].map(
        ([, handle]) => Number(handle),
      );
    const [first = 0, second = 0] = await numbers();
    const rules = [first, second].map((handle) => ({ chain: 'probed', handle }));
    const before = await port.table('t', 'handles');
    expect(before).toContain(` # handle ${second}`);
    expect(await port.holds('t', rules)).toBe(true);
    expect(await port.holds('t', [])).toBe(true);
    expect(await port.table('t', 'handles')).toBe(before);
    expect(await port.holds('nosuch', rules)).toBe(false);
    expect(await port.holds('t', [{ chain: 'nosuch', handle: first }])).toBe(false);
    await apply(`delete rule ${t} probed handle ${second}`);
    expect(await port.holds('t', rules)).toBe(false);
    await apply(`add rule ${t} probed jump c`);
    expect(await port.holds('t', rules)).toBe(false);
    expect(await numbers()).not.toContain(second);
    expect(await port.holds('t', rules.slice(0, 1))).toBe(true);
    await apply(`flush chain ${t} probed`);
    expect(await port.holds('t', rules.slice(0, 1))).toBe(false);
    await apply(`delete chain ${t} probed`);
    expect(await port.holds('t', rules.slice(0, 1))).toBe(false);
  });

  it('applies all of a transaction or nothing, and says which line was wrong', async () => {
    const before = await port.table('t');
    const error: unknown = await apply(`add element ${t} s { ${one} }`, `add element ${t} nosuch { ${two} }`).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: 'CommandFailed', metadata: { line: 2 } });
    expect(await port.table('t')).toBe(before);
  });

  it('an element may be added again as it is, not with another value, and goes only when it is there', async () => {
    await apply(`add chain ${t} d`, `add element ${t} m { ${one} . 81 : goto c }`);
    await apply(`add element ${t} m { ${one} . 81 : goto c }`);
    await refused(`add element ${t} m { ${one} . 81 : goto d }`);
    await apply(`delete element ${t} m { ${one} . 81 }`, `add element ${t} m { ${one} . 81 : goto d }`);
    await apply(`delete element ${t} m { ${one} . 81 }`, `delete chain ${t} d`);
    await refused(`delete element ${t} m { ${one} . 81 }`);
  });

  it('nothing goes that something leads to, and nothing leads nowhere', async () => {
    await refused(`delete chain ${t} c`);
    await refused(`delete set ${t} s`);
    await refused(`add element ${t} m { ${one} . 82 : goto nosuch }`);
    await refused(`add rule ${t} c jump nosuch`);
    await refused(`add rule ${t} c ${family} daddr @nosuch drop`);
    await refused(`add element ${t} s { 10.0.0.999 }`);
    await refused(`add chain ${t} hooked { type filter hook input priority 0; policy accept; }`);
  });

  it('a transaction of many elements', async () => {
    const addresses = Array.from({ length: 5000 }, (_, index) =>
      subject.family === 'IPv4' ? `10.1.${index >> 8}.${index & 255}` : `fd01::${(index + 1).toString(16)}`,
    );
    await apply(`add element ${t} s { ${addresses.join(', ')} }`);
    expect(((await port.table('t')) ?? '').match(/(10\.1\.|fd01)/g)).toHaveLength(5000);
    await apply(`delete element ${t} s { ${addresses.join(', ')} }`);
  });

  it('many callers at once', async () => {
    const turns = Array.from({ length: 20 }, (_, index) => index);
    await Promise.all(turns.map((turn) => apply(`add element ${t} m { ${one} . ${1000 + turn} : goto c }`)));
    const text = (await port.table('t')) ?? '';
    expect(text.match(/ : goto c/g)).toHaveLength(20);
    await Promise.all(turns.map((turn) => apply(`delete element ${t} m { ${one} . ${1000 + turn} }`)));
  });

  it.runIf(subject.name.startsWith('fast'))('goes on when the process that stays is killed', async () => {
    await apply(`add element ${t} s { ${one} }`);
    const pid = session?.pid;
    if (pid === undefined) throw new Error('there is no process that stays');
    process.kill(pid, 'SIGKILL');
    await apply(`delete element ${t} s { ${one} }`);
    await apply(`add element ${t} s { ${one} }`);
    expect(session?.pid).not.toBe(pid);
    await apply(`delete element ${t} s { ${one} }`);
  });

  it('a table goes with all that is in it', async () => {
    await apply(`delete table ${t}`);
    expect(await port.table('t')).toBeUndefined();
    await refused(`delete table ${t}`);
  });
});
