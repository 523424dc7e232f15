import { beforeEach, describe, expect, it } from 'vitest';
import { readHostIds } from '../../../../src/daemon/user-namespaces.ts';
import type { Programs } from '../../../../src/host/command/port.ts';
import { containerConfigToWire, sandboxConfigToWire } from '../../../../src/host/cri/convert-request.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { containerConfig, withIdMapping } from '../../../../src/pods/act/container-config.ts';
import { withDeviceGrant } from '../../../../src/pods/act/device-grant.ts';
import { sandboxConfig } from '../../../../src/pods/act/sandbox-config.ts';
import { containerSecurity } from '../../../../src/pods/security/container-security.ts';
import { freeRange, hostIdsOf, mappingIn, mappingsText } from '../../../../src/pods/user-namespaces/range.ts';
import { UserNamespaces } from '../../../../src/pods/user-namespaces/user-namespaces.ts';
import { container, pod } from '../builders.ts';

const UNIT = 65_536;
const ROOT = '/var/lib/kubelet';
const range = (n: number, length = UNIT) => ({ hostId: n * UNIT, containerId: 0, length });

describe('ranges of ids', () => {
  it('the lowest that nobody has, none of the host’s own', () => {
    const all = { first: UNIT, length: 2 ** 32 - UNIT };
    expect(freeRange([], all, UNIT)).toEqual(range(1));
    expect(freeRange([range(1), range(3)], all, UNIT)).toEqual(range(2));
    expect(freeRange([range(1), range(2), range(3)], all, UNIT)).toEqual(range(4));
    // A wider one, from before idsPerPod was made smaller.
    expect(freeRange([range(1, 2 * UNIT)], all, UNIT)).toEqual(range(3));
    expect(freeRange([range(2)], { first: 2 * UNIT, length: 4 * UNIT }, 2 * UNIT)).toEqual(range(4, 2 * UNIT));
    expect(() => freeRange([range(1), range(2)], { first: UNIT, length: 2 * UNIT }, UNIT)).toThrow(
      'could not find an empty slot to allocate a user namespace',
    );
  });

  it.each([
    ['0: kubelet 65536 7208960\n', { first: UNIT, length: 110 * UNIT }],
    ['', 'expected one line'],
    ['0: kubelet 65536 7208960\n1: kubelet 7274496 65536\n', 'expected one line'],
    ['0: kubelet 0 7208960\n', 'expected a multiple of 65536, not 0'],
    ['0: kubelet 1000 7208960\n', 'expected a multiple of 65536, not 0'],
    ['0: kubelet 65536 65536\n', 'enough for 110 pods'],
  ])('getsubids %j', (output, expected) => {
    if (typeof expected === 'string') expect(() => hostIdsOf(output, UNIT, 110)).toThrow(expected);
    else expect(hostIdsOf(output, UNIT, 110)).toEqual(expected);
  });

  it.each([
    ['{', 'it is not JSON'],
    ['{}', 'expected one mapping of uids and one of gids'],
    [JSON.stringify({ uidMappings: [range(1)], gidMappings: [range(2)] }), 'should be identical'],
    [JSON.stringify({ uidMappings: [range(1), range(2)], gidMappings: [range(1), range(2)] }), 'expected one'],
    [
      JSON.stringify({
        uidMappings: [{ ...range(1), containerId: 1 }],
        gidMappings: [{ ...range(1), containerId: 1 }],
      }),
      'UID 0 must be mapped',
    ],
  ])('a file %s is refused', (text, why) => {
    expect(() => mappingIn(text)).toThrow(why);
  });

  it('a file as kubelet writes it', () => {
    const text =
      '{"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}],"gidMappings":[{"hostId":131072,"containerId":0,"length":65536}]}';
    expect(mappingsText(range(2))).toBe(text);
    expect(mappingIn(text)).toEqual(range(2));
  });
});

describe('whose ids the host has', () => {
  const programs = (output: (args: readonly string[]) => string, there = true): Programs => ({
    check: async (path) => {
      if (!there || path !== '/usr/bin/getsubids') throw new CodedError('NotFound', path);
    },
    run: async ({ args }) => ({ failure: undefined, stdout: output(args), stderr: '' }),
  });
  const files = (passwd: string) => ({ read: async () => Buffer.from(passwd) });
  const options = { idsPerPod: UNIT, maxPods: 110 };
  const all = { first: UNIT, length: 2 ** 32 - UNIT };
  const line = '0: kubelet 131072 7208960\n';

  it('all but the host’s own without a user kubelet, or without getsubids', async () => {
    const asked = programs(() => line);
    expect(await readHostIds(options, { files: files('root:x:0:0\nnokubelet:x:1:1'), programs: asked })).toEqual(all);
    const absent = programs(() => line, false);
    expect(await readHostIds(options, { files: files('kubelet:x:5:5'), programs: absent })).toEqual(all);
  });

  it('those of the user kubelet, uids and gids alike', async () => {
    const kubelet = files('root:x:0:0\nkubelet:x:5:5');
    expect(await readHostIds(options, { files: kubelet, programs: programs(() => line) })).toEqual({
      first: 2 * UNIT,
      length: 110 * UNIT,
    });
    const differ = programs((args) => (args[0] === '-g' ? '0: kubelet 65536 7208960' : line));
    await expect(readHostIds(options, { files: kubelet, programs: differ })).rejects.toThrow('mismatched subuids');
  });
});

describe('UserNamespaces', () => {
  let files: FakeFiles;
  const handlers = [
    { name: '', recursiveReadOnlyMounts: true, userNamespaces: true },
    { name: 'old', recursiveReadOnlyMounts: true, userNamespaces: false },
  ];
  const open = (given = handlers) =>
    new UserNamespaces(
      { rootDirectory: ROOT, idsPerPod: UNIT },
      { files, hostIds: async () => ({ first: UNIT, length: 2 ** 32 - UNIT }), handlers: () => given },
    );
  const own = (uid: string) => pod({ hostUsers: false }, { uid });

  beforeEach(() => {
    files = new FakeFiles();
  });

  it('gives each pod a range of its own, at once and one after the other, and the same again', async () => {
    const namespaces = open();
    const given = await Promise.all(['a', 'b', 'c'].map((uid) => namespaces.mappingFor(own(uid), '')));
    expect(given).toEqual([range(1), range(2), range(3)]);
    expect(await namespaces.mappingFor(own('b'), '')).toEqual(range(2));
    // Another process finds what was given out; what went with a pod's directory is free.
    expect(await open().mappingFor(own('c'), '')).toEqual(range(3));
    await files.removeTree(`${ROOT}/pods/b`);
    expect(await open().mappingFor(own('d'), '')).toEqual(range(2));
    expect((await files.read(`${ROOT}/pods/d/userns`)).toString()).toBe(mappingsText(range(2)));
  });

  it('a pod of the host’s users has none', async () => {
    expect(await open([]).mappingFor(pod({}), '')).toBeUndefined();
    expect(await open([]).mappingFor(pod({ hostUsers: true }), '')).toBeUndefined();
    expect(await files.list(`${ROOT}/pods`)).toBeUndefined();
  });

  it.each([
    [
      '',
      [],
      "can't set `spec.hostUsers: false`, runtime does not support user namespaces: runtime handlers are not set",
    ],
    [
      'old',
      handlers,
      `can't set \`spec.hostUsers: false\`, RuntimeClass handler "old" does not support user namespaces`,
    ],
    [
      'new',
      handlers,
      `can't set \`spec.hostUsers: false\`, RuntimeClass handler "new" does not support user namespaces: the handler "new" is not known`,
    ],
  ])('handler %j is refused', async (handler, given, message) => {
    await expect(open(given).mappingFor(own('a'), handler)).rejects.toThrow(message);
    expect(await files.list(`${ROOT}/pods`)).toBeUndefined();
  });

  it('a spoilt file is named, and no other pod gets what might be its range', async () => {
    await files.makeDirectory(`${ROOT}/pods/bad`, 0o750);
    await files.write(`${ROOT}/pods/bad/userns`, 'nonsense', 0o600);
    const namespaces = open();
    const why = `${ROOT}/pods/bad/userns: invalid user namespace mappings file: it is not JSON`;
    await expect(namespaces.mappingFor(own('bad'), '')).rejects.toThrow(why);
    await expect(namespaces.mappingFor(own('a'), '')).rejects.toThrow(why);
    await files.removeTree(`${ROOT}/pods/bad`);
    expect(await namespaces.mappingFor(own('a'), '')).toEqual(range(1));
  });

  it('reaches sandbox, containers and every mount on the wire', () => {
    const main = container('main');
    const of = pod({ hostUsers: false, containers: [main] });
    const userMapping = range(7);
    const sandbox = sandboxConfig(of, {
      attempt: 0,
      cgroupParent: '/p',
      podLogsDir: '/logs',
      clusterDomain: 'cluster.local',
      dns: { servers: [], searches: [], options: [] },
      resources: { overhead: {}, resources: {} },
      userMapping,
    });
    const wanted = { mode: 0, uids: [range(7)], gids: [range(7)] };
    expect(sandboxConfigToWire(sandbox).linux?.securityContext?.namespaceOptions?.usernsOptions).toEqual(wanted);
    const image = { id: 'i', repoTags: [], repoDigests: [], size: 1, uid: 0, username: '', pinned: false };
    const config = containerConfig(of, main, {
      restartCount: 0,
      imageRef: 'i',
      environment: [],
      mounts: [{ containerPath: '/v', hostPath: '/h', readonly: false, propagation: 'PRIVATE' }],
      resources: {},
      devices: [],
      security: containerSecurity(of, main, image, { seccompProfileRoot: '/s', seccompDefault: false, userMapping }),
    });
    const device = { containerPath: '/dev-lib', hostPath: '/lib', readOnly: true };
    const grant = { envs: {}, mounts: [device], devices: [], annotations: {}, cdiDevices: [] };
    const wire = containerConfigToWire(withIdMapping(withDeviceGrant(config, grant)));
    expect(wire.linux?.securityContext?.namespaceOptions?.usernsOptions).toEqual(wanted);
    const mapped = { uidMappings: [range(7)], gidMappings: [range(7)] };
    expect(wire.mounts).toMatchObject([mapped, mapped]);
  });
});
