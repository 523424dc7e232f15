import { describe, expect, it } from 'vitest';
import { RealIpset } from '../../src/host/ipset/real.ts';
import { FakeIpvs } from '../../src/host/ipvs/fake.ts';
import { RealIpvs } from '../../src/host/ipvs/real.ts';
import { FakeServiceDevice } from '../../src/host/service-device/fake.ts';
import { RealServiceDevice } from '../../src/host/service-device/real.ts';
import { checkIpvs } from '../../src/services/act/check-ipvs.ts';
import { createNetns, deleteNetns, inNetns } from '../harness/netns.ts';
import { ipvsContract, kernelSourceOf } from './ipvs.contract.ts';

const isRoot = process.getuid?.() === 0;

async function inNamespace<T>(work: (prefix: readonly string[]) => Promise<T>): Promise<T> {
  const name = `dhipvs-ct-${process.pid}`;
  await createNetns(name);
  try {
    return await work(inNetns(name, []));
  } finally {
    await deleteNetns(name);
  }
}

/** Whether this kernel has virtual servers and dummy devices; else the real ones have their turn in test/vm/guest. */
const isHere =
  isRoot &&
  (await inNamespace(async (prefix) => {
    const device = new RealServiceDevice({ name: 'kube-ipvs0', prefix });
    return checkIpvs({ ipvs: new RealIpvs({ prefix }), ipset: new RealIpset({ prefix }), device }, 'rr')
      .then(() => true)
      .catch(() => false);
  }));

describe('IPVS contract: fake', () => {
  it.each(ipvsContract)('$title', ({ run }) => {
    const device = new FakeServiceDevice();
    return run({ ipvs: new FakeIpvs(), device, sourceOf: (address) => device.sourceOf(address) });
  });
});

describe.skipIf(!isHere)('IPVS contract: real', () => {
  it.each(ipvsContract)('$title', ({ run }) =>
    inNamespace((prefix) =>
      run({
        ipvs: new RealIpvs({ prefix }),
        device: new RealServiceDevice({ name: 'kube-ipvs0', prefix }),
        sourceOf: kernelSourceOf(prefix),
      }),
    ),
  );
});

describe.skipIf(!isRoot || isHere)('a kernel without IPVS', () => {
  it('is told at once, with what is missing', async () => {
    await inNamespace(async (prefix) => {
      const device = new RealServiceDevice({ name: 'kube-ipvs0', prefix });
      const check = checkIpvs({ ipvs: new RealIpvs({ prefix }), ipset: new RealIpset({ prefix }), device }, 'rr');
      await expect(check).rejects.toMatchObject({
        code: 'Unavailable',
        message: expect.stringMatching(
          /^can't use the IPVS proxier: it needs virtual servers \(package ipvsadm, kernel module ip_vs\): /,
        ),
      });
    });
  });
});
