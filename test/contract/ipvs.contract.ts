import assert from 'node:assert/strict';
import type { IpvsPort } from '../../src/host/ipvs/port.ts';
import type { ServiceDevicePort } from '../../src/host/service-device/port.ts';
import { CodedError } from '../../src/kit/errors.ts';
import { inTurns } from '../../src/services/act/in-turns.ts';
import { parseServers } from '../../src/services/delta/ipvs/kernel-state.ts';
import { runCommand } from '../harness/run-command.ts';

export interface IpvsSubject {
  readonly ipvs: IpvsPort;
  readonly device: ServiceDevicePort;
  /** Where a connection of the machine to this address comes from. */
  readonly sourceOf: (address: string) => Promise<string | undefined>;
}

export interface IpvsContract {
  readonly title: string;
  readonly run: (subject: IpvsSubject) => Promise<void>;
}

/** By the kernel; each command comes after `prefix`. */
export function kernelSourceOf(prefix: readonly string[]): (address: string) => Promise<string | undefined> {
  return async (address) => {
    const listed = await runCommand([...prefix, 'ip', '-j', 'route', 'get', address]).catch(() => '[]');
    const [route] = JSON.parse(listed) as { readonly prefsrc?: string }[];
    return route?.prefsrc;
  };
}

const text = (...lines: readonly string[]): string => `${lines.join('\n')}\n`;

async function refused(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CodedError, `not refused: ${error}`);
  assert.equal(error.code, 'CommandFailed', error.message);
}

async function serversIn(saved: string): Promise<Map<string, string>> {
  const of = (family: 'IPv4' | 'IPv6') => inTurns(parseServers(saved, family, [], () => true));
  return new Map([...(await of('IPv4')), ...(await of('IPv6'))]);
}

/** Virtual servers of a family, and none left afterwards. */
async function holds(ipvs: IpvsPort, expected: Readonly<Record<string, string>>): Promise<void> {
  const saved = await ipvs.save();
  const found = await serversIn(saved);
  assert.deepEqual(Object.fromEntries([...found].sort()), Object.fromEntries(Object.entries(expected).sort()));
}

async function clear(ipvs: IpvsPort): Promise<void> {
  const saved = await ipvs.save();
  const ids = [...(await serversIn(saved)).keys()];
  if (ids.length > 0) await ipvs.restore(text(...ids.map((id) => `-D ${id}`)));
}

const four = '-t 198.51.100.1:80';
const options = ['-s rr', '-s rr -p 10800', '-s wlc', '-s sh', '-s mh -b mh-port', '-s mh -p 77 -b mh-port', '-s lc'];

/** What fake and kernel have in common; assertions are Node's own, for this runs in the virtual machine as well. */
export const ipvsContract: readonly IpvsContract[] = [
  ...options.map((how) => ({
    title: `virtual servers with ${how} read back as they were written, of all protocols and both families`,
    run: async ({ ipvs }: IpvsSubject) => {
      const ids = ['-t', '-u', '--sctp-service'].flatMap((option) => [
        `${option} 198.51.100.1:80`,
        `${option} [2001:db8::1:0:1]:65535`,
      ]);
      await ipvs.restore(text(...ids.map((id) => `-A ${id} ${how}`)));
      await holds(ipvs, Object.fromEntries(ids.map((id) => [id, how])));
      await clear(ipvs);
      await holds(ipvs, {});
    },
  })),
  {
    title: 'real servers come, change their weight, and go',
    run: async ({ ipvs }) => {
      const six = '-u [2001:db8::1]:53';
      await ipvs.restore(
        text(
          `-A ${four} -s rr`,
          `-a ${four} -r 10.9.0.1:8080 -m -w 1`,
          `-a ${four} -r 10.9.0.2:8081 -m -w 1`,
          `-A ${six} -s rr`,
          `-a ${six} -r [fd00:9::1]:5353 -m -w 1`,
        ),
      );
      await holds(ipvs, {
        [four]: '-s rr\n10.9.0.1:8080 1\n10.9.0.2:8081 1',
        [six]: '-s rr\n[fd00:9::1]:5353 1',
      });
      await ipvs.restore(
        text(`-e ${four} -r 10.9.0.1:8080 -m -w 0`, `-d ${four} -r 10.9.0.2:8081`, `-E ${four} -s rr -p 60`),
      );
      await holds(ipvs, { [four]: '-s rr -p 60\n10.9.0.1:8080 0', [six]: '-s rr\n[fd00:9::1]:5353 1' });
      const connections = await ipvs.connections();
      assert.deepEqual(
        [...connections].sort((a, b) => (a.real < b.real ? -1 : 1)),
        [
          { server: four, real: '10.9.0.1:8080', weight: 0, active: 0, connections: 0 },
          { server: six, real: '[fd00:9::1]:5353', weight: 1, active: 0, connections: 0 },
        ],
      );
      await clear(ipvs);
    },
  },
  {
    title: 'an emptied virtual server, and one that goes with its real ones',
    run: async ({ ipvs }) => {
      await ipvs.restore(text(`-A ${four} -s rr`, `-a ${four} -r 10.9.0.1:8080 -m -w 1`));
      await ipvs.restore(text(`-d ${four} -r 10.9.0.1:8080`));
      await holds(ipvs, { [four]: '-s rr' });
      await ipvs.restore(text(`-a ${four} -r 10.9.0.1:8080 -m -w 1`));
      await ipvs.restore(text(`-D ${four}`));
      await holds(ipvs, {});
    },
  },
  ...(
    [
      ['a virtual server that is there', `-A ${four} -s rr`],
      ['changing one that is not there', '-E -t 198.51.100.9:80 -s rr'],
      ['taking one away that is not there', '-D -t 198.51.100.9:80'],
      ['an unknown scheduler', '-A -t 198.51.100.9:80 -s nonsense'],
      ['a real server that is there', `-a ${four} -r 10.9.0.1:8080 -m -w 1`],
      ['a real server of no virtual one', '-a -t 198.51.100.9:80 -r 10.9.0.1:8080 -m -w 1'],
      ['changing a real server that is not there', `-e ${four} -r 10.9.0.9:8080 -m -w 0`],
      ['taking a real server away that is not there', `-d ${four} -r 10.9.0.9:8080`],
    ] as const
  ).map(([what, line]) => ({
    title: `refuses ${what}, and does the lines around it`,
    run: async ({ ipvs }: IpvsSubject) => {
      await ipvs.restore(text(`-A ${four} -s rr`, `-a ${four} -r 10.9.0.1:8080 -m -w 1`));
      await refused(ipvs.restore(text('-A -t 198.51.100.2:80 -s rr', line, '-A -t 198.51.100.3:80 -s rr')));
      await holds(ipvs, {
        [four]: '-s rr\n10.9.0.1:8080 1',
        '-t 198.51.100.2:80': '-s rr',
        '-t 198.51.100.3:80': '-s rr',
      });
      await clear(ipvs);
    },
  })),
  {
    title: 'a line that cannot be read is refused',
    run: async ({ ipvs }) => {
      await refused(ipvs.restore(text('-A -t 198.51.100.300:80 -s rr')));
      await refused(ipvs.restore(text('-A -t 198.51.100.1:70000 -s rr')));
      await clear(ipvs);
    },
  },
  {
    title: 'takes time-outs, and leaves what is 0',
    run: async ({ ipvs }) => {
      await ipvs.setTimeouts(700, 0, 100);
      await ipvs.setTimeouts(0, 90, 0);
    },
  },
  {
    title: 'the device holds addresses of both families while it is down, and goes with them',
    run: async ({ device }) => {
      await device.remove();
      assert.equal(await device.read(), undefined);
      await device.ensure('deckhand');
      await device.ensure('deckhand');
      assert.deepEqual(await device.read(), { alias: 'deckhand', addresses: { IPv4: [], IPv6: [] } });
      await device.change(['198.51.100.1', '198.51.100.2', '2001:db8::1'], []);
      // Again, and one more: what is there stays.
      await device.change(['198.51.100.1', '2001:db8::1', '2001:db8::2'], ['198.51.100.2', '198.51.100.77']);
      const found = await device.read();
      assert.deepEqual(found?.addresses.IPv4, ['198.51.100.1']);
      assert.deepEqual([...(found?.addresses.IPv6 ?? [])].sort(), ['2001:db8::1', '2001:db8::2']);
      await device.ensure('somebody else');
      assert.equal((await device.read())?.alias, 'somebody else');
      await refused(device.change(['nonsense'], []));
      await device.remove();
      await device.remove();
      await refused(device.change(['198.51.100.1'], []));
    },
  },
  {
    title: 'the machine’s own connections come from an address of the device, until others are to be theirs',
    run: async ({ device, sourceOf }) => {
      const [four, six] = ['198.51.100.1', '2001:db8::1'];
      await device.ensure('deckhand');
      await device.change([four, six, '198.51.100.2'], []);
      assert.equal(await sourceOf(four), four);
      assert.equal(await sourceOf(six), six);
      await device.originateFrom('127.0.0.1', [four]);
      await device.originateFrom('::1', [six]);
      // Again: one that ended in the middle is tried again.
      await device.originateFrom('127.0.0.1', [four]);
      await device.originateFrom('::1', [six]);
      assert.equal(await sourceOf(four), '127.0.0.1');
      assert.equal(await sourceOf(six), '::1');
      assert.equal(await sourceOf('198.51.100.2'), '198.51.100.2');
      // An address that the machine does not have: all stays as it is.
      await refused(device.originateFrom('203.0.113.7', ['198.51.100.2']));
      await refused(device.originateFrom('2001:db8::7', [six]));
      assert.equal(await sourceOf('198.51.100.2'), '198.51.100.2');
      assert.equal(await sourceOf(six), '::1');
      assert.deepEqual((await device.read())?.addresses.IPv6, [six]);
      assert.equal(await device.originating([four, six]), 0);
      // They go with their address, and are as at first when it comes back.
      await device.change([], [four, six]);
      assert.notEqual(await sourceOf(four), '127.0.0.1');
      await device.change([four, six], []);
      assert.equal(await sourceOf(four), four);
      assert.equal(await sourceOf(six), six);
      await device.originateFrom('127.0.0.1', [four]);
      await device.remove();
      await device.ensure('deckhand');
      await device.change([four], []);
      assert.equal(await sourceOf(four), four);
      await device.remove();
    },
  },
];
