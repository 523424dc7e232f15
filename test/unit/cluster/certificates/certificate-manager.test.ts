import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CertificateManager,
  type CertificateManagerDeps,
} from '../../../../src/cluster/certificates/certificate-manager.ts';
import { CertificateStore } from '../../../../src/cluster/certificates/certificate-store.ts';
import {
  CLIENT_USAGES,
  nodeNames,
  SERVING_USAGES,
  servingNames,
} from '../../../../src/cluster/certificates/node-names.ts';
import { rotationDeadline } from '../../../../src/cluster/certificates/rotation-deadline.ts';
import { loadKubeconfig } from '../../../../src/cluster/kubeconfig.ts';
import type { ApiClient } from '../../../../src/cluster/port.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { type CertificateSigningRequest, SIGNERS } from '../../../../src/model/certificates.ts';
import type { NodeAddress } from '../../../../src/model/node.ts';
import { resources } from '../../../../src/model/resource.ts';
import { NODE_NAME } from '../../standalone/embedded-api.ts';
import { type SigningApi, startSigningApi } from './signing-api.ts';

const CSR = resources.certificatesigningrequests;
const LIFE_MS = 500_000;
let clock: ManualClock;
let signing: SigningApi;
let node: ApiClient;
let stop: AbortController;
const running: Promise<void>[] = [];

beforeEach(async () => {
  clock = new ManualClock(Math.floor(Date.now() / 1000) * 1000);
  stop = new AbortController();
  signing = await startSigningApi({ signingLifeMs: LIFE_MS, clock });
  node = signing.connect(await loadKubeconfig(signing.api.nodeKubeconfigPath));
});
afterEach(async () => {
  stop.abort();
  await Promise.all(running.splice(0));
  await signing.close();
});

/** Time goes on while the test waits: a tenth of a second each few milliseconds. */
const until = async (what: () => boolean | Promise<boolean>, stepMs = 100): Promise<void> => {
  for (let i = 0; i < 1000; i++) {
    if (await what()) return;
    await clock.advance(stepMs);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`did not come: ${what}\n${signing.lines.map(({ text }) => text).join('\n')}`);
};
const store = (prefix: 'kubelet-client' | 'kubelet-server' = 'kubelet-client'): CertificateStore =>
  new CertificateStore({ directory: signing.bootstrap.certDir, prefix }, { log: signing.log });
const manage = async (more: Partial<CertificateManagerDeps> = {}, serving = false): Promise<CertificateManager> => {
  const manager = new CertificateManager(
    serving
      ? { signerName: SIGNERS.kubeletServing, usages: SERVING_USAGES }
      : { signerName: SIGNERS.kubeletClient, usages: CLIENT_USAGES },
    {
      store: store(serving ? 'kubelet-server' : 'kubelet-client'),
      api: () => node,
      names: () => nodeNames(NODE_NAME),
      clock,
      log: signing.log,
      random: () => 0.5,
      ...more,
    },
  );
  await manager.load();
  running.push(manager.run(stop.signal));
  return manager;
};
const requests = async (): Promise<CertificateSigningRequest[]> =>
  (await signing.admin.list<CertificateSigningRequest>(CSR, {})).items;
const approve = async (csr: CertificateSigningRequest | undefined): Promise<void> => {
  const name = csr?.metadata.name ?? '';
  const conditions = [{ type: 'Approved', status: 'True', reason: 'Test', message: '' }];
  await signing.admin.update(CSR, { name, subresource: 'approval' }, { ...csr, status: { conditions } } as never);
};

describe('the moment of rotation', () => {
  it('is between 70 and 90 % of a life, jittered', () => {
    const life = { notBefore: 1000, notAfter: 2000 };
    expect(rotationDeadline(life, 0)).toBe(1700);
    expect(rotationDeadline(life, 0.5)).toBe(1800);
    expect(rotationDeadline(life, 1)).toBe(1900);
  });
});

describe('the manager of a client certificate', () => {
  it('replaces it at its time with a new key, on disk first, and says so once', async () => {
    const ages: number[] = [];
    const manager = await manage({ onRotated: (age) => ages.push(age) });
    let told = 0;
    manager.subscribe(() => told++);
    await until(() => manager.current() !== undefined);
    const first = manager.current();
    expect(first?.names).toEqual(nodeNames(NODE_NAME));
    const begun = clock.now();
    // Not before four fifths of its life…
    await clock.advance(Math.max(0, (first?.notBefore ?? 0) + LIFE_MS * 0.8 - clock.now() - 2000));
    expect(manager.current()).toBe(first);
    expect(await requests()).toHaveLength(1);
    // …but then.
    await until(() => manager.current() !== first);
    expect(clock.now() - begun).toBeLessThan(LIFE_MS * 0.9);
    const second = manager.current();
    expect(second?.key).not.toBe(first?.key);
    expect(told).toBe(2);
    expect(ages[0]).toBeGreaterThan((LIFE_MS * 0.7) / 1000);
    const onDisk = await readFile(join(signing.bootstrap.certDir, 'kubelet-client-current.pem'), 'utf8');
    expect(onDisk).toBe(`${second?.cert}${second?.key}`);
    expect((await requests()).every(({ metadata }) => metadata.name?.startsWith('csr-'))).toBe(true);
    expect(manager.ttlSeconds()).toBeGreaterThan(400);
  });

  it('goes on with the old one while the API refuses, and tries again with growing delays', async () => {
    let errors = 0;
    const manager = await manage({ onRenewError: () => errors++ });
    await until(() => manager.current() !== undefined);
    const first = manager.current();
    const fault = signing.faults.add({
      match: { verb: 'create', resource: CSR.plural },
      fault: { kind: 'error', code: 500, reason: 'InternalError' },
    });
    await clock.advance(LIFE_MS * 0.75);
    await until(() => errors === 3);
    expect(manager.current()).toBe(first);
    const delays = signing.lines.flatMap(({ fields }) =>
      typeof fields['retryMs'] === 'number' ? fields['retryMs'] : [],
    );
    for (const [index, nominal] of [2000, 4000, 8000].entries()) {
      expect(delays[index]).toBeLessThanOrEqual(nominal);
      expect(delays[index]).toBeGreaterThanOrEqual(nominal * 0.9);
    }
    fault.remove();
    await until(() => manager.current() !== first, 1000);
  });

  it('falls back to the bootstrap credentials when the certificate has expired, and says so', async () => {
    const asked: (string | undefined)[] = [];
    let away = false;
    const manager = await manage({
      api: (valid) => {
        asked.push(valid === undefined ? 'bootstrap' : 'own');
        if (valid !== undefined) return away ? undefined : node;
        return signing.connect({ ...bootstrapConnection });
      },
    });
    const bootstrapConnection = await loadKubeconfig(signing.bootstrap.bootstrapKubeconfig);
    await until(() => manager.current() !== undefined);
    const first = manager.current();
    away = true;
    await until(() => manager.current() !== first, 2000);
    expect(asked).toContain('own');
    expect(asked.at(-1)).toBe('bootstrap');
    const bootstrapped = (await requests()).filter(({ spec }) => spec.username === 'system:bootstrap:abcdef');
    expect(bootstrapped.length).toBeGreaterThan(0);
    expect(manager.ttlSeconds()).toBeGreaterThan(0);
  });

  it('says that nothing is left to ask with, and takes up what somebody puts in place', async () => {
    const donor = await manage();
    await until(() => donor.current() !== undefined);
    const kept = donor.current();
    stop.abort();
    await Promise.all(running.splice(0));
    stop = new AbortController();
    const manager = await manage({ api: () => undefined });
    expect(manager.current()?.cert).toBe(kept?.cert);
    await until(() => signing.lines.some(({ text }) => text.includes('there are no bootstrap credentials')), 2000);
    expect(manager.ttlSeconds()).toBeLessThanOrEqual(0);
    const fresh = new CertificateManager(
      { signerName: SIGNERS.kubeletClient, usages: CLIENT_USAGES },
      { store: store(), api: () => node, names: () => nodeNames(NODE_NAME), clock, log: signing.log },
    );
    const by = new AbortController();
    const done = fresh.run(by.signal);
    await until(() => manager.ttlSeconds() > 0, 1000);
    by.abort();
    await done;
    expect(signing.lines.some(({ text }) => text.includes('put in place'))).toBe(true);
  });

  it('replaces at once what it was only given to begin with', async () => {
    const donor = await manage();
    await until(() => donor.current() !== undefined);
    const initial = donor.current();
    stop.abort();
    await Promise.all(running.splice(0));
    stop = new AbortController();
    const manager = new CertificateManager(
      { signerName: SIGNERS.kubeletClient, usages: CLIENT_USAGES, initial },
      { store: store('kubelet-server'), api: () => node, names: () => nodeNames(NODE_NAME), clock, log: signing.log },
    );
    await manager.load();
    expect(manager.current()?.cert).toBe(initial?.cert);
    running.push(manager.run(stop.signal));
    await until(() => manager.current()?.cert !== initial?.cert);
  });
});

describe('the manager of a serving certificate', () => {
  let addresses: NodeAddress[];
  const manageServing = (): Promise<CertificateManager> =>
    manage({ names: () => servingNames(NODE_NAME, addresses) }, true);

  it('asks once there are addresses, for all of them, and again when one is added', async () => {
    addresses = [{ type: 'Hostname', address: NODE_NAME }];
    const manager = await manageServing();
    await clock.advance(5000);
    expect(await requests()).toEqual([]);
    addresses = [...addresses, { type: 'InternalIP', address: '10.0.0.7' }];
    manager.poke();
    await until(async () => (await requests()).length === 1);
    await approve((await requests())[0]);
    await until(() => manager.current() !== undefined);
    expect(manager.current()?.names).toMatchObject({ dnsNames: [NODE_NAME], ipAddresses: ['10.0.0.7'] });
    manager.poke();
    await clock.advance(5000);
    expect(await requests()).toHaveLength(1);

    addresses = [...addresses, { type: 'InternalIP', address: '2001:db8::7' }];
    manager.poke();
    await until(async () => (await requests()).length === 2);
    // Nobody has approved it when the next address comes: what waits is not enough any more.
    addresses = [...addresses, { type: 'ExternalDNS', address: 'n.example' }];
    await until(async () => {
      manager.poke();
      return (await requests()).length === 3;
    });
    const serves = manager.current();
    expect(serves?.names.ipAddresses).toEqual(['10.0.0.7']);
    for (const csr of await requests()) if (csr.status?.conditions === undefined) await approve(csr);
    await until(() => manager.current() !== serves);
    expect(manager.current()?.names).toMatchObject({
      dnsNames: ['n.example', NODE_NAME],
      ipAddresses: ['10.0.0.7', '2001:db8::7'],
    });
  });
});
